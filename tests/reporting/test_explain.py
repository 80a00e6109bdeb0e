"""The whole reason of a label, on cells whose numbers can be counted by hand.

Every marker is in a fifth of all cells (:mod:`tests.comparison.runs`): in a cluster where the share
``f`` has it, its positive fraction is ``f`` and its enrichment ``2.5 f - 0.5``.
"""

import json
from functools import cache
from typing import Any

import pytest

from ctr_engine.params import layered
from ctr_engine.profiles import AnalysisParams
from ctr_engine.reporting.explain import Candidate, Explanation, Step, explain
from ctr_engine.reporting.reasons import reasons
from ctr_engine.stored import StoredRun
from tests.comparison.runs import NO_BONUS, cells_of, counted, stored
from tests.test_oracle_cases import Generator

MAP = {
    "R": {
        "markers": ["A", "B", "Absent"],
        "anti_markers": ["D"],
        "subtypes": {"X": {"markers": ["C"]}, "Y": {"markers": ["E"]}},
    },
    "S": {"markers": ["D"]},
}
# enrichment and positive fraction of cluster 0: A 2 and 1, B 1 and 0.6, C 1.5 and 0.8, D 0 and 0.2,
# E 0.5 and 0.4
COUNTS = {"A": {"0": 10}, "B": {"0": 6}, "C": {"0": 8}, "D": {"0": 2}, "E": {"0": 4}}


def run_of(content: Any = None, counts: Any = None, **raw: Any) -> StoredRun:
    """Run without a DE bonus, unless one is given."""
    given = {"scoring": NO_BONUS} | raw
    return stored(counted(COUNTS if counts is None else counts), content or MAP, **given)


def explained(run: StoredRun, cluster: str = "0", **options: Any) -> Explanation:
    return explain(run.tables, run.decider, cluster, **options)


@cache
def whole() -> Explanation:
    return explained(run_of())


def candidate(found: Explanation, path: str) -> Candidate:
    (one,) = [c for step in found.steps for c in step.candidates if c.path == path]
    return one


def parts(one: Candidate) -> list[tuple[str, str, float]]:
    return [(m.marker, m.role, round(m.in_score, 9)) for m in one.markers]


def outcome(step: Step) -> tuple[Any, ...]:
    margin = None if step.margin is None else round(step.margin, 9)
    return step.winner, step.runner_up, margin, step.needed_gap, step.ambiguous


def strict_json(text: str) -> Any:
    """Content of a JSON text that any reader takes."""

    def refuse(name: str) -> None:
        msg = f"{name} is no JSON"
        raise ValueError(msg)

    return json.loads(text, parse_constant=refuse)


# ---------------------------------------------------------------------- all numbers of one cluster


def test_the_label_and_what_was_chosen():
    found = whole()
    assert (found.cluster_id, found.n_cells) == ("0", 10)
    assert (found.label, found.path, found.stop_reason) == ("X", "R / X", "leaf_reached")
    assert found.confidence == pytest.approx(1.4)
    assert found.votes is None
    assert [(s.step_idx, s.parent_path) for s in found.steps] == [(0, None), (1, "R")]
    assert outcome(found.steps[0]) == ("R", None, None, 0.25, False)
    assert outcome(found.steps[1]) == ("X", "Y", 1.4, 0.3, False)


@pytest.mark.parametrize(
    ("path", "numbers"),
    [  # score, enrichment, positive fraction, DE, penalty, coverage
        ("R", (2.14, 1.5, 0.8, 0, 0.16, 2 / 3)),
        ("S", (0.2, 0, 0.2, 0, 0, 1)),
        ("R / X", (2.3, 1.5, 0.8, 0, 0, 1)),
        ("R / Y", (0.9, 0.5, 0.4, 0, 0, 1)),
    ],
)
def test_the_parts_of_each_score(path, numbers):
    one = candidate(whole(), path)
    parts = (one.mean_enrichment, one.mean_positive_fraction, one.de_component)
    assert (one.score, *parts, one.anti_penalty, one.coverage) == pytest.approx(numbers)


def test_what_each_marker_carried_and_cost():
    root = candidate(whole(), "R")
    assert parts(root) == [
        ("A", "marker", 1.5),
        ("B", "marker", 0.8),
        ("D", "anti_marker", -0.16),
    ]
    first = root.markers[0]
    assert (first.column, first.on, first.de_rank) == ("A", True, 1)
    assert (first.enrichment, first.positive_fraction) == pytest.approx((2, 1))
    assert not root.markers[2].on
    assert root.missing_markers == ("Absent",)
    assert candidate(whole(), "R / Y").missing_markers == ()


