"""Compiled loops over a matrix of distances, for :mod:`ctr_engine.splitmerge.core`.

A state is an ordered list of clusters. ``order[:k]`` has their slots in list order,
``members[slot, :size[slot]]`` their items. To merge positions ``i < j`` removes both and appends
the union, in the slot of the first. A missing distance is NaN and is left out everywhere.
"""

import numpy as np
import numpy.typing as npt

from ctr_engine.jit import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TOLERANCE = 1e-12
"""Two values that differ by less are equal, and the first pair in list order wins."""

LOCAL_PERCENTILES = (0.90, 0.95, 1.0)
"""Percentiles over which a local gap is summed."""

_N_LOCAL = 3
_NEAREST = 2  # position of the 1.0 above: the quantile 0 of a pair of clusters is its minimum
_N_CANDIDATES = 3  # nearest clusters that are kept: two of them may be those that are merged


@compiled
def quantile(ordered: Floats, q: float) -> float:
    """Interpolated quantile of ascending values; NaN of none."""
    n = len(ordered)
    if n == 0:
        return np.nan
    position = (n - 1) * q
    low = int(np.floor(position))
    high = min(low + 1, n - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (position - low))


@compiled
def valid_pairs(distances: Floats, a: Ints, b: Ints, same: bool) -> Floats:
    """Valid distances between two groups, or inside one that is given twice, ascending."""
    found = np.empty(len(a) * len(b))
    n = 0
    for x in range(len(a)):
        for y in range(x + 1 if same else 0, len(b)):
            value = distances[a[x], b[y]]
            if not np.isnan(value):
                found[n] = value
                n += 1
    found = found[:n]
    found.sort()
    return found


@compiled
def between(distances: Floats, a: Ints, b: Ints) -> Floats:
    """Valid distances between two groups, ascending."""
    return valid_pairs(distances, a, b, False)


@compiled
def within(distances: Floats, a: Ints) -> Floats:
    """Valid distances inside a group, ascending."""
    return valid_pairs(distances, a, a, True)


@compiled
def append_union(members: Ints, size: Ints, order: Ints, k: int, i: int, j: int) -> int:
    """Merge two positions of the list; the union keeps the slot of the first and stands last."""
    a, b = order[i], order[j]
    for x in range(size[b]):
        members[a, size[a] + x] = members[b, x]
    size[a] += size[b]
    kept = 0
    for position in range(k):
        if position not in (i, j):
            order[kept] = order[position]
            kept += 1
    order[kept] = a
    return kept + 1


@compiled
def lump(
    distances: Floats,
    members: Ints,
    size: Ints,
    order: Ints,
    k: int,
    fixed: Bools,
    q: float,
    min_split: float,
) -> int:
    """Phase 1: merge the nearest two clusters until all are at least ``min_split`` apart."""
    linkage = np.full((k, k), np.inf)
    for a in range(k):
        for b in range(a + 1, k):
            if not (fixed[a] or fixed[b]):
                value = quantile(
                    between(distances, members[a, : size[a]], members[b, : size[b]]), q
                )
                linkage[a, b] = linkage[b, a] = np.inf if np.isnan(value) else value
    while k > 1:
        best, i, j = np.inf, -1, -1
        for x in range(k):
            row = linkage[order[x]]
            for y in range(x + 1, k):
                value = row[order[y]]
                if value < best - TOLERANCE:
                    best, i, j = value, x, y
        if i < 0 or best > min_split - TOLERANCE:
            break
        k = append_union(members, size, order, k, i, j)
        a = order[k - 1]
        for x in range(k - 1):
            b = order[x]
            if not fixed[b]:
                value = quantile(
                    between(distances, members[a, : size[a]], members[b, : size[b]]), q
                )
                linkage[a, b] = linkage[b, a] = np.inf if np.isnan(value) else value
    return k


