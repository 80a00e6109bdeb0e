"""What both passes share: graphs, scopes, and clustering the items of a scope."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Lock

import numpy as np

from ctr_engine.splitmerge.clusters import Items
from ctr_engine.splitmerge.core import barcode_gap, gap_clusters, merge_distance
from ctr_engine.splitmerge.distances import DistanceProvider, Floats
from ctr_engine.splitmerge.graph import (
    MOST_FOR_A_MEDOID,
    Candidates,
    MedoidGraph,
    MedoidGraphs,
    all_pairs,
)
from ctr_engine.splitmerge.kernel import TOLERANCE
from ctr_engine.splitmerge.params import TwoPassParams
from ctr_engine.splitmerge.scope import Scope, build_refinement_scope

_NEIGHBORS_OF_A_GAP = 10
_MOST_FOR_A_GAP = 150


@dataclass
class Refiner:
    """Clusters scopes of the items that ``distances`` knows.

    ``sampled`` lists the clusters above the size limit, of which a sample was clustered, by
    content; ``largest`` is the size of the largest scope that was clustered.
    """

    distances: DistanceProvider
    params: TwoPassParams
    candidates: Candidates = all_pairs
    sampled: set[Items] = field(default_factory=set)
    largest: int = 0
    graphs: MedoidGraphs = field(init=False)
    _lock: Lock = field(default_factory=Lock)
    _gaps: dict[tuple[Items, ...], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the graphs, which know each medoid once."""
        radius = max(self.params.close, self.params.max_lump)
        self.graphs = MedoidGraphs(
            self.distances,
            self.candidates,
            k=self.params.k_neighbors,
            radius=radius * self.params.context_threshold_multiplier,
        )

    def graph(self, clusters: Mapping[str, Items]) -> MedoidGraph:
        """Distances between clusters as they are now."""
        return self.graphs.build(clusters)

    def scope(
        self, seed: str, clusters: Mapping[str, Items], graph: MedoidGraph, close: float
    ) -> Scope:
        """Clusters that are refined with a seed, and those around them."""
        return build_refinement_scope(
            [seed],
            {name: len(items) for name, items in clusters.items()},
            graph,
            close_threshold=close,
            context_threshold_multiplier=self.params.context_threshold_multiplier,
            max_scope_size=self.params.max_scope_size,
            always_context=True,
        )

    def split(self, core: Sequence[Items], context: Sequence[Items] = ()) -> list[Items]:
        """Cluster the items of ``core`` anew; of a single oversized cluster, by a sample.

        Clusters of ``context`` are kept whole: what they are is decided where they are seeds.
        """
        items = tuple(sorted({item for group in core for item in group}))
        limit = self.params.max_scope_size
        if len(items) > limit:
            with self._lock:
                self.sampled.add(items)
            return self._by_sample(items)
        return self._split(items, context)

    def _split(self, items: Items, context: Sequence[Items]) -> list[Items]:
        whole = (*items, *(item for group in context for item in group))
        with self._lock:  # scopes are clustered in threads
            self.largest = max(self.largest, len(whole))
        bounds = np.cumsum([len(items), *map(len, context)])
        around = [range(a, b) for a, b in pairwise(bounds)]
        found = gap_clusters(self.distances.matrix(whole), self.params, around).clusters
        return [tuple(items[x] for x in group) for group in found if group[0] < len(items)]

    def _by_sample(self, items: Items) -> list[Items]:
        """Cluster a sample that reaches from the medoid outwards; the others join the nearest."""
        sample = self._sample(items)
        groups = [list(group) for group in self._split(sample, ())]
        group_of = {item: x for x, group in enumerate(groups) for item in group}
        others = sorted(set(items) - set(sample))
        for item, row in zip(others, self._apart(sample, others).T, strict=True):
            nearest = 0 if np.isnan(row).all() else group_of[sample[int(np.nanargmin(row))]]
            groups[nearest].append(item)
        return [tuple(sorted(group)) for group in groups]

    def _sample(self, items: Items) -> Items:
        """Members at even ranks of the distance to the medoid, so that near and far are there."""
        middle = self.graphs.medoid_of(items)
        order = np.argsort(self._apart((middle,), items)[0], kind="stable")
        ranks = np.linspace(0, len(items) - 1, self.params.max_scope_size).round().astype(int)
        return tuple(sorted(items[x] for x in order[ranks]))

    def _apart(self, some: Sequence[int], others: Sequence[int]) -> Floats:
        """Distances from some items to many, which are never all in one scope."""
        step = self.params.max_scope_size
        parts = [
            self.distances.matrix((*some, *others[at : at + step]))[: len(some), len(some) :]
            for at in range(0, len(others), step)
        ]
        return np.concatenate(parts, axis=1)

    def keeps_thresholds(self, clusters: Mapping[str, Items], graph: MedoidGraph) -> bool:
        """Whether no two clusters are nearer than ``min_split``, and none wider than ``max_lump``.

        Both are measured as the core does; only clusters whose medoids are within ``max_lump`` of
        each other are compared.
        """
        q = self.params.target_percentile / 100
        for name, items in clusters.items():
            for other, _ in graph.neighbors_within(name, self.params.max_lump):
                if (
                    name < other
                    and self._linkage(items, clusters[other], q) < self.params.min_split - TOLERANCE
                ):
                    return False
        return all(self._is_narrow(items) for items in clusters.values())

    def _linkage(self, a: Items, b: Items, q: float) -> float:
        apart = self.distances.matrix((*a, *b))[: len(a), len(a) :]
        valid = apart[~np.isnan(apart)]
        return float(np.quantile(valid, q)) if len(valid) else np.inf

    def _is_narrow(self, items: Items) -> bool:
        some = items[:: -(-len(items) // MOST_FOR_A_MEDOID)]
        distances = self.distances.matrix(some)
        return len(some) == 1 or merge_distance(distances, self.params) <= self.params.max_lump

    def gap(self, clusters: Mapping[str, Items], graph: MedoidGraph) -> float:
        """Mean over the clusters of their local gap, in units of distance.

        Each cluster is measured against the ten whose medoids are nearest, by the formula of the
        local score. One without a neighbour is left out; NaN where none has one.
        """
        found = []
        for name, items in clusters.items():
            near = [other for other, _ in graph.k_nearest(name, _NEIGHBORS_OF_A_GAP)]
            if near:
                found.append(self._gap((items, *(clusters[other] for other in near))))
        return float(np.mean(found)) if found else float("nan")

    def _gap(self, groups: tuple[Items, ...]) -> float:
        if groups not in self._gaps:
            some = [group[:: -(-len(group) // _MOST_FOR_A_GAP)] for group in groups]
            bounds = np.cumsum([0, *map(len, some)])
            around = [range(a, b) for a, b in pairwise(bounds)]
            distances = self.distances.matrix([item for group in some for item in group])
            self._gaps[groups] = barcode_gap(distances, around, self.params)
        return self._gaps[groups]
