"""``ctr refine`` as a user types it."""

import json
from pathlib import Path

import anndata
import pandas as pd
import pytest

from tests.bad_inputs import good_sample
from tests.cli.test_annotate import ctr, words

MAP = {
    "Epithelium": {"markers": ["Pan-CK", "E-cadherin"], "anti_markers": ["CD45"]},
    "Immune Cells": {
        "markers": ["CD45"],
        "subtypes": {"T Cells": {"markers": ["CD3"]}, "B Cells": {"markers": ["CD20"]}},
    },
}
SMALL = ("--refinement-params", '{"min_cells": 10, "min_subcluster_cells": 10}')


@pytest.fixture(scope="module")
def annotated(tmp_path_factory) -> Path:
    """Results of a sample of two clusters, of which "1" holds T and B cells."""
    folder = tmp_path_factory.mktemp("annotated")
    adata = good_sample()
    adata.obs["mine"] = ["0" if i % 3 == 0 else "1" for i in range(adata.n_obs)]
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(json.dumps(MAP))
    files = (folder / "sample.h5ad", "--marker-map", folder / "map.json", "--out", folder / "out")
    assert ctr("annotate", *files, "--annotation-only", "--cluster-key", "mine").exit_code == 0
    return folder / "out" / "coarse_clusters.h5ad"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def clusters(folder: Path) -> list[str]:
    return anndata.read_h5ad(folder / "refined.h5ad").obs["cluster_lvl1"].astype(str).tolist()


