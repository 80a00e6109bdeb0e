"""``ctr annotate`` as a user types it: whole outputs, readable errors, no partial files."""

import json
import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from typer.testing import CliRunner

from ctr_assets.cli import app
from ctr_engine.io.samples import sha256_of
from ctr_engine.markers.parse import parse_marker_map
from tests.bad_inputs import GOOD_MAP, MAPS, SAMPLES, BadInput, good_sample

TABLES = (
    "annotations",
    "cluster_annotations",
    "cluster_statistics",
    "de_lookup",
    "decision_steps",
    "gating_details",
    "marker_evidence",
    "marker_scores",
    "near_miss_report",
    "reference_values",
)


_SPARED = {"--with-figures": "--no-figures", "--with-refinement": "--skip-refinement"}


def ctr(*arguments: object):
    """Run the command; ``annotate`` without what has tests of its own: figures and refinement."""
    if arguments[0] == "annotate":
        for wanted, spared in _SPARED.items():
            if wanted not in arguments:
                arguments = (*arguments, spared)
    arguments = tuple(part for part in arguments if part not in _SPARED)
    wide = CliRunner(env={"COLUMNS": "240"})  # so that no table folds a word
    return wide.invoke(app, [str(argument) for argument in arguments])


def words(result) -> str:
    """Everything that was printed, without line breaks of the terminal."""
    return re.sub(r"\s+", " ", result.output + result.stderr)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    good_sample().write_h5ad(tmp_path / "sample.h5ad")
    (tmp_path / "map.json").write_text(GOOD_MAP)
    return tmp_path / "sample.h5ad", tmp_path / "map.json", tmp_path / "out"


@pytest.mark.smoke
def test_annotate_writes_whole_outputs(files):
    sample, marker_map, out = files
    result = ctr("annotate", sample, "--marker-map", marker_map, "--output-dir", out)
    assert result.exit_code == 0, words(result)
    manifest = json.loads((out / "run.json").read_text())
    assert set(manifest["files"]) == {
        *(f"{name}.csv" for name in TABLES),
        "coarse_clusters.h5ad",
        "marker_map.json",
        "preflight.csv",
    }
    assert all(sha256_of(out / name) == digest for name, digest in manifest["files"].items())
    labels = pd.read_csv(out / "annotations.csv")
    truth = np.array(["Epithelium", "T Cells", "B Cells"])[np.arange(120) % 3]
    assert (labels["cell_type_auto"] == truth).all()
    assert sorted(p.name for p in out.iterdir()) == sorted([*manifest["files"], "run.json"])


def test_the_summary_says_why_each_cluster_has_its_label(files):
    sample, marker_map, out = files
    result = ctr("annotate", sample, "--marker-map", marker_map, "--output-dir", out)
    printed = words(result)
    assert "120 cells in" in printed
    assert "leaf_reached" in printed
    assert "markers" in printed
    assert "0 cells (0.0%) are Unassigned" in printed


def test_the_h5ad_opens_in_plain_scanpy(files):
    sample, marker_map, out = files
    ctr("annotate", sample, "--marker-map", marker_map, "--output-dir", out)
    adata = anndata.read_h5ad(out / "coarse_clusters.h5ad")
    assert {
        "cluster_lvl0",
        "cell_type_auto",
        "cell_type_auto_root",
        "cell_type_auto_conf",
        "cell_type_auto_path",
        "DAPI_intensity",
    } <= set(adata.obs.columns)
    assert "DAPI" not in adata.var_names
    np.testing.assert_array_equal(
        adata.layers["stage_h_input"], good_sample()[:, list(adata.var_names)].X
    )
    frame = sc.get.rank_genes_groups_df(adata, None, key="de_wilcoxon_X")
    assert set(frame["group"]) == set(adata.obs["cluster_lvl0"])
    assert json.loads(adata.uns["stage_h_gating_params"])["max_ambiguity"] == 3
    again = parse_marker_map(adata.uns["stage_h_marker_map"], "uns.json")
    assert again.content_hash == parse_marker_map(GOOD_MAP, "map.json").content_hash
    assert list(again.by_path) == list(parse_marker_map(GOOD_MAP, "map.json").by_path)
    assert json.loads(adata.uns["stage_h_params"])["layer"] == "X"


