"""Medoids, and which clusters are near each other: a slow loop, and hand counts."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.splitmerge import graph
from ctr_engine.splitmerge.distances import MatrixDistances, medoid
from ctr_engine.splitmerge.graph import MedoidGraphs
from tests.splitmerge.cases import line, matrix

X = math.nan


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # sums 3, 2, 3
        ([[0, 1, 2], [1, 0, 1], [2, 1, 0]], 1),
        # all sums are equal
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], 0),
        # sums 9, 6, 6, 9
        ([[0, 2, 3, 4], [2, 0, 1, 3], [3, 1, 0, 2], [4, 3, 2, 0]], 1),
        # the first two would have the smallest sums, but cannot be compared with each other
        ([[0, X, 1], [X, 0, 1], [1, 1, 0]], 2),
        ([[0, 9, 9, X], [9, 0, 8, 1], [9, 8, 0, 1], [X, 1, 1, 0]], 1),
        # nobody can be compared with all
        ([[0, X, 1], [X, 0, X], [1, X, 0]], 0),
        ([[0, X], [X, 0]], 0),
        ([[0]], 0),
    ],
)
def test_the_medoid_has_the_smallest_sum_and_no_missing_distance(rows, expected):
    assert medoid(matrix(rows)) == expected


def graphs(distances: np.ndarray, **options) -> MedoidGraphs:
    return MedoidGraphs(MatrixDistances(distances), **options)


ON_A_LINE = {"a": (0, 1, 2), "b": (3,), "c": (4, 5), "d": (6,)}
PLACES = (0, 1, 2, 10, 4, 4, 1)
"""Medoids are at 1 (a), 10 (b), 4 (c) and 1 (d)."""


def test_neighbours_are_ordered_by_distance_and_then_by_id():
    built = graphs(line(*PLACES)).build(ON_A_LINE)
    assert built.medoids == {"a": 1, "b": 3, "c": 4, "d": 6}
    assert built.k_nearest("a", 9) == [("d", 0.0), ("c", 3.0), ("b", 9.0)]
    assert built.k_nearest("c", 9) == [("a", 3.0), ("d", 3.0), ("b", 6.0)]
    assert built.k_nearest("c", 2) == [("a", 3.0), ("d", 3.0)]
    assert built.k_nearest("b", 1) == [("c", 6.0)]
    assert built.neighbors_within("b", 6.0) == [("c", 6.0)], "inclusive"
    assert built.neighbors_within("b", 5.9) == []
    assert built.neighbors_within("b", 9.0) == [("c", 6.0), ("a", 9.0), ("d", 9.0)]


def test_all_neighbours_within_the_radius_are_known_and_others_up_to_k():
    few = graphs(line(*PLACES), k=1, radius=3.0).build(ON_A_LINE)
    assert few.k_nearest("a", 9) == [("d", 0.0), ("c", 3.0)]
    assert few.k_nearest("b", 9) == [("c", 6.0)]
    more = graphs(line(*PLACES), k=2, radius=3.0).build(ON_A_LINE)
    assert more.k_nearest("b", 9) == [("c", 6.0), ("a", 9.0)]


def test_clusters_that_cannot_be_compared_are_no_neighbours():
    distances = matrix([[0, X, 2, 5], [X, 0, X, X], [2, X, 0, 1], [5, X, 1, 0]])
    built = graphs(distances, radius=9.0).build({name: (x,) for x, name in enumerate("abcd")})
    assert built.k_nearest("a", 9) == [("c", 2.0), ("d", 5.0)]
    assert built.k_nearest("b", 9) == []
    assert built.neighbors_within("b", 9.0) == []
    assert built.k_nearest("c", 9) == [("d", 1.0), ("a", 2.0)]


def test_one_cluster_has_no_neighbours_and_none_is_no_error():
    assert graphs(line(0, 1)).build({"a": (0, 1)}).k_nearest("a", 3) == []
    assert graphs(line(0, 1)).build({}).medoids == {}


def test_only_candidate_pairs_are_neighbours_where_there_are_enough():
    """Of a, b, c, d, e at 0, 1, 3, 7 and 20 the pairs a-b, b-c are candidates, and d-e."""
    pairs = np.zeros((5, 5))
    for x, y in ((0, 1), (1, 2), (3, 4)):
        pairs[x, y] = pairs[y, x] = 1
    asked = []

    def candidates(items):
        asked.append(list(items))
        return sp.csr_matrix(pairs)

    places = (20, 7, 3, 1, 0)
    clusters = {name: (4 - x,) for x, name in enumerate("abcde")}
    built = graphs(line(*places), candidates=candidates, k=1).build(clusters)
    assert asked == [[4, 3, 2, 1, 0]], "medoids in the order of the ids"
    assert built.edges == {
        "a": (("b", 1.0),),
        "b": (("a", 1.0), ("c", 2.0)),
        "c": (("b", 2.0),),
        "d": (("e", 13.0),),
        "e": (("d", 13.0),),
    }


def test_a_cluster_for_which_the_search_finds_too_few_is_compared_with_all():
    """The pair a-b is a candidate, so that each has one neighbour; c has none."""
    pair = sp.csr_matrix(([1, 1], ([0, 1], [1, 0])), shape=(3, 3))
    built = graphs(line(0, 1, 5), candidates=lambda items: pair, k=1)
    assert built.build({"a": (0,), "b": (1,), "c": (2,)}).edges == {
        "a": (("b", 1.0), ("c", 5.0)),
        "b": (("a", 1.0), ("c", 4.0)),
        "c": (("b", 4.0), ("a", 5.0)),
    }


@dataclass
class Counting:
    """Distances that keep count of what they were asked for."""

    values: np.ndarray
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def matrix(self, items) -> np.ndarray:
        self.asked.append(tuple(int(x) for x in items))
        return MatrixDistances(self.values).matrix(items)


def test_a_medoid_is_looked_for_once_for_each_content():
    distances = Counting(line(*PLACES))
    known = MedoidGraphs(distances)
    assert known.medoid_of((0, 1, 2)) == 1
    assert known.medoid_of((3,)) == 3, "needs no distances"
    assert known.medoid_of((0, 1, 2)) == 1
    assert distances.asked == [(0, 1, 2)]


def test_a_large_cluster_is_thinned_out_evenly_before_its_medoid_is_looked_for(monkeypatch):
    monkeypatch.setattr(graph, "MOST_FOR_A_MEDOID", 3)
    distances = Counting(line(*range(9)))
    # of seven every third: 0, 3 and 6; three are few enough
    assert MedoidGraphs(distances).medoid_of(tuple(range(7))) == 3
    assert MedoidGraphs(distances).medoid_of((8, 1, 2)) == 2
    assert distances.asked == [(0, 3, 6), (8, 1, 2)]


@settings(max_examples=60)
@given(st.data())
def test_random_clusters_have_the_neighbours_of_a_slow_loop(data):
    n = data.draw(st.integers(1, 10))
    value = st.one_of(st.integers(0, 6), st.just(X))
    rows = [[0.0] * n for _ in range(n)]
    for i in range(n):
        for j in range(i):
            rows[i][j] = rows[j][i] = float(data.draw(value))
    names = data.draw(st.lists(st.sampled_from("edcba"), min_size=n, max_size=n))
    clusters = {
        name: tuple(i for i in range(n) if names[i] == name) for name in dict.fromkeys(names)
    }
    k, radius = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 6))

    middle = {}
    for name, items in clusters.items():
        sums = [sum(rows[i][j] for j in items) for i in items]
        valid = [total for total in sums if not math.isnan(total)]
        middle[name] = items[sums.index(min(valid))] if valid else items[0]
    built = graphs(matrix(rows), k=k, radius=float(radius)).build(clusters)
    assert built.medoids == middle
    for name, at in middle.items():
        near = sorted(
            (rows[at][middle[other]], other)
            for other in clusters
            if other != name and not math.isnan(rows[at][middle[other]])
        )
        expected = [
            (other, distance)
            for rank, (distance, other) in enumerate(near)
            if rank < k or distance <= radius
        ]
        assert built.k_nearest(name, 99) == expected
        assert built.neighbors_within(name, 2.0) == [e for e in expected if e[1] <= 2]
