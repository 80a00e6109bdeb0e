"""The two passes as a policy: which clusters they divide and join, and doing it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctr_engine.errors import CellMismatchError
from ctr_engine.refinement.operations import Applied, free_names, join_small
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.plan import Regroup
from ctr_engine.splitmerge.cells.regroup import regroup
from ctr_engine.splitmerge.clusters import conflict_components
from ctr_engine.splitmerge.two_pass import TwoPass
from ctr_engine.tables import natural_key

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Regrouping:
    """What the two passes found.

    Attributes
    ----------
    operations
        One for each set of clusters that exchange cells, or are divided; clusters that stay as
        they are are in none.
    groups
        Group of each cell, by number; -1 where nothing changes.
    result
        The run, over microclusters; None where there was no cluster to look at.
    """

    operations: tuple[Regroup, ...]
    groups: npt.NDArray[np.int64]
    result: TwoPass | None

    @property
    def clusters(self) -> set[str]:
        """Clusters that change."""
        return {cluster for operation in self.operations for cluster in operation.clusters}


def regrouping_of(
    partition: Partition,
    coordinates: Float32,
    among: Collection[str],
    params: RefinementParams,
    *,
    n_jobs: int = 1,
) -> Regrouping:
    """Run the two passes over some clusters.

    A part of fewer than ``min_subcluster_cells`` cells joins the nearest of its siblings.

    Parameters
    ----------
    coordinates
        Principal components of all cells, shape ``(n_cells, n_pcs)``.
    among
        Clusters that may change; those that there are not are passed over.
    """
    groups = np.full(len(partition.clusters), -1, dtype=np.int64)
    rows = np.flatnonzero(np.isin(partition.clusters.astype(str), sorted(among)))
    if not len(rows):
        return Regrouping((), groups, None)
    clusters = partition.clusters[rows].astype(str)
    found = regroup(
        coordinates[rows],
        clusters.tolist(),
        partition.cell_ids[rows].tolist(),
        params.two_pass,
        random_state=params.random_state,
        n_jobs=n_jobs,
    )
    operations = []
    for names in _exchanging(clusters, found.groups):
        here = np.isin(clusters, names)
        parts = join_small(
            found.groups[here], coordinates[rows[here]], params.min_subcluster_cells
        ).astype(np.int64)
        if _is_same(clusters[here], parts):
            continue
        groups[rows[here]] = parts
        operations.append(
            Regroup(source="auto", reason="two_pass", clusters=names, sizes=_sizes(parts))
        )
    return Regrouping(tuple(operations), groups, found.result)


def _exchanging(clusters: npt.NDArray[np.str_], groups: npt.NDArray[np.str_]) -> list[list[str]]:
    """Sets of clusters that share groups, directly or by way of others; in natural order."""
    pairs = sorted(set(zip(clusters.tolist(), groups.tolist(), strict=True)))
    holders: dict[int, list[str]] = {}
    for cluster, group in pairs:
        holders.setdefault(int(group), []).append(cluster)
    found = [sorted(names, key=natural_key) for names in conflict_components(holders)]
    return sorted(found, key=lambda names: natural_key(names[0]))


def _is_same(clusters: npt.NDArray[np.str_], parts: npt.NDArray[np.int64]) -> bool:
    """Whether the parts are the clusters under other names."""
    pairs = set(zip(clusters.tolist(), parts.tolist(), strict=True))
    return len(pairs) == len(set(clusters.tolist())) == len(set(parts.tolist()))


def _sizes(parts: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """Cells of each part, the largest first."""
    counts = np.unique(parts, return_counts=True)[1]
    return tuple(sorted(counts.tolist(), reverse=True))


def carry_out(partition: Partition, operation: Regroup, found: Regrouping) -> Applied:
    """Make the new clusters of an operation.

    Clusters that become one keep the lowest id in natural order, as in a merge. Otherwise each
    part is a child of the cluster that it has the most cells of: ``3:0``, ``3:1``, the largest
    first.

    Raises
    ------
    CellMismatchError
        If ``found`` is of another partition than the operation was made for.
    """
    rows = np.concatenate([partition.cells_of(name) for name in operation.clusters])
    parts = found.groups[rows]
    if parts.min() < 0 or _sizes(parts) != operation.sizes:
        named = ", ".join(map(repr, operation.clusters))
        msg = f"the two passes were run on other clusters than {named} are now"
        raise CellMismatchError(msg)
    if len(operation.sizes) == 1:
        lowest = min(operation.clusters, key=natural_key)
        merged = partition.moved(rows, lowest)
        held = {name: label for name, label in merged.held.items() if name != lowest}
        return Applied(Partition(merged.cell_ids, merged.clusters, held), (lowest,))
    parents = _parents(partition.clusters[rows].astype(str), parts)
    names: dict[int, str] = {}
    for parent in sorted(set(parents.values()), key=natural_key):
        children = [part for part, own in parents.items() if own == parent]
        names |= zip(children, free_names(partition, parent, len(children)), strict=True)
    clusters = np.array([names[part] for part in parts.tolist()], dtype=object)
    made = tuple(sorted(names.values(), key=natural_key))
    return Applied(partition.moved(rows, clusters), made)


def _parents(clusters: Sequence[str], parts: npt.NDArray[np.int64]) -> dict[int, str]:
    """Cluster that each part has the most cells of, the largest part first."""
    shared: dict[int, dict[str, int]] = {}
    for cluster, part in zip(clusters, parts.tolist(), strict=True):
        of_part = shared.setdefault(part, {})
        of_part[cluster] = of_part.setdefault(cluster, 0) + 1
    ordered = sorted(shared, key=lambda part: (-sum(shared[part].values()), part))
    return {
        part: min(shared[part], key=lambda name: (-shared[part][name], natural_key(name)))
        for part in ordered
    }
