"""The benchmark of cells: on a made folder whose figures are known, and on one real set."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.cells.__main__ import main
from benchmarks.cells.consensus import auroc
from tests.bad_inputs import good_sample, write_labelled

GOLD = {"epi": ["Epithelium"], "t": ["Immune Cells", "T Cells"], "b": ["Immune Cells", "B Cells"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """One folder with three kinds of cells that come apart under every seed."""
    directory = tmp_path_factory.mktemp("labelled")
    adata = good_sample(180)
    adata.obs["cell_type"] = [["epi", "t", "b"][i % 3] for i in range(adata.n_obs)]
    write_labelled(directory / "made", adata, GOLD)
    return directory


def test_both_parts_are_measured_and_written(made, tmp_path):
    flags = ["--seeds", "1", "--runs", "3", "--resolutions", "0.3", "--out", str(tmp_path)]
    found = main([str(made), *flags])
    table = found["consensus"]
    assert table["resolutions"].str.len().tolist() == [3, 39], "one resolution, then ten in turn"
    for kind in ("clusters", "cells"):
        assert table[f"{kind}_consensus"].tolist() == [1, 1]
        assert table[f"{kind}_median_run"].tolist() == [1, 1]
    policies = found["two_pass"].set_index(["set", "policy"])
    assert {"none", "auto", "two-pass"} == set(found["two_pass"]["policy"])
    assert policies.loc[("made", "two-pass"), "exact_cells"] == 1
    assert (tmp_path / "cells_consensus.csv").exists()


def test_an_order_is_measured_among_cells_whose_label_is_known():
    value = np.array([0.9, 0.4, 0.5, 0.1])
    assert auroc(value, [True, False, True, True], ["a", "b", "c", ""]) == 1
    assert auroc(value, [True, False, True, True], ["a", "b", "c", "d"]) == pytest.approx(2 / 3)
    assert auroc(value, [True] * 4, ["a"] * 4) is None


def test_a_consensus_of_real_cells_is_no_worse_than_its_median_run(shared):
    flags = ["--only", "consensus", "--sets", "cortex_osmfish", "--seeds", "3"]
    row = main([str(shared / "data"), *flags])["consensus"].iloc[0]
    assert row["resolutions"] == "0.6"
    assert row["clusters_consensus"] >= row["clusters_median_run"]
    assert row["cells_consensus"] >= row["cells_median_run"]
    assert row["clusters_auroc_label_stability"] > 0.5
