"""``ctr annotate``: logs, presets, the map that a sample holds, pages and figures."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from ctr_engine.reporting.report import FIGURES
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.stored_runs import (
    STRICT_T,
    annotate,
    interrupt,
    made,
    names,
    record,
    snapshot,
    write_inputs,
)
from tests.cli.test_annotate import ctr, words

pytestmark = pytest.mark.usefixtures("quickly")


# ---------------------------------------------------------------------- --log-dir

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 +\d+\.\d{3} s  (.*)")


def log_of(folder: Path) -> list[str]:
    """Events of the one log in a folder, without their time; every line has one."""
    (file,) = folder.iterdir()
    assert re.fullmatch(r"ctr-annotate-\d{8}-\d{6}-\d{6}\.log", file.name)
    found = [LINE.fullmatch(line) for line in file.read_text().splitlines()]
    assert all(found), file.read_text()
    return [match[1] for match in found if match]


def test_a_log_tells_what_was_done(tmp_path, monkeypatch):
    write_inputs(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ctr", "annotate", "säm ple.h5ad"])
    adata = good_sample()
    adata.X = adata.X * 500 - 1
    adata.write_h5ad(tmp_path / "sample.h5ad")
    made(tmp_path, "--log-dir", tmp_path / "logs" / "new")
    lines = log_of(tmp_path / "logs" / "new")
    assert lines[0] == 'arguments ["annotate", "säm ple.h5ad"]'
    steps = [line.removeprefix("step ") for line in lines if line.startswith("step ")]
    assert steps[0] == "reading"
    assert steps[-1] == "writing"
    assert {"cluster_statistics", "marker_scores", "decision_steps"} <= set(steps)
    warnings = [line for line in lines if line.startswith("warning ")]
    assert len(warnings) == len(record(tmp_path)["warnings"]) > 0
    assert lines[-1] == "done"


def test_each_run_has_a_log_of_its_own(tmp_path):
    write_inputs(tmp_path)
    for _ in range(2):
        made(tmp_path, "--log-dir", tmp_path / "logs", "--resume")
    assert len(list((tmp_path / "logs").iterdir())) == 2


def test_a_log_tells_how_a_run_failed(tmp_path):
    write_inputs(tmp_path)
    result = annotate(tmp_path, "--layer", "raw", "--log-dir", tmp_path / "logs")
    assert result.exit_code == 1
    lines = log_of(tmp_path / "logs")
    assert lines[0].startswith("arguments ")
    assert lines[1] == "step reading"
    assert lines[2].startswith("ended with InputError: ")
    assert "there is no layer 'raw'" in " ".join(lines)
    assert "done" not in lines


def test_a_log_tells_that_a_run_was_interrupted(tmp_path, monkeypatch):
    write_inputs(tmp_path)
    interrupt(tmp_path, monkeypatch, "--log-dir", tmp_path / "logs")
    lines = log_of(tmp_path / "logs")
    assert lines[-1].startswith("ended with KeyboardInterrupt")


def test_a_log_tells_of_a_defect_of_ours(tmp_path, monkeypatch):
    """Then more than ever."""
    write_inputs(tmp_path)
    result = interrupt(tmp_path, monkeypatch, "--log-dir", tmp_path / "logs", by=RuntimeError("no"))
    assert isinstance(result.exception, RuntimeError)
    assert log_of(tmp_path / "logs")[-1].startswith("ended with RuntimeError: no")


def test_a_log_is_on_the_disk_before_the_next_step(tmp_path, monkeypatch):
    """So that it tells where a run was when the machine went down."""
    write_inputs(tmp_path)
    seen: list[str] = []

    def look(*_: Any, **__: Any) -> None:
        seen.append(next((tmp_path / "logs").iterdir()).read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr("ctr_engine.cli.run.attach", look)
    annotate(tmp_path, "--log-dir", tmp_path / "logs")
    assert seen[0].endswith("step writing\n")


def test_no_log_without_a_folder_and_none_in_a_file(tmp_path):
    write_inputs(tmp_path)
    made(tmp_path)
    assert not list(tmp_path.rglob("*.log"))
    result = annotate(tmp_path, "--log-dir", tmp_path / "map.json", out="other")
    assert result.exit_code == 1
    assert "cannot write a log into" in words(result)
    assert "name another --log-dir" in words(result)
    assert not (tmp_path / "other").exists()


# ---------------------------------------------------------------------- --preset


def used(folder: Path, *flags: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scoring and gating that a run used."""
    made(folder, *flags)
    parameters = record(folder)["parameters"]
    return parameters["scoring"], parameters["gating"]


