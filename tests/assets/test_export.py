"""Results of a partition, taken out of the graph for explain, tune and compare."""

import json

import dagster as dg
import pandas as pd
import pytest

from ctr_assets.consistency import StaleError
from ctr_assets.definitions import build_defs
from ctr_assets.export import export_partition
from ctr_assets.jobs import REPORT_PARTITION
from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_engine.errors import OutputError
from ctr_engine.io.runs import is_whole, read_manifest, read_run
from ctr_engine.io.tables import read_parquet
from ctr_engine.reporting.explain import explain
from ctr_engine.tables import STAGE_H_TABLES
from tests.assets.conftest import LIVER_1, LIVER_2, Laboratory
from tests.bad_inputs import GOOD_MAP


def export(laboratory: Laboratory, folder, key=LIVER_1):
    return export_partition(laboratory.instance, laboratory.project, parse_key(key), folder)


def test_the_folder_is_a_run_with_the_tables_of_the_graph(annotated: Laboratory, tmp_path):
    export(annotated, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert is_whole(tmp_path / "out", manifest)
    run = read_run(tmp_path / "out")
    for name, model in STAGE_H_TABLES.items():
        stored = read_parquet(model, annotated.stored(name, LIVER_1))
        pd.testing.assert_frame_equal(run.tables[name], stored)
    assert explain(run.tables, run.decider, "0").label in {"Epithelium", "T Cells", "B Cells"}
    assert run.manifest.sample.sha256 == manifest.sample.sha256


def test_what_was_not_annotated_is_not_exported(annotated: Laboratory, tmp_path):
    with pytest.raises(StaleError, match="was not annotated yet; run: ctr run liver__S2"):
        export(annotated, tmp_path / "out", LIVER_2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("setting", "asset", "moved"),
    [
        ("gating: {min_gap: {1: 0.9}}", "decision_steps", "min_gap"),
        ("report: {mixed_share: 0.9}", "cluster_annotations", "mixed_share"),
    ],
)
def test_parameters_that_were_edited_since_are_refused(
    laboratory: Laboratory, tmp_path, setting: str, asset: str, moved: str
):
    assert laboratory.run(LIVER_1).success
    config = laboratory.project.root / "ctr.yaml"
    config.write_text(f"tissues:\n  liver: {{{setting}}}\n")
    edited = Laboratory(load_project(laboratory.project.root), laboratory.instance)
    told = rf"{asset} of liver__S1 was made with other parameters than ctr.yaml has now.*{moved}"
    with pytest.raises(StaleError, match=told):
        export(edited, tmp_path / "out")


def test_a_folder_of_something_else_is_not_touched(annotated: Laboratory, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps([1]))
    with pytest.raises(OutputError, match="is not a manifest of ctr"):
        export(annotated, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_tables_of_two_maps_are_not_mixed(laboratory: Laboratory, tmp_path):
    assert laboratory.run(LIVER_1).success
    edited = GOOD_MAP.replace('"markers": ["CD3"]', '"markers": ["CD3", "CD45RO"]')
    laboratory.map_file("liver").write_text(edited)
    definitions = build_defs(str(laboratory.project.root))
    job = definitions.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        instance=laboratory.instance,
        partition_key=LIVER_1,
        asset_selection=[dg.AssetKey("marker_scores"), dg.AssetKey("marker_evidence")],
    )
    assert done.success
    expected = r"decision_steps of liver__S1 is older than marker_(scores|evidence); run: ctr run"
    with pytest.raises(StaleError, match=expected):
        export(laboratory, tmp_path / "out")
    outcome = laboratory.run(LIVER_1, REPORT_PARTITION)
    assert not outcome.success
    assert "is older than marker_" in " ".join(outcome.faults)


def test_other_parameters_of_the_clusters_are_refused(laboratory: Laboratory, tmp_path):
    assert laboratory.run(LIVER_1).success
    config = laboratory.project.root / "ctr.yaml"
    config.write_text("defaults: {clustering: {resolution: 3.0}}\n")
    edited = Laboratory(load_project(laboratory.project.root), laboratory.instance)
    with pytest.raises(StaleError, match=r"leiden_clusters .* other parameters.*resolution"):
        export(edited, tmp_path / "out")
