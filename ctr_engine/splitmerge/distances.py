"""How far items are apart: what the algorithm asks of a back end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class DistanceProvider(Protocol):
    """Distances between items, which are known by their index alone."""

    def __len__(self) -> int:
        """Number of items."""

    def matrix(self, items: Sequence[int]) -> Floats:
        """Distances within a scope, shape ``(n, n)``, symmetric; NaN: not comparable."""


@dataclass(frozen=True)
class MatrixDistances:
    """Distances that are all known; shape ``(n_items, n_items)``."""

    values: Floats

    def __len__(self) -> int:
        """Number of items."""
        return len(self.values)

    def matrix(self, items: Sequence[int]) -> Floats:
        """Distances within a scope."""
        index = np.asarray(items, dtype=np.int64)
        return self.values[np.ix_(index, index)]


def medoid(distances: Floats) -> int:
    """Position of the member with the smallest sum of distances; of equal ones the first.

    A member that cannot be compared with some other is taken only where that holds of all.
    """
    sums = distances.sum(axis=1)
    sums = np.where(np.isnan(sums), np.inf, sums)
    return int(np.argmin(sums))
