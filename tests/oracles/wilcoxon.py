"""Rank-sum test of a cluster against the rest, and the lookup of ranks made from it.

Source: stage-h.md, "Differential expression". The z value is the normal approximation of the
rank sum with tie correction and no continuity correction, as scanpy defines it.
"""

import math
import struct


def as_float32(value: float) -> float:
    """Round to the nearest float32, the precision in which scores are stored."""
    return struct.unpack("f", struct.pack("f", value))[0]


def average_ranks(values: list[float]) -> tuple[list[float], float]:
    """Ranks from 1, ties averaged, and the sum of ``t**3 - t`` over the groups of ties."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    ranks = [0.0] * len(values)
    ties = 0.0
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and values[order[stop]] == values[order[start]]:
            stop += 1
        for place in range(start, stop):
            ranks[order[place]] = (start + 1 + stop) / 2
        size = stop - start
        ties += size**3 - size
        start = stop
    return ranks, ties


def rank_sum_z(ranks: list[float], ties: float, inside: list[bool]) -> float:
    """z of the rank sum of the cells inside; 0 where every value is the same."""
    n = len(ranks)
    n_in = sum(inside)
    n_out = n - n_in
    rank_sum = sum(rank for rank, member in zip(ranks, inside, strict=True) if member)
    expected = n_in * (n + 1) / 2
    correction = 1 - ties / (n**3 - n)
    variance = correction * n_in * n_out * (n + 1) / 12
    if variance <= 0:
        return 0.0
    return (rank_sum - expected) / math.sqrt(variance)


def wilcoxon_scores(
    columns: dict[str, list[float]], clusters: list[str]
) -> dict[str, dict[str, float]]:
    """float32 z per cluster and marker. No entry: a cluster of one cell, or the only cluster."""
    sizes = {cluster: clusters.count(cluster) for cluster in set(clusters)}
    if len(sizes) < 2:
        return {}
    scores: dict[str, dict[str, float]] = {c: {} for c, size in sizes.items() if size > 1}
    for marker, values in columns.items():
        ranks, ties = average_ranks(values)
        for cluster, found in scores.items():
            inside = [name == cluster for name in clusters]
            found[marker] = as_float32(rank_sum_z(ranks, ties, inside))
    return scores


def rank_lookup(scores: dict[str, float], panel: list[str], scoring: dict) -> dict:
    """``K_target``, ``K``, ``n_pos`` and ``rank_map`` of one cluster (empty scores: no hits)."""
    if scoring["de_min_k"] > scoring["de_max_k"]:
        msg = f"de_min_k {scoring['de_min_k']} is above de_max_k {scoring['de_max_k']}."
        raise ValueError(msg)
    target = math.ceil(len(panel) * scoring["de_top_frac"] - 1e-9)
    positive = [marker for marker in panel if marker in scores and scores[marker] > 0]
    clamped = min(max(target, scoring["de_min_k"]), scoring["de_max_k"])
    size = min(clamped, len(positive))
    ordered = sorted(positive, key=lambda marker: -scores[marker])
    rank_map = {marker: place + 1 for place, marker in enumerate(ordered[:size])}
    return {"K_target": target, "K": size, "n_pos": len(positive), "rank_map": rank_map}
