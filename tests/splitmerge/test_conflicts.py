"""Clusters that share items become a partition, and the others stay as they are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.splitmerge.clusters import Clusters, Names
from ctr_engine.splitmerge.conflicts import Resolved, resolve_conflicts
from ctr_engine.splitmerge.distances import MatrixDistances
from ctr_engine.splitmerge.params import TwoPassParams
from ctr_engine.splitmerge.refiner import Refiner
from tests.splitmerge.cases import line


def resolve(given_clusters: Clusters, distances: np.ndarray, **options) -> Resolved:
    refiner = Refiner(MatrixDistances(distances), TwoPassParams(**options))
    return resolve_conflicts(given_clusters, refiner, Names())


def contents(resolved: Resolved) -> list[tuple[int, ...]]:
    return sorted(resolved.clusters.values())


TWO_GROUPS = (0, 0.001, 0.1, 0.101)


def test_clusters_that_share_items_are_clustered_anew_together():
    resolved = resolve({"a": (0, 1, 2), "b": (2, 3)}, line(*TWO_GROUPS))
    assert contents(resolved) == [(0, 1), (2, 3)]
    assert resolved.new == set(resolved.clusters)
    assert (resolved.n_conflicts, resolved.n_components, resolved.assigned) == (1, 1, ())


def test_nothing_else_is_changed_not_even_what_is_wrong():
    """Cluster c lumps two groups and d is half of one; they share nothing."""
    distances = line(*TWO_GROUPS, 0.2, 0.3, 0.3)
    resolved = resolve({"a": (0, 1), "b": (1, 2, 3), "c": (4, 5), "d": (6,)}, distances)
    assert contents(resolved) == [(0, 1), (2, 3), (4, 5), (6,)]
    new = sorted(resolved.clusters[name] for name in resolved.new)
    assert new == [(0, 1), (2, 3)]


def test_each_component_is_resolved_apart():
    """Two components of half a group each stay halves."""
    resolved = resolve({"a": (0,), "b": (0,), "c": (1, 1)}, line(0, 0))
    assert contents(resolved) == [(0,), (1,)]
    assert (resolved.n_conflicts, resolved.n_components) == (2, 2)


def test_without_conflicts_nothing_is_new():
    resolved = resolve({"a": (1,), "b": (0, 2)}, line(0, 1, 2))
    assert contents(resolved) == [(0, 2), (1,)]
    assert resolved.new == frozenset()
    assert (resolved.n_conflicts, resolved.n_components) == (0, 0)


def test_clusters_around_a_component_say_how_wide_the_gap_is_and_stay_whole():
    """Items 0 and 1 are 0.015 apart: alone that is a gap, and beside one of 0.1 it is not."""
    distances = line(0, 0.015, 0.1, 0.2)
    shared = {"a": (0, 1), "b": (0, 1)}
    alone = resolve(shared, distances[:2, :2], alone_is_wide=False)
    assert contents(alone) == [(0,), (1,)]
    among = resolve({**shared, "c": (2, 3)}, distances, alone_is_wide=False)
    assert contents(among) == [(0, 1), (2, 3)]


LONG = (0, 0.001, 0.002, 0.003, 0.103, 0.1, 0.101, 0.102, 0.06)


def test_in_a_component_that_is_too_large_each_item_goes_to_the_nearest_medoid():
    """Item 8, at 0.06, is 0.059 from the medoid of a at 0.001, and 0.041 from that of b."""
    clusters = {"a": (0, 1, 2, 3, 8), "b": (4, 5, 6, 7, 8)}
    resolved = resolve(clusters, line(*LONG), max_scope_size=8)
    assert contents(resolved) == [(0, 1, 2, 3), (4, 5, 6, 7, 8)]
    assert resolved.assigned == (8,)
    assert resolved.new == set(resolved.clusters)
    whole = resolve(clusters, line(*LONG), max_scope_size=9)
    assert contents(whole) == [(0, 1, 2, 3), (4, 5, 6, 7), (8,)], "it is neither's"
    assert whole.assigned == ()


def test_a_holder_that_keeps_nothing_is_gone():
    """Both hold the same three items; the first takes them all."""
    resolved = resolve({"b": (0, 1, 2), "a": (0, 1, 2)}, line(0, 0.1, 0.2), max_scope_size=2)
    assert contents(resolved) == [(0, 1, 2)]
    assert resolved.assigned == (0, 1, 2)


def test_an_item_twice_in_one_large_cluster_stays_there_once():
    resolved = resolve({"a": (0, 1, 1, 2), "b": (3,)}, line(0, 1, 2, 3), max_scope_size=2)
    assert contents(resolved) == [(0, 1, 2), (3,)]
    assert resolved.assigned == (1,)


def test_an_item_that_compares_with_no_holder_goes_to_the_first_and_else_to_one_it_does():
    distances = line(0, 1, 2, 3, 4)
    distances[4, :4] = distances[:4, 4] = np.nan
    clusters = {"b": (0, 1, 4), "a": (2, 3, 4)}
    resolved = resolve(clusters, distances, max_scope_size=2)
    assert contents(resolved) == [(0, 1, 4), (2, 3)], "in the order of the items, not of the ids"
    # medoids: of 0, 1, 4 it is 0, for none compares with all; of 2, 3, 4 it is 2
    distances[4, 2] = distances[2, 4] = 9.0
    compared = resolve(clusters, distances, max_scope_size=2)
    assert contents(compared) == [(0, 1), (2, 3, 4)]


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=6),
    st.integers(2, 12),
)
def test_each_item_that_was_in_a_cluster_is_in_exactly_one_afterwards(lists, limit):
    clusters = {str(x): tuple(items) for x, items in enumerate(lists)}
    places = np.random.default_rng(0).permutation(10) / 100
    resolved = resolve(clusters, line(*places), max_scope_size=limit)
    items = sorted(item for group in resolved.clusters.values() for item in group)
    assert items == sorted({item for group in lists for item in group})
    conflicted = {x for x in items if sum(group.count(x) for group in lists) > 1}
    assert resolved.n_conflicts == len(conflicted)
    assert set(resolved.assigned) <= conflicted
    whole = {tuple(sorted(group)) for group in lists if not conflicted & set(group)}
    assert whole <= set(resolved.clusters.values()), "untouched"
