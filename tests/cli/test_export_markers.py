"""``ctr export-markers``: a built-in map as a file, and what is refused."""

import json

import pytest
import yaml

from ctr_engine.io.samples import read_marker_map
from ctr_engine.markers.builtin_maps import builtin_map_text, builtin_tissues
from tests.bad_inputs import good_sample
from tests.cli.test_annotate import ctr, words


def export(tissue, path, *flags):
    return ctr("export-markers", "--tissue", tissue, "--output", path, *flags)


@pytest.mark.smoke
@pytest.mark.parametrize("tissue", builtin_tissues())
def test_an_exported_map_passes_check_map(tmp_path, tissue):
    path = tmp_path / "map.json"
    result = export(tissue, path)
    assert result.exit_code == 0, words(result)
    assert path.read_text(encoding="utf-8") == builtin_map_text(tissue)
    checked = ctr("check-map", path)
    assert checked.exit_code == 0
    assert "valid." in words(checked)
    assert "Warning" not in words(checked)


def test_it_says_what_was_written_and_what_to_do_next(tmp_path):
    path = tmp_path / "my map.json"
    printed = words(export("Fallopian Tube", path))
    assert (
        f"Wrote {path}: 25 cell types; roots: Epithelium, Mesothelium, Endothelium, Stroma, "
        "Immune Cells." in printed
    )
    assert f"Next: ctr check-map '{path}' --panel SAMPLE.h5ad" in printed


def test_the_next_command_works(tmp_path):
    good_sample().write_h5ad(tmp_path / "sample.h5ad")
    export("codex-immune", tmp_path / "map.json")
    result = ctr("check-map", tmp_path / "map.json", "--panel", tmp_path / "sample.h5ad")
    assert result.exit_code == 0, words(result)
    assert "cell types can be reached." in words(result)


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".YAML"])
def test_yaml_means_the_same(tmp_path, suffix):
    path = tmp_path / f"map{suffix}"
    assert export("codex-immune", path).exit_code == 0
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text) == json.loads(builtin_map_text("codex-immune"))
    assert "Schürch" in text
    export("codex-immune", tmp_path / "map.json")
    from_yaml, from_json = read_marker_map(path), read_marker_map(tmp_path / "map.json")
    assert from_yaml.content_hash == from_json.content_hash
    assert [node.path for node in from_yaml.nodes] == [node.path for node in from_json.nodes]


def test_out_is_the_same_as_output(tmp_path):
    result = ctr("export-markers", "--tissue", "lung", "--out", tmp_path / "new" / "lung.json")
    assert result.exit_code == 0
    assert (tmp_path / "new" / "lung.json").read_text("utf-8") == builtin_map_text("lung")


def test_an_edited_file_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "blood.json"
    path.write_text("edited")
    refused = export("blood", path)
    assert refused.exit_code == 1
    assert f"{path} exists; name another file, or replace this one with --force" in words(refused)
    assert path.read_text() == "edited"
    assert export("blood", path, "--force").exit_code == 0
    assert path.read_text(encoding="utf-8") == builtin_map_text("blood")


def test_a_folder_is_refused_even_with_force(tmp_path):
    result = export("blood", tmp_path, "--force")
    assert result.exit_code == 1
    assert f"{tmp_path} is a folder; name a file, such as --output {tmp_path}/blood.json" in words(
        result
    )


def test_without_a_tissue_those_there_are_are_listed(tmp_path):
    result = ctr("export-markers", "--output", tmp_path / "map.json")
    assert result.exit_code == 1
    every = ", ".join(builtin_tissues())
    assert f"--tissue is missing; the built-in maps are: {every}" in words(result)
    assert not (tmp_path / "map.json").exists()


def test_without_an_output_a_name_is_asked_for():
    result = ctr("export-markers", "--tissue", "Blood")
    assert result.exit_code == 1
    assert "--output is missing; name a file, such as --output blood.json" in words(result)


def test_an_unknown_tissue_gets_a_suggestion(tmp_path):
    result = export("utreus", tmp_path / "map.json")
    assert result.exit_code == 1
    assert "There is no built-in marker map 'utreus'. Did you mean 'uterus'?" in words(result)


def test_the_list_has_every_map_with_its_size():
    result = ctr("export-markers", "--list")
    assert result.exit_code == 0
    for name in builtin_tissues():
        about = json.loads(builtin_map_text(name))["_marker_map_metadata"]["description"]
        assert about in words(result)
    assert "blood: 33 cell types, single-cell RNA, surface proteins, or both" in words(result)


def test_flags_that_do_nothing_beside_the_list_are_refused(tmp_path):
    result = ctr("export-markers", "--list", "--tissue", "blood", "--force")
    assert result.exit_code == 1
    assert "--tissue, --force would have no effect beside --list; drop one of them" in words(result)
