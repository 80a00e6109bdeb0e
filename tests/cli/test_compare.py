"""``ctr compare`` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest

from ctr_engine.comparison.compare import compare
from ctr_engine.io.runs import read_run
from ctr_engine.io.tables import read_csv
from ctr_engine.tables import COMPARISON_TABLES
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.stored_runs import STRICT_T, annotate, made, names, snapshot, write_inputs
from tests.cli.test_annotate import ctr, words
from tests.reporting.test_explain import strict_json

FILES = {*(f"{name}.csv" for name in COMPARISON_TABLES), "compare.json", "compare.html"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """A run, and one with another marker, another threshold and another weight."""
    folder = write_inputs(tmp_path_factory.mktemp("runs"))
    first = made(folder, out="a")
    (folder / "map.json").write_text(STRICT_T)
    flags = ("--gating-params", '{"min_enrichment": {"1": 0.9}}')
    return first, made(folder, *flags, "--scoring-params", '{"anti_weight": 0.7}', out="b")


def test_it_says_what_changed_where_and_why(runs):
    a, b = runs
    result = ctr("compare", a, b)
    assert result.exit_code == 0, words(result)
    said = words(result)
    assert f"A: {a} B: {b}" in said
    assert "40 of 120 cells (33.3%) have another label, in 1 cluster." in said
    assert "ARI of the labels" in said
    assert "Immune Cells / T Cells" in said
    assert "Cluster 1: T Cells -> Immune Cells (40 cells)" in said
    assert "at Immune Cells: T Cells -> nobody passed; T Cells: passes with" in said
    assert "because of: min_enrichment.1 together with markers of Immune Cells / T Cells" in said
    for name in ("anti_weight", "min_enrichment.1", "markers of Immune Cells / T Cells"):
        assert name in said
    assert "Add --output-dir DIR to keep tables, JSON and the page." in said
    assert "Only in A" not in said


def test_two_equal_runs(runs):
    result = ctr("compare", runs[0], runs[0])
    assert result.exit_code == 0
    said = words(result)
    assert "0 of 120 cells (0.0%) have another label, in 0 clusters." in said
    assert "The runs had the same values, parameters and marker map." in said
    assert "Cluster" not in said.replace("of the clusters", "").replace("clusters.", "")


@pytest.mark.parametrize(
    "flags",
    [
        ("--resolution", 0.61),
        ("--gating-params", '{"max_ambiguity": 2}'),
        ("--gating-params", '{"per_cell_gap_threshold": 0.2}'),
    ],
)
def test_runs_with_other_parameters_are_never_said_to_have_the_same(flags, runs, tmp_path):
    write_inputs(tmp_path)
    result = ctr("compare", runs[0], made(tmp_path, *flags))
    assert "0 of 120 cells" in words(result)
    assert "the same values, parameters" not in words(result)


def test_json_is_what_the_engine_says_and_nothing_else(runs):
    a, b = runs
    result = ctr("compare", a, b, "--json")
    content = strict_json(result.stdout)
    assert result.stderr == ""
    assert content == json.loads(json.dumps(compare(read_run(a), read_run(b)).as_json()))
    assert content["agreement"]["n_cells_changed"] == 40


def test_everything_is_written_and_the_runs_stay_as_they_were(runs, tmp_path):
    a, b = runs
    before = [snapshot(folder) for folder in runs]
    result = ctr("compare", a, b, "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, words(result)
    assert f"Results: {tmp_path / 'out'}; open {tmp_path / 'out' / 'compare.html'}" in words(result)
    assert names(tmp_path / "out") == FILES
    assert [snapshot(folder) for folder in runs] == before
    found = compare(read_run(a), read_run(b))
    for name, table in found.tables.items():
        stored = read_csv(COMPARISON_TABLES[name], tmp_path / "out" / f"{name}.csv")
        assert len(stored) == len(table)
        assert stored.astype(str).equals(table.astype(str)), name
    text = (tmp_path / "out" / "compare.json").read_text()
    assert strict_json(text) == json.loads(json.dumps(found.as_json()))


def test_the_page_shows_the_same(runs, tmp_path):
    ctr("compare", *runs, "--out", tmp_path / "out")
    page = (tmp_path / "out" / "compare.html").read_text()
    for text in ("min_enrichment.1", "markers of Immune Cells / T Cells", "anti_weight",
                 str(runs[0]), str(runs[1])):  # fmt: skip
        assert text in page
    assert 'src="http' not in page
    assert "<script" not in page


def test_json_and_files_together(runs, tmp_path):
    result = ctr("compare", *runs, "--json", "--out", tmp_path / "out")
    assert strict_json(result.stdout) == strict_json(
        (tmp_path / "out" / "compare.json").read_text()
    )


def test_nothing_is_written_without_a_folder(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = [snapshot(folder) for folder in runs]
    assert ctr("compare", *runs).exit_code == 0
    assert ctr("compare", *runs, "--json").exit_code == 0
    assert [snapshot(folder) for folder in runs] == before
    assert names(tmp_path) == set()


def test_other_clusters_are_said_to_be_other(runs, tmp_path):
    write_inputs(tmp_path)
    adata = good_sample()
    adata.obs["mine"] = ["left" if i % 2 else "right" for i in range(120)]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    b = made(tmp_path, "--annotation-only", "--cluster-key", "mine")
    said = words(ctr("compare", runs[0], b))
    assert "% of it)" in said
    assert "because of: other clusters; what differs:" in said
    assert "cluster_key" in said
    assert "clustered anew" in said
    assert "?" in said


def test_some_cells_in_common(runs, tmp_path):
    write_inputs(tmp_path)
    adata = good_sample()
    adata.obs_names = [f"x{i}" if i >= 90 else name for i, name in enumerate(adata.obs_names)]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    said = words(ctr("compare", runs[0], made(tmp_path)))
    assert "0 of 90 cells (0.0%)" in said
    assert "Only in A: 30 cells; only in B: 30." in said


def test_the_same_label_in_another_branch_is_shown_with_its_path(tmp_path):
    write_inputs(tmp_path, GOOD_MAP)
    a = made(tmp_path, out="a")
    moved = GOOD_MAP.replace('"Immune Cells"', '"Blood"')
    (tmp_path / "map.json").write_text(moved)
    said = words(ctr("compare", a, made(tmp_path, out="b")))
    assert "Cluster 1: Immune Cells / T Cells -> Blood / T Cells (40 cells)" in said
    assert "because of: Immune Cells renamed" in said


def test_unassigned_is_told_from_nothing_in_the_file(tmp_path):
    """Cluster "new" has no cell of run A; that of "old" was Unassigned there."""
    write_inputs(tmp_path)
    adata = good_sample()
    adata.obs["mine"] = ["new" if i < 30 else "old" for i in range(120)]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    known = ("--annotation-only", "--cluster-key", "mine")
    b = made(tmp_path, *known, out="b")
    adata.obs_names = [f"x{name}" if i < 30 else name for i, name in enumerate(adata.obs_names)]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    a = made(tmp_path, *known, "--gating-params", '{"min_enrichment": {"0": 50}}', out="a")
    ctr("compare", a, b, "--out", tmp_path / "out")
    table = read_csv(COMPARISON_TABLES["cluster_changes"], tmp_path / "out" / "cluster_changes.csv")
    rows = table.set_index("cluster_b")
    assert rows.loc["old", ["label_a", "path_a"]].tolist() == ["Unassigned", ""]
    assert rows.loc["new", ["label_a", "path_a"]].tolist() == [None, ""]


def test_names_are_shown_as_they_are(tmp_path):
    """Neither the terminal nor the page reads them as markup."""
    odd = "[bold]T[/bold] <b>&amp;"
    write_inputs(tmp_path)
    a = made(tmp_path, out="a")
    (tmp_path / "map.json").write_text(GOOD_MAP.replace("T Cells", odd))
    b = made(tmp_path, out="b")
    result = ctr("compare", a, b, "--out", tmp_path / "out")
    assert f"Cluster 1: T Cells -> {odd} (40 cells)" in words(result)
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "[bold]T[/bold] &lt;b&gt;&amp;amp;" in page
    assert "<b>&amp;" not in page
    assert f"Cluster 1: {odd}" in words(ctr("explain", b, "--cluster", "1"))
    assert odd in words(ctr("tune", b, "--gating", "min_enrichment.0=0,50"))


# ---------------------------------------------------------------------- what is refused


def refused(*arguments: object) -> str:
    result = ctr(*arguments)
    assert result.exit_code == 1, words(result)
    assert result.stdout == ""
    assert "Traceback" not in words(result)
    return words(result)


@pytest.mark.parametrize("place", [0, 1])
def test_a_folder_that_is_no_run(place, runs, tmp_path):
    pair = list(runs)
    pair[place] = tmp_path / "nowhere"
    assert "nowhere does not exist; name a folder that ctr annotate wrote" in refused(
        "compare", *pair
    )
    (tmp_path / "nowhere").mkdir()
    assert "has no run.json, so it is not whole" in refused("compare", *pair)


def test_clusters_without_labels(runs, tmp_path):
    write_inputs(tmp_path)
    ctr("annotate", tmp_path / "sample.h5ad", "--clustering-only", "--out", tmp_path / "out")
    assert "holds clusters without labels" in refused("compare", runs[0], tmp_path / "out")


def test_a_run_that_was_changed(runs, tmp_path):
    shutil.copytree(runs[1], tmp_path / "b")
    (tmp_path / "b" / "annotations.csv").write_text("cell_id\n")
    found = refused("compare", runs[0], tmp_path / "b", "--out", tmp_path / "out")
    assert "annotations.csv was changed since the run; annotate the sample again" in found
    assert not (tmp_path / "out").exists()


def test_no_cell_in_common(runs, tmp_path):
    write_inputs(tmp_path)
    adata = good_sample()
    adata.obs_names = [f"x{i}" for i in range(120)]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    found = refused("compare", runs[0], made(tmp_path), "--out", tmp_path / "compared")
    assert "share no cell; compare two runs on the same sample" in found
    assert not (tmp_path / "compared").exists()


def test_one_run_is_not_enough(runs):
    assert ctr("compare", runs[0]).exit_code == 2
    assert "RUN_B" in words(ctr("compare", runs[0]))


def test_an_output_that_cannot_be_used_is_refused_before_the_work(runs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "run.json").write_text("[1]")
    monkeypatch.setattr("ctr_engine.io.runs.read_run", lambda _: pytest.fail("it began"))
    found = refused("compare", *runs, "--out", tmp_path / "file")
    assert "file is a file; name a folder with --output-dir" in found
    found = refused("compare", *runs, "--out", tmp_path / "foreign")
    assert "is not a manifest of ctr; name another folder with --output-dir" in found
    assert names(tmp_path) == {"file", "foreign/run.json"}
    assert (tmp_path / "file").read_text() == "mine"


def test_what_an_earlier_comparison_left_is_replaced_and_the_rest_stays(runs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "label_flow.csv").write_text("half a ta")
    ctr("compare", *runs, "--out", out)
    assert names(out) == FILES | {"notes.txt"}
    read_csv(COMPARISON_TABLES["label_flow"], out / "label_flow.csv")
    ctr("compare", runs[0], runs[0], "--out", out)
    assert len(read_csv(COMPARISON_TABLES["cell_changes"], out / "cell_changes.csv")) == 0


def test_a_failed_run_is_not_compared(runs, tmp_path):
    write_inputs(tmp_path)
    assert annotate(tmp_path, "--layer", "raw").exit_code == 1
    assert "does not exist" in refused("compare", runs[0], tmp_path / "out")
