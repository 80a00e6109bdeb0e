"""``ctr annotate`` with the refinement that follows it, as a user types it."""

import json
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
import pytest

from ctr_engine.errors import OutputError
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.stored_runs import names, record, snapshot
from tests.cli.test_annotate import ctr, words

EAGER = ("--refinement-params", '{"min_cells": 10, "min_subcluster_cells": 10}')
OWN = ("--annotation-only", "--cluster-key", "mine")
REFINED = {
    "curation_log.json",
    "decision_summary.json",
    "diagnostic_report.csv",
    "final_annotations.csv",
    "plan.json",
    "refined.h5ad",
    "refinement_log.csv",
    "score_distribution.png",
}
TIMES = ("finished_at", "seconds")

pytestmark = pytest.mark.usefixtures("quickly")


def inputs(folder: Path) -> Path:
    """Sample of two clusters, of which "1" holds T and B cells, and a map."""
    adata = good_sample()
    adata.obs["mine"] = ["0" if i % 3 == 0 else "1" for i in range(adata.n_obs)]
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(GOOD_MAP)
    return folder


def annotate(folder: Path, *flags: object, out: str = "out") -> Any:
    files = ("--marker-map", folder / "map.json", "--out", folder / out)
    return ctr("annotate", folder / "sample.h5ad", *files, *flags)


def made(folder: Path, *flags: object, out: str = "out") -> Path:
    result = annotate(folder, *flags, out=out)
    assert result.exit_code == 0, words(result)
    return folder / out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return inputs(tmp_path)


@pytest.fixture(scope="module")
def both(quickly, tmp_path_factory) -> Path:
    """The same run without refinement in ``plain``, with it in ``out``."""
    folder = inputs(tmp_path_factory.mktemp("both"))
    made(folder, *OWN, "--with-figures", out="plain")
    made(folder, *OWN, "--with-figures", "--with-refinement", *EAGER)
    return folder


def used(folder: Path) -> dict[str, Any]:
    """Parameters of refinement that the first iteration in ``out`` used."""
    log = json.loads((folder / "out" / "refinement" / "curation_log.json").read_text())
    return log["iterations"][0]["parameters"]


def clusters(path: Path) -> list[str]:
    return anndata.read_h5ad(path).obs["cluster_lvl1"].astype(str).tolist()


def test_the_outputs_of_stage_h_are_the_same_with_refinement(both):
    plain, refined = snapshot(both / "plain"), snapshot(both / "out")
    own = {name: content for name, content in refined.items() if "/" not in name}
    own |= {name: content for name, content in refined.items() if name.startswith("figures/")}
    assert set(own) == set(plain)
    for name in set(plain) - {"run.json"}:
        assert plain[name][1] == own[name][1], name


def test_the_record_of_stage_h_is_the_same_but_for_its_times(both):
    plain, refined = (
        json.loads((both / name / "run.json").read_text()) for name in ("plain", "out")
    )
    for one in (plain, refined):
        for name in TIMES:
            del one[name]
    assert plain == refined


def test_refinement_stands_beside_and_has_done_something(both):
    refined = both / "out" / "refinement"
    assert names(refined) == REFINED
    truth = ["Epithelium", "T Cells", "B Cells"]
    expected = [truth[i % 3] for i in range(120)]
    labels = pd.read_csv(refined / "final_annotations.csv")
    assert labels["cell_type"].tolist() == expected
    before = pd.read_csv(both / "out" / "annotations.csv")
    assert before["cell_type_auto"].tolist() != expected
    assert set(clusters(refined / "refined.h5ad")) == {"0", "1:0", "1:1"}


def test_it_is_the_one_iteration_of_ctr_refine(both, tmp_path):
    flags = ("--auto", "--execute", *EAGER)
    result = ctr("refine", both / "plain" / "coarse_clusters.h5ad", "--out", tmp_path, *flags)
    assert result.exit_code == 0, words(result)
    for name in ("final_annotations.csv", "diagnostic_report.csv", "refinement_log.csv"):
        ours = both / "out" / "refinement" / name
        assert ours.read_bytes() == (tmp_path / name).read_bytes(), name
    log = json.loads((both / "out" / "refinement" / "curation_log.json").read_text())
    assert len(log["iterations"]) == 1


def test_the_summary_says_what_refinement_did_and_where(folder):
    result = annotate(folder, *OWN, "--with-refinement", *EAGER)
    printed = words(result)
    assert "120 cells in 2 clusters" in printed
    assert "Iteration 1: 1 subcluster; 2 -> 3 clusters" in printed
    assert f"Results: {folder / 'out' / 'refinement'}" in printed
    assert printed.index("120 cells in 2 clusters") < printed.index("Iteration 1")


def test_without_refinement_nothing_of_it_is_made_or_said(folder):
    result = annotate(folder, *OWN)
    assert "Iteration" not in words(result)
    assert not (folder / "out" / "refinement").exists()


