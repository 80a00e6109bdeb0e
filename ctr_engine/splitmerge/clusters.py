"""Clusters of items, their conflicts, and the test for MECE."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ctr_engine.errors import CtrError

Items = tuple[int, ...]
Clusters = dict[str, Items]
"""Ascending items of each cluster, by its id."""


class NotMeceError(CtrError):
    """Some item is in no cluster, or in several."""


@dataclass
class Names:
    """Gives ids to clusters. They sort by smallest item, and none is given twice."""

    given: int = 0

    def name(self, items: Items) -> str:
        """Id of a new cluster."""
        self.given += 1
        return f"{items[0]:09d}-{self.given}"

    def named(self, clusters: Iterable[Iterable[int]]) -> Clusters:
        """Ids for new clusters, which are put in order; an empty one is left out."""
        ordered = sorted(tuple(sorted(set(items))) for items in clusters)
        return {self.name(items): items for items in ordered if items}


def find_conflicts(clusters: Mapping[str, Sequence[int]]) -> dict[int, list[str]]:
    """Items that are in several clusters, or several times in one, with those clusters."""
    holders: dict[int, list[str]] = {}
    for name in clusters:
        for item in clusters[name]:
            holders.setdefault(item, []).append(name)
    return {item: names for item, names in holders.items() if len(names) > 1}


def conflict_components(conflicts: Mapping[int, Sequence[str]]) -> list[list[str]]:
    """Clusters that share items, directly or by way of others; each component is sorted."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        leader.setdefault(name, name)
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for names in conflicts.values():
        for name in names:
            first, other = sorted((find(names[0]), find(name)))
            leader[other] = first
    components: dict[str, list[str]] = {}
    for name in sorted(leader):
        components.setdefault(find(name), []).append(name)
    return list(components.values())


def require_mece(clusters: Mapping[str, Sequence[int]], n_items: int) -> None:
    """Check that every item is in exactly one cluster.

    Raises
    ------
    NotMeceError
        Naming the items that are not.
    """
    conflicts = find_conflicts(clusters)
    missing = sorted(set(range(n_items)) - {i for items in clusters.values() for i in items})
    if conflicts or missing:
        msg = (
            f"items in several clusters: {sorted(conflicts)[:5]} ({len(conflicts)}); "
            f"items in none: {missing[:5]} ({len(missing)})"
        )
        raise NotMeceError(msg)


def content(clusters: Mapping[str, Items], names: Iterable[str]) -> frozenset[Items]:
    """What some clusters hold, whatever they are called."""
    return frozenset(clusters[name] for name in names)


def partition_hash(clusters: Mapping[str, Items]) -> str:
    """Hash of a partition, whatever its clusters are called."""
    text = ";".join(",".join(map(str, items)) for items in sorted(clusters.values()))
    return hashlib.sha256(text.encode()).hexdigest()
