"""Refinement in the graph: iterations, manual plans, and the same labels as the command line."""

import json
from collections.abc import Iterator
from pathlib import Path

import anndata
import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml

from ctr_assets.assets.inputs import observe
from ctr_assets.definitions import build_defs
from ctr_assets.iteration_files import PassedOnError, resolved
from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_engine.errors import ConfigError
from ctr_engine.io.samples import read_sample
from ctr_engine.io.tables import read_csv
from ctr_engine.refinement.sample import lineage_in
from ctr_engine.tables import FinalAnnotations
from tests.assets.conftest import LIVER_1, LIVER_2, Laboratory, make_laboratory
from tests.bad_inputs import MARKERS
from tests.cli.test_annotate import ctr, words

CONFIG = """\
defaults:
  clustering: {resolution: 0.05, n_neighbors: 60}
  refinement: {min_cells: 10, min_subcluster_cells: 10, score_threshold: 1.5}
"""
"""Clusters so coarse that one of them holds T and B cells, which refinement takes apart."""
OVERRIDE = "overrides: [{cluster_id: '0', cell_type: Epithelium, reason: seen, author: Ada}]\n"
OF_REFINEMENT = {
    "refinement_iteration_1",
    "refinement_iteration_2",
    "refinement_iteration_3",
    "final_annotations",
    "refined",
}


def coarse_laboratory(folder: Path, instance: dg.DagsterInstance) -> Laboratory:
    """A laboratory whose clusters hold more than one type."""
    made = make_laboratory(folder, instance)
    (folder / "ctr.yaml").write_text(CONFIG)
    for seed, key in enumerate((LIVER_1, LIVER_2)):
        blurred_sample(seed).write_h5ad(made.project.sample_path(parse_key(key)))
    return Laboratory(load_project(folder), instance)


def blurred_sample(seed: int) -> anndata.AnnData:
    """Epithelium, and T and B cells that differ by little."""
    random = np.random.default_rng(seed)
    profiles = np.array(
        [[3, 3, 0, 0, 0, 2], [0, 0, 3, 1.4, 0, 2], [0, 0, 3, 0, 1.4, 2]], dtype=float
    )
    values = profiles[np.arange(120) % 3] + random.normal(0.5, 0.4, (120, 6))
    obs = pd.DataFrame(index=[f"cell_{i}" for i in range(120)])
    return anndata.AnnData(values.astype(np.float32), obs=obs, var=pd.DataFrame(index=MARKERS))