def test_with_the_de_bonus():
    """K is 3; A, C and B have ranks 1, 2 and 3; each is a marker of one of four cell types."""
    found = explained(run_of(scoring={}))
    root, child = candidate(found, "R"), candidate(found, "R / X")
    assert root.de_component == pytest.approx(0.6 * (0.5 + 0.5 / 3) / 2)
    assert child.de_component == pytest.approx(0.6 * 0.5 * 2 / 3)
    assert (root.score, child.score) == pytest.approx((2.34, 2.5))
    assert parts(root) == [
        ("A", "marker", 1.65),
        ("B", "marker", 0.85),
        ("D", "anti_marker", -0.16),
    ]
    assert [m.de_rank for m in root.markers] == [1, 3, None]


def test_every_gate_with_its_value_and_threshold():
    root, other = candidate(whole(), "R"), candidate(whole(), "S")
    shown = [(g.gate, round(g.value, 9), g.threshold, g.passed) for g in root.gates]
    assert shown == [
        ("low_coverage", round(2 / 3, 9), 0.5, True),
        ("low_positive", 0.8, 0.3, True),
        ("low_enrichment", 1.5, 0, True),
        ("anti_conflict", 0.16, 1, True),
    ]
    assert (root.fail_reason, root.passed, root.selected) == (None, True, True)
    assert (other.fail_reason, other.passed, other.selected) == ("low_positive", False, False)
    positive = other.gates[1]
    assert (positive.value, positive.threshold, positive.passed) == (0.2, 0.3, False)
    assert (positive.alternative_value, positive.alternative_threshold) == (0, 0.4)
    assert {gate.marker for gate in (*root.gates, *other.gates)} == {None}


def test_every_change_that_gives_another_label_the_smallest_first():
    changes = [(c.threshold, c.current, c.needed, c.change, c.path) for c in whole().changes]
    assert changes == [
        ("min_coverage.0", 0.5, 0.6667, 0.1667, ""),
        ("anti_penalty_hard_gate", 1.0, 0.1599, -0.8401, ""),
        ("min_gap.1", 0.3, 1.4001, 1.1001, "R"),
        ("min_enrichment.0", 0.0, 1.5001, 1.5001, ""),
        ("min_enrichment.1", -0.5, 1.5001, 2.0001, "R"),
    ]
    stops = [(c.label, c.stop_reason) for c in whole().changes]
    assert stops == [
        ("Unassigned", "no_root_passed"),
        ("Unassigned", "no_root_passed"),
        ("R", "ambiguous_siblings"),
        ("Unassigned", "no_root_passed"),
        ("R", "no_child_passed"),
    ]
    assert [c.gating_params for c in whole().changes] == [
        {"min_coverage": {"0": 0.6667}},
        {"anti_penalty_hard_gate": 0.1599},
        {"min_gap": {"1": 1.4001}},
        {"min_enrichment": {"0": 1.5001}},
        {"min_enrichment": {"1": 1.5001}},
    ]
    assert whole().smallest_change == whole().changes[0]


def test_as_many_changes_as_asked_for():
    run = run_of()
    assert explained(run, most=2).changes == whole().changes[:2]
    none = explained(run, most=0)
    assert none.changes == ()
    assert none.smallest_change is None


def test_the_reason_is_that_of_the_reports():
    run = run_of()
    for cluster, sentence in reasons(run.tables).items():
        assert explained(run, str(cluster)).reason == sentence


# ---------------------------------------------------------------------- how a walk can end