@compiled
def sorted_pairs(distances: Floats, members: Ints, size: Ints, k: int) -> tuple[Floats, Ints, Ints]:
    """All distances in ascending blocks, one for each pair of slots and one inside each slot.

    Returns
    -------
    The values, and where the block of slots ``a`` and ``b`` begins and how long it is, both of
    shape ``(k, k)`` and symmetric.
    """
    offset, length = np.zeros((k, k), np.int64), np.zeros((k, k), np.int64)
    values = np.empty(len(distances) * (len(distances) - 1) // 2)
    filled = 0
    for a in range(k):
        own = members[a, : size[a]]
        for b in range(a, k):
            other = members[b, : size[b]]
            block = within(distances, own) if a == b else between(distances, own, other)
            values[filled : filled + len(block)] = block
            offset[a, b] = offset[b, a] = filled
            length[a, b] = length[b, a] = len(block)
            filled += len(block)
    return values[:filled], offset, length


@compiled
def count_near(values: Floats, offset: Ints, length: Ints, limit: float) -> Ints:
    """Distances up to ``limit`` in each block."""
    k = len(offset)
    near = np.zeros((k, k), np.int64)
    for a in range(k):
        for b in range(a, k):
            block = values[offset[a, b] : offset[a, b] + length[a, b]]
            near[a, b] = near[b, a] = np.searchsorted(block, limit, side="right")
    return near


@compiled
def copy_merged(source: Floats, at: Ints, n: Ints, out: Floats, begin: int) -> None:
    """Merge up to three ascending blocks of ``source`` into ``out``."""
    here = at.copy()
    for position in range(begin, begin + n.sum()):
        best = -1
        for piece in range(len(at)):
            if here[piece] < at[piece] + n[piece] and (
                best < 0 or source[here[piece]] < source[here[best]]
            ):
                best = piece
        out[position] = source[here[best]]
        here[best] += 1


@compiled
def join_blocks(
    values: Floats, offset: Ints, length: Ints, order: Ints, k: int, a: int, b: int
) -> Floats:
    """Join the blocks of two slots under the first; ``order[:k]`` are the slots that are left.

    ``offset`` and ``length`` are changed in place; the values are given anew.
    """
    out = np.empty(len(values))
    filled = 0
    for x in range(k):
        for y in range(x, k):
            c, d = order[x], order[y]
            if a not in (c, d):
                begin, n = offset[c, d], length[c, d]
                out[filled : filled + n] = values[begin : begin + n]
            else:
                other = d if c == a else c
                if other == a:
                    at = np.array([offset[a, a], offset[b, b], offset[a, b]])
                    each = np.array([length[a, a], length[b, b], length[a, b]])
                else:
                    at = np.array([offset[a, other], offset[b, other]])
                    each = np.array([length[a, other], length[b, other]])
                n = each.sum()
                copy_merged(values, at, each, out, filled)
            offset[c, d] = offset[d, c] = filled
            length[c, d] = length[d, c] = n
            filled += n
    return out[:filled]


@compiled
def is_legal(valid: Ints, near: Ints, a: int, b: int, p: float) -> bool:
    """Whether the merge distance of two clusters is at most the limit.

    That distance is element ``min(int(m p), m - 1)`` of the ``m`` ascending distances inside the
    union, so it is enough to count those up to the limit; the counts of a union are sums.
    """
    m = valid[a, a] + valid[b, b] + valid[a, b]
    if m == 0:
        return True
    return bool(near[a, a] + near[b, b] + near[a, b] > min(int(m * p), m - 1))


@compiled
def join_counts(counts: Ints, order: Ints, k: int, a: int, b: int) -> None:
    """Add the counts of slot ``b`` to those of ``a``; ``order[:k]`` are the slots that are left."""
    inside = counts[a, a] + counts[b, b] + counts[a, b]
    for x in range(k):
        c = order[x]
        if c != a:
            counts[a, c] += counts[b, c]
            counts[c, a] = counts[a, c]
    counts[a, a] = inside


@compiled
def low_quantiles(values: Floats, at: tuple[int, int], n: tuple[int, int], out: Floats) -> None:
    """Quantiles ``1 - p`` of the union of two ascending blocks; infinite of none."""
    total = n[0] + n[1]
    if total == 0:
        out[:] = np.inf
        return
    x, y = at
    x_end, y_end = at[0] + n[0], at[1] + n[1]
    lowest, above = np.empty(_N_LOCAL), np.empty(_N_LOCAL)
    position = np.empty(_N_LOCAL)
    for p in range(_N_LOCAL):
        position[p] = (total - 1) * (1.0 - LOCAL_PERCENTILES[p])
    last = min(int(np.floor(position[0])) + 1, total - 1)
    for rank in range(last + 1):
        if y >= y_end or (x < x_end and values[x] <= values[y]):
            value = values[x]
            x += 1
        else:
            value = values[y]
            y += 1
        for p in range(_N_LOCAL):
            low = int(np.floor(position[p]))
            if rank == low:
                lowest[p] = value
            if rank == min(low + 1, total - 1):
                above[p] = value
    for p in range(_N_LOCAL):
        out[p] = lowest[p] + (above[p] - lowest[p]) * (position[p] - np.floor(position[p]))


@compiled
def high_quantiles(values: Floats, at: Ints, n: Ints, out: Floats) -> None:
    """Quantiles ``p`` of the union of ascending blocks; 0 of none."""
    merged = np.empty(n.sum())
    copy_merged(values, at, n, merged, 0)
    for p in range(_N_LOCAL):
        out[p] = quantile(merged, LOCAL_PERCENTILES[p]) if len(merged) else 0.0


@compiled
def nearest_three(lower: Floats, order: Ints, k: int) -> tuple[Floats, Ints]:
    """Per cluster and percentile: the three nearest others, and their slots (-1: there is none)."""
    n = len(lower)
    values = np.full((n, _N_LOCAL, _N_CANDIDATES), np.inf)
    slots = np.full((n, _N_LOCAL, _N_CANDIDATES), -1)
    for x in range(k):
        a = order[x]
        for y in range(k):
            b = order[y]
            if a == b:
                continue
            for p in range(_N_LOCAL):
                value, slot = lower[a, b, p], b
                for rank in range(_N_CANDIDATES):
                    if value < values[a, p, rank]:
                        value, values[a, p, rank] = values[a, p, rank], value
                        slot, slots[a, p, rank] = slots[a, p, rank], slot
    return values, slots


@compiled
def local_gap(
    blocks: tuple[Floats, Ints, Ints],
    order: Ints,
    k: int,
    fixed: Bools,
    lower: Floats,
    upper: Floats,
    nearest: tuple[Floats, Ints],
    a: int,
    b: int,
    union_upper: Floats,
    max_lump: float,
) -> float:
    """Sum of the local gaps of the state in which slots ``a`` and ``b`` are merged."""
    values, offset, length = blocks
    nearest_values, nearest_slots = nearest
    total = 0.0
    union_lower, lowest, apart = np.full(_N_LOCAL, np.inf), np.empty(_N_LOCAL), np.empty(_N_LOCAL)
    for x in range(k):
        c = order[x]
        if c in (a, b):
            continue
        closest = min(lower[c, a, _NEAREST], lower[c, b, _NEAREST])
        matters = False
        for p in range(_N_LOCAL):
            rank = 0
            while rank < _N_CANDIDATES and nearest_slots[c, p, rank] in (a, b):
                rank += 1
            lowest[p] = nearest_values[c, p, rank] if rank < _N_CANDIDATES else np.inf
            # no quantile of the distances to the union is below the smallest of them
            matters |= closest < lowest[p] or closest < union_lower[p]
        if matters:
            at, n = (offset[a, c], offset[b, c]), (length[a, c], length[b, c])
            low_quantiles(values, at, n, apart)
            for p in range(_N_LOCAL):
                lowest[p] = min(lowest[p], apart[p])
                union_lower[p] = min(union_lower[p], apart[p])
        if fixed[c]:
            continue  # what is around says how wide a gap is; its own gap is not at stake
        for p in range(_N_LOCAL):
            total += max_lump if lowest[p] == np.inf else lowest[p] - upper[c, p]
    for p in range(_N_LOCAL):
        total += max_lump if union_lower[p] == np.inf else union_lower[p] - union_upper[p]
    return total


@compiled
def best_local_merge(
    blocks: tuple[Floats, Ints, Ints],
    near: Ints,
    order: Ints,
    k: int,
    fixed: Bools,
    lower: Floats,
    upper: Floats,
    union_upper: Floats,
    max_lump: float,
    alpha: float,
    p: float,
) -> tuple[int, int, float]:
    """Positions of the legal merge with the best local score, and that score; -1 without one.

    ``lower`` has shape ``(slots, slots, 3)``, the low quantiles between two clusters (infinite
    where no distance is valid); ``upper`` has shape ``(slots, 3)``, the high ones inside;
    ``union_upper`` those inside two together, filled in here where it is NaN.
    """
    values, offset, length = blocks
    nearest = nearest_three(lower, order, k)
    n_scored = np.sum(~fixed[order[:k]])
    best, i, j = -np.inf, -1, -1
    for x in range(k):
        for y in range(x + 1, k):
            a, b = order[x], order[y]
            if fixed[a] or fixed[b] or not is_legal(length, near, a, b, p):
                continue
            inside = union_upper[min(a, b), max(a, b)]
            if np.isnan(inside[0]):
                at = np.array([offset[a, a], offset[b, b], offset[a, b]])
                n = np.array([length[a, a], length[b, b], length[a, b]])
                high_quantiles(values, at, n, inside)
            score = 0.0
            if k > 2:
                score = (
                    local_gap(
                        blocks, order, k, fixed, lower, upper, nearest, a, b, inside, max_lump
                    )
                    / (n_scored - 1.0) ** alpha
                )
            if i < 0 or score > best + TOLERANCE:
                best, i, j = score, x, y
    return i, j, best


@compiled
def measure(
    blocks: tuple[Floats, Ints, Ints],
    order: Ints,
    k: int,
    a: int,
    lower: Floats,
    upper: Floats,
    union_upper: Floats,
) -> None:
    """Measure one cluster anew: its spread, its distances to the others; forget its unions."""
    values, offset, length = blocks
    at, n = np.array([offset[a, a]]), np.array([length[a, a]])
    high_quantiles(values, at, n, upper[a])
    union_upper[a] = np.nan
    union_upper[:, a] = np.nan
    for x in range(k):
        b = order[x]
        if a != b:
            low_quantiles(values, (offset[a, b], 0), (length[a, b], 0), lower[a, b])
            lower[b, a] = lower[a, b]


@compiled
def pool_quantile(cumulative: Ints, block: Ints, sign: int, values: Floats, q: float) -> float:
    """Quantile of a pool of ranked values, with a block of ranks added or taken away.

    ``cumulative[r]`` counts the pool's values of rank at most ``r``; ``block`` is ascending.
    """
    n = cumulative[-1] + sign * len(block)
    if n <= 0:
        return np.nan
    position = (n - 1) * q
    low = int(np.floor(position))
    found = np.empty(2)
    for step in range(2):
        wanted = min(low + step, n - 1)
        left, right = 0, len(cumulative) - 1
        while left < right:
            middle = (left + right) // 2
            count = cumulative[middle] + sign * np.searchsorted(block, middle, side="right")
            if count > wanted:
                right = middle
            else:
                left = middle + 1
        found[step] = values[left]
    return float(found[0] + (found[1] - found[0]) * (position - low))


@compiled
def global_gap(
    ranks: Ints, a: Ints, b: Ints, pools: tuple[Ints, Ints], values: Floats, p: float
) -> float:
    """Gap between the pooled distances after two clusters are merged; 0 where a pool is empty."""
    block = np.empty(len(a) * len(b), dtype=np.int64)
    n = 0
    for i in a:
        for j in b:
            if ranks[i, j] >= 0:
                block[n] = ranks[i, j]
                n += 1
    block = block[:n]
    block.sort()
    outside = pool_quantile(pools[1], block, -1, values, 1.0 - p)
    inside = pool_quantile(pools[0], block, 1, values, p)
    gap = outside - inside
    return 0.0 if np.isnan(gap) else gap


@compiled
def best_global_merge(
    ranks: Ints,
    members: Ints,
    size: Ints,
    order: Ints,
    k: int,
    fixed: Bools,
    counts: tuple[Ints, Ints],
    pools: tuple[Ints, Ints],
    values: Floats,
    p: float,
) -> tuple[int, int, float]:
    """Positions of the legal merge with the best global gap, and that gap; -1 without one."""
    best, i, j = -np.inf, -1, -1
    for x in range(k):
        for y in range(x + 1, k):
            a, b = order[x], order[y]
            if fixed[a] or fixed[b] or not is_legal(counts[0], counts[1], a, b, p):
                continue
            score = global_gap(
                ranks, members[a, : size[a]], members[b, : size[b]], pools, values, p
            )
            if i < 0 or score > best + TOLERANCE:
                best, i, j = score, x, y
    return i, j, best


@compiled
def move_block(ranks: Ints, a: Ints, b: Ints, pools: tuple[Ints, Ints]) -> None:
    """Take the distances between two groups from the pool outside into that inside."""
    n = len(pools[0])
    moved = np.zeros(n, dtype=np.int64)
    for i in a:
        for j in b:
            if ranks[i, j] >= 0:
                moved[ranks[i, j]] += 1
    total = 0
    for rank in range(n):
        total += moved[rank]
        pools[0][rank] += total
        pools[1][rank] -= total
