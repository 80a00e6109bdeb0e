"""Where every cell has been: its cluster after each iteration, its label now, and who gave it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine import keys
from ctr_engine.cell_labels import CellLabels
from ctr_engine.errors import CellMismatchError
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.plan import Override, Plan, clusters_of
from ctr_engine.refinement.record import STAGE_H, ClusterRecord, IterationRecord
from ctr_engine.tables import CellHistory, FinalAnnotations, RefinedClusters, frame, from_rows

Ids = npt.NDArray[Any]
_OF_STAGE_H = (
    keys.CELL_TYPE,
    keys.CELL_TYPE_PATH,
    keys.CELL_TYPE_ROOT,
    keys.CELL_TYPE_CONFIDENCE,
    keys.CELL_TYPE_SUPPORT,
    keys.CELL_TYPE_CELL,
    keys.CELL_TYPE_CELL_PATH,
    keys.CELL_TYPE_CELL_BY,
)


@dataclass(frozen=True)
class Lineage:
    """Clusters of all cells, step by step.

    Attributes
    ----------
    cell_ids
        Cells, in the order of the sample.
    clusters
        Cluster of each cell after Stage H, then after each iteration.
    records
        What each iteration did; one less than ``clusters``.
    cells
        Label of each cell after the last iteration; None where it is that of its cluster.
    """

    cell_ids: Ids
    clusters: tuple[Ids, ...]
    records: tuple[IterationRecord, ...]
    cells: CellLabels | None = None

    def checked(self) -> "Lineage":
        """Refuse clusters that the iterations did not make; for what comes from a file.

        Raises
        ------
        CellMismatchError
            If a cell is in a cluster that the record of the iteration does not have.
        """
        for record, ids in zip(self.records, self.clusters[1:], strict=True):
            unknown = set(ids.tolist()) - {one.cluster_id for one in record.clusters}
            if unknown:
                names = ", ".join(sorted(map(repr, unknown))[:3])
                msg = (
                    f"iteration {record.iteration} did not make cluster {names}; somebody changed "
                    "the clusters since, so refine the sample again"
                )
                raise CellMismatchError(msg)
        return self

    @property
    def next_number(self) -> int:
        """Number of the next iteration."""
        return len(self.records) + 1

    @property
    def partition(self) -> Partition:
        """Clusters as they are now, with the labels that rescoring keeps."""
        held = self.records[-1].labels_held if self.records else {}
        return Partition(self.cell_ids, self.clusters[-1], held)

    @property
    def stop_reason(self) -> str | None:
        """Why the last iteration was the last; None when it was not."""
        return self.records[-1].stop_reason if self.records else None

    @cached_property
    def steps_of_cells(self) -> list[list[str]]:
        """Clusters of each cell, Stage H first; cells that went the same way share a list."""
        steps = [_codes(ids) for ids in self.clusters]
        ways = np.stack([codes for codes, _ in steps], axis=1)
        unique, inverse = np.unique(ways, axis=0, return_inverse=True)
        names = [[steps[i][1][code] for i, code in enumerate(way)] for way in unique.tolist()]
        return [names[i] for i in inverse.reshape(-1).tolist()]

    @property
    def cell_labels(self) -> CellLabels:
        """Label of each cell after the last iteration; empty where there was none."""
        return self._of_clusters if self.cells is None else self.cells

    @cached_property
    def _of_clusters(self) -> CellLabels:
        """Label of the cluster of each cell."""
        if not self.records:
            nothing = dict.fromkeys(self.clusters[-1].tolist(), "")
            return CellLabels.of_clusters(self.clusters[-1], nothing, nothing)
        last = self.records[-1].clusters
        return CellLabels.of_clusters(
            self.clusters[-1],
            {one.cluster_id: one.label for one in last},
            {one.cluster_id: one.path for one in last},
        )

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 of all of it but when and from which file iterations were made."""
        known = hashlib.sha256()
        clusters = [ids.tolist() for ids in self.clusters]
        chance = {"timestamp", "parent_file", "parent_sha256"}
        records = [one.model_dump(mode="json", exclude=chance) for one in self.records]
        parts = [self.cell_ids.tolist(), clusters, records]
        if self.cells is not None and not self.cells.same_as(self._of_clusters):
            cells = (self.cells.labels, self.cells.paths, self.cells.given_by)
            parts.append([column.tolist() for column in cells])
        for part in parts:
            known.update(json.dumps(part, sort_keys=True).encode())
        return known.hexdigest()

    def then(
        self, partition: Partition, record: IterationRecord, cells: CellLabels | None
    ) -> "Lineage":
        """Lineage with one more iteration; ``cells`` as in the attributes.

        Raises
        ------
        CellMismatchError
            If the iteration is of other cells.
        """
        if not np.array_equal(partition.cell_ids, self.cell_ids):
            msg = "the iteration is of other cells than the ones before it"
            raise CellMismatchError(msg)
        clusters, records = (*self.clusters, partition.clusters), (*self.records, record)
        return Lineage(self.cell_ids, clusters, records, cells)

    def table(self) -> pd.DataFrame:
        """Clusters of each cell, as a :class:`~ctr_engine.tables.RefinedClusters` table."""
        columns = {
            "cell_id": self.cell_ids,
            "clusters": self.steps_of_cells,
            keys.CELL_TYPE_CELL: self.cell_labels.labels,
            keys.CELL_TYPE_CELL_PATH: self.cell_labels.paths,
            keys.CELL_TYPE_CELL_BY: self.cell_labels.given_by,
        }
        return frame(RefinedClusters, columns)


