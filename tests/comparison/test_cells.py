"""Agreement of two runs about their cells, against counts by hand and plain loops."""

from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest

from ctr_engine.comparison.cells import (
    agreement,
    cell_changes,
    label_flow,
    label_overlap,
    shared_cells,
)
from ctr_engine.errors import CtrError
from ctr_engine.stored import StoredRun

PATHS = {"r": "R", "x": "R / X", "s": "S", "u": "", "a": "R~S"}


def run(name: str, cells: dict[str, tuple[str, str]]) -> StoredRun:
    """Run with a cluster and a path for each cell, and nothing else."""
    table = pd.DataFrame(
        [(cell, cluster, path) for cell, (cluster, path) in cells.items()],
        columns=["cell_id", "cluster_lvl0", "cell_type_auto_path"],
    )
    return StoredRun(name, None, None, None, {"annotations": table})


def pair(letters_a: str, letters_b: str, ids_a: str = "", ids_b: str = ""):
    """Two runs on the same cells: one letter of a path, and one of a cluster, for each cell."""
    runs = []
    for name, letters, ids in (("a", letters_a, ids_a), ("b", letters_b, ids_b)):
        clusters = ids or letters
        cells = zip(clusters, letters, strict=True)
        runs.append(run(name, {f"c{i}": (k, PATHS[p]) for i, (k, p) in enumerate(cells)}))
    return runs[0], runs[1]


def measured(a: StoredRun, b: StoredRun):
    cells = shared_cells(a, b)
    return agreement(a, b, cells, label_overlap(cells))


def rand_index_of_pairs(first: list[str], second: list[str]) -> float:
    """Adjusted Rand index, pair of cells by pair of cells (Hubert & Arabie 1985)."""
    together = [0, 0, 0]
    for i, j in combinations(range(len(first)), 2):
        in_first, in_second = first[i] == first[j], second[i] == second[j]
        together[0] += in_first and in_second
        together[1] += in_first
        together[2] += in_second
    both, one, other = together
    expected = one * other / comb(len(first), 2)
    most = (one + other) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def test_cells_are_matched_by_their_names():
    a = run("a", {"c1": ("0", "R"), "c2": ("1", "S"), "only a": ("1", "S")})
    b = run("b", {"c2": ("0", "R"), "c1": ("0", "R"), "b 1": ("2", ""), "b 2": ("2", "")})
    cells = shared_cells(a, b)
    assert list(cells.columns) == ["cell_id", "cluster_a", "cluster_b", "path_a", "path_b"]
    assert cells.to_numpy().tolist() == [["c1", "0", "0", "R", "R"], ["c2", "1", "0", "S", "R"]]
    found = agreement(a, b, cells, label_overlap(cells))
    assert (found.n_cells, found.n_cells_changed) == (2, 1)
    assert (found.n_cells_only_a, found.n_cells_only_b) == (1, 2)
    assert cell_changes(cells).to_numpy().tolist() == [["c2", "1", "0", "S", "R"]]


def test_runs_without_a_common_cell_cannot_be_compared():
    a, b = run("first", {"c1": ("0", "R")}), run("second", {"c2": ("0", "R")})
    expected = "^first and second share no cell; compare two runs on the same sample$"
    with pytest.raises(CtrError, match=expected):
        shared_cells(a, b)


def test_the_flow_counts_cells_by_pairs_of_labels():
    a, b = pair("rrrrrxssu", "rrrxxxsru")
    flow = label_flow(shared_cells(a, b))
    assert flow.to_numpy().tolist() == [
        ["R", "R", "R", "R", 3, 3 / 5, False],
        ["R", "R", "X", "R / X", 2, 2 / 5, True],
        ["Unassigned", "", "Unassigned", "", 1, 1.0, False],
        ["X", "R / X", "X", "R / X", 1, 1.0, False],
        ["S", "S", "R", "R", 1, 0.5, True],
        ["S", "S", "S", "S", 1, 0.5, False],
    ]


