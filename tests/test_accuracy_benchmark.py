"""The benchmark of accuracy: on a made folder whose figures are known, and on one real set."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.baselines import mean_z, sctype_like, ulm
from benchmarks.accuracy.labelled import labelled_folders
from benchmarks.accuracy.openset import without
from tests.bad_inputs import GOOD_MAP, good_sample, write_labelled
from tests.builders import marker_map, resolved
from tests.oracles.ulm import t_of_slope

GOLD = {
    "epi": ["Epithelium"],
    "t": ["Immune Cells", "T Cells"],
    "b": ["Immune Cells", "B Cells"],
    "?": None,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """One folder with three kinds of cells that every method tells apart; some are not scored."""
    directory = tmp_path_factory.mktemp("labelled")
    adata = good_sample(180)
    kinds = [["epi", "t", "b"][i % 3] for i in range(adata.n_obs)]
    adata.obs["cell_type"] = ["?" if i % 20 == 0 else kind for i, kind in enumerate(kinds)]
    write_labelled(directory / "made", adata, GOLD)
    return directory


def test_all_methods_are_measured_written_and_drawn(made, tmp_path):
    found = main([str(made), "--seeds", "1", "2", "--out", str(tmp_path / "out")])
    table = found["by_method"]
    assert {name for name, _ in table.index} >= {
        "best that clusters allow",
        "mean z",
        "scType-like",
        "ULM (decoupler)",
        "reference, Stage H",
        "reference, refined",
        "adaptive, Stage H",
        "adaptive, refined",
    }
    exact = table["exact"]
    assert exact["best that clusters allow", "clusters"] == 1
    assert exact["adaptive, Stage H", "clusters"] == 1
    assert exact["adaptive, refined", "cells"] == 1
    assert found["labels"]["n_cells"].unique().tolist() == [171]
    assert found["support"]["clusters"].tolist() == [6, 6]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "labels.csv", "supports.csv", "open_set.csv", "by_method.csv", "support.csv",
        "unknown_types.csv", "accuracy.png",
    }  # fmt: skip
    removed = pd.read_csv(tmp_path / "out" / "open_set.csv")
    assert set(removed["removed"]) == {
        "Epithelium",
        "Immune Cells / B Cells",
        "Immune Cells / T Cells",
    }
    shares = removed[["coverage", "refused_by_label", "refused_by_support"]].to_numpy()
    assert ((shares >= 0) & (shares <= 1)).all()


def test_baselines_are_counted_by_hand():
    content = {
        "P": {"markers": ["A", "B"], "anti_markers": ["C"]},
        "Q": {"markers": ["B"]},
    }
    nodes = list(resolved(content, "ABC").nodes)
    values = np.array([[3.0, 1.0, 4.0]])
    assert mean_z(values, nodes).tolist() == [[2.0, 1.0]]
    # B is of both: weight 1 - 1 / 1 = 0; P: (3 + 0) / sqrt(2) - 4; Q: 0
    assert sctype_like(values, nodes).tolist() == [[pytest.approx(3 / 2**0.5 - 4), 0.0]]


def test_a_type_is_removed_with_all_below_it():
    given = marker_map(json.loads(GOOD_MAP))
    reduced = without(given, "Immune Cells / T Cells")
    assert [node.path for node in reduced.nodes] == [
        "Epithelium",
        "Immune Cells",
        "Immune Cells / B Cells",
    ]
    assert [node.path for node in without(given, "Immune Cells").nodes] == ["Epithelium"]
    assert without(marker_map({"A": {"markers": ["B"]}}), "A") is None


def test_folders_that_are_not_there_are_told(made, tmp_path):
    with pytest.raises(SystemExit, match=r"no \*/data.h5ad in"):
        labelled_folders(tmp_path)
    with pytest.raises(SystemExit, match="has no other"):
        labelled_folders(made, ["made", "other"])


@pytest.mark.slow
def test_adaptive_labels_of_real_cells_beat_the_other_methods(shared):
    directory = str(shared / "data")
    found = main([directory, "--sets", "blood_marrow_scrna", "--seeds", "1", "--no-open-set"])
    table = found["by_method"]
    best = table.loc[("adaptive, refined", "cells")]
    others = [
        name for name in table.index if name[0] in ("mean z", "scType-like", "ULM (decoupler)")
    ]
    assert len(others) == 3
    for name in (*others, ("reference, refined", "cells")):
        assert best["exact"] > table.loc[name, "exact"] + 0.02
        assert best["hierarchical_f"] > table.loc[name, "hierarchical_f"] + 0.01
    assert best["unassigned"] <= 0.02


def test_ulm_is_that_of_a_regression_on_the_markers():
    content = {"P": {"markers": ["A", "B"]}, "Q": {"markers": ["C"]}}
    nodes = list(resolved(content, "ABCDE").nodes)
    values = np.random.default_rng(0).normal(size=(3, 5))
    expected = [
        [t_of_slope([1, 1, 0, 0, 0], row), t_of_slope([0, 0, 1, 0, 0], row)]
        for row in values.tolist()
    ]
    assert ulm(values, nodes) == pytest.approx(np.array(expected))
