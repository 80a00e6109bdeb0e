"""Each gate, its order among the others, and inheritance. Evidence of markers A to D by hand."""

import pytest

from ctr_engine.errors import PanelError
from ctr_engine.tables import GATES
from tests.builders import annotated, evidence_of, expression, judged

GOOD = evidence_of([1, 1, 1, 1], [0.5, 0.5, 0.5, 0.5])
OPEN = {"min_pos_frac": {0: 0.0}, "min_enrichment": {0: -9.0}, "min_coverage": {0: 0.0}}


def node(markers, **more):
    return {"markers": list(markers), **more}


# ---------------------------------------------------------------------- order


def test_all_gates_are_recorded_and_the_first_that_fails_is_the_reason():
    # Everything fails; then one gate after another is opened, in their order.
    found = evidence_of([-2, -2, 3, 3], [0.1, 0.1, 0.9, 0.9])
    content = {
        "R": node(["A", "B", "x", "y", "z"], anti_markers=["C"]),
        "_gating_params": {
            "root_hard_requirements": {"R": {"marker": "A", "min_pos_frac": 0.5}},
            "root_veto_markers": {"R": {"markers": ["D"], "max_pos_frac": 0.5}},
        },
    }
    openings = [
        {},
        {"root_hard_requirements": {"R": {"marker": "A", "min_pos_frac": 0.0}}},
        {"root_veto_markers": {"R": {"markers": ["D"], "max_pos_frac": 1.0}}},
        {"min_coverage": {0: 0.4}},
        {"min_pos_frac": {0: 0.1}},
        {"min_enrichment": {0: -2.0}},
        {"anti_penalty_hard_gate": 9.0},
    ]
    gating, reasons = {}, []
    for opening in openings:
        gating |= opening
        result = judged(content, found, **gating)
        reasons.append(result.step("R")["fail_reason"])
        assert result.details["gate"].tolist() == list(GATES)
        closed = [False] * (len(GATES) - len(gating))
        assert result.details["passed"].tolist() == [True] * len(gating) + closed
    assert reasons == [*GATES, None]


def test_a_root_without_a_rule_has_no_row_for_it():
    result = judged({"R": node("A"), "S": node("B")}, GOOD)
    assert result.details[result.details["path"] == "R"]["gate"].tolist() == list(GATES[2:])


def test_root_rules_hold_for_roots_only():
    rules = {
        "root_hard_requirements": {"R": {"marker": "D", "min_pos_frac": 0.1}},
        "root_veto_markers": {"R": {"markers": ["C"], "max_pos_frac": 0.9}},
    }
    result = judged({"R": node("A", subtypes={"R": node("B")})}, GOOD, **rules)
    assert result.walk.stop_reason == "leaf_reached"
    assert result.details.groupby("path").size().to_dict() == {"R": 6, "R / R": 4}


# ---------------------------------------------------------------------- hard requirement


def required(found, **rule):
    gating = {"root_hard_requirements": {"R": {"marker": "d", **rule}}}
    return judged({"R": node("A")}, found, **gating)


@pytest.mark.parametrize(
    ("rule", "value", "threshold"),
    [
        ({"min_pos_frac": 0.6}, 0.5, 0.6),
        ({"min_pos_frac": 0.6, "min_enrichment": 2.0}, 0.5, 0.6),
        ({"min_pos_frac": 0.5, "min_enrichment": 2.0}, 1, 2),
        ({"min_enrichment": 2.0}, 1, 2),
    ],
)
def test_a_hard_requirement_checks_the_fraction_and_then_the_enrichment(rule, value, threshold):
    result = required(GOOD, **rule)
    step = result.step("R")
    assert step["fail_reason"] == "root_hard_requirement"
    assert (step["fail_marker"], step["fail_value"]) == ("d", value)
    assert step["fail_threshold"] == threshold
    assert not result.gate("R", "root_hard_requirement")["passed"]


@pytest.mark.parametrize(
    "rule", [{"min_pos_frac": 0.5}, {"min_enrichment": 1.0, "min_pos_frac": 0.5}]
)
def test_a_hard_requirement_passes_at_its_thresholds(rule):
    result = required(GOOD, **rule)
    assert result.gate("R", "root_hard_requirement")["passed"]
    assert result.step("R")["fail_marker"] is None