@pytest.fixture
def coarse(tmp_path: Path) -> Iterator[Laboratory]:
    """Give one in which nothing has run."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield coarse_laboratory(tmp_path, instance)


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Give one whose first liver sample has been refined; only to be read."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = coarse_laboratory(tmp_path_factory.mktemp("refined"), instance)
        assert made.run(LIVER_1).success
        yield made


def final(laboratory: Laboratory, key: str = LIVER_1) -> pd.DataFrame:
    return pd.read_parquet(laboratory.stored("final_annotations", key))


def metadata(laboratory: Laboratory, asset: str) -> dict:
    found = laboratory.event(asset, LIVER_1).metadata
    return {name: value.value for name, value in found.items()}


def plan_file(laboratory: Laboratory, text: str, key: str = LIVER_1) -> Path:
    path = laboratory.project.root / "manual" / f"{key}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def by_command(laboratory: Laboratory, folder: Path, *flags: object) -> pd.DataFrame:
    """Labels that the command line gives from the same clusters, until convergence."""
    source = laboratory.stored("coarse_clusters", LIVER_1)
    settings = yaml.safe_load(CONFIG)["defaults"]["refinement"]
    known = ("--auto", "--execute", "--until-converged", "--refinement-params")
    result = ctr("refine", source, "--out", folder, *known, json.dumps(settings), *flags)
    assert result.exit_code == 0, words(result)
    return read_csv(FinalAnnotations, folder / "final_annotations.csv")


def test_the_graph_and_the_command_give_the_same_labels(refined, tmp_path):
    expected = by_command(refined, tmp_path / "out")
    found = final(refined)
    assert set(found["cell_type"]) == {"Epithelium", "T Cells", "B Cells"}
    steps = len(found["clusters"].iloc[0])
    assert steps > 2, "else nothing was refined"
    found["clusters"] = [list(way) for way in found["clusters"]]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_the_refined_sample_says_the_same_and_can_be_refined_on(refined, tmp_path):
    adata = read_sample(refined.stored("refined", LIVER_1))
    labels = final(refined).set_index("cell_id").loc[adata.obs_names]
    assert adata.obs["cell_type_lvl1"].astype(str).tolist() == labels["cell_type"].tolist()
    stored = resolved(
        refined.project.files, refined.stored("refinement_iteration_3", LIVER_1)
    ).read()
    assert lineage_in(adata, "x").content_sha256 == stored.content_sha256
    result = ctr("refine", refined.stored("refined", LIVER_1), "--out", tmp_path / "out")
    assert result.exit_code == 0, words(result)


def test_an_iteration_after_convergence_passes_its_input_on(refined):
    assert metadata(refined, "refinement_iteration_1")["stop_reason"] == "goes on"
    second, third = (metadata(refined, f"refinement_iteration_{n}") for n in (2, 3))
    assert (second["stop_reason"], second["passthrough"]) == ("no_candidates", False)
    assert (third["stop_reason"], third["passthrough"]) == ("no_candidates", True)
    assert third["passthrough_of"] == "refinement_iteration_2"
    versions = refined.versions(LIVER_1)
    assert versions["refinement_iteration_3"] == versions["refinement_iteration_2"]
    assert versions["refinement_iteration_2"] != versions["refinement_iteration_1"]
    pointer = resolved(refined.project.files, refined.stored("refinement_iteration_3", LIVER_1))
    assert pointer.path == refined.stored("refinement_iteration_2", LIVER_1)
    assert len(pd.read_parquet(refined.stored("refinement_iteration_3", LIVER_1))) == 0


def test_an_iteration_says_what_it_did(refined):
    told = metadata(refined, "refinement_iteration_1")
    assert (told["clusters_before"], told["clusters_after"]) == (2, 3)
    assert told["mean_score_after"] > told["mean_score_before"]
    kinds = {"override": 0, "merge": 0, "regroup": 0, "subcluster": 1, "relabel": 0}
    assert told["operations"] == kinds
    (row,) = (
        [record.data for record in told["plan"].records]
        if hasattr(told["plan"], "records")
        else [record.data for record in told["plan"]]
    )
    assert (row["operation"], row["proposed by"]) == ("subcluster", "auto")
    assert told["picture"].startswith("![picture](data:image/png;base64,")
    assert told["waiting"] == []


def test_the_last_asset_says_who_decided(refined):
    told = metadata(refined, "final_annotations")
    assert told["stop_reason"] == "no_candidates"
    counted = final(refined)["decided_by"].value_counts().to_dict()
    assert told["cells_by_who_decided"] == counted
    assert set(counted) == {"stage_h", "rescored"}


def changed(laboratory: Laboratory, before: dict[str, str]) -> set[str]:
    after = laboratory.versions(LIVER_1)
    return {name for name, version in after.items() if before[name] != version}


def test_an_edit_of_a_manual_plan_moves_the_refinement_of_its_partition_only(coarse):
    assert coarse.run(LIVER_1).success
    assert coarse.run(LIVER_2).success
    before, other = coarse.versions(LIVER_1), coarse.versions(LIVER_2)
    plan_file(coarse, OVERRIDE)
    for key in (LIVER_1, LIVER_2):
        assert coarse.run(key).success
    assert changed(coarse, before) == OF_REFINEMENT
    assert coarse.versions(LIVER_2) == other
    with_plan = coarse.versions(LIVER_1)
    plan_file(coarse, "# only a comment\n" + OVERRIDE.replace("[{", "[ {"))
    assert coarse.run(LIVER_1).success
    assert coarse.versions(LIVER_1) == with_plan
    plan_file(coarse, OVERRIDE).unlink()
    assert coarse.run(LIVER_1).success
    assert coarse.versions(LIVER_1) == before, "a plan that was taken back leaves no trace"


def test_a_manual_plan_is_carried_out_as_by_the_command(coarse, tmp_path):
    path = plan_file(coarse, OVERRIDE)
    assert coarse.run(LIVER_1).success
    found = final(coarse)
    expected = by_command(coarse, tmp_path / "out", "--manual", path)
    assert found["cell_type"].tolist() == expected["cell_type"].tolist()
    overridden = found[[way[0] == "0" for way in found["clusters"]]]
    assert set(overridden["cell_type"]) == {"Epithelium"}
    assert set(overridden["decided_by"]) == {"override"}
    told = metadata(coarse, "refinement_iteration_1")
    assert told["operations"]["override"] == 1
    assert "override 0 (manual) -> Epithelium" not in str(told["plan_changes"]), "nothing before"


def test_what_changed_in_a_plan_is_told(coarse):
    assert coarse.run(LIVER_1).success
    plan_file(coarse, OVERRIDE)
    assert coarse.run(LIVER_1).success
    told = metadata(coarse, "refinement_iteration_1")["plan_changes"]
    assert told["new"] == ["override 0 (manual) -> Epithelium"]
    assert told["gone"] == ["subcluster 0 (auto) at resolution 0.4"]


def test_a_decision_on_a_part_is_carried_out_once_the_part_is_there(coarse, tmp_path):
    assert coarse.run(LIVER_1).success
    sheet = tmp_path / "sheet.csv"
    assert ctr("export-review", coarse.stored("refined", LIVER_1), "--out", sheet).exit_code == 0
    rows = pd.read_csv(sheet, dtype=str, keep_default_na=False)
    part = rows["cluster_id"] == "0:1"
    assert part.sum() == 1
    rows.loc[part, ["curated_label", "curator"]] = ["Epithelium", "Ada"]
    rows.to_csv(sheet, index=False)
    path = coarse.project.root / "manual" / f"{LIVER_1}.yaml"
    result = ctr("import-review", sheet, "--out", path)
    assert result.exit_code == 0, words(result)
    assert coarse.run(LIVER_1).success
    found = final(coarse)
    labels = {
        way[1]: label for way, label in zip(found["clusters"], found["cell_type"], strict=True)
    }
    who = {way[1]: by for way, by in zip(found["clusters"], found["decided_by"], strict=True)}
    assert (labels["0:1"], who["0:1"]) == ("Epithelium", "override")
    assert who["0:0"] == "rescored"
    assert metadata(coarse, "refinement_iteration_2")["operations"]["override"] == 1
    assert check(coarse, "manual_plan_carried_out").passed


def check(laboratory: Laboratory, name: str, asset: str = "final_annotations"):
    """Newest result of a check of the final labels, or of another asset."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    storage = laboratory.instance.event_log_storage
    (record,) = storage.get_asset_check_execution_history(key, limit=1)
    event = record.event
    assert event is not None
    return event.dagster_event.event_specific_data


