"""The search among nearby panels: exact when all are searched, and nearly so on cell types."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.clustering import neighbors
from ctr_engine.clustering.neighbors import nearest_neighbors
from ctr_engine.clustering.panels import panel_neighbors
from tests.oracles import neighbors as oracle


def cell_types(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 3, (12, 10))
    return (centres[rng.integers(0, 12, n)] + rng.normal(0, 1, (n, 10))).astype(np.float32)


@pytest.mark.smoke
def test_with_all_panels_it_is_the_plain_loop():
    cells = cell_types(150)
    indices, distances = panel_neighbors(cells, 7, n_jobs=1, probes=1_000)
    expected = oracle.nearest(cells.astype(float).tolist(), 7)
    assert indices.tolist() == [[j for _, j in row] for row in expected]
    np.testing.assert_allclose(distances, [[d for d, _ in row] for row in expected], atol=1e-3)


def test_nearly_all_neighbours_of_cells_with_types_are_found():
    cells = cell_types(8_000)
    exact, _ = nearest_neighbors(cells, 15)
    found, _ = panel_neighbors(cells, 15, n_jobs=2)
    shared = [len(set(a) & set(b)) for a, b in zip(exact.tolist(), found.tolist(), strict=True)]
    assert np.mean(shared) / 15 > 0.97


def test_fewer_panels_find_fewer_neighbours():
    cells = cell_types(3_000)
    exact = nearest_neighbors(cells, 15)[0].tolist()
    recall = []
    for probes in (1, 4, 16):
        found = panel_neighbors(cells, 15, n_jobs=1, probes=probes)[0].tolist()
        recall.append(np.mean([len(set(a) & set(b)) for a, b in zip(exact, found, strict=True)]))
    assert recall[0] < recall[1] < recall[2]


@pytest.mark.parametrize("n_jobs", [2, 4])
def test_threads_do_not_show(n_jobs):
    cells = np.round(cell_types(4_000), 1)  # many ties
    one, many = (panel_neighbors(cells, 12, n_jobs=n) for n in (1, n_jobs))
    np.testing.assert_array_equal(one[0], many[0])
    np.testing.assert_array_equal(one[1], many[1])


@given(st.integers(1, 60), st.integers(2, 20), st.integers(0, 100))
def test_every_cell_gets_its_neighbours_even_when_panels_are_tiny(n, k, seed):
    cells = np.round(np.random.default_rng(seed).normal(0, 1, (n, 2)), 0).astype(np.float32)
    indices, distances = panel_neighbors(cells, min(k, n), n_jobs=1, probes=1)
    assert indices.shape == (n, min(k, n))
    assert all(len(set(row)) == len(row) for row in indices.tolist())
    assert (np.diff(distances, axis=1) >= 0).all()


def test_many_cells_are_searched_in_panels_and_stand_first_in_their_row(monkeypatch):
    cells = cell_types(2_000)
    monkeypatch.setattr(neighbors, "EXACT_CELLS", 1_000)
    indices, distances = nearest_neighbors(cells, 10, n_jobs=2)
    assert indices[:, 0].tolist() == list(range(2_000))
    assert (distances[:, 0] == 0).all()
    np.testing.assert_array_equal(
        np.sort(indices), np.sort(panel_neighbors(cells, 10, n_jobs=1)[0])
    )
