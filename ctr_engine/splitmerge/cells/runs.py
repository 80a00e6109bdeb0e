"""Several clusterings of the same cells: what a consensus is made of."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ctr_engine.clustering.pipeline import ClusteringParams, leiden
from ctr_engine.splitmerge.cells.params import ConsensusParams


def run_params(clustering: ClusteringParams, params: ConsensusParams) -> list[ClusteringParams]:
    """Parameters of each run: seeds from that of the clustering on, resolutions in turn."""
    resolutions = params.resolutions or (clustering.resolution,)
    return [
        clustering.model_copy(
            update={
                "random_state": (clustering.random_state + run) % 2**32,
                "resolution": resolutions[run % len(resolutions)],
            }
        )
        for run in range(params.n_runs)
    ]


def leiden_runs(
    graph: sp.csr_matrix,
    clustering: ClusteringParams,
    params: ConsensusParams,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[npt.NDArray[np.str_]]:
    """Cluster one graph of neighbours again and again.

    igraph's generator is one for the process, so the runs come one after the other.
    """
    found = []
    for done, one in enumerate(run_params(clustering, params)):
        progress(done, params.n_runs)
        found.append(leiden(graph, one))
    return found
