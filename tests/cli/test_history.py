"""``ctr history`` as a user types it: cells whose way is known beforehand."""

import json
import re
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
import pytest

from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.test_annotate import ctr, words

FIRST = """\
subcluster: [{cluster_id: 1, reason: two kinds, author: Ann, date: 2026-01-30}]
relabel: [{cluster_id: 0, new_label: Immune Cells}]
"""
SECOND = """\
overrides: [{cluster_id: 0, cell_type: Odd Cells, new: true, reason: "no CD45, [b]see[/b] slide 3",
             author: Bo, date: 2026-01-31}]
merge: [{source_clusters: ["1:0", "1:1"], target_label: T Cells}]
"""
SMALL = ("--refinement-params", '{"min_cells": 10, "min_subcluster_cells": 10}')
COLUMNS = [
    "cell_id",
    "iteration",
    "cluster_id",
    "cell_type",
    "cell_type_path",
    "cell_type_root",
    "cell_type_confidence",
    "decided_by",
    "operation",
    "source",
    "reason",
    "author",
    "date",
]
T, B = "Immune Cells / T Cells", "Immune Cells / B Cells"

pytestmark = pytest.mark.usefixtures("quickly")


def refine(source: Path, folder: Path, plan: str, *flags: object) -> Path:
    (folder.parent / "plan.yaml").write_text(plan)
    manual = ("--manual", folder.parent / "plan.yaml", "--execute", *SMALL, *flags)
    result = ctr("refine", source, "--out", folder, *manual)
    assert result.exit_code == 0, words(result)
    return folder


@pytest.fixture(scope="module")
def folder(quickly, tmp_path_factory) -> Path:
    """Results of Stage H in ``out``, of two iterations in ``one`` and ``two``.

    Cell i is epithelium, T or B by i % 3; cluster 0 holds epithelium, cluster 1 T and B cells.
    """
    folder = tmp_path_factory.mktemp("history")
    adata = good_sample()
    adata.obs["mine"] = ["0" if i % 3 == 0 else "1" for i in range(adata.n_obs)]
    adata.obs_names = ["[red]cell_0", "=1+1", "ü 2", *adata.obs_names[3:]]
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(GOOD_MAP)
    files = ("--marker-map", folder / "map.json", "--out", folder / "out")
    own = ("--annotation-only", "--cluster-key", "mine")
    assert ctr("annotate", folder / "sample.h5ad", *files, *own).exit_code == 0
    refine(folder / "out" / "coarse_clusters.h5ad", folder / "one", FIRST)
    refine(folder / "one" / "refined.h5ad", folder / "two", SECOND)
    return folder


def history(results: Path, *cells: str) -> list[dict[str, Any]]:
    result = ctr("history", results, *(part for c in cells for part in ("--cell", c)), "--json")
    assert result.exit_code == 0, words(result)
    return json.loads(result.stdout)


def part_of(folder: Path, cell: str) -> str:
    return str(anndata.read_h5ad(folder / "one" / "refined.h5ad").obs.loc[cell, "cluster_lvl1"])


