"""Clustering of one scope: the shared cases, the slow oracle, and hand counts."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctr_engine.errors import ParameterError
from ctr_engine.splitmerge.core import GapClustering, barcode_gap, gap_clusters, pooled_gaps
from ctr_engine.splitmerge.params import GapParams
from tests.oracles import gaphack as slow
from tests.splitmerge.cases import case, line, matrix, names, of_triangle

ROUNDING = 1e-12
"""The largest difference seen, by the order of summation, is 2.3e-16."""

# ---------------------------------------------------------------------- the shared cases


@pytest.mark.smoke
@pytest.mark.parametrize("name", names("core_cases"))
def test_a_shared_case_gives_the_expected_clusters_gap_and_history(gaphack, name):
    expected = case(gaphack, "core_cases", name)
    found = gap_clusters(
        matrix(expected["distance_matrix"]), GapParams.model_validate(expected["params"])
    )
    assert [list(items) for items in found.clusters] == expected["expected_partition"]
    gap = -1.0 if found.gap is None else found.gap
    assert gap == pytest.approx(expected["expected_best_gap"], abs=ROUNDING)
    assert found.merge_distance == expected["expected_best_merge_distance"]
    if expected["expected_history"] is not None:
        steps = [(s.n_clusters, s.merge_distance, s.gap) for s in found.history]
        wanted = [
            (s["num_clusters"], s["merge_distance"], s["gap_size"])
            for s in expected["expected_history"]
        ]
        assert [step[:2] for step in steps] == [step[:2] for step in wanted]
        gaps = [step[2] for step in wanted]
        assert [step[2] for step in steps] == pytest.approx(gaps, abs=ROUNDING)


@pytest.mark.parametrize("name", names("core_cases"))
def test_the_pooled_gaps_of_a_shared_case_are_those_expected(gaphack, name):
    expected = case(gaphack, "core_cases", name)
    metrics = expected["expected_final_gap_metrics"]
    if not isinstance(metrics, dict):
        return  # the local method reports its score alone
    percentiles = [float(key.removeprefix("p")) for key in metrics]
    distances = matrix(expected["distance_matrix"])
    found = pooled_gaps(distances, expected["expected_partition"], percentiles)
    for one, wanted in zip(found, metrics.values(), strict=True):
        numbers = (one.intra_upper, one.inter_lower, one.gap)
        names_of = ("intra_upper", "inter_lower", "gap_size")
        assert numbers == pytest.approx([wanted[name] for name in names_of], abs=ROUNDING)


def test_pooled_gaps_are_those_of_a_hand_count():
    # inside 1 and 3; between 10, 20, 30, 40: at 50 %, 2 and 25, at 100 %, 3 and 10
    distances = symmetric(4, [1, 10, 20, 30, 40, 3])
    half, whole = pooled_gaps(distances, [(0, 1), (2, 3)], (50, 100))
    assert (half.percentile, half.intra_upper, half.inter_lower, half.gap) == (50, 2, 25, 23)
    assert (whole.percentile, whole.intra_upper, whole.inter_lower, whole.gap) == (100, 3, 10, 7)
    (none,) = pooled_gaps(distances, [(0,), (1,), (2,), (3,)], (95,))
    assert (none.intra_upper, none.inter_lower, none.gap) == (0, 0, 0), "nothing is inside"


@pytest.mark.smoke
@pytest.mark.parametrize("name", names("real_data_cases"))
def test_real_barcodes_give_the_expected_clusters_with_each_setting(gaphack, name):
    expected = case(gaphack, "real_data_cases", name)
    counts = of_triangle(expected["mismatch_upper_triangle"]).astype(float)
    distances = np.where(counts < 0, np.nan, counts) / expected["length_L"]
    assert len(expected["results"]) == 7
    for result in expected["results"]:
        found = gap_clusters(distances, GapParams.model_validate(result["params"]))
        assert [list(items) for items in found.clusters] == result["expected_partition"]
        assert found.gap == pytest.approx(result["expected_best_gap"], abs=ROUNDING)
        assert len(found.history) == result["phase2_merges"]


# ----------------------------------------------------------------------- the slow oracle


def symmetric(n: int, upper: list[float]) -> np.ndarray:
    full = np.zeros((n, n))
    full[np.triu_indices(n, 1)] = upper
    return full + full.T


@st.composite
def matrices(draw) -> np.ndarray:
    """Counts of few different values over a length, so that many are equal; some are missing."""
    n = draw(st.integers(2, 9))
    n_pairs = n * (n - 1) // 2
    count = st.integers(0, draw(st.sampled_from([3, 12, 40])))
    if draw(st.booleans()):
        count = st.one_of(count, st.just(math.nan))
    counts = draw(st.lists(count, min_size=n_pairs, max_size=n_pairs))
    return symmetric(n, [value / 400 for value in counts])


@st.composite
def groups_on_a_line(draw) -> np.ndarray:
    """Tight groups at most 3 steps wide, 2 to 12 steps apart, which phase 1 and 2 both merge."""
    places: list[int] = []
    start = 0
    for _ in range(draw(st.integers(2, 5))):
        places += [start + draw(st.integers(0, 3)) for _ in range(draw(st.integers(1, 4)))]
        start += draw(st.integers(2, 12))
    return line(*draw(st.permutations(places))) / 400


@st.composite
def parameters(draw) -> GapParams:
    return GapParams(
        min_split=draw(st.sampled_from([0.0, 0.005, 0.0125])),
        max_lump=draw(st.sampled_from([0.0125, 0.02, 0.05])),
        gap_method=draw(st.sampled_from(["local", "global"])),
        target_percentile=draw(st.sampled_from([50, 90, 95, 100])),
        alpha=draw(st.sampled_from([0.0, 0.5, 1.0])),
        initial_state_competes=draw(st.booleans()),
        alone_is_wide=draw(st.booleans()),
    )


def assert_as_the_slow_loop(distances, params, context=()) -> None:
    found = gap_clusters(distances, params, context)
    setting = slow.Setting(**params.model_dump())
    expected = slow.gap_clusters(distances.tolist(), setting, context)
    assert [list(items) for items in found.clusters] == expected.partition
    assert (found.gap is None) == (expected.gap is None)
    if expected.gap is not None:
        assert found.gap == pytest.approx(expected.gap, abs=ROUNDING)
    assert found.merge_distance == expected.merge_distance
    steps = [(step.n_clusters, step.merge_distance) for step in found.history]
    assert steps == [step[:2] for step in expected.history]
    gaps = [step[2] for step in expected.history]
    assert [step.gap for step in found.history] == pytest.approx(gaps, abs=ROUNDING)


@settings(max_examples=150)
@given(matrices(), parameters())
def test_matrices_full_of_ties_give_what_the_slow_loop_gives(distances, params):
    assert_as_the_slow_loop(distances, params)


@settings(max_examples=100)
@given(groups_on_a_line(), parameters())
def test_groups_give_what_the_slow_loop_gives(distances, params):
    assert_as_the_slow_loop(distances, params)


@settings(max_examples=100)
@given(st.one_of(matrices(), groups_on_a_line()), parameters(), st.data())
def test_groups_of_context_give_what_the_slow_loop_gives(distances, params, data):
    group_of = data.draw(
        st.lists(st.integers(-2, 2), min_size=len(distances), max_size=len(distances))
    )  # fmt: skip
    members = [[i for i, g in enumerate(group_of) if g == group] for group in range(3)]
    context = [items for items in members if items]
    assert_as_the_slow_loop(distances, params, context)
    found = gap_clusters(distances, params, context)
    assert {tuple(items) for items in context} <= set(found.clusters), "kept whole"


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 12), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_order_of_items_does_not_matter_where_no_distances_are_equal(seed, n, competes, alpha):
    random = np.random.default_rng(seed)
    distances = symmetric(n, random.uniform(0, 0.03, n * (n - 1) // 2).tolist())
    params = GapParams(alpha=alpha, initial_state_competes=competes)
    order = random.permutation(n)
    found = gap_clusters(distances, params)
    moved = gap_clusters(distances[np.ix_(order, order)], params)
    back = sorted(tuple(sorted(int(order[x]) for x in items)) for items in moved.clusters)
    assert back == list(found.clusters)


# ------------------------------------------------------------------------ by hand


def test_one_item_is_one_cluster_without_a_gap():
    only = ((0,),)
    assert gap_clusters(np.zeros((1, 1)), GapParams()) == GapClustering(only, None, 0.02, ())


def alone_in_pairs(d: float, D: float) -> np.ndarray:
    """Items 0 and 1 at ``d``, item 2 at ``D`` from both."""
    return np.array([[0, d, D], [d, 0, D], [D, D, 0]])


def clusters(distances, **options) -> tuple[tuple[tuple[int, ...], ...], float | None]:
    found = gap_clusters(np.asarray(distances, dtype=float), GapParams(**options))
    return found.clusters, None if found.gap is None else round(found.gap, 9)


APART, JOINED, ONE = ((0,), (1,), (2,)), ((0, 1), (2,)), ((0, 1, 2),)
ALONE = {"initial_state_competes": True}


def test_min_split_decides_what_is_always_one_cluster():
    pair = line(0, 0.01)
    # two clusters, three percentiles: six times 0.01 - 0
    assert clusters(pair, **ALONE) == (((0,), (1,)), 0.06)
    assert clusters(pair, min_split=0.01, **ALONE) == (((0,), (1,)), 0.06), "exclusive"
    assert clusters(pair, min_split=0.011, **ALONE) == (((0, 1),), None)


def test_max_lump_decides_what_is_never_one_cluster():
    pair = line(0, 0.015)
    assert clusters(pair) == (((0, 1),), 0.0)
    assert clusters(pair, max_lump=0.015) == (((0, 1),), 0.0), "inclusive"
    assert clusters(pair, max_lump=0.014) == (((0,), (1,)), 0.09)


def test_the_first_state_is_a_candidate_only_where_it_competes():
    pair = line(0, 0.015)
    assert clusters(pair, initial_state_competes=False) == (((0, 1),), 0.0)
    assert clusters(pair, initial_state_competes=True) == (((0,), (1,)), 0.09)


def test_alpha_prefers_few_clusters():
    # apart: 3 (0.015 + 0.015 + 0.03) = 0.18; joined: 3 (0.015 + 0.03) = 0.135; over k 0.06, 0.0675
    distances = alone_in_pairs(0.015, 0.03)
    assert clusters(distances, alpha=0.0, **ALONE) == (APART, 0.18)
    assert clusters(distances, alpha=1.0, **ALONE) == (JOINED, 0.0675)


def test_one_that_is_alone_stays_so_only_where_its_gap_is_wide():
    """Alone it is 0.03 - 0 from the next; as wide as max_lump 0.02 it is 0.03 - 0.02."""
    # apart: 3 (0.015 + 0.015 + 0.03) = 0.18, or 3 (-0.005 - 0.005 + 0.01) = 0 where it is wide;
    # joined: 3 (0.015 + 0.03) = 0.135, or 3 (0.015 + 0.01) = 0.075
    distances = alone_in_pairs(0.015, 0.03)
    assert clusters(distances, alone_is_wide=False, **ALONE) == (APART, 0.18)
    assert clusters(distances, alone_is_wide=True, **ALONE) == (JOINED, 0.075)


def test_a_local_gap_counts_each_cluster_and_a_global_one_all_distances():
    # global: apart has no distance within, so 0; joined 0.03 - 0.015
    distances = alone_in_pairs(0.015, 0.03)
    assert clusters(distances, gap_method="local", **ALONE) == (APART, 0.18)
    assert clusters(distances, gap_method="global", **ALONE) == (JOINED, 0.015)


def test_the_target_percentile_decides_how_many_distances_have_to_be_small():
    # 0 and 1 join; from them to 2 it is 0.004 and 0.03, in the middle 0.017, at most 0.03
    distances = [[0, 0.001, 0.004], [0.001, 0, 0.03], [0.004, 0.03, 0]]
    thresholds = {"gap_method": "global", "min_split": 0.02, "max_lump": 0.02}
    assert clusters(distances, target_percentile=50, **thresholds) == (ONE, None)
    # outside 0.004 at least, inside 0.001
    assert clusters(distances, target_percentile=100, **thresholds) == (JOINED, 0.003)


def test_context_is_kept_whole_and_widens_the_gap():
    """0 and 1 are 0.015 apart, 2 and 3 0.001, and all else 0.06."""
    pairs = [0.015, 0.06, 0.06, 0.06, 0.06, 0.001]
    distances = symmetric(4, pairs)
    params = GapParams(alpha=1.0, initial_state_competes=True)
    alone = gap_clusters(distances[:2, :2], params)
    assert alone.clusters == ((0,), (1,)), "alone, 0.045 is more than 0"
    assert alone.gap == pytest.approx(0.045)
    # the gap of the context does not count: apart 3 (0.015 + 0.015) / 2, joined 3 * 0.045
    among = gap_clusters(distances, params, [[2, 3]])
    assert among.clusters == ((0, 1), (2, 3))
    assert among.gap == pytest.approx(0.135)
    assert [step.gap for step in among.history] == pytest.approx([0.135])
    # two groups of context, 2 and 3, are nearer than min_split and stay two
    divided = gap_clusters(distances, params, [[3], [2]])
    assert divided.clusters == ((0, 1), (2,), (3,))
    # one group of context holds what is farther apart than max_lump
    held = gap_clusters(distances, params, [[1, 2]])
    assert held.clusters == ((0,), (1, 2), (3,))


def test_where_no_merge_scores_the_last_state_is_given():
    """Items 0 and 1 are 18 apart and 1 from the context: joined 3 (1 - 18) = -51, apart 6."""
    distances = symmetric(3, [18, 1, 1])
    thresholds = {"min_split": 0.5, "max_lump": 20.0}
    found = gap_clusters(distances, GapParams(**thresholds), [[2]])
    assert (found.clusters, found.gap, found.merge_distance) == (JOINED, -51, 20)
    competing = gap_clusters(distances, GapParams(**thresholds, **ALONE), [[2]])
    assert (competing.clusters, competing.gap) == (APART, 6)


def test_nothing_but_context_is_left_as_it_is():
    found = gap_clusters(line(0, 0.001, 0.05), GapParams(), [[0], [1], [2]])
    assert found.clusters == ((0,), (1,), (2,))
    assert found.gap == 0, "there is nothing whose gap counts"
    assert found.history == ()
    whole = gap_clusters(line(0, 0.001, 0.05), GapParams(), [[0, 1, 2]])
    assert (whole.clusters, whole.gap) == (ONE, None)


def test_the_diagonal_is_not_looked_at():
    distances = alone_in_pairs(0.015, 0.03)
    for gap_method in ("local", "global"):
        params = GapParams(gap_method=gap_method)
        expected = gap_clusters(distances, params)
        for value in (np.nan, 7.0):
            filled = distances.copy()
            np.fill_diagonal(filled, value)
            assert gap_clusters(filled, params) == expected


def test_the_gap_of_a_group_is_the_mean_over_the_percentiles():
    # inside 0.01; to 2 and 3: quantiles 0.1, 0.05 and 0 of 0.03 and 0.05 are .032, .031 and .03
    distances = symmetric(4, [0.01, 0.03, 0.3, 0.05, 0.3, 0.3])
    assert barcode_gap(distances, [[0, 1], [2], [3]], GapParams()) == pytest.approx(0.021)
    # item 2 alone: quantiles 0.1, 0.05 and 0 of 0.03 and 0.05, to 0 and 1, less its width
    expected = {False: 0.031, True: 0.031 - 0.02}
    for wide, gap in expected.items():
        params = GapParams(alone_is_wide=wide)
        assert barcode_gap(distances, [[2], [0, 1], [3]], params) == pytest.approx(gap)
    unknown = np.full((3, 3), np.nan)
    unknown[0, 1] = unknown[1, 0] = 0.01
    assert barcode_gap(unknown, [[0, 1], [2]], GapParams()) == 0.02, "nothing to compare with"


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("shape", [(2, 3), (0, 0), (3, 2)])
def test_a_matrix_that_is_not_square_is_refused(shape):
    text = rf"distances have the shape \({shape[0]}, {shape[1]}\); a square matrix of items"
    with pytest.raises(ParameterError, match=text):
        gap_clusters(np.zeros(shape), GapParams())


@pytest.mark.parametrize("other", [0.02, np.nan])
def test_distances_that_depend_on_the_direction_are_refused(other):
    distances = np.array([[0, 0.01], [other, 0]])
    with pytest.raises(ParameterError, match="the distance from one item to another is not that"):
        gap_clusters(distances, GapParams())


def test_thresholds_in_the_wrong_order_are_refused():
    assert GapParams(min_split=0.02, max_lump=0.02).min_split == 0.02, "equal ones are not"
    with pytest.raises(ValidationError, match=r"min_split 0\.03 is above max_lump 0\.02"):
        GapParams(min_split=0.03)


def test_the_slow_loop_has_the_same_parameters():
    own = set(asdict(slow.Setting()))
    assert own == set(GapParams.model_fields)
    assert slow.Setting(**GapParams().model_dump()) == slow.Setting()