def test_the_jaccard_index_of_each_label():
    a, b = pair("rrrrrxssu", "rrrxxxsra")
    table = label_overlap(shared_cells(a, b))
    assert table.to_numpy().tolist() == [
        ["R", "R", 5, 4, 3, 3 / 6],
        ["X", "R / X", 1, 3, 1, 1 / 3],
        ["S", "S", 2, 1, 1, 1 / 2],
        ["Unassigned", "", 1, 0, 0, 0.0],
        ["R~S", "R~S", 0, 1, 0, 0.0],
    ]
    assert measured(a, b).mean_jaccard == pytest.approx((3 / 6 + 1 / 3 + 1 / 2) / 5)


def test_two_equal_runs_agree_in_everything():
    a, b = pair("rrxssu", "rrxssu")
    found = measured(a, b)
    assert (found.n_cells, found.n_cells_changed) == (6, 0)
    assert (found.ari_labels, found.ari_clusters, found.mean_jaccard) == (1.0, 1.0, 1.0)
    assert cell_changes(shared_cells(a, b)).empty
    assert not label_flow(shared_cells(a, b))["changed"].any()


def test_other_names_of_the_same_groups_are_no_disagreement_of_the_clusters():
    a, b = pair("rrrsss", "sssrrr", ids_a="000111", ids_b="777333")
    found = measured(a, b)
    assert (found.ari_labels, found.ari_clusters) == (1.0, 1.0)
    assert found.n_cells_changed == 6
    assert found.mean_jaccard == 0


def test_the_index_counted_by_hand():
    """Of 6 pairs, 1 lies together in both, 2 in the first, 3 in the second; 2 * 3 / 6 is chance."""
    a, b = pair("rrss", "rrss", ids_a="0011", ids_b="0001")
    assert rand_index_of_pairs(list("0011"), list("0001")) == pytest.approx((1 - 1) / 1.5)
    assert measured(a, b).ari_clusters == pytest.approx(0.0)
    a, b = pair("rrrss", "rrsss", ids_a="00111", ids_b="00112")
    assert measured(a, b).ari_clusters == pytest.approx((2 - 0.8) / (3 - 0.8))


@pytest.mark.parametrize("seed", range(8))
def test_the_numbers_of_random_runs_are_those_of_plain_loops(seed):
    rng = np.random.default_rng(seed)
    letters = ["".join(rng.choice(list(PATHS), 40)) for _ in range(2)]
    ids = ["".join(rng.choice(list("0123"), 40)) for _ in range(2)]
    a, b = pair(*letters, *ids)
    cells, found = shared_cells(a, b), measured(a, b)
    assert found.ari_labels == pytest.approx(rand_index_of_pairs(*map(list, letters)))
    assert found.ari_clusters == pytest.approx(rand_index_of_pairs(*map(list, ids)))
    counts: dict[tuple[str, str], int] = {}
    for one, other in zip(*letters, strict=True):
        key = (PATHS[one], PATHS[other])
        counts[key] = counts[key] + 1 if key in counts else 1
    flow = label_flow(cells)
    pairs = zip(flow["path_a"], flow["path_b"], strict=True)
    assert dict(zip(pairs, flow["n_cells"], strict=True)) == counts
    assert flow["n_cells"].is_monotonic_decreasing
    for row in label_overlap(cells).to_dict("records"):
        sides = [{i for i, x in enumerate(text) if PATHS[x] == row["path"]} for text in letters]
        assert row["n_cells_both"] == len(sides[0] & sides[1])
        assert row["jaccard"] == len(sides[0] & sides[1]) / len(sides[0] | sides[1])
    assert len(cell_changes(cells)) == found.n_cells_changed


def test_the_order_of_the_cells_changes_nothing():
    a, b = pair("rrrrrxssu", "rrrxxxsru")
    turned = StoredRun("b", None, None, None, {"annotations": b.tables["annotations"][::-1]})
    assert measured(a, turned) == measured(a, b)
    pd.testing.assert_frame_equal(
        label_flow(shared_cells(a, turned)), label_flow(shared_cells(a, b))
    )
