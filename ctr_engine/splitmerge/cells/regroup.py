"""Clusters of cells, divided and merged by the two passes over their microclusters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctr_engine.clustering.pipeline import number_by_size
from ctr_engine.splitmerge.cells.microclusters import microclusters
from ctr_engine.splitmerge.cells.params import CellParams
from ctr_engine.splitmerge.refiner import Refiner
from ctr_engine.splitmerge.two_pass import Progress, TwoPass, quiet, two_pass


@dataclass(frozen=True)
class Regrouped:
    """Group of each cell, numbered from 0 by size, and the run, over microclusters."""

    groups: npt.NDArray[np.str_]
    result: TwoPass


def regroup(
    coordinates: npt.NDArray[np.floating],
    clusters: Sequence[str],
    cell_ids: Sequence[str],
    params: CellParams,
    *,
    random_state: int = 0,
    n_jobs: int = 1,
    progress: Progress = quiet,
) -> Regrouped:
    """Divide and merge clusters.

    A microcluster lies within one cluster, so that clusters that stay as they are keep all their
    cells.

    Parameters
    ----------
    coordinates
        Principal components, shape ``(n_cells, n_pcs)``.
    clusters, cell_ids
        Of each cell.

    Raises
    ------
    CellMismatchError
        If they are of different numbers of cells.
    """
    items = microclusters(coordinates, clusters, cell_ids, params, random_state)
    refiner = Refiner(items.distances(params.scale_neighbors), params)
    result = two_pass(items.clusters, refiner, n_jobs=n_jobs, progress=progress)
    group = np.empty(len(items.means), dtype=np.int64)
    for number, members in enumerate(result.clusters.values()):
        group[list(members)] = number
    return Regrouped(number_by_size(group[items.of_cell]), result)
