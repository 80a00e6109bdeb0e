"""Recommendations and plans: those of the shared cases, and hand-made ones."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from ctr_engine.analysis import annotate
from ctr_engine.documents import parse_document
from ctr_engine.errors import ConfigError, ParameterError
from ctr_engine.refinement.criteria import diagnose
from ctr_engine.refinement.focus import focus_of
from ctr_engine.refinement.manual import read_manual
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.plan import Merge, Override, Plan, Subcluster, plan_of
from ctr_engine.refinement.policies import auto_operations, merged_plan
from ctr_engine.refinement.state import ClusterState, states_of
from ctr_engine.tables import natural_key
from tests.builders import equal, marker_map, oracle_folders, plain
from tests.test_oracle_cases import NO_FOLDER, _read_case

MAP = marker_map(
    {
        "R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}, "Y": {"markers": ["C"]}}},
        "S": {"markers": ["D"], "subtypes": {"X": {"markers": ["E"]}}},
    }
)
ADAPTIVE = {"min_cells": 100, "relabel_requires_pass": True}


def cases() -> list[str]:
    if "CTR_SHARED" not in os.environ:
        return [NO_FOLDER]
    return [folder.name for folder in oracle_folders(Path(os.environ["CTR_SHARED"]))]


@pytest.mark.smoke
@pytest.mark.parametrize("name", cases())
def test_report_and_plan_of_a_shared_case(shared, name):
    case = _read_case(shared / "oracle" / name)
    raw = json.loads((case.folder / "params.json").read_text())
    expected = json.loads((case.folder / "expected" / "plan.json").read_text())
    result = annotate(case.view, case.marker_map, case.params, clusters=case.clusters)
    assert result.decider is not None
    base = ADAPTIVE if raw["profile"] == "adaptive" else {}
    params = RefinementParams.model_validate({**base, **raw["refine"]})
    states = states_of(
        result.tables["cluster_annotations"],
        unsplittable=raw["state"]["unsplittable"],
        overridden=raw["state"]["held_by_override"],
    )
    focus = focus_of(states, case.marker_map, raw["focus"]["labels"], raw["focus"]["clusters"])
    fractions = case.statistics.matrix("positive_fraction")
    report = diagnose(states, result.decider, fractions, params, focus.clusters)
    assert differing(case.folder / "expected" / "diagnostic_report.parquet", report) == []
    for form, text in (("json", json.dumps), ("yaml", yaml.safe_dump)):
        document = parse_document(text(raw["manual"]), f"manual.{form}")
        ids = result.decider.cluster_ids
        manual = read_manual(document, case.marker_map, ids, params.resolution)
        plan = merged_plan(auto_operations(report, params), manual, focus.clusters)
        assert {"focus": list(plan.focus), "plan": plan.as_rows()} == expected


def differing(path: Path, report: pd.DataFrame) -> list[str]:
    expected, found = (table.set_index("cluster_id") for table in (pd.read_parquet(path), report))
    assert sorted(expected.index) == sorted(found.index)
    return [
        f"{cluster} {column}: {plain(expected.loc[cluster, column])!r}"
        for cluster in expected.index
        for column in expected.columns
        if not equal(plain(expected.loc[cluster, column]), plain(found.loc[cluster, column]), 1e-6)
    ]


# ---------------------------------------------------------------------- focus


def state(cluster: str, path: str, label: str | None = None) -> ClusterState:
    shown = label or path.rpartition(" / ")[2] or "Unassigned"
    return ClusterState(cluster, 10, shown, path, 1.0, "leaf_reached")


STATES = [
    state("3", "R / X"),
    state("3:0", "S / X"),
    state("30", "R"),
    state("4", "R~S"),
    state("5", ""),
    state("6", "", "Brand New"),
]


@pytest.mark.parametrize(
    ("labels", "clusters", "expected"),
    [
        (None, None, ["3", "3:0", "30", "4", "5", "6"]),
        (["R"], None, ["3", "30", "4"]),
        (["X"], None, ["3", "3:0"]),
        (["S / X"], None, ["3:0"]),
        (["Unassigned"], None, ["5"]),
        (["Brand New"], None, ["6"]),
        (None, ["3"], ["3", "3:0"]),
        (["R"], ["3", "4"], ["3", "4"]),
    ],
)
def test_focus(labels, clusters, expected):
    assert list(focus_of(STATES, MAP, labels, clusters).clusters) == expected


def test_an_unknown_label_is_refused_and_an_unknown_cluster_is_said():
    with pytest.raises(ParameterError, match="no cell type 'T Cells'; there are: R, S, X, Y"):
        focus_of(STATES, MAP, ["R", "T Cells"])
    focus = focus_of(STATES, MAP, None, ["3", "9"])
    assert focus.warnings == ("There is no cluster '9'; it is left out.",)


@pytest.mark.parametrize(("labels", "clusters"), [(["Y"], None), (None, ["9"]), (["S"], ["30"])])
def test_a_focus_on_nothing_is_refused(labels, clusters):
    with pytest.raises(ParameterError, match="No cluster is in focus"):
        focus_of(STATES, MAP, labels, clusters)


# ---------------------------------------------------------------------- the manual file


def manual(text: str, name: str = "manual.yaml"):
    ids = ["0", "1", "2", "3", "3:0", "12"]
    return read_manual(parse_document(text, name), MAP, ids, 0.4)


def test_both_forms_say_the_same():
    sections = """
