"""Scores of cell types, and the part of each marker in them.

Most tests set the statistics by hand: ``evidence_of`` takes the enrichment, positive fraction and
bonus of each marker of ``PANEL`` in one cluster.
"""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctr_engine.analysis import AnalysisParams
from ctr_engine.cluster_statistics import StatisticsParams, cluster_statistics
from ctr_engine.de import DEParams, de_lookup
from ctr_engine.errors import CellMismatchError
from ctr_engine.scoring import Evidence, ScoringParams, evidence, marker_evidence, marker_scores
from tests.builders import (
    column,
    evidence_of,
    expression,
    marker_map,
    plain,
    resolved,
    row,
)

PANEL = ["A", "B", "C", "D"]


def score_of(found: Evidence, content, path, **options):
    table = marker_scores(found, resolved(content, PANEL), ScoringParams(**options))
    return row(table, path=path)


# ---------------------------------------------------------------------- the sum


def test_the_score_is_the_sum_of_its_parts_less_the_penalty():
    found = evidence_of([1.0, 2.0, 0.5, -3.0], [0.4, 0.8, 0.25, 0.5], bonus=[1.0, 0.5, 0, 0])
    node = score_of(found, {"T": {"markers": ["A", "B"], "anti_markers": ["C", "D"]}}, "T")
    # The anti-markers: enrichment (0.5 + 0) / 2, positive fraction (0.25 + 0.5) / 2.
    assert node["mean_enrichment"] == 1.5
    assert node["mean_positive_fraction"] == pytest.approx(0.6)
    assert node["de_component"] == pytest.approx(0.6 * 0.75)
    assert node["anti_enrichment"] == 0.25
    assert node["anti_positive"] == 0.375
    assert node["anti_penalty"] == pytest.approx(0.8 * 0.625)
    assert node["score"] == pytest.approx(1.5 + 0.6 + 0.45 - 0.5)


def test_the_weights_of_bonus_and_penalty_are_options():
    found = evidence_of([1, 2, 0.5, 0], [0.5, 0.5, 0.5, 0.5], bonus=[1.0, 0.5, 0, 0])
    content = {"T": {"markers": ["A", "B"], "anti_markers": ["C"]}}
    assert score_of(found, content, "T", de_bonus=2.0)["de_component"] == 1.5
    assert score_of(found, content, "T", de_bonus=0.0)["de_component"] == 0
    assert score_of(found, content, "T", anti_weight=0.5)["anti_penalty"] == 0.5
    assert score_of(found, content, "T", anti_weight=0.0)["anti_penalty"] == 0


def test_means_are_over_resolved_markers_and_coverage_over_all():
    found = evidence_of([1, 3, 0, 0], [0.5, 1, 0, 0], on=[True, True, False, False])
    node = score_of(found, {"T": {"markers": ["A", "absent", "B", "lost"]}}, "T")
    assert node["coverage"] == 0.5
    assert (node["mean_enrichment"], node["mean_positive_fraction"]) == (2, 0.75)
    assert (node["frac_markers_on"], node["n_markers_on"]) == (1, 2)
    assert node["resolved_markers"] == ["A", "B"]
    assert node["missing_markers"] == ["absent", "lost"]


def test_a_cell_type_without_a_resolved_marker_keeps_its_row():
    found = evidence_of([1, 1, 1, 1], [1, 1, 1, 1])
    node = score_of(found, {"T": {"markers": ["absent"], "anti_markers": ["A"]}}, "T")
    nulls = (
        "score",
        "mean_enrichment",
        "mean_positive_fraction",
        "frac_markers_on",
        "de_component",
    )
    assert [node[name] for name in nulls] == [None] * 5
    assert (node["coverage"], node["n_markers_on"], node["resolved_markers"]) == (0, 0, [])
    assert node["anti_penalty"] == pytest.approx(1.6)


# ---------------------------------------------------------------------- anti-markers

ANTI = {"T": {"markers": ["D"], "anti_markers": ["A", "B", "C"]}}


@pytest.mark.parametrize(
    ("how", "enrichment", "positive"),
    [("max", 4, 0.9), ("top2mean", 3, 0.6), ("mean", 2, 0.5)],
)
def test_anti_markers_are_aggregated_apart(how, enrichment, positive):
    # The best two by enrichment are A and B, by positive fraction B and C.
    found = evidence_of([4, 2, -5, 0], [0.3, 0.9, 0.3, 0])
    node = score_of(found, ANTI, "T", anti_agg=how)
    assert node["anti_enrichment"] == pytest.approx(enrichment)
    assert node["anti_positive"] == pytest.approx(positive)
    assert node["anti_penalty"] == pytest.approx(0.8 * (enrichment + positive))


