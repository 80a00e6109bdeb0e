"""``ctr consensus`` as a user types it: clusterings whose differences were counted beforehand."""

import json
import shlex
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from ctr_engine.reporting.consensus_figure import runs_that_found
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.test_annotate import ctr, words

pytestmark = pytest.mark.usefixtures("quickly")

KINDS = ("Epithelium", "T Cells", "B Cells")
N = 120


@pytest.fixture(scope="module")
def run(quickly, tmp_path_factory) -> Path:
    """Cell i is epithelium, T or B by i % 3.

    Two clusterings have each kind in a cluster of its own; the third puts every 12th cell, which
    is epithelium, to the T cells.
    """
    folder = tmp_path_factory.mktemp("consensus")
    adata = good_sample(N)
    adata.obs["first"] = [str(i % 3) for i in range(N)]
    adata.obs["second"] = ["xyz"[i % 3] for i in range(N)]
    adata.obs["third"] = ["b" if i % 12 == 0 else "abc"[i % 3] for i in range(N)]
    adata.obs["rows"] = [str(i // 12) for i in range(N)]
    adata.obs["holes"] = ["a"] * (N - 2) + [None] * 2
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(GOOD_MAP)
    files = (folder / "sample.h5ad", "--marker-map", folder / "map.json", "--out", folder / "out")
    result = ctr("annotate", *files, "--annotation-only", "--cluster-key", "first")
    assert result.exit_code == 0, words(result)
    return folder


def consensus(run: Path, *flags, results: str = "out"):
    return ctr("consensus", run / results, *flags)


@pytest.fixture(scope="module")
def agreed(run) -> Path:
    result = consensus(run, "--keys", "first,second,third", "--out", run / "agreed")
    assert result.exit_code == 0, words(result)
    return run / "agreed"


def test_each_cell_has_the_cluster_of_most_runs_and_the_share_of_them(agreed):
    table = pd.read_csv(agreed / "consensus_clusters.csv", dtype={"cluster_id": str})
    assert table["cluster_id"].tolist() == [str(i % 3) for i in range(N)]
    moved = [i % 12 == 0 for i in range(N)]
    assert table["is_conflict"].tolist() == moved
    expected = [2 / 3 if one else 1.0 for one in moved]
    np.testing.assert_allclose(table["consensus_stability"], expected)


def test_each_cluster_says_how_often_it_was_found(agreed):
    """The third run has 30 of 40 epithelia, and 40 of the 50 cells of its T cells are T cells."""
    table = pd.read_csv(agreed / "consensus_summary.csv")
    assert table["n_cells"].tolist() == [40, 40, 40]
    assert table["n_conflicts"].tolist() == [10, 0, 0]
    np.testing.assert_allclose(table["mean_jaccard"], [(2 + 30 / 40) / 3, (2 + 40 / 50) / 3, 1.0])
    assert table["n_runs_found"].tolist() == [3, 3, 3]


def test_labels_say_in_how_many_runs_they_are_the_same(agreed):
    table = pd.read_csv(agreed / "consensus_labels.csv")
    assert table["cell_type_consensus"].tolist() == [KINDS[i % 3] for i in range(N)]
    expected = [2 / 3 if i % 12 == 0 else 1.0 for i in range(N)]
    np.testing.assert_allclose(table["label_stability"], expected)


def test_the_sample_has_all_of_it_and_can_be_annotated_on_it(agreed, run, tmp_path):
    obs = anndata.read_h5ad(agreed / "consensus.h5ad").obs
    assert obs["consensus_cluster"].tolist() == [str(i % 3) for i in range(N)]
    assert obs["cell_type_consensus"].tolist() == [KINDS[i % 3] for i in range(N)]
    for name in ("consensus_stability", "label_stability"):
        assert obs[name].tolist() == [2 / 3 if i % 12 == 0 else 1.0 for i in range(N)]
    shown = words(consensus(run, "--keys", "first,third", "--out", tmp_path / "my folder"))
    command = shlex.split(shown.partition("Annotate on these clusters: ctr ")[2])
    given = command[: command.index("--output-dir")]
    result = ctr(*given, "--output-dir", tmp_path / "next")
    assert result.exit_code == 0, words(result)
    labels = pd.read_csv(tmp_path / "next" / "annotations.csv")["cell_type_auto"]
    assert labels.tolist() == [KINDS[i % 3] for i in range(N)]


def test_what_was_done_is_told(agreed, run):
    told = json.loads((agreed / "consensus.json").read_text())
    assert [one["key"] for one in told["runs"]] == ["first", "second", "third"]
    assert told["clusters_of_runs"] == [3, 3, 3]
    assert (told["n_cells"], told["n_clusters"], told["n_conflicts"]) == (N, 3, 10)
    assert told["mean_label_stability"] == pytest.approx(1 - 10 / (3 * N))
    assert (agreed / "consensus.png").read_bytes()[:4] == b"\x89PNG"
    shown = words(consensus(run, "--keys", "first,third"))
    assert "120 cells; 2 runs of 3 to 3 clusters -> 3 clusters. 10 cells were put" in shown
    assert "Nothing was written; add --output-dir DIR to keep the result." in shown


def test_leiden_is_run_with_other_seeds_where_no_columns_are_named(run, tmp_path):
    flags = ("--runs", "4", "--resolutions", "0.3,0.6", "--skip-labels", "--out", tmp_path / "own")
    result = consensus(run, *flags)
    assert result.exit_code == 0, words(result)
    told = json.loads((tmp_path / "own" / "consensus.json").read_text())
    how = [(one["random_state"], one["resolution"]) for one in told["runs"]]
    assert how == [(1337, 0.3), (1338, 0.6), (1339, 0.3), (1340, 0.6)]
    assert told["mean_label_stability"] is None
    assert not (tmp_path / "own" / "consensus_labels.csv").exists()
    assert "label_stability" not in anndata.read_h5ad(tmp_path / "own" / "consensus.h5ad").obs


def test_the_parameter_file_counts_and_a_flag_counts_more(run, tmp_path):
    (tmp_path / "ctr.yaml").write_text("consensus: {n_runs: 3, max_lump: 0.6}\n")
    flags = ("--config", tmp_path / "ctr.yaml", "--skip-labels", "--out", tmp_path / "own")
    assert consensus(run, *flags).exit_code == 0
    told = json.loads((tmp_path / "own" / "consensus.json").read_text())
    assert (told["parameters"]["n_runs"], told["parameters"]["max_lump"]) == (3, 0.6)
    assert consensus(run, *flags, "--runs", "2").exit_code == 0
    told = json.loads((tmp_path / "own" / "consensus.json").read_text())
    assert (told["parameters"]["n_runs"], told["parameters"]["max_lump"]) == (2, 0.6)


def test_runs_that_are_all_the_same_are_a_warning(run):
    result = consensus(run, "--keys", "first,second", "--skip-labels")
    assert "All runs are the same clustering, so that their stability says nothing." in words(
        result
    )
    assert "runs are the same" not in words(consensus(run, "--keys", "first,third"))


def test_runs_that_have_little_in_common_are_a_warning(run):
    result = consensus(run, "--keys", "first,rows", "--skip-labels")
    assert "The runs have little in common: for 100% of the cells as many speak" in words(result)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--keys", "first,other"], "obs has no column 'other'; it has: first, second, third"),
        (["--keys", "first,holes"], "obs['holes'] has no cluster for 2 cells"),
        (["--keys", "first"], "--keys names two or more columns; got 'first'"),
        (["--keys", "first,first"], "--keys names two or more columns"),
        (["--keys", "first,third", "--runs", "5"], "drop it, or --runs and --resolutions"),
        (["--resolutions", "0.4,high"], "numbers such as 0.4,0.6,1; got 'high'"),
        (["--resolutions", ","], "numbers such as 0.4,0.6,1; got ''"),
        (["--resolutions", "0"], "should be greater than 0"),
        (["--runs", "101"], "should be less than or equal to 100"),
    ],
)
def test_what_cannot_be_followed_is_refused(flags, expected, run, tmp_path):
    result = consensus(run, *flags, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert expected in words(result)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_results_is_not_written_into(run, agreed):
    result = consensus(run, "--keys", "first,third", "--out", run / "out")
    assert "holds the results of a run; name another folder" in words(result)
    source = agreed / "consensus.h5ad"
    result = ctr("consensus", source, "--keys", "first,third", "--out", agreed)
    assert "holds the input; name another --output-dir" in words(result)


def test_a_sample_that_was_not_annotated_is_refused(run):
    result = consensus(run, results="sample.h5ad")
    assert result.exit_code == 1
    assert "name what ctr annotate wrote" in words(result)


def test_the_figure_names_clusters_and_says_what_it_leaves_out():
    jaccard = np.linspace(0, 1, 50 * 40).reshape(50, 40)
    figure = runs_that_found(jaccard, list(range(50, 0, -1)))
    axes = figure.axes[0]
    assert axes.get_yticklabels()[0].get_text() == "0  (50)"
    assert (len(axes.get_yticklabels()), len(axes.get_xticklabels())) == (40, 30)
    assert "(of 50 clusters and 40 runs, the first)" in axes.get_title()
    small = runs_that_found(np.array([[0.25, 1.0]]), [7]).axes[0]
    assert [text.get_text() for text in small.texts] == ["25", "100"]
    assert "the first" not in small.get_title()
