"""What becomes of cells whose type the map does not have: each known type is removed in turn."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from benchmarks.accuracy.labelled import Labelled
from benchmarks.accuracy.measure import PROFILES, Row
from ctr_engine.analysis import annotate
from ctr_engine.evaluation import ancestry, majorities
from ctr_engine.keys import (
    CELL_TYPE_CELL_PATH,
    CELL_TYPE_PATH,
    CELL_TYPE_SUPPORT,
    PATH_SEPARATOR,
)
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.parse import parse_marker_map

LEAST_CELLS = 20


def without(marker_map: MarkerMap, path: str) -> MarkerMap | None:
    """Give the map without a cell type and all below it; None where nothing would be left."""
    content = json.loads(json.dumps(marker_map.as_source()))
    *parents, label = path.split(PATH_SEPARATOR)
    level = content
    for parent in parents:
        level = level[parent]["subtypes" if "subtypes" in level[parent] else "children"]
    del level[label]
    if not any(not name.startswith("_") for name in content):
        return None
    return parse_marker_map(json.dumps(content), f"{path} left out")


def open_set(one: Labelled, seed: int, resolution: float) -> Iterator[Row]:
    """One row per profile and removed type, of its cells in clusters where it is the commonest.

    Cells that are few among others have no label of their own to lose. A cell is *committed* where
    its cluster reached a leaf. ``refused_by_label``: share of the removed type's cells that are
    unassigned or stop at an ancestor; ``refused_by_own_label``: the same by the label of the cell
    alone. ``refused_by_support``: share of them
    that is not committed when only as many cells of the sample are as under ``reference``, those
    with the most support. ``auroc``: of support, cells of the removed type that got a wrong label
    against other cells that got a right one or an ancestor of it.
    """
    clusters, truth = one.clusters(seed, resolution), np.array(one.truth, dtype=object)
    best = majorities(clusters.tolist(), one.truth)
    commonest = np.array([best[c] if c in best else "" for c in clusters], dtype=object)
    for path in sorted(set(one.truth) - {""}):
        mine = (truth == path) & (commonest == path)
        reduced = without(one.marker_map, path)
        if mine.sum() < LEAST_CELLS or reduced is None:
            continue
        n_committed = None
        for profile in PROFILES:
            params = one.params(profile, seed, resolution)
            tables = annotate(
                one.view, reduced, params, clusters=clusters.tolist(), n_jobs=2
            ).tables
            seen = _Seen.of(tables, truth, path)
            n_committed = int(seen.committed.sum()) if n_committed is None else n_committed
            row = {"set": one.name, "seed": seed, "profile": profile, "removed": path}
            yield row | {
                "n_cells": int(mine.sum()),
                "coverage": float(seen.committed.mean()),
                "refused_by_label": float(seen.refused[mine].mean()),
                "refused_by_own_label": float(seen.refused_own[mine].mean()),
                "refused_by_support": seen.refused_at(n_committed, mine),
                "auroc": seen.auroc(mine),
            }


@dataclass(frozen=True)
class _Seen:
    """What became of the cells; arrays have one entry for each."""

    committed: npt.NDArray[np.bool_]
    refused: npt.NDArray[np.bool_]
    refused_own: npt.NDArray[np.bool_]
    right: npt.NDArray[np.bool_]
    support: npt.NDArray[np.float64]

    @classmethod
    def of(cls, tables: Mapping[str, Any], truth: npt.NDArray[np.object_], removed: str) -> "_Seen":
        annotated = tables["cluster_annotations"]
        leaves = annotated.loc[annotated["stop_reason"] == "leaf_reached", "assigned_path"]
        cells = tables["annotations"]
        paths = cells[CELL_TYPE_PATH]
        above = {path: ancestry(path) for path in set(truth)}
        refusing = {"", *(ancestry(removed) - {removed})}
        return cls(
            paths.isin(set(leaves)).to_numpy(),
            paths.isin(refusing).to_numpy(),
            cells[CELL_TYPE_CELL_PATH].isin(refusing).to_numpy(),
            np.array([found in above[true] for found, true in zip(paths, truth, strict=True)]),
            cells[CELL_TYPE_SUPPORT].to_numpy(),
        )

    def refused_at(self, n_committed: int, mine: npt.NDArray[np.bool_]) -> float:
        """Share of some cells outside the best supported ones of those that are committed."""
        order = np.argsort(np.where(self.committed, -self.support, 1), kind="stable")
        kept = np.zeros(len(order), dtype=bool)
        kept[order[:n_committed]] = True
        return float((~(kept & self.committed))[mine].mean())

    def auroc(self, mine: npt.NDArray[np.bool_]) -> float:
        """Chance that a right cell has more support than one whose type was removed."""
        wrong = mine & ~self.refused
        asked = wrong | (self.right & ~mine)
        if not wrong.any() or not (asked & ~wrong).any():
            return np.nan
        return float(roc_auc_score(~wrong[asked], self.support[asked]))