def test_the_mean_of_the_top_two_of_one_value_is_that_value():
    found = evidence_of([4, 2, 1, 0], [0.3, 0.9, 0.4, 0])
    content = {"T": {"markers": ["D"], "anti_markers": ["absent", "B"]}}
    node = score_of(found, content, "T")
    assert (node["anti_enrichment"], node["anti_positive"]) == (2, 0.9)


def test_an_anti_marker_that_is_depleted_costs_only_its_positive_cells():
    node = score_of(evidence_of([-4, -2, -1, 0], [0.5, 0, 0, 0]), ANTI, "T", anti_agg="max")
    assert (node["anti_enrichment"], node["anti_penalty"]) == (0, pytest.approx(0.4))


def test_without_a_resolved_anti_marker_there_is_no_penalty():
    found = evidence_of([4, 2, 1, 0], [1, 1, 1, 1])
    for anti in ([], ["absent"]):
        node = score_of(found, {"T": {"markers": ["D"], "anti_markers": anti}}, "T")
        assert node["anti_penalty"] == 0
        assert (node["anti_enrichment"], node["anti_positive"]) == (None, None)


def test_the_map_may_say_how_anti_markers_are_aggregated_and_scoring_wins():
    content = ANTI | {"_gating_params": {"anti_agg": "max"}}
    views = {"anti_agg": "mean"}
    of_map = AnalysisParams().scoring_for(marker_map(content))
    by_gating = AnalysisParams(gating=views).scoring_for(marker_map(content))
    by_scoring = AnalysisParams(scoring={"anti_agg": "top2mean"}, gating=views)
    assert of_map.anti_agg == "max"
    assert by_gating.anti_agg == "mean"
    assert by_scoring.scoring_for(marker_map(content)).anti_agg == "top2mean"
    assert AnalysisParams().scoring_for(marker_map(ANTI)).anti_agg == "top2mean"


# ---------------------------------------------------------------------- alternatives

LYMPHOID = {
    "L": {
        "markers": ["A", "B", "C"],
        "subtypes": {"T": {"markers": ["A"]}, "B": {"markers": ["B"]}, "N": {"markers": ["C"]}},
    }
}
LYMPHOID_EVIDENCE = ([3.0, 0, 1, 9], [0.9, 0, 0.3, 1])


def test_alternative_markers_are_averaged_over_their_better_half():
    found = evidence_of(*LYMPHOID_EVIDENCE, bonus=[0.1, 0.5, 0, 0], on=[True, False, False, True])
    node = score_of(found, LYMPHOID, "L", parent_markers="alternatives")
    assert node["mean_enrichment"] == 2  # of 3 and 1
    assert node["mean_positive_fraction"] == pytest.approx(0.6)
    assert node["de_component"] == pytest.approx(0.6 * 0.3)  # of 0.5 and 0.1
    assert node["frac_markers_on"] == pytest.approx(1 / 3)
    plain_mean = score_of(found, LYMPHOID, "L")
    assert plain_mean["mean_enrichment"] == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("children", "alternatives"),
    [
        ({}, False),
        ({"T": ["A"]}, False),  # one variant only
        ({"T": ["D"], "B": ["D"]}, False),  # no child holds a marker of the parent
        ({"T": ["A", "B", "C"], "B": ["C", "B", "A"]}, False),  # the same variant twice
        ({"T": ["A"], "B": ["A", "D"]}, False),
        ({"T": ["A"], "B": ["B"]}, True),
        ({"T": ["A"], "B": ["A", "B"]}, True),
    ],
)
def test_markers_are_alternatives_when_the_children_hold_different_ones(children, alternatives):
    subtypes = {label: {"markers": markers} for label, markers in children.items()}
    content = {"L": {"markers": ["A", "B", "C"], "subtypes": subtypes}}
    found = evidence_of(*LYMPHOID_EVIDENCE)
    node = score_of(found, content, "L", parent_markers="alternatives")
    assert node["mean_enrichment"] == pytest.approx(2 if alternatives else 4 / 3)


