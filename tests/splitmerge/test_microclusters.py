"""Microclusters of cells: where they lie, how many there are, and how far they are apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.errors import CellMismatchError
from ctr_engine.splitmerge.cells import microclusters as module
from ctr_engine.splitmerge.cells.microclusters import Microclusters, microclusters
from ctr_engine.splitmerge.cells.params import CellParams

N = 100
POINTS = np.random.default_rng(3).normal(size=(N, 3))
CLUSTERS = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
IDS = [f"cell_{x:03d}" for x in range(N)]
FINE = CellParams(n_microclusters=20, min_microcluster_cells=1)
"""Five cells each."""


def of_line(places, clusters: str | None = None, **params) -> Microclusters:
    """Microclusters of cells on a line, by default of one cluster and as many as cells."""
    points = np.array(places, dtype=np.float64)[:, None]
    ids = [f"cell_{x:03d}" for x in range(len(points))]
    chosen = {"n_microclusters": 1000, "min_microcluster_cells": 1, **params}
    return microclusters(points, list(clusters or "a" * len(ids)), ids, CellParams(**chosen), 0)


def sets_of_cells(found: Microclusters, ids=IDS) -> set[frozenset[str]]:
    held: dict[int, set[str]] = {}
    for cell, number in zip(ids, found.of_cell.tolist(), strict=True):
        held.setdefault(number, set()).add(cell)
    return {frozenset(cells) for cells in held.values()}


def numbers(found: Microclusters) -> dict[str, int]:
    return {name: len(members) for name, members in found.clusters.items()}


# ------------------------------------------------------------------ where and how many


def test_each_lies_within_one_cluster_and_each_cluster_has_one_at_least():
    found = microclusters(POINTS, CLUSTERS, IDS, FINE, 0)
    home: dict[int, set[str]] = {}
    for cluster, number in zip(CLUSTERS, found.of_cell.tolist(), strict=True):
        home.setdefault(number, set()).add(cluster)
    assert all(len(clusters) == 1 for clusters in home.values())
    assert sorted(home) == list(range(len(found.means)))
    told = {x: {name} for name, members in found.clusters.items() for x in members}
    assert told == home
    assert list(found.clusters) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("n_microclusters", "least", "expected"),
    [
        (10, 1, {"a": 6, "b": 3, "c": 1}),  # of 10 cells
        (20, 1, {"a": 12, "b": 6, "c": 2}),  # of 5
        (20, 10, {"a": 6, "b": 3, "c": 1}),  # of 5, but 10 at least
        (20, 16, {"a": 4, "b": 2, "c": 1}),  # of 16: 3.75, 1.9 and 0.6
        (100, 30, {"a": 2, "b": 1, "c": 1}),  # of 1, but 30 at least
        (1, 1, {"a": 1, "b": 1, "c": 1}),  # of 100
        (100, 1000, {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_each_cluster_has_its_share(n_microclusters, least, expected):
    params = CellParams(n_microclusters=n_microclusters, min_microcluster_cells=least)
    assert numbers(microclusters(POINTS, CLUSTERS, IDS, params, 0)) == expected


def test_cells_that_are_alike_are_never_apart():
    found = of_line([0] * 20 + [5] * 20 + [9] * 20, "a" * 40 + "b" * 20)
    assert numbers(found) == {"a": 2, "b": 1}
    assert sorted(found.means[:, 0].tolist()) == [0, 5, 9]
    assert len(set(found.of_cell[:20].tolist())) == 1


def test_cells_that_are_near_are_in_one():
    found = of_line([0, 9, 0.1, 9.1, 0.2, 9.2], n_microclusters=2)
    ids = [f"cell_{x:03d}" for x in range(6)]
    expected = {frozenset(ids[::2]), frozenset(ids[1::2])}
    assert sets_of_cells(found, ids) == expected


def test_means_are_those_of_the_cells():
    found = microclusters(POINTS.astype(np.float32), CLUSTERS, IDS, FINE, 0)
    assert found.means.shape == (20, 3)
    for number, mean in enumerate(found.means.tolist()):
        cells = [x for x in range(N) if found.of_cell[x] == number]
        for axis in range(3):
            total = 0.0
            for x in cells:
                total += float(np.float32(POINTS[x, axis]))
            assert mean[axis] == pytest.approx(total / len(cells), abs=1e-12)


# --------------------------------------------------------------------------- distances


def slow_distances(means: list[list[float]], neighbors: int) -> list[list[float]]:
    """Distances over the 95th percentile of those to the nearest, interpolated linearly."""
    apart = [
        [sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 for other in means]
        for one in means
    ]
    near = []
    for x, row in enumerate(apart):
        near += sorted(away for y, away in enumerate(row) if y != x)[:neighbors]
    near.sort()
    place = 0.95 * (len(near) - 1)
    below = int(place)
    above = min(below + 1, len(near) - 1)
    scale = near[below] + (place - below) * (near[above] - near[below])
    return [[away / scale for away in row] for row in apart]


@pytest.mark.parametrize("neighbors", [1, 4, 19, 500])
def test_one_is_the_percentile_of_the_distances_to_the_nearest(neighbors):
    found = microclusters(POINTS, CLUSTERS, IDS, FINE, 0)
    values = found.distances(neighbors).values
    expected = np.array(slow_distances(found.means.tolist(), neighbors))
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=0)
    assert len(found.distances(neighbors)) == 20


def test_more_neighbors_give_a_larger_scale():
    """Nearest of 0, 1, 3, 7: 1, 1, 2, 4; place 2.85 is 3.7. Of two: up to 6, 6; all, up to 7."""
    means = np.array([[0.0], [1.0], [3.0], [7.0]])
    found = Microclusters(np.arange(4), means, {"a": (0, 1, 2, 3)})
    assert found.distances(1).values[0, 3] == pytest.approx(7 / 3.7)
    # 1 3, 1 2, 2 3, 4 6: sorted 1 1 2 2 3 3 4 6, place 6.65
    assert found.distances(2).values[0, 3] == pytest.approx(7 / (4 + 0.65 * 2))
    # 1 3 7, 1 2 6, 2 3 4, 4 6 7: sorted ... 6 6 7 7, place 10.45
    assert found.distances(3).values[0, 3] == pytest.approx(1)


def test_of_microclusters_that_are_all_alike_every_distance_is_zero():
    found = of_line([2.5] * 30, "a" * 10 + "b" * 10 + "c" * 10)
    assert numbers(found) == {"a": 1, "b": 1, "c": 1}
    assert found.distances(2).values.tolist() == [[0, 0, 0]] * 3


def test_one_microcluster_is_at_no_distance_from_itself():
    found = of_line([1, 2, 3], n_microclusters=1)
    assert found.means.tolist() == [[2]]
    assert found.distances(10).values.tolist() == [[0]]


# --------------------------------------------------------------- what does not matter


@settings(max_examples=10)
@given(st.permutations(range(N)))
def test_the_order_of_the_cells_does_not_matter(order):
    straight = microclusters(POINTS, CLUSTERS, IDS, FINE, 0)
    ids = [IDS[x] for x in order]
    found = microclusters(POINTS[order], [CLUSTERS[x] for x in order], ids, FINE, 0)
    assert sets_of_cells(found, ids) == sets_of_cells(straight)
    assert found.means.tolist() == straight.means.tolist()
    assert found.of_cell.tolist() == straight.of_cell[order].tolist()
    assert found.clusters == straight.clusters


def test_the_names_of_the_clusters_do_not_matter():
    names = {"a": "z", "b": "10", "c": "9"}
    straight = microclusters(POINTS, CLUSTERS, IDS, FINE, 0)
    found = microclusters(POINTS, [names[name] for name in CLUSTERS], IDS, FINE, 0)
    assert sets_of_cells(found) == sets_of_cells(straight)
    assert numbers(found) == {"z": 12, "10": 6, "9": 2}


def test_other_clusters_do_not_matter_where_the_number_stays():
    """Of 10 cells each: cluster b has three, whatever the other cells are."""
    params = CellParams(n_microclusters=1000, min_microcluster_cells=10)
    whole = sets_of_cells(microclusters(POINTS, CLUSTERS, IDS, params, 0))
    rows = slice(60, 90)
    alone = microclusters(POINTS[rows], CLUSTERS[rows], IDS[rows], params, 0)
    assert len(alone.means) == 3
    assert sets_of_cells(alone, IDS[rows]) <= whole


# --------------------------------------------------------------------- large, and wrong


def test_of_a_large_cluster_some_cells_place_the_microclusters_and_all_join(monkeypatch):
    """Every third of ten cells, at 0, 0, 10, 10, does not know of the one at 1000."""
    places = [0, 1, 9, 0, 2, 8, 10, 1000, 9, 10]
    monkeypatch.setattr(module, "_MOST_FITTED", 4)
    found = of_line(places, n_microclusters=2)
    first, second = ([0, 1, 3, 4], [2, 5, 6, 7, 8, 9])
    ids = [f"cell_{x:03d}" for x in range(10)]
    assert sets_of_cells(found, ids) == {
        frozenset(ids[x] for x in part) for part in (first, second)
    }
    means = [sum(places[x] for x in part) / len(part) for part in (first, second)]
    assert sorted(found.means[:, 0].tolist()) == pytest.approx(means)


def test_a_cluster_at_the_limit_is_not_thinned(monkeypatch):
    places = [0, 1, 9, 0, 2, 8, 10, 1000, 9, 10]
    monkeypatch.setattr(module, "_MOST_FITTED", 10)
    found = of_line(places, n_microclusters=2)
    assert sorted(found.means[:, 0].tolist()) == pytest.approx([49 / 9, 1000])


def test_no_more_than_the_places_of_the_cells_that_are_taken(monkeypatch):
    """Every other cell is at 0, and the others join it."""
    monkeypatch.setattr(module, "_MOST_FITTED", 3)
    assert of_line([0, 7, 0, 8, 0, 9]).means.tolist() == [[4]]


@pytest.mark.parametrize(
    ("shape", "clusters", "ids", "told"),
    [
        ((3, 2), "ab", ["x", "y", "z"], "3 rows of coordinates, 2 clusters and 3 ids"),
        ((3, 2), "abc", ["x", "y"], "3 rows of coordinates, 3 clusters and 2 ids"),
        ((2, 2), "abc", ["x", "y", "z"], "2 rows of coordinates, 3 clusters and 3 ids"),
    ],
)
def test_other_numbers_of_cells_are_refused(shape, clusters, ids, told):
    with pytest.raises(CellMismatchError, match=f"^{told} are not of the same cells$"):
        microclusters(np.zeros(shape), list(clusters), ids, CellParams(), 0)


def test_no_cell_at_all_is_refused():
    with pytest.raises(CellMismatchError, match="there is no cell to make microclusters of"):
        microclusters(np.zeros((0, 2)), [], [], CellParams(), 0)


def test_of_microclusters_of_which_most_are_alike_the_largest_distance_of_neighbours_is_the_scale():
    """The nearest of 0, 0, 5, 5 is 0 away, so all distances in sight are taken."""
    means = np.array([[0.0], [0.0], [5.0], [5.0]])
    items = Microclusters(np.arange(4), means, {"a": (0, 1, 2, 3)})
    assert items.distances(1).matrix(range(4))[0].tolist() == [0, 0, 1, 1]
