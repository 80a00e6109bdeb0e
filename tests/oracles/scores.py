"""Score of every node in one cluster.

Source: stage-h.md, "Scores, one row per cluster and node"; adaptive.md, rule 4.
"""

import math

from .statistics import mean
from .tree import Node, subtree_columns

ABOVE_ZERO = 1e-9


def document_frequency(nodes: dict[str, Node]) -> dict[str, int]:
    """For each column, how many nodes hold it among their resolved markers."""
    counts: dict[str, int] = {}
    for node in nodes.values():
        for column in node.resolved:
            counts[column] = counts[column] + 1 if column in counts else 1
    return counts


def has_alternatives(node: Node, nodes: dict[str, Node]) -> bool:
    """Whether the children split the node's markers into two or more different sets."""
    below = [subtree_columns(nodes, child) for child in node.children]
    free = [m for m in node.resolved if not any(m in columns for columns in below)]
    variants = []
    for columns in below:
        held = [m for m in node.resolved if m in columns]
        if not held:
            continue
        variant = set(held) | set(free)
        if variant not in variants:
            variants.append(variant)
    return len(variants) >= 2


def top_half_mean(values: list[float]) -> float:
    """Mean of the ``ceil(K / 2)`` largest of K values."""
    return mean(sorted(values, reverse=True)[: math.ceil(len(values) / 2)])


def aggregate(values: list[float], how: str) -> float:
    """Aggregate anti-marker values: ``max``, ``mean`` or ``top2mean``."""
    if how == "max":
        return max(values)
    if how == "mean":
        return mean(values)
    if how == "top2mean":
        return mean(sorted(values, reverse=True)[:2])
    msg = f"anti_agg is {how!r}, not one of max, top2mean, mean."
    raise ValueError(msg)


def marker_bonus(column: str, lookup: dict, doc_freq: int, n_nodes: int, alpha: float) -> float:
    """``(K - rank + 1) / K * (1 - (doc_freq / n_cell_types) ** alpha)``, 0 outside the top K."""
    if column not in lookup["rank_map"]:
        return 0.0
    weight = (lookup["K"] - lookup["rank_map"][column] + 1) / lookup["K"]
    return weight * (1 - (doc_freq / n_nodes) ** alpha)


def anti_part(node: Node, values: dict[str, dict], scoring: dict) -> dict:
    """Aggregated clipped enrichment and positive fraction, each on its own, and the penalty."""
    if not node.anti_resolved:
        return {"anti_penalty": 0.0, "anti_enrichment": None, "anti_positive": None}
    how = scoring["anti_agg"]
    enrichment = aggregate([max(values[m]["enrichment"], 0.0) for m in node.anti_resolved], how)
    positive = aggregate([values[m]["positive_fraction"] for m in node.anti_resolved], how)
    return {
        "anti_penalty": scoring["anti_weight"] * (enrichment + positive),
        "anti_enrichment": enrichment,
        "anti_positive": positive,
    }


def positive_part(
    node: Node, nodes: dict[str, Node], values: dict[str, dict], lookup: dict, scoring: dict
) -> dict:
    """Means over the resolved markers, the DE component and the markers that are on."""
    if not node.resolved:
        empty = ["mean_enrichment", "mean_positive_fraction", "frac_markers_on", "de_component"]
        return {**dict.fromkeys(empty, None), "n_markers_on": 0}
    pick = mean
    if scoring["parent_markers"] == "alternatives" and has_alternatives(node, nodes):
        pick = top_half_mean
    counts = document_frequency(nodes)
    alpha = scoring["de_commonness_alpha"]
    bonuses = [marker_bonus(m, lookup, counts[m], len(nodes), alpha) for m in node.resolved]
    on = 0
    for column in node.resolved:
        expressed = values[column]["positive_fraction"] > scoring["on_min_positive_fraction"]
        if expressed and values[column]["enrichment"] > ABOVE_ZERO:
            on += 1
    return {
        "mean_enrichment": pick([values[m]["enrichment"] for m in node.resolved]),
        "mean_positive_fraction": pick([values[m]["positive_fraction"] for m in node.resolved]),
        "frac_markers_on": on / len(node.resolved),
        "de_component": scoring["de_bonus"] * pick(bonuses),
        "n_markers_on": on,
    }


def score_node(
    node: Node, nodes: dict[str, Node], values: dict[str, dict], lookup: dict, scoring: dict
) -> dict:
    """One row of ``marker_scores`` without the cluster's own columns."""
    plus = positive_part(node, nodes, values, lookup, scoring)
    minus = anti_part(node, values, scoring)
    score = None
    if node.resolved:
        score = plus["mean_enrichment"] + plus["mean_positive_fraction"]
        score = score + plus["de_component"] - minus["anti_penalty"]
    return {
        "label": node.label,
        "path": node.path,
        "level": node.level,
        "score": score,
        "coverage": len(node.resolved) / len(node.markers),
        **plus,
        **minus,
        "resolved_markers": list(node.resolved),
        "missing_markers": list(node.missing),
    }