def test_a_required_marker_that_the_panel_lacks_rejects_the_root_and_says_so():
    gating = {"root_hard_requirements": {"R": {"marker": "absent", "min_pos_frac": 0.0}}}
    result = judged({"R": node("A")}, GOOD, **gating)
    step = result.step("R")
    assert (step["fail_reason"], step["fail_marker"]) == ("root_hard_requirement", "absent")
    assert (step["fail_value"], step["fail_threshold"]) == (None, 0)
    assert result.warnings == (
        (
            "Root 'R' requires the marker 'absent', which is missing on this panel: every cluster "
            "is refused there. Drop the requirement or add an alias."
        ),
    )


def test_a_rule_is_replaced_whole():
    content = {
        "R": node("A"),
        "S": node("B"),
        "_gating_params": {
            "root_hard_requirements": {
                "R": {"marker": "D", "min_pos_frac": 0.9, "min_enrichment": 9.0},
                "S": {"marker": "D", "min_pos_frac": 0.8},
            }
        },
    }
    explicit = {"root_hard_requirements": {"R": {"marker": "C", "min_pos_frac": 0.5}}}
    result = judged(content, GOOD, **explicit)
    assert result.step("R")["child_passed_gate"]
    assert result.step("S")["fail_threshold"] == 0.8


def test_a_rule_on_a_label_that_is_no_root_is_an_error():
    rules = {"root_veto_markers": {"X": {"markers": ["A"], "max_pos_frac": 0.5}}}
    with pytest.raises(PanelError, match="root rules: 'X' is not a root; the roots are R"):
        judged({"R": node("A", subtypes={"X": node("B")})}, GOOD, **rules)


# ---------------------------------------------------------------------- veto


def vetoed(markers, limit, positive=(0.5, 0.2, 0.3, 0.9)):
    gating = {"root_veto_markers": {"R": {"markers": markers, "max_pos_frac": limit}}}
    return judged({"R": node("A")}, evidence_of([1, 1, 1, 1], positive), **gating)


def test_of_several_vetoes_the_first_in_order_is_reported():
    step = vetoed(["B", "c", "D"], 0.25).step("R")
    assert (step["fail_reason"], step["fail_marker"]) == ("root_veto", "c")
    assert (step["fail_value"], step["fail_threshold"]) == (0.3, 0.25)
    assert vetoed(["D", "C"], 0.25).step("R")["fail_marker"] == "D"


def test_a_veto_rejects_above_its_limit_and_not_at_it():
    assert vetoed(["B", "C"], 0.3).step("R")["child_passed_gate"]
    assert not vetoed(["B", "C"], 0.29).step("R")["child_passed_gate"]


def test_a_veto_marker_that_the_panel_lacks_is_a_warning():
    result = vetoed(["absent", "B"], 0.3)
    assert result.step("R")["child_passed_gate"]
    assert result.warnings == (
        "Root 'R': the veto marker 'absent' is missing on this panel and cannot veto.",
    )
    alone = vetoed(["absent"], 0.3).gate("R", "root_veto")
    assert (alone["passed"], alone["value"], alone["threshold"]) == (True, None, 0.3)


# ---------------------------------------------------------------------- coverage


def test_coverage_passes_at_its_threshold():
    content = {"R": node(["A", "x"])}
    assert judged(content, GOOD).step("R")["child_passed_gate"]  # 0.5
    step = judged(content, GOOD, min_coverage={0: 0.51}).step("R")
    assert (step["fail_reason"], step["fail_value"]) == ("low_coverage", 0.5)
    assert step["fail_threshold"] == 0.51


def test_a_cell_type_without_a_resolved_marker_always_fails_coverage():
    result = judged({"R": node(["x"]), "S": node("A")}, GOOD, **OPEN)
    step = result.step("R")
    assert (step["fail_reason"], step["fail_value"]) == ("low_coverage", 0)
    for gate in ("low_positive", "low_enrichment"):
        row = result.gate("R", gate)
        assert (row["value"], row["passed"]) == (None, False)
    assert result.gate("R", "low_positive")["alternative_value"] is None


