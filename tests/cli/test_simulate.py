"""``ctr simulate``: what it writes, what it says, and what it leaves alone."""

import json

import anndata
import pytest

from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.scenarios import SCENARIOS, make_scenario
from tests.cli.test_annotate import ctr, words


@pytest.fixture
def out(tmp_path):
    return tmp_path / "practice"


@pytest.mark.smoke
def test_sample_and_maps_are_written(out):
    result = ctr("simulate", "missing-alias", "--output-dir", out, "--n-cells", 1_000)
    assert result.exit_code == 0, words(result)
    names = ["marker_map.json", "marker_map_fixed.json", "sample.h5ad"]
    assert sorted(path.name for path in out.iterdir()) == names
    sample, faulty, mended = make_scenario("missing-alias", 1_000)
    written = anndata.read_h5ad(out / "sample.h5ad")
    assert (written.X == sample.X).all()
    assert written.obs["cell_type"].tolist() == sample.obs["cell_type"].tolist()
    for name, content in (("marker_map.json", faulty), ("marker_map_fixed.json", mended)):
        assert json.loads((out / name).read_text()) == content
        parse_marker_map((out / name).read_text(), name)


def test_the_next_command_is_said_and_works(out):
    result = ctr("simulate", "wrong-tissue", "--out", out, "--n-cells", 1_000)
    assert 3 <= len(result.output.splitlines()) <= 6
    assert "1,000 cells, 25 markers" in result.output
    assert "(tuning guide, scenario 7)" in result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith("Next: ctr ")]
    again = ctr(*line.removeprefix("Next: ctr ").split(), "--no-figures")
    assert again.exit_code == 0, words(again)
    assert (out / "run1" / "run.json").exists()


def test_a_folder_with_a_space_is_quoted_in_the_next_command(tmp_path):
    result = ctr("simulate", "rare-type", "--out", tmp_path / "my data", "--n-cells", 1_000)
    assert f"--marker-map '{tmp_path}/my data/marker_map.json'" in words(result)


def test_a_scenario_whose_remedy_is_a_parameter_has_one_map(out):
    ctr("simulate", "rare-type", "--out", out, "--n-cells", 1_000)
    assert sorted(path.name for path in out.iterdir()) == ["marker_map.json", "sample.h5ad"]


def test_the_seed_is_that_of_the_sample(out, tmp_path):
    ctr("simulate", "rare-type", "--out", out, "--n-cells", 1_000, "--random-seed", 3)
    written = anndata.read_h5ad(out / "sample.h5ad")
    assert (written.X == make_scenario("rare-type", 1_000, 3)[0].X).all()


def test_the_list_names_each_scenario_with_its_place_in_the_guide():
    lines = ctr("simulate", "--list").output.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    assert [line.split()[1] for line in lines] == ["1", "1", "2", "2", "3", "3", "4", "5", "6", "7"]


def test_files_that_are_there_are_kept_without_force(out):
    out.mkdir()
    (out / "marker_map.json").write_text("mine")
    arguments = ("simulate", "rare-type", "--out", out, "--n-cells", 1_000)
    result = ctr(*arguments)
    assert result.exit_code == 1
    assert "has marker_map.json already" in words(result)
    assert [path.name for path in out.iterdir()] == ["marker_map.json"]
    assert (out / "marker_map.json").read_text() == "mine"
    assert ctr(*arguments, "--force").exit_code == 0
    assert "CD45" in (out / "marker_map.json").read_text()


def test_other_files_in_the_folder_are_no_hindrance(out):
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert ctr("simulate", "rare-type", "--out", out, "--n-cells", 1_000).exit_code == 0
    assert (out / "notes.txt").read_text() == "mine"


def test_the_mended_map_of_another_scenario_does_not_stay(out):
    ctr("simulate", "missing-alias", "--out", out, "--n-cells", 1_000)
    ctr("simulate", "rare-type", "--out", out, "--n-cells", 1_000, "--force")
    assert not (out / "marker_map_fixed.json").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "Which scenario? ctr simulate --list names them"),
        (["rare-type"], "--output-dir is missing; name a folder, such as --output-dir rare-type"),
        (["rare-typ", "--out", "x"], "no scenario 'rare-typ'. Did you mean 'rare-type'?"),
        (["rare-typ"], "no scenario 'rare-typ'"),
        (["rare-type", "--out", "x", "--n-cells", "5"], "5 cells are too few"),
        (["rare-type", "--list"], "SCENARIO would have no effect beside --list"),
        (["--list", "--out", "x"], "--output-dir would have no effect beside --list"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = ctr("simulate", *arguments)
    assert result.exit_code == 1
    assert expected in words(result)
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_refused(out):
    out.write_text("mine")
    result = ctr("simulate", "rare-type", "--out", out)
    assert result.exit_code == 1
    assert "is a file; name a folder with --output-dir" in words(result)
    assert out.read_text() == "mine"
