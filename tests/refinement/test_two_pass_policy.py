"""The policy two-pass: what it proposes and spares, its log and record, and the command."""

import json
import re
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from ctr_engine.documents import Document, parse_document
from ctr_engine.errors import ParameterError
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.convergence import Round, iterate, stop_of
from ctr_engine.refinement.engine import Iteration, Sample, Scored, execute, score_partition
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Held, Partition
from ctr_engine.refinement.plan import Merge, Plan, Regroup, Subcluster, describe, plan_of
from ctr_engine.refinement.proposals import Policy, Proposal, propose
from ctr_engine.refinement.record import IterationRecord, record_of
from tests.builders import expression, marker_map, plain
from tests.builders import sample as stored_sample
from tests.cli.test_annotate import ctr, words

ORIGIN = {"parent_file": "x.h5ad", "parent_sha256": "0", "timestamp": "2026-01-01T00:00:00+00:00"}
MARKERS = ["Pan-CK", "CD45", "CD3", "CD20"]
CONTENT = {
    "Epithelium": {"markers": ["Pan-CK"], "anti_markers": ["CD45"]},
    "Immune Cells": {
        "markers": ["CD45"],
        "subtypes": {"T Cells": {"markers": ["CD3"]}, "B Cells": {"markers": ["CD20"]}},
    },
}
TYPES = {"E": [3, 0, 0, 0], "T": [0, 3, 3, 0], "B": [0, 3, 0, 3]}
LABELS = {"E": "Epithelium", "T": "T Cells", "B": "B Cells"}
CELLS = "E" * 80 + "T" * 46 + "B" * 34
MIXED = "0" * 40 + "2" * 40 + "1" * 80
"""Epithelium is in two clusters; 1 holds T and B cells."""
AFTER = {"0": ("Epithelium", 80), "1:0": ("T Cells", 46), "1:1": ("B Cells", 34)}
TWO_PASS = {"min_split": 8, "max_lump": 8, "scale_neighbors": 2}


@cache
def sample(**refinement) -> Sample:
    random = np.random.default_rng(1)
    rows = np.array([TYPES[cell] for cell in CELLS]) + random.normal(0, 0.1, (len(CELLS), 4))
    params = RefinementParams.model_validate({"two_pass": TWO_PASS, **refinement})
    return Sample(expression(rows, MARKERS), marker_map(CONTENT), AnalysisParams(), params)


def started(clusters: str = MIXED, **held: Held) -> Scored:
    ids = np.array(list(clusters), dtype=object)
    start = Partition(sample().view.cell_ids.astype(object), ids, held)
    return score_partition(sample(), start, {})


def proposed(before: Scored | None = None, **policy) -> Proposal:
    return propose(Policy(two_pass=True, **policy), sample(), before or started(), (), first=True)


def clusters(one: Proposal) -> list[tuple[str, ...]]:
    return [operation.clusters for operation in one.plan.operations if operation.source == "auto"]


def executed(before: Scored, one: Proposal) -> Iteration:
    return execute(sample(), before, one.plan, 1, one.regrouping)


def labels(scored: Scored) -> dict[str, tuple[str, int]]:
    return {state.cluster_id: (state.label, state.n_cells) for state in scored.states}


def manual(*entries: dict) -> Document:
    return parse_document(json.dumps({"refinements": list(entries)}), "manual.json")


def test_the_report_recommends_what_the_two_passes_found_and_nothing_else():
    eager = sample(score_threshold=99.0, min_cells=5)
    before = started("0" * 80 + "1" * 80)
    criteria = propose(Policy(), eager, before, (), first=True)
    assert criteria.plan.touched == {"0", "1"}
    one = propose(Policy(two_pass=True), eager, before, (), first=True)
    assert [describe(op) for op in one.plan.operations] == ["regroup 1 (auto) into 46 + 34 cells"]
    columns = ["recommendation", "criterion", "reason"]
    report = one.report.set_index("cluster_id")[columns].T.to_dict("list")
    assert plain(report["1"]) == ["REGROUP", "two_pass", None]
    assert [plain(value) for value in report["0"]] == ["SKIP", None, None]


@pytest.mark.parametrize("by", ["override", "merge"])
def test_what_a_person_named_is_left_alone(by):
    held = Held("Immune Cells", "Immune Cells", by)
    assert clusters(proposed(started(**{"1": held}))) == [("0", "2")]
    assert clusters(proposed(started(**{"2": held}))) == [("1",)]


def test_what_the_criteria_named_may_change():
    held = Held("Immune Cells", "Immune Cells", "relabel", "auto")
    assert clusters(proposed(started(**{"1": held}))) == [("0", "2"), ("1",)]


