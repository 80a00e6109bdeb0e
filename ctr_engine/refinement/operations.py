"""Operations on a partition: a partition in, a partition out; nothing is changed in place."""

from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import numpy.typing as npt

from ctr_engine.clustering.pipeline import cluster_cells, number_by_size
from ctr_engine.expression import MIN_MARKERS, MIN_STD, ExpressionView, column_std
from ctr_engine.markers.panel import Panel
from ctr_engine.refinement.focus import CHILD_SEPARATOR
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Held, Partition
from ctr_engine.refinement.plan import Merge, Override, Relabel, Subcluster, clusters_of

Rows = npt.NDArray[np.intp]
_FEWEST_CELLS = 3


@dataclass(frozen=True)
class Applied:
    """What an operation made: the partition, and the ids of the clusters that are new or changed.

    ``new_clusters`` is empty for a subclustering that found no parts.
    """

    partition: Partition
    new_clusters: tuple[str, ...]


def override(partition: Partition, operation: Override) -> Applied:
    """Give a cluster a label that later iterations keep."""
    held = Held(operation.label, operation.path, "override", operation.source)
    return Applied(partition.with_label(operation.cluster, held), (operation.cluster,))


def relabel(partition: Partition, operation: Relabel) -> Applied:
    """Move the label of a cluster to another cell type of the map; the cluster stays."""
    held = Held(operation.label, operation.path, "relabel", operation.source)
    return Applied(partition.with_label(operation.cluster, held), (operation.cluster,))


def merge(partition: Partition, operation: Merge) -> Applied:
    """Make one cluster of several, under the lowest id in natural order.

    Labels that they held are gone: the merged cluster holds that of the operation, or is scored.
    """
    lowest, *others = clusters_of(operation)
    rows = np.concatenate([partition.cells_of(name) for name in (lowest, *others)])
    merged = partition.moved(rows, lowest)
    held = {name: label for name, label in merged.held.items() if name != lowest}
    if operation.label is not None:
        held[lowest] = Held(operation.label, operation.path, "merge", operation.source)
    return Applied(Partition(merged.cell_ids, merged.clusters, held), (lowest,))


def subcluster(
    partition: Partition,
    operation: Subcluster,
    view: ExpressionView,
    params: RefinementParams,
    *,
    n_jobs: int = 1,
) -> Applied:
    """Divide a cluster by its own cells; where fewer than two parts are found nothing changes.

    Parts are numbered from 0, the largest first: ``3:0``, ``3:1``; a number is left out where a
    cluster of another origin has that name.
    """
    rows = partition.cells_of(operation.cluster)
    parts = _parts(part_of(view, rows), operation.resolution, params, n_jobs)
    if parts is None:
        return Applied(partition, ())
    children = free_names(partition, operation.cluster, len(set(parts.tolist())))
    names = np.array([children[int(part)] for part in parts.tolist()], dtype=object)
    return Applied(partition.moved(rows, names), children)


def free_names(partition: Partition, cluster: str, number: int) -> tuple[str, ...]:
    """Names of the parts of a cluster, none of which exists."""
    numbered = (f"{cluster}{CHILD_SEPARATOR}{index}" for index in count())
    return tuple(islice((name for name in numbered if name not in partition.ids), number))


def part_of(view: ExpressionView, rows: Rows) -> ExpressionView:
    """Values of some cells; markers that do not vary among them are left out."""
    values = view.values[rows]
    values = values.tocsc() if view.is_sparse else values
    kept = np.flatnonzero(column_std(values) >= MIN_STD)
    return ExpressionView(
        values=values[:, kept],
        cell_ids=view.cell_ids[rows],
        panel=Panel(tuple(view.panel.markers[j] for j in kept)),
        layer=view.layer,
        technical=view.technical.iloc[rows],
    )


def _parts(
    view: ExpressionView, resolution: float, params: RefinementParams, n_jobs: int
) -> npt.NDArray[np.str_] | None:
    """Part of each cell, numbered by size; None where the cells do not come apart."""
    if view.n_cells < _FEWEST_CELLS or view.n_markers < MIN_MARKERS:
        return None
    clustering = params.model_copy(update={"resolution": resolution})
    found, coordinates, _ = cluster_cells(view, clustering, n_jobs=n_jobs)
    joined = join_small(found, coordinates, params.min_subcluster_cells)
    return None if len(np.unique(joined)) < 2 else number_by_size(joined)


def join_small(
    parts: npt.NDArray[np.str_], coordinates: npt.NDArray[np.float32], least: int
) -> npt.NDArray[np.str_]:
    """Let each part of fewer than ``least`` cells join its nearest sibling, the smallest first.

    Parameters
    ----------
    parts
        Part of each cell, as text; numbers, ``"0"`` the largest.
    coordinates
        Principal components, shape ``(n_cells, n_pcs)``; parts are as near as their centroids.
    """
    codes = np.array([int(name) for name in parts.tolist()], dtype=np.intp)
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), coordinates.shape[1]))
    np.add.at(sums, codes, coordinates.astype(np.float64))
    home = np.arange(len(counts))
    while True:
        there = np.flatnonzero(counts)
        smallest = there[np.lexsort((-there, counts[there]))[0]]
        if counts[smallest] >= least or len(there) < 2:
            return np.asarray(home[codes].astype(str))
        others = there[there != smallest]
        centroids = sums[others] / counts[others, None]
        away = np.linalg.norm(centroids - sums[smallest] / counts[smallest], axis=1)
        nearest = others[int(np.argmin(away))]
        home[home == smallest] = nearest
        sums[nearest] += sums[smallest]
        counts[nearest] += counts[smallest]
        counts[smallest] = 0
