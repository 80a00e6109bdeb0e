"""Compares two stored runs: cells, clusters, and the edits behind what changed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from ctr_engine.comparison.causes import Attribution, Cause
from ctr_engine.comparison.cells import (
    Agreement,
    agreement,
    cell_changes,
    label_flow,
    label_overlap,
    shared_cells,
)
from ctr_engine.comparison.differences import Difference, as_text, differences, same_cells
from ctr_engine.comparison.state import Labels
from ctr_engine.comparison.steps import parting
from ctr_engine.gating.near_misses import label_of
from ctr_engine.stored import StoredRun
from ctr_engine.tables import ClusterChanges, RunDifferences, from_rows, natural_key


@dataclass(frozen=True)
class Comparison:
    """What changed between run A and run B; ``tables`` are those of ``COMPARISON_TABLES``."""

    run_a: str
    run_b: str
    agreement: Agreement
    same_clusters: bool
    tables: dict[str, pd.DataFrame]
    warnings: tuple[str, ...] = ()

    @property
    def n_clusters_changed(self) -> int:
        """Clusters of run B with another label than in run A."""
        return int(self.tables["cluster_changes"]["changed"].sum())

    def as_json(self) -> dict[str, Any]:
        """Everything but the single cells, ready for JSON."""
        shown = {name: table for name, table in self.tables.items() if name != "cell_changes"}
        return {
            "run_a": self.run_a,
            "run_b": self.run_b,
            "agreement": asdict(self.agreement),
            "same_clusters": self.same_clusters,
            "warnings": list(self.warnings),
            **{name: _records(table) for name, table in shown.items()},
        }


def compare(a: StoredRun, b: StoredRun) -> Comparison:
    """Compare two runs, of which ``b`` is the later one.

    Raises
    ------
    CtrError
        If the runs share no cell.
    """
    cells = shared_cells(a, b)
    overlap = label_overlap(cells)
    pairs = _pairs(cells, b)
    same = _same_clusters(a, b, cells)
    differ = differences(a, b, same_clusters=same)
    labels = Labels()
    if same:
        attribution = Attribution.forwards(a, differ, labels)
    else:
        attribution = Attribution.backwards(b, differ, labels)
    changes = _cluster_changes(a, b, pairs, differ, attribution, same)
    tables = {
        "label_flow": label_flow(cells),
        "label_overlap": overlap,
        "cluster_changes": changes,
        "cell_changes": cell_changes(cells),
        "differences": _differences(differ, attribution, changes, same),
    }
    found = agreement(a, b, cells, overlap)
    return Comparison(a.name, b.name, found, same, tables, _warnings(a, b))


def _warnings(a: StoredRun, b: StoredRun) -> tuple[str, ...]:
    """Say where cells may have been matched that have nothing but their name in common."""
    if a.manifest.sample.sha256 == b.manifest.sample.sha256 or same_cells(a, b):
        return ()
    files = f"A: {a.manifest.sample.path}; B: {b.manifest.sample.path}"
    what = "The runs read different samples or values; cells are matched by their names only."
    return (f"{what} {files}",)


def _same_clusters(a: StoredRun, b: StoredRun, cells: pd.DataFrame) -> bool:
    """Whether both runs have the same cells under the same cluster ids."""
    whole = len(a.tables["annotations"]) == len(b.tables["annotations"]) == len(cells)
    return whole and bool((cells["cluster_a"] == cells["cluster_b"]).all())


def _pairs(cells: pd.DataFrame, b: StoredRun) -> pd.DataFrame:
    """Cluster of run A that has most cells of each cluster of run B, and its share of them."""
    counts = cells.groupby(["cluster_b", "cluster_a"]).size().rename("n").reset_index()
    natural = sorted(set(counts["cluster_a"]), key=natural_key)
    counts["order"] = counts["cluster_a"].map({name: i for i, name in enumerate(natural)})
    best = counts.sort_values(["n", "order"], ascending=[False, True]).drop_duplicates("cluster_b")
    sizes = b.tables["cluster_annotations"].set_index("cluster_id")["n_cells"]
    best = best.set_index("cluster_b").reindex(sizes.index)
    return pd.DataFrame({"cluster_a": best["cluster_a"], "share": (best["n"] / sizes).fillna(0.0)})


def _cluster_changes(
    a: StoredRun,
    b: StoredRun,
    pairs: pd.DataFrame,
    differ: Sequence[Difference],
    attribution: Attribution,
    same: bool,
) -> pd.DataFrame:
    paths_a = a.tables["cluster_annotations"].set_index("cluster_id")["assigned_path"]
    steps = [dict(list(run.tables["decision_steps"].groupby("cluster_id"))) for run in (a, b)]
    rows = []
    for row in b.tables["cluster_annotations"].to_dict("records"):
        cluster_b, path_b = row["cluster_id"], row["assigned_path"]
        cluster_a = pairs["cluster_a"][cluster_b]
        known = isinstance(cluster_a, str)
        path_a = str(paths_a[cluster_a]) if known else ""
        changed = known and path_a != path_b
        where = None
        if changed:
            where = parting(steps[0][cluster_a], steps[1][cluster_b], (a.gap_of, b.gap_of))
        cause = None
        if changed and same:
            cause = attribution.cause_of(cluster_b, path_b)
        elif changed:
            cause = _taken_back(cluster_b, path_a, differ, attribution)
        rows.append(
            {
                "cluster_b": cluster_b,
                "cluster_a": cluster_a if known else None,
                "n_cells": int(row["n_cells"]),
                "share_shared": float(pairs["share"][cluster_b]),
                "label_a": label_of(path_a) if known else None,
                "path_a": path_a,
                "label_b": row["assigned_label"],
                "path_b": path_b,
                "changed": changed,
                "step_idx": None if where is None else where.step_idx,
                "parent_path": None if where is None else where.parent_path,
                "step": None if where is None else where.words,
                "causes": [] if cause is None else list(cause.names),
                "causes_are": None if cause is None else cause.how,
            }
        )
    return from_rows(ClusterChanges, rows)


def _taken_back(
    cluster_id: str, path_a: str, differ: Sequence[Difference], attribution: Attribution
) -> Cause:
    """Edits without which the cluster of run B would have the label of run A; else the clusters."""
    cause = attribution.cause_of(cluster_id, path_a)
    if cause.how != "unknown":
        return cause
    return Cause(tuple(one.name for one in differ if one.undo is None), "clusters")


def _differences(
    differ: Sequence[Difference], attribution: Attribution, changes: pd.DataFrame, same: bool
) -> pd.DataFrame:
    changed = changes[changes["changed"]].set_index("cluster_b")
    side = changed["path_b" if same else "path_a"]
    wanted = {str(cluster): str(path) for cluster, path in side.items()}
    rows = []
    for one in differ:
        known = same or one.name in attribution.edits
        alone = (
            attribution.explained_alone(one.name, wanted) if one.name in attribution.edits else []
        )
        rows.append(
            {
                "name": one.name,
                "kind": one.kind,
                "value_a": as_text(one.value_a),
                "value_b": as_text(one.value_b),
                "set_in_b": one.set_in,
                "n_clusters_alone": len(alone) if known else None,
                "n_cells_alone": int(changed["n_cells"][alone].sum()) if known else None,
            }
        )
    return from_rows(RunDifferences, rows)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with null as None."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]