@pytest.mark.parametrize(
    "entry",
    [
        {"cluster": "2", "action": "skip"},
        {"cluster": "2", "action": "override", "label": "T Cells"},
        {"cluster": "2", "action": "subcluster"},
    ],
)
def test_what_a_manual_plan_names_is_left_alone(entry):
    assert clusters(proposed(manual=manual(entry))) == [("1",)]


def test_others_are_joined_without_what_a_manual_plan_names():
    before = started("0" * 30 + "2" * 20 + "3" * 30 + "1" * 80)
    assert clusters(proposed(before)) == [("0", "2", "3"), ("1",)]
    skip = {"cluster": "2", "action": "skip"}
    assert clusters(proposed(before, manual=manual(skip))) == [("0", "3"), ("1",)]


def test_what_is_out_of_focus_is_left_alone():
    assert clusters(proposed(focus_clusters=("0", "1"))) == [("1",)]
    assert clusters(proposed(focus_labels=("Epithelium",))) == [("0", "2")]


def test_without_automatic_proposals_there_are_no_passes():
    one = proposed(auto=False)
    assert (one.plan.operations, one.regrouping) == ((), None)


def test_a_plan_without_its_groups_is_refused():
    text = "^a plan that regroups clusters needs to know where their cells go$"
    with pytest.raises(ParameterError, match=text):
        execute(sample(), started(), proposed().plan)


# ------------------------------------------------------------------ plan, log, record

REGROUP = Regroup(source="auto", reason="two_pass", clusters=("10", "2"), sizes=(7, 5, 2))


def test_a_plan_with_a_regrouping_survives_json_and_reads_as_one_line():
    others = [
        Subcluster(source="manual", cluster="1", resolution=0.4),
        Merge(source="manual", clusters=("4", "3")),
    ]
    plan = plan_of([others[0], REGROUP, others[1]], ["1", "2", "3", "4", "10"])
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert [op.op for op in plan.operations] == ["merge", "regroup", "subcluster"]
    assert plan.counts() == {"override": 0, "merge": 1, "regroup": 1, "subcluster": 1, "relabel": 0}
    assert describe(REGROUP) == "regroup 2, 10 (auto) into 7 + 5 + 2 cells"
    row = {"op": "regroup", "clusters": ["2", "10"], "source": "auto"}
    assert plan.as_rows()[1] == {**row, "label": None, "path": None, "resolution": None}
    assert plan.touched == {"1", "2", "3", "4", "10"}


def test_a_plan_names_a_cluster_that_is_regrouped_once():
    again = Subcluster(source="manual", cluster="2", resolution=0.4)
    with pytest.raises(ValueError, match="named twice: '2'"):
        plan_of([REGROUP, again], ["2"])


def test_the_plan_is_carried_out_and_logged():
    before = started()
    done = executed(before, proposed(before))
    assert labels(done.after) == AFTER
    expected = ["0"] * 80 + ["1:0"] * 46 + ["1:1"] * 34
    assert done.after.partition.clusters.tolist() == expected
    joined, divided = done.log.to_dict("records")
    told = ("op", "source", "reason", "clusters", "new_clusters", "n_cells", "outcome")
    who = ["regroup", "auto", "two_pass"]
    assert [plain(joined[name]) for name in told] == [*who, ["0", "2"], ["0"], 80, "done"]
    assert [plain(divided[name]) for name in told] == [*who, ["1"], ["1:0", "1:1"], 80, "done"]
    assert plain(joined["labels_before"]) == ["Epithelium", "Epithelium"]
    assert plain(divided["labels_after"]) == ["T Cells", "B Cells"]
    score = {state.cluster_id: state.score for state in done.after.states}
    mean = (46 * score["1:0"] + 34 * score["1:1"]) / 80
    assert divided["score_after"] == pytest.approx(mean)


def test_the_record_tells_what_was_made_and_survives_json():
    before = started("0" * 80 + "1" * 80)
    one = proposed(before)
    done = executed(before, one)
    stop = stop_of(sample(), before, done, 1)
    record = record_of(sample(), before, Round(1, one, done, stop), (), ORIGIN)
    assert record.subclusters_created == ("1:0", "1:1")
    assert (record.clusters_modified, record.n_cells_modified) == (("1",), 80)
    assert record.plan_summary["regroup"] == 1
    decided = {c.cluster_id: (c.decided_by, c.decided_in) for c in record.clusters}
    assert decided == {"0": ("stage_h", 0), "1:0": ("rescored", 1), "1:1": ("rescored", 1)}
    assert IterationRecord.model_validate_json(record.model_dump_json()) == record


# -------------------------------------------------------------------------- iterations


