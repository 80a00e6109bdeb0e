"""Stored runs that are made in memory, on cells whose numbers can be counted by hand.

Every marker of :func:`counted` is 1 in a fifth of the cells and 0 in the others. In a cluster where
the share ``f`` of the cells has it, its positive fraction is ``f`` and its enrichment is
``(f - 0.2) / 0.4``; without a DE bonus a cell type of this one marker scores ``3.5 f - 0.5``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from ctr_engine.analysis import AnalysisParams, annotate, run_record
from ctr_engine.expression import ExpressionView
from ctr_engine.manifest import Manifest, MapRecord, SampleRecord
from ctr_engine.markers.panel import Panel
from ctr_engine.stored import StoredRun
from tests.builders import marker_map

Counts = Mapping[str, Mapping[str, int]]
N_CLUSTERS, N_CELLS = 10, 10
"""Clusters "0" to "9" of ten cells each."""
NO_BONUS = {"de_bonus": 0.0}


@dataclass(frozen=True)
class Cells:
    """Values of some cells, their names and clusters."""

    values: Sequence[Sequence[float]]
    markers: Sequence[str]
    clusters: Sequence[str]
    names: Sequence[str]

    def view(self) -> ExpressionView:
        """Values as they are."""
        names = np.array(self.names)
        values = np.asarray(self.values, dtype=np.float32)
        return ExpressionView(
            values, names, Panel(tuple(self.markers)), "X", pd.DataFrame(index=names)
        )

    def take(self, rows: Sequence[int]) -> "Cells":
        """Some of the cells, in the given order."""
        parts = (self.values, self.clusters, self.names)
        values, clusters, names = ([part[row] for row in rows] for part in parts)
        return Cells(values, self.markers, clusters, names)

    def renamed(self, clusters: Mapping[str, str]) -> "Cells":
        """The same cells under other cluster ids."""
        ids = [clusters[name] if name in clusters else name for name in self.clusters]
        return Cells(self.values, self.markers, ids, self.names)


def counted(counts: Counts) -> Cells:
    """Hundred cells in ten clusters; ``counts`` has the positive cells by marker and cluster.

    What is missing to 20 positive cells of a marker is put into clusters "9" and "8".
    """
    columns = [_column(dict(by_cluster)) for by_cluster in counts.values()]
    clusters = [str(i) for i in range(N_CLUSTERS) for _ in range(N_CELLS)]
    names = [f"cell_{i}" for i in range(len(clusters))]
    return Cells(np.column_stack(columns).tolist(), list(counts), clusters, names)


def _column(by_cluster: dict[str, int]) -> list[float]:
    left = N_CLUSTERS * N_CELLS // 5 - sum(by_cluster.values())
    assert left >= 0, "more than a fifth of the cells"
    for filler in ("9", "8"):
        known = by_cluster[filler] if filler in by_cluster else 0
        added = min(left, N_CELLS - known)
        by_cluster[filler], left = known + added, left - added
    assert not left, "no room for the other positive cells"
    return [
        float(i < (by_cluster[str(cluster)] if str(cluster) in by_cluster else 0))
        for cluster in range(N_CLUSTERS)
        for i in range(N_CELLS)
    ]


def cells_of(case: Mapping[str, Any]) -> Cells:
    """Cells of a random case of ``tests.test_oracle_cases``."""
    names = [f"cell_{i}" for i in range(len(case["clusters"]))]
    return Cells(case["expression"], case["markers"], case["clusters"], names)


def stored(
    cells: Cells,
    content: Mapping[str, Any],
    name: str = "a",
    *,
    sample: str = "sample.h5ad",
    cluster_key: str | None = None,
    **raw: Any,
) -> StoredRun:
    """Stored run of the cells with a map and parameters.

    The schemas of its tables, most of the time of a small run, have tests elsewhere.
    """
    params, tree = AnalysisParams.model_validate(raw), marker_map(content)
    view = cells.view()
    with patch("ctr_engine.tables.checked", lambda _, table: table):
        result = annotate(view, tree, params, clusters=list(cells.clusters))
    manifest = Manifest(
        **run_record(params, view, tree),
        versions={},
        sample=SampleRecord(path=sample, sha256=sample),
        marker_map=MapRecord(path="map.json", content_hash=tree.content_hash),
        cluster_key=cluster_key,
        warnings=(),
        seconds=0.0,
        finished_at="",
        files={},
    )
    return StoredRun(name, manifest, params, tree, result.tables)


def labels(run: StoredRun) -> dict[str, str]:
    """Path of the label of each cluster."""
    table = run.tables["cluster_annotations"]
    return dict(zip(table["cluster_id"], table["assigned_path"], strict=True))
