"""A consensus of several clusterings, cell by cell, with sets and exact fractions.

Source: two-pass.md, "Cells", and the docstrings of ``ctr_engine/splitmerge/cells/consensus.py``.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .gaphack import Setting, gap_clusters

Cells = frozenset[int]


@dataclass(frozen=True)
class Expected:
    """What a consensus of clusterings is."""

    clusters: list[str]
    stability: list[float]
    conflict: list[bool]
    tie: list[bool]
    jaccard: list[list[float]]
    n_groups: int


def consensus(
    runs: Sequence[Sequence[str]],
    coordinates: Sequence[Sequence[float]],
    cell_ids: Sequence[str],
    min_split: float,
    max_lump: float,
) -> Expected:
    """Groups, votes, the nearest middle, and how often the runs found each cluster."""
    cells = sorted(range(len(cell_ids)), key=lambda cell: cell_ids[cell])
    items = _in_order([clusters_of(run) for run in runs], cells)
    groups = _groups([held for held, _ in items], min_split, max_lump)
    liked = [_candidates(cell, items, groups) for cell in range(len(cell_ids))]
    final = _resolved([candidates for candidates, _ in liked], coordinates, len(groups))
    together = sorted(
        (frozenset(cell for cell in cells if final[cell] == group) for group in set(final)),
        key=lambda held: (-len(held), min(held)),
    )
    name_of = {cell: number for number, held in enumerate(together) for cell in held}
    best = [[_best_of_run(held, items, run) for run in range(len(runs))] for held in together]
    shares = [
        sum(cell in found for found in best[name_of[cell]]) / len(runs) for cell in sorted(cells)
    ]
    return Expected(
        clusters=[str(name_of[cell]) for cell in sorted(cells)],
        stability=shares,
        conflict=[n_groups > 1 for _, n_groups in liked],
        tie=[len(candidates) > 1 for candidates, _ in liked],
        jaccard=[
            [float(overlap(held, found)) for found in row]
            for held, row in zip(together, best, strict=True)
        ],
        n_groups=len(groups),
    )


def clusters_of(run: Sequence[str]) -> list[Cells]:
    """Cells of each cluster."""
    return [
        frozenset(cell for cell, name in enumerate(run) if name == wanted) for wanted in set(run)
    ]


def parts(clusters: Sequence[str], ids: Sequence[str]) -> set[frozenset[str]]:
    """Which cells are together, by id."""
    return {frozenset(ids[cell] for cell in held) for held in clusters_of(clusters)}


def overlap(a: Cells, b: Cells) -> Fraction:
    """Share of the cells of either that are in both."""
    return Fraction(len(a & b), len(a | b))


def _in_order(runs: list[list[Cells]], cells: list[int]) -> list[tuple[Cells, int]]:
    """Each cluster with its run: large ones first, then by first cell, then by a hash.

    Cells are in the order of their ids; the hash is SHA-256 of their places in it, eight bytes
    each, the lowest byte first.
    """
    place = {cell: at for at, cell in enumerate(cells)}

    def key(item: tuple[Cells, int]) -> tuple[int, int, str]:
        places = sorted(place[cell] for cell in item[0])
        digest = hashlib.sha256(b"".join(at.to_bytes(8, "little") for at in places))
        return -len(places), places[0], digest.hexdigest()

    return sorted(((held, run) for run, found in enumerate(runs) for held in found), key=key)


def _groups(items: list[Cells], min_split: float, max_lump: float) -> list[list[int]]:
    apart = [[float(1 - overlap(a, b)) for b in items] for a in items]
    setting = Setting(
        min_split=min_split, max_lump=max_lump, alpha=1.0, initial_state_competes=True
    )
    return gap_clusters(apart, setting).partition


def _candidates(
    cell: int, items: list[tuple[Cells, int]], groups: list[list[int]]
) -> tuple[list[int], int]:
    """Groups into which most runs put a cell, and how many groups there are votes for."""
    votes = [sum(cell in items[item][0] for item in members) for members in groups]
    most = max(votes)
    candidates = [group for group, count in enumerate(votes) if count == most]
    return candidates, sum(count > 0 for count in votes)


def _resolved(
    candidates: list[list[int]], coordinates: Sequence[Sequence[float]], n_groups: int
) -> list[int]:
    middles = {}
    for group in range(n_groups):
        sure = [coordinates[cell] for cell, may in enumerate(candidates) if may == [group]]
        some = sure or [coordinates[cell] for cell, may in enumerate(candidates) if group in may]
        if some:
            middles[group] = [math.fsum(axis) / len(some) for axis in zip(*some, strict=True)]
    final = []
    for cell, may in enumerate(candidates):
        away = [math.dist(coordinates[cell], middles[group]) for group in may]
        final.append(may[away.index(min(away))])
    return final


def _best_of_run(held: Cells, items: list[tuple[Cells, int]], run: int) -> Cells:
    """Cluster of a run that overlaps the cells best; of equally good ones the first in order."""
    best: Cells = frozenset()
    for found, its_run in items:
        if its_run == run and (not best or overlap(held, found) > overlap(held, best)):
            best = found
    return best