def test_a_decision_whose_cells_are_scattered_is_a_conflict(coarse):
    assert coarse.run(LIVER_1).success
    cells = final(coarse)["cell_id"].tolist()
    text = yaml.safe_dump(
        {
            "overrides": [{"cluster_id": "mine", "cell_type": "T Cells"}],
            "cells": {"mine": "\n".join(cells)},
        }
    )
    plan_file(coarse, text)
    assert coarse.run(LIVER_1).success
    found = check(coarse, "manual_plan_carried_out")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert f"the {len(cells)} cells that cluster 'mine' was decided on" in found.description
    assert "override" not in set(final(coarse)["decided_by"])


def test_iterations_that_do_not_converge_are_a_warning(coarse):
    assert coarse.run(LIVER_1).success
    assert check(coarse, "converged").passed
    (coarse.project.root / "ctr.yaml").write_text(CONFIG + "refinement_iterations: 1\n")
    assert coarse.run(LIVER_1).success
    found = check(coarse, "converged")
    assert not found.passed
    assert found.description == "the last of 1 iterations ended with iteration_limit"


def test_the_project_says_how_many_iterations_there_are(coarse):
    (coarse.project.root / "ctr.yaml").write_text("refinement_iterations: 5\n")
    graph = build_defs(str(coarse.project.root)).resolve_asset_graph()
    names = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert {name for name in names if name.startswith("refinement_iteration_")} == {
        f"refinement_iteration_{number}" for number in range(1, 6)
    }
    (last,) = [
        key.to_user_string()
        for key in graph.get(dg.AssetKey("final_annotations")).parent_keys
        if "iteration" in key.to_user_string()
    ]
    assert last == "refinement_iteration_5"