def test_annotation_only_keeps_the_clusters(files):
    sample, marker_map, out = files
    adata = good_sample()
    adata.obs["mine"] = [f"group {i % 2}" for i in range(adata.n_obs)]
    adata.write_h5ad(sample)
    result = ctr(
        "annotate",
        sample,
        "--marker-map",
        marker_map,
        "--out",
        out,
        "--annotation-only",
        "--cluster-key",
        "mine",
    )
    assert result.exit_code == 0, words(result)
    assert set(pd.read_csv(out / "annotations.csv")["cluster_lvl0"]) == {"group 0", "group 1"}


def test_results_can_be_annotated_again_with_another_map(files, tmp_path):
    sample, marker_map, out = files
    ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    other = tmp_path / "other.json"
    other.write_text(
        '{"Everything Epithelial": {"markers": ["PanCK"]}, "Leukocytes": {"markers": ["PTPRC"]}}'
    )
    again = ctr(
        "annotate",
        out / "coarse_clusters.h5ad",
        "--marker-map",
        other,
        "--out",
        tmp_path / "again",
        "--annotation-only",
        "--layer",
        "stage_h_input",
    )
    assert again.exit_code == 0, words(again)
    before = pd.read_csv(out / "annotations.csv", dtype=str)
    after = pd.read_csv(tmp_path / "again" / "annotations.csv", dtype=str)
    assert (before["cluster_lvl0"] == after["cluster_lvl0"]).all()
    assert set(after["cell_type_auto"]) == {"Everything Epithelial", "Leukocytes"}


def test_clustering_only_gives_clusters_without_labels(files):
    sample, _, out = files
    result = ctr("annotate", sample, "--clustering-only", "--out", out)
    assert result.exit_code == 0, words(result)
    assert "clustered and not annotated" in words(result)
    assert len(pd.read_csv(out / "clusters.csv")) == 120
    assert not (out / "cluster_annotations.csv").exists()
    assert "cell_type_auto" not in anndata.read_h5ad(out / "coarse_clusters.h5ad").obs


def test_the_same_run_twice_gives_the_same_tables(files, tmp_path):
    sample, marker_map, out = files
    for folder, n_jobs in ((out, 1), (tmp_path / "second", 4)):
        ctr("annotate", sample, "--marker-map", marker_map, "--out", folder, "--n-jobs", n_jobs)
    for name in TABLES:
        first, second = (folder / f"{name}.csv" for folder in (out, tmp_path / "second"))
        assert first.read_bytes() == second.read_bytes(), name


def test_parameters_from_flags_win_over_the_file(files, tmp_path):
    sample, marker_map, out = files
    config = tmp_path / "params.yaml"
    config.write_text(
        "profile: adaptive\nclustering: {n_pcs: 3, resolution: 0.2}\ngating:\n  min_gap: {1: 0.7}\n"
    )
    gating = tmp_path / "gating.json"
    gating.write_text('{"level_defaults": {"2": {"min_gap": 0.4}}}')
    result = ctr(
        "annotate",
        sample,
        "--marker-map",
        marker_map,
        "--out",
        out,
        "--config",
        config,
        "--resolution",
        0.9,
        "--gating-params",
        f"@{gating}",
        "--scoring-params",
        '{"de_bonus": 0.1}',
    )
    assert result.exit_code == 0, words(result)
    used = json.loads((out / "run.json").read_text())["parameters"]
    assert used["profile"] == "adaptive"
    assert used["clustering"]["n_pcs"] == 3
    assert used["clustering"]["resolution"] == 0.9
    assert used["scoring"]["de_bonus"] == 0.1
    effective = json.loads(
        anndata.read_h5ad(out / "coarse_clusters.h5ad").uns["stage_h_gating_params"]
    )
    assert effective["min_gap"] == {"1": 0.7, "2": 0.4, "3": 0.1}


