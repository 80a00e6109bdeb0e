"""Which clusters are refined together: the shared cases, the slow oracle, and hand counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.splitmerge.graph import Neighbor
from ctr_engine.splitmerge.scope import Scope, build_refinement_scope
from tests.oracles import gaphack as slow
from tests.splitmerge.cases import case, names


@dataclass(frozen=True)
class GivenGraph:
    """Neighbours as a case lists them; equal distances stay in that order."""

    edges: Mapping[str, Sequence[Neighbor]]

    def neighbors_within(self, cluster: str, radius: float) -> list[Neighbor]:
        near = self.edges[cluster] if cluster in self.edges else []
        return sorted((e for e in near if e[1] <= radius), key=lambda edge: edge[1])

    def k_nearest(self, cluster: str, k: int) -> list[Neighbor]:
        near = self.edges[cluster] if cluster in self.edges else []
        return sorted(near, key=lambda edge: edge[1])[:k]


@pytest.mark.smoke
@pytest.mark.parametrize("name", names("scope_cases"))
def test_a_shared_case_gives_the_expected_clusters_and_size(gaphack, name):
    expected = case(gaphack, "scope_cases", name)
    edges = {key: [(n, d) for n, d in near] for key, near in expected["neighbors"].items()}
    scope = build_refinement_scope(
        expected["seed_clusters"],
        expected["cluster_sizes"],
        GivenGraph(edges),
        close_threshold=expected["close_threshold"],
        context_threshold_multiplier=expected["context_threshold_multiplier"],
        max_scope_size=expected["max_scope_size"],
    )
    assert list(scope.clusters) == expected["expected_scope_cluster_ids"]
    assert scope.n_items == expected["expected_scope_size"]


# ----------------------------------------------------------------------- the slow oracle

LETTERS = "ABCDEFGHIJ"


@settings(max_examples=400)
@given(st.data())
def test_random_graphs_give_the_scopes_of_the_slow_loop(data):
    """Distances in steps, so that many are equal and some are the very threshold.

    The spec does not say which neighbours of several seeds come first where they are equally far,
    so there no two distances are equal.
    """
    existing = data.draw(st.lists(st.sampled_from(LETTERS), min_size=1, max_size=10, unique=True))
    sizes = {name: data.draw(st.integers(1, 6)) for name in existing}
    seeds = data.draw(st.lists(st.sampled_from(existing), min_size=1, max_size=2, unique=True))
    steps = st.lists(
        st.integers(0, 8 if len(seeds) == 1 else 24),
        min_size=20, max_size=20, unique=len(seeds) > 1,
    )  # fmt: skip
    distances = iter(data.draw(steps))
    edges = {}
    for seed in seeds:
        near = data.draw(st.lists(st.sampled_from(LETTERS), max_size=10, unique=True))
        listed = [(name, next(distances) / 16) for name in near if name != seed]
        edges[seed] = sorted(listed, key=lambda edge: edge[1])
    close = data.draw(st.sampled_from([3, 8])) / 16
    limits = (close, data.draw(st.sampled_from([1.0, 2.0])), data.draw(st.integers(2, 25)))
    always = data.draw(st.booleans())
    scope = build_refinement_scope(
        seeds,
        sizes,
        GivenGraph(edges),
        close_threshold=limits[0],
        context_threshold_multiplier=limits[1],
        max_scope_size=limits[2],
        always_context=always,
    )
    core, context = slow.scope(seeds, sizes, edges, limits, always_context=always)
    assert (list(scope.core), list(scope.context)) == (core, context)
    assert scope.n_items == sum(sizes[name] for name in core + context)


# ------------------------------------------------------------------------------ by hand


def scope_of(
    edges: Sequence[Neighbor], sizes: Mapping[str, int], limit: int = 300, *, always: bool = False
) -> Scope:
    """Scope of A."""
    return build_refinement_scope(
        ["A"],
        {"A": 1, **sizes},
        GivenGraph({"A": edges}),
        close_threshold=0.02,
        context_threshold_multiplier=2.0,
        max_scope_size=limit,
        always_context=always,
    )


def test_a_cluster_that_is_alone_gets_context_only_where_it_always_does():
    edges, sizes = [("D", 0.07), ("E", 0.06)], {"D": 1, "E": 1}
    assert scope_of(edges, sizes) == Scope(("A",), (), 1)
    assert scope_of(edges, sizes, always=True) == Scope(("A",), ("E",), 2)


def test_context_that_is_always_wanted_still_has_to_fit_and_passes_over_what_does_not():
    edges, sizes = [("B", 0.06), ("C", 0.07), ("D", 0.08)], {"B": 9, "C": 2, "D": 1}
    assert scope_of(edges, sizes, 5, always=True) == Scope(("A",), ("C",), 3)
    assert scope_of(edges, sizes, 2, always=True) == Scope(("A",), ("D",), 2)
    assert scope_of(edges, sizes, 1, always=True) == Scope(("A",), (), 1)


def test_no_nearest_cluster_is_added_where_there_is_context_already():
    edges, sizes = [("C", 0.04), ("D", 0.05)], {"C": 1, "D": 1}
    assert scope_of(edges, sizes, always=True) == Scope(("A",), ("C",), 2)


def test_a_near_neighbour_that_does_not_fit_never_becomes_context():
    edges, sizes = [("B", 0.01), ("C", 0.015), ("D", 0.5)], {"B": 9, "C": 1, "D": 1}
    assert scope_of(edges, sizes, 5) == Scope(("A",), ("D",), 2, is_cut=True)


def test_a_scope_is_cut_only_where_a_near_neighbour_does_not_fit():
    edges, sizes = [("B", 0.01), ("C", 0.03), ("D", 0.5)], {"B": 2, "C": 9, "D": 1}
    assert scope_of(edges, sizes, 5) == Scope(("A", "B"), ("D",), 4, is_cut=False)
    assert scope_of(edges, sizes, 2) == Scope(("A",), ("D",), 2, is_cut=True)


def test_neighbours_that_are_gone_are_passed_over():
    edges = [("gone", 0.01), ("B", 0.015), ("lost", 0.03), ("gone too", 0.05), ("C", 0.06)]
    assert scope_of(edges, {"B": 1, "C": 1}) == Scope(("A", "B"), ("C",), 3)


def test_context_is_looked_for_among_thirty():
    near = [(f"n{i:02d}", 0.01) for i in range(29)]
    sizes = {name: 1 for name, _ in near} | {"X": 1, "Y": 1}
    thirtieth = scope_of([*near, ("X", 0.5)], sizes)
    assert thirtieth.context == ("X",)
    later = scope_of([*near, ("Y", 0.02), ("X", 0.5)], sizes)
    assert later.context == ()
    assert len(later.core) == 31