def test_without_execute_there_is_a_report_and_nothing_else(annotated, tmp_path):
    result = ctr("refine", annotated, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 0, words(result)
    assert names(tmp_path / "out") == {"diagnostic_report.csv"}
    assert "Nothing was changed; add --execute" in words(result)
    report = pd.read_csv(tmp_path / "out" / "diagnostic_report.csv", dtype={"cluster_id": str})
    assert set(report["cluster_id"]) == {"0", "1"}


def test_a_dry_run_prints_the_plan_and_writes_nothing(annotated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text("merge: [{source_clusters: [1, 0], target_label: T Cells}]")
    result = ctr("refine", annotated, "--manual", "plan.yaml", "--dry-run")
    assert result.exit_code == 0, words(result)
    assert "merge 0, 1 (manual) -> T Cells" in words(result)
    assert names(tmp_path) == {"plan.yaml"}


def test_a_mixed_cluster_is_divided(annotated, tmp_path):
    (tmp_path / "plan.yaml").write_text("subcluster: [{cluster_id: 1, reason: mixed}]")
    flags = ("--manual", tmp_path / "plan.yaml", "--execute", *SMALL)
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    assert result.exit_code == 0, words(result)
    assert names(tmp_path / "out") == {
        "curation_log.json",
        "decision_summary.json",
        "diagnostic_report.csv",
        "final_annotations.csv",
        "plan.json",
        "refined.h5ad",
        "refinement_log.csv",
        "score_distribution.png",
    }
    refined = anndata.read_h5ad(tmp_path / "out" / "refined.h5ad")
    truth = ["Epithelium", "T Cells", "B Cells"]
    expected = [truth[i % 3] for i in range(refined.n_obs)]
    assert refined.obs["cell_type_lvl1"].tolist() == expected
    assert refined.obs["cell_type_lvl0"].astype(str).nunique() == 2
    log = pd.read_csv(tmp_path / "out" / "refinement_log.csv")
    assert log["new_clusters"].tolist() == ["1:0;1:1"]
    assert "Iteration 1: 1 subcluster; 2 -> 3 clusters" in words(result)


def test_iterations_one_by_one_are_those_of_one_call(annotated, tmp_path):
    eager = '{"min_cells": 10, "min_subcluster_cells": 10, "score_threshold": 9.0}'
    flags = ("--auto", "--execute", "--refinement-params", eager)
    whole = ctr("refine", annotated, "--out", tmp_path / "all", *flags, "--until-converged")
    assert whole.exit_code == 0, words(whole)
    summary = json.loads((tmp_path / "all" / "decision_summary.json").read_text())
    source = annotated
    for number in range(1, len(summary["iterations"]) + 1):
        ctr("refine", source, "--out", tmp_path / f"{number}", *flags)
        source = tmp_path / f"{number}" / "refined.h5ad"
    assert clusters(tmp_path / f"{number}") == clusters(tmp_path / "all")
    assert len(summary["iterations"]) > 1, "else one call is the other"
    assert summary["stop_reason"] == summary["iterations"][-1]["stop_reason"]


def test_presets_parameters_and_their_order(annotated, tmp_path):
    (tmp_path / "params.yaml").write_text("refinement: {min_cells: 40, heterogeneity_gap: 0.6}\n")
    flags = ("--config", tmp_path / "params.yaml", "--refinement-preset", "conservative")
    more = ("--refinement-params", '{"min_cells": 30}', "--max-iterations", 7, "--auto")
    ctr("refine", annotated, "--out", tmp_path / "out", *flags, *more, "--execute")
    log = json.loads((tmp_path / "out" / "curation_log.json").read_text())
    used = log["iterations"][0]["parameters"]
    assert (used["min_cells"], used["heterogeneity_gap"], used["max_iterations"]) == (30, 0.6, 7)
    assert used["score_threshold"] == 1.5


def test_config_may_name_a_plan(annotated, tmp_path):
    (tmp_path / "plan.yaml").write_text("skip: [{cluster_id: 1}]")
    flags = ("--config", tmp_path / "plan.yaml", "--auto", "--execute", *SMALL)
    ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    assert set(clusters(tmp_path / "out")) == {"0", "1"}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--execute"], "nobody proposes anything; add --auto, --policy two-pass or --manual"),
        (["--auto", "--until-converged"], "--until-converged would have no effect; add --execute"),
        (["--execute", "--dry-run", "--auto"], "--dry-run and --execute exclude each other"),
        (["--refinement-preset", "bold"], "--refinement-preset is conservative or aggressive"),
        (["--refinement-params", '{"min_cell": 1}'], "Did you mean 'min_cells'?"),
        (["--focus-labels", "Neurons"], "--focus-labels: no cell type 'Neurons'"),
        (["--focus-clusters", "9"], "No cluster is in focus"),
        (["--manual", "nowhere.yaml"], "nowhere.yaml: 1 fault there is no such file"),
    ],
)
def test_what_cannot_be_followed_is_refused(flags, expected, annotated, tmp_path):
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    assert result.exit_code == 1
    assert expected in words(result)
    assert not (tmp_path / "out").exists()


def test_faults_of_the_plan_come_with_their_lines(annotated, tmp_path):
    (tmp_path / "plan.yaml").write_text("skip:\n- {cluster_id: 7}\nmerge:\n- {clusters: [1]}\n")
    flags = ("--manual", tmp_path / "plan.yaml", "--auto")
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    assert result.exit_code == 1
    assert "line 2, skip.0: there is no cluster '7'; there are: 0, 1" in words(result)
    assert "line 4, merge.0: clusters is a list of two or more" in words(result)


@pytest.mark.parametrize("flags", [(), ("--execute",)])
def test_an_empty_plan_is_refused(flags, annotated, tmp_path):
    (tmp_path / "plan.yaml").write_text("")
    files = ("--out", tmp_path / "out", "--manual", tmp_path / "plan.yaml")
    result = ctr("refine", annotated, *files, *flags)
    assert result.exit_code == 1
    assert "plan.yaml: 1 fault names nothing to do; write overrides, merge" in words(result)
    assert not (tmp_path / "out").exists()


def test_a_missing_input_is_named_with_this_command():
    assert "Write: ctr refine RUN/coarse_clusters.h5ad" in words(ctr("refine", "--out", "x"))


