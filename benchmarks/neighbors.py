"""Seconds and recall of the neighbour search among panels, beside the exact one.

    python -m benchmarks.neighbors [N_CELLS | SAMPLE.h5ad LAYER]

Cells are those of a sample, or a mixture of 20 types with 40 markers; in 30 components. Recall is
the share of the exact 15 neighbours that are found, over 2,000 cells.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctr_engine.clustering.panels import panel_neighbors
from ctr_engine.clustering.pca import pca
from ctr_engine.expression import ExpressionParams, ExpressionView, read_expression
from ctr_engine.io.samples import read_sample
from ctr_engine.markers.panel import Panel

N_NEIGHBORS, CHECKED = 15, 2_000


def mixture(n_cells: int) -> ExpressionView:
    """Simulate a sample of 20 types."""
    rng = np.random.default_rng(0)
    centres = rng.gamma(1, 1.2, (20, 40))
    values = centres[rng.integers(0, 20, n_cells)] + rng.normal(0, 0.6, (n_cells, 40))
    panel = Panel(tuple(f"m{i}" for i in range(40)))
    cells = np.arange(n_cells).astype(str)
    return ExpressionView(values.astype(np.float32), cells, panel, "X", pd.DataFrame())


def chosen(arguments: list[str]) -> ExpressionView:
    """Read the sample that is named, or simulate one."""
    if len(arguments) == 2:
        return read_expression(
            read_sample(Path(arguments[0])), ExpressionParams(layer=arguments[1])
        )
    return mixture(int(arguments[0]) if arguments else 100_000)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def main() -> None:
    """Print one line for each search."""
    from sklearn.neighbors import NearestNeighbors

    cells = pca(chosen(sys.argv[1:]), 30)
    n_cells = len(cells)
    cores = os.cpu_count() or 1
    print(f"{platform.machine()}, {cores} cores, {n_cells:,} cells")
    rows = np.random.default_rng(1).choice(n_cells, CHECKED, replace=False)
    search = NearestNeighbors(n_neighbors=N_NEIGHBORS, algorithm="brute").fit(cells)
    exact = search.kneighbors(cells[rows], return_distance=False)
    per_cell, _ = timed(lambda: search.kneighbors(cells[: min(n_cells, 20_000)]))
    whole = per_cell * n_cells / min(n_cells, 20_000)
    seconds, (found, _) = timed(lambda: panel_neighbors(cells, N_NEIGHBORS, n_jobs=cores))
    pairs = zip(exact.tolist(), found[rows].tolist(), strict=True)
    recall = np.mean([len(set(a) & set(b)) / N_NEIGHBORS for a, b in pairs])
    print(f"exact (from 20,000 of the cells): {whole:8.1f} s")
    print(f"panels:                           {seconds:8.1f} s, {whole / seconds:.1f} x faster")
    print(f"recall of panels: {recall:.3f}")


if __name__ == "__main__":
    main()