@pytest.mark.parametrize("start", [MIXED, "0" * 160, "01" * 80, "0" * 60 + "1" * 100])
def test_one_iteration_is_enough_for_they_go_on_by_themselves(start):
    (only,) = iterate(sample(), started(start), Policy(two_pass=True))
    assert sorted(labels(only.iteration.after).values()) == sorted(AFTER.values())
    assert only.stop_reason == "two_passes"


@pytest.mark.parametrize("limit", [1, 3])
def test_they_have_converged_whatever_the_limit_of_the_iterations(limit):
    (only,) = iterate(sample(max_iterations=limit), started(), Policy(two_pass=True))
    assert only.stop_reason == "two_passes"


def test_where_they_find_nothing_there_is_nothing_to_do():
    (only,) = iterate(sample(), started("0" * 80 + "1" * 46 + "2" * 34), Policy(two_pass=True))
    assert (only.stop_reason, only.iteration.plan.operations) == ("no_candidates", ())


def test_a_person_can_name_a_part_that_the_two_passes_make():
    entry = {"cluster": "1:1", "action": "override", "label": "Epithelium"}
    policy = Policy(manual=manual(entry), chained=True, two_pass=True)
    rounds = list(iterate(sample(), started(), policy))
    assert [one.manual_entries for one in rounds][:2] == [(), ("refinements.0",)]
    assert labels(rounds[-1].iteration.after) == {**AFTER, "1:1": ("Epithelium", 34)}


def test_a_person_and_the_two_passes_share_an_iteration():
    before = started()
    entry = {"cluster": "1", "action": "override", "label": "B Cells"}
    done = executed(before, proposed(before, manual=manual(entry)))
    assert labels(done.after) == {"0": ("Epithelium", 80), "1": ("B Cells", 80)}
    assert [(op.op, op.source) for op in done.plan.operations] == [
        ("override", "manual"),
        ("regroup", "auto"),
    ]


# ------------------------------------------------------------------------- the command

FLAGS = ("--policy", "two-pass", "--refinement-params", json.dumps({"two_pass": TWO_PASS}))


@pytest.fixture(scope="module")
def annotated(tmp_path_factory) -> Path:
    """Results of a sample with Epithelium in "0", and T and B cells in "1"."""
    folder = tmp_path_factory.mktemp("annotated")
    adata = stored_sample(sample().view.values, MARKERS)
    adata.obs["mine"] = ["0"] * 80 + ["1"] * 80
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(json.dumps(CONTENT))
    files = (folder / "sample.h5ad", "--marker-map", folder / "map.json", "--out", folder / "out")
    assert ctr("annotate", *files, "--annotation-only", "--cluster-key", "mine").exit_code == 0
    return folder / "out" / "coarse_clusters.h5ad"


def test_the_command_divides_by_distance(annotated, tmp_path):
    result = ctr("refine", annotated, "--out", tmp_path, "--execute", *FLAGS)
    assert result.exit_code == 0, words(result)
    assert "regroup 1 (auto) into 46 + 34 cells" in words(result)
    refined = anndata.read_h5ad(tmp_path / "refined.h5ad").obs
    assert refined["cell_type_lvl1"].tolist() == [LABELS[cell] for cell in CELLS]
    log = pd.read_csv(tmp_path / "refinement_log.csv")
    assert (log["op"].tolist(), log["new_clusters"].tolist()) == (["regroup"], ["1:0;1:1"])


def test_without_execute_the_command_writes_the_report_alone(annotated, tmp_path):
    result = ctr("refine", annotated, "--out", tmp_path, *FLAGS)
    assert result.exit_code == 0, words(result)
    assert [path.name for path in tmp_path.iterdir()] == ["diagnostic_report.csv"]
    report = pd.read_csv(tmp_path / "diagnostic_report.csv", dtype={"cluster_id": str})
    found = report.set_index("cluster_id")["recommendation"].to_dict()
    assert found == {"0": "SKIP", "1": "REGROUP"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--policy", "bold"], "--policy is auto or two-pass; got 'bold'"),
        (["--auto", *FLAGS], "--auto is --policy auto, and --policy is two-pass; drop one"),
    ],
)
def test_policies_that_cannot_be_followed_are_refused(flags, expected, annotated, tmp_path):
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags, "--execute")
    assert result.exit_code == 1
    assert expected in words(result)
    assert not (tmp_path / "out").exists()


def test_the_policy_auto_is_that_of_the_flag(annotated):
    texts = [
        re.sub(r"\d:\d\d:\d\d", "", words(ctr("refine", annotated, "--dry-run", *flags)))
        for flags in (["--auto"], ["--policy", "auto"], ["--auto", "--policy", "auto"])
    ]
    assert texts[0] == texts[1] == texts[2]
    assert "regroup" not in texts[0]