def lineage_of_table(table: pd.DataFrame, records: Sequence[IterationRecord]) -> Lineage:
    """Take a lineage up from its table.

    Raises
    ------
    CellMismatchError
        If a cell does not have one cluster for each step.
    """
    steps = len(records) + 1
    ways = [() if way is None else tuple(way) for way in table["clusters"]]
    if any(len(way) != steps or None in way for way in ways):
        msg = f"a cell does not have {steps} clusters, one for each step; refine the sample again"
        raise CellMismatchError(msg)
    clusters = tuple(np.array([way[i] for way in ways], dtype=object) for i in range(steps))
    names = (keys.CELL_TYPE_CELL, keys.CELL_TYPE_CELL_PATH, keys.CELL_TYPE_CELL_BY)
    cells = CellLabels(*(table[name].to_numpy(object) for name in names))
    return Lineage(table["cell_id"].to_numpy(object), clusters, tuple(records), cells).checked()


def _codes(ids: Ids) -> tuple[npt.NDArray[np.int64], list[str]]:
    codes, names = pd.factorize(ids)
    return codes.astype(np.int64), [str(name) for name in names]


def final_annotations(lineage: Lineage, annotations: pd.DataFrame) -> pd.DataFrame:
    """Give each cell its label after all iterations.

    Parameters
    ----------
    annotations
        Labels of Stage H, a :class:`~ctr_engine.tables.Annotations` table of the same cells.

    Returns
    -------
    A :class:`~ctr_engine.tables.FinalAnnotations` table.

    Raises
    ------
    CellMismatchError
        If the labels are of other cells.
    """
    if annotations["cell_id"].tolist() != lineage.cell_ids.tolist():
        msg = "the labels of Stage H and the iterations are not of the same cells in the same order"
        raise CellMismatchError(msg)
    common = {"cell_id": lineage.cell_ids, "clusters": lineage.steps_of_cells}
    if not lineage.records:
        names = dict(zip(_NAMES, _OF_STAGE_H, strict=True))
        given = {name: annotations[source].to_numpy() for name, source in names.items()}
        who = {"decided_by": STAGE_H, "decided_in": 0}
        return frame(FinalAnnotations, common | given | who)
    known = {one.cluster_id: one for one in lineage.records[-1].clusters}
    codes, ids = _codes(lineage.clusters[-1])
    rows = [known[name] for name in ids]
    columns = {
        name: np.array([getattr(row, source) for row in rows], dtype=object)[codes]
        for name, source in _SOURCES.items()
    }
    kinds = {"cell_type_confidence": float, "cell_type_support": float, "decided_in": np.int64}
    columns |= {name: columns[name].astype(kind) for name, kind in kinds.items()}
    cells = lineage.cell_labels
    columns |= {
        keys.CELL_TYPE_CELL: cells.labels,
        keys.CELL_TYPE_CELL_PATH: cells.paths,
        keys.CELL_TYPE_CELL_BY: cells.given_by,
    }
    return frame(FinalAnnotations, common | columns)


