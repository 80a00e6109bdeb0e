"""Which cluster a manual file means: by its id, or by the cells that it had when it was named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from ctr_engine.refinement.focus import CHILD_SEPARATOR
from ctr_engine.refinement.partition import Partition

STILL_TOGETHER = Fraction(4, 5)
"""Share of the cells of a cluster that must still be in one cluster, and that they must make up of
it; else a label would be given to many other cells."""

Expected = Literal["all", "parts", "none"]
"""Which clusters must exist: all that are named, all but parts of others, or none."""


@dataclass(frozen=True)
class Waiting:
    """A name that no cluster has, or has yet; ``message`` says why.

    ``cluster`` is one that must not be changed meanwhile, because it is meant by several names.
    """

    message: str
    cluster: str | None = None


@dataclass(frozen=True)
class Unknown:
    """A name of nothing: a mistake in the file."""

    message: str


@dataclass(frozen=True)
class Clusters:
    """Clusters that exist, and the cells that the clusters of a manual file had.

    Attributes
    ----------
    ids
        Clusters that exist, in natural order.
    partition
        Their cells; None where no file is keyed by cells.
    expected
        Which of the named clusters must exist.
    """

    ids: Sequence[str]
    partition: Partition | None = None
    expected: Expected = "all"
    keyed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, name: str) -> str | Waiting | Unknown:
        """Give the cluster that is meant by a name."""
        if name in self.keyed and self.partition is not None:
            return self._by_cells(name, self.keyed[name])
        if name in self.ids:
            return name
        if self.expected == "none" or (self.expected == "parts" and self._may_come(name)):
            return Waiting(f"there is no cluster {name!r} yet")
        some = ", ".join(self.ids[:12]) + (", ..." if len(self.ids) > 12 else "")
        return Unknown(f"there is no cluster {name!r}; there are: {some}")

    def _may_come(self, name: str) -> bool:
        """Whether a name is that of a part of a cluster that exists."""
        parts = name.split(CHILD_SEPARATOR)
        return any(CHILD_SEPARATOR.join(parts[:n]) in self.ids for n in range(1, len(parts)))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        cells = () if self.partition is None else self.partition.cell_ids.tolist()
        return {str(cell): row for row, cell in enumerate(cells)}

    def _by_cells(self, name: str, cells: tuple[str, ...]) -> str | Waiting:
        """Find the cluster that most of the cells are in, and see whether it is still the same."""
        if self.partition is None:
            return Waiting("nothing is known about the cells")
        rows = [self._row_of[cell] for cell in cells if cell in self._row_of]
        what = f"the {len(cells):,} cells that cluster {name!r} was decided on"
        if not rows:
            return Waiting(f"{what} are not in this sample")
        clusters = self.partition.clusters
        ids, counts = np.unique(clusters[rows].astype(str), return_counts=True)
        best, together = str(ids[np.argmax(counts)]), int(counts.max())
        size = len(self.partition.cells_of(best))
        if together < STILL_TOGETHER * len(cells):
            return Waiting(
                f"{what} are no longer together: the most, {together:,}, are in cluster {best!r}; "
                f"{float(STILL_TOGETHER):.0%} are needed"
            )
        is_undivided = name.startswith(best + CHILD_SEPARATOR) and together < size
        if is_undivided or together < STILL_TOGETHER * size:
            return Waiting(
                f"{what} are now in cluster {best!r} with {size - together:,} other cells"
            )
        return best