DEFAULT = {"score_threshold": 1.0, "min_cells": 500, "heterogeneity_gap": 0.3, "max_iterations": 3}
CONSERVATIVE = {
    "score_threshold": 1.5,
    "min_cells": 1000,
    "heterogeneity_gap": 0.4,
    "max_iterations": 2,
}
AGGRESSIVE = {
    "score_threshold": 0.7,
    "min_cells": 300,
    "heterogeneity_gap": 0.2,
    "max_iterations": 5,
}


@pytest.mark.parametrize(
    ("config", "flags", "expected"),
    [
        ("", [], DEFAULT),
        ("", ["--profile", "adaptive"], {"min_cells": 100, "relabel_requires_pass": True}),
        ("", ["--refinement-preset", "conservative"], CONSERVATIVE),
        ("", ["--refinement-preset", "aggressive"], AGGRESSIVE),
        (
            "refinement_preset: aggressive",
            ["--refinement-preset", "conservative"],
            CONSERVATIVE,
        ),
        ("", ["--preset", "conservative"], CONSERVATIVE),
        ("", ["--preset", "conservative", "--refinement-preset", "aggressive"], AGGRESSIVE),
        (
            "",
            ["--profile", "adaptive", "--refinement-preset", "aggressive"],
            {**AGGRESSIVE, "relabel_requires_pass": True},
        ),
        (
            "refinement: {min_cells: 7, score_plateau: 0.2}",
            ["--refinement-preset", "aggressive"],
            {**AGGRESSIVE, "min_cells": 7, "score_plateau": 0.2},
        ),
        (
            "refinement: {min_cells: 7, resolution: 0.9}",
            ["--refinement-params", '{"min_cells": 9}', "--preset", "conservative"],
            {**CONSERVATIVE, "min_cells": 9, "resolution": 0.9},
        ),
    ],
)
def test_presets_parameters_and_their_order(config, flags, expected, folder):
    (folder / "params.yaml").write_text(config)
    given = ("--config", folder / "params.yaml", *flags)
    made(folder, *OWN, *given, "--with-refinement")
    found = used(folder)
    assert {name: found[name] for name in expected} == expected


def test_parameters_of_refinement_do_not_touch_the_annotation(both, folder):
    (folder / "params.yaml").write_text("refinement: {n_pcs: 3, resolution: 2.0}")
    made(folder, *OWN, "--config", folder / "params.yaml", "--with-refinement", *EAGER)
    assert record(folder)["given"] == {"report": {"figures": False}}
    plain = json.loads((both / "plain" / "run.json").read_text())
    assert record(folder)["parameters"]["clustering"] == plain["parameters"]["clustering"]
    assert (used(folder)["n_pcs"], used(folder)["resolution"]) == (3, 2.0)


def test_a_file_of_parameters_may_be_named(folder):
    (folder / "refine.yaml").write_text("min_cells: 12\n")
    made(folder, *OWN, "--with-refinement", "--refinement-params", f"@{folder / 'refine.yaml'}")
    assert used(folder)["min_cells"] == 12


@pytest.mark.parametrize(
    "second",
    [
        pytest.param((*OWN, "--skip-refinement"), id="skip"),
        pytest.param((*OWN, "--resume", "--skip-refinement"), id="resume and skip"),
        pytest.param((*OWN, "--resume", "--skip-refinement", "--layer", "X"), id="other run"),
        pytest.param(("--clustering-only",), id="clusters only"),
    ],
)
def test_a_second_run_leaves_no_refinement_of_the_first(second, folder):
    made(folder, *OWN, "--with-refinement", *EAGER)
    (folder / "out" / "refinement" / "notes.txt").write_text("mine")
    files = () if "--clustering-only" in second else ("--marker-map", folder / "map.json")
    result = ctr("annotate", folder / "sample.h5ad", *files, "--out", folder / "out", *second)
    assert result.exit_code == 0, words(result)
    assert names(folder / "out" / "refinement") == {"notes.txt"}


def test_a_second_refinement_takes_the_place_of_the_first(folder):
    made(folder, *OWN, "--with-refinement", *EAGER)
    made(folder, *OWN, "--with-refinement")
    assert set(clusters(folder / "out" / "refinement" / "refined.h5ad")) == {"0", "1"}
    assert used(folder)["min_cells"] == 500
    assert names(folder / "out" / "refinement") == REFINED


def test_resuming_refines_again_with_what_is_asked_for_now(both, folder):
    made(folder, *OWN, "--with-figures")
    before = snapshot(folder / "out")
    result = annotate(folder, *OWN, "--with-figures", "--resume", "--with-refinement", *EAGER)
    assert result.exit_code == 0, words(result)
    assert "Used again from the folder: everything." in words(result)
    after = snapshot(folder / "out")
    assert {name: after[name] for name in before} == before
    name = "refinement/final_annotations.csv"
    assert after[name][1] == snapshot(both / "out")[name][1]