@pytest.mark.parametrize(
    ("preset", "scoring", "gating"),
    [
        ("sparse", {"positive_quantile": 0.5},
         {"min_coverage": {"0": 0.3, "1": 0.2, "2": 0.3, "3": 0.3},
          "min_pos_frac": {"0": 0.15, "1": 0.1, "2": 0.15, "3": 0.15}}),
        ("deep", {"positive_quantile": 0.8, "de_bonus": 0.7},
         {"min_coverage": {"0": 0.55, "1": 0.45, "2": 0.3, "3": 0.3},
          "min_gap": {"0": 0.45, "1": 0.35, "2": 0.2, "3": 0.2}}),
        ("tumor", {"anti_weight": 0.8},
         {"min_coverage": {"0": 0.35, "1": 0.4, "2": 0.3, "3": 0.3},
          "min_pos_frac": {"0": 0.2, "1": 0.2, "2": 0.15, "3": 0.15}}),
        ("conservative", {"anti_weight": 0.9, "anti_agg": "max"},
         {"min_coverage": {"0": 0.55, "1": 0.4, "2": 0.3, "3": 0.3},
          "min_gap": {"0": 0.5, "1": 0.3, "2": 0.2, "3": 0.2}}),
    ],
)  # fmt: skip
def test_a_preset_sets_its_parameters(preset, scoring, gating, tmp_path):
    write_inputs(tmp_path)
    found = used(tmp_path, "--preset", preset)
    assert scoring.items() <= found[0].items()
    assert gating.items() <= found[1].items()
    assert record(tmp_path)["given"] == {"preset": preset, "report": {"figures": False}}
    assert record(tmp_path)["parameters"]["preset"] == preset


def test_own_flags_win_over_a_preset(tmp_path):
    write_inputs(tmp_path)
    flags = ("--gating-params", '{"min_gap": {"0": 0.1}}', "--scoring-params", '{"de_bonus": 0.2}')
    scoring, gating = used(tmp_path, "--preset", "deep", *flags)
    assert (scoring["de_bonus"], scoring["positive_quantile"]) == (0.2, 0.8)
    assert gating["min_gap"] == {"0": 0.1, "1": 0.35, "2": 0.2, "3": 0.2}


def test_a_preset_wins_over_the_map(tmp_path):
    settings = {"min_gap": {"0": 0.9, "2": 0.8}, "anti_agg": "mean", "max_ambiguity": 2}
    write_inputs(tmp_path, json.dumps({"_gating_params": settings} | json.loads(GOOD_MAP)))
    scoring, gating = used(tmp_path, "--preset", "conservative")
    assert gating["min_gap"] == {"0": 0.5, "1": 0.3, "2": 0.8, "3": 0.2}
    assert gating["max_ambiguity"] == 2
    assert scoring["anti_agg"] == "max"


def test_a_preset_in_a_parameter_file(tmp_path):
    write_inputs(tmp_path)
    config = tmp_path / "params.yaml"
    config.write_text("preset: deep\ngating:\n  min_gap: {0: 0.2}\n")
    _, gating = used(tmp_path, "--config", config)
    assert gating["min_gap"]["0"] == 0.2
    assert gating["min_gap"]["1"] == 0.35
    scoring, gating = used(tmp_path, "--config", config, "--preset", "sparse")
    assert record(tmp_path)["given"]["preset"] == "sparse"
    assert scoring["de_bonus"] == 0.6
    assert gating["min_coverage"]["0"] == 0.3
    assert gating["min_gap"]["0"] == 0.2


