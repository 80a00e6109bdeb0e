"""Where every cell has been: tables, files and histories, against a slow loop over the cells."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.config import config_context

from ctr_engine.cell_labels import CellLabels
from ctr_engine.errors import CellMismatchError, CtrError, TableError
from ctr_engine.io.lineage import CONTENT, read_lineage, write_lineage
from ctr_engine.io.tables import read_notes, write_parquet
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.convergence import Round, stop_of
from ctr_engine.refinement.engine import Sample, Scored, execute, score_partition
from ctr_engine.refinement.lineage import (
    Lineage,
    final_annotations,
    history,
    lineage_of_table,
    operation_on,
    overrides_in,
)
from ctr_engine.refinement.manual import ManualPlan
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.plan import Merge, Override, Plan, Relabel, Subcluster, plan_of
from ctr_engine.refinement.proposals import Proposal
from ctr_engine.refinement.record import (
    ClusterRecord,
    HeldLabel,
    IterationRecord,
    record_of,
)
from ctr_engine.tables import FinalAnnotations, RefinedClusters, checked
from tests.builders import expression, marker_map, plain
from tests.oracles.lineage import final_label, steps_of

MARKERS = ["Pan-CK", "CD45", "CD3", "CD20", "Ki67", "VIM"]
MAP = marker_map(
    {
        "Epithelium": {"markers": ["Pan-CK"], "anti_markers": ["CD45"]},
        "Immune Cells": {
            "markers": ["CD45"],
            "subtypes": {
                "T Cells": {"markers": ["CD3"], "anti_markers": ["CD20"]},
                "B Cells": {"markers": ["CD20"], "anti_markers": ["CD3"]},
            },
        },
    }
)
TYPES = {
    "E": [3, 0, 0, 0, 1, 1],
    "T": [0, 3, 3, 0, 1, 1],
    "B": [0, 3, 0, 3, 1, 1],
    "-": [0, 0, 0, 0, 1, 1],
}
CELLS = "E" * 30 + "TB" * 30 + "T" * 20 + "B" * 20 + "-" * 20 + "E" * 10
CLUSTERS = ["0"] * 30 + ["1"] * 60 + ["2"] * 20 + ["10"] * 20 + ["3"] * 20 + ["4"] * 10
"""1 holds T and B cells; 3 has no marker of any root, and is Unassigned."""
ORIGIN = {"parent_file": "x.h5ad", "parent_sha256": "0", "timestamp": "2026-01-01T00:00:00+00:00"}
WHO = {"author": "Ada", "date": "2026-01-31"}
B_PATH = "Immune Cells / B Cells"


@cache
def start() -> tuple[Sample, Scored]:
    order = np.random.default_rng(3).permutation(len(CELLS))
    rows = np.array([TYPES[cell] for cell in CELLS], dtype=float)
    rows += np.random.default_rng(1).normal(0, 0.3, rows.shape)
    params = RefinementParams(min_cells=10, min_subcluster_cells=10, max_iterations=9)
    sample = Sample(expression(rows[order], MARKERS), MAP, AnalysisParams(), params)
    ids = np.array(CLUSTERS, dtype=object)[order]
    partition = Partition(sample.view.cell_ids.astype(object), ids, {})
    return sample, score_partition(sample, partition, {})


def annotations() -> pd.DataFrame:
    return start()[1].annotation.tables["annotations"]


def carried_out(*steps: Sequence[Any]) -> tuple[Lineage, list[Scored]]:
    """Lineage of iterations that carry these operations out, and what each of them left."""
    sample, before = start()
    lineage = Lineage(before.partition.cell_ids, (before.partition.clusters,), ())
    states = [before]
    for number, operations in enumerate(steps, start=1):
        plan = plan_of(operations, before.partition.ids)
        iteration = execute(sample, before, plan, number)
        proposal = Proposal(plan, iteration.log, ManualPlan(), ())
        one = Round(number, proposal, iteration, stop_of(sample, before, iteration, number))
        record = record_of(sample, before, one, lineage.records, ORIGIN)
        before = iteration.after
        lineage = lineage.then(before.partition, record, labels_of_cells(sample, before))
        states.append(before)
    return lineage, states


def dumped(lineage: Lineage) -> list[dict[str, Any]]:
    return [record.model_dump() for record in lineage.records]


def way_of(lineage: Lineage, row: int) -> list[str]:
    return [str(ids[row]) for ids in lineage.clusters]


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{name: plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def assert_as_the_slow_loop(lineage: Lineage, labels: pd.DataFrame, every: int = 9):
    records = dumped(lineage)
    stage_h = labels.to_dict("records")
    found = rows_of(final_annotations(lineage, labels))
    assert len(found) == len(stage_h)
    for i, cell in enumerate(lineage.cell_ids.tolist()):
        way = way_of(lineage, i)
        own = tuple(stage_h[i][f"cell_type_cell{part}"] for part in ("", "_path", "_by"))
        if records:
            cells = lineage.cell_labels
            own = (cells.labels[i], cells.paths[i], cells.given_by[i])
        assert found[i] == final_label(cell, way, records, stage_h[i], own)
        if i % every == 0:
            steps = rows_of(history(lineage, cell, stage_h[i]))
            expected = steps_of(cell, way, records, stage_h[i])
            assert steps == [
                {name: value for name, value in row.items() if name != "decided_in"}
                for row in expected
            ]


# ---------------------------------------------------------------------- who decided


STEPS = (
    [
        Subcluster(source="auto", reason="low_confidence", cluster="1", resolution=0.4),
        Override(source="manual", reason="seen", cluster="0", label="Tumour", path=None, **WHO),
        Merge(source="manual", clusters=("10", "2"), reason="one", label="B Cells", path=B_PATH),
        Subcluster(source="manual", cluster="4", resolution=0.01),
    ],
    [
        Merge(source="manual", clusters=("1:1", "2"), author="Bob"),
        Relabel(source="auto", reason="x", cluster="1:0", label="B Cells", path=B_PATH),
    ],
    [Merge(source="manual", clusters=("0", "4"))],
    [],
)
DECIDED = [
    {"0": "stage_h", "1": "stage_h", "2": "stage_h", "10": "stage_h", "3": "stage_h"},
    {"0": "override", "1:0": "rescored", "1:1": "rescored", "2": "merge", "3": "stage_h"},
    {"0": "override", "1:0": "relabel", "1:1": "rescored", "3": "stage_h", "4": "stage_h"},
    {"0": "rescored", "1:0": "relabel", "1:1": "rescored", "3": "stage_h"},
    {"0": "rescored", "1:0": "relabel", "1:1": "rescored", "3": "stage_h"},
]
DECIDED_IN = [
    {"0": 0, "1": 0, "4": 0},
    {"0": 1, "1:0": 1, "1:1": 1, "2": 1, "3": 0, "4": 0},
    {"0": 1, "1:0": 2, "1:1": 2, "3": 0, "4": 0},
    {"0": 3, "1:0": 2, "1:1": 2, "3": 0},
    {"0": 3, "1:0": 2, "1:1": 2, "3": 0},
]


@pytest.mark.parametrize("n", range(len(STEPS) + 1))
def test_who_gave_the_label_of_every_cell_and_when(n):
    """Counted by hand: each kind of operation, what it leaves, and what later ones make of it."""
    lineage, states = carried_out(*STEPS[:n])
    table = final_annotations(lineage, annotations())
    now = lineage.clusters[-1].tolist()
    by, when = (
        dict(zip(now, table[name].tolist(), strict=True)) for name in ("decided_by", "decided_in")
    )
    assert by.items() >= DECIDED[n].items()
    assert when.items() >= DECIDED_IN[n].items()
    labels = dict(zip(now, table["cell_type"].tolist(), strict=True))
    assert labels == {state.cluster_id: state.label for state in states[-1].states}
    assert_as_the_slow_loop(lineage, annotations())


def test_a_label_is_the_newest_and_a_root_its_own():
    table = final_annotations(carried_out(*STEPS[:1])[0], annotations())
    now = carried_out(*STEPS[:1])[0].clusters[-1].tolist()
    shown = zip(table["cell_type"], table["cell_type_path"], table["cell_type_root"], strict=True)
    found = dict(zip(now, shown, strict=True))
    assert found["0"] == ("Tumour", "", "Tumour")
    assert found["2"] == ("B Cells", B_PATH, "Immune Cells")
    assert {found["1:0"][0], found["1:1"][0]} == {"T Cells", "B Cells"}
    assert {found["1:0"][2], found["1:1"][2]} == {"Immune Cells"}
    assert found["3"][:2] == ("Unassigned", "")


def test_what_no_operation_touches_keeps_all_that_stage_h_said():
    lineage, _ = carried_out(*STEPS[:2])
    table, before = final_annotations(lineage, annotations()), annotations()
    rows = np.isin(lineage.clusters[0].astype(str), ["3", "4"])
    pairs = {
        "cell_type": "cell_type_auto",
        "cell_type_path": "cell_type_auto_path",
        "cell_type_root": "cell_type_auto_root",
        "cell_type_confidence": "cell_type_auto_conf",
    }
    assert rows.sum() == 30
    for name, source in pairs.items():
        assert table.loc[rows, name].tolist() == before.loc[rows, source].tolist()


def test_without_iterations_the_labels_are_those_of_stage_h():
    lineage, _ = carried_out()
    table = final_annotations(lineage, annotations())
    assert set(table["decided_by"]) == {"stage_h"}
    assert table["clusters"].tolist() == [[one] for one in lineage.clusters[0].tolist()]
    checked(FinalAnnotations, table)
    assert_as_the_slow_loop(lineage, annotations())
    assert (lineage.next_number, lineage.stop_reason, lineage.partition.held) == (1, None, {})


def test_the_operation_of_a_step_is_that_on_the_cluster_before_it():
    lineage, _ = carried_out(*STEPS)
    rows = annotations().set_index("cell_id", drop=False)
    cell = str(lineage.cell_ids[np.flatnonzero(lineage.clusters[0] == "10")[0]])
    table = history(lineage, cell, rows.loc[cell].to_dict())
    assert table["iteration"].tolist() == [0, 1, 2, 3, 4]
    assert table["cluster_id"].tolist() == ["10", "2", "1:1", "1:1", "1:1"]
    assert [plain(one) for one in table["operation"]] == [None, "merge", "merge", None, None]
    assert [plain(one) for one in table["reason"]] == [None, "one", None, None, None]
    assert [plain(one) for one in table["author"]] == [None, None, "Bob", None, None]
    assert table["decided_by"].tolist() == ["stage_h", "merge", "rescored", "rescored", "rescored"]
    with pytest.raises(CellMismatchError, match="there is no cell 'nobody'"):
        history(lineage, "nobody", rows.loc[cell].to_dict())


def test_the_operation_on_a_cluster_is_known_by_any_of_its_clusters():
    plan = plan_of(STEPS[0], ["0"])
    found = {name: operation_on(plan, name) for name in ("0", "1", "2", "10", "4", "3", "1:0")}
    assert {name: one and one.op for name, one in found.items()} == {
        "0": "override",
        "1": "subcluster",
        "2": "merge",
        "10": "merge",
        "4": "subcluster",
        "3": None,
        "1:0": None,
    }


def test_overrides_that_hold_are_known_with_who_gave_them():
    one, two = carried_out(*STEPS[:1])[0], carried_out(*STEPS[:3])[0]
    assert overrides_in(one) == {"0": STEPS[0][1]}
    assert overrides_in(two) == {}, "merged away"
    again = Override(source="manual", cluster="0", label="B Cells", path=B_PATH, reason="no")
    assert overrides_in(carried_out(STEPS[0], [again])[0]) == {"0": again}
    moved = Relabel(source="manual", cluster="0", label="B Cells", path=B_PATH)
    assert overrides_in(carried_out(STEPS[0], [moved])[0]) == {}


IDS = ("0", "1", "2", "10", "3", "4")


@st.composite
def plans(draw, ids: Sequence[str]) -> list[Any]:
    free = list(draw(st.permutations(ids)))
    made: list[Any] = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["override", "merge", "subcluster", "relabel"]))
        if len(free) < 2:
            break
        label, path = draw(st.sampled_from([("B Cells", B_PATH), ("Epithelium", "Epithelium")]))
        own = {"source": draw(st.sampled_from(["auto", "manual"])), "reason": draw(st.none())}
        if kind == "merge":
            given_ = {"label": label, "path": path} if draw(st.booleans()) else {}
            made.append(Merge(clusters=(free.pop(), free.pop()), **given_, **own))
        elif kind == "subcluster":
            resolution = draw(st.sampled_from([0.01, 0.4, 1.0]))
            made.append(Subcluster(cluster=free.pop(), resolution=resolution, **own))
        elif kind == "relabel":
            made.append(Relabel(cluster=free.pop(), label=label, path=path, **own))
        else:
            label, path = draw(st.sampled_from([(label, path), ("Mine", None)]))
            made.append(Override(cluster=free.pop(), label=label, path=path, **own, **WHO))
    return made


@settings(max_examples=12)
@given(data=st.data())
def test_any_chain_is_as_the_slow_loop_says_also_from_a_file(data, tmp_path_factory):
    with config_context(validation_enabled=False):
        steps: list[list[Any]] = []
        for _ in range(data.draw(st.integers(1, 3))):
            ids = carried_out(*steps)[0].partition.ids
            steps.append(data.draw(plans(ids)))
        lineage, _ = carried_out(*steps)
        assert_as_the_slow_loop(lineage, annotations())
        path = tmp_path_factory.mktemp("any") / "lineage.parquet"
        write_lineage(lineage, path)
        assert_same(read_lineage(path), lineage)


def test_the_order_of_the_cells_does_not_matter():
    lineage, _ = carried_out(*STEPS)
    order = np.random.default_rng(0).permutation(len(CELLS))
    own = lineage.cell_labels
    mixed = Lineage(
        lineage.cell_ids[order],
        tuple(ids[order] for ids in lineage.clusters),
        lineage.records,
        CellLabels(own.labels[order], own.paths[order], own.given_by[order]),
    )
    labels = annotations().iloc[order].reset_index(drop=True)
    expected = final_annotations(lineage, annotations()).iloc[order].reset_index(drop=True)
    pd.testing.assert_frame_equal(final_annotations(mixed, labels), expected)
    assert mixed.content_sha256 != lineage.content_sha256
    with pytest.raises(CellMismatchError, match="not of the same cells in the same order"):
        final_annotations(mixed, annotations())
    cell = str(lineage.cell_ids[5])
    row = annotations().iloc[5].to_dict()
    pd.testing.assert_frame_equal(history(mixed, cell, row), history(lineage, cell, row))


@pytest.mark.parametrize("cut", [slice(1, None), slice(None, None, -1), slice(0, 0)])
def test_labels_of_other_cells_are_refused(cut):
    lineage, _ = carried_out()
    with pytest.raises(CellMismatchError, match="not of the same cells in the same order"):
        final_annotations(lineage, annotations().iloc[cut])


# ---------------------------------------------------------------------- then, table and file


def small(*ways: str, cells: Sequence[str] = ("a", "b", "c")) -> Lineage:
    """Lineage of three cells; each text has their clusters after one step."""
    clusters = tuple(np.array(way.split(), dtype=object) for way in ways)
    records = tuple(small_record(i, way.split()) for i, way in enumerate(ways[1:], start=1))
    return Lineage(np.array(cells, dtype=object), clusters, records)


def small_record(number: int, ids: Sequence[str]) -> IterationRecord:
    clusters = tuple(
        ClusterRecord(
            cluster_id=name,
            n_cells=list(ids).count(name),
            label="T",
            path="R / T",
            root="R",
            score=None,
            confidence=0.5,
            support=0.25,
            decided_by="stage_h",
            decided_in=0,
        )
        for name in sorted(set(ids))
    )
    return IterationRecord(
        parent_stage="H" if number == 1 else "I",
        parent_file="x.h5ad",
        parent_sha256="0",
        marker_map_hash="1",
        iteration=number,
        plan=Plan(operations=(), focus=tuple(sorted(set(ids)))),
        plan_summary={"override": 0},
        clusters_modified=(),
        subclusters_created=(),
        n_cells_modified=0,
        stop_reason=None,
        parameters=RefinementParams(),
        held={"3": HeldLabel(label="T", path=None, by="override", source="manual")},
        unsplittable={"3": "abc"},
        clusters=clusters,
        manual_entries=("merge.0",),
        waiting=("line 1, merge.1: there is no cluster '7' yet",),
        timestamp="2026-01-01T00:00:00+00:00",
    )


def assert_same(left: Lineage, right: Lineage):
    assert left.cell_ids.tolist() == right.cell_ids.tolist()
    assert [ids.tolist() for ids in left.clusters] == [ids.tolist() for ids in right.clusters]
    assert left.records == right.records
    assert left.content_sha256 == right.content_sha256
    assert left.cell_labels.same_as(right.cell_labels)


TWO = small("3 3 4", "3:0 3:1 4", "3:0 4 4")


def test_the_steps_of_each_cell_are_its_row_of_the_table():
    assert TWO.steps_of_cells == [["3", "3:0", "3:0"], ["3", "3:1", "4"], ["4", "4", "4"]]
    table = TWO.table()
    assert table["cell_id"].tolist() == ["a", "b", "c"]
    assert table["clusters"].tolist() == TWO.steps_of_cells
    checked(RefinedClusters, table)
    assert (TWO.next_number, TWO.partition.ids) == (3, ("3:0", "4"))
    assert TWO.partition.held == TWO.records[-1].labels_held
    assert_same(lineage_of_table(table, TWO.records), TWO)


def test_a_step_more_keeps_what_was_and_changes_nothing_in_place():
    one = small("3 3 4", "3:0 3:1 4")
    partition = Partition(one.cell_ids.copy(), TWO.clusters[-1], {})
    assert_same(one.then(partition, TWO.records[-1], None), TWO)
    assert len(one.clusters) == 2
    assert len(one.records) == 1


@pytest.mark.parametrize("cells", ["a c b", "a b", "a b c d", "a b x"])
def test_an_iteration_of_other_cells_is_refused(cells):
    other = np.array(cells.split(), dtype=object)
    partition = Partition(other, np.array(["3"] * len(other), dtype=object), {})
    with pytest.raises(CellMismatchError, match="is of other cells than the ones before it"):
        TWO.then(partition, TWO.records[-1], None)


@pytest.mark.parametrize("more", [None, {"mine": "µ: 7"}])
def test_a_file_gives_the_same_back(more, tmp_path):
    path = tmp_path / "lineage.parquet"
    for lineage in (TWO, small("3 3 4"), carried_out(*STEPS)[0]):
        write_lineage(lineage, path, more)
        assert_same(read_lineage(path), lineage)
        notes = read_notes(path)
        assert notes[CONTENT] == lineage.content_sha256
        assert {name: notes[name] for name in more or {}} == (more or {})


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)


@given(
    cells=st.lists(NAMES, min_size=1, max_size=8, unique=True),
    steps=st.integers(1, 4),
    data=st.data(),
)
def test_any_names_of_cells_and_clusters_come_back(cells, steps, data, tmp_path_factory):
    pick = st.lists(NAMES, min_size=len(cells), max_size=len(cells))
    ways = [data.draw(pick) for _ in range(steps)]
    lineage = Lineage(
        np.array(cells, dtype=object),
        tuple(np.array(way, dtype=object) for way in ways),
        tuple(small_record(i, way) for i, way in enumerate(ways[1:], start=1)),
    )
    assert lineage.steps_of_cells == [list(way) for way in zip(*ways, strict=True)]
    assert_same(lineage_of_table(lineage.table(), lineage.records), lineage)
    path = tmp_path_factory.mktemp("any") / "lineage.parquet"
    write_lineage(lineage, path)
    assert_same(read_lineage(path), lineage)


# ---------------------------------------------------------------------- damaged and foreign files


@pytest.mark.parametrize("n_records", [0, 1, 3])
def test_records_of_another_number_of_steps_are_refused(n_records):
    records = (*TWO.records, TWO.records[-1])[:n_records]
    with pytest.raises(CellMismatchError, match=f"does not have {n_records + 1} clusters, one for"):
        lineage_of_table(TWO.table(), records)


def test_a_cell_with_a_step_less_is_refused():
    table = TWO.table()
    table["clusters"] = [["3", "3:0", "3:0"], ["3", "3:1"], ["4", "4", "4"]]
    with pytest.raises(CellMismatchError, match="does not have 3 clusters"):
        lineage_of_table(table, TWO.records)


def refused(path: Path, *expected: str):
    with pytest.raises(CtrError) as caught:
        read_lineage(path)
    assert [part for part in (path.name, *expected) if part not in str(caught.value)] == []


def test_files_that_are_something_else_are_refused(tmp_path):
    refused(tmp_path / "nowhere.parquet", "cannot be read as parquet")
    (tmp_path / "text.parquet").write_text("mine")
    refused(tmp_path / "text.parquet", "cannot be read as parquet", "Materialize it again")
    (tmp_path / "empty.parquet").write_bytes(b"")
    refused(tmp_path / "empty.parquet", "cannot be read as parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    refused(tmp_path / "other.parquet", "holds no iterations of this version")
    pq.write_table(arrow.table({"x": [1]}), tmp_path / "bare.parquet")
    refused(tmp_path / "bare.parquet", "holds no iterations of this version")
    write_parquet(RefinedClusters, TWO.table(), tmp_path / "unnoted.parquet")
    refused(tmp_path / "unnoted.parquet", "holds no iterations of this version")


def with_records(text: str, path: Path):
    write_lineage(TWO, path, {"ctr_iterations": text})


def text_of_records(path: Path) -> str:
    write_lineage(TWO, path)
    return read_notes(path)["ctr_iterations"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[{}]", "null", '[{"iteration": 1}]'])
def test_records_that_cannot_be_read_are_refused(text, tmp_path):
    with_records(text, tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "holds no iterations of this version; materialize it again")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"iteration":1', '"iteration":0'),
        ('"by":"override"', '"by":"chance"'),
        ('"timestamp"', '"time"'),
        ('"waiting":[', '"more":1,"waiting":['),
        ('"decided_by":"stage_h"', '"decided_by":"nobody"'),
    ],
)
def test_records_of_another_version_are_refused(old, new, tmp_path):
    text = text_of_records(tmp_path / "x.parquet")
    assert old in text
    with_records(text.replace(old, new), tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "holds no iterations of this version")


def test_a_table_of_other_columns_is_refused(tmp_path):
    text = text_of_records(tmp_path / "x.parquet")
    table = arrow.table({"cell_id": ["a"], "way": [["3", "3", "3"]]})
    notes = {"ctr_iterations": text, CONTENT: TWO.content_sha256}
    pq.write_table(table.replace_schema_metadata(notes), tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "is not a RefinedClusters table of this version")


def test_cells_that_stand_twice_are_refused(tmp_path):
    with config_context(validation_enabled=False):
        write_lineage(small("3 3 4", cells=("a", "a", "b")), tmp_path / "x.parquet")
    with pytest.raises(TableError, match="RefinedClusters"):
        read_lineage(tmp_path / "x.parquet")


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    write_lineage(TWO, tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    for n in (0, 3, 4, 8, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.parquet").write_bytes(content[:n])
        refused(tmp_path / "cut.parquet", "cannot be read as parquet")


def written(path: Path, rows: Sequence[Sequence[str | None] | None]):
    """File of the records of TWO with other clusters."""
    text = text_of_records(path)
    table = arrow.table(
        {"cell_id": [f"cell_{i}" for i in range(len(rows))], "clusters": rows},
        schema=arrow.schema({"cell_id": arrow.string(), "clusters": arrow.list_(arrow.string())}),
    )
    pq.write_table(table.replace_schema_metadata({"ctr_iterations": text}), path)


@pytest.mark.parametrize("way", [None, ["3", None, "4"]])
def test_a_cell_without_a_cluster_is_refused(way, tmp_path):
    written(tmp_path / "x.parquet", [["3", "3:0", "3:0"], way])
    refused(tmp_path / "x.parquet")


def test_clusters_that_the_records_do_not_know_are_refused(tmp_path):
    written(tmp_path / "x.parquet", [["3", "3:0", "3:0"], ["3", "3:1", "9"]])
    refused(tmp_path / "x.parquet")


def test_other_content_than_the_file_was_written_with_is_refused(tmp_path):
    other = small("3 3 4", "3:0 3:1 4", "4 3:0 4")
    write_lineage(other, tmp_path / "x.parquet", {CONTENT: TWO.content_sha256})
    refused(tmp_path / "x.parquet")


def test_metadata_that_is_no_text_is_refused(tmp_path):
    bare = arrow.table({"x": [1]}).replace_schema_metadata({b"\xff": b"\xfe"})
    pq.write_table(bare, tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", "holds no iterations of this version")


# ---------------------------------------------------------------------- the hash of the content


def test_the_hash_does_not_see_when_an_iteration_was_made():
    later = tuple(
        one.model_copy(update={"timestamp": f"2030-01-0{one.iteration}"}) for one in TWO.records
    )
    assert replace(TWO, records=later).content_sha256 == TWO.content_sha256
    assert len(TWO.content_sha256) == 64


OTHER = {
    "parent_stage": "I",
    "parent_file": "y.h5ad",
    "parent_sha256": "1",
    "marker_map_hash": "2",
    "iteration": 7,
    "plan": Plan(operations=(), focus=()),
    "plan_summary": {"override": 1},
    "clusters_modified": ("3",),
    "subclusters_created": ("3:0",),
    "n_cells_modified": 1,
    "stop_reason": "no_candidates",
    "parameters": RefinementParams(min_cells=7),
    "held": {},
    "unsplittable": {"3": "abd"},
    "clusters": (),
    "manual_entries": (),
    "waiting": (),
}


def test_the_hash_sees_all_else_of_a_record():
    assert set(OTHER) == set(IterationRecord.model_fields) - {"timestamp"}
    hashes = {}
    for name, value in OTHER.items():
        first = TWO.records[0].model_copy(update={name: value})
        hashes[name] = replace(TWO, records=(first, TWO.records[1])).content_sha256
    same = {name for name, found in hashes.items() if found == TWO.content_sha256}
    assert same == {"parent_file", "parent_sha256"}, "where it lay does not count"
    assert len(set(hashes.values())) == len(OTHER) - len(same) + 1


def test_the_hash_sees_all_of_a_cluster():
    first = TWO.records[0]
    changes = {
        "cluster_id": "9",
        "n_cells": 9,
        "label": "B",
        "path": "R / B",
        "root": "S",
        "score": 1.0,
        "confidence": 0.25,
        "support": 0.75,
        "decided_by": "merge",
        "decided_in": 1,
    }
    assert set(changes) == set(ClusterRecord.model_fields)
    hashes = {TWO.content_sha256}
    for name, value in changes.items():
        cluster = first.clusters[0].model_copy(update={name: value})
        record = first.model_copy(update={"clusters": (cluster, *first.clusters[1:])})
        hashes.add(replace(TWO, records=(record, TWO.records[1])).content_sha256)
    assert len(hashes) == len(changes) + 1


def test_the_hash_sees_cells_clusters_and_their_order():
    lineages = [
        TWO,
        small("3 3 4", "3:0 3:1 4", "3:0 4 4", cells=("a", "b", "d")),
        small("3 3 4", "3:0 3:1 4", "3:0 4 4", cells=("a", "c", "b")),
        replace(TWO, clusters=(TWO.clusters[1], TWO.clusters[0], TWO.clusters[2])),
        replace(TWO, clusters=(*TWO.clusters[:2], TWO.clusters[2][::-1])),
        replace(TWO, clusters=(np.array(["3", "4", "4"], dtype=object), *TWO.clusters[1:])),
        replace(TWO, clusters=TWO.clusters[:2]),
        replace(TWO, records=TWO.records[:1]),
        replace(TWO, records=TWO.records[::-1]),
    ]
    assert len({one.content_sha256 for one in lineages}) == len(lineages)


def test_the_hash_of_what_is_read_back_does_not_depend_on_how_texts_are_stored():
    text = Lineage(
        TWO.cell_ids.astype(str), tuple(ids.astype(str) for ids in TWO.clusters), TWO.records
    )
    assert text.content_sha256 == TWO.content_sha256