@pytest.mark.parametrize("bad", [*SAMPLES, *MAPS], ids=lambda bad: bad.name)
def test_bad_input_is_refused_and_nothing_is_written(bad: BadInput, files):
    sample, marker_map, out = files
    if bad.sample is not None:
        bad.sample(sample)
    marker_map.write_text(bad.marker_map)
    result = ctr("annotate", sample, "--marker-map", marker_map, "--output-dir", out)
    assert result.exit_code == 1
    assert all(part in words(result) for part in bad.words), words(result)
    assert "Traceback" not in words(result)
    assert not out.exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--layer", "raw"], "there is no layer 'raw'; the layers are 'X'"),
        (["--annotation-only"], "obs has no column 'cluster_lvl0'"),
        (["--annotation-only", "--clustering-only"], "exclude each other"),
        (
            ["--annotation-only", "--n-pcs", "5"],
            "--n-pcs would have no effect with --annotation-only",
        ),
        (["--cluster-key", "mine"], "add --annotation-only"),
        (["--resolution", "-1"], "resolution: input should be greater than 0; got -1.0"),
        (["--normalize", "sqrt"], "'none', 'log1p_cp10k' or 'arcsinh'"),
        (["--profile", "best"], "'reference' or 'adaptive'"),
        (["--scoring-params", '{"anti_wieght": 1}'], "Did you mean 'anti_weight'?"),
        (["--scoring-params", '{"de_min_k": 9, "de_max_k": 4}'], "de_min_k 9 is above de_max_k 4"),
        (["--gating-params", '{"min_coverage": 0.5}'], "is given per level"),
        (["--gating-params", '{"min_coverage": {"0": 1.5}}'], "less than or equal to 1"),
        (["--gating-params", "{'0': 1}"], "--gating-params: 1 fault line 1: is not valid JSON"),
        (
            ["--gating-params", '{"max_ambiguity": 2, "max_ambiguity": 3}'],
            "'max_ambiguity' is given twice",
        ),
        (["--gating-params", "@nowhere.json"], "nowhere.json: 1 fault there is no such file"),
        (["--arcsinh-cofactor", "5"], "--arcsinh-cofactor would have no effect"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: 1 fault there is no such file"),
        (["--input", "other.h5ad"], "given twice"),
    ],
)
def test_a_flag_that_cannot_be_followed_is_refused(flags, expected, files):
    sample, marker_map, out = files
    result = ctr("annotate", sample, "--marker-map", marker_map, "--output-dir", out, *flags)
    assert result.exit_code == 1
    assert expected in words(result)
    assert not out.exists()


def test_faults_of_a_parameter_file_come_together_with_their_lines(files, tmp_path):
    sample, marker_map, out = files
    config = tmp_path / "params.yaml"
    config.write_text("profile: adaptive\nclustering:\n  n_pcs: 0\nscoring:\n  bonus: 1\n")
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out, "--config", config)
    assert result.exit_code == 1
    assert "params.yaml: 2 faults" in words(result)
    assert "line 3, clustering.n_pcs" in words(result)
    assert "line 5, scoring.bonus: unknown key 'bonus'" in words(result)


@pytest.mark.parametrize("missing", ["--marker-map", "--output-dir", "INPUT"])
def test_what_is_missing_is_named(missing, files):
    sample, marker_map, out = files
    arguments = {
        "INPUT": [sample],
        "--marker-map": ["--marker-map", marker_map],
        "--output-dir": ["--output-dir", out],
    }
    del arguments[missing]
    result = ctr("annotate", *(part for parts in arguments.values() for part in parts))
    assert result.exit_code == 1
    assert ("The input is missing" if missing == "INPUT" else f"{missing} is missing") in words(
        result
    )


def test_a_file_that_is_not_there_is_named_with_its_neighbours(files):
    sample, marker_map, out = files
    result = ctr(
        "annotate", sample.with_name("smaple.h5ad"), "--marker-map", marker_map, "--out", out
    )
    assert result.exit_code == 1
    assert "there is no such file" in words(result)
    assert "has: sample.h5ad" in words(result)


def test_missing_clusters_are_counted(files):
    sample, marker_map, out = files
    adata = good_sample()
    adata.obs["cluster_lvl0"] = pd.Categorical(["a"] * 118 + [None, None])
    adata.write_h5ad(sample)
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out, "--annotation-only")
    assert result.exit_code == 1
    assert "2 of 120 cells have no cluster in obs['cluster_lvl0']" in words(result)


def test_an_output_that_is_a_file_is_refused(files):
    sample, marker_map, out = files
    out.write_text("mine")
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    assert result.exit_code == 1
    assert "is a file; name a folder" in words(result)
    assert out.read_text() == "mine"