def test_a_preset_over_a_profile(tmp_path):
    write_inputs(tmp_path)
    scoring, gating = used(tmp_path, "--preset", "deep", "--profile", "adaptive")
    assert gating["gate_inheritance"] is True
    assert gating["min_gap"] == {"0": 0.45, "1": 0.35, "2": 0.1, "3": 0.1}
    assert (scoring["positive_threshold"], scoring["de_bonus"]) == ("otsu", 0.7)


@pytest.mark.parametrize("place", ["flag", "file"])
def test_an_unknown_preset(place, tmp_path):
    write_inputs(tmp_path)
    (tmp_path / "params.yaml").write_text("preset: best\n")
    flags = ("--preset", "best") if place == "flag" else ("--config", tmp_path / "params.yaml")
    result = annotate(tmp_path, *flags)
    assert result.exit_code == 1
    assert "'sparse', 'deep', 'tumor' or 'conservative'; got 'best'" in words(result)
    assert not (tmp_path / "out").exists()


def test_a_preset_without_labels_would_have_no_effect(tmp_path):
    write_inputs(tmp_path)
    base = ("annotate", tmp_path / "sample.h5ad", "--clustering-only", "--out", tmp_path / "out")
    result = ctr(*base, "--preset", "deep")
    assert result.exit_code == 1
    assert "--preset would have no effect with --clustering-only; drop it" in words(result)


# ---------------------------------------------------------------------- the map of the sample


def again(folder: Path, *flags: object, sample: str = "out/coarse_clusters.h5ad") -> Any:
    base = ("annotate", folder / sample, "--annotation-only", "--output-dir", folder / "again")
    return ctr(*base, *flags)


def test_without_a_map_that_of_the_sample_is_taken(folder):
    result = again(folder)
    assert result.exit_code == 0, words(result)
    assert "Marker map: the one that the sample holds." in words(result)
    first, second = (json.loads((folder / n / "run.json").read_text()) for n in ("out", "again"))
    assert second["marker_map"]["content_hash"] == first["marker_map"]["content_hash"]
    assert second["marker_map"]["path"] == str((folder / "out" / "coarse_clusters.h5ad").resolve())
    for name in ("annotations", "cluster_annotations", "decision_steps", "marker_scores"):
        texts = [(folder / place / f"{name}.csv").read_text() for place in ("out", "again")]
        assert texts[0] == texts[1], name


def test_a_map_that_is_given_wins_over_that_of_the_sample(folder):
    (folder / "map.json").write_text(STRICT_T)
    result = again(folder, "--marker-map", folder / "map.json")
    assert "the one that the sample holds" not in words(result)
    held = json.loads((folder / "again" / "marker_map.json").read_text())
    assert held["Immune Cells"]["subtypes"]["T Cells"]["markers"] == ["CD3", "CD20"]


def test_the_settings_of_the_map_in_the_sample_hold(tmp_path):
    settings = {"min_enrichment": {"0": 1.0}}
    write_inputs(tmp_path, json.dumps({"_gating_params": settings} | json.loads(GOOD_MAP)))
    made(tmp_path)
    again(tmp_path)
    content = json.loads((tmp_path / "again" / "run.json").read_text())
    assert content["parameters"]["gating"]["min_enrichment"]["0"] == 1.0


def test_a_sample_without_a_map_says_so(tmp_path):
    write_inputs(tmp_path)
    adata = good_sample()
    adata.obs["cluster_lvl0"] = ["a" if i % 2 else "b" for i in range(120)]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    result = again(tmp_path, sample="sample.h5ad")
    assert result.exit_code == 1
    expected = (
        "sample.h5ad: 1 fault holds no marker map of an earlier run; name one with --marker-map"
    )
    assert expected in words(result)
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"R": {}}'])
def test_a_map_in_the_sample_that_is_none_is_refused(text, folder):
    adata = anndata.read_h5ad(folder / "out" / "coarse_clusters.h5ad")
    adata.uns["stage_h_marker_map"] = text
    adata.write_h5ad(folder / "sample.h5ad")
    result = again(folder, sample="sample.h5ad")
    assert result.exit_code == 1
    assert "sample.h5ad: 1 fault" in words(result)
    assert "Traceback" not in words(result)


