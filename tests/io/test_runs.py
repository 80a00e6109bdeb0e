"""Folders of results: what is read back is what was computed, and what is not whole is refused."""

import json
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from ctr_engine.analysis import AnalysisParams
from ctr_engine.cli.run import RunRequest, run_stage_h
from ctr_engine.errors import CtrError, OutputError, TableError
from ctr_engine.io.runs import is_whole, read_manifest, read_run
from ctr_engine.stored import StoredRun
from ctr_engine.tables import STAGE_H_TABLES

COLUMNS = ["a;b", "c\\", "NA", "免疫 µ", 'x "y"', "1.0", "nan"]
IDS = ["3", "3:1", "10", "NA", "a;b\\"]
CELLS = ["NA", "007", "1e5", "a,b", ' "lead', "nan", "zwei µ", "TRUE", "x;y\\", "-0"]
MAP = {
    "_gating_params": {
        "min_gap": {"1": 0.05},
        "root_veto_markers": {"NA": {"markers": ["1.0"], "max_pos_frac": 0.9}},
    },
    "_aliases": {"other; name": ["c\\"]},
    "NA": {
        "markers": ["a;b", "other; name", "absent; \\"],
        "anti_markers": ["NA"],
        "subtypes": {
            "T; B\\": {"markers": ["免疫 µ"]},
            "null": {"markers": ['x "y"', "nan"], "gating_overrides": {"min_enrichment": 0.1}},
        },
    },
    "None": {"markers": ["NA"], "description": "näher"},
}


def write_sample(path: Path, cells: list[str] | None = None) -> Path:
    """Sixty cells with hard names, in clusters with hard names."""
    rng = np.random.default_rng(3)
    groups = np.arange(60) % len(IDS)
    values = rng.normal(1, 0.5, (60, len(COLUMNS)))
    values += 2 * (np.arange(len(COLUMNS)) % len(IDS) == groups[:, None])
    names = [*CELLS, *(f"cell {i}" for i in range(60 - len(CELLS)))] if cells is None else cells
    obs = pd.DataFrame({"cluster_lvl0": [IDS[i] for i in groups]}, index=names)
    adata = anndata.AnnData(values.astype(np.float32), obs=obs, var=pd.DataFrame(index=COLUMNS))
    adata.write_h5ad(path)
    return path


