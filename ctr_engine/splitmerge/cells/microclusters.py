"""Microclusters: the items of the two passes over cells, each within one cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from ctr_engine.errors import CellMismatchError
from ctr_engine.splitmerge.cells.params import CellParams
from ctr_engine.splitmerge.distances import MatrixDistances

Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SCALE_PERCENTILE = 95
_MOST_FITTED = 20_000
"""Of a larger cluster so many cells, evenly taken, place the microclusters; all of them join."""


@dataclass(frozen=True)
class Microclusters:
    """Groups of similar cells, each within one cluster.

    Attributes
    ----------
    of_cell
        Microcluster of each cell, shape ``(n_cells,)``.
    means
        Shape ``(n_microclusters, n_pcs)``.
    clusters
        Microclusters of each cluster.
    """

    of_cell: Ints
    means: Float64
    clusters: dict[str, tuple[int, ...]]

    def distances(self, scale_neighbors: int) -> MatrixDistances:
        """Euclidean distances between the means.

        1 is the 95th percentile of all distances between a microcluster and its
        ``scale_neighbors`` nearest (or as many as there are); the largest of them where that is 0,
        for most are alike, and the largest distance where that is 0, too.
        """
        from scipy.spatial.distance import pdist, squareform

        apart = squareform(pdist(self.means))
        nearest = np.sort(apart, axis=1)[:, 1 : scale_neighbors + 1]
        if not apart.any():
            return MatrixDistances(apart)
        scales = (np.percentile(nearest, _SCALE_PERCENTILE), nearest.max(), apart.max())
        return MatrixDistances(apart / next(scale for scale in scales if scale > 0))


def microclusters(
    coordinates: npt.NDArray[np.floating],
    clusters: Sequence[str],
    cell_ids: Sequence[str],
    params: CellParams,
    random_state: int,
) -> Microclusters:
    """Divide each cluster by k-means, each into its share of ``n_microclusters``.

    Parameters
    ----------
    coordinates
        Principal components, shape ``(n_cells, n_pcs)``.
    clusters, cell_ids
        Of each cell. Cells are taken in the order of their ids, so that the order in which they
        are given changes nothing.

    Raises
    ------
    CellMismatchError
        If they are of different numbers of cells, or there is none.
    """
    if not len(cell_ids):
        msg = "there is no cell to make microclusters of"
        raise CellMismatchError(msg)
    if not len(coordinates) == len(clusters) == len(cell_ids):
        msg = (
            f"{len(coordinates)} rows of coordinates, {len(clusters)} clusters and "
            f"{len(cell_ids)} ids are not of the same cells"
        )
        raise CellMismatchError(msg)
    order = np.argsort(np.asarray(cell_ids, dtype=str), kind="stable")
    codes = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    points = np.asarray(coordinates, dtype=np.float64)
    cells_each = max(params.min_microcluster_cells, len(points) / params.n_microclusters)
    of_cell = np.empty(len(points), dtype=np.int64)
    means: list[Float64] = []
    members: dict[str, tuple[int, ...]] = {}
    for code, name in enumerate(codes[0].tolist()):
        rows = order[codes[1][order] == code]
        parts = _parts(points[rows], max(1, round(len(rows) / cells_each)), random_state)
        first = len(means)
        means += [points[rows[parts == part]].mean(axis=0) for part in range(parts.max() + 1)]
        of_cell[rows] = first + parts
        members[name] = tuple(range(first, len(means)))
    return Microclusters(of_cell, np.array(means), members)


def _parts(points: Float64, k: int, random_state: int) -> Ints:
    """Part of each cell, numbered from 0 by its first cell."""
    from sklearn.cluster import KMeans

    some = points[:: -(-len(points) // _MOST_FITTED)]
    k = min(k, len(np.unique(some.astype(np.float32), axis=0)))
    if k == 1:
        return np.zeros(len(points), dtype=np.int64)
    with threadpool_limits(limits=1):  # sums of several threads depend on their number
        means = KMeans(k, n_init=1, random_state=random_state, max_iter=100).fit(some)
        found = means.predict(points)
    _, first, part = np.unique(found, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))
    return np.asarray(number[part], dtype=np.int64)
