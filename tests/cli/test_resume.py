"""``ctr annotate --resume``: what an earlier run spares, and what it does not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from ctr_engine.errors import OutputError
from ctr_engine.io.samples import sha256_of
from ctr_engine.io.tables import read_parquet, write_parquet
from ctr_engine.tables import Clusters
from tests.bad_inputs import good_sample
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

OTHER = ("--gating-params", '{"min_enrichment": {"0": 1}}')


pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture
def clusterings(monkeypatch) -> list[str]:
    """Grows with each clustering that is made."""
    from ctr_engine import analysis

    done: list[str] = []
    original = analysis.cluster_cells
    monkeypatch.setattr(
        analysis, "cluster_cells", lambda *a, **k: done.append("made") or original(*a, **k)
    )
    return done


@dataclass(frozen=True)
class Results:
    """What a run left, without times and places."""

    files: set[str]
    tables: dict[str, bytes]
    cells: anndata.AnnData
    record: dict[str, Any]

    @classmethod
    def of(cls, out: Path) -> "Results":
        content = json.loads((out / "run.json").read_text())
        kept = {key: content[key] for key in ("parameters", "given", "warnings", "versions")}
        kept |= {
            "sample": content["sample"]["sha256"],
            "map": content["marker_map"]["content_hash"],
        }
        tables = {path.name: path.read_bytes() for path in out.glob("*.csv")}
        return cls(names(out), tables, anndata.read_h5ad(out / "coarse_clusters.h5ad"), kept)


FRESH: dict[tuple[object, ...], Results] = {}
"""Results of runs without ``--resume``, by what they read and the flags; each made once."""


def same_results(folder: Path, *flags: object) -> None:
    """The folder holds what a run without ``--resume`` gives."""
    key = (sha256_of(folder / "sample.h5ad"), (folder / "map.json").read_text(), flags)
    if key not in FRESH:
        FRESH[key] = Results.of(made(folder, *flags, out="fresh"))
    expected, found = FRESH[key], Results.of(folder / "out")
    assert found.files == expected.files
    for name, content in expected.tables.items():
        assert found.tables[name] == content, name
    pd.testing.assert_frame_equal(found.cells.obs, expected.cells.obs)
    for name in expected.cells.obsm:
        np.testing.assert_array_equal(found.cells.obsm[name], expected.cells.obsm[name])
    assert found.record == expected.record


# ---------------------------------------------------------------------- --resume, all or nothing


def test_with_nothing_there_it_is_an_ordinary_run(tmp_path, clusterings):
    write_inputs(tmp_path)
    result = annotate(tmp_path, "--resume")
    assert result.exit_code == 0, words(result)
    assert "Used again" not in words(result)
    assert record(tmp_path)["reused"] == []
    assert clusterings == ["made"]


def test_with_everything_there_nothing_is_done_again(folder, clusterings, monkeypatch):
    before = snapshot(folder)
    monkeypatch.setattr("ctr_engine.cli.run.annotate", lambda *_, **__: pytest.fail("it began"))
    result = annotate(folder, "--resume")
    assert result.exit_code == 0, words(result)
    assert "Used again from the folder: everything." in words(result)
    assert "T Cells" in words(result)
    assert "0 cells (0.0%) are Unassigned." in words(result)
    assert snapshot(folder) == before
    assert clusterings == []


def test_without_resume_everything_is_done_again(folder, clusterings):
    result = annotate(folder)
    assert clusterings == ["made"]
    assert "Used again" not in words(result)


def test_only_clusters_are_whole_too(tmp_path, clusterings):
    write_inputs(tmp_path)
    base = ("annotate", tmp_path / "sample.h5ad", "--clustering-only", "--out", tmp_path / "out")
    ctr(*base)
    before = snapshot(tmp_path)
    assert "Used again from the folder: everything." in words(ctr(*base, "--resume"))
    assert snapshot(tmp_path) == before
    result = annotate(tmp_path, "--resume")
    assert "Used again from the folder: clusters." in words(result)
    assert clusterings == ["made"]
    same_results(tmp_path)


def test_other_words_for_the_same_parameters_are_the_same(folder):
    before = snapshot(folder)
    flags = (
        "--profile",
        "reference",
        "--resolution",
        0.6,
        "--gating-params",
        '{"max_ambiguity": 3}',
    )
    assert "everything" in words(annotate(folder, "--resume", *flags, "--n-jobs", 3))
    assert snapshot(folder) == before


# ---------------------------------------------------------------------- --resume, clusters only

CHANGES: dict[str, tuple[object, ...]] = {
    "gating": OTHER,
    "scoring": ("--scoring-params", '{"de_bonus": 0.1}'),
    "statistics": ("--scoring-params", '{"positive_quantile": 0.6}'),
    "a profile": ("--profile", "adaptive"),
    "a preset": ("--preset", "deep"),
    "a page": ("--generate-review-checklist",),
}


@pytest.mark.parametrize("name", CHANGES)
def test_with_other_labels_the_clusters_are_used_again(name, folder, monkeypatch):
    monkeypatch.setattr("ctr_engine.analysis.cluster_cells", lambda *_, **__: pytest.fail("again"))
    result = annotate(folder, "--resume", *CHANGES[name])
    assert result.exit_code == 0, words(result)
    assert "Used again from the folder: clusters." in words(result)
    assert record(folder)["reused"] == ["clusters"]
    monkeypatch.undo()
    same_results(folder, *CHANGES[name])


def test_with_another_map_the_clusters_are_used_again(folder, clusterings):
    (folder / "map.json").write_text(STRICT_T)
    assert "Used again from the folder: clusters." in words(annotate(folder, "--resume"))
    assert clusterings == []
    same_results(folder)


def test_cell_types_in_another_order_are_another_map(tmp_path, clusterings):
    """The order decides between equal scores: CD45 and PTPRC are one column."""
    marker_map = '{"R": {"markers": ["CD45"]}, "S": {"markers": ["PTPRC"]}}'
    tie = ("--gating-params", '{"root_gap_threshold": 0}')
    write_inputs(tmp_path, marker_map)
    made(tmp_path, *tie)
    turned = '{"S": {"markers": ["PTPRC"]}, "R": {"markers": ["CD45"]}}'
    (tmp_path / "map.json").write_text(turned)
    result = annotate(tmp_path, "--resume", *tie)
    assert "everything" not in words(result)
    labels = pd.read_csv(tmp_path / "out" / "cluster_annotations.csv")["assigned_label"]
    assert "S" in set(labels)
    assert "R" not in set(labels)


@pytest.mark.parametrize(
    "flags",
    [("--resolution", 0.9), ("--n-pcs", 3), ("--neighbors-k", 10), ("--random-seed", 1),
     ("--normalize", "arcsinh"), ("--technical-markers", "DAPI,CD20")],
)  # fmt: skip
def test_what_decides_about_the_clusters_makes_them_anew(flags, folder, clusterings):
    result = annotate(folder, "--resume", *flags)
    assert result.exit_code == 0, words(result)
    assert "Used again" not in words(result)
    assert clusterings == ["made"]
    assert record(folder)["reused"] == []


def other_values(folder: Path) -> None:
    good_sample(seed=7).write_h5ad(folder / "sample.h5ad")


def other_cells(folder: Path) -> None:
    adata = good_sample()
    adata.obs_names = [f"x{name}" for name in adata.obs_names]
    adata.write_h5ad(folder / "sample.h5ad")


@pytest.mark.parametrize("change", [other_values, other_cells])
def test_another_sample_is_clustered_anew(change, folder, clusterings):
    change(folder)
    assert "Used again" not in words(annotate(folder, "--resume"))
    assert clusterings == ["made"]
    same_results(folder)


@pytest.mark.parametrize("place", ["versions", "ALGORITHM_VERSION"])
def test_results_of_another_version_are_not_used(place, folder, clusterings, monkeypatch):
    other: Any = "0.1" if place == "ALGORITHM_VERSION" else lambda: {"numpy": "0.1"}
    for module in ("run", "checkpoint"):
        monkeypatch.setattr(f"ctr_engine.cli.{module}.{place}", other, raising=False)
    assert "Used again" not in words(annotate(folder, "--resume"))
    assert clusterings == ["made"]


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("coarse_clusters.h5ad", append),
        ("coarse_clusters.h5ad", Path.unlink),
        ("annotations.csv", append),
        ("marker_map.json", Path.unlink),
        ("preflight.csv", append),
    ],
)
def test_a_folder_that_is_not_whole_is_not_used(name, spoil, folder, clusterings):
    spoil(folder / "out" / name)
    result = annotate(folder, "--resume")
    assert result.exit_code == 0, words(result)
    assert "Used again" not in words(result)
    assert clusterings == ["made"]
    same_results(folder)


def test_clusters_of_the_sample_are_not_taken_for_new_ones(folder, clusterings):
    """An annotation of existing clusters does not spare a later clustering."""
    adata = good_sample()
    adata.obs["cluster_lvl0"] = ["left" if i % 2 else "right" for i in range(120)]
    adata.write_h5ad(folder / "sample.h5ad")
    assert annotate(folder, "--annotation-only", "--resume").exit_code == 0
    assert "everything" in words(annotate(folder, "--annotation-only", "--resume"))
    result = annotate(folder, "--resume")
    assert "Used again" not in words(result)
    assert clusterings == ["made"]
    same_results(folder)


# ---------------------------------------------------------------------- interrupted runs

CHECKPOINT = {
    ".ctr-checkpoint/clusters.parquet",
    ".ctr-checkpoint/key.json",
    ".ctr-checkpoint/pca.npy",
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """Folder with sample, map and an interrupted run in ``out``."""
    folder = write_inputs(tmp_path_factory.mktemp("stopped"))
    result = interrupt(folder, pytest.MonkeyPatch())
    assert result.exit_code == 130
    assert "interrupted; a folder of results without a run.json is not whole" in words(result)
    assert names(folder / "out") == CHECKPOINT
    return folder


@pytest.fixture
def interrupted(stopped, tmp_path) -> Path:
    """A copy of it that may be changed."""
    shutil.copytree(stopped, tmp_path / "work")
    return tmp_path / "work"


def test_an_interrupted_run_goes_on_from_its_clusters(interrupted, monkeypatch):
    monkeypatch.setattr("ctr_engine.analysis.cluster_cells", lambda *_, **__: pytest.fail("again"))
    result = annotate(interrupted, "--resume")
    assert result.exit_code == 0, words(result)
    assert "Used again from the folder: clusters." in words(result)
    assert not (interrupted / "out" / ".ctr-checkpoint").exists()
    monkeypatch.undo()
    same_results(interrupted)


def test_an_error_leaves_the_clusters_too(tmp_path, monkeypatch, clusterings):
    write_inputs(tmp_path)
    result = interrupt(tmp_path, monkeypatch, by=OutputError("the disk is full"))
    assert result.exit_code == 1
    assert "the disk is full" in words(result)
    assert names(tmp_path / "out") == CHECKPOINT
    assert "Used again from the folder: clusters." in words(annotate(tmp_path, "--resume", *OTHER))
    assert clusterings == ["made"]
    same_results(tmp_path, *OTHER)


def test_a_run_that_stops_while_it_writes_is_not_whole(tmp_path, monkeypatch, clusterings):
    write_inputs(tmp_path)
    interrupt(tmp_path, monkeypatch, at="_write_pages")
    left = names(tmp_path / "out")
    assert left > CHECKPOINT
    assert "run.json" not in left
    assert "has no run.json" in words(ctr("explain", tmp_path / "out", "--cluster", "0"))
    assert "Used again from the folder: clusters." in words(annotate(tmp_path, "--resume"))
    assert clusterings == ["made"]
    same_results(tmp_path)


def test_a_rerun_that_is_interrupted_does_not_lose_the_clusters(folder, monkeypatch, clusterings):
    """They were used again from the finished run, whose files were just being replaced."""
    interrupt(folder, monkeypatch, "--resume", *OTHER, at="_write_pages")
    assert "Used again from the folder: clusters." in words(annotate(folder, "--resume", *OTHER))
    assert clusterings == []


def test_what_stops_before_it_writes_leaves_the_earlier_run_whole(folder, monkeypatch):
    before = snapshot(folder / "out")
    interrupt(folder, monkeypatch, "--resolution", 0.9)
    after = snapshot(folder / "out")
    assert set(after) - set(before) == CHECKPOINT
    assert {name: after[name] for name in before} == before
    assert "Used again from the folder: everything." in words(annotate(folder, "--resume"))


def test_clusters_of_an_interrupted_run_beside_those_of_a_finished_one(
    folder, monkeypatch, clusterings
):
    interrupt(folder, monkeypatch, "--resolution", 0.9)
    result = annotate(folder, "--resume", "--resolution", 0.9)
    assert "Used again from the folder: clusters." in words(result)
    assert clusterings == ["made"]
    same_results(folder, "--resolution", 0.9)


def test_an_ordinary_run_clears_what_an_interrupted_one_left(interrupted, clusterings):
    assert "Used again" not in words(annotate(interrupted))
    assert clusterings == ["made"]
    assert not (interrupted / "out" / ".ctr-checkpoint").exists()


@pytest.mark.parametrize("flags", [("--resolution", 0.9), ("--normalize", "arcsinh")])
def test_clusters_of_other_parameters_are_not_used(flags, interrupted, clusterings):
    result = annotate(interrupted, "--resume", *flags)
    assert result.exit_code == 0, words(result)
    assert "Used again" not in words(result)
    assert clusterings == ["made"]
    same_results(interrupted, *flags)


@pytest.mark.parametrize("change", [other_values, other_cells])
def test_clusters_of_another_sample_are_not_used(change, interrupted, clusterings):
    change(interrupted)
    assert "Used again" not in words(annotate(interrupted, "--resume"))
    assert clusterings == ["made"]
    same_results(interrupted)


def swap_clusters(place: Path) -> None:
    table = read_parquet(Clusters, place / "clusters.parquet")
    table["cluster_id"] = table["cluster_id"].iloc[::-1].to_numpy()
    write_parquet(Clusters, table, place / "clusters.parquet")


def fewer_cells(place: Path) -> None:
    table = read_parquet(Clusters, place / "clusters.parquet")
    write_parquet(Clusters, table.iloc[:50], place / "clusters.parquet")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "key is cut": lambda place: (place / "key.json").write_text('{"key": "a'),
    "key is no text": lambda place: (place / "key.json").write_bytes(b"\xff\xfe"),
    "key is another": lambda place: (place / "key.json").write_text('{"key": "0"}'),
    "key is gone": lambda place: (place / "key.json").unlink(),
    "clusters are cut": lambda place: (place / "clusters.parquet").write_bytes(b"PAR1"),
    "clusters are gone": lambda place: (place / "clusters.parquet").unlink(),
    "clusters are others": swap_clusters,
    "clusters of fewer cells": fewer_cells,
    "components are cut": lambda place: (place / "pca.npy").write_bytes(b"\x93NUMPY"),
    "components are empty": lambda place: (place / "pca.npy").write_bytes(b""),
    "components are gone": lambda place: (place / "pca.npy").unlink(),
    "components are others": lambda place: np.save(place / "pca.npy", np.zeros((3, 2), np.float32)),
    "components are pickled": lambda place: np.save(
        place / "pca.npy", np.array([{}], dtype=object), allow_pickle=True
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_not_used(name, interrupted, clusterings):
    DAMAGE[name](interrupted / "out" / ".ctr-checkpoint")
    result = annotate(interrupted, "--resume")
    assert result.exit_code == 0, words(result)
    assert "Used again" not in words(result)
    assert clusterings == ["made"]
    assert not (interrupted / "out" / ".ctr-checkpoint").exists()
    same_results(interrupted)


def test_a_finished_run_leaves_no_checkpoint(finished):
    assert not (finished / "out" / ".ctr-checkpoint").exists()


def test_the_manifest_of_something_else_is_refused_with_resume_too(folder):
    (folder / "out" / "run.json").write_text("[1]")
    before = snapshot(folder)
    result = annotate(folder, "--resume")
    assert result.exit_code == 1
    assert "is not a manifest of ctr" in words(result)
    assert snapshot(folder) == before


@pytest.mark.slow
def test_a_umap_is_the_same_when_the_clusters_were_used_again(folder):
    result = annotate(folder, "--resume", "--compute-umap")
    assert "Used again from the folder: clusters." in words(result)
    same_results(folder, "--compute-umap")