def test_clustering_anew_needs_a_map(folder):
    base = ("annotate", folder / "out" / "coarse_clusters.h5ad", "--output-dir", folder / "again")
    result = ctr(*base)
    assert result.exit_code == 1
    assert "--marker-map is missing; name the marker map, or add --clustering-only" in words(result)


def test_the_map_of_the_sample_with_resume(folder):
    again(folder)
    result = again(folder, "--resume")
    assert result.exit_code == 0, words(result)
    labels = pd.read_csv(folder / "again" / "cluster_annotations.csv")["assigned_label"]
    assert labels.tolist() == ["Epithelium", "T Cells", "B Cells"]


# ---------------------------------------------------------------------- pages, figures, umap


def test_markers_of_each_label_are_shown_when_asked_for(tmp_path):
    write_inputs(tmp_path)
    assert "Markers of each label" not in words(annotate(tmp_path))
    said = words(annotate(tmp_path, "--expand-markers"))
    shown = said[said.index("Markers of each label") :]
    table = pd.read_csv(tmp_path / "out" / "marker_evidence.csv", dtype={"cluster_id": str})
    labels = pd.read_csv(tmp_path / "out" / "cluster_annotations.csv", dtype={"cluster_id": str})
    own = table.merge(
        labels, left_on=["cluster_id", "path"], right_on=["cluster_id", "assigned_path"]
    )
    assert len(own) == 2 + 1 + 1 + 1, "two markers and an anti-marker, and one each"
    for row in own.to_dict("records"):
        cells = (row["cluster_id"], row["label"], row["marker"], row["role"])
        assert " │ ".join(cells) in shown
        assert f"{row['enrichment']:+.2f}" in shown
        assert f"{row['in_score']:+.2f}" in shown


def test_expanding_nothing_would_have_no_effect(tmp_path):
    write_inputs(tmp_path)
    base = ("annotate", tmp_path / "sample.h5ad", "--clustering-only", "--out", tmp_path / "out")
    result = ctr(*base, "--expand-markers")
    assert "--expand-markers would have no effect with --clustering-only; drop it" in words(result)


def test_pages_belong_to_the_run_that_wrote_them(tmp_path):
    write_inputs(tmp_path)
    pages = {"audit_cards.html", "review_checklist.html"}
    made(tmp_path, "--generate-audit-cards", "--generate-review-checklist")
    assert pages <= set(record(tmp_path)["files"])
    assert pages <= names(tmp_path / "out")
    made(tmp_path)
    assert not pages & names(tmp_path / "out")


def test_figures_are_drawn_unless_they_are_not_wanted(tmp_path):
    write_inputs(tmp_path)
    adata = good_sample()
    adata.obsm["spatial"] = np.random.default_rng(0).random((120, 2))
    adata.write_h5ad(tmp_path / "sample.h5ad")
    made(tmp_path, "--with-figures")
    expected = {f"figures/{name}.png" for name in FIGURES if name != "umap_labels"}
    drawn = {name for name in names(tmp_path / "out") if name.startswith("figures/")}
    assert drawn == expected
    assert expected <= set(record(tmp_path)["files"])
    before = snapshot(tmp_path / "out")
    assert "everything" in words(annotate(tmp_path, "--with-figures", "--resume"))
    assert snapshot(tmp_path / "out") == before
    (tmp_path / "out" / "figures" / "depth.png").unlink()
    assert "everything" not in words(annotate(tmp_path, "--with-figures", "--resume"))
    made(tmp_path)
    assert not [name for name in names(tmp_path / "out") if name.startswith("figures/")]


@pytest.mark.slow
def test_a_umap_is_computed_when_asked_for(tmp_path):
    write_inputs(tmp_path)
    out = made(tmp_path, "--compute-umap", "--with-figures")
    layout = anndata.read_h5ad(out / "coarse_clusters.h5ad").obsm["X_umap"]
    assert layout.shape == (120, 2)
    assert np.isfinite(layout).all()
    assert "figures/umap_labels.png" in record(tmp_path)["files"]
    clusters = pd.read_csv(out / "annotations.csv")["cluster_lvl0"].to_numpy()
    centres = np.array([layout[clusters == name].mean(axis=0) for name in sorted(set(clusters))])
    nearest = ((layout[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == clusters).all(), "three groups lie apart"
