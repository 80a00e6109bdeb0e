"""Which clusters are near each other: distances between their medoids."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ctr_engine.splitmerge.clusters import Items
from ctr_engine.splitmerge.distances import DistanceProvider, medoid

Bools = npt.NDArray[np.bool_]
Neighbor = tuple[str, float]

Candidates = Callable[[Sequence[int]], sp.csr_matrix | None]
"""For some items, which pairs may be near: a symmetric matrix of their positions; None: all.

It may name too many pairs, never too few, for every edge has the exact distance.
"""

MOST_AT_ONCE = 2_000
"""Medoids that are compared in one scope; of more, parts that no candidate pair connects."""

MOST_FOR_A_MEDOID = 2_000
"""Members of a larger cluster are thinned out evenly before its medoid is looked for."""


def all_pairs(items: Sequence[int]) -> None:  # noqa: ARG001
    """Leave no pair out."""
    return


class ProximityGraph(Protocol):
    """Neighbours of clusters."""

    def neighbors_within(self, cluster: str, radius: float) -> list[Neighbor]:
        """Clusters at most ``radius`` away, nearest first."""

    def k_nearest(self, cluster: str, k: int) -> list[Neighbor]:
        """The nearest ``k`` clusters, nearest first."""


@dataclass(frozen=True)
class MedoidGraph:
    """Neighbours of each cluster, nearest first; equal distances by id."""

    medoids: Mapping[str, int]
    edges: Mapping[str, Sequence[Neighbor]]

    def neighbors_within(self, cluster: str, radius: float) -> list[Neighbor]:
        """Clusters at most ``radius`` away, nearest first."""
        return [edge for edge in self.edges[cluster] if edge[1] <= radius]

    def k_nearest(self, cluster: str, k: int) -> list[Neighbor]:
        """The nearest ``k`` clusters, nearest first."""
        return list(self.edges[cluster][:k])


class MedoidGraphs:
    """Builds graphs of changing clusters; a medoid is found once for each content."""

    def __init__(
        self,
        distances: DistanceProvider,
        candidates: Candidates = all_pairs,
        *,
        k: int = 20,
        radius: float = np.inf,
    ) -> None:
        self.distances, self.candidates = distances, candidates
        self.k, self.radius = k, radius
        self._medoids: dict[Items, int] = {}

    def medoid_of(self, items: Items) -> int:
        """Item in the middle of a cluster."""
        if items not in self._medoids:
            step = -(-len(items) // MOST_FOR_A_MEDOID)
            some = items[::step]
            at = medoid(self.distances.matrix(some)) if len(some) > 1 else 0
            self._medoids[items] = some[at]
        return self._medoids[items]

    def build(self, clusters: Mapping[str, Items]) -> MedoidGraph:
        """Connect clusters to the ``k`` nearest, and to all within the radius."""
        names = sorted(clusters)
        medoids = {name: self.medoid_of(clusters[name]) for name in names}
        items = [medoids[name] for name in names]
        edges: dict[str, Sequence[Neighbor]] = dict.fromkeys(names, ())
        pairs = self.candidates(items) if len(items) > 1 else None
        for group in _groups(pairs, len(items)):
            matrix = self.distances.matrix([items[x] for x in group])
            if pairs is not None:
                matrix = np.where(self._searched(pairs[group][:, group]), matrix, np.nan)
            np.fill_diagonal(matrix, np.nan)
            for row, x in zip(matrix, group, strict=True):
                edges[names[x]] = self._nearest(row, [names[y] for y in group])
        return MedoidGraph(medoids, edges)

    def _searched(self, pairs: sp.csr_matrix) -> Bools:
        """Pairs that are looked at: all of a cluster for which the search found fewer than ``k``.

        A sequence that is unlike all others still has nearest ones, which no search reports.
        """
        near = pairs.toarray() > 0
        few = near.sum(axis=1) < self.k
        found: Bools = near | few[:, None] | few[None, :]
        return found

    def _nearest(self, row: np.ndarray, names: Sequence[str]) -> tuple[Neighbor, ...]:
        order = np.argsort(row, kind="stable")  # NaN last
        n_valid = len(row) - int(np.isnan(row).sum())
        n_kept = max(min(self.k, n_valid), int((row <= self.radius).sum()))
        return tuple((names[y], float(row[y])) for y in order[:n_kept])


def _groups(pairs: sp.csr_matrix | None, n: int) -> list[np.ndarray]:
    """Positions that are compared at once: parts that no candidate pair connects are apart."""
    if pairs is None or n <= MOST_AT_ONCE:  # the same alignment, whatever searched
        return [np.arange(n)] if n > 1 else []
    _, part = sp.csgraph.connected_components(pairs, directed=False)
    order = np.argsort(part, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(part[order])) + 1)
    return [group for group in groups if len(group) > 1]