def request(folder: Path, **options: object) -> RunRequest:
    """Annotation of the clusters that the sample has."""
    (folder / "map.json").write_text(json.dumps(MAP))
    raw = {"report": {"figures": False}, "gating": {"root_gap_threshold": 0.1}}
    params = AnalysisParams.model_validate(raw)
    known = {"cluster_key": "cluster_lvl0", "n_jobs": 1} | options
    return RunRequest(folder / "sample.h5ad", folder / "map.json", folder / "out", params, **known)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of a run, and the tables that it had in memory."""
    folder = tmp_path_factory.mktemp("run")
    write_sample(folder / "sample.h5ad")
    result = run_stage_h(request(folder), lambda _: None)
    return folder / "out", result.tables


@pytest.fixture
def out(made, tmp_path: Path) -> Path:
    """A copy of the run that may be spoilt."""
    shutil.copytree(made[0], tmp_path / "run")
    return tmp_path / "run"


# ---------------------------------------------------------------------- what is read back


@pytest.mark.parametrize("name", STAGE_H_TABLES)
def test_every_table_is_read_back_to_the_last_digit(name, made):
    folder, tables = made
    read = read_run(folder).tables[name]
    assert len(tables[name]) > 0, "the case shows nothing"
    pd.testing.assert_frame_equal(read, tables[name], check_exact=True)
    for column in read:
        kinds = [set(map(type, side[column])) for side in (read, tables[name])]
        assert kinds[0] == kinds[1], column


def test_the_case_holds_what_is_hard_to_store(made):
    _, tables = made
    assert set(tables["annotations"]["cell_id"]) >= set(CELLS)
    assert set(tables["cluster_annotations"]["cluster_id"]) == set(IDS)
    scores = tables["marker_scores"].set_index("path")
    assert scores.loc["NA", "resolved_markers"].iloc[0] == ["a;b", "c\\"]
    assert scores.loc["NA", "missing_markers"].iloc[0] == ["absent; \\"]
    assert tables["decision_steps"]["parent_path"].isna().any()
    assert tables["gating_details"]["marker"].isna().any()
    assert tables["cluster_annotations"]["resolved_markers"].map(len).min() == 0


def test_the_run_decides_again_as_it_did(made):
    folder, tables = made
    run = read_run(folder)
    labels = tables["cluster_annotations"]
    assert run.decider.cluster_ids == tuple(labels["cluster_id"])
    nodes = run.marker_map.nodes
    places = [nodes[p].path if p in range(len(nodes)) else None for p in run.decider.outcomes.place]
    known = [path if path and "~" not in path else None for path in labels["assigned_path"]]
    assert places == known
    scores = tables["marker_scores"]["score"].to_numpy(dtype=float)
    np.testing.assert_array_equal(run.decider.values.score.ravel(), scores)


def test_the_map_and_the_parameters_are_those_of_the_run(made):
    run = read_run(made[0])
    assert [node.path for node in run.marker_map.nodes] == [
        "NA",
        "NA / T; B\\",
        "NA / null",
        "None",
    ]
    assert run.marker_map.content_hash == run.manifest.marker_map.content_hash
    assert run.gating.root_gap_threshold == 0.1
    assert run.gap_of("NA") == 0.1
    assert run.gap_of("NA / null") == 0.05
    assert run.scoring.model_dump(mode="json") == run.manifest.parameters["scoring"]
    assert run.gating.model_dump(mode="json") == run.manifest.parameters["gating"]
    assert run.panel.markers == tuple(COLUMNS)


def test_a_cell_and_a_cluster_are_found_by_their_names(made):
    run = read_run(made[0])
    assert [run.cell(cell)["cluster_lvl0"] for cell in CELLS] == (IDS * 2)
    assert [run.statistics.cluster_ids[run.position_of(name)] for name in IDS] == IDS
    with pytest.raises(CtrError, match=r"has no cell '7'; it has 60, such as NA, 007, 1e5$"):
        run.cell("7")
    with pytest.raises(CtrError, match=r"has no cluster '3:2'; it has: 3, 3:1, 10, NA, a;b\\$"):
        run.position_of("3:2")


def test_a_mapping_of_tables_says_what_it_has(made):
    tables = read_run(made[0]).tables
    assert list(tables) == list(STAGE_H_TABLES)
    assert len(tables) == len(STAGE_H_TABLES)
    assert tables["annotations"] is tables["annotations"], "a table is read once"


@pytest.mark.parametrize("name", ["AAACCTG-1\r", "two\nlines", "tab\t", "\ufeffmark"])
def test_cells_whose_names_end_in_what_no_one_sees_are_read_back(name, tmp_path):
    names = [name, *(f"cell {i}" for i in range(59))]
    write_sample(tmp_path / "sample.h5ad", names)
    run_stage_h(request(tmp_path), lambda _: None)
    assert read_run(tmp_path / "out").tables["annotations"]["cell_id"].tolist() == names


# ---------------------------------------------------------------------- what is refused


def edit_manifest(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(content | changes))


def test_no_folder(tmp_path):
    expected = r"nowhere does not exist; name a folder that ctr annotate wrote$"
    with pytest.raises(CtrError, match=expected):
        read_run(tmp_path / "nowhere")


def test_a_folder_without_a_manifest(out):
    (out / "run.json").unlink()
    with pytest.raises(CtrError, match=r"has no run.json, so it is not whole; name a folder that"):
        read_run(out)


def test_a_file_in_place_of_a_folder(out):
    with pytest.raises(CtrError, match=r"annotations.csv has no run.json"):
        read_run(out / "annotations.csv")


def test_clusters_without_labels(tmp_path):
    write_sample(tmp_path / "sample.h5ad")
    plain = request(tmp_path, cluster_key=None, labels=False)
    only = RunRequest(plain.sample, None, plain.output_dir, plain.params, None, 1, labels=False)
    run_stage_h(only, lambda _: None)
    expected = r"out holds clusters without labels; annotate it with a marker map first$"
    with pytest.raises(CtrError, match=expected):
        read_run(tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["[1]", "{", "{}", '{"files": {}}', '"run"', "\x00", '{"algorithm_version": "1"}']
)
def test_the_manifest_of_something_else(text, out):
    (out / "run.json").write_text(text)
    expected = r"run.json is not a manifest of ctr, or of another version of it; name another"
    with pytest.raises(OutputError, match=expected):
        read_run(out)


def test_a_manifest_that_is_no_text(out):
    (out / "run.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(OutputError, match="is not a manifest of ctr"):
        read_run(out)


def test_a_manifest_with_a_key_that_we_do_not_know(out):
    edit_manifest(out, author="somebody")
    with pytest.raises(OutputError, match="or of another version of it"):
        read_run(out)


@pytest.mark.parametrize("given", [{"preset": "best"}, {"depth": 3}, {"gating": {"min_gap": 1}}])
def test_a_manifest_with_parameters_that_we_do_not_know(given, out):
    edit_manifest(out, given=given)
    with pytest.raises(OutputError, match="or of another version of it"):
        read_run(out)


def test_another_version_of_the_algorithm(out):
    edit_manifest(out, algorithm_version="0.0.1")
    expected = r"was made by version 0.0.1 of the algorithm, this is .*; annotate the sample again$"
    with pytest.raises(CtrError, match=expected):
        read_run(out)


def test_a_changed_table_is_refused_when_it_is_asked_for(out):
    with (out / "annotations.csv").open("a") as file:
        file.write("\n")
    run = read_run(out)
    assert len(run.tables["marker_scores"]) > 0
    expected = r"annotations.csv was changed since the run; annotate the sample again$"
    with pytest.raises(TableError, match=expected):
        run.tables["annotations"]


def test_a_missing_table(out):
    (out / "reference_values.csv").unlink()
    expected = r"reference_values.csv is missing; annotate the sample again$"
    with pytest.raises(TableError, match=expected):
        _ = read_run(out).statistics


def test_a_changed_and_a_missing_map(out):
    (out / "marker_map.json").write_text((out / "marker_map.json").read_text() + "\n")
    with pytest.raises(TableError, match=r"marker_map.json was changed since the run"):
        read_run(out)
    (out / "marker_map.json").unlink()
    with pytest.raises(TableError, match=r"marker_map.json is missing"):
        read_run(out)


def test_a_file_that_the_manifest_does_not_name_is_not_taken_for_one_of_the_run(out):
    files = json.loads((out / "run.json").read_text())["files"]
    del files["annotations.csv"]
    edit_manifest(out, files=files)
    run = read_run(out)
    assert "annotations" not in list(run.tables)
    with pytest.raises(TableError, match=r"annotations.csv is missing"):
        run.tables["annotations"]


def test_a_folder_is_whole_when_no_file_is_missing_or_changed(out):
    manifest = read_manifest(out)
    assert is_whole(out, manifest)
    (out / "notes.txt").write_text("mine")
    assert is_whole(out, manifest)
    (out / "preflight.csv").write_text("")
    assert not is_whole(out, manifest)
    (out / "preflight.csv").unlink()
    assert not is_whole(out, manifest)
    assert read_manifest(out / "nowhere") is None


def test_a_run_can_be_moved(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "else where ü")
    run = read_run(tmp_path / "else where ü")
    assert isinstance(run, StoredRun)
    assert run.name == str(tmp_path / "else where ü")
    pd.testing.assert_frame_equal(run.tables["annotations"], made[1]["annotations"])