def test_grandchildren_count_for_alternatives_and_anti_markers_do_not():
    deep = {"T": {"markers": ["D"], "subtypes": {"X": {"markers": ["A"]}}}, "B": {"markers": ["B"]}}
    anti = {"T": {"markers": ["D"], "anti_markers": ["A"]}, "B": {"markers": ["B"]}}
    found = evidence_of(*LYMPHOID_EVIDENCE)
    for subtypes, expected in ((deep, 2), (anti, 4 / 3)):
        content = {"L": {"markers": ["A", "B", "C"], "subtypes": subtypes}}
        node = score_of(found, content, "L", parent_markers="alternatives")
        assert node["mean_enrichment"] == pytest.approx(expected)


def test_alternatives_are_judged_by_columns_and_not_by_names():
    subtypes = {"T": {"markers": ["a"]}, "B": {"markers": ["A"]}}
    content = {"L": {"markers": ["A", "B", "C"], "subtypes": subtypes}}
    node = score_of(evidence_of(*LYMPHOID_EVIDENCE), content, "L", parent_markers="alternatives")
    assert node["mean_enrichment"] == pytest.approx(4 / 3)


# ---------------------------------------------------------------------- markers on, DE bonus


def found_evidence(rows, letters, content, scores=None, **options):
    view = expression(rows, PANEL)
    params = ScoringParams(**options)
    of_clusters = cluster_statistics(view, list(letters), params)
    lookup = de_lookup(of_clusters, params, scores=scores)
    return evidence(of_clusters, lookup, resolved(content, PANEL), params)


# Enrichment and positive fraction of cluster b: A 0 and 1/2, B above 0 and 1/4, C above 0 and 3/4.
ON_ROWS = [
    [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1],
    [1, 9, 4, 0], [1, 1, 5, 1], [0, 1, 5, 0], [0, 1, 5, 1],
]  # fmt: skip
ONE = {"T": {"markers": ["A", "B", "C", "D"]}}


def test_a_marker_is_on_above_the_least_share_and_above_no_enrichment():
    found = found_evidence(ON_ROWS, "aaaabbbb", ONE, positive_quantile=0.9)
    assert found.positive_fraction[1].tolist() == [0.5, 0.25, 0.75, 0.5]
    assert found.on[1].tolist() == [True, True, True, False]  # D has an enrichment of 0
    stricter = found_evidence(
        ON_ROWS, "aaaabbbb", ONE, positive_quantile=0.9, on_min_positive_fraction=0.25
    )
    assert stricter.on[1].tolist() == [True, False, True, False]


@pytest.mark.parametrize(("outlier", "on"), [(1e8, True), (1e10, False)])
def test_an_enrichment_below_a_billionth_turns_no_marker_on(outlier, on):
    # Medians 0.25 and 1, population SD outlier / sqrt(3): enrichment 1.3e-8 or 1.3e-10.
    rows = np.tile(np.array([[-outlier], [0], [0.5], [0], [1], [outlier]]), 4)
    found = found_evidence(rows, "aaabbb", ONE)
    assert found.enrichment[1, 0] == pytest.approx(0.75 * 3**0.5 / outlier)
    assert found.positive_fraction[1, 0] == 2 / 3
    assert found.on[1, 0] == on


DOC_FREQ = {
    "R": {
        "markers": ["A", "B"],
        "subtypes": {"X": {"markers": ["A"]}, "Y": {"markers": ["A", "C", "absent"]}},
    },
    "S": {"markers": ["D"], "anti_markers": ["C"]},
}


def test_commonness_counts_the_cell_types_whose_resolved_markers_hold_the_column():
    found = found_evidence(ON_ROWS, "aaaabbbb", DOC_FREQ)
    assert found.doc_freq.tolist() == [3, 1, 1, 1]


def test_the_bonus_is_the_weight_of_the_rank_less_commonness():
    scores = np.array([[-1, -1, -1, -1], [9, 8, 7, -1]], dtype=np.float32)
    found = found_evidence(ON_ROWS, "aaaabbbb", DOC_FREQ, scores)
    common, rare = 1 - math.sqrt(3 / 4), 1 - math.sqrt(1 / 4)
    assert found.bonus[1].tolist() == pytest.approx([common, 2 / 3 * rare, 1 / 3 * rare, 0])
    assert found.bonus[0].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("alpha", "rest"), [(0.0, 0), (1.0, 1 / 4), (2.0, 7 / 16)])
def test_the_exponent_of_commonness_is_an_option(alpha, rest):
    scores = np.array([[-1, -1, -1, -1], [9, -1, -1, -1]], dtype=np.float32)
    found = found_evidence(ON_ROWS, "aaaabbbb", DOC_FREQ, scores, de_commonness_alpha=alpha)
    assert found.bonus[1, 0] == pytest.approx(rest)


