"""Conflicts to MECE: clusters that share items are clustered anew, together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctr_engine.splitmerge.clusters import (
    Clusters,
    Items,
    Names,
    conflict_components,
    find_conflicts,
)
from ctr_engine.splitmerge.refiner import Refiner


@dataclass(frozen=True)
class Resolved:
    """Clusters without conflicts, and what was done.

    ``new`` are the clusters that the resolution made, ``assigned`` the items of components that
    were too large to be clustered, each of which went to the holder with the nearest medoid.
    """

    clusters: Clusters
    new: frozenset[str]
    n_conflicts: int
    n_components: int
    assigned: tuple[int, ...]


def resolve_conflicts(given: Clusters, refiner: Refiner, names: Names) -> Resolved:
    """Make a partition of clusters that may share items.

    Clusters that share items, directly or by way of others, are one component. Its scope is as
    small as can be: the items of the component are clustered anew, with the clusters around them
    as context. Everything else stays as it is.

    Returns
    -------
    Clusters under new ids; each item that was in some cluster is in exactly one.
    """
    conflicts = find_conflicts(given)
    components = conflict_components(conflicts)
    involved = {name for component in components for name in component}
    now = names.named(items for name, items in given.items() if name not in involved)
    new: set[str] = set()
    assigned: list[int] = []
    for component in sorted(components, key=lambda c: min(min(given[n]) for n in c)):
        held = sorted(tuple(sorted(set(given[name]))) for name in component)
        union = tuple(sorted({item for items in held for item in items}))
        if len(union) > refiner.params.max_scope_size:
            shared = [item for item in union if item in conflicts]
            made = names.named(_to_nearest_holder(held, shared, refiner))
            assigned += shared
        else:
            made = names.named(refiner.split([union], _around(union, now, refiner)))
        now |= made
        new |= made.keys()
    return Resolved(now, frozenset(new), len(conflicts), len(components), tuple(assigned))


def _around(union: Items, others: Clusters, refiner: Refiner) -> list[Items]:
    """Clusters around a component."""
    whole = {**others, "": union}
    graph = refiner.graph(whole)
    scope = refiner.scope("", whole, graph, refiner.params.max_lump)
    return [whole[name] for name in scope.clusters if name]


def _to_nearest_holder(
    held: Sequence[Items], shared: Sequence[int], refiner: Refiner
) -> list[set[int]]:
    """Clusters in which each shared item is only in the one whose medoid is nearest."""
    medoids = [refiner.graphs.medoid_of(items) for items in held]
    left = [set(items) - set(shared) for items in held]
    for item in shared:
        holders = [x for x, items in enumerate(held) if item in items]
        row = refiner.distances.matrix((item, *(medoids[x] for x in holders)))[0, 1:]
        # an item that cannot be compared with any holder goes to the first
        nearest = 0 if np.isnan(row).all() else int(np.nanargmin(row))
        left[holders[nearest]].add(item)
    return left
