"""Both passes from random clusters of random items: what always holds."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.splitmerge import refiner as refiner_module
from ctr_engine.splitmerge.clusters import partition_hash
from ctr_engine.splitmerge.two_pass import TwoPass
from tests.splitmerge.cases import line
from tests.splitmerge.runs import contents, run


def assert_mece(found: TwoPass, n_items: int) -> None:
    items = [item for group in found.clusters.values() for item in group]
    assert sorted(items) == list(range(n_items))
    assert all(found.clusters.values()), "none is empty"


@st.composite
def planes(draw) -> np.ndarray:
    """Euclidean distances of points on a grid in a plane, so that many are equal."""
    n = draw(st.integers(1, 14))
    place = st.tuples(st.integers(0, 12), st.integers(0, 12))
    points = np.array(draw(st.lists(place, min_size=n, max_size=n))) / 250
    return np.sqrt(((points[:, None] - points[None, :]) ** 2).sum(axis=2))


@st.composite
def with_missing(draw) -> np.ndarray:
    distances = draw(planes())
    for i in range(len(distances)):
        for j in range(i):
            if draw(st.integers(0, 3)) == 0:
                distances[i, j] = distances[j, i] = np.nan
    return distances


def some_clusters(n_items: int) -> st.SearchStrategy[dict[str, list[int]]]:
    """Clusters that overlap, are empty, have items twice, and leave items out."""
    items = st.lists(st.integers(0, n_items - 1), max_size=8)
    return st.dictionaries(st.text("abc", min_size=1, max_size=2), items, max_size=6)


LIMITS = st.sampled_from([2, 3, 5, 300])


@settings(max_examples=120)
@given(st.one_of(planes(), with_missing()), LIMITS, st.data())
def test_any_clusters_become_a_partition_in_scopes_within_the_limit(distances, limit, data):
    clusters = data.draw(some_clusters(len(distances)))
    sizes = [0]

    def counted(matrix, *rest):
        sizes.append(len(matrix))
        return gap_clusters(matrix, *rest)

    gap_clusters = refiner_module.gap_clusters
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refiner_module, "gap_clusters", counted)
        found = run(distances, clusters, max_scope_size=limit)
    assert_mece(found, len(distances))
    assert max(sizes) <= limit
    assert found.largest_scope == max(sizes)
    assert all(len(items) > limit for items in found.sampled)


@settings(max_examples=40)
@given(st.one_of(planes(), with_missing()), LIMITS, st.data())
def test_the_number_of_threads_does_not_matter(distances, limit, data):
    clusters = data.draw(some_clusters(len(distances)))
    alone = run(distances, clusters, max_scope_size=limit)
    assert repr(run(distances, clusters, max_scope_size=limit, n_jobs=4)) == repr(alone)


@settings(max_examples=60)
@given(st.one_of(planes(), with_missing()), LIMITS, st.data())
def test_names_and_order_of_the_given_clusters_do_not_matter(distances, limit, data):
    clusters = data.draw(some_clusters(len(distances)))
    order = data.draw(st.permutations(list(clusters)))
    new_names = data.draw(st.permutations([f"n{x}" for x in range(len(clusters))]))
    renamed = {
        new: data.draw(st.permutations(clusters[old]))
        for old, new in zip(order, new_names, strict=True)
    }
    found = run(distances, clusters, max_scope_size=limit)
    other = run(distances, renamed, max_scope_size=limit)
    assert contents(other) == contents(found)
    assert repr(other.iterations) == repr(found.iterations)
    assert other.stop_reason == found.stop_reason


@settings(max_examples=100)
@given(st.one_of(planes(), with_missing()), LIMITS, st.integers(1, 4), st.data())
def test_the_history_is_consistent_and_the_widest_gap_is_kept(distances, limit, most, data):
    clusters = data.draw(some_clusters(len(distances)))
    found = run(distances, clusters, max_scope_size=limit, max_iterations=most)
    history = found.iterations
    assert [step.number for step in history] == list(range(len(history)))
    stages = [step.stage for step in history]
    begin = ["given"] if "given" in stages else []
    assert stages == [*begin, "pass_1", *["pass_2"] * (len(history) - len(begin) - 1)]
    assert 1 <= stages.count("pass_2") <= most
    for before, after in pairwise(history):
        assert after.n_before == before.n_after
        if not after.n_applied:
            assert after.partition == before.partition
        if after.stage == "pass_2":
            assert after.n_applied + after.n_dropped <= after.n_scopes
            assert after.n_scopes + after.n_skipped <= after.n_before
            assert (after.n_applied == 0) == (after.partition == before.partition)
    kept = history[found.kept]
    assert partition_hash(found.clusters) == kept.partition
    assert len(found.clusters) == kept.n_after
    # one cluster has no gap, which counts as 0; what was given may break the thresholds
    widths = [0.0 if np.isnan(step.gap) else step.gap for step in history]
    reached = [w for w, step in zip(widths, history, strict=True) if step.stage != "given"]
    assert widths[found.kept] >= max(reached) - 1e-11
    last = history[-1]
    if found.stop_reason == "no_changes":
        assert last.n_applied == 0
    elif found.stop_reason == "oscillation":
        assert last.partition == history[-1 - found.cycle].partition
        assert found.restless
    else:
        assert found.stop_reason == "iteration_limit"
        assert stages.count("pass_2") == most
    if found.stop_reason != "oscillation":
        assert (found.cycle, found.restless) == (None, ())


@settings(max_examples=60)
@given(st.data())
def test_groups_that_are_far_apart_are_found_from_any_start(data):
    """Groups at most 0.002 wide, 0.06 apart: what is given does not matter, however wrong."""
    group_of = data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=16))
    if len(set(group_of)) == 1:
        group_of[0] += 1
    spread = data.draw(
        st.lists(st.integers(0, 20), min_size=len(group_of), max_size=len(group_of))
    )  # fmt: skip
    places = [0.06 * g + x / 10_000 for g, x in zip(group_of, spread, strict=True)]
    clusters = data.draw(some_clusters(len(places)))
    expected = sorted(
        tuple(i for i, g in enumerate(group_of) if g == group) for group in set(group_of)
    )
    found = run(line(*places), clusters)
    assert contents(found) == expected
    assert found.stop_reason == "no_changes"