_NAMES = (
    "cell_type",
    "cell_type_path",
    "cell_type_root",
    "cell_type_confidence",
    "cell_type_support",
    keys.CELL_TYPE_CELL,
    keys.CELL_TYPE_CELL_PATH,
    keys.CELL_TYPE_CELL_BY,
)
_SOURCES = dict(zip(_NAMES, ("label", "path", "root", "confidence", "support"), strict=False)) | {
    "decided_by": "decided_by",
    "decided_in": "decided_in",
}


def history(lineage: Lineage, cell: str, of_stage_h: Mapping[str, Any]) -> pd.DataFrame:
    """Follow one cell.

    Parameters
    ----------
    cell
        Its id.
    of_stage_h
        Its row of the table ``annotations``.

    Returns
    -------
    A :class:`~ctr_engine.tables.CellHistory` table, one row per step.

    Raises
    ------
    CellMismatchError
        If there is no such cell.
    """
    found = np.flatnonzero(lineage.cell_ids == cell)
    if len(found) != 1:
        msg = f"there is no cell {cell!r}"
        raise CellMismatchError(msg)
    way = [str(ids[found[0]]) for ids in lineage.clusters]
    rows = [_first_step(cell, way[0], of_stage_h)]
    for record, before, after in zip(lineage.records, way, way[1:], strict=False):
        (state,) = [one for one in record.clusters if one.cluster_id == after]
        rows.append(_step(cell, state, record, before))
    return from_rows(CellHistory, rows)


def _first_step(cell: str, cluster: str, of_stage_h: Mapping[str, Any]) -> dict[str, Any]:
    label, path, root, confidence = (of_stage_h[name] for name in _OF_STAGE_H[:4])
    return {
        "cell_id": cell,
        "iteration": 0,
        "cluster_id": cluster,
        "cell_type": str(label),
        "cell_type_path": str(path),
        "cell_type_root": str(root),
        "cell_type_confidence": float(confidence),
        "decided_by": STAGE_H,
        "operation": None,
        **dict.fromkeys(("source", "reason", "author", "date")),
    }


def _step(cell: str, state: ClusterRecord, record: IterationRecord, before: str) -> dict[str, Any]:
    operation = operation_on(record.plan, before)
    given = ("source", "reason", "author", "date")
    return {
        "cell_id": cell,
        "iteration": record.iteration,
        "cluster_id": state.cluster_id,
        "cell_type": state.label,
        "cell_type_path": state.path,
        "cell_type_root": state.root,
        "cell_type_confidence": state.confidence,
        "decided_by": state.decided_by,
        "operation": None if operation is None else operation.op,
        **{name: None if operation is None else getattr(operation, name) for name in given},
    }


def operation_on(plan: Plan, cluster: str) -> Any:
    """Give the operation of a plan that changed a cluster; None where none did."""
    found = [one for one in plan.operations if cluster in clusters_of(one)]
    return found[-1] if found else None


def overrides_in(lineage: Lineage) -> dict[str, Override]:
    """Overrides that hold a label now, by cluster."""
    held = lineage.partition.held
    found = [
        one
        for record in lineage.records
        for one in record.plan.operations
        if isinstance(one, Override)
    ]
    return {
        one.cluster: one
        for one in found
        if one.cluster in held and held[one.cluster].by == "override"
    }