PAIR = {"R": {"markers": ["A"]}, "S": {"markers": ["B"]}}
CHILDREN = {"R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}, "Y": {"markers": ["C"]}}}}


def test_roots_that_are_too_close():
    run = run_of(PAIR, {"A": {"0": 6}, "B": {"0": 5}}, gating={"root_gap_threshold": 0.4})
    found = explained(run)
    assert (found.label, found.path, found.stop_reason) == ("R~S", "R~S", "ambiguous_root")
    assert found.confidence == pytest.approx(0.35)
    assert [outcome(step) for step in found.steps] == [("R", "S", 0.35, 0.4, True)]
    assert [c.selected for c in found.steps[0].candidates] == [False, False]
    assert found.changes[0].gating_params == {"root_gap_threshold": 0.35}
    assert found.changes[0].path == "R"


def test_a_level_0_gap_is_the_one_that_is_needed():
    run = run_of(PAIR, {"A": {"0": 6}, "B": {"0": 5}}, gating={"min_gap": {"0": 0.4}})
    found = explained(run)
    assert outcome(found.steps[0]) == ("R", "S", 0.35, 0.4, True)
    assert found.changes[0].gating_params == {"min_gap": {"0": 0.35}}


def test_siblings_that_are_too_close_and_the_votes_of_the_cells():
    """Of ten cells five have both markers, one has B alone, four have neither."""
    run = run_of(
        CHILDREN, {"A": {"0": 10}, "B": {"0": 6}, "C": {"0": 5}}, gating={"min_gap": {"1": 0.4}}
    )
    found = explained(run)
    assert (found.label, found.stop_reason) == ("R", "ambiguous_siblings")
    assert [outcome(step) for step in found.steps] == [
        ("R", None, None, 0.25, False),
        ("X", "Y", 0.35, 0.4, True),
    ]
    assert found.votes == {"X": 0.1, "Y": 0.0, "Uncertain": 0.9}


def test_nobody_passed():
    found = explained(run_of(PAIR, {"A": {"0": 1}, "B": {}}))
    assert (found.label, found.path, found.stop_reason) == ("Unassigned", "", "no_root_passed")
    assert found.confidence == 0
    assert outcome(found.steps[0]) == (None, None, None, None, False)
    assert [c.fail_reason for c in found.steps[0].candidates] == ["low_positive", "low_positive"]
    assert [c.path for c in found.steps[0].candidates] == ["R", "S"], "the better score first"


def test_no_child_passed():
    found = explained(run_of(CHILDREN, {"A": {"0": 10}, "B": {}, "C": {}}))
    assert (found.label, found.stop_reason) == ("R", "no_child_passed")
    assert outcome(found.steps[1]) == (None, None, None, None, False)


def test_the_only_candidate_has_no_lead_and_no_confidence():
    found = explained(run_of({"R": {"markers": ["A"]}}, {"A": {"0": 10}, "B": {}}))
    assert found.confidence is None
    assert outcome(found.steps[0]) == ("R", None, None, 0.25, False)


def test_a_cell_type_that_its_child_let_in():
    content = {
        "R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}}},
        "S": {"markers": ["C"]},
    }
    run = run_of(content, {"A": {}, "B": {"0": 10}, "C": {}}, gating={"gate_inheritance": True})
    found = explained(run)
    assert found.path == "R / X"
    root, child = candidate(found, "R"), candidate(found, "R / X")
    assert (root.passed, root.fail_reason, root.passed_through) == (True, None, "R / X")
    assert [g.gate for g in root.gates if not g.passed] == ["low_positive", "low_enrichment"]
    assert (child.passed, child.passed_through) == (True, None)


def test_rules_of_a_root_name_their_marker():
    rules = {
        "root_hard_requirements": {"R": {"marker": "B", "min_pos_frac": 0.3}},
        "root_veto_markers": {"S": {"markers": ["C", "A"], "max_pos_frac": 0.5}},
    }
    run = run_of(PAIR, {"A": {"0": 8}, "B": {"0": 2}, "C": {"0": 1}}, gating=rules)
    found = explained(run)
    required, vetoed = candidate(found, "R").gates[0], candidate(found, "S").gates[0]
    assert (required.gate, required.marker, required.passed) == (
        "root_hard_requirement",
        "B",
        False,
    )
    assert (required.value, required.threshold) == (0.2, 0.3)
    assert (vetoed.gate, vetoed.marker, vetoed.passed) == ("root_veto", "A", False)
    assert (vetoed.value, vetoed.threshold) == (0.8, 0.5)
    nearest = found.changes[0]
    assert (nearest.threshold, nearest.path) == ("root_hard_requirements.R.min_pos_frac", "R")
    rule = {"marker": "B", "min_pos_frac": 0.2}
    assert nearest.gating_params == {"root_hard_requirements": {"R": rule}}


def test_a_required_marker_that_the_panel_lacks_has_no_value():
    rules = {"root_hard_requirements": {"R": {"marker": "Nowhere", "min_pos_frac": 0.3}}}
    gate = candidate(explained(run_of(PAIR, {"A": {"0": 8}, "B": {}}, gating=rules)), "R").gates[0]
    assert (gate.marker, gate.value, gate.passed) == ("Nowhere", None, False)


def test_a_cell_type_without_a_marker_on_the_panel():
    content = {"R": {"markers": ["A"]}, "N": {"markers": ["Absent 1", "Absent 2"]}}
    one = candidate(explained(run_of(content, {"A": {"0": 10}, "B": {}})), "N")
    numbers = (one.score, one.mean_enrichment, one.mean_positive_fraction, one.de_component)
    assert numbers == (None, None, None, None)
    assert (one.coverage, one.fail_reason, one.markers) == (0, "low_coverage", ())
    assert one.missing_markers == ("Absent 1", "Absent 2")


def test_equal_scores_keep_the_order_of_the_map():
    content = {"S": {"markers": ["B"]}, "R": {"markers": ["A"]}, "Q": {"markers": ["C"]}}
    counts = {"A": {"0": 6}, "B": {"0": 6}, "C": {"0": 6}}
    found = explained(run_of(content, counts, gating={"root_gap_threshold": 0}))
    assert [c.label for c in found.steps[0].candidates] == ["S", "R", "Q"]
    assert outcome(found.steps[0]) == ("S", "R", 0, 0, False)


def test_a_threshold_of_one_cell_type_is_not_for_the_command_line():
    content = {"R": {"markers": ["A"], "gating_overrides": {"min_enrichment": 0.5}}}
    changes = explained(run_of(content, {"A": {"0": 6}, "B": {}})).changes
    own = [c for c in changes if c.threshold == "gating_overrides.R.min_enrichment"]
    assert [(c.needed, c.path, c.gating_params) for c in own] == [(1.0001, "", None)]


def test_no_change_of_one_threshold_helps():
    content = {"R": {"markers": ["Absent"]}}
    found = explained(run_of(content, {"A": {}, "B": {}}))
    assert found.changes == ()
    assert found.smallest_change is None


# ---------------------------------------------------------------------- any run

SEEDS = [0, 2, 5, 8, 11, 14, 17, 20, 23, 26]


@cache
def random_run(seed: int) -> tuple[dict[str, Any], StoredRun]:
    case = Generator(seed).case()
    raw = {name: case[name] for name in ("profile", "scoring", "gating")}
    return case, stored(cells_of(case), case["marker_map"], **raw)


def every(seed: int) -> list[Explanation]:
    run = random_run(seed)[1]
    return [explained(run, cluster) for cluster in run.decider.cluster_ids]


@pytest.mark.parametrize("seed", SEEDS)
def test_json_is_strict_and_complete(seed):
    for found in every(seed):
        content = strict_json(json.dumps(found.as_json()))
        assert list(content) == [
            "cluster_id", "n_cells", "label", "path", "stop_reason", "confidence", "support",
            "stability", "agreement", "robustness", "mixed", "reason", "votes", "steps", "changes",
        ]  # fmt: skip
        assert len(content["steps"]) == len(found.steps)
        for step in content["steps"]:
            for one in step["candidates"]:
                assert {"score", "gates", "markers", "missing_markers", "coverage"} <= set(one)
                assert len(one["gates"]) >= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_every_candidate_of_every_step_is_there(seed):
    run = random_run(seed)[1]
    tables = run.tables
    for found in every(seed):
        steps = tables["decision_steps"]
        own = steps[steps["cluster_id"] == found.cluster_id]
        shown = [(s.step_idx, c.path) for s in found.steps for c in s.candidates]
        assert sorted(shown) == sorted(zip(own["step_idx"], own["child_path"], strict=True))
        for step in found.steps:
            passed = [c for c in step.candidates if c.passed]
            assert passed == list(step.candidates[: len(passed)]), "those that passed come first"
            scores = [round(c.score, 6) for c in passed]
            assert scores == sorted(scores, reverse=True)
            assert step.winner == (passed[0].label if passed else None)
            assert step.runner_up == (passed[1].label if len(passed) > 1 else None)
            if step.margin is not None:
                lead = passed[0].score - passed[1].score
                assert step.margin == pytest.approx(lead, abs=1e-9)
                assert step.ambiguous == (step.margin < step.needed_gap - 1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_markers_add_is_the_score(seed):
    n = 0
    for found in every(seed):
        for one in (c for step in found.steps for c in step.candidates if c.score is not None):
            assert sum(m.in_score for m in one.markers) == pytest.approx(one.score)
            sizes = [abs(m.in_score) for m in one.markers]
            assert sizes == sorted(sizes, reverse=True)
            n += 1
    assert n > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_the_changes_give_their_labels_when_the_run_is_made_again(seed):
    """The first of each cluster, and all of the first cluster, each by a whole run."""
    case, run = random_run(seed)
    for number, found in enumerate(every(seed)):
        asked = found.changes if number == 0 else found.changes[:1]
        for change in (c for c in asked if c.gating_params is not None):
            given = AnalysisParams.model_validate({"gating": change.gating_params})
            raw = layered(run.params, given).model_dump(mode="json", exclude_unset=True)
            again = stored(cells_of(case), case["marker_map"], **raw)
            table = again.tables["cluster_annotations"].set_index("cluster_id")
            row = table.loc[found.cluster_id]
            assert row["assigned_path"] == change.path != found.path
            assert (row["assigned_label"], row["stop_reason"]) == (change.label, change.stop_reason)


def test_the_random_runs_hold_changes_of_every_kind():
    changes = [change for seed in SEEDS for found in every(seed) for change in found.changes]
    names = {change.threshold.partition(".")[0] for change in changes}
    assert names >= {
        "min_enrichment", "min_gap", "root_gap_threshold", "gating_overrides",
        "anti_penalty_hard_gate", "root_veto_markers",
    }  # fmt: skip
    assert {change.stop_reason for change in changes} >= {"leaf_reached", "no_root_passed"}
