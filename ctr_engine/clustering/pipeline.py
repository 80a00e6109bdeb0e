"""The one recipe for clusters: scale, PCA, k-NN graph, Leiden."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pydantic import Field

from ctr_engine.clustering.neighbors import nearest_neighbors, umap_connectivities
from ctr_engine.clustering.pca import pca
from ctr_engine.expression import ExpressionView
from ctr_engine.params import Count, Params, Real

LEIDEN_ITERATIONS = 2


class ClusteringParams(Params):
    """How cells are clustered. Defaults are those of the reference workflow."""

    n_pcs: Annotated[Count, Field(ge=1)] = Field(
        30, description="Principal components; at most markers - 1 and cells - 1."
    )
    n_neighbors: Annotated[Count, Field(ge=2)] = Field(
        15, description="Neighbours of a cell, itself included, as scanpy counts them."
    )
    resolution: Annotated[Real, Field(gt=0)] = Field(
        0.6, description="Resolution of Leiden; larger gives more clusters."
    )
    random_state: Annotated[Count, Field(ge=0, lt=2**32)] = Field(
        1337, description="Seed of Leiden."
    )


def knn_graph(
    coordinates: npt.NDArray[np.float32], params: ClusteringParams, *, n_jobs: int = 1
) -> sp.csr_matrix:
    """Build the weighted neighbour graph of the cells.

    Parameters
    ----------
    coordinates
        Principal components, shape ``(n_cells, n_pcs)``.

    Returns
    -------
    Symmetric UMAP connectivities, shape ``(n_cells, n_cells)``.
    """
    return umap_connectivities(*nearest_neighbors(coordinates, params.n_neighbors, n_jobs=n_jobs))


def leiden(graph: sp.csr_matrix, params: ClusteringParams) -> npt.NDArray[np.str_]:
    """Find communities of the graph (Traag, Waltman & van Eck 2019), modularity, two iterations.

    Returns
    -------
    Cluster id of each cell as text, ``"0"`` the largest; clusters of equal size by their first
    cell.
    """
    import igraph

    upper = sp.coo_matrix(sp.triu(graph, k=1))
    edges = np.column_stack([upper.row, upper.col])
    network = igraph.Graph(n=graph.shape[0], edges=edges, directed=False)
    with _igraph_seed(igraph, params.random_state):
        found = network.community_leiden(
            objective_function="modularity",
            weights=upper.data.astype(np.float64).tolist(),
            resolution=params.resolution,
            n_iterations=LEIDEN_ITERATIONS,
        )
    return number_by_size(np.asarray(found.membership))


def number_by_size(membership: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    """Number groups from 0, the largest first, equal sizes by their first cell."""
    _, first, codes, sizes = np.unique(
        membership, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    return number[codes].astype(str)


def cluster_cells(
    view: ExpressionView,
    params: ClusteringParams,
    *,
    n_jobs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.float32], sp.csr_matrix]:
    """Run the whole recipe.

    Returns
    -------
    Cluster ids, principal components and the neighbour graph.
    """
    progress("pca")
    coordinates = pca(view, params.n_pcs)
    progress("knn_graph")
    graph = knn_graph(coordinates, params, n_jobs=n_jobs)
    progress("leiden_clusters")
    return leiden(graph, params), coordinates, graph


@contextmanager
def _igraph_seed(igraph: Any, seed: int) -> Iterator[None]:
    """Seed igraph's generator, which the whole process shares, for one call only."""
    igraph.set_random_number_generator(random.Random(seed))  # noqa: S311  not for secrets
    try:
        yield
    finally:
        igraph.set_random_number_generator(random)
