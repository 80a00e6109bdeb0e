"""Neighbours of very many cells: an exact search among the cells of nearby panels.

Cells are divided among panels by the nearest of some centres (k-means on a sample). The neighbours
of a panel's cells are then searched in the panels whose centres are nearest to its own, as an
inverted file does (Sivic & Zisserman 2003). Neighbours farther away than that are missed: few where
cells form types, more where they form no groups.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

PROBES = 16
_SAMPLE_PER_PANEL = 40
_ROUNDS = 6
_BLOCK_CELLS = 8_192


def panel_neighbors(
    coordinates: Float32, n_neighbors: int, *, n_jobs: int, probes: int = PROBES
) -> tuple[Indices, Float64]:
    """Find near neighbours of each cell, itself among them.

    Parameters
    ----------
    coordinates
        Shape ``(n_cells, n_pcs)``.
    n_neighbors
        Neighbours of a cell, itself included; at most ``n_cells``.
    n_jobs
        Threads; the result does not depend on it.
    probes
        Panels that are searched, the cell's own included.

    Returns
    -------
    Indices and distances, shape ``(n_cells, n_neighbors)``, nearest first.
    """
    n_cells = len(coordinates)
    indices = np.empty((n_cells, n_neighbors), dtype=np.int64)
    distances = np.empty((n_cells, n_neighbors))
    # one thread in each product: its rounding then depends on nothing but the panel
    with threadpool_limits(limits=1), ThreadPoolExecutor(max_workers=max(1, n_jobs)) as pool:
        centres = _centres(coordinates, max(1, math.isqrt(n_cells) // 2))
        panels = _members(_nearest_centre(coordinates, centres), len(centres))
        near = np.argsort(_squared_distances(centres, centres), axis=1, kind="stable")

        def search(panel: int) -> None:
            if len(panels[panel]):
                candidates = _candidates(panels, near[panel], probes, n_neighbors)
                found = _search(coordinates, panels[panel], candidates, n_neighbors)
                indices[panels[panel]], distances[panels[panel]] = found

        list(pool.map(search, range(len(panels))))
    return indices, distances


def _search(
    coordinates: Float32, cells: Indices, candidates: Indices, n_neighbors: int
) -> tuple[Indices, Float64]:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute", metric="euclidean")
    distances, places = search.fit(coordinates[candidates]).kneighbors(coordinates[cells])
    return candidates[places], distances


def _candidates(panels: list[Indices], near: Indices, probes: int, at_least: int) -> Indices:
    """Cells of the nearest panels, of more than ``probes`` when these have too few."""
    sizes = np.cumsum([len(panels[p]) for p in near])
    wanted = max(probes, int(np.searchsorted(sizes, at_least)) + 1)
    return np.sort(np.concatenate([panels[p] for p in near[:wanted]]))


def _members(owner: Indices, n_panels: int) -> list[Indices]:
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owner, minlength=n_panels))[:-1])


def _centres(coordinates: Float32, n_panels: int) -> Float32:
    """Centres by a few rounds of k-means (Lloyd 1982) on a seeded sample."""
    rng = np.random.default_rng(0)
    size = min(len(coordinates), n_panels * _SAMPLE_PER_PANEL)
    sample = coordinates[rng.choice(len(coordinates), size, replace=False)]
    centres = sample[rng.choice(size, n_panels, replace=False)].astype(np.float64)
    for _ in range(_ROUNDS):
        owner = _nearest_centre(sample, centres.astype(np.float32))
        counts = np.bincount(owner, minlength=n_panels)
        sums = np.zeros_like(centres)
        np.add.at(sums, owner, sample)
        taken = counts > 0
        centres[taken] = sums[taken] / counts[taken, None]
    return np.asarray(centres, dtype=np.float32)


def _nearest_centre(coordinates: Float32, centres: Float32) -> Indices:
    owner = np.empty(len(coordinates), dtype=np.int64)
    for start in range(0, len(coordinates), _BLOCK_CELLS):
        block = slice(start, start + _BLOCK_CELLS)
        owner[block] = _squared_distances(coordinates[block], centres).argmin(axis=1)
    return owner


def _squared_distances(cells: Float32, centres: Float32) -> Float32:
    """Squared distances less the squared length of each cell, which no comparison needs."""
    return np.asarray((centres**2).sum(axis=1) - 2 * cells @ centres.T)