def test_raw_counts_are_a_warning(files):
    sample, marker_map, out = files
    adata = good_sample()
    adata.X = np.rint(np.abs(adata.X) * 40).astype(np.float32)
    adata.write_h5ad(sample)
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    assert result.exit_code == 0
    assert "looks like raw counts" in words(result)
    assert "looks like raw counts" in json.loads((out / "run.json").read_text())["warnings"][0]


def test_the_record_tells_what_was_given_from_what_was_used(files):
    sample, marker_map, out = files
    flags = ("--profile", "adaptive", "--resolution", 0.9)
    ctr("annotate", sample, "--marker-map", marker_map, "--out", out, *flags)
    record = json.loads((out / "run.json").read_text())
    assert record["given"] == {
        "profile": "adaptive",
        "clustering": {"resolution": 0.9},
        "report": {"figures": False},
    }
    assert record["parameters"]["scoring"]["positive_threshold"] == "otsu"
    assert record["parameters"]["gating"]["gate_inheritance"] is True
    assert set(record["versions"]) >= {"numpy", "igraph", "scikit-learn"}


def test_a_second_run_leaves_nothing_of_the_first_behind(files):
    sample, marker_map, out = files
    ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    (out / "notes.txt").write_text("mine")
    result = ctr("annotate", sample, "--clustering-only", "--out", out)
    assert result.exit_code == 0, words(result)
    manifest = json.loads((out / "run.json").read_text())
    assert {p.name for p in out.iterdir()} == {*manifest["files"], "run.json", "notes.txt"}


def test_a_folder_with_the_manifest_of_something_else_is_not_touched(files):
    sample, marker_map, out = files
    out.mkdir()
    (out / "run.json").write_text("[1]")
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    assert result.exit_code == 1
    assert "is not a manifest of ctr" in words(result)
    assert [p.name for p in out.iterdir()] == ["run.json"]


def test_a_manifest_cannot_make_other_files_disappear(files, tmp_path):
    sample, marker_map, out = files
    out.mkdir()
    (tmp_path / "thesis.txt").write_text("mine")
    (out / "run.json").write_text('{"files": {"../thesis.txt": "x"}}')
    assert ctr("annotate", sample, "--marker-map", marker_map, "--out", out).exit_code == 0
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_clusters_only_drops_the_labels_of_an_earlier_run(files, tmp_path):
    sample, marker_map, out = files
    ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    ctr("annotate", out / "coarse_clusters.h5ad", "--clustering-only", "--out", tmp_path / "again")
    again = anndata.read_h5ad(tmp_path / "again" / "coarse_clusters.h5ad")
    assert not [name for name in again.obs if name.startswith("cell_type_auto")]
    assert "stage_h_marker_map" not in again.uns
    assert "stage_h_gating_params" not in again.uns


def test_a_map_that_the_panel_cannot_serve_is_said_before_the_end(files):
    sample, marker_map, out = files
    marker_map.write_text('{"Neurons": {"markers": ["NeuN"]}, "Glia": {"markers": ["GFAP"]}}')
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    assert "No cell type of the marker map can be reached on this panel" in words(result)
    assert "ctr check-map" in words(result)
    assert "120 cells (100.0%) are Unassigned" in words(result)


def test_a_rule_on_what_is_no_root_fails_before_the_work(files):
    sample, marker_map, out = files
    rule = '{"root_veto_markers": {"Neurons": {"markers": ["CD45"], "max_pos_frac": 0.1}}}'
    flags = ("--gating-params", rule)
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out, *flags)
    assert result.exit_code == 1
    assert "'Neurons' is not a root; the roots are Epithelium, Immune Cells" in words(result)
    assert "leiden_clusters" not in words(result)


def test_a_parameter_file_must_be_utf8(files, tmp_path):
    sample, marker_map, out = files
    (tmp_path / "p.yaml").write_bytes(b"profile: \xff\xfe")
    config = ("--config", tmp_path / "p.yaml")
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out, *config)
    assert result.exit_code == 1
    assert "cannot be read as UTF-8 text" in words(result)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(files, monkeypatch):
    import os

    sample, marker_map, out = files
    may_not_write = lambda path, mode: not mode & os.W_OK  # noqa: E731
    monkeypatch.setattr(os, "access", may_not_write)  # root may write anywhere
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    assert result.exit_code == 1
    assert "cannot be written to; name another folder" in words(result)


