"""Which clusters are refined together: seeds, their near neighbours, and context for the gap."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ctr_engine.splitmerge.graph import Neighbor, ProximityGraph

_NEAREST_FOR_CONTEXT = 30


@dataclass(frozen=True)
class Scope:
    """Clusters that are looked at together, in the order in which they were taken.

    Attributes
    ----------
    core
        Seeds and near neighbours: what is clustered anew.
    context
        Clusters around them, which only say how wide the gap is.
    is_cut
        Whether a near neighbour did not fit.
    """

    core: tuple[str, ...]
    context: tuple[str, ...]
    n_items: int
    is_cut: bool = False

    @property
    def clusters(self) -> tuple[str, ...]:
        """Core, then context."""
        return (*self.core, *self.context)


def build_refinement_scope(
    seeds: Sequence[str],
    sizes: Mapping[str, int],
    graph: ProximityGraph,
    *,
    close_threshold: float,
    context_threshold_multiplier: float,
    max_scope_size: int,
    always_context: bool = False,
) -> Scope:
    """Choose the clusters that are refined with some seeds.

    Thresholds are distances and not numbers of items, so that a scope does not depend on how
    densely its neighbourhood was sampled.

    Parameters
    ----------
    seeds
        Always in the scope, even above the limit.
    sizes
        Items of each cluster that there is; neighbours that are not in it are passed over.
    graph
        Distances between clusters.
    close_threshold
        Up to this distance a neighbour is refined with the seeds, nearest first until one does
        not fit.
    context_threshold_multiplier
        Up to this many times that distance it is context: the same rule. Without any context,
        the nearest cluster beyond the close threshold that fits is added, if there are near
        neighbours.
    max_scope_size
        Most items.
    always_context
        Add that nearest cluster also where there are no near neighbours. A cluster that is alone
        has no gap, and would be divided at any distance.
    """
    radius = close_threshold * context_threshold_multiplier
    n_items = sum(sizes[name] for name in seeds)
    within = _nearest(
        (e for seed in seeds for e in graph.neighbors_within(seed, radius)), sizes, seeds
    )
    near = [edge for edge in within if edge[1] <= close_threshold]
    n_items, core = _fill(near, sizes, n_items, max_scope_size)
    ring = [edge for edge in within if edge[1] > close_threshold]
    n_items, context = _fill(ring, sizes, n_items, max_scope_size)
    if not context and (near or always_context):
        some = (e for seed in seeds for e in graph.k_nearest(seed, _NEAREST_FOR_CONTEXT))
        for name, distance in _nearest(some, sizes, (*seeds, *core)):
            if distance > close_threshold and n_items + sizes[name] <= max_scope_size:
                context = [name]
                n_items += sizes[name]
                break
    return Scope((*seeds, *core), tuple(context), n_items, is_cut=len(core) < len(near))


def _nearest(
    edges: Iterable[Neighbor], sizes: Mapping[str, int], taken: Collection[str]
) -> list[Neighbor]:
    """Neighbours that exist and are not taken, each at its smallest distance, nearest first."""
    smallest: dict[str, float] = {}
    for name, distance in edges:
        if name in sizes and name not in taken:
            known = smallest.setdefault(name, distance)
            smallest[name] = min(known, distance)
    return sorted(smallest.items(), key=lambda edge: edge[1])


def _fill(
    edges: Sequence[Neighbor], sizes: Mapping[str, int], n_items: int, limit: int
) -> tuple[int, list[str]]:
    """Take clusters while they fit; the first that does not ends it."""
    taken = []
    for name, _ in edges:
        if n_items + sizes[name] > limit:
            break
        taken.append(name)
        n_items += sizes[name]
    return n_items, taken
