"""The benchmark of accuracy: on a made folder whose figures are known, and on one real set."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy.__main__ import by_chance, main
from benchmarks.accuracy.astir_labels import astir_paths
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
    stages = table.loc["mean z"].index.tolist()
    assert stages == ["clusters", "cells"]
    exact = table["exact"]
    assert exact["best that clusters allow", "clusters"] == 1
    assert exact["adaptive, Stage H", "clusters"] == 1
    assert exact["adaptive, refined", "cells"] == 1
    assert found["labels"]["n_cells"].unique().tolist() == [171]
    support = found["support"]
    assert support[["profile", "step"]].to_numpy().tolist() == [
        ["reference", "Stage H"],
        ["reference", "refined"],
        ["adaptive", "Stage H"],
        ["adaptive", "refined"],
    ]
    assert support["clusters"].tolist()[::2] == [6, 6]
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


def test_the_error_of_a_right_support_is_that_of_chance():
    # one bin: the share of right ones among n has the mean deviation of a binomial share
    half = np.full(4, 0.55)
    expected = sum(
        math.comb(4, k) * 0.55**k * 0.45 ** (4 - k) * abs(k / 4 - 0.55) for k in range(5)
    )
    assert by_chance(half) == pytest.approx(expected, abs=0.03)
    assert by_chance(np.ones(9)) == 0


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


ASTIR = """
import pandas as pd


class Astir:
    def __init__(self, frame, marker_dict, random_seed):
        self.frame, self.types, self.seed = frame, marker_dict["cell_type"], random_seed

    def fit_type(self):
        means = {name: self.frame[own].mean(axis=1) - 1 for name, own in self.types.items()}
        self.found = pd.DataFrame(means)
        self.found["Other"] = 0.0 if self.seed == 1 else 9.0

    def get_celltype_probabilities(self):
        return self.found
"""


def test_astir_is_asked_in_its_own_environment(made, tmp_path, monkeypatch):
    # PyTorch is too large for the tests: a module with the same three calls stands in for Astir
    (tmp_path / "astir.py").write_text(ASTIR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (one,) = labelled_folders(made)
    kinds = [
        ["Epithelium", "Immune Cells / T Cells", "Immune Cells / B Cells"][i % 3]
        for i in range(180)
    ]
    found = astir_paths(one, 1, Path(sys.executable))
    assert np.mean([a == b for a, b in zip(found, kinds, strict=True)]) > 0.95
    assert set(astir_paths(one, 2, Path(sys.executable))) == {""}
    asked = [str(made), "--seeds", "1", "--no-open-set", "--astir", sys.executable]
    assert main(asked)["by_method"].loc[("Astir", "cells"), "exact"] > 0.95


def test_an_environment_without_astir_is_told(made):
    (one,) = labelled_folders(made)
    with pytest.raises(SystemExit, match="could not run Astir: ModuleNotFoundError: No module"):
        astir_paths(one, 1, Path(sys.executable))
    with pytest.raises(SystemExit, match="--astir: there is no interpreter nowhere; name that of"):
        astir_paths(one, 1, Path("nowhere"))


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
    assert len(others) == 6
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
