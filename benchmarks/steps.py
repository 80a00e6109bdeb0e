"""Seconds of each step of Stage H up to the statistics, on a simulated mixture, and peak memory.

python -m benchmarks.steps [N_CELLS]
"""

import os
import platform
import resource
import sys

from benchmarks.neighbors import mixture, timed
from ctr_engine.cluster_statistics import StatisticsParams, cluster_statistics
from ctr_engine.clustering.neighbors import nearest_neighbors, umap_connectivities
from ctr_engine.clustering.pca import pca
from ctr_engine.clustering.pipeline import ClusteringParams, leiden
from ctr_engine.de import DEParams, de_lookup


def main() -> None:
    """Print one line for each step."""
    n_cells = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    cores = os.cpu_count() or 1
    print(f"{platform.machine()}, {cores} cores, {n_cells:,} cells x 40 markers")
    view = mixture(n_cells)
    seconds = {}
    seconds["scale and PCA"], cells = timed(lambda: pca(view, 30))
    seconds["k-NN"], found = timed(lambda: nearest_neighbors(cells, 15, n_jobs=cores))
    seconds["UMAP weights"], graph = timed(lambda: umap_connectivities(*found))
    seconds["Leiden"], ids = timed(lambda: leiden(graph, ClusteringParams()))
    seconds["statistics"], statistics = timed(
        lambda: cluster_statistics(view, ids.tolist(), StatisticsParams(), n_jobs=cores)
    )
    seconds["DE"], _ = timed(lambda: de_lookup(statistics, DEParams()))
    for name, value in seconds.items():
        print(f"{name:14}{value:8.2f} s")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    print(f"peak memory   {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:8.0f} MiB")


if __name__ == "__main__":
    main()