def test_the_reference_example_of_the_bonus_comes_out():
    # K = 8: rank 1 with commonness 0.1 gives 0.68, rank 4 with 0.2 gives 0.34; together 0.20.
    first, fourth = 1 - 0.1**0.5, 5 / 8 * (1 - 0.2**0.5)
    found = evidence_of([0] * 4, [0] * 4, bonus=[first, fourth, 0, 0])
    node = score_of(found, {"Immune": {"markers": ["A", "B", "C"]}}, "Immune")
    assert node["de_component"] == pytest.approx(0.6 * (0.68 + 0.34) / 3, abs=0.005)


# ---------------------------------------------------------------------- the evidence table


def test_the_evidence_table_has_one_row_per_resolved_name_and_says_what_it_brought():
    content = {"T": {"markers": ["a", "absent", "B"], "anti_markers": ["d"]}}
    scores = np.array([[-1, -1, -1, -1], [9, -1, -1, 8]], dtype=np.float32)
    found = found_evidence(ON_ROWS, "aaaabbbb", content, scores)
    table = marker_evidence(found, resolved(content, PANEL), ScoringParams())
    of_b = table[table["cluster_id"] == "b"]
    assert of_b["marker"].tolist() == ["a", "B", "d"]
    assert of_b["column"].tolist() == ["A", "B", "D"]
    assert of_b["role"].tolist() == ["marker", "marker", "anti_marker"]
    assert [plain(rank) for rank in of_b["de_rank"]] == [1, None, 2]
    assert of_b["de_bonus"].tolist() == [0, 0, 0]  # one cell type of one: nothing is rare
    assert of_b["doc_freq"].tolist() == [1, 1, 0]
    assert of_b["statistic"].tolist() == ["mean", "median", "median"]
    assert of_b["threshold"].tolist() == [1, 1, 1]
    assert of_b["positive_fraction"].tolist() == [0.5, 1, 0.5]
    assert of_b["on"].tolist() == [True, True, False]


def test_the_bonus_of_an_anti_marker_is_nothing_in_the_evidence_table():
    content = {"T": {"markers": ["A"], "anti_markers": ["D"]}, "S": {"markers": ["D"]}}
    scores = np.array([[-1, -1, -1, -1], [9, -1, -1, 8]], dtype=np.float32)
    found = found_evidence(ON_ROWS, "aaaabbbb", content, scores, de_commonness_alpha=1.0)
    bonus = column(
        marker_evidence(found, resolved(content, PANEL), ScoringParams()),
        "de_bonus",
        "cluster_id",
        "path",
        "role",
    )
    assert bonus["b", "T", "marker"] == pytest.approx(0.5)
    assert bonus["b", "T", "anti_marker"] == 0
    assert bonus["b", "S", "marker"] == pytest.approx(0.25)


def test_what_a_marker_adds_to_the_score_is_its_share_of_each_part():
    # Enrichment, fraction and bonus of two markers; of the anti-markers the two largest count.
    found = evidence_of([1.0, -2.0, 0.5, 3.0], [0.4, 0.8, 0.25, 0.5], bonus=[1.0, 0.5, 0, 0])
    content = {"T": {"markers": ["A", "B"], "anti_markers": ["C", "D"]}}
    options = {"de_bonus": 0.6, "anti_weight": 0.8}
    table = marker_evidence(found, resolved(content, PANEL), ScoringParams(**options))
    assert table["in_score"].tolist() == pytest.approx(
        [(1 + 0.4 + 0.6) / 2, (-2 + 0.8 + 0.3) / 2, -0.8 * 0.75 / 2, -0.8 * 3.5 / 2]
    )
    only_largest = ScoringParams(anti_agg="max", **options)
    table = marker_evidence(found, resolved(content, PANEL), only_largest)
    assert table["in_score"].tolist()[2:] == pytest.approx([0, -0.8 * 3.5])


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["max", "top2mean", "mean"]),
    st.sampled_from(["all", "alternatives"]),
)
def test_what_the_markers_add_sums_up_to_the_score(seed, anti_agg, parent_markers):
    random = np.random.default_rng(seed)
    found = evidence_of(random.normal(size=4), random.random(4), bonus=random.random(4))
    content = {
        "P": {
            "markers": ["A", "B", "C"],
            "anti_markers": ["D"],
            "subtypes": {
                "S": {"markers": ["A"], "anti_markers": ["B", "C", "D"]},
                "T": {"markers": ["B", "D"]},
            },
        }
    }
    params = ScoringParams(anti_agg=anti_agg, parent_markers=parent_markers)
    table = marker_evidence(found, resolved(content, PANEL), params)
    sums = table.groupby("path")["in_score"].sum().to_dict()
    scores = marker_scores(found, resolved(content, PANEL), params)
    assert sums == pytest.approx(column(scores, "score", "path"))