# ---------------------------------------------------------------------- positive cells


@pytest.mark.parametrize(
    ("positive", "on", "passes"),
    [(0.3, [0, 0, 0, 0], True), (0.29, [1, 1, 0, 0], True), (0.29, [1, 0, 0, 0], False)],
)
def test_enough_positive_cells_or_enough_markers_on_pass(positive, on, passes):
    found = evidence_of([1] * 4, [positive] * 4, on=[bool(value) for value in on])
    result = judged({"R": node("ABCD")}, found)
    row = result.gate("R", "low_positive")
    assert row["passed"] == passes
    assert (row["value"], row["threshold"]) == (pytest.approx(positive), 0.3)
    assert (row["alternative_value"], row["alternative_threshold"]) == (sum(on) / 4, 0.4)


def test_the_thresholds_of_positive_cells_and_markers_on_are_options():
    found = evidence_of([1] * 4, [0.2] * 4, on=[True, False, False, False])
    content = {"R": node("ABCD")}
    step = judged(content, found).step("R")
    assert (step["fail_reason"], step["fail_threshold"]) == ("low_positive", 0.3)
    assert step["fail_value"] == pytest.approx(0.2)
    assert judged(content, found, min_pos_frac={0: 0.1}).step("R")["child_passed_gate"]
    assert judged(content, found, min_frac_markers_on={0: 0.25}).step("R")["child_passed_gate"]


# ---------------------------------------------------------------------- enrichment


def test_enrichment_passes_at_its_threshold():
    content = {"R": node("A")}
    at_zero = evidence_of([0, 0, 0, 0], [0.5] * 4)
    assert judged(content, at_zero).step("R")["child_passed_gate"]
    step = judged(content, evidence_of([-0.01, 0, 0, 0], [0.5] * 4)).step("R")
    assert (step["fail_reason"], step["fail_value"]) == ("low_enrichment", -0.01)
    assert step["fail_threshold"] == 0
    lower = judged(content, evidence_of([-0.01, 0, 0, 0], [0.5] * 4), min_enrichment={0: -0.1})
    assert lower.step("R")["child_passed_gate"]


# ---------------------------------------------------------------------- anti-markers

SOFT = {"R": node("A", anti_markers=["B"])}
OFF = {"R": node("A", anti_markers=["B"], gating_overrides={"require_anti_markers_off": True})}


def with_anti(enrichment, positive):
    return evidence_of([1, enrichment, 0, 0], [0.5, positive, 0, 0])


def test_a_penalty_above_the_hard_gate_is_a_conflict():
    step = judged(SOFT, with_anti(1, 0.5)).step("R")  # 0.8 * 1.5
    assert step["fail_reason"] == "anti_conflict"
    assert (step["fail_value"], step["fail_threshold"]) == (pytest.approx(1.2), 1)
    higher = judged(SOFT, with_anti(1, 0.5), anti_penalty_hard_gate=1.3)
    assert higher.step("R")["child_passed_gate"]
    assert judged(SOFT, with_anti(0.75, 0.5)).step("R")["child_passed_gate"]  # 1, at the gate


def test_anti_markers_that_must_be_off_may_be_positive_in_a_fifth_of_the_cells():
    step = judged(OFF, with_anti(0, 0.21)).step("R")
    assert step["fail_reason"] == "anti_conflict"
    assert (step["fail_value"], step["fail_threshold"]) == (0.21, 0.2)
    assert judged(OFF, with_anti(0, 0.2)).step("R")["child_passed_gate"]
    assert judged(SOFT, with_anti(0, 0.9)).step("R")["child_passed_gate"]
    wider = judged(OFF, with_anti(0, 0.21), anti_off_max_positive_fraction=0.3)
    assert wider.step("R")["child_passed_gate"]


def test_anti_markers_that_must_be_off_are_tested_after_the_penalty():
    step = judged(OFF, with_anti(2, 0.5)).step("R")
    assert (step["fail_value"], step["fail_threshold"]) == (pytest.approx(2), 1)


