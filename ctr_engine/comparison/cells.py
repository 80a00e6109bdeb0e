"""The cells of two runs: which label they had, which they have, and how far the labels agree."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ctr_engine.errors import CtrError
from ctr_engine.gating.near_misses import label_of
from ctr_engine.stored import StoredRun
from ctr_engine.tables import CellChanges, LabelFlow, LabelOverlap, frame, from_rows


@dataclass(frozen=True)
class Agreement:
    """How far two runs agree about the cells that both have.

    The adjusted Rand index (Hubert & Arabie 1985) is 1 for equal partitions and 0 on average for
    independent ones.
    """

    n_cells: int
    n_cells_changed: int
    n_cells_only_a: int
    n_cells_only_b: int
    ari_labels: float
    ari_clusters: float
    mean_jaccard: float


def shared_cells(a: StoredRun, b: StoredRun) -> pd.DataFrame:
    """Cells of both runs with cluster and path in each; columns as in ``cell_changes``.

    Raises
    ------
    CtrError
        If the runs share no cell.
    """
    columns = {"cluster_lvl0": "cluster", "cell_type_auto_path": "path"}
    sides = [
        run.tables["annotations"][["cell_id", *columns]].rename(
            columns={name: f"{short}_{side}" for name, short in columns.items()}
        )
        for run, side in ((a, "a"), (b, "b"))
    ]
    cells = sides[0].merge(sides[1], on="cell_id", validate="one_to_one")
    if cells.empty:
        msg = f"{a.name} and {b.name} share no cell; compare two runs on the same sample"
        raise CtrError(msg)
    return cells[["cell_id", "cluster_a", "cluster_b", "path_a", "path_b"]]


def agreement(a: StoredRun, b: StoredRun, cells: pd.DataFrame, overlap: pd.DataFrame) -> Agreement:
    """Count and measure how far the runs agree."""
    from sklearn.metrics import adjusted_rand_score

    return Agreement(
        n_cells=len(cells),
        n_cells_changed=int((cells["path_a"] != cells["path_b"]).sum()),
        n_cells_only_a=len(a.tables["annotations"]) - len(cells),
        n_cells_only_b=len(b.tables["annotations"]) - len(cells),
        ari_labels=float(adjusted_rand_score(cells["path_a"], cells["path_b"])),
        ari_clusters=float(adjusted_rand_score(cells["cluster_a"], cells["cluster_b"])),
        mean_jaccard=float(overlap["jaccard"].mean()),
    )


def label_flow(cells: pd.DataFrame) -> pd.DataFrame:
    """Count the cells for each pair of labels (table ``label_flow``), the largest first."""
    pairs = cells.groupby(["path_a", "path_b"], sort=True).size().rename("n_cells").reset_index()
    pairs = pairs.sort_values("n_cells", ascending=False, kind="stable", ignore_index=True)
    totals = pairs.groupby("path_a")["n_cells"].transform("sum")
    return frame(
        LabelFlow,
        {
            "label_a": pairs["path_a"].map(label_of),
            "path_a": pairs["path_a"],
            "label_b": pairs["path_b"].map(label_of),
            "path_b": pairs["path_b"],
            "n_cells": pairs["n_cells"].astype(np.int64),
            "share_of_a": pairs["n_cells"] / totals,
            "changed": pairs["path_a"] != pairs["path_b"],
        },
    )


def label_overlap(cells: pd.DataFrame) -> pd.DataFrame:
    """Give the Jaccard index of each label (table ``label_overlap``), by size."""
    rows = []
    for path in sorted({*cells["path_a"], *cells["path_b"]}):
        in_a, in_b = cells["path_a"] == path, cells["path_b"] == path
        both = int((in_a & in_b).sum())
        rows.append(
            {
                "label": label_of(path),
                "path": path,
                "n_cells_a": int(in_a.sum()),
                "n_cells_b": int(in_b.sum()),
                "n_cells_both": both,
                "jaccard": both / int((in_a | in_b).sum()),
            }
        )
    rows.sort(key=lambda row: -max(row["n_cells_a"], row["n_cells_b"]))
    return from_rows(LabelOverlap, rows)


def cell_changes(cells: pd.DataFrame) -> pd.DataFrame:
    """List the cells with another label (table ``cell_changes``)."""
    changed = cells[cells["path_a"] != cells["path_b"]].reset_index(drop=True)
    return frame(CellChanges, {name: changed[name] for name in changed.columns})
