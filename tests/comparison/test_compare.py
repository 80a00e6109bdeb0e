"""Two runs beside each other: with the same clusters, with others, with some of the cells."""

import json
import math

import pandas as pd
import pytest

from ctr_engine.comparison.compare import Comparison, compare
from ctr_engine.errors import CtrError
from ctr_engine.tables import COMPARISON_TABLES, checked
from tests.comparison.planted import RS, R, gating, level, scoring
from tests.comparison.runs import NO_BONUS, Cells, counted, stored

COUNTS = {"A": {"0": 4, "1": 10}, "B": {"2": 10}}
STRICT = level("min_enrichment", 0, 0.6)


def run(name: str, cells: Cells | None = None, content=RS, **raw):
    return stored(cells or counted(COUNTS), content, name, scoring=NO_BONUS, **raw)


def changes(result: Comparison) -> pd.DataFrame:
    return result.tables["cluster_changes"].set_index("cluster_b")


def test_identical_runs():
    result = compare(run("a"), run("b"))
    assert result.same_clusters
    assert result.n_clusters_changed == 0
    assert result.tables["differences"].empty
    assert result.tables["cell_changes"].empty
    assert result.agreement.ari_labels == 1
    table = changes(result)
    assert (table["cluster_a"] == table.index).all()
    assert (table["share_shared"] == 1).all()
    assert table["causes"].map(len).sum() == 0
    nothing = ["step_idx", "parent_path", "step", "causes_are"]
    assert table[nothing].isna().all().all()


def test_a_run_can_be_compared_with_itself():
    only = run("a")
    assert compare(only, only).n_clusters_changed == 0


def test_what_changed_where_and_why():
    result = compare(run("a"), run("b", **STRICT))
    row = changes(result).loc["0"].to_dict()
    step, causes = row.pop("step"), row.pop("causes")
    assert row.pop("parent_path") is None
    assert row == {
        "cluster_a": "0", "n_cells": 10, "share_shared": 1.0,
        "label_a": "R", "path_a": "R", "label_b": "Unassigned", "path_b": "",
        "changed": True, "step_idx": 0.0, "causes_are": "each alone",
    }  # fmt: skip
    assert causes == ["min_enrichment.0"]
    # enrichment (0.4 - 0.2) / 0.4, positive fraction 0.4
    assert step == (
        "R -> nobody passed; R: passes with 0.90 -> refused by low_enrichment (0.5 against 0.6)"
    )
    assert not changes(result).loc["1", "changed"]
    assert (result.agreement.n_cells, result.agreement.n_cells_changed) == (100, 10)
    assert result.tables["differences"].to_numpy().tolist() == [
        ["min_enrichment.0", "gating", "0", "0.6", "parameters", 1.0, 10.0]
    ]
    assert result.tables["cell_changes"]["cell_id"].tolist() == [f"cell_{i}" for i in range(10)]
    flow = result.tables["label_flow"]
    moved = flow.loc[flow["changed"], ["path_a", "path_b", "n_cells"]]
    assert moved.to_numpy().tolist() == [["R", "", 10]]


def test_an_edit_that_changes_nothing_is_named_with_no_clusters():
    result = compare(run("a"), run("b", **gating(anti_penalty_hard_gate=0.9)))
    (row,) = result.tables["differences"].to_dict("records")
    assert row["name"] == "anti_penalty_hard_gate"
    assert (row["n_clusters_alone"], row["n_cells_alone"]) == (0, 0)
    assert result.n_clusters_changed == 0


def test_every_changed_cluster_has_the_step_at_which_it_changed():
    """Also where both walks end at the roots: R and S are too close, or neither passes."""
    counts = {"A": {"0": 6}, "B": {"0": 6}}
    result = compare(
        run("a", counted(counts)), run("b", counted(counts), **level("min_enrichment", 0, 2))
    )
    row = changes(result).loc["0"]
    assert (row["path_a"], row["path_b"]) == ("R~S", "")
    assert row["step_idx"] == 0
    assert row["step"].startswith("a tie (R leads by 0, 0.25 is needed) -> nobody passed; ")


