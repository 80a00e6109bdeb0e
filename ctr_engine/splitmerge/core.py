"""Gap-optimised clustering of one scope: agglomerate, and keep the state with the widest gap.

Phase 1 merges whatever is nearer than ``min_split``. Phase 2 goes on with the merge, among those
of at most ``max_lump``, that leaves the best score, until none is left, and returns the best state
that it passed. The score is a *barcode gap*: the distance from clusters to their nearest, less the
distance inside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ctr_engine.errors import ParameterError
from ctr_engine.splitmerge.params import GapParams

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_LOCAL_MERGE_PERCENTILE = 0.90
"""Percentile of the merge distance where the gap is local (spec, two-pass-details 3.3)."""


@dataclass(frozen=True)
class Merge:
    """One step of phase 2: clusters after it, its merge distance, the score that it left."""

    n_clusters: int
    merge_distance: float
    gap: float


@dataclass(frozen=True)
class GapClustering:
    """What clustering one scope gave.

    ``clusters`` are ascending item indices, ordered by their smallest. ``gap`` is the score of
    that state, None where phase 1 left one cluster, which has none.
    """

    clusters: tuple[tuple[int, ...], ...]
    gap: float | None
    merge_distance: float
    history: tuple[Merge, ...]


def gap_clusters(
    distances: Floats, params: GapParams, context: Sequence[Sequence[int]] = ()
) -> GapClustering:
    """Cluster the items of a scope.

    Parameters
    ----------
    distances
        Symmetric, shape ``(n_items, n_items)``; NaN where two items cannot be compared. The
        diagonal is not looked at.
    params
        Thresholds, on the scale of the distances.
    context
        Groups of items that are clusters already. They are neither divided nor merged, but the
        gap is measured to them. Their own gap does not count.

    Returns
    -------
    The state with the best score; of equal ones the earliest. Items of equal distances are taken
    in the order in which they are given.

    Raises
    ------
    ParameterError
        If ``distances`` is not a symmetric matrix of distances.
    """
    _require_distances(distances)
    state = _lumped(distances, params, context)
    start = state.clusters()
    if len(start) == 1:
        return GapClustering(_sorted(start), None, params.max_lump, ())
    score: _Score = (
        LocalScore(state, params) if params.gap_method == "local" else GlobalScore(state, params)
    )
    return _guided(state, score, params)


@dataclass(frozen=True)
class PooledGap:
    """Gap between all distances between clusters and all those inside, at one percentile."""

    percentile: float
    intra_upper: float
    inter_lower: float
    gap: float


def pooled_gaps(
    distances: Floats,
    clusters: Sequence[Sequence[int]],
    percentiles: Sequence[float] = (100, 95, 90),
) -> tuple[PooledGap, ...]:
    """Report the global gap of a partition at some percentiles; 0 where a pool is empty."""
    label = np.empty(len(distances), dtype=np.int64)
    for number, items in enumerate(clusters):
        label[list(items)] = number
    upper = np.triu_indices(len(distances), k=1)
    values, same = distances[upper], (label[upper[0]] == label[upper[1]])
    valid = ~np.isnan(values)
    inside, outside = values[valid & same], values[valid & ~same]
    found = []
    for percentile in percentiles:
        low = high = 0.0
        if len(inside) and len(outside):
            high = float(np.quantile(inside, percentile / 100))
            low = float(np.quantile(outside, 1 - percentile / 100))
        found.append(PooledGap(percentile, high, low, low - high))
    return tuple(found)


def merge_distance(distances: Floats, params: GapParams) -> float:
    """How wide a group is: element ``min(int(m p), m - 1)`` of its ``m`` distances; 0 of none."""
    inside = distances[np.triu_indices(len(distances), k=1)]
    return _element(np.sort(inside[~np.isnan(inside)]), _percentile_of(params))


def _percentile_of(params: GapParams) -> float:
    local = params.gap_method == "local"
    return _LOCAL_MERGE_PERCENTILE if local else params.target_percentile / 100


def _element(inside: Floats, percentile: float) -> float:
    m = len(inside)
    return float(inside[min(int(m * percentile), m - 1)]) if m else 0.0


def barcode_gap(distances: Floats, groups: Sequence[Sequence[int]], params: GapParams) -> float:
    """Local gap of the first group among the others, a mean over the percentiles.

    ``groups`` are positions in ``distances``; where no distance between two groups is valid the
    gap is ``max_lump``.
    """
    clusters = [np.asarray(items, dtype=np.int64) for items in groups]
    state = _state_of(np.ascontiguousarray(distances), clusters, np.ones(len(groups), np.bool_))
    return float(LocalScore(state, params).gaps()[0].mean())


def _guided(state: "_State", score: "_Score", params: GapParams) -> GapClustering:
    """Phase 2."""
    from ctr_engine.splitmerge.kernel import TOLERANCE

    first = score.current()
    best, best_gap, best_distance = None, -1.0, params.max_lump
    if params.initial_state_competes:
        best, best_gap = state.clusters(), first
    history: list[Merge] = []
    while state.k > 1:
        i, j, gap = score.best_merge()
        if i < 0:
            break
        distance = score.merge_distance(i, j)
        score.merge(i, j)
        history.append(Merge(state.k, distance, gap))
        if gap > best_gap + TOLERANCE:
            best, best_gap, best_distance = state.clusters(), gap, distance
    if best is None:  # nothing was merged, or nothing that scores
        best = state.clusters()
        best_gap = history[-1].gap if history else first
    return GapClustering(_sorted(best), best_gap, best_distance, tuple(history))


def _require_distances(distances: Floats) -> None:
    n = len(distances)
    if n == 0 or distances.shape != (n, n):
        msg = f"distances have the shape {distances.shape}; a square matrix of items is needed"
        raise ParameterError(msg)
    if not np.array_equal(distances, distances.T, equal_nan=True):
        msg = "the distance from one item to another is not that of the way back"
        raise ParameterError(msg)


def _sorted(clusters: Sequence[Ints]) -> tuple[tuple[int, ...], ...]:
    return tuple(sorted(tuple(sorted(map(int, items))) for items in clusters))


@dataclass
class _State:
    """An ordered list of clusters, as the compiled loops want it."""

    distances: Floats
    members: Ints
    size: Ints
    order: Ints
    k: int
    fixed: Bools

    def clusters(self) -> list[Ints]:
        """Items of each cluster, in list order."""
        return [self.items(slot) for slot in self.order[: self.k]]

    def items(self, slot: int) -> Ints:
        """Items of one slot."""
        return self.members[slot, : self.size[slot]].copy()

    def merge(self, i: int, j: int) -> int:
        """Merge two positions; give the slot of the union."""
        from ctr_engine.splitmerge.kernel import append_union

        self.k = append_union(self.members, self.size, self.order, self.k, i, j)
        return int(self.order[self.k - 1])


def _state_of(distances: Floats, clusters: Sequence[Ints], fixed: Bools) -> _State:
    k = len(clusters)
    members = np.zeros((k, len(distances)), dtype=np.int64)
    for slot, items in enumerate(clusters):
        members[slot, : len(items)] = items
    size = np.array([len(items) for items in clusters], dtype=np.int64)
    return _State(distances, members, size, np.arange(k, dtype=np.int64), k, fixed)


def _lumped(distances: Floats, params: GapParams, context: Sequence[Sequence[int]]) -> _State:
    """Phase 1, and its clusters in slots of their own."""
    from ctr_engine.splitmerge.kernel import lump

    matrix = np.ascontiguousarray(distances, dtype=np.float64)
    known = {item for items in context for item in items}
    groups = [[item] for item in range(len(matrix)) if item not in known]
    fixed = np.array([False] * len(groups) + [True] * len(context))
    arrays = [np.asarray(items, dtype=np.int64) for items in (*groups, *context)]
    s = _state_of(matrix, arrays, fixed)
    q = params.target_percentile / 100
    s.k = lump(matrix, s.members, s.size, s.order, s.k, s.fixed, q, params.min_split)
    return _state_of(matrix, s.clusters(), fixed[s.order[: s.k]])


class _Score(Protocol):
    """A score of states, kept up to date while clusters are merged."""

    def current(self) -> float:
        """Score of the state as it is."""

    def best_merge(self) -> tuple[int, int, float]:
        """Positions of the best legal merge and the score after it; -1 without one."""

    def merge_distance(self, i: int, j: int) -> float:
        """Merge distance of two positions."""

    def merge(self, i: int, j: int) -> None:
        """Merge two positions."""


class _Pairs:
    """What both scores need: all distances in blocks, and which merges are legal."""

    def __init__(self, state: _State, params: GapParams) -> None:
        from ctr_engine.splitmerge.kernel import count_near, sorted_pairs

        self.state, self.params, self.percentile = state, params, _percentile_of(params)
        self.values, self.offset, self.length = sorted_pairs(
            state.distances, state.members, state.size, state.k
        )
        self.near = count_near(self.values, self.offset, self.length, params.max_lump)

    def merge_distance(self, i: int, j: int) -> float:
        """Element ``min(int(m p), m - 1)`` of the ``m`` distances in the union; 0 of none."""
        a, b = self.state.order[i], self.state.order[j]
        inside = np.sort(np.concatenate([self._block(*pair) for pair in ((a, a), (a, b), (b, b))]))
        return _element(inside, self.percentile)

    def _block(self, a: int, b: int) -> Floats:
        begin = self.offset[a, b]
        return self.values[begin : begin + self.length[a, b]]

    def join(self, i: int, j: int) -> int:
        """Merge two positions; give the slot of the union."""
        from ctr_engine.splitmerge.kernel import join_blocks, join_counts

        s, b = self.state, self.state.order[j]
        a = s.merge(i, j)
        join_counts(self.near, s.order, s.k, a, b)
        self.values = join_blocks(self.values, self.offset, self.length, s.order, s.k, a, b)
        return a


class LocalScore(_Pairs):
    """Sum over clusters and percentiles of the gap to the nearest cluster, over n^alpha."""

    def __init__(self, state: _State, params: GapParams) -> None:
        super().__init__(state, params)
        k = state.k
        self.lower = np.full((k, k, 3), np.inf)
        self.upper = np.zeros((k, 3))
        self.union_upper = np.full((k, k, 3), np.nan)
        for slot in range(k):
            self._measure(slot)

    def _measure(self, slot: int) -> None:
        from ctr_engine.splitmerge.kernel import measure

        s, blocks = self.state, (self.values, self.offset, self.length)
        measure(blocks, s.order, s.k, slot, self.lower, self.upper, self.union_upper)
        if self.params.alone_is_wide and s.size[slot] == 1:
            self.upper[slot] = self.params.max_lump

    def current(self) -> float:
        """Score of the state as it is."""
        k = self.state.k
        scored = ~self.state.fixed[self.state.order[:k]]
        n = int(scored.sum())
        return float(self.gaps()[scored].sum() / n**self.params.alpha) if k > 1 and n else 0.0

    def gaps(self) -> Floats:
        """Local gap of each cluster at each percentile, shape ``(k, 3)``, in list order."""
        slots = self.state.order[: self.state.k]
        nearest = self.lower[np.ix_(slots, slots)].min(axis=1)
        return np.where(np.isinf(nearest), self.params.max_lump, nearest - self.upper[slots])

    def best_merge(self) -> tuple[int, int, float]:
        """Positions of the best legal merge and the score after it; -1 without one."""
        from ctr_engine.splitmerge.kernel import best_local_merge

        s, blocks = self.state, (self.values, self.offset, self.length)
        return best_local_merge(
            blocks, self.near, s.order, s.k, s.fixed, self.lower, self.upper, self.union_upper,
            self.params.max_lump, self.params.alpha, self.percentile,
        )  # fmt: skip

    def merge(self, i: int, j: int) -> None:
        """Merge two positions."""
        self._measure(self.join(i, j))


class GlobalScore(_Pairs):
    """Gap between all distances between clusters and all those inside."""

    def __init__(self, state: _State, params: GapParams) -> None:
        super().__init__(state, params)
        self.ranks, self.distinct = _ranked(state.distances)
        counts = np.bincount(self.ranks[self.ranks >= 0], minlength=len(self.distinct)) // 2
        self.pools = np.zeros(len(self.distinct), np.int64), np.cumsum(counts, dtype=np.int64)
        for items in state.clusters():
            for position in range(1, len(items)):
                self._move(items[:position], items[position : position + 1])

    def _move(self, a: Ints, b: Ints) -> None:
        from ctr_engine.splitmerge.kernel import move_block

        move_block(self.ranks, a, b, self.pools)

    def current(self) -> float:
        """Score of the state as it is."""
        from ctr_engine.splitmerge.kernel import global_gap

        none = np.zeros(0, np.int64)
        return global_gap(self.ranks, none, none, self.pools, self.distinct, self.percentile)

    def best_merge(self) -> tuple[int, int, float]:
        """Positions of the best legal merge and the score after it; -1 without one."""
        from ctr_engine.splitmerge.kernel import best_global_merge

        s = self.state
        return best_global_merge(
            self.ranks, s.members, s.size, s.order, s.k, s.fixed, (self.length, self.near),
            self.pools, self.distinct, self.percentile,
        )  # fmt: skip

    def merge(self, i: int, j: int) -> None:
        """Merge two positions."""
        a, b = (self.state.items(self.state.order[position]) for position in (i, j))
        self._move(a, b)
        self.join(i, j)


def _ranked(distances: Floats) -> tuple[Ints, Floats]:
    """Rank of each valid distance among the distinct ones (-1: missing), and those."""
    valid = ~np.isnan(distances)
    np.fill_diagonal(valid, val=False)
    values, inverse = np.unique(distances[valid], return_inverse=True)
    ranks = np.full(distances.shape, -1, dtype=np.int64)
    ranks[valid] = inverse
    return ranks, values