def test_the_input_is_never_replaced_by_the_results(files):
    sample, marker_map, out = files
    ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    before = sha256_of(out / "coarse_clusters.h5ad")
    again = ("annotate", out / "coarse_clusters.h5ad", "--marker-map", marker_map, "--out", out)
    result = ctr(*again, "--annotation-only")
    assert result.exit_code == 1
    assert "the results would replace this file" in words(result)
    assert sha256_of(out / "coarse_clusters.h5ad") == before


def test_the_hash_of_the_sample_is_that_of_the_file_that_was_read(files):
    sample, marker_map, out = files
    ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    record = json.loads((out / "run.json").read_text())
    assert record["sample"] == {"path": str(sample.resolve()), "sha256": sha256_of(sample)}


@pytest.mark.parametrize(
    ("first", "flags", "expected"),
    [
        (["--normalize", "arcsinh"], [], "Add --layer stage_h_input to work on them"),
        ([], [], None),  # the values are the same
        (
            [],
            ["--layer", "stage_h_input", "--normalize", "arcsinh"],
            "was applied to them once more",
        ),
        (["--normalize", "arcsinh"], ["--layer", "stage_h_input"], None),
    ],
)
def test_values_of_an_earlier_run_are_pointed_at(first, flags, expected, files, tmp_path):
    sample, marker_map, out = files
    ctr("annotate", sample, "--marker-map", marker_map, "--out", out, *first)
    again = ("annotate", out / "coarse_clusters.h5ad", "--marker-map", marker_map)
    result = ctr(*again, "--out", tmp_path / "again", "--annotation-only", *flags)
    assert result.exit_code == 0, words(result)
    if expected is None:
        assert "Warning" not in words(result)
    else:
        assert expected in words(result)


def test_untransformed_intensities_are_a_warning(files):
    sample, marker_map, out = files
    adata = good_sample()
    adata.X = adata.X * 500 - 1
    adata.write_h5ad(sample)
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out)
    assert "looks untransformed" in words(result)


def test_a_technical_marker_that_is_not_there_is_a_warning(files):
    sample, marker_map, out = files
    flags = ("--technical-markers", "DAPI,DNA99")
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", out, *flags)
    assert "The technical marker 'DNA99' is not among the columns" in words(result)
    assert "'DAPI' is not" not in words(result)


def test_many_unassigned_cells_come_with_something_to_try(files):
    sample, marker_map, out = files
    strict = ("--gating-params", '{"min_enrichment": {"0": 50}}')
    base = ("annotate", sample, "--marker-map", marker_map, "--out", out, *strict)
    told = words(ctr(*base))
    assert "Try --profile adaptive" in told
    assert "of them because the nearest root Immune Cells fails low_enrichment (CD45)." in told
    assert "Try --profile" not in words(ctr(*base, "--profile", "adaptive"))


def test_a_tilde_is_the_home_folder(files, tmp_path, monkeypatch):
    sample, marker_map, _ = files
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    result = ctr("annotate", sample, "--marker-map", marker_map, "--out", "~/results")
    assert result.exit_code == 0, words(result)
    assert (tmp_path / "home" / "results" / "run.json").exists()


def test_the_version_is_shown():
    assert re.fullmatch(r"ctr \d+\.\d+\.\d+", ctr("--version").output.strip())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "layer"),
    [
        ("blood_marrow_scrna", "X"),
        ("cortex_osmfish", "X"),
        ("lymphoma_cycif_scimap", "X"),
        ("pbmc68k_reduced", "X"),
        ("pbmc_mem_cytof", "arcsinh15"),
    ],
)
def test_real_labelled_samples_come_out_whole(folder, layer, shared, tmp_path):
    data = shared / "data" / folder
    result = ctr(
        "annotate",
        data / "data.h5ad",
        "--marker-map",
        data / "marker_map.json",
        "--out",
        tmp_path / "out",
        "--layer",
        layer,
    )
    assert result.exit_code == 0, words(result)
    labels = pd.read_csv(tmp_path / "out" / "annotations.csv")
    cells = anndata.read_h5ad(data / "data.h5ad", backed="r").obs_names
    assert labels["cell_id"].astype(str).tolist() == cells.tolist()
    assert (tmp_path / "out" / "run.json").exists()
