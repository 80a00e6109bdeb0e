"""Neighbours and weights against plain loops and against umap-learn."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.clustering.neighbors import nearest_neighbors, umap_connectivities
from tests.oracles import neighbors as oracle


def points(n: int, d: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (n, d)).astype(np.float32)


@pytest.mark.smoke
def test_neighbours_are_those_of_a_plain_loop():
    cells = points(80)
    indices, distances = nearest_neighbors(cells, 6)
    expected = oracle.nearest(cells.astype(float).tolist(), 6)
    assert indices.tolist() == [[j for _, j in row] for row in expected]
    np.testing.assert_allclose(distances, [[d for d, _ in row] for row in expected], atol=1e-6)


def test_duplicates_keep_each_cell_first_in_its_own_row():
    cells = np.repeat(points(5), 6, axis=0)
    indices, distances = nearest_neighbors(cells, 4)
    assert indices[:, 0].tolist() == list(range(30))
    assert (np.sort(indices, axis=1) == np.sort(np.unique(indices, axis=1), axis=1)).all()
    assert distances.max() == 0
    assert all(len(set(row)) == 4 for row in indices.tolist())


def test_the_number_of_neighbours_is_cut_to_the_number_of_cells():
    assert nearest_neighbors(points(4), 15)[0].shape == (4, 4)


@pytest.mark.parametrize("n", [300, 5_000])
def test_threads_do_not_show(n):
    cells = np.round(points(n, seed=1), 1)  # many ties
    one = nearest_neighbors(cells, 10, n_jobs=1)
    for n_jobs in (2, 4):
        many = nearest_neighbors(cells, 10, n_jobs=n_jobs)
        np.testing.assert_array_equal(many[0], one[0])
        np.testing.assert_array_equal(many[1], one[1])


@given(st.integers(0, 10_000), st.integers(3, 9))
def test_weights_are_those_of_a_plain_loop(seed, k):
    cells = points(40, seed=seed)
    graph = umap_connectivities(*nearest_neighbors(cells, k))
    expected = oracle.connectivities(cells.astype(float).tolist(), k)
    assert graph.nnz == len(expected)
    for (i, j), weight in expected.items():
        assert graph[i, j] == pytest.approx(weight, abs=5e-5)  # seen: 2e-5, bisection stops at 1e-5


def test_weights_of_duplicates_are_finite_and_at_most_one():
    cells = np.repeat(points(6, seed=2), 5, axis=0)
    graph = umap_connectivities(*nearest_neighbors(cells, 8))
    assert np.isfinite(graph.data).all()
    assert graph.data.max() <= 1
    assert abs(graph - graph.T).nnz == 0


@pytest.mark.slow
def test_weights_are_those_of_umap_learn():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba and pynndescent warn while they compile
        from umap.umap_ import fuzzy_simplicial_set

        cells = points(600, 10, seed=3)
        indices, distances = nearest_neighbors(cells, 15)
        empty = sp.coo_matrix((len(cells), 1))
        expected, _, _ = fuzzy_simplicial_set(
            empty, 15, None, None, knn_indices=indices, knn_dists=distances.astype(np.float32)
        )
    assert abs(expected.tocsr() - umap_connectivities(indices, distances)).max() < 1e-5
