"""Results of a partition, taken out of the graph for explain, tune and compare."""

import json

import pandas as pd
import pytest

from ctr_assets.export import NotExportedError, export_partition
from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_engine.errors import OutputError
from ctr_engine.io.runs import is_whole, read_manifest, read_run
from ctr_engine.io.tables import read_parquet
from ctr_engine.reporting.explain import explain
from ctr_engine.tables import STAGE_H_TABLES
from tests.assets.conftest import LIVER_1, LIVER_2, Laboratory


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
    with pytest.raises(NotExportedError, match="was not annotated yet; run: ctr run liver__S2"):
        export(annotated, tmp_path / "out", LIVER_2)
    assert not (tmp_path / "out").exists()


def test_parameters_that_were_edited_since_are_refused(laboratory: Laboratory, tmp_path):
    assert laboratory.run(LIVER_1).success
    config = laboratory.project.root / "ctr.yaml"
    config.write_text("tissues:\n  liver: {gating: {min_gap: {1: 0.9}}}\n")
    edited = Laboratory(load_project(laboratory.project.root), laboratory.instance)
    with pytest.raises(NotExportedError, match="annotated with other gating parameters"):
        export(edited, tmp_path / "out")


def test_a_folder_of_something_else_is_not_touched(annotated: Laboratory, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps([1]))
    with pytest.raises(OutputError, match="is not a manifest of ctr"):
        export(annotated, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
