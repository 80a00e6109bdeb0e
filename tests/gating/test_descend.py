"""The walk from the roots to a label. Evidence is set by hand: a node of one marker with positive
fraction 0.5 has the score enrichment + 0.5.
"""

import numpy as np
import pytest

from ctr_engine.gating.compete import ranked
from ctr_engine.tables import DecisionSteps, arrow_schema
from tests.builders import evidence_of, judged, plain

PANEL = "ABCDEFGH"


def found(*enrichment):
    """Evidence of markers A, B, ... with these enrichments."""
    values = [*enrichment, *[0.0] * (len(PANEL) - len(enrichment))]
    return evidence_of(values, [0.5] * len(PANEL), panel=PANEL)


def node(marker, **subtypes):
    body = {"markers": [marker]}
    return body | ({"subtypes": subtypes} if subtypes else {})


def roots(**markers):
    return {label: node(marker) for label, marker in markers.items()}


TREE = {
    "R": node("A", X=node("C", U=node("G"), V=node("H")), Y=node("D")),
    "S": node("B", Z=node("E")),
}


# ---------------------------------------------------------------------- the way down


def test_roots_compete_and_then_the_children_of_the_winner():
    result = judged(TREE, found(2, 1, 2, 1, 9, 0, 1, 3))
    assert result.steps["child_path"].tolist() == [
        "R", "S", "R / X", "R / Y", "R / X / U", "R / X / V",
    ]  # fmt: skip
    assert result.steps["step_idx"].tolist() == [0, 0, 1, 1, 2, 2]
    assert [plain(label) for label in result.steps["parent_label"]] == [
        None,
        None,
        "R",
        "R",
        "X",
        "X",
    ]
    assert [plain(path) for path in result.steps["parent_path"]] == [
        None, None, "R", "R", "R / X", "R / X",
    ]  # fmt: skip
    assert result.steps["selected"].tolist() == [True, False, True, False, False, True]
    margins = [plain(margin) for margin in result.steps["margin_to_runner_up"]]
    assert margins == [1, None, 1, None, None, 2]
    assert result.assigned() == {
        "assigned_label": "V",
        "assigned_path": "R / X / V",
        "assigned_level": 2,
        "assigned_score": 3.5,
        "root_label": "R",
        "coverage": 1,
        "resolved_markers": ["H"],
    }
    assert (result.walk.stop_reason, result.walk.confidence) == ("leaf_reached", 1)


def test_the_confidence_is_the_smallest_margin_of_the_path():
    assert judged(TREE, found(2, 0, 2, 1.5, 0, 0, 1, 3)).walk.confidence == 0.5
    assert judged(TREE, found(2, 0, 2, 0, 0, 0, 1, 1.25)).walk.confidence == 0.25


def test_a_child_that_fails_is_passed_over_by_the_margin():
    result = judged(TREE, found(2, -9, 2, -9, 0, 0, 3, 1))
    assert result.step("S")["margin_to_runner_up"] is None
    assert result.step("R")["margin_to_runner_up"] == 1e6
    assert result.walk.confidence == 2


def test_no_passing_root_leaves_the_cluster_unassigned():
    result = judged(TREE, found(-1, -1))
    assert result.walk.stop_reason == "no_root_passed"
    assert result.walk.confidence == 0
    assert result.assigned() == {
        "assigned_label": "Unassigned",
        "assigned_path": "",
        "assigned_level": -1,
        "assigned_score": None,
        "root_label": "Unassigned",
        "coverage": None,
        "resolved_markers": [],
    }
    assert not result.steps["selected"].any()
    assert result.steps["margin_to_runner_up"].isna().all()


def test_no_passing_child_leaves_the_cluster_at_the_parent():
    result = judged(TREE, found(2, 1, -2, -2))
    assert result.walk.stop_reason == "no_child_passed"
    assert result.assigned()["assigned_path"] == "R"
    assert result.walk.confidence == 1


def test_a_cell_type_alone_at_its_level_has_a_margin_of_a_million():
    result = judged({"R": node("A", X=node("B"))}, found(1, 1))
    assert [plain(m) for m in result.steps["margin_to_runner_up"]] == [1e6, 1e6]
    assert result.walk.confidence == 1e6


# ---------------------------------------------------------------------- ambiguous roots


def test_roots_that_are_too_close_give_both_names():
    result = judged(roots(R="A", S="B", T="C"), found(1, 1.125, 0))
    assert result.walk.stop_reason == "ambiguous_root"
    assert result.assigned() == {
        "assigned_label": "S~R",
        "assigned_path": "S~R",
        "assigned_level": 0,
        "assigned_score": 1.625,
        "root_label": "S~R",
        "coverage": 1,
        "resolved_markers": ["B"],
    }
    assert result.walk.confidence == 0.125
    assert not result.steps["selected"].any()
    margins = [plain(m) for m in result.steps["margin_to_runner_up"]]
    assert margins == [None, 0.125, None]


