"""Clustering one scope with its context, oversized clusters by a sample, and the mean gap."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctr_engine.splitmerge import refiner as module
from ctr_engine.splitmerge.distances import MatrixDistances
from ctr_engine.splitmerge.params import GapParams, TwoPassParams
from ctr_engine.splitmerge.refiner import Refiner
from tests.oracles import gaphack as slow
from tests.splitmerge.cases import line


def refiner_of(distances: np.ndarray, **options) -> Refiner:
    return Refiner(MatrixDistances(distances), TwoPassParams(**options))


# --------------------------------------------------------------------------- parameters


def test_the_defaults_are_those_of_the_specification():
    assert GapParams().model_dump() == {
        "min_split": 0.005,
        "max_lump": 0.02,
        "gap_method": "local",
        "target_percentile": 95,
        "alpha": 0.0,
        "initial_state_competes": False,
        "alone_is_wide": False,
    }
    assert TwoPassParams().model_dump() == {
        **GapParams().model_dump(),
        "alpha": 1.0,
        "initial_state_competes": True,
        "alone_is_wide": True,
        "close_threshold": None,
        "context_threshold_multiplier": 2.0,
        "max_scope_size": 300,
        "max_iterations": 10,
        "k_neighbors": 20,
    }


def test_the_close_threshold_is_max_lump_unless_it_is_given():
    assert TwoPassParams(max_lump=0.03).close == 0.03
    assert TwoPassParams(max_lump=0.03, close_threshold=0.01).close == 0.01
    assert TwoPassParams(close_threshold=0.0).close == 0.0


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("max_scope_size", 1, "greater than or equal to 2"),
        ("max_iterations", 0, "greater than or equal to 1"),
        ("k_neighbors", 0, "greater than or equal to 1"),
        ("context_threshold_multiplier", 0.9, "greater than or equal to 1"),
        ("close_threshold", -0.1, "greater than or equal to 0"),
        ("target_percentile", 49, "greater than or equal to 50"),
        ("target_percentile", 101, "less than or equal to 100"),
        ("alpha", -1, "greater than or equal to 0"),
        ("gap_method", "both", "'local' or 'global'"),
        ("min_split", 0.021, r"min_split 0\.021 is above max_lump 0\.02"),
    ],
)
def test_a_parameter_out_of_range_is_refused(field, value, text):
    with pytest.raises(ValidationError, match=text):
        TwoPassParams.model_validate({field: value})


# -------------------------------------------------------------------------------- scopes


def test_the_items_of_a_scope_are_clustered_and_its_context_is_not_given_back():
    """0 and 1 are 0.015 apart, which is a gap alone and none beside 2 and 3, 0.1 away."""
    refiner = refiner_of(line(0, 0.015, 0.1, 0.2), alone_is_wide=False)
    assert refiner.split([(1,), (0,)]) == [(0,), (1,)]
    assert refiner.largest == 2
    assert refiner.split([(0,), (1,)], [(2, 3)]) == [(0, 1)]
    assert refiner.largest == 4
    assert refiner.split([(3,)], [(0, 1)]) == [(3,)]
    assert refiner.largest == 4, "the largest so far"
    assert refiner.sampled == set()


def test_context_with_smaller_items_is_not_taken_for_the_scope():
    refiner = refiner_of(line(0.1, 0.2, 0, 0.001, 0.3))
    assert refiner.split([(3, 4), (2,)], [(0, 1)]) == [(2, 3), (4,)]


# --------------------------------------------------------------------- oversized clusters

TWO = (*(x / 10_000 for x in range(6)), *(0.1 + x / 10_000 for x in range(6)))


def test_of_an_oversized_cluster_a_sample_is_clustered_and_the_others_join_the_nearest():
    order = np.random.default_rng(3).permutation(12)
    places = np.array(TWO)[order]
    refiner = refiner_of(line(*places), max_scope_size=5)
    parts = sorted(refiner.split([tuple(range(12))], [(0,)]))
    near = tuple(np.flatnonzero(order < 6).tolist())
    far = tuple(np.flatnonzero(order >= 6).tolist())
    assert parts == sorted([near, far])
    assert refiner.sampled == {tuple(range(12))}
    assert refiner.largest == 5


def test_the_sample_has_near_and_far_members_at_even_ranks():
    """On a line from 0 to 8 the medoid is 4; its ranks are 4, 3, 5, 2, 6, 1, 7, 0, 8.

    A sample of three has the ranks 0, 4 and 8: items 4, 6 and 8. They are three clusters, and 5
    and 7, which are as near to one as to another, join the first.
    """
    refiner = refiner_of(line(*range(9)), max_scope_size=3)
    parts = refiner.split([tuple(range(9))])
    assert sorted(parts) == [(0, 1, 2, 3, 4, 5), (6, 7), (8,)]


def test_an_oversized_cluster_that_is_one_group_stays_one():
    refiner = refiner_of(line(*TWO[:6]), max_scope_size=2)
    assert refiner.split([(0, 1, 2, 3, 4, 5)]) == [(0, 1, 2, 3, 4, 5)]
    assert refiner.largest == 2


def test_a_cluster_of_the_largest_size_is_clustered_as_a_whole():
    refiner = refiner_of(line(*TWO[:6]), max_scope_size=6)
    assert refiner.split([(0, 1, 2, 3, 4, 5)]) == [(0, 1, 2, 3, 4, 5)]
    assert (refiner.largest, refiner.sampled) == (6, set())


def test_an_item_that_compares_with_no_member_of_the_sample_joins_the_first_group():
    """Items 1 and 2 compare with nobody, so 0 is the medoid and the ranks are 0, 3, 4, 1, 2.

    The sample is 0, 4 and 2, and 2 is lumped with 0, for nothing speaks against it.
    """
    distances = line(0, 0, 0, 0.3, 0.3)
    distances[1:3, :] = distances[:, 1:3] = np.nan
    refiner = refiner_of(distances, max_scope_size=3)
    assert sorted(refiner.split([(0, 1, 2, 3, 4)])) == [(0, 1, 2), (3, 4)]


# ------------------------------------------------------------------------------ the gap


def gap_of(refiner: Refiner, groups: list[tuple[int, ...]]) -> float:
    clusters = {str(x): items for x, items in enumerate(groups)}
    return refiner.gap(clusters, refiner.graph(clusters))


def test_the_gap_is_the_mean_over_clusters_and_percentiles():
    """Two pairs 0.001 wide, from 0.05 to 0.052 apart.

    Between them are 0.05, 0.051, 0.051, 0.052, of which the quantiles 0.1, 0.05 and 0 are 0.0503,
    0.05015 and 0.05; in the mean 0.05015, less 0.001.
    """
    refiner = refiner_of(line(0, 0.001, 0.051, 0.052))
    assert gap_of(refiner, [(0, 1), (2, 3)]) == pytest.approx(0.04915)
    # nearest 0.001, 0.001, 0.001, 0.001; less max_lump, as nobody knows how wide one is
    assert gap_of(refiner, [(0,), (1,), (2,), (3,)]) == pytest.approx(0.001 - 0.02)
    narrow = refiner_of(line(0, 0.001, 0.051, 0.052), alone_is_wide=False)
    assert gap_of(narrow, [(0,), (1,), (2,), (3,)]) == pytest.approx(0.001)


def test_one_cluster_has_no_gap_and_one_without_neighbours_does_not_count():
    distances = line(0, 0.001, 0.05)
    assert math.isnan(gap_of(refiner_of(distances), [(0, 1, 2)]))
    distances[2, :2] = distances[:2, 2] = np.nan
    found = gap_of(refiner_of(distances), [(0,), (1,), (2,)])
    assert found == pytest.approx(0.001 - 0.02), "which 0 and 1 have"


def own_gap(rows, group, others) -> float:
    """Mean gap of one group, by the formula of the local score."""
    parts = []
    for p in (0.90, 0.95, 1.0):
        lows = [slow.quantile(slow.between(rows, group, other), 1 - p) for other in others]
        inside = slow.within(rows, group)
        parts.append(min(lows) - (slow.quantile(inside, p) if inside else 0.0))
    return sum(parts) / 3


@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_is_measured_against_the_ten_whose_medoids_are_nearest(seed):
    """Clusters that lie across each other, so that the nearest is not the one by medoids."""
    random = np.random.default_rng(seed)
    rows = line(*random.uniform(0, 1, 45)).tolist()
    groups = [tuple(range(x, 45, 15)) for x in range(15)]
    middle = [min(group, key=lambda i: sum(rows[i][j] for j in group)) for group in groups]
    ten, all_others = [], []
    for x, group in enumerate(groups):
        others = [y for y in range(15) if y != x]
        others.sort(key=lambda y: rows[middle[x]][middle[y]])
        ten.append(own_gap(rows, group, [groups[y] for y in others[:10]]))
        all_others.append(own_gap(rows, group, [groups[y] for y in others]))
    assert sum(ten) > sum(all_others) + 0.001, "it does matter"
    assert gap_of(refiner_of(np.array(rows)), groups) == pytest.approx(sum(ten) / 15, abs=1e-12)


def test_a_large_cluster_is_thinned_out_for_the_gap(monkeypatch):
    """Of 0, 0.001, 0.05 every second is 0 and 0.05, which is what the gap then is."""
    monkeypatch.setattr(module, "_MOST_FOR_A_GAP", 2)
    refiner = refiner_of(line(0, 0.001, 0.05, 0.2))
    # inside 0.05; between 0.15 and 0.2: 0.155, 0.1525, 0.15; one has 0.1025, the other, which is
    # alone, 0.1525 - 0.02
    assert gap_of(refiner, [(0, 1, 2), (3,)]) == pytest.approx(0.1175)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50)), min_size=2, max_size=14))
def test_the_gap_is_the_local_score_of_the_slow_loop_over_the_number_of_clusters(items):
    names, places = zip(*items, strict=True)
    distances = line(*places) / 1000
    groups = [[i for i, n in enumerate(names) if n == name] for name in sorted(set(names))]
    found = gap_of(refiner_of(distances), [tuple(group) for group in groups])
    if len(groups) == 1:
        assert math.isnan(found)
    else:
        setting = slow.Setting(alone_is_wide=True)
        expected = slow.local_score(distances.tolist(), groups, [], setting)
        assert found == pytest.approx(expected / (3 * len(groups)), abs=1e-12)
