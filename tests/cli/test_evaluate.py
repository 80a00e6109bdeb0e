"""``ctr evaluate`` as a user types it: cells whose known labels were counted beforehand."""

import json

import pandas as pd
import pytest

from ctr_engine.reporting.confusion_figure import confusion
from ctr_engine.tables import Accuracy, Confusion, checked, from_rows
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.builders import marker_map
from tests.cli.test_annotate import ctr, words

GOLD = {
    "epi": "Epithelium",
    "t": ["Immune Cells", "T Cells"],
    "b": "Immune Cells / B Cells",
    "?": None,
}

pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def run(quickly, tmp_path_factory):
    """Results of Stage H: cell i is epithelium, T or B by i % 3, and known to be so.

    Every tenth cell has no known label, every tenth but one is known as nothing that is scored.
    """
    folder = tmp_path_factory.mktemp("evaluate")
    adata = good_sample()
    known = [["epi", "t", "b"][i % 3] for i in range(adata.n_obs)]
    adata.obs["known"] = [
        None if i % 10 == 0 else "?" if i % 10 == 1 else one for i, one in enumerate(known)
    ]
    adata.obs["mine"] = [str(i % 3) for i in range(adata.n_obs)]
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(GOOD_MAP)
    (folder / "gold.json").write_text(json.dumps(GOLD))
    flags = ("--annotation-only", "--cluster-key", "mine", "--profile", "adaptive")
    files = (folder / "sample.h5ad", "--marker-map", folder / "map.json", "--out", folder / "out")
    result = ctr("annotate", *files, *flags)
    assert result.exit_code == 0, words(result)
    return folder


def evaluate(run, *flags, gold="gold.json", truth="known", results="out"):
    files = (run / results, "--truth", truth, "--truth-map", run / gold)
    return ctr("evaluate", *files, *flags)


def test_labels_are_compared_and_written(run, tmp_path):
    result = evaluate(run, "--json", "--out", tmp_path / "seen")
    assert result.exit_code == 0, words(result)
    found = json.loads(result.stdout)
    table = pd.read_csv(tmp_path / "seen" / "accuracy.csv")
    assert table["labels"].tolist() == ["cell_type_auto", "cell_type_cell"]
    assert table["n_cells"].unique().tolist() == [96]
    assert [row["exact"] for row in found["accuracy"]] == table["exact"].tolist()
    assert table.loc[0, "exact"] == 1.0, "each cluster is one cell type"
    assert (found["ceiling"], found["support"]["n_clusters"]) == (1.0, 3)
    assert found["support"]["auroc"] is None
    pairs = pd.read_csv(tmp_path / "seen" / "confusion_cell_type_auto.csv")
    assert pairs[["true_path", "assigned_path", "n_cells", "share"]].to_numpy().tolist() == [
        ["Epithelium", "Epithelium", 32, 1.0],
        ["Immune Cells / B Cells", "Immune Cells / B Cells", 32, 1.0],
        ["Immune Cells / T Cells", "Immune Cells / T Cells", 32, 1.0],
    ]
    assert (tmp_path / "seen" / "confusion_cell_type_cell.png").read_bytes()[:4] == b"\x89PNG"


def test_labels_after_refinement_are_compared_as_well(run, tmp_path):
    source = run / "out" / "coarse_clusters.h5ad"
    result = ctr("refine", source, "--auto", "--execute", "--out", tmp_path / "refined")
    assert result.exit_code == 0, words(result)
    found = json.loads(evaluate(run, "--json", results=tmp_path / "refined").stdout)["accuracy"]
    names = [row["labels"] for row in found]
    assert names == ["cell_type_auto", "cell_type_lvl1", "cell_type_cell"]


def test_a_person_is_told_in_a_table(run):
    told = words(evaluate(run))
    assert "96 cells with a known label; the best that the clusters allow: 1.000 exact." in told
    assert "Support of 3 clusters: no order to speak of" in told


def test_other_names_of_the_types_give_other_figures(run):
    swapped = GOLD | {"t": "Immune Cells / B Cells", "b": "Immune Cells"}
    (run / "swapped.json").write_text(json.dumps(swapped))
    found = json.loads(evaluate(run, "--json", gold="swapped.json").stdout)["accuracy"][0]
    # T known as B: a shared parent; B known as its parent: one claimed too many
    assert found["exact"] == pytest.approx(1 / 3)
    assert found["hierarchical_precision"] == pytest.approx((1 + 1 + 1) / (1 + 2 + 2))
    assert found["hierarchical_recall"] == pytest.approx((1 + 1 + 1) / (1 + 2 + 1))


def test_faults_are_told(run, tmp_path):
    told = words(evaluate(run, truth="celltype"))
    assert "obs has no column 'celltype'; it has:" in told
    (run / "short.json").write_text(json.dumps({"epi": "Epithelium", "t": "T Cell"}))
    told = words(evaluate(run, gold="short.json"))
    assert "2 labels of the sample are not in the file: '?', 'b'." in told
    assert "the marker map has no cell type 'T Cell'; nearest:" in told
    (run / "none.json").write_text(json.dumps(dict.fromkeys(GOLD)))
    result = evaluate(run, gold="none.json")
    assert "scores no cell of" in words(result)
    assert result.exit_code == 1
    assert "there is no such file" in words(evaluate(run, gold="missing.json"))
    assert "there is no such folder" in words(evaluate(run, results="gone"))
    into_a_run = evaluate(run, "--out", run / "out")
    assert into_a_run.exit_code == 1
    assert f"{run / 'out'} holds" in words(into_a_run)
    assert not (run / "out" / "evaluation.json").exists()


def test_the_tables_have_their_schema():
    rows = [{"true_path": "A", "assigned_path": "", "n_cells": 2, "share": 1.0}]
    checked(Confusion, from_rows(Confusion, rows))
    assert next(iter(from_rows(Accuracy, []).columns)) == "labels"


def test_rows_and_columns_of_the_figure_are_in_the_order_of_the_map():
    content = {
        "Z": {"markers": ["A"], "subtypes": {"Y": {"markers": ["B"]}, "X": {"markers": ["C"]}}},
        "A": {"markers": ["D"]},
    }
    rows = [
        {"true_path": "A", "assigned_path": "", "n_cells": 1, "share": 1.0},
        {"true_path": "Z / X", "assigned_path": "Z", "n_cells": 1, "share": 0.5},
        {"true_path": "Z / X", "assigned_path": "Z~A", "n_cells": 1, "share": 0.5},
        {"true_path": "Z / Y", "assigned_path": "Z / Y", "n_cells": 4, "share": 1.0},
    ]
    figure = confusion(from_rows(Confusion, rows), marker_map(content))
    axes = figure.axes[0]
    assert [one.get_text() for one in axes.get_yticklabels()] == ["Y", "X", "A"]
    assert [one.get_text() for one in axes.get_xticklabels()] == ["Z", "Y", "Z~A", "Unassigned"]
    assert axes.images[0].get_array().tolist() == [[0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0, 1]]
