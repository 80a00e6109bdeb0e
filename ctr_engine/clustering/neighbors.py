"""The nearest neighbours of each cell and UMAP's weights on them; nothing is compiled."""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from ctr_engine.clustering.panels import panel_neighbors

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_BISECTIONS = 64
_TOLERANCE = 1e-5
_MIN_SCALE = 1e-3
EXACT_CELLS = 50_000
"""Up to here every pair of cells is compared; beyond, only cells of nearby panels."""
_CELLS_PER_THREAD = 1_024
"""Below this scikit-learn splits a search in a way whose ties depend on the number of threads."""


def nearest_neighbors(
    coordinates: Float32, n_neighbors: int, *, n_jobs: int = 1
) -> tuple[npt.NDArray[np.int64], Float64]:
    """Find the nearest neighbours by Euclidean distance.

    They are exact up to :data:`EXACT_CELLS` cells; beyond, see :mod:`ctr_engine.clustering.panels`.

    Parameters
    ----------
    coordinates
        Shape ``(n_cells, n_pcs)``.
    n_neighbors
        Neighbours counted as scanpy counts them, the cell itself included; reduced to ``n_cells``.
    n_jobs
        Threads; the result does not depend on it.

    Returns
    -------
    Indices and distances, shape ``(n_cells, n_neighbors)``, nearest first. Column 0 is the cell
    itself, at 0.
    """
    n_cells = len(coordinates)
    n_neighbors = min(n_neighbors, n_cells)
    if n_cells > EXACT_CELLS:
        return _self_first(*panel_neighbors(coordinates, n_neighbors, n_jobs=n_jobs))
    return _self_first(*_every_pair(coordinates, n_neighbors, n_jobs))


def _every_pair(
    coordinates: Float32, n_neighbors: int, n_jobs: int
) -> tuple[npt.NDArray[np.int64], Float64]:
    from sklearn.neighbors import NearestNeighbors

    threads = max(1, min(n_jobs, len(coordinates) // _CELLS_PER_THREAD - 1))
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute", metric="euclidean")
    with threadpool_limits(limits=threads):
        distances, indices = search.fit(coordinates).kneighbors(coordinates)
    return indices.astype(np.int64), distances.astype(np.float64)


def _self_first(
    indices: npt.NDArray[np.int64], distances: Float64
) -> tuple[npt.NDArray[np.int64], Float64]:
    """Put each cell first in its own row, where a duplicate of it may stand."""
    cells = np.arange(len(indices))
    is_self = indices == cells[:, None]
    at = np.where(is_self.any(axis=1), is_self.argmax(axis=1), indices.shape[1] - 1)
    moved = np.flatnonzero(at > 0)
    for cell in moved:
        place = at[cell]
        indices[cell, 1 : place + 1] = indices[cell, :place]
        distances[cell, 1 : place + 1] = distances[cell, :place]
    indices[:, 0], distances[:, 0] = cells, 0.0
    return indices, distances


def umap_connectivities(indices: npt.NDArray[np.int64], distances: Float64) -> sp.csr_matrix:
    """Fuzzy union of the neighbourhoods (McInnes, Healy & Melville 2018, section 3.1).

    Parameters
    ----------
    indices, distances
        What :func:`nearest_neighbors` returned.

    Returns
    -------
    Symmetric, shape ``(n_cells, n_cells)``, float32, weights above 0 up to 1, no diagonal.
    """
    n_cells, k = indices.shape
    nearest, scale = _local_scale(distances)
    excess = np.clip(distances - nearest[:, None], 0, None)
    weights = np.exp(-excess / scale[:, None]).astype(np.float32)
    weights[:, 0] = 0.0
    rows = np.repeat(np.arange(n_cells), k)
    directed = sp.csr_matrix((weights.ravel(), (rows, indices.ravel())), shape=(n_cells, n_cells))
    directed.eliminate_zeros()
    transposed = directed.T.tocsr()
    union = sp.csr_matrix(directed + transposed - directed.multiply(transposed))
    union.sort_indices()
    return union


def _local_scale(distances: Float64) -> tuple[Float64, Float64]:
    """Distance to the nearest other cell, and the scale at which the weights sum to log2(k).

    All cells are bisected at once. As in umap-learn, a scale is never below a thousandth of the
    mean distance.
    """
    n_cells, k = distances.shape
    target = np.log2(k)
    positive = np.where(distances > 0, distances, np.inf).min(axis=1)
    nearest = np.where(np.isfinite(positive), positive, 0.0)
    gaps = distances[:, 1:] - nearest[:, None]
    low, high, scale = np.zeros(n_cells), np.full(n_cells, np.inf), np.ones(n_cells)
    active = np.ones(n_cells, dtype=bool)
    for _ in range(_BISECTIONS):
        weights = np.where(gaps > 0, np.exp(-np.clip(gaps, 0, None) / scale[:, None]), 1.0)
        excess = weights.sum(axis=1) - target
        active &= np.abs(excess) >= _TOLERANCE
        if not active.any():
            break
        above, below = active & (excess > 0), active & (excess <= 0)
        high[above], low[below] = scale[above], scale[below]
        bounded = np.isfinite(high)
        middle = np.where(bounded, (low + np.where(bounded, high, 0)) / 2, scale * 2)
        scale[active] = middle[active]
    own_mean = distances.mean(axis=1)
    floor = _MIN_SCALE * np.where(nearest > 0, own_mean, distances.mean())
    return nearest, np.maximum(scale, np.where(floor > 0, floor, 1.0))
