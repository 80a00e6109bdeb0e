"""Neighbours and UMAP weights by plain loops (McInnes, Healy & Melville 2018)."""

import math


def nearest(points: list[list[float]], k: int) -> list[list[tuple[float, int]]]:
    """Distance and index of the ``k`` nearest points of each point, itself first."""
    rows = []
    for i, a in enumerate(points):
        others = [(math.dist(a, b), j) for j, b in enumerate(points) if j != i]
        rows.append([(0.0, i), *sorted(others)[: k - 1]])
    return rows


def local_scale(distances: list[float], mean_of_all: float) -> tuple[float, float]:
    """Distance to the nearest other point, and the scale that makes the weights sum to log2(k)."""
    positive = [d for d in distances if d > 0]
    nearest_other = min(positive) if positive else 0.0
    target, low, high, scale = math.log2(len(distances)), 0.0, math.inf, 1.0
    for _ in range(64):
        total = 0.0
        for d in distances[1:]:
            gap = d - nearest_other
            total += math.exp(-gap / scale) if gap > 0 else 1.0
        if abs(total - target) < 1e-5:
            break
        if total > target:
            high = scale
            scale = (low + high) / 2
        else:
            low = scale
            scale = scale * 2 if high == math.inf else (low + high) / 2
    own = sum(distances) / len(distances)
    floor = 1e-3 * (own if nearest_other > 0 else mean_of_all)
    return nearest_other, max(scale, floor)


def connectivities(points: list[list[float]], k: int) -> dict[tuple[int, int], float]:
    """Weight of each pair in the fuzzy union ``a + b - ab``."""
    rows = nearest(points, k)
    mean_of_all = sum(d for row in rows for d, _ in row) / (len(rows) * k)
    directed: dict[tuple[int, int], float] = {}
    for i, row in enumerate(rows):
        rho, sigma = local_scale([d for d, _ in row], mean_of_all)
        for d, j in row[1:]:
            directed[i, j] = 1.0 if d <= rho else math.exp(-(d - rho) / sigma)
    union = {}
    for (i, j), a in directed.items():
        b = directed[j, i] if (j, i) in directed else 0.0
        union[i, j] = union[j, i] = a + b - a * b
    return union
