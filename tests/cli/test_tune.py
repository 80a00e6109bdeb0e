"""``ctr tune`` as a user types it."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from ctr_engine.io.runs import read_run
from ctr_engine.io.tables import read_csv
from ctr_engine.tables import TUNING_TABLES
from ctr_engine.tuning.grid import parse_axis
from ctr_engine.tuning.summary import tuning_tables
from ctr_engine.tuning.tune import tune
from tests.bad_inputs import GOOD_MAP
from tests.cli.stored_runs import made, names, snapshot, write_inputs
from tests.cli.test_annotate import ctr, words
from tests.reporting.test_explain import strict_json

TABLES = {f"{name}.csv" for name in TUNING_TABLES}
FILES = TABLES | {"tune.json", "tune_clusters.png"}
GRID = ("--gating", "min_enrichment.0=0:2:0.5", "--scoring", "anti_weight=0,0.8")
NAMED = json.loads(GOOD_MAP) | {
    "_gating_params": {
        "root_veto_markers": {"Immune Cells": {"markers": ["Pan-CK"], "max_pos_frac": 0.5}}
    }
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return made(write_inputs(tmp_path_factory.mktemp("run"), json.dumps(NAMED)))


def test_it_says_which_labels_hold(run):
    """Epithelium is enriched by 1.8, the immune cells by less than 0.5."""
    result = ctr("tune", run, *GRID)
    assert result.exit_code == 0, words(result)
    said = words(result)
    assert "10 settings, 3 clusters; 2 settings change no label." in said
    assert "keep their label under every setting." in said
    assert "Least firm of 3 clusters that change" in said
    assert "Unassigned (80%)" in said
    assert "20%" in said
    assert "Cells by label over the grid" in said
    assert "No setting leaves fewer cells Unassigned than the run." in said
    assert "Add --output-dir DIR to keep the tables and the heat map." in said


def test_a_better_setting_is_named(tmp_path):
    write_inputs(tmp_path)
    out = made(tmp_path, "--gating-params", '{"min_enrichment": {"0": 1}}')
    said = words(ctr("tune", out, "--gating", "min_enrichment.0=0:1:0.25"))
    assert "Fewest Unassigned cells, 0: min_enrichment.0=0.0" in said


def test_labels_that_hold_everywhere(run):
    said = words(ctr("tune", run, "--gating", "max_ambiguity=2,3"))
    assert "2 settings, 3 clusters; 2 settings change no label." in said
    assert "3 clusters keep their label under every setting." in said
    assert "Least firm" not in said


def test_everything_is_written_and_the_run_stays_as_it_was(run, tmp_path):
    before = snapshot(run)
    result = ctr("tune", run, *GRID, "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, words(result)
    assert f"Results: {tmp_path / 'out'}" in words(result)
    assert names(tmp_path / "out") == FILES | {"tune_grid.png"}
    assert snapshot(run) == before


def test_the_tables_are_those_of_the_engine(run, tmp_path):
    ctr("tune", run, *GRID, "--out", tmp_path)
    axes = [parse_axis("scoring", GRID[3]), parse_axis("gating", GRID[1])]
    expected = tuning_tables(tune(read_run(run), axes))
    for name in ("tune_clusters", "tune_labels", "tune_shares"):
        found = read_csv(TUNING_TABLES[name], tmp_path / f"{name}.csv")
        shown = [column for column in found if column != "other_path"]
        assert found[shown].to_dict("list") == expected[name][shown].to_dict("list")
    settings = pd.read_csv(tmp_path / "tune_settings.csv")
    assert list(settings.columns[-2:]) == ["anti_weight", "min_enrichment.0"]
    assert settings["anti_weight"].tolist() == [0] * 5 + [0.8] * 5
    assert settings["min_enrichment.0"].tolist() == [0, 0.5, 1, 1.5, 2] * 2
    declared = settings[list(expected["tune_settings"].columns)]
    assert declared.to_dict("list") == expected["tune_settings"].to_dict("list")


def test_unassigned_is_told_from_nothing_in_the_file(run, tmp_path):
    """The other label of cluster 2 is Unassigned, whose path is empty; the others have none."""
    ctr("tune", run, "--gating", "min_enrichment.0=0,0.17", "--out", tmp_path)
    table = read_csv(TUNING_TABLES["tune_clusters"], tmp_path / "tune_clusters.csv")
    labels = table["other_label"].tolist()
    assert sorted(map(str, labels)) == ["None", "None", "Unassigned"]
    assert table["other_path"].tolist() == ["", "", ""]


def test_the_grid_is_kept_beside_the_tables(run, tmp_path):
    ctr("tune", run, *GRID, "--scoring", "anti_agg=max,mean", "--out", tmp_path)
    assert strict_json((tmp_path / "tune.json").read_text()) == {
        "axes": [
            {"section": "scoring", "name": "anti_weight", "values": [0, 0.8]},
            {"section": "scoring", "name": "anti_agg", "values": ["max", "mean"]},
            {"section": "gating", "name": "min_enrichment.0", "values": [0.0, 0.5, 1.0, 1.5, 2.0]},
        ],
        "n_settings": 20,
    }
    assert names(tmp_path) == FILES, "a heat map has two axes"


def test_a_number_of_a_root_rule(run, tmp_path):
    flag = ("--gating", "root_veto_markers.Immune Cells.max_pos_frac=0:0.8:0.2")
    result = ctr("tune", run, *flag, "--out", tmp_path)
    assert result.exit_code == 0, words(result)
    settings = pd.read_csv(tmp_path / "tune_settings.csv")
    column = "root_veto_markers.Immune Cells.max_pos_frac"
    assert settings[column].tolist() == [0, 0.2, 0.4, 0.6, 0.8]


@pytest.mark.parametrize(
    "flags",
    [
        ("--scoring", "anti_agg=max,mean", "--gating", "gate_inheritance=true,false"),
        ("--scoring", "anti_agg=max,mean", "--gating", "anti_agg=max,mean"),
        ("--gating", "min_gap.0=0.5", "--gating", "min_gap.1=0.1:0.9:0.4"),
    ],
)
def test_a_heat_map_of_words_and_of_single_values(flags, run, tmp_path):
    result = ctr("tune", run, *flags, "--out", tmp_path)
    assert result.exit_code == 0, words(result)
    assert names(tmp_path) == FILES | {"tune_grid.png"}
    settings = pd.read_csv(tmp_path / "tune_settings.csv")
    assert len(settings.columns) == 6 + 2
    assert settings.columns.is_unique


def test_many_values_are_drawn_all_the_same(run, tmp_path):
    result = ctr("tune", run, "--gating", "min_enrichment.0=0:2:0.01", "--out", tmp_path)
    assert result.exit_code == 0, words(result)
    assert (tmp_path / "tune_clusters.png").stat().st_size < 2_000_000


def test_an_axis_that_turns_nothing_is_a_warning(run):
    result = ctr("tune", run, "--gating", "min_coverage.9=0,1", "--gating", "min_gap.0=0,1")
    assert "min_coverage.9 turns nothing on this map" in words(result)
    assert "min_gap.0 turns nothing" not in words(result)
    assert "turns nothing" in result.stderr


def test_nothing_is_written_without_a_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = snapshot(run)
    assert ctr("tune", run, *GRID).exit_code == 0
    assert snapshot(run) == before
    assert names(tmp_path) == set()


def test_figures_of_an_earlier_grid_do_not_stand_beside_other_tables(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    ctr("tune", run, *GRID, "--out", tmp_path)
    ctr("tune", run, "--gating", "max_ambiguity=2,3", "--out", tmp_path)
    assert names(tmp_path) == FILES | {"notes.txt"}


def test_results_go_to_stdout_and_progress_to_stderr(run):
    result = ctr("tune", run, *GRID)
    assert "10/10" in result.stderr
    assert "10/10" not in result.stdout


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "nothing to tune; give at least one --gating or --scoring range"),
        (("--gating", "min_gap.0"), "--gating 'min_gap.0' is not a range; write NAME=FROM:TO:STEP"),
        (("--gating", "min_gap.0=1:0:1"), "the step is above 0 and the end is not below the start"),
        (("--gating", "min_gap.0=1,1"), "gives a value twice"),
        (("--gating", "min_gap.0=1", "--gating", "min_gap.0=2"), "min_gap.0: given twice; put all"),
        (("--gating", "min_gap=1"), 'min_gap: is given per level, such as {"0": 1}'),
        (("--gating", "min_gap.0=-1"), "min_gap.0: input should be greater than or equal to 0"),
        (("--gating", "min_gpa.0=1"), "unknown key 'min_gpa.0'. Did you mean 'min_gap'?"),
        (("--scoring", "anti_wieght=1"), "unknown key 'anti_wieght'. Did you mean 'anti_weight'?"),
        (("--scoring", "positive_quantile=0.5,0.6"), "needs the cells, which tuning never touches"),
        (("--gating", "root_veto_markers.Epithelium.max_pos_frac=0.1"),
         "the run has no such rule; it has: Immune Cells"),
        (("--gating", "min_gap.0=0:1:0.00001", "--gating", "min_gap.1=0:1:0.5"),
         "the grid has 300,003 settings; at most 200,000 are tried. Use larger steps."),
        (("--scoring", "de_min_k=20"), "de_min_k 20 is above de_max_k 12"),
    ],
)  # fmt: skip
def test_a_grid_that_makes_no_sense(flags, expected, run, tmp_path):
    result = ctr("tune", run, *flags, "--out", tmp_path / "out")
    assert result.exit_code == 1, words(result)
    assert expected in words(result)
    assert "Traceback" not in words(result)
    assert not (tmp_path / "out").exists()


def test_limits_that_the_run_has_set_are_refused_in_words(tmp_path):
    write_inputs(tmp_path)
    out = made(tmp_path, "--scoring-params", '{"de_min_k": 1, "de_max_k": 2}')
    result = ctr("tune", out, "--scoring", "de_min_k=1,3")
    assert result.exit_code == 1
    assert "de_min_k 3 is above de_max_k 2" in words(result)
    assert "Traceback" not in words(result)


def test_a_folder_that_is_no_run(tmp_path):
    found = ctr("tune", tmp_path / "nowhere", *GRID)
    assert found.exit_code == 1
    assert "nowhere does not exist; name a folder that ctr annotate wrote" in words(found)


def test_a_run_that_was_changed(run, tmp_path):
    shutil.copytree(run, tmp_path / "out")
    (tmp_path / "out" / "cluster_statistics.csv").write_text("cluster_id\n")
    found = ctr("tune", tmp_path / "out", *GRID)
    assert found.exit_code == 1
    assert "cluster_statistics.csv was changed since the run" in words(found)


def test_an_output_that_cannot_be_used_is_refused_before_the_work(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text("{}")
    monkeypatch.setattr("ctr_engine.io.runs.read_run", lambda _: pytest.fail("it began"))
    for name, expected in (
        ("file", "is a file; name a folder with --output-dir"),
        ("foreign", "is not a manifest of ctr; name another folder with --output-dir"),
    ):
        found = ctr("tune", run, *GRID, "--out", tmp_path / name)
        assert found.exit_code == 1
        assert expected in words(found)
    assert names(tmp_path) == {"file", "foreign/run.json"}
