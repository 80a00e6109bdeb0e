"""``ctr check-map`` and ``ctr schema``."""

import json

import pytest
from typer.testing import CliRunner

from ctr_assets.cli import app
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.test_annotate import ctr, words


@pytest.fixture
def folder(tmp_path):
    good_sample().write_h5ad(tmp_path / "sample.h5ad")
    (tmp_path / "map.json").write_text(GOOD_MAP)
    return tmp_path


def test_a_valid_map_is_called_valid(folder):
    result = ctr("check-map", folder / "map.json")
    assert result.exit_code == 0
    assert "valid. 4 cell types; roots: Epithelium, Immune Cells." in words(result)


@pytest.mark.smoke
def test_the_panel_is_reported_per_cell_type(folder):
    (folder / "map.json").write_text(
        '{"Immune Cells": {"markers": ["CD45", "CD44", "DAPI"], "subtypes": '
        '{"T Cells": {"markers": ["CD3e"]}, "NK Cells": {"markers": ["CD56", "NKp46"]}}}}'
    )
    result = ctr("check-map", folder / "map.json", "--panel", folder / "sample.h5ad")
    assert result.exit_code == 0, words(result)
    printed = words(result)
    assert "1/3" in printed
    assert "DAPI (technical)" in printed
    assert "CD45" in printed  # the nearest name of CD44
    assert "coverage 0.33 is below min_coverage 0.50" in printed
    assert "0 of 3 cell types can be reached." in printed


def test_strict_fails_when_something_cannot_be_reached(folder):
    (folder / "map.json").write_text('{"A": {"markers": ["CD45"]}, "B": {"markers": ["Nothing"]}}')
    arguments = ("check-map", folder / "map.json", "--panel", folder / "sample.h5ad")
    assert ctr(*arguments).exit_code == 0
    assert ctr(*arguments, "--strict").exit_code == 1


def test_gating_parameters_count_in_the_report(folder):
    (folder / "map.json").write_text('{"A": {"markers": ["CD45", "x", "y", "z"]}}')
    arguments = ("check-map", folder / "map.json", "--panel", folder / "sample.h5ad")
    assert "0 of 1 cell types" in words(ctr(*arguments))
    relaxed = ctr(*arguments, "--gating-params", '{"min_coverage": {"0": 0.2}}')
    assert "1 of 1 cell types" in words(relaxed)


def test_an_invalid_map_exits_with_one_and_lists_its_faults(folder):
    (folder / "map.json").write_text('{\n"A": {"markers": []},\n"B": {"markers": ["x", "x"]}\n}')
    result = ctr("check-map", folder / "map.json")
    assert result.exit_code == 1
    assert "2 faults" in words(result)
    assert "line 2" in words(result)
    assert "line 3" in words(result)


@pytest.mark.parametrize("name", ["marker-map", "parameters"])
def test_schemas_are_json(name):
    result = CliRunner().invoke(app, ["schema", name])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["type"] == "object"


def test_flags_that_need_a_panel_are_refused_without_one(folder):
    result = ctr("check-map", folder / "map.json", "--strict", "--layer", "X")
    assert result.exit_code == 1
    assert "--layer, --strict would have no effect; add --panel" in words(result)


def test_a_label_in_two_branches_is_pointed_at(folder):
    (folder / "map.json").write_text(
        '{"A": {"markers": ["x"], "subtypes": {"C": {"markers": ["y"]}}}, "C": {"markers": ["z"]}}'
    )
    result = ctr("check-map", folder / "map.json")
    assert result.exit_code == 0
    assert "In more than one branch, told apart by the path only: 'C'." in words(result)