def test_of_three_close_roots_the_best_two_are_named():
    result = judged(roots(R="A", S="B", T="C"), found(1, 1.125, 1.0625))
    assert result.assigned()["assigned_label"] == "S~T"
    assert result.walk.confidence == 0.0625


def test_roots_are_ambiguous_under_the_gap_and_not_at_it():
    close = roots(R="A", S="B")
    assert judged(close, found(1.25, 1)).walk.stop_reason == "leaf_reached"
    assert judged(close, found(1.24, 1)).walk.stop_reason == "ambiguous_root"
    wider = judged(close, found(1.25, 1), root_gap_threshold=0.26)
    assert wider.walk.stop_reason == "ambiguous_root"
    narrower = judged(close, found(1.24, 1), root_gap_threshold=0.2)
    assert narrower.walk.stop_reason == "leaf_reached"


def own_gap(gap):
    return {"markers": ["A"], "gating_overrides": {"min_gap": gap}}


@pytest.mark.parametrize("profile", ["reference", "adaptive"])
def test_a_given_min_gap_of_level_0_takes_the_place_of_the_root_gap(profile):
    by_map = roots(R="A", S="B") | {"_gating_params": {"min_gap": {"0": 0.5}}}
    for content, gating in (
        (by_map, {}),
        (by_map, {"root_gap_threshold": 0.0}),
        (roots(R="A", S="B"), {"min_gap": {0: 0.5}}),
        (by_map, {"min_gap": {1: 0.0}}),
    ):
        result = judged(content, found(1.375, 1), profile=profile, **gating)
        assert result.walk.stop_reason == "ambiguous_root"
    explicit = judged(by_map, found(1.375, 1), profile=profile, min_gap={0: 0.25})
    assert explicit.walk.stop_reason == "leaf_reached"


@pytest.mark.parametrize("profile", ["reference", "adaptive"])
def test_the_min_gap_of_a_root_itself_beats_both(profile):
    content = {"R": own_gap(1.0), "S": node("B"), "_gating_params": {"min_gap": {"0": 0.1}}}
    assert judged(content, found(1.5, 1), profile=profile).walk.stop_reason == "ambiguous_root"
    content["R"] = own_gap(0.0)
    assert judged(content, found(1.01, 1), profile=profile).walk.stop_reason == "leaf_reached"


def test_only_the_gap_of_the_winner_counts():
    content = {"R": own_gap(1.0), "S": node("B")}
    assert judged(content, found(1, 1.5)).walk.stop_reason == "leaf_reached"


@pytest.mark.parametrize(
    ("profile", "stop"), [("reference", "ambiguous_root"), ("adaptive", "leaf_reached")]
)
def test_the_adaptive_profile_has_a_smaller_root_gap(profile, stop):
    result = judged(roots(R="A", S="B"), found(1.1875, 1), profile=profile)
    assert result.walk.stop_reason == stop


# ---------------------------------------------------------------------- ambiguous siblings


def siblings(**subtypes):
    return {"R": node("A", **subtypes)}


def test_siblings_that_are_too_close_leave_the_cluster_at_the_parent():
    result = judged(siblings(X=node("B"), Y=node("C")), found(2, 1, 1.25))
    assert result.walk.stop_reason == "ambiguous_siblings"
    assert result.assigned()["assigned_path"] == "R"
    assert result.assigned()["assigned_score"] == 2.5
    assert result.walk.confidence == 0.25
    assert result.steps["selected"].tolist() == [True, False, False]
    assert [plain(m) for m in result.steps["margin_to_runner_up"]] == [1e6, None, 0.25]
    assert [result.resolved.nodes[row].node.label for row in result.walk.candidates] == ["Y", "X"]


def test_the_gap_of_siblings_is_that_of_their_level():
    level_1 = siblings(X=node("B"), Y=node("C"))
    level_2 = siblings(X=node("A", U=node("B"), V=node("C")))
    for content, lead, stop in (
        (level_1, 0.3125, "leaf_reached"),
        (level_1, 0.25, "ambiguous_siblings"),
        (level_2, 0.25, "leaf_reached"),
        (level_2, 0.1875, "ambiguous_siblings"),
    ):
        assert judged(content, found(2, 1 + lead, 1)).walk.stop_reason == stop
    explicit = judged(level_1, found(2, 1.25, 1), min_gap={1: 0.25})
    assert explicit.walk.stop_reason == "leaf_reached"
    adaptive = judged(level_1, found(2, 1.1875, 1), profile="adaptive")
    assert adaptive.walk.stop_reason == "leaf_reached"


