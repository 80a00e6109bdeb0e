"""What a plan does to clusters and held labels, cell by cell.

Source: stage-i.md, "Operations, always in this order".
"""

import math
from collections.abc import Callable

Held = tuple[str, str | None, str]
"""Label, path and the operation that gave it."""
Divide = Callable[[list[int], float], tuple[list[int], list[list[float]]] | None]
"""From cells and a resolution to the part and the place of each cell; None: cannot be divided."""

ORDER = ("override", "merge", "subcluster", "relabel")


def comes_before(first: str, second: str) -> bool:
    """Natural order of ids that are numbers joined by colons."""
    left, right = ([int(part) for part in name.split(":")] for name in (first, second))
    for a, b in zip(left, right, strict=False):
        if a != b:
            return a < b
    return len(left) < len(right)


def lowest(names: list[str]) -> str:
    """First id in natural order."""
    best = names[0]
    for name in names[1:]:
        if comes_before(name, best):
            best = name
    return best


def sizes(parts: list[int]) -> dict[int, int]:
    """Cells of each part."""
    counts: dict[int, int] = {}
    for part in parts:
        counts[part] = counts[part] + 1 if part in counts else 1
    return counts


def centroid(parts: list[int], places: list[list[float]], part: int) -> list[float]:
    """Mean place of the cells of a part."""
    own = [place for name, place in zip(parts, places, strict=True) if name == part]
    return [math.fsum(axis) / len(own) for axis in zip(*own, strict=True)]


def joined(parts: list[int], places: list[list[float]], least: int) -> list[int]:
    """Parts of which each has ``least`` cells, or is all there is.

    The spec leaves open which of two equally small parts moves first: here the later number.
    """
    current = list(parts)
    while True:
        counts = sizes(current)
        smallest = max(counts)
        for part in sorted(counts, reverse=True):
            if counts[part] < counts[smallest]:
                smallest = part
        if counts[smallest] >= least or len(counts) == 1:
            return current
        home = centroid(current, places, smallest)
        nearest, shortest = None, math.inf
        for part in sorted(counts):
            away = math.dist(home, centroid(current, places, part))
            if part != smallest and away < shortest:
                nearest, shortest = part, away
        current = [nearest if part == smallest else part for part in current]


def numbered(parts: list[int]) -> list[int]:
    """Parts counted from 0, the largest first; equal sizes by their first cell."""
    counts = sizes(parts)
    order = sorted(counts, key=lambda part: (-counts[part], parts.index(part)))
    return [order.index(part) for part in parts]


def carried_out(
    clusters: list[str],
    held: dict[str, Held],
    operations: list[dict],
    divide: Divide,
    least: int,
) -> tuple[list[str], dict[str, Held], set[str]]:
    """Cluster of each cell and held labels after a plan, and the clusters that did not divide.

    ``operations`` are dicts of the fields of an operation.
    """
    clusters, labels, whole = list(clusters), dict(held), set()
    for operation in sorted(operations, key=lambda each: ORDER.index(each["op"])):
        if operation["op"] == "subcluster":
            name = operation["cluster"]
            cells = [i for i, own in enumerate(clusters) if own == name]
            found = divide(cells, operation["resolution"])
            parts = [0] if found is None else numbered(joined(*found, least))
            if max(parts) == 0:
                whole.add(name)
                continue
            for cell, part in zip(cells, parts, strict=True):
                clusters[cell] = f"{name}:{part}"
            labels.pop(name, None)
            continue
        names = [operation["cluster"]] if "cluster" in operation else list(operation["clusters"])
        kept = lowest(names)
        clusters = [kept if own in names else own for own in clusters]
        for name in names:
            labels.pop(name, None)
        if operation["label"] is not None:
            labels[kept] = (operation["label"], operation["path"], operation["op"])
    return clusters, labels, whole