def test_a_tissue_may_be_refined_by_hand_alone(coarse):
    (coarse.project.root / "ctr.yaml").write_text(CONFIG + "  refinement_policy: manual\n")
    assert coarse.run(LIVER_1).success
    assert metadata(coarse, "refinement_iteration_1")["stop_reason"] == "no_candidates"
    assert set(final(coarse)["decided_by"]) == {"stage_h"}


def test_a_plan_with_faults_fails_with_their_lines(coarse):
    path = plan_file(coarse, "overrides:\n- {cluster_id: '77', cell_type: Epithelium}\n")
    outcome = coarse.run(LIVER_1)
    assert not outcome.success
    (fault,) = outcome.faults
    assert str(path) in fault
    assert "line 2" in fault
    assert "there is no cluster '77'; there are: 0, 1" in fault


def test_a_half_written_plan_leaves_the_last_good_one_in_force(coarse):
    plan_file(coarse, OVERRIDE)
    assert coarse.run(LIVER_1).success
    before = coarse.versions(LIVER_1)
    plan_file(coarse, "overrides: [{cluster_id: '0'")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        observe(coarse.instance, coarse.project, parse_key(LIVER_1), "manual_plan")
    assert coarse.run(LIVER_1).success
    assert coarse.versions(LIVER_1) == before
    (warning,) = metadata(coarse, "refinement_iteration_1")["warnings"]
    assert "stays in force" in warning
    assert "is not valid YAML" in warning


def test_a_first_plan_that_is_broken_fails(coarse):
    plan_file(coarse, "overrides: [{cluster_id: '0'")
    outcome = coarse.run(LIVER_1)
    assert not outcome.success
    assert "is not valid YAML" in outcome.faults[0]


def test_two_plans_of_a_partition_are_refused(coarse):
    plan_file(coarse, OVERRIDE).with_suffix(".json").write_text("{}")
    with pytest.raises(ConfigError, match="more than one plan; keep one"):
        coarse.project.manual_plan_path(parse_key(LIVER_1))


def test_a_pointer_whose_target_was_made_again_is_not_followed(coarse):
    assert coarse.run(LIVER_1).success
    pointer = coarse.stored("refinement_iteration_3", LIVER_1)
    target = coarse.stored("refinement_iteration_2", LIVER_1)
    target.write_bytes(coarse.stored("refinement_iteration_1", LIVER_1).read_bytes())
    with pytest.raises(PassedOnError, match="made again; materialize refinement_iteration_3"):
        resolved(coarse.project.files, pointer)


def test_other_parameters_than_those_of_the_labels_are_refused(coarse):
    assert coarse.run(LIVER_1).success
    stricter = CONFIG + "  scoring: {positive_quantile: 0.99}\n"
    (coarse.project.root / "ctr.yaml").write_text(stricter)
    words_ = coarse.failure_of("refinement_iteration_1", LIVER_1)
    assert "cluster_annotations of liver__S1 was made with other parameters" in words_


def test_an_earlier_iteration_of_other_clusters_is_refused(coarse):
    assert coarse.run(LIVER_1).success
    finer = CONFIG.replace("0.05", "2.0")
    (coarse.project.root / "ctr.yaml").write_text(finer)
    job = build_defs(str(coarse.project.root)).resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=coarse.instance,
        partition_key=LIVER_1,
        asset_selection=[dg.AssetKey(name) for name in ("pca", "knn_graph", "leiden_clusters")],
    )
    assert done.success
    words_ = coarse.failure_of("refinement_iteration_2", LIVER_1)
    assert "refinement_iteration_1 of liver__S1 is of other clusters" in words_
