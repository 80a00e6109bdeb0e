"""Seconds per setting of ``ctr tune`` beside one ``ctr annotate --annotation-only``.

python -m benchmarks.tuning [N_CELLS]

30 clusters, 40 cell types, 1,000 settings of four parameters, one of which moves the scores. Both
commands run in fresh processes, imports included, median of three; tune draws its heat map.
"""

import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

N_CLUSTERS, N_MARKERS = 30, 40
ROOTS, CHILDREN, LEAVES = 4, 3, 2
GRID = (
    "--gating", "min_coverage.0=0.1:1.0:0.1", "--gating", "min_pos_frac.0=0.1:0.5:0.1",
    "--gating", "min_gap.1=0.1:0.4:0.1", "--scoring", "anti_weight=0.2,0.4,0.6,0.8,1.0",
)  # fmt: skip
N_SETTINGS = 10 * 5 * 4 * 5


def marker_map() -> dict[str, object]:
    """Four roots, three cell types below each, two below each of these: 40 in all."""
    starts = itertools.count(0, 3)

    def node(**below: object) -> dict[str, object]:
        start = next(starts)
        markers = [f"M{(start + i) % N_MARKERS:02d}" for i in range(3)]
        return {"markers": markers, **({"subtypes": below} if below else {})}

    def middle(root: int, child: int) -> dict[str, object]:
        return node(**{f"L{root}{child}{leaf}": node() for leaf in range(LEAVES)})

    return {
        f"R{root}": node(**{f"C{root}{child}": middle(root, child) for child in range(CHILDREN)})
        for root in range(ROOTS)
    }


def timed(command: list[str]) -> float:
    """Median seconds of three runs of a command."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def sample(n_cells: int) -> anndata.AnnData:
    """Cells of 30 clusters, each with its own level of each marker."""
    random = np.random.default_rng(0)
    clusters = random.integers(0, N_CLUSTERS, n_cells)
    centres = random.gamma(1.0, 1.0, (N_CLUSTERS, N_MARKERS))
    values = np.clip(centres[clusters] + random.normal(0, 0.5, (n_cells, N_MARKERS)), 0, None)
    names = [f"cell_{i}" for i in range(n_cells)]
    return anndata.AnnData(
        values.astype(np.float32),
        obs=pd.DataFrame({"cluster_lvl0": clusters.astype(str)}, index=names),
        var=pd.DataFrame(index=[f"M{i:02d}" for i in range(N_MARKERS)]),
    )


def main() -> None:
    """Print both times and their ratio."""
    n_cells = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    ctr = str(Path(sys.executable).with_name("ctr"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample(n_cells).write_h5ad(folder / "sample.h5ad")
        (folder / "map.json").write_text(json.dumps(marker_map()))
        files = [str(folder / "sample.h5ad"), "--marker-map", str(folder / "map.json")]
        annotate = [ctr, "annotate", *files, "--output-dir", str(folder / "run")]
        one = timed([*annotate, "--annotation-only", "--no-figures"])
        tune = [ctr, "tune", str(folder / "run"), *GRID, "--output-dir", str(folder / "tune")]
        many = timed(tune)
    print(f"{platform.machine()}, {os.cpu_count()} cores; {n_cells:,} cells, 30 clusters, 40 nodes")
    print(f"ctr annotate --annotation-only  {one:8.2f} s")
    print(f"ctr tune, {N_SETTINGS:,} settings     {many:8.2f} s")
    print(f"one setting takes 1/{one / many * N_SETTINGS:,.0f} of one annotation")


if __name__ == "__main__":
    main()