def test_a_step_below_the_roots_is_found():
    below = {"R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}}}}
    cells = counted({"A": {"0": 10}, "B": {"0": 4}})
    b = run("b", cells, below, **level("min_enrichment", 1, 0.6))
    row = changes(compare(run("a", cells, below), b)).loc["0"]
    assert (row["path_a"], row["path_b"]) == ("R / X", "R")
    assert (row["step_idx"], row["parent_path"]) == (1, "R")
    assert row["step"].startswith("X -> nobody passed; X: passes with 0.90 -> refused by")


# ---------------------------------------------------------------------- other clusters


def test_the_same_cells_under_other_ids_are_other_clusters():
    """Without the edit, cluster 1 of run B would have the label that its cells had."""
    names = {"0": "1", "1": "0"}
    result = compare(run("a"), run("b", counted(COUNTS).renamed(names), **STRICT))
    assert not result.same_clusters
    assert result.agreement.ari_clusters == 1
    table = changes(result)
    assert table.loc["1", "cluster_a"] == "0"
    assert table.loc["1", "share_shared"] == 1
    assert table.loc["1", "changed"]
    assert table.loc["1", "causes"] == ["min_enrichment.0"]
    assert table.loc["1", "causes_are"] == "each alone"
    alone = result.tables["differences"][["n_clusters_alone", "n_cells_alone"]]
    assert alone.to_numpy().tolist() == [[1, 10]]


def test_a_cluster_is_held_against_the_one_that_has_most_of_its_cells():
    """Cluster M has 3 cells of 0 and 7 of 1, N has 5 of 2 and 5 of 10."""
    cells = counted(COUNTS)
    ids = ["10" if name == "3" else name for name in cells.clusters]
    a = Cells(cells.values, cells.markers, ids, cells.names)
    new = list(ids)
    for first, count, name in ((0, 3, "M"), (10, 7, "M"), (20, 5, "N"), (30, 5, "N")):
        new[first : first + count] = [name] * count
    result = compare(run("a", a), run("b", Cells(cells.values, cells.markers, new, cells.names)))
    table = changes(result)
    assert (table.loc["M", "cluster_a"], table.loc["M", "share_shared"]) == ("1", 0.7)
    assert (table.loc["N", "cluster_a"], table.loc["N", "share_shared"]) == ("2", 0.5)
    assert (table.loc["0", "cluster_a"], table.loc["0", "n_cells"]) == ("0", 7)


def regrouped(name: str, *clusters: str) -> Cells:
    """The cells with some of the clusters as one."""
    cells = counted(COUNTS)
    return cells.renamed(dict.fromkeys(clusters, name))


def test_the_edit_behind_a_change_is_found_on_the_clusters_of_the_later_run():
    result = compare(run("a"), run("b", regrouped("1", "0"), R))
    assert not result.same_clusters
    assert set(result.tables["differences"]["name"]) == {"S removed"}
    for row in changes(result).query("changed").to_dict("records"):
        assert (row["causes"], row["causes_are"]) == (["S removed"], "each alone")
    assert changes(result).loc["2", ["path_a", "path_b"]].tolist() == ["S", ""]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, []),
        ({"cluster_key": "mine"}, ["cluster_key"]),
        ({"cluster_key": "mine", "sample": "b"} | gating(anti_penalty_hard_gate=0.9),
         ["sample", "cluster_key"]),
    ],
)  # fmt: skip
def test_where_no_edit_is_behind_it_the_clusters_are(options, names):
    """A is in 10 of the 50 cells of cluster M, too few for R, and in all of cluster 1 of run A."""
    b = run("b", regrouped("M", "1", "3", "4", "5", "6"), **options)
    row = changes(compare(run("a"), b)).loc["M"]
    assert (row["cluster_a"], row["path_a"], row["path_b"]) == ("1", "R", "")
    assert (row["causes"], row["causes_are"]) == (names, "clusters")


def test_what_cannot_be_taken_back_explains_nothing_by_itself():
    names = {"0": "1", "1": "0"}
    b = run("b", counted(COUNTS).renamed(names), cluster_key="mine", **STRICT)
    rows = compare(run("a"), b).tables["differences"].set_index("name")
    assert math.isnan(rows.loc["cluster_key", "n_clusters_alone"])
    assert rows.loc["min_enrichment.0", "n_clusters_alone"] == 1


# ---------------------------------------------------------------------- other cells