def test_absent_anti_markers_are_off():
    content = {
        "R": node("A", anti_markers=["x"], gating_overrides={"require_anti_markers_off": True})
    }
    assert judged(content, GOOD).step("R")["child_passed_gate"]


# ---------------------------------------------------------------------- levels and overrides


def test_each_level_has_its_thresholds_and_a_deeper_one_those_of_the_nearest():
    deep = node(
        "A", subtypes={"2": node("A", subtypes={"3": node("A", subtypes={"4": node("A")})})}
    )
    content = {"0": node("A", subtypes={"1": deep})}
    details = judged(content, GOOD).details
    limits = details.pivot_table(index="level", columns="gate", values="threshold")
    assert limits["low_coverage"].tolist() == [0.5, 0.4, 0.3, 0.3, 0.3]
    assert limits["low_positive"].tolist() == [0.3, 0.2, 0.15, 0.15, 0.15]
    assert limits["low_enrichment"].tolist() == [0, -0.5, -1, -1, -1]
    on = details.pivot_table(index="level", columns="gate", values="alternative_threshold")
    assert on["low_positive"].tolist() == [0.4, 0.3, 0.25, 0.25, 0.25]


def test_a_level_that_the_map_adds_holds_from_there_on():
    deep = node(
        "A", subtypes={"2": node("A", subtypes={"3": node("A", subtypes={"4": node("A")})})}
    )
    content = {"0": node("A", subtypes={"1": deep})}
    content["_gating_params"] = {"level_defaults": {"2": {"min_enrichment": 0.25}}}
    details = judged(content, GOOD, min_enrichment={4: 0.75}).details
    limits = details[details["gate"] == "low_enrichment"]["threshold"].tolist()
    assert limits == [0, -0.5, 0.25, -1, 0.75]


@pytest.mark.parametrize(
    ("override", "gate", "field"),
    [
        ({"min_coverage": 0.9}, "low_coverage", "threshold"),
        ({"min_pos_frac": 0.9}, "low_positive", "threshold"),
        ({"min_enrichment": 0.9}, "low_enrichment", "threshold"),
        ({"min_frac_markers_on": 0.9}, "low_positive", "alternative_threshold"),
    ],
)
def test_an_override_replaces_the_levels_value_and_is_not_inherited(override, gate, field):
    child = {"X": node("A"), "Y": node("B")}
    content = {"R": node("A", subtypes=child, gating_overrides=override), "S": node("B")}
    plain = judged({"R": node("A", subtypes=child), "S": node("B")}, GOOD)
    found = judged(content, GOOD, root_gap_threshold=0.0)
    assert found.gate("R", gate)[field] == 0.9
    assert found.gate("S", gate)[field] == plain.gate("S", gate)[field] != 0.9
    assert set(found.details[found.details["level"] == 1][field].dropna()) & {0.9} == set()


def test_an_override_decides():
    content = {"R": node("A", gating_overrides={"min_pos_frac": 0.6}), "S": node("B")}
    result = judged(content, GOOD)
    assert result.step("R")["fail_reason"] == "low_positive"
    assert result.step("S")["child_passed_gate"]
    lower = {"R": node("A", gating_overrides={"min_enrichment": -3.0})}
    assert judged(lower, evidence_of([-2, 0, 0, 0], [0.5] * 4)).step("R")["child_passed_gate"]


# ---------------------------------------------------------------------- inheritance

WEAK_PARENT = evidence_of([-1, 1, 2, 1], [0.1, 0.5, 0.5, 0.9])


def family(**more):
    return {"R": node("A", subtypes={"X": node("B"), "Y": node("C")}, **more)}


def test_a_cell_type_is_let_in_through_its_best_passing_child():
    result = judged(family(), WEAK_PARENT, gate_inheritance=True)
    step = result.step("R")
    assert step["child_passed_gate"]
    assert (step["passed_through"], step["fail_reason"]) == ("R / Y", None)
    assert (step["fail_value"], step["fail_threshold"]) == (None, None)
    assert step["child_score"] == pytest.approx(-0.9)  # its own
    assert not result.gate("R", "low_positive")["passed"]
    assert not result.gate("R", "low_enrichment")["passed"]
    assert result.assigned()["assigned_path"] == "R / Y"