def ways(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def test_the_way_of_a_cell_step_by_step(folder):
    rows = history(folder / "two", "cell_5")  # a B cell
    part = part_of(folder, "cell_5")
    assert part in ("1:0", "1:1")
    assert ways(rows, "cell_id", "iteration", "cluster_id") == [
        ("cell_5", 0, "1"),
        ("cell_5", 1, part),
        ("cell_5", 2, "1:0"),
    ]
    first = rows[0]["cell_type_path"]
    assert ways(rows, "cell_type_path", "cell_type", "decided_by", "operation") == [
        (first, first.split(" / ")[-1], "stage_h", None),
        (B, "B Cells", "rescored", "subcluster"),
        (T, "T Cells", "merge", "merge"),
    ]
    assert ways(rows, "source", "reason", "author", "date") == [
        (None, None, None, None),
        ("manual", "two kinds", "Ann", "2026-01-30"),
        ("manual", None, None, None),
    ]


def test_labels_that_a_person_gave_and_who_did(folder):
    rows = history(folder / "two", "cell_6")  # epithelium
    assert ways(rows, "cluster_id", "cell_type", "cell_type_path", "cell_type_root") == [
        ("0", "Epithelium", "Epithelium", "Epithelium"),
        ("0", "Immune Cells", "Immune Cells", "Immune Cells"),
        ("0", "Odd Cells", "", "Odd Cells"),
    ]
    assert ways(rows, "decided_by", "operation", "author", "date") == [
        ("stage_h", None, None, None),
        ("relabel", "relabel", None, None),
        ("override", "override", "Bo", "2026-01-31"),
    ]
    assert rows[2]["reason"] == "no CD45, [b]see[/b] slide 3"


def test_json_has_the_same_columns_in_each_row(folder):
    rows = history(folder / "two", "cell_5", "cell_6")
    assert all(list(row) == COLUMNS for row in rows)


def test_the_last_step_is_what_the_tables_say(folder):
    final = pd.read_csv(folder / "two" / "final_annotations.csv").set_index("cell_id")
    for cell in ("cell_3", "cell_4", "cell_5", "ü 2", "=1+1"):
        rows = history(folder / "two", cell)
        assert ";".join(row["cluster_id"] for row in rows) == final.loc[cell, "clusters"]
        assert rows[-1]["cell_type"] == final.loc[cell, "cell_type"]
        assert rows[-1]["decided_by"] == final.loc[cell, "decided_by"]


def test_earlier_results_know_nothing_of_later_steps(folder):
    assert len(history(folder / "one", "cell_5")) == 2
    assert history(folder / "one", "cell_5") == history(folder / "two", "cell_5")[:2]
    assert history(folder / "out", "cell_5") == history(folder / "two", "cell_5")[:1]


def test_a_sample_without_refinement_has_one_step(folder):
    (row,) = history(folder / "out", "cell_4")
    assert (row["iteration"], row["cluster_id"], row["decided_by"]) == (0, "1", "stage_h")
    printed = words(ctr("history", folder / "out", "--cell", "cell_4"))
    assert "Stage H" in printed
    assert "iteration" not in printed


def test_several_cells_come_in_the_order_that_they_were_asked_for(folder):
    rows = history(folder / "two", "cell_9", "cell_4", "cell_9")
    assert list(dict.fromkeys(row["cell_id"] for row in rows)) == ["cell_9", "cell_4"]
    assert len(rows) == 6
    asked = ("--cell", "cell_9", "--cell", "cell_4", "--cell", "cell_9")
    printed = words(ctr("history", folder / "two", *asked))
    assert printed.count("cell_9:") == 1
    assert printed.index("cell_9:") < printed.index("cell_4:")


def test_the_table_for_people(folder):
    printed = ctr("history", folder / "two", "--cell", "cell_6").stdout
    assert "cell_6: Epithelium -> Immune Cells -> Odd Cells" in printed
    lines = [[part.strip() for part in re.split("[│┃]", line)] for line in printed.splitlines()]
    steps = {line[1]: line[2:-1] for line in lines if len(line) > 3}
    assert steps["Stage H"][:2] == ["0", "Epithelium"]
    assert steps["Stage H"][-1] == ""
    assert steps["iteration 1"][-1] == "relabel (manual)"
    assert steps["iteration 2"][-1] == (
        "override (manual, Bo, 2026-01-31): no CD45, [b]see[/b] slide 3"
    )


def test_a_division_in_vain_is_called_that(folder, tmp_path):
    source = folder / "one" / "refined.h5ad"
    vain = "subcluster: [{cluster_id: '1:0', resolution: 0.01}]"
    refine(source, tmp_path / "vain", vain)
    cells = anndata.read_h5ad(source).obs
    (inside, outside) = (
        cells.index[(cells["cluster_lvl1"] == name).to_numpy()][5] for name in ("1:0", "1:1")
    )
    assert "subcluster, in vain (manual)" in words(
        ctr("history", tmp_path / "vain", "--cell", inside)
    )
    assert "in vain" not in words(ctr("history", tmp_path / "vain", "--cell", outside))
    assert history(tmp_path / "vain", outside)[-1]["operation"] is None


@pytest.mark.parametrize("name", ["[red]cell_0", "=1+1", "ü 2"])
def test_names_are_shown_as_they_are(name, folder):
    assert f"{name}:" in words(ctr("history", folder / "two", "--cell", name))
    assert {row["cell_id"] for row in history(folder / "two", name)} == {name}


def test_a_file_is_as_good_as_its_folder(folder):
    assert history(folder / "two" / "refined.h5ad", "cell_5") == history(folder / "two", "cell_5")
    coarse = history(folder / "out" / "coarse_clusters.h5ad", "cell_5")
    assert coarse == history(folder / "out", "cell_5")


def test_the_folder_of_annotate_shows_the_refinement_inside(folder, tmp_path):
    files = ("--marker-map", folder / "map.json", "--out", tmp_path / "out", "--with-refinement")
    own = ("--annotation-only", "--cluster-key", "mine", *SMALL)
    assert ctr("annotate", folder / "sample.h5ad", *files, *own).exit_code == 0
    rows = history(tmp_path / "out", "cell_5")
    assert ways(rows, "iteration", "source") == [(0, None), (1, "auto")]
    assert rows == history(tmp_path / "out" / "refinement", "cell_5")
    assert len(history(tmp_path / "out" / "coarse_clusters.h5ad", "cell_5")) == 1


def test_unknown_cells_are_named_all_and_nothing_is_shown(folder):
    asked = ("--cell", "cell_5", "--cell", "cell_999", "--cell", "Cell_5")
    for more in ((), ("--json",)):
        result = ctr("history", folder / "two", *asked, *more)
        assert result.exit_code == 1
        assert result.stdout == ""
        printed = words(result)
        assert "has no cell 'cell_999', 'Cell_5'; cells are called [red]cell_0, =1+1" in printed


def test_errors_leave_stdout_to_results(folder):
    result = ctr("history", folder / "two", "--cell", "cell_5", "--json")
    assert result.stderr == ""
    json.loads(result.stdout)


def test_what_is_missing_is_said(folder, tmp_path):
    good_sample().write_h5ad(tmp_path / "sample.h5ad")
    base = ("annotate", tmp_path / "sample.h5ad", "--clustering-only")
    assert ctr(*base, "--out", tmp_path / "clusters").exit_code == 0
    (tmp_path / "empty").mkdir()
    for results, cell, expected in (
        (folder / "two", (), "--cell is missing; write: ctr history RESULTS --cell ID"),
        (tmp_path / "empty", ("--cell", "a"), "holds no annotated sample; name what ctr annotate"),
        (tmp_path / "nowhere", ("--cell", "a"), "there is no such folder"),
        (tmp_path / "sample.h5ad", ("--cell", "a"), "lacks obs['cluster_lvl0']"),
        (tmp_path / "clusters", ("--cell", "cell_1"), "lacks obs['cell_type_auto']"),
        (folder / "two" / "final_annotations.csv", ("--cell", "a"), "is neither .h5ad nor .zarr"),
    ):
        result = ctr("history", results, *cell)
        assert result.exit_code == 1
        assert expected in words(result)
        assert "Traceback" not in words(result)


def test_a_record_that_cannot_be_read_is_said(folder, tmp_path):
    adata = anndata.read_h5ad(folder / "two" / "refined.h5ad")
    adata.uns["stage_refine_iteration_2"] = '{"iteration": 2}'
    adata.write_h5ad(tmp_path / "broken.h5ad")
    result = ctr("history", tmp_path / "broken.h5ad", "--cell", "cell_5")
    assert result.exit_code == 1
    assert "its uns['stage_refine_iteration_2'] cannot be read" in words(result)


def test_a_step_whose_clusters_are_gone_is_said(folder, tmp_path):
    adata = anndata.read_h5ad(folder / "two" / "refined.h5ad")
    del adata.obs["cluster_iteration_1"]
    adata.write_h5ad(tmp_path / "broken.h5ad")
    result = ctr("history", tmp_path / "broken.h5ad", "--cell", "cell_5")
    assert result.exit_code == 1
    assert "lacks obs['cluster_iteration_1']" in words(result)


def test_cells_in_another_order_are_still_found(folder, tmp_path):
    adata = anndata.read_h5ad(folder / "two" / "refined.h5ad")
    adata[::-1].copy().write_h5ad(tmp_path / "turned.h5ad")
    for cell in ("cell_4", "cell_5", "cell_6"):
        assert history(tmp_path / "turned.h5ad", cell) == history(folder / "two", cell)
