"""Where two walks part, in words; the steps are made by hand."""

from typing import Any

import pandas as pd
import pytest

from ctr_engine.comparison.steps import Parting, parting
from ctr_engine.tables import DecisionSteps, from_rows

ALONE = 1e6
GAPS = (lambda path: 0.25, lambda path: 0.5)


def tried(path: str, **given: Any) -> dict[str, Any]:
    """A row of ``decision_steps``: passed with a score of 1, neither best nor chosen."""
    parent, _, label = path.rpartition(" / ")
    row = {
        "cluster_id": "0",
        "step_idx": path.count(" / "),
        "parent_label": parent.rpartition(" / ")[2] or None,
        "parent_path": parent or None,
        "child_label": label,
        "child_path": path,
        "child_level": path.count(" / "),
        "child_passed_gate": True,
        "child_score": 1.0,
        "child_coverage": 1.0,
        "child_pos_frac": 0.5,
        "child_enrichment": 0.5,
        "child_anti_penalty": 0.0,
        "selected": False,
        "margin_to_runner_up": None,
        "runner_up_path": None,
        "fail_reason": None,
        "fail_marker": None,
        "fail_value": None,
        "fail_threshold": None,
        "passed_through": None,
    }
    return row | given


def won(path: str, lead: float = ALONE, **given: Any) -> dict[str, Any]:
    return tried(path, selected=True, margin_to_runner_up=lead, **given)


def tied(path: str, lead: float, **given: Any) -> dict[str, Any]:
    return tried(path, margin_to_runner_up=lead, **given)


def refused(path: str, reason: str, value: float | None, limit: float, **given: Any):
    failed = {"fail_reason": reason, "fail_value": value, "fail_threshold": limit}
    return tried(path, child_passed_gate=False, **failed, **given)


def parted(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Parting | None:
    tables: list[pd.DataFrame] = [from_rows(DecisionSteps, rows) for rows in (before, after)]
    return parting(tables[0], tables[1], GAPS)


def test_walks_that_end_alike_do_not_part():
    walk = [won("R", 0.6), tried("S"), won("R / X")]
    assert parted(walk, walk) is None
    other_numbers = [won("R", 0.9), tried("S", child_score=0.1), won("R / X", child_score=2.0)]
    assert parted(walk, other_numbers) is None


def test_another_root_wins():
    before = [won("R", 0.35, child_score=1.6), tried("S", child_score=1.25)]
    after = [tried("R", child_score=1.6), won("S", 0.65, child_score=2.25)]
    assert parted(before, after) == Parting(
        0,
        None,
        "R (leads by 0.35, 0.25 is needed) -> S (leads by 0.65, 0.5 is needed); "
        "S: passes with 1.25 -> passes with 2.25",
    )


def test_a_root_is_refused():
    before = [won("R", child_score=1.4)]
    after = [refused("R", "low_enrichment", 0.5, 0.6, child_score=1.4)]
    found = parted(before, after)
    assert found == Parting(
        0,
        None,
        "R -> nobody passed; R: passes with 1.40 -> refused by low_enrichment (0.5 against 0.6)",
    )


def test_a_marker_of_a_rule_is_named():
    before = [won("R")]
    rule = {"fail_marker": "CD3"}
    after = [refused("R", "root_hard_requirement", None, 0.3, **rule)]
    assert parted(before, after).words.endswith(
        "refused by root_hard_requirement of CD3 (absent against 0.3)"
    )
    after = [refused("R", "root_veto", 0.75, 0.5, **rule)]
    assert parted(before, after).words.endswith("refused by root_veto of CD3 (0.75 against 0.5)")


def test_a_lead_becomes_too_small():
    before = [won("R", 0.35), tried("S", child_score=0.65)]
    after = [tied("R", 0.35), tried("S", child_score=0.65)]
    assert parted(before, after) == Parting(
        0, None, "R (leads by 0.35, 0.25 is needed) -> a tie (R leads by 0.35, 0.5 is needed)"
    )


def test_below_the_roots_the_parent_is_named():
    before = [won("R"), tried("S"), won("R / X", child_score=1.6), tried("R / Y")]
    after = [won("R"), tried("S"), tied("R / X", 0.1, child_score=1.1), tried("R / Y")]
    assert parted(before, after) == Parting(
        1,
        "R",
        "X -> a tie (X leads by 0.1, 0.5 is needed); X: passes with 1.60 -> passes with 1.10",
    )


def test_the_first_of_several_steps_counts():
    before = [won("R"), tried("S"), won("R / X")]
    after = [tried("R"), won("S"), won("S / Z")]
    assert parted(before, after).step_idx == 0


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ((0, 1), "not tried -> X; X: passes with 1.00"),
        ((1, 0), "X -> not tried; X: passes with 1.00"),
    ],
)
def test_only_one_map_goes_on(sides, words):
    walks = [[won("R")], [won("R"), won("R / X")]]
    assert parted(walks[sides[0]], walks[sides[1]]) == Parting(1, "R", words)


def test_only_one_map_goes_on_and_nobody_passes():
    found = parted([won("R")], [won("R"), refused("R / X", "low_positive", 0.1, 0.2)])
    assert found == Parting(1, "R", "not tried -> nobody passed")


def test_a_candidate_that_one_map_lacks():
    before, after = [won("R", 0.7)], [tried("R"), won("S", child_score=2.0)]
    assert parted(before, after).words.endswith("; S: not in the map -> passes with 2.00")
    assert parted(after, before).words.endswith("; S: passes with 2.00 -> not in the map")


def test_candidates_that_decide_nothing_are_left_out():
    before = [won("R"), refused("S", "low_positive", 0.1, 0.3), tried("T", child_score=0.1)]
    after = [
        refused("R", "low_enrichment", 0.1, 0.2),
        refused("S", "low_positive", 0.2, 0.3),
        won("T", child_score=0.1),
    ]
    words = parted(before, after).words
    assert "S" not in words
    assert words.startswith("R -> T; R: passes with 1.00 -> refused by low_enrichment")


UNASSIGNED = [refused("R", "low_enrichment", 0.5, 0.6), refused("S", "low_enrichment", 0.1, 0.6)]
TIE = [tied("R", 0.1), tried("S", child_score=0.9)]
OTHER_TIE = [tried("R", child_score=0.9), tied("S", 0.1)]
WORDS = {"none": "nobody passed", "R": "a tie (R leads by 0.1, {} is needed)",
         "S": "a tie (S leads by 0.1, {} is needed)"}  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        (UNASSIGNED, TIE, ("none", "R")),
        (TIE, UNASSIGNED, ("R", "none")),
        (TIE, OTHER_TIE, ("R", "S")),
    ],
    ids=["Unassigned to a tie", "a tie to Unassigned", "R~S to S~R"],
)
def test_walks_that_both_end_at_the_roots_part_there_when_they_end_otherwise(before, after, names):
    """The label differs, so the step that makes it differ has to be shown."""
    found = parted(before, after)
    expected = " -> ".join(
        WORDS[name].format(gap) for name, gap in zip(names, (0.25, 0.5), strict=True)
    )
    assert found is not None
    assert found.step_idx == 0
    assert found.words.startswith(expected)