# ---------------------------------------------------------------------- errors and options


def test_statistics_lookup_and_map_must_speak_of_the_same_markers_and_clusters():
    first = cluster_statistics(expression(ON_ROWS, PANEL), list("aaaabbbb"), StatisticsParams())
    other = cluster_statistics(expression(ON_ROWS, PANEL), list("aaaacccc"), StatisticsParams())
    message = "statistics, DE lookup and marker map are not of the same clusters and panel"
    for lookup, panel in (
        (de_lookup(other, DEParams()), PANEL),
        (de_lookup(first, DEParams()), PANEL[::-1]),
        (de_lookup(first, DEParams()).iloc[::-1], PANEL),
    ):
        with pytest.raises(CellMismatchError, match=message):
            evidence(first, lookup, resolved(ONE, panel), ScoringParams())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"anti_agg": "min"}, "'max', 'top2mean' or 'mean'"),
        ({"parent_markers": "best"}, "'all' or 'alternatives'"),
        ({"anti_weight": -0.1}, "greater than or equal to 0"),
        ({"de_bonus": -0.1}, "greater than or equal to 0"),
        ({"de_commonness_alpha": -0.1}, "greater than or equal to 0"),
        ({"on_min_positive_fraction": 1.1}, "less than or equal to 1"),
        ({"de_bonus": math.inf}, "finite number"),
        ({"de_bonuss": 1.0}, "Extra inputs are not permitted"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        ScoringParams(**params)


# ---------------------------------------------------------------------- the whole of scoring

FOUR = {
    "R": {"markers": ["A", "B"], "anti_markers": ["C"], "subtypes": {"X": {"markers": ["D"]}}},
    "S": {"markers": ["C", "D"], "anti_markers": ["A"]},
}


def random_rows(seed):
    rng = np.random.default_rng(seed)
    ids = rng.choice(["0", "1", "2"], 24).tolist()
    return rng.normal(1, 1, (24, 4)).round(1), ids


def scores_by_key(rows, ids, panel=PANEL, **options):
    params = ScoringParams(**options)
    of_clusters = cluster_statistics(expression(rows, panel), ids, params)
    on_panel = resolved(FOUR, panel)
    found = evidence(of_clusters, de_lookup(of_clusters, params), on_panel, params)
    table = marker_scores(found, on_panel, params)
    return table.set_index(["cluster_id", "path"]).drop(columns=["label"])


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_neither_cell_order_nor_cluster_names_matter(seed):
    rows, ids = random_rows(seed)
    order = np.random.default_rng(seed).permutation(24)
    first = scores_by_key(rows, ids)
    pd.testing.assert_frame_equal(
        first, scores_by_key(rows[order], [ids[i] for i in order]), check_exact=True
    )
    renamed = scores_by_key(rows, [{"0": "a", "1": "b", "2": "c"}[i] for i in ids])
    assert plain(first.to_numpy()) == plain(renamed.to_numpy())


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_panel_matters_for_equal_de_scores_only(seed):
    rng = np.random.default_rng(seed)
    rows, ids = rng.normal(1, 1, (24, 4)), rng.choice(["0", "1", "2"], 24).tolist()
    order = rng.permutation(4)
    first = scores_by_key(rows, ids, de_bonus=0.0)
    second = scores_by_key(rows[:, order], ids, [PANEL[i] for i in order], de_bonus=0.0)
    numbers = ["score", "mean_enrichment", "mean_positive_fraction", "anti_penalty", "n_markers_on"]
    pd.testing.assert_frame_equal(first[numbers], second[numbers])


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_units_of_a_marker_do_not_matter(seed):
    rows, ids = random_rows(seed)
    factors = np.array([2.0, 0.5, 8, 1])  # powers of two scale without rounding
    first, second = scores_by_key(rows.astype(np.float32), ids), scores_by_key(rows * factors, ids)
    assert plain(first.to_numpy()) == plain(second.to_numpy())


def test_the_evidence_table_of_a_map_that_the_panel_lacks_is_empty():
    content = {"T": {"markers": ["absent"]}}
    found = found_evidence(ON_ROWS, "aaaabbbb", content)
    assert marker_evidence(found, resolved(content, PANEL), ScoringParams()).shape == (0, 15)