def test_without_inheritance_the_same_cell_type_is_refused():
    step = judged(family(), WEAK_PARENT).step("R")
    assert (step["fail_reason"], step["passed_through"]) == ("low_positive", None)


def test_the_adaptive_profile_inherits_and_can_be_told_not_to():
    assert judged(family(), WEAK_PARENT, profile="adaptive").step("R")["child_passed_gate"]
    without = judged(family(), WEAK_PARENT, profile="adaptive", gate_inheritance=False)
    assert not without.step("R")["child_passed_gate"]


def test_a_cell_type_that_passes_by_itself_passes_through_nobody():
    assert judged(family(), GOOD, gate_inheritance=True).step("R")["passed_through"] is None


def test_inheritance_climbs_over_several_levels():
    inner = node("A", subtypes={"X": node("A", subtypes={"Y": node("C")})})
    result = judged({"R": inner}, WEAK_PARENT, gate_inheritance=True)
    assert result.step("R")["passed_through"] == "R / X"
    assert result.step("R / X")["passed_through"] == "R / X / Y"
    assert result.step("R / X / Y")["passed_through"] is None


def test_low_coverage_does_not_close_a_cell_type_but_no_marker_at_all_does():
    thin = {"R": node(["A", "x", "y"], subtypes={"X": node("B")})}
    bare = {"R": node(["x"], subtypes={"X": node("B")})}
    assert judged(thin, GOOD, gate_inheritance=True).step("R")["passed_through"] == "R / X"
    step = judged(bare, GOOD, gate_inheritance=True).step("R")
    assert (step["child_passed_gate"], step["fail_reason"]) == (False, "low_coverage")


@pytest.mark.parametrize(
    ("reason", "more", "gating"),
    [
        (
            "root_hard_requirement",
            {},
            {"root_hard_requirements": {"R": {"marker": "A", "min_pos_frac": 0.5}}},
        ),
        ("root_veto", {}, {"root_veto_markers": {"R": {"markers": ["D"], "max_pos_frac": 0.5}}}),
        ("low_positive", {"anti_markers": ["D"]}, {}),
    ],
)
def test_root_rules_and_anti_markers_close_a_cell_type(reason, more, gating):
    # With an anti-marker the first gate that fails is another one; it is closed all the same.
    result = judged(family(**more), WEAK_PARENT, gate_inheritance=True, **gating)
    step = result.step("R")
    assert (step["child_passed_gate"], step["passed_through"]) == (False, None)
    assert step["fail_reason"] == reason


def test_a_child_that_fails_does_not_admit_its_parent():
    found = evidence_of([-1, -1, -1, 0], [0.1, 0.1, 0.1, 0])
    step = judged(family(), found, gate_inheritance=True).step("R")
    assert (step["child_passed_gate"], step["fail_reason"]) == (False, "low_positive")


# ---------------------------------------------------------------------- several clusters


def test_each_cluster_is_held_against_the_gates_by_itself():
    rows = [[5, 0], [6, 1], [5, 0], [0, 7], [1, 6], [0, 5.0]]
    content = {"R": node("A"), "S": node("B")}
    tables = annotated(expression(rows, ["A", "B"]), content, list("000111")).tables
    steps = tables["decision_steps"]
    passed = steps[steps["child_passed_gate"]]
    assert passed[["cluster_id", "child_path"]].to_numpy().tolist() == [["0", "R"], ["1", "S"]]


def test_rounding_decides_no_gate():
    # the mean of three fractions of 0.2 is 0.20000000000000004 or 0.19999999999999998 by its order
    found = evidence_of([0, 0, 0, 0], [0.2 - 1e-12, 0.2, 0.2, 0.2])
    limits = {"min_pos_frac": {0: 0.2}, "min_frac_markers_on": {0: 1.0}, "min_enrichment": {0: 0.0}}
    assert judged({"R": node("ABC")}, found, **limits).step("R")["fail_reason"] is None
    below = evidence_of([0, 0, 0, 0], [0.2 - 1e-6, 0.2, 0.2, 0.2])
    assert judged({"R": node("ABC")}, below, **limits).step("R")["fail_reason"] == "low_positive"