def test_runs_that_share_some_cells():
    """Run B lacks cluster 0 and half of 1, and has ten cells of its own in a cluster of theirs."""
    cells = counted(COUNTS)
    own = Cells(cells.values[:10], cells.markers, ["new"] * 10, [f"own {i}" for i in range(10)])
    kept = cells.take(range(15, 100))
    parts = [
        [*kept.values, *own.values],
        [*kept.clusters, *own.clusters],
        [*kept.names, *own.names],
    ]
    b = Cells(parts[0], cells.markers, parts[1], parts[2])
    result = compare(run("a"), run("b", b, sample="b.h5ad"))
    found = result.agreement
    assert (found.n_cells, found.n_cells_only_a, found.n_cells_only_b) == (85, 15, 10)
    assert not result.same_clusters
    table = changes(result)
    assert table.loc["1", "n_cells"] == 5
    row = table.loc["new"]
    assert row["cluster_a"] is None
    assert (row["label_a"], row["path_a"]) == (None, "")
    assert (row["share_shared"], row["changed"]) == (0, False)
    assert result.tables["label_flow"]["n_cells"].sum() == 85
    for name, table in result.tables.items():
        checked(COMPARISON_TABLES[name], table)


def test_the_same_clusters_of_fewer_cells_are_other_clusters():
    cells = counted(COUNTS)
    result = compare(run("a"), run("b", cells.take([*range(5), *range(10, 100)])))
    assert not result.same_clusters
    assert result.agreement.ari_clusters == 1
    assert changes(result).loc["0", "share_shared"] == 1


def test_runs_without_a_common_cell():
    cells = counted(COUNTS)
    other = Cells(cells.values, cells.markers, cells.clusters, [f"x{i}" for i in range(100)])
    with pytest.raises(CtrError, match=r"^a and b share no cell; compare two runs on the sam"):
        compare(run("a"), run("b", other))


def test_cells_of_another_sample_that_have_the_same_names_are_pointed_at():
    cells = counted(COUNTS)
    values = [[2 * value for value in row] for row in cells.values]
    other = Cells(values, cells.markers, cells.clusters, cells.names)
    (warning,) = compare(run("a"), run("b", other, sample="b.h5ad")).warnings
    assert "cells are matched by their names only" in warning
    assert "A: sample.h5ad; B: b.h5ad" in warning
    assert compare(run("a"), run("b", sample="copy.h5ad")).warnings == ()
    assert compare(run("a"), run("b", **STRICT)).warnings == ()


def test_the_order_of_the_cells_does_not_matter():
    turned = counted(COUNTS).take(range(99, -1, -1))
    first, second = (
        compare(run("a"), run("b", **STRICT)),
        compare(run("a"), run("b", turned, **STRICT)),
    )
    for name in ("label_flow", "label_overlap", "cluster_changes", "differences", "cell_changes"):
        pd.testing.assert_frame_equal(first.tables[name], second.tables[name])
    assert second.same_clusters


# ---------------------------------------------------------------------- as JSON


def strict_json(text: str):
    """Content of a JSON text that any reader takes."""

    def refuse(name: str) -> None:
        msg = f"{name} is no JSON"
        raise ValueError(msg)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("other", [False, True], ids=["same clusters", "other clusters"])
def test_json_is_strict_and_holds_everything_but_the_cells(other):
    cells = counted(COUNTS).renamed({"0": "1", "1": "0"}) if other else counted(COUNTS)
    b = run("b", cells, R | {"Z": {"markers": ["B"]}}, **STRICT)
    result = compare(run("a"), b)
    content = strict_json(json.dumps(result.as_json()))
    assert list(content) == [
        "run_a", "run_b", "agreement", "same_clusters", "warnings",
        "label_flow", "label_overlap", "cluster_changes", "differences",
    ]  # fmt: skip
    assert (content["run_a"], content["run_b"]) == ("a", "b")
    assert content["same_clusters"] is not other
    assert content["agreement"]["n_cells"] == 100
    for name in ("label_flow", "label_overlap", "cluster_changes", "differences"):
        assert len(content[name]) == len(result.tables[name])
        assert list(content[name][0]) == list(result.tables[name].columns)
    known = content["differences"][0]["n_clusters_alone"]
    assert known >= 0
    assert not any(isinstance(v, float) and math.isnan(v) for v in content["agreement"].values())


def test_scoring_and_gating_of_one_name_are_told_apart():
    """anti_agg stands in both; the one that is used counts."""
    a, b = run("a"), run("b", **gating(anti_agg="max"))
    assert compare(a, b).tables["differences"]["name"].tolist() == ["anti_agg"]
    b = stored(counted(COUNTS), RS, "b", **gating(anti_agg="max"), **scoring(anti_agg="top2mean"))
    assert "anti_agg" not in compare(a, b).tables["differences"]["name"].tolist()