def test_a_report_never_removes_a_refinement_that_was_carried_out(annotated, tmp_path):
    out = tmp_path / "out"
    ctr("refine", annotated, "--out", out, "--auto", "--execute", *SMALL)
    before = names(out)
    result = ctr("refine", annotated, "--out", out, *SMALL)
    assert result.exit_code == 1
    assert "holds a refinement that was carried out; name another --output-dir" in words(result)
    assert names(out) == before


def test_what_a_person_merged_is_not_divided_by_the_criteria(annotated, tmp_path):
    """A new label has no score, which looks like low confidence."""
    plan = "merge: [{source_clusters: [0, 1], target_label: Hybrid, new: true}]"
    (tmp_path / "plan.yaml").write_text(plan)
    flags = ("--manual", tmp_path / "plan.yaml", "--auto", "--execute", "--until-converged", *SMALL)
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    assert result.exit_code == 0, words(result)
    assert set(clusters(tmp_path / "out")) == {"0"}


def test_what_did_not_come_apart_counts_as_untouched(annotated, tmp_path):
    (tmp_path / "plan.yaml").write_text("subcluster: [{cluster_id: 0, resolution: 0.001}]")
    flags = ("--manual", tmp_path / "plan.yaml", "--execute", *SMALL)
    ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    obs = anndata.read_h5ad(tmp_path / "out" / "refined.h5ad").obs
    assert set(obs["refinement_action"]) == {"none"}
    (one,) = json.loads((tmp_path / "out" / "curation_log.json").read_text())["iterations"]
    assert (one["clusters_modified"], one["n_cells_modified"]) == ([], 0)


def test_a_folder_is_refined_from_its_newest_results(annotated, tmp_path):
    ctr("refine", annotated.parent, "--out", tmp_path / "a", "--auto", "--execute", *SMALL)
    result = ctr("refine", tmp_path / "a", "--out", tmp_path / "b", "--auto", "--execute", *SMALL)
    assert result.exit_code == 0, words(result)
    assert "Iteration 2" in words(result)


def test_an_entry_outside_the_focus_is_told_with_its_line(annotated, tmp_path):
    (tmp_path / "plan.yaml").write_text("skip: []\nsubcluster:\n- {cluster_id: 1}\n")
    flags = ("--manual", tmp_path / "plan.yaml", "--focus-clusters", "0", "--execute", *SMALL)
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags)
    assert result.exit_code == 1
    assert "line 3, subcluster.0: cluster '1' is not in focus" in words(result)


def test_a_sample_that_was_not_annotated_is_refused(tmp_path):
    good_sample().write_h5ad(tmp_path / "sample.h5ad")
    result = ctr("refine", tmp_path / "sample.h5ad", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "name what ctr annotate wrote" in words(result)


def test_results_of_annotate_are_not_mixed_with_those_of_refine(annotated):
    result = ctr("refine", annotated, "--out", annotated.parent)
    assert result.exit_code == 1
    assert "holds the results of a run; name another folder" in words(result)


def test_another_profile_than_that_of_the_annotation_scores_and_is_told(annotated, tmp_path):
    flags = ("--auto", "--execute", "--profile", "adaptive")
    result = ctr("refine", annotated, "--out", tmp_path / "out", *flags, *SMALL)
    assert result.exit_code == 0, words(result)
    told = "annotated with the profile reference; it is scored and refined with adaptive"
    assert told in words(result)
    refined = anndata.read_h5ad(tmp_path / "out" / "refined.h5ad")
    assert json.loads(refined.uns["stage_h_params"])["given"]["profile"] == "adaptive"
    again = ctr("refine", tmp_path / "out" / "refined.h5ad", "--dry-run", "--profile", "adaptive")
    assert told not in words(again)
    record = json.loads(refined.uns["stage_refine_iteration_1"])
    assert record["parameters"]["relabel_requires_pass"] is True


def test_a_profile_that_does_not_exist_is_refused(annotated):
    result = ctr("refine", annotated, "--dry-run", "--profile", "bold")
    assert result.exit_code != 0
    assert "reference" in words(result)
    assert "adaptive" in words(result)
