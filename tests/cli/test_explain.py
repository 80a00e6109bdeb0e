"""``ctr explain`` as a user types it, and what it says to type next."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ctr_engine.gating.compete import path_of
from ctr_engine.io.runs import read_run
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.reporting.explain import Explanation, explain
from tests import test_sure_cells as of_sure_cells
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.builders import sample
from tests.cli.stored_runs import annotate, made, names, quick, snapshot, write_inputs
from tests.cli.test_annotate import ctr, words
from tests.reporting.test_explain import strict_json


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return made(write_inputs(tmp_path_factory.mktemp("run")))


def explained(folder: Path, cluster: str) -> Explanation:
    stored = read_run(folder)
    return explain(stored.tables, stored.decider, cluster)


def test_a_cluster_is_explained(run):
    result = ctr("explain", run, "--cluster", "1")
    assert result.exit_code == 0, words(result)
    said, found = words(result), explained(run, "1")
    assert "Cluster 1: T Cells" in said
    assert "Immune Cells / T Cells" in said
    assert "40 cells" in said
    assert "leaf_reached" in said
    assert "Step 1: the roots" in said
    assert "Step 2: below Immune Cells" in said
    for step in found.steps:
        for one in step.candidates:
            assert one.label in said
            assert f"{one.score:.2f}" in said
            assert one.fail_reason is None or one.fail_reason in said
    assert "T Cells is the only one that passed." in said
    assert "carried by CD3" in said
    first = found.changes[0]
    assert f"{first.threshold} {first.current:g} -> {first.needed:g}: {first.label}" in said


def test_a_cell_is_explained_by_its_cluster(run):
    result = ctr("explain", run, "--cell", "cell_1")
    assert result.exit_code == 0
    assert words(result).startswith("Cell cell_1 is in cluster 1. Cluster 1: T Cells")
    rest = result.output.split("\n", 1)[1]
    assert rest == ctr("explain", run, "--cluster", "1").output


def test_a_cell_with_a_label_of_its_own_is_told_why(tmp_path):
    adata = sample(of_sure_cells.values(), of_sure_cells.MARKERS)
    adata.obs["mine"] = of_sure_cells.IDS
    write_inputs(tmp_path)
    adata.write_h5ad(tmp_path / "sample.h5ad")
    (tmp_path / "map.json").write_text(json.dumps(of_sure_cells.MAP))
    chosen = ("--annotation-only", "--cluster-key", "mine", "--profile", "adaptive")
    result = annotate(tmp_path, *chosen)
    assert result.exit_code == 0, words(result)
    given_by = read_run(tmp_path / "out").tables["annotations"]["cell_type_cell_by"].tolist()
    assert given_by[of_sure_cells.DIM] == "sure_cells"
    cell = f"cell_{of_sure_cells.DIM}"
    said = words(ctr("explain", tmp_path / "out", "--cell", cell))
    assert (
        f"Cell {cell} is in cluster 0. Its own label is Z: its markers contradict the label of the "
        "cluster, and it resembles the cells that are sure to be of this type."
    ) in said
    assert "Cluster 0: X" in said
    assert "own_markers" in given_by
    other = given_by.index("own_markers")
    assert "of the cell types that fit the cluster, its markers prefer this one." in words(
        ctr("explain", tmp_path / "out", "--cell", f"cell_{other}")
    )
    told = strict_json(ctr("explain", tmp_path / "out", "--cell", f"cell_{other}", "--json").stdout)
    names = ("cell_type_cell", "cell_type_cell_path", "cell_type_cell_by")
    assert [told[name] for name in names] == ["Z", "R / Z", "own_markers"]


def test_json_is_what_the_engine_says_and_nothing_else(run):
    for cluster in ("0", "1", "2"):
        result = ctr("explain", run, "--cluster", cluster, "--json")
        assert result.stderr == ""
        expected = json.loads(json.dumps(explained(run, cluster).as_json()))
        assert strict_json(result.stdout) == expected
    of_cell = strict_json(ctr("explain", run, "--cell", "cell_2", "--json").stdout)
    assert of_cell["cell_id"] == "cell_2"
    assert of_cell["label"] == "B Cells"


def test_all_markers_are_shown_when_asked_for(run):
    some = words(ctr("explain", run, "--cluster", "1"))
    every = words(ctr("explain", run, "--cluster", "1", "--all-markers"))
    assert "B Cells: cost by CD20" not in some
    assert "B Cells: cost by CD20" in every
    assert "Epithelium: cost by" in every


def test_markers_that_the_panel_lacks_are_named(tmp_path):
    marker_map = GOOD_MAP.replace('"markers": ["CD3"]', '"markers": ["CD3", "CD99"]')
    write_inputs(tmp_path, marker_map)
    said = words(ctr("explain", made(tmp_path), "--cluster", "1"))
    assert "T Cells: not on the panel: CD99" in said


def test_nobody_passed(tmp_path):
    write_inputs(tmp_path)
    out = made(tmp_path, "--gating-params", '{"min_enrichment": {"0": 50}}')
    said = words(ctr("explain", out, "--cluster", "0"))
    assert "Cluster 0: Unassigned no cell type of the map" in said
    assert "Nobody passed." in said
    assert "low_enrichment 1.796 against 50.000" in said


def test_votes_of_tied_siblings(tmp_path):
    write_inputs(tmp_path)
    strict = '{"min_gap": {"1": 9}, "min_enrichment": {"1": -9}, "min_pos_frac": {"1": 0}}'
    out = made(tmp_path, "--gating-params", strict)
    said = words(ctr("explain", out, "--cluster", "1"))
    assert re.search(r"T Cells leads B Cells by \d\.\d{3}; 9.000 is needed: a tie\.", said)
    assert "Votes of its cells: B Cells 0%, T Cells 100%, Uncertain 0%" in said


def test_the_run_stays_as_it_was_and_nothing_else_is_written(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = snapshot(run)
    ctr("explain", run, "--cluster", "0")
    ctr("explain", run, "--cell", "cell_0", "--json")
    assert snapshot(run) == before
    assert names(tmp_path) == set()


def test_a_tilde_is_the_home_folder(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(run.parent))
    assert ctr("explain", f"~/{run.name}", "--cluster", "0").exit_code == 0


# ---------------------------------------------------------------------- what to type next


def command(folder: Path | str, cluster: str) -> list[str]:
    """What the last line says to type, as a shell would read it."""
    last = ctr("explain", folder, "--cluster", cluster).output.rstrip().split("\n")[-1]
    found = re.search(r": ctr (annotate .*)$", last)
    assert found, last
    return shlex.split(found[1])


def followed(folder: Path, cluster: str) -> tuple[Explanation, dict[str, Any], Path]:
    """Type it; give what was promised, the record of the new run and its folder."""
    promised = explained(folder, cluster)
    arguments = command(folder, cluster)
    out = Path(arguments[arguments.index("--output-dir") + 1])
    with quick():
        result = ctr(*arguments)
    assert result.exit_code == 0, words(result)
    return promised, json.loads((out / "run.json").read_text()), out


@pytest.mark.parametrize("cluster", ["0", "1", "2"])
def test_what_it_says_to_type_gives_the_label_that_it_promises(cluster, run, tmp_path):
    shutil.copytree(run, tmp_path / "out")
    promised, record, again = followed(tmp_path / "out", cluster)
    labels = read_run(again).tables["cluster_annotations"].set_index("cluster_id")
    assert labels.loc[cluster, "assigned_path"] == promised.changes[0].path
    assert labels.loc[cluster, "stop_reason"] == promised.changes[0].stop_reason
    assert record["given"]["gating"] == promised.changes[0].gating_params


SETTINGS = {
    "the defaults": (),
    "a transformation": ("--normalize", "arcsinh", "--arcsinh-cofactor", 0.5),
    "a profile": ("--profile", "adaptive"),
    "a preset": ("--preset", "deep"),
    "gating": ("--gating-params", '{"min_gap": {"1": 0.7}, "gate_inheritance": true}'),
    "scoring": ("--scoring-params", '{"de_bonus": 0.1, "positive_quantile": 0.6}'),
    "technical markers": ("--technical-markers", "DAPI,CD20"),
    "no technical markers": ("--technical-markers", ""),
    "a layer": ("--layer", "X"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_it_says_to_type_changes_that_threshold_and_nothing_else(name, tmp_path):
    write_inputs(tmp_path)
    out = made(tmp_path, *SETTINGS[name])
    first, before = read_run(out), json.loads((out / "run.json").read_text())
    promised, record, again = followed(out, "0")
    change = promised.changes[0].gating_params
    gating = first.gating.merged_with(GatingParams.model_validate(change))
    decider = first.evidences.decider(first.resolved, first.scoring, gating)
    expected = [path_of(place, first.marker_map) for place in decider.outcomes.place.tolist()]
    assert read_run(again).tables["cluster_annotations"]["assigned_path"].tolist() == expected
    assert record["parameters"]["scoring"] == before["parameters"]["scoring"]
    assert record["parameters"]["gating"] == gating.model_dump(mode="json")
    assert read_run(again).panel.markers == first.panel.markers
    pd.testing.assert_frame_equal(read_run(again).statistics.clusters, first.statistics.clusters)


@pytest.mark.parametrize("name", ["my run", "it's", "run $HOME"])
def test_what_it_says_to_type_survives_the_shell(name, run, tmp_path):
    shutil.copytree(run, tmp_path / name)
    arguments = command(tmp_path / name, "0")
    assert arguments[1] == str(tmp_path / name / "coarse_clusters.h5ad")
    assert json.loads(arguments[arguments.index("--gating-params") + 1])
    assert arguments[-1] == str(tmp_path / f"{name}-2")


def test_a_label_with_a_quote_survives_the_shell(tmp_path):
    marker_map = GOOD_MAP.replace("Epithelium", "Müller's Epithelium")
    write_inputs(tmp_path, marker_map)
    rule = {"Müller's Epithelium": {"marker": "CD45", "min_pos_frac": 0.01}}
    rules = json.dumps({"root_hard_requirements": rule})
    out = made(tmp_path, "--gating-params", rules)
    arguments = command(out, "0")
    params = json.loads(arguments[arguments.index("--gating-params") + 1])
    assert params == explained(out, "0").changes[0].gating_params


def test_from_inside_the_folder_it_names_another_folder(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    arguments = command(".", "0")
    assert Path(arguments[1]).resolve() == tmp_path / "out" / "coarse_clusters.h5ad"
    assert Path(arguments[-1]).resolve() == tmp_path / "out-2"


def test_a_threshold_of_one_cell_type_is_set_in_the_map(tmp_path):
    own = '"gating_overrides": {"min_enrichment": 1.7}, "markers": ["Pan-CK", "E-cadherin"]'
    write_inputs(tmp_path, GOOD_MAP.replace('"markers": ["Pan-CK", "E-cadherin"]', own))
    said = words(ctr("explain", made(tmp_path), "--cluster", "0"))
    assert "gating_overrides.Epithelium.min_enrichment 1.7 -> 1.7965: Unassigned" in said
    assert "The first is set in the marker map, at the cell type itself." in said


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "say what to explain: --cluster ID or --cell ID, one of the two"),
        (("--cluster", "0", "--cell", "cell_0"), "--cluster ID or --cell ID, one of the two"),
        (("--cluster", "9"), "out has no cluster '9'; it has: 0, 1, 2"),
        (("--cluster", ""), "has no cluster ''; it has: 0, 1, 2"),
        (("--cell", "cell_999"), "out has no cell 'cell_999'; it has 120, such as cell_0, cell_1,"),
        (("--cell", ""), "has no cell ''"),
    ],
)
def test_what_cannot_be_explained(flags, expected, run):
    result = ctr("explain", run, *flags)
    assert result.exit_code == 1
    assert expected in words(result)
    assert result.stdout == ""


def test_a_folder_that_is_no_run(tmp_path):
    found = ctr("explain", tmp_path / "nowhere", "--cluster", "0")
    assert found.exit_code == 1
    assert "nowhere does not exist; name a folder that ctr annotate wrote" in words(found)
    write_inputs(tmp_path)
    ctr("annotate", tmp_path / "sample.h5ad", "--clustering-only", "--out", tmp_path / "out")
    found = ctr("explain", tmp_path / "out", "--cluster", "0")
    assert "holds clusters without labels; annotate it with a marker map first" in words(found)


def test_a_run_that_was_changed(run, tmp_path):
    shutil.copytree(run, tmp_path / "out")
    with (tmp_path / "out" / "marker_scores.csv").open("a") as file:
        file.write("\n")
    found = ctr("explain", tmp_path / "out", "--cluster", "0")
    assert found.exit_code == 1
    assert "marker_scores.csv was changed since the run; annotate the sample again" in words(found)


def test_ids_that_look_like_numbers_are_names(tmp_path):
    write_inputs(tmp_path)
    adata = good_sample()
    adata.obs["mine"] = [("007", "3:1", "1e5")[i % 3] for i in range(120)]
    adata.obs_names = [f"{i:03d}" for i in range(120)]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    result = annotate(tmp_path, "--annotation-only", "--cluster-key", "mine")
    assert result.exit_code == 0, words(result)
    for cluster in ("007", "3:1", "1e5"):
        assert f"Cluster {cluster}: " in words(
            ctr("explain", tmp_path / "out", "--cluster", cluster)
        )
    assert "Cell 004 is in cluster 3:1." in words(ctr("explain", tmp_path / "out", "--cell", "004"))
    assert "has no cell '4'" in words(ctr("explain", tmp_path / "out", "--cell", "4"))
