"""The cells with their clusters, and the labels that rescoring must keep."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ctr_engine.errors import CellMismatchError
from ctr_engine.tables import natural_key

Holder = Literal["override", "merge", "relabel"]
Source = Literal["auto", "manual"]


@dataclass(frozen=True)
class Held:
    """A label that somebody gave; ``path`` is None for one that the map does not have.

    ``source`` says whether a person or the criteria asked for it.
    """

    label: str
    path: str | None
    by: Holder
    source: Source = "manual"


@dataclass(frozen=True)
class Partition:
    """The cluster of each cell, and what holds the label of a cluster.

    Attributes
    ----------
    cell_ids, clusters
        One entry for each cell, in the order of the sample.
    held
        By cluster; a cluster without an entry has the label that scoring gives it.
    """

    cell_ids: npt.NDArray[Any]
    clusters: npt.NDArray[Any]
    held: Mapping[str, Held]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Clusters in natural order."""
        return tuple(sorted(set(self.clusters.tolist()), key=natural_key))

    def cells_of(self, cluster: str) -> npt.NDArray[np.intp]:
        """Positions of the cells of a cluster.

        Raises
        ------
        CellMismatchError
            If there is no such cluster.
        """
        rows = np.flatnonzero(self.clusters == cluster)
        if not len(rows):
            msg = f"there is no cluster {cluster!r} any more"
            raise CellMismatchError(msg)
        return rows

    def with_label(self, cluster: str, held: Held) -> "Partition":
        """Partition in which a cluster holds a label."""
        self.cells_of(cluster)
        return replace(self, held={**self.held, cluster: held})

    def moved(self, rows: npt.NDArray[np.intp], clusters: Any) -> "Partition":
        """Partition in which some cells have another cluster, checked to lose no cell.

        A cluster that is gone holds nothing any more.
        """
        changed = self.clusters.copy()
        changed[rows] = clusters
        left = set(changed.tolist())
        held = {name: label for name, label in self.held.items() if name in left}
        return require_whole(replace(self, clusters=changed, held=held), self)


def require_whole(partition: Partition, before: Partition) -> Partition:
    """Check that clusters are mutually exclusive and that every cell has one.

    Raises
    ------
    CellMismatchError
        If a cell was lost, doubled or left without a cluster.
    """
    same = np.array_equal(partition.cell_ids, before.cell_ids)
    named = all(isinstance(name, str) and name for name in partition.clusters.tolist())
    if not same or len(partition.clusters) != len(partition.cell_ids) or not named:
        msg = "an operation lost cells or left some without a cluster; nothing was changed"
        raise CellMismatchError(msg)
    return partition