def test_a_refinement_that_fails_leaves_stage_h_whole_and_nothing_stale(folder, monkeypatch):
    made(folder, *OWN, "--with-refinement", *EAGER)
    (folder / "out" / "refinement" / "notes.txt").write_text("mine")

    def full(*_: Any) -> None:
        msg = "the disk is full"
        raise OutputError(msg)

    monkeypatch.setattr("ctr_engine.cli.refine_run.write_csv", full)
    result = annotate(folder, *OWN, "--with-refinement", *EAGER)
    assert result.exit_code == 1
    assert "the disk is full" in words(result)
    assert set(record(folder)["files"]) <= names(folder / "out")
    assert names(folder / "out" / "refinement") == {"notes.txt"}


def test_an_interrupted_refinement_exits_as_such(folder, monkeypatch):
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ctr_engine.cli.refine_run.open_sample", stop)
    result = annotate(folder, *OWN, "--with-refinement", *EAGER)
    assert result.exit_code == 130
    assert (folder / "out" / "run.json").exists()


def test_the_log_follows_both_and_says_how_it_ended(folder):
    made(folder, *OWN, "--with-refinement", *EAGER, "--log-dir", folder / "log")
    (log,) = (folder / "log").iterdir()
    steps = [line.split(" s  ")[1] for line in log.read_text().splitlines()]
    assert steps[-1] == "done"
    assert steps.index("step refining") > steps.index("step annotations")
    assert steps.count("step writing") == 2


def test_annotating_a_refined_sample_starts_again(both, folder):
    refined = both / "out" / "refinement" / "refined.h5ad"
    files = ("--marker-map", folder / "map.json", "--out", folder / "out")
    result = ctr("annotate", refined, *files, *OWN, "--with-refinement", *EAGER)
    assert result.exit_code == 0, words(result)
    coarse = anndata.read_h5ad(folder / "out" / "coarse_clusters.h5ad")
    assert not [n for n in coarse.obs if "lvl1" in n or "iteration" in n]
    again = anndata.read_h5ad(folder / "out" / "refinement" / "refined.h5ad")
    assert [n for n in again.uns if "refine" in n] == ["stage_refine_iteration_1"]
    assert clusters(refined) == again.obs["cluster_lvl1"].astype(str).tolist()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ["--skip-refinement", "--refinement-preset", "aggressive"],
            "--refinement-preset would have no effect with --skip-refinement",
        ),
        (
            ["--skip-refinement", "--refinement-params", "{}"],
            "--refinement-params would have no effect with --skip-refinement",
        ),
        (["--refinement-preset", "bold"], "is conservative or aggressive; got 'bold'"),
        (["--refinement-params", '{"min_cell": 1}'], "Did you mean 'min_cells'?"),
        (
            ["--refinement-params", '{"min_cells": 0, "resolution": -1}'],
            "--refinement-params: 2 faults",
        ),
        (["--refinement-params", "min_cells=3"], "--refinement-params: 1 fault"),
        (["--refinement-params", "@nowhere.json"], "nowhere.json: 1 fault there is no such file"),
    ],
)
def test_what_cannot_be_followed_is_refused_before_the_work(flags, expected, folder):
    result = annotate(folder, *OWN, *flags, "--with-refinement")
    assert result.exit_code == 1
    assert expected in words(result)
    assert "leiden" not in words(result)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("flag", ["--refinement-preset", "--refinement-params"])
def test_clusters_alone_are_not_refined(flag, folder):
    value = "aggressive" if flag == "--refinement-preset" else "{}"
    base = ("annotate", folder / "sample.h5ad", "--clustering-only", "--out", folder / "out")
    result = ctr(*base, flag, value, "--with-refinement")
    assert result.exit_code == 1
    assert f"{flag} would have no effect with --clustering-only" in words(result)
    assert ctr(*base, "--with-refinement").exit_code == 0
    assert not (folder / "out" / "refinement").exists()


def test_faults_of_the_refinement_section_come_with_their_lines(folder):
    (folder / "params.yaml").write_text(
        "refinement_preset: bold\nrefinement:\n  min_cells: none\n  resolution: 0\n  epochs: 3\n"
    )
    result = annotate(folder, "--config", folder / "params.yaml", "--with-refinement")
    assert result.exit_code == 1
    printed = words(result)
    assert "params.yaml: 4 faults" in printed
    assert "line 1, refinement_preset" in printed
    assert "line 3, refinement.min_cells" in printed
    assert "line 4, refinement.resolution" in printed
    assert "line 5, refinement.epochs: unknown key 'epochs'" in printed


def test_a_refinement_folder_of_somebody_else_is_not_emptied(folder):
    own = folder / "out" / "refinement"
    own.mkdir(parents=True)
    (own / "plan.json").write_text("three days of work")
    annotate(folder, *OWN)
    assert (own / "plan.json").read_text() == "three days of work"


def test_a_file_where_the_refinement_goes_is_refused_before_the_work(folder):
    made(folder, *OWN)
    before = snapshot(folder / "out")
    (folder / "out" / "refinement").write_text("mine")
    result = annotate(folder, *OWN, "--with-refinement", *EAGER)
    assert result.exit_code == 1
    assert "refinement is a file" in words(result)
    after = snapshot(folder / "out")
    assert {name: after[name] for name in before} == before