version: "1.0"
overrides: [{cluster_id: 0, cell_type: Brand New, new: true, reason: seen}]
merge: [{source_clusters: [3, 12], target_label: S}]
subcluster: [{cluster_id: 3:0}]
skip: [{cluster_id: 2}]
"""
    actions = """
refinements:
  - {cluster: "0", action: override, label: Brand New, new: true, reason: seen}
  - {clusters: ["3", "12"], action: merge, label: S}
  - {cluster: "3:0", action: subcluster}
  - {cluster: "2", action: skip}
"""
    found, same = manual(sections), manual(actions)
    assert (found.operations, found.skipped) == (same.operations, same.skipped)
    assert found.entries == ("overrides.0", "merge.0", "subcluster.0")
    assert same.entries == ("refinements.0", "refinements.1", "refinements.2")
    assert set(found.claimed) == {"0", "2", "3", "12", "3:0"}
    assert found.operations == (
        Override(source="manual", reason="seen", cluster="0", label="Brand New", path=None),
        Merge(source="manual", clusters=("3", "12"), label="S", path="S"),
        Subcluster(source="manual", cluster="3:0", resolution=0.4),
    )
    assert found.skipped == ("2",)


def test_an_empty_file_does_nothing():
    assert manual("").operations == ()
    assert manual('version: "1.0"\n').skipped == ()


FAULTS = {
    "overides: []": "line 1, overides: unknown key 'overides'. Did you mean 'overrides'?",
    "merge: 3": "line 1, merge: is a list of entries",
    "skip: [3]": "line 1, skip.0: is a table, such as",
    "skip:\n- {cluster: 9}": "line 2, skip.0: there is no cluster '9'; there are: 0, 1, 2, 3",
    "refinements:\n- {cluster: 0, action: splt}": "line 2, refinements.0: unknown action 'splt'",
    "relabel:\n- {cluster_id: 0}": "line 2, relabel.0: a relabel needs 'label'",
    "relabel:\n- {cluster_id: 0, new_label: Z}": "line 2, relabel.0: manual",
    "relabel:\n- {cluster_id: 0, new_label: X}": "stands for 2 cell types: 'R / X'; 'S / X'",
    "overrides:\n- {cluster_id: 0, cell_type: Z}": "Add new: true to make one",
    "overrides:\n- {cluster_id: 0, cell_type: Z, new: 1}": "overrides.0.new: is true or false",
    "overrides:\n- {cluster_id: 0, cell_type: 7}": "the label is text; got 7",
    "overrides:\n- {cluster_id: 0, cell_type: R, why: x}": "unknown key 'why'",
    "merge:\n- {source_clusters: [1]}": "merge.0: clusters is a list of two or more",
    "subcluster:\n- {cluster_id: 1, resolution: 0}": "resolution: is a number above 0; got 0",
    "subcluster:\n- {cluster_id: 1, resolution: true}": "is a number above 0; got True",
    "skip:\n- {cluster_id: 1}\n- {cluster_id: 1}": (
        "line 3, skip.1: cluster '1' is named twice, first in line 2"
    ),
    "merge:\n- {source_clusters: [1, 1]}": "cluster '1' is named twice",
    "- skip": "is a table of overrides, merge, subcluster, relabel, skip or refinements",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_of_the_file_is_said_with_its_line(text):
    with pytest.raises(ConfigError) as caught:
        manual(text)
    expected = FAULTS[text].replace("line 2, relabel.0: manual", "has no cell type 'Z'")
    assert expected in str(caught.value)


def test_all_faults_come_together():
    with pytest.raises(ConfigError, match=r"manual\.yaml: 3 faults") as caught:
        manual("skip: [{cluster_id: 9}]\nfoo: 1\nmerge:\n- {source_clusters: [1]}\n")
    assert [fault.line for fault in caught.value.faults] == [1, 2, 4]


# ---------------------------------------------------------------------- plans


def test_a_plan_survives_json_and_knows_what_it_touches():
    plan = plan_of(
        [
            Subcluster(source="auto", cluster="10", resolution=0.4),
            Merge(source="manual", clusters=("12", "3")),
            Subcluster(source="auto", cluster="2", resolution=0.4),
        ],
        ["10", "2"],
    )
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert [row["clusters"] for row in plan.as_rows()] == [["3", "12"], ["2"], ["10"]]
    assert plan.focus == ("2", "10")
    assert plan.touched == {"2", "3", "10", "12"}
    counts = {"override": 0, "merge": 1, "regroup": 0, "subcluster": 2, "relabel": 0}
    assert plan.counts() == counts
    assert sorted(plan.touched, key=natural_key) == ["2", "3", "10", "12"]


def test_a_manual_operation_outside_the_focus_is_refused():
    found = manual("merge: [{source_clusters: [1, 2]}]")
    with pytest.raises(ParameterError, match="changes '2', which is not in focus"):
        merged_plan([], found, ["0", "1"])


def test_a_person_wins_where_both_name_a_cluster():
    auto = [Subcluster(source="auto", cluster=c, resolution=0.4) for c in ("0", "1", "2")]
    found = manual("skip: [{cluster_id: 0}]\nsubcluster: [{cluster_id: 1, resolution: 2}]")
    plan = merged_plan(auto, found, ["0", "1", "2"])
    assert [(row["clusters"], row["source"]) for row in plan.as_rows()] == [
        (["1"], "manual"),
        (["2"], "auto"),
    ]


@pytest.mark.parametrize(
    "operations",
    [
        [
            Override(source="manual", cluster="1", label="S", path="S"),
            Subcluster(source="auto", cluster="1", resolution=0.4),
        ],
        [Merge(source="manual", clusters=("1", "1"))],
    ],
)
def test_a_plan_names_each_cluster_once(operations):
    with pytest.raises(ValueError, match="named twice: '1'"):
        plan_of(operations, ["1"])


def test_ids_that_read_as_the_same_number_have_one_order():
    assert sorted(["03", "3:0", "3", "10"], key=natural_key) == ["03", "3", "3:0", "10"]
    assert sorted(["10", "3", "3:0", "03"], key=natural_key) == ["03", "3", "3:0", "10"]