def test_the_gap_of_siblings_is_the_winners():
    picky = {"markers": ["B"], "gating_overrides": {"min_gap": 1.0}}
    content = siblings(X=picky, Y=node("C"))
    assert judged(content, found(2, 1.5, 1)).walk.stop_reason == "ambiguous_siblings"
    assert judged(content, found(2, 1, 1.5)).walk.stop_reason == "leaf_reached"


FOUR = siblings(X=node("B"), Y=node("C"), Z=node("D"), W=node("E"))


def candidates(result):
    return [result.resolved.nodes[row].node.label for row in result.walk.candidates]


@pytest.mark.parametrize(
    ("limit", "expected"), [(2, ["Y", "W"]), (3, ["Y", "W", "X"]), (5, ["Y", "W", "X", "Z"])]
)
def test_the_best_candidates_of_those_within_the_gap_vote(limit, expected):
    result = judged(FOUR, found(2, 1, 1.25, 0.96875, 1.125), max_ambiguity=limit)
    assert candidates(result) == expected


def test_a_sibling_at_the_gap_is_no_candidate():
    result = judged(FOUR, found(2, 1, 1.25, 0, 1.125), min_gap={1: 0.25})
    assert candidates(result) == ["Y", "W"]
    wider = judged(FOUR, found(2, 1, 1.25, 0, 1.125), min_gap={1: 0.26})
    assert candidates(wider) == ["Y", "W", "X"]


def test_a_sibling_that_fails_is_no_candidate():
    content = siblings(
        X={"markers": ["B"], "gating_overrides": {"min_enrichment": 5.0}}, Y=node("C"), Z=node("D")
    )
    assert candidates(judged(content, found(2, 1.1, 1, 1.05))) == ["Z", "Y"]


# ---------------------------------------------------------------------- ties


def test_equal_scores_are_ranked_in_the_order_of_the_map_with_margin_0():
    result = judged(roots(S="A", R="B"), found(1, 1), root_gap_threshold=0.0)
    assert result.assigned()["assigned_label"] == "S"
    assert result.step("S")["margin_to_runner_up"] == 0
    assert result.walk.confidence == 0


@pytest.mark.parametrize(("lead", "winner"), [(5e-10, "S"), (2e-9, "R")])
def test_scores_within_a_billionth_are_equal(lead, winner):
    result = judged(roots(S="A", R="B"), found(1, 1 + lead), root_gap_threshold=0.0)
    assert result.assigned()["assigned_label"] == winner
    margin = result.step(winner)["margin_to_runner_up"]
    assert margin == (0 if winner == "S" else pytest.approx(2e-9, rel=1e-6))


def test_equal_roots_are_ambiguous_and_named_in_the_order_of_the_map():
    result = judged(roots(S="A", T="C", R="B"), found(1, 1, 1))
    assert result.assigned()["assigned_label"] == "S~T"
    assert result.walk.confidence == 0


def test_equal_means_equal_to_the_best_that_is_left():
    # 0.8 and 1.6 billionths behind: the last is equal to the second and not to the first.
    scores = np.array([1 - 1.6e-9, 1 - 0.8e-9, 1.0, 0.5])
    every = np.ones(4, dtype=bool)
    assert ranked(scores, every) == [1, 2, 0, 3]
    assert ranked(scores[::-1], every) == [1, 2, 3, 0]
    assert ranked(scores, ~every) == []


# ---------------------------------------------------------------------- the tables


def test_decision_steps_hold_the_parts_of_the_score():
    content = {"R": {"markers": ["A", "absent"], "anti_markers": ["B"]}}
    step = judged(content, found(2, 0.25)).step("R")
    assert (step["child_coverage"], step["child_pos_frac"], step["child_enrichment"]) == (
        0.5,
        0.5,
        2,
    )
    assert step["child_anti_penalty"] == pytest.approx(0.8 * 0.75)
    assert step["child_score"] == pytest.approx(2.5 - 0.6)
    assert (step["child_level"], step["child_label"]) == (0, "R")


def test_the_best_that_passed_names_the_one_that_it_leads():
    content = {"R": {"markers": ["A"]}, "S": {"markers": ["B"]}, "T": {"markers": ["C"]}}
    result = judged(content, evidence_of([1.0, 3.0, 2.0, 0], [0.5] * 4))
    assert [result.step(path)["runner_up_path"] for path in "RST"] == [None, "T", None]
    alone = judged({"R": {"markers": ["A"]}}, evidence_of([1.0, 0, 0, 0], [0.5] * 4))
    assert alone.step("R")["runner_up_path"] is None


def test_the_columns_of_the_reference_come_first():
    names = arrow_schema(DecisionSteps).names
    assert names[:13] == [
        "cluster_id", "step_idx", "parent_label", "child_label", "child_passed_gate",
        "child_score", "child_coverage", "child_pos_frac", "child_enrichment",
        "child_anti_penalty", "selected", "margin_to_runner_up", "fail_reason",
    ]  # fmt: skip
