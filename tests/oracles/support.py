"""Decisions with everything moved a little, one after the other.

Source: adaptive.md, rule 8 (stability). Whether the markers of an inner node are alternatives is
asked of the map as it is; coverage does not fall where a marker is left out.
"""

from dataclasses import dataclass

from .scores import ABOVE_ZERO, aggregate, has_alternatives, top_half_mean
from .statistics import mean
from .thresholds import Deciding
from .tree import Node


@dataclass
class Moved:
    """One decision: numbers by name, positive fractions by cluster and marker, and the rest."""

    numbers: dict[str, float]
    positive: dict[str, dict[str, float]]
    left_out: set[str]
    anti_factor: float


def kept(columns: list[str], left_out: set[str]) -> list[str]:
    """Markers that count."""
    return [column for column in columns if column not in left_out]


def moved_score(
    node: Node, nodes: dict[str, Node], values: dict, scoring: dict, moved: Moved
) -> dict:
    """Score of a node in one cluster, without differential expression."""
    own = kept(node.resolved, moved.left_out) or list(node.resolved)
    anti = kept(node.anti_resolved, moved.left_out)
    penalty, anti_positive = 0.0, None
    if anti:
        enriched = aggregate([max(values[m]["enrichment"], 0.0) for m in anti], scoring["anti_agg"])
        anti_positive = aggregate(
            [values[m]["positive_fraction"] for m in anti], scoring["anti_agg"]
        )
        penalty = moved.anti_factor * scoring["anti_weight"] * (enriched + anti_positive)
    row = {
        "coverage": len(node.resolved) / len(node.markers),
        "anti_penalty": penalty,
        "anti_positive": anti_positive,
        **dict.fromkeys(
            ("score", "mean_enrichment", "mean_positive_fraction", "frac_markers_on"), None
        ),
    }
    if not own:
        return row
    split = scoring["parent_markers"] == "alternatives" and has_alternatives(node, nodes)
    pick = top_half_mean if split else mean
    row["mean_enrichment"] = pick([values[m]["enrichment"] for m in own])
    row["mean_positive_fraction"] = pick([values[m]["positive_fraction"] for m in own])
    on = [
        m
        for m in own
        if values[m]["enrichment"] > ABOVE_ZERO
        and values[m]["positive_fraction"] > scoring["on_min_positive_fraction"]
    ]
    row["frac_markers_on"] = len(on) / len(own)
    row["score"] = row["mean_enrichment"] + row["mean_positive_fraction"] - penalty
    return row


def moved_ends(given: Deciding, scoring: dict, moved: Moved) -> dict[str, str]:
    """Path where each cluster ends in one decision."""
    values = {
        cluster: {
            m: {**row, "positive_fraction": moved.positive[cluster][m]} for m, row in rows.items()
        }
        for cluster, rows in given.case["values"].items()
    }
    scores = {
        cluster: {
            path: moved_score(node, given.nodes, values[cluster], scoring, moved)
            for path, node in given.nodes.items()
        }
        for cluster in values
    }
    turned = given.with_numbers(moved.numbers)
    anew = Deciding({**turned.case, "values": values}, scores, turned.nodes)
    return {cluster: anew.ends(cluster)[0] for cluster in values}
