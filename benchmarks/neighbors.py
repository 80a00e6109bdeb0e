"""Seconds and recall of the neighbour search among panels, beside the exact one.

    python -m benchmarks.neighbors [N_CELLS]

Cells are a mixture of 20 types with 40 markers, in 30 components. Recall is the share of the exact
15 neighbours that are found, over 2,000 cells.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ctr_engine.clustering.panels import panel_neighbors
from ctr_engine.clustering.pca import pca
from ctr_engine.expression import ExpressionView
from ctr_engine.markers.panel import Panel

N_NEIGHBORS, CHECKED = 15, 2_000


def mixture(n_cells: int) -> np.ndarray:
    """Components of a simulated sample."""
    rng = np.random.default_rng(0)
    centres = rng.gamma(1, 1.2, (20, 40))
    values = centres[rng.integers(0, 20, n_cells)] + rng.normal(0, 0.6, (n_cells, 40))
    panel = Panel(tuple(f"m{i}" for i in range(40)))
    cells = np.arange(n_cells).astype(str)
    return pca(ExpressionView(values.astype(np.float32), cells, panel, "X", pd.DataFrame()), 30)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def main() -> None:
    """Print one line for each search."""
    from sklearn.neighbors import NearestNeighbors

    n_cells = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    cores = os.cpu_count() or 1
    print(f"{platform.machine()}, {cores} cores, {n_cells:,} cells")
    cells = mixture(n_cells)
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
