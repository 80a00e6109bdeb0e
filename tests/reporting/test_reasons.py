"""What left cells without a label, and which two lineages a cluster shows, in words."""

import pandas as pd

from ctr_engine.profiles import ReportParams
from ctr_engine.reporting.reasons import Refusal, mixed_sentence, refusals
from ctr_engine.reporting.report import Report
from ctr_engine.reporting.review import reviews
from tests.builders import annotated, expression

MAP = {
    "_gating_params": {"min_enrichment": {"0": 0.5}, "min_pos_frac": {"0": 0.0}},
    "Immune": {"markers": ["A", "B"], "anti_markers": ["C"]},
    "Stroma": {"markers": ["D"]},
}
PANEL = list("ABCDE")
#         A  B  C  D  E
ROWS = [
    *[[8, 8, 0, 0, 0]] * 6,  # Immune
    *[[5, 0, 0, 0, 1]] * 3,  # A is there, B is not
    *[[9, 9, 9, 0, 2]] * 4,  # C speaks against Immune
    *[[0, 0, 0, 1, 3]] * 5,  # nothing of either
]
IDS = ["0"] * 6 + ["1"] * 3 + ["2"] * 4 + ["3"] * 5


def tables(content=MAP, **gating):
    view = expression(ROWS, PANEL)
    scoring = {"positive_quantile": 0.6, "anti_weight": 0.001}
    return annotated(view, content, IDS, gating=gating, scoring=scoring).tables


def test_the_gate_and_the_weakest_marker_are_named_with_their_cells():
    found = tables(anti_penalty_hard_gate=0.0005)
    lost = found["cluster_annotations"]
    lost = lost[lost["stop_reason"] == "no_root_passed"]
    seen = refusals(found)
    assert sum(one.n_cells for one in seen) == lost["n_cells"].sum()
    assert [one.n_cells for one in seen] == sorted((one.n_cells for one in seen), reverse=True)
    weak = [one for one in seen if one.gate == "low_enrichment"]
    assert weak, seen
    steps, evidence = found["decision_steps"], found["marker_evidence"]
    for one in weak:
        roots = steps[(steps["child_label"] == one.root) & (steps["fail_reason"] == one.gate)]
        own = evidence[(evidence["label"] == one.root) & (evidence["role"] == "marker")]
        of_root = own[own["cluster_id"].isin(roots["cluster_id"])]
        lowest = of_root.loc[of_root.groupby("cluster_id")["enrichment"].idxmin(), "marker"]
        assert one.marker in set(lowest)


def test_an_anti_marker_is_named_where_it_speaks_against_the_root():
    strict = {"markers": ["D"], "gating_overrides": {"min_enrichment": 9.0}}
    gates = {"min_enrichment": {"0": -9.0}, "anti_penalty_hard_gate": 0.0005}
    seen = refusals(tables(MAP | {"Stroma": strict}, **gates))
    assert seen == [Refusal("Immune", "anti_conflict", "C", 4)]


def test_a_root_rule_names_its_own_marker():
    rules = {
        label: {"marker": "E", "min_pos_frac": 0.9, "min_enrichment": 5.0}
        for label in ("Immune", "Stroma")
    }
    seen = refusals(tables(root_hard_requirements=rules))
    assert {(one.gate, one.marker) for one in seen} == {("root_hard_requirement", "E")}
    assert sum(one.n_cells for one in seen) == len(ROWS)


def test_nothing_is_refused_where_every_cluster_has_a_label():
    found = tables(min_enrichment={"0": -9.0}, anti_penalty_hard_gate=99.0)
    assert refusals(found) == []


def mixed(**values):
    row = {
        "mixed_lineage": "Immune / T + Immune / B",
        "mixed_lineage_markers": ["CD3", "CD20"],
        "mixed_lineage_share": 0.25,
        "mixed_lineage_explained": None,
    }
    return mixed_sentence(row | values)


def test_two_lineages_are_said_in_words():
    text = "25% of its cells are positive for CD3 and CD20, which exclude each other"
    assert mixed() == f"{text} (Immune / T + Immune / B)"
    assert mixed(mixed_lineage_explained=0.5).endswith(
        "(Immune / T + Immune / B); 50% of these have a neighbour of the second"
    )
    assert mixed(mixed_lineage=None) is None
    assert mixed(mixed_lineage=pd.NA) is None


def test_the_review_begins_with_the_least_support():
    view = expression(ROWS, PANEL)
    result = annotated(view, MAP, IDS, scoring={"positive_quantile": 0.6})
    report = Report("made", result.tables, result.decider, ReportParams())
    supports = [one.explanation.support for one in reviews(report.explanations, report.params)]
    assert supports == sorted(supports)
    every = ReportParams(review_support=1.0)
    found = reviews(report.explanations, every)
    for one in found:
        kinds = {finding.kind for finding in one.findings}
        assert ("low support" in kinds) == (
            bool(one.explanation.path) and one.explanation.support < 1
        )
