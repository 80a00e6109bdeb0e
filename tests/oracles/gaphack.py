"""Mismatches of aligned rows, gap-optimised clustering and refinement scopes.

Source: two-pass-details.md, 3.2 (steps 2 to 11), 3.3 and 3.6; ties by two-pass.md ("Core and
distances"): values within 1e-12 are equal, and the first pair in list order wins.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOLERANCE = 1e-12

# ------------------------------------------------------------------------- 3.2, two rows

IUPAC = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT",
    "K": "GT", "M": "AC", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip


def compatible(a: str, b: str) -> bool:
    """Whether two letters may stand for the same base."""
    return any(base in IUPAC[b] for base in IUPAC[a])


def without_ends(row: str) -> str:
    """Step 2: gaps before the first and after the last residue are missing data."""
    first = 0
    while first < len(row) and row[first] == "-":
        first += 1
    last = len(row)
    while last > first and row[last - 1] == "-":
        last -= 1
    return "." * first + row[first:last] + "." * (len(row) - last)


def trimmed(rows: Sequence[str]) -> list[str] | None:
    """Step 3: from the first to the last column in which half of the rows are not missing."""
    needed = int(0.5 * len(rows))
    covered = [
        column
        for column in range(len(rows[0]))
        if sum(row[column] != "." for row in rows) >= needed
    ]
    return [row[covered[0] : covered[-1] + 1] for row in rows] if covered else None


def mismatches(a: str, b: str) -> int | None:
    """Steps 4 to 11: edits between two aligned rows; None where they cannot be compared."""
    a, b = a.upper(), b.upper()
    shorter = min(sum(letter not in "-." for letter in row) for row in (a, b))
    columns = [
        (x, y)
        for x, y in zip(a, b, strict=True)
        if "." not in (x, y) and (x, y) != ("-", "-")
    ]  # fmt: skip
    overlap = len(columns)
    if overlap == 0 or overlap < 0.5 * shorter:
        return None
    both = [at for at, pair in enumerate(columns) if "-" not in pair]
    if not both:
        return 0
    return _edits_of_region(columns[both[0] : both[-1] + 1])


def _edits_of_region(region: list[tuple[str, str]]) -> int:
    """Steps 6 to 8 and 11: the sum over maximal runs of columns that do not match."""
    total, at = 0, 0
    while at < len(region):
        if _is_match(region[at]):
            at += 1
            continue
        end = at
        while end < len(region) and not _is_match(region[end]):
            end += 1
        left = region[at - 1] if at > 0 else ("", "!")
        right = region[end] if end < len(region) else ("", "!")
        total += _edits_of_range(
            [x for x, _ in region[at:end] if x != "-"],
            [y for _, y in region[at:end] if y != "-"],
            left[0] if left[0] == left[1] else None,
            right[0] if right[0] == right[1] else None,
        )
        at = end
    return total


def _is_match(pair: tuple[str, str]) -> bool:
    return "-" not in pair and compatible(*pair)


def _edits_of_range(a: list[str], b: list[str], left: str | None, right: str | None) -> int:
    """Steps 9 and 10."""
    a, b = _core(a, left, right), _core(b, left, right)
    if not a and not b:
        return 0
    if not a or not b:
        return 1
    if a == b:
        return 0
    different = sum(not compatible(x, y) for x, y in zip(a, b, strict=False))
    return different + (len(a) != len(b))


def _core(allele: list[str], left: str | None, right: str | None) -> list[str]:
    """What is left of an allele without the residues that extend its neighbours."""
    rest = list(allele)
    while rest and left is not None and compatible(rest[0], left):
        rest.pop(0)
    while rest and right is not None and compatible(rest[-1], right):
        rest.pop()
    return rest


# ----------------------------------------------------------------------- 3.3, clustering

Matrix = Sequence[Sequence[float]]
Groups = list[list[int]]


@dataclass(frozen=True)
class Setting:
    """Parameters of 3.3."""

    min_split: float = 0.005
    max_lump: float = 0.02
    target_percentile: float = 95
    gap_method: str = "local"
    alpha: float = 0.0
    initial_state_competes: bool = False
    alone_is_wide: bool = False


@dataclass(frozen=True)
class Found:
    """Clusters by their smallest item; history: clusters after it, merge distance, score."""

    partition: list[list[int]]
    gap: float | None
    merge_distance: float
    history: list[tuple[int, float, float]]


def quantile(values: Sequence[float], q: float) -> float:
    """Interpolated percentile."""
    ascending = sorted(values)
    place = (len(ascending) - 1) * q
    below = math.floor(place)
    if below + 1 >= len(ascending):
        return ascending[-1]
    return ascending[below] + (ascending[below + 1] - ascending[below]) * (place - below)


def between(matrix: Matrix, a: Sequence[int], b: Sequence[int]) -> list[float]:
    """Valid distances from one group to another."""
    return [matrix[i][j] for i in a for j in b if not math.isnan(matrix[i][j])]


def within(matrix: Matrix, group: Sequence[int]) -> list[float]:
    """Valid distances inside a group, each once."""
    pairs = [(i, j) for at, i in enumerate(group) for j in group[at + 1 :]]
    return [matrix[i][j] for i, j in pairs if not math.isnan(matrix[i][j])]


def local_score(matrix: Matrix, free: Groups, fixed: Groups, setting: Setting) -> float:
    """Sum of the gaps between each cluster and its nearest, over k to the alpha.

    Context is what a cluster may be near to; its own gap does not count, nor does its number.
    """
    groups = free + fixed
    if len(groups) <= 1 or not free:
        return 0.0
    parts = []
    for group in free:
        inside = within(matrix, group)
        for p in (0.90, 0.95, 1.0):
            reached = [between(matrix, group, other) for other in groups if other is not group]
            lows = [quantile(values, 1 - p) for values in reached if values]
            if lows:
                alone = setting.max_lump if setting.alone_is_wide and len(group) == 1 else 0.0
                parts.append(min(lows) - (quantile(inside, p) if inside else alone))
            else:
                parts.append(setting.max_lump)
    return math.fsum(parts) / len(free) ** setting.alpha


def global_score(matrix: Matrix, groups: Groups, setting: Setting) -> float:
    """Gap between the pooled distances between clusters and those within."""
    inside = [value for group in groups for value in within(matrix, group)]
    outside = [
        value
        for at, group in enumerate(groups)
        for other in groups[at + 1 :]
        for value in between(matrix, group, other)
    ]
    if not inside or not outside:
        return 0.0
    p = setting.target_percentile / 100
    return quantile(outside, 1 - p) - quantile(inside, p)


def score(matrix: Matrix, free: Groups, fixed: Groups, setting: Setting) -> float:
    """Score of a state."""
    if setting.gap_method == "local":
        return local_score(matrix, free, fixed, setting)
    return global_score(matrix, free + fixed, setting)


def merge_distance(matrix: Matrix, union: Sequence[int], setting: Setting) -> float:
    """One of the distances inside a union, not interpolated."""
    ascending = sorted(within(matrix, union))
    p = 0.90 if setting.gap_method == "local" else setting.target_percentile / 100
    m = len(ascending)
    return ascending[min(int(m * p), m - 1)] if m else 0.0


def gap_clusters(matrix: Matrix, setting: Setting, context: Sequence[Sequence[int]] = ()) -> Found:
    """Phases 1 and 2. Groups of ``context`` take part in the score and in no merge."""
    fixed = [list(group) for group in context]
    known = {item for group in fixed for item in group}
    free = [[item] for item in range(len(matrix)) if item not in known]
    free = _lumped(matrix, free, setting)
    if len(free) + len(fixed) == 1:
        return Found(_ordered(free + fixed), None, setting.max_lump, [])
    now = score(matrix, free, fixed, setting)
    best, best_score, best_distance = None, -1.0, setting.max_lump
    if setting.initial_state_competes:
        best, best_score = free, now
    history = []
    while True:
        choice = _best_merge(matrix, free, fixed, setting)
        if choice is None:
            break
        free, distance, now = choice
        history.append((len(free) + len(fixed), distance, now))
        if now > best_score + TOLERANCE:
            best, best_score, best_distance = free, now, distance
    if best is None:
        best, best_score = free, now
    return Found(_ordered(best + fixed), best_score, best_distance, history)


def _ordered(groups: Groups) -> list[list[int]]:
    return sorted(sorted(group) for group in groups)


def _merged(groups: Groups, i: int, j: int) -> Groups:
    """Both are deleted, and their union stands at the end."""
    rest = [group for at, group in enumerate(groups) if at not in (i, j)]
    return [*rest, groups[i] + groups[j]]


def _lumped(matrix: Matrix, groups: Groups, setting: Setting) -> Groups:
    """Phase 1."""
    while True:
        nearest, choice = math.inf, None
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                values = between(matrix, groups[i], groups[j])
                if not values:
                    continue
                linkage = quantile(values, setting.target_percentile / 100)
                if linkage < nearest - TOLERANCE:
                    nearest, choice = linkage, (i, j)
        if choice is None or nearest >= setting.min_split - TOLERANCE:
            return groups
        groups = _merged(groups, *choice)


def _best_merge(
    matrix: Matrix, free: Groups, fixed: Groups, setting: Setting
) -> tuple[Groups, float, float] | None:
    """State after the legal merge that leaves the largest score."""
    best = None
    for i in range(len(free)):
        for j in range(i + 1, len(free)):
            distance = merge_distance(matrix, free[i] + free[j], setting)
            if distance > setting.max_lump:
                continue
            after = _merged(free, i, j)
            left = score(matrix, after, fixed, setting)
            if best is None or left > best[2] + TOLERANCE:
                best = (after, distance, left)
    return best


# --------------------------------------------------------------------------- 3.6, scopes

N_NEAREST = 30


def scope(
    seeds: Sequence[str],
    sizes: Mapping[str, int],
    neighbors: Mapping[str, Sequence[tuple[str, float]]],
    limits: tuple[float, float, int],
    *,
    always_context: bool = False,
) -> tuple[list[str], list[str]]:
    """Clusters that are refined, and their context.

    ``limits``: close threshold, multiplier, most items. ``always_context`` is a decision of ours:
    step 4 also where there is no core neighbour. Neighbours that do not exist are ignored (3.7 b).
    """
    close, multiplier, limit = limits
    core, context = list(seeds), []

    def size() -> int:
        return sum(sizes[name] for name in core + context)

    def nearest(edges: Mapping[str, Sequence[tuple[str, float]]]) -> list[tuple[str, float]]:
        smallest: dict[str, float] = {}
        for seed in seeds:
            for name, distance in edges[seed]:
                if name in sizes and name not in seeds:
                    known = smallest[name] if name in smallest else math.inf
                    smallest[name] = min(known, distance)
        return sorted(smallest.items(), key=lambda edge: edge[1])

    near = [name for name, distance in nearest(neighbors) if distance <= close]
    for name in near:
        if size() + sizes[name] > limit:
            break
        core.append(name)
    for name, distance in nearest(neighbors):
        if close < distance <= multiplier * close:
            if size() + sizes[name] > limit:
                break
            context.append(name)
    if not context and (near or always_context):
        thirty = {
            seed: sorted(edges, key=lambda edge: edge[1])[:N_NEAREST]
            for seed, edges in neighbors.items()
        }
        for name, distance in nearest(thirty):
            if distance > close and size() + sizes[name] <= limit:
                context.append(name)
                break
    return core, context
