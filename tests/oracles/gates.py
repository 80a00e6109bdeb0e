"""All gates of one node in one cluster, in order, and gate inheritance.

Source: stage-h.md, "Gates, in the order of the reference" and "Fine points"; adaptive.md, rule 1.
"""

from collections.abc import Callable

from .gating_params import threshold_of
from .tree import Node

TIE = 1e-9
Resolver = Callable[[str], str | None]
OPEN_GATES = ("root_hard_requirement", "root_veto", "anti_conflict")


def row(gate: str, value: float | None, limit: float, passed: bool, marker: str | None) -> dict:
    """One evaluated gate."""
    return {
        "gate": gate,
        "value": value,
        "threshold": limit,
        "passed": passed,
        "marker": marker,
    }


def hard_requirement(rule: dict, column_of: Resolver, values: dict) -> dict:
    """Fraction first, then enrichment where the rule has one; an absent marker rejects."""
    gate, marker = "root_hard_requirement", rule["marker"]
    column = column_of(marker)
    if column is None:
        return row(gate, None, rule["min_pos_frac"], False, marker)
    fraction, enrichment = values[column]["positive_fraction"], values[column]["enrichment"]
    if fraction < rule["min_pos_frac"]:
        return row(gate, fraction, rule["min_pos_frac"], False, marker)
    if "min_enrichment" in rule and enrichment < rule["min_enrichment"]:
        return row(gate, enrichment, rule["min_enrichment"], False, marker)
    return row(gate, fraction, rule["min_pos_frac"], True, marker)


def veto(rule: dict, column_of: Resolver, values: dict) -> dict:
    """The first marker of the rule above its limit rejects; an absent one is passed over."""
    for marker in rule["markers"]:
        column = column_of(marker)
        if column is None:
            continue
        fraction = values[column]["positive_fraction"]
        if fraction > rule["max_pos_frac"]:
            return row("root_veto", fraction, rule["max_pos_frac"], False, marker)
    return row("root_veto", None, rule["max_pos_frac"], True, None)


def positive_gate(node: Node, score: dict, gating: dict) -> dict:
    """Mean positive fraction or fraction of markers on; the row shows the former."""
    least = threshold_of("min_pos_frac", node, gating)
    if not node.resolved:
        return row("low_positive", None, least, False, None)
    fraction = score["mean_positive_fraction"]
    on_enough = score["frac_markers_on"] >= threshold_of("min_frac_markers_on", node, gating)
    return row("low_positive", fraction, least, fraction >= least or on_enough, None)


def enrichment_gate(node: Node, score: dict, gating: dict) -> dict:
    """Mean enrichment at or above its threshold."""
    least = threshold_of("min_enrichment", node, gating)
    if not node.resolved:
        return row("low_enrichment", None, least, False, None)
    enrichment = score["mean_enrichment"]
    return row("low_enrichment", enrichment, least, enrichment >= least, None)


def anti_gate(node: Node, score: dict, gating: dict) -> dict:
    """The penalty, then the anti positive fraction where the node asks for it."""
    penalty, limit = score["anti_penalty"], gating["anti_penalty_hard_gate"]
    if penalty > limit:
        return row("anti_conflict", penalty, limit, False, None)
    must_be_off = False
    if "require_anti_markers_off" in node.overrides:
        must_be_off = node.overrides["require_anti_markers_off"]
    off_limit, fraction = gating["anti_off_max_positive_fraction"], score["anti_positive"]
    if must_be_off and fraction is not None and fraction > off_limit:
        return row("anti_conflict", fraction, off_limit, False, None)
    return row("anti_conflict", penalty, limit, True, None)


def node_gates(
    node: Node, score: dict, values: dict, gating: dict, column_of: Resolver
) -> list[dict]:
    """Every gate of a node in order; a root rule only where there is one for the root."""
    gates = []
    if node.level == 0 and node.label in gating["root_hard_requirements"]:
        rule = gating["root_hard_requirements"][node.label]
        gates.append(hard_requirement(rule, column_of, values))
    if node.level == 0 and node.label in gating["root_veto_markers"]:
        gates.append(veto(gating["root_veto_markers"][node.label], column_of, values))
    least = threshold_of("min_coverage", node, gating)
    covered = bool(node.resolved) and score["coverage"] >= least
    gates.append(row("low_coverage", score["coverage"], least, covered, None))
    gates.append(positive_gate(node, score, gating))
    gates.append(enrichment_gate(node, score, gating))
    gates.append(anti_gate(node, score, gating))
    return gates


def admission(node: Node, nodes: dict, gates: dict, scores: dict, gating: dict) -> dict:
    """Whether a node is admitted, and the path of the child that it was admitted through.

    ``pass(n) = own(n) or (open(n) and some child passes)``; without inheritance ``own(n)``.
    """
    own = all(gate["passed"] for gate in gates[node.path])
    if own or not gating["gate_inheritance"] or not node.resolved:
        return {"passed": own, "through": None}
    if not all(g["passed"] for g in gates[node.path] if g["gate"] in OPEN_GATES):
        return {"passed": False, "through": None}
    below = {c: admission(nodes[c], nodes, gates, scores, gating) for c in node.children}
    passing = [child for child in node.children if below[child]["passed"]]
    if not passing:
        return {"passed": False, "through": None}
    return {"passed": True, "through": best_of(passing, scores)}


def best_of(paths: list[str], scores: dict) -> str:
    """Path of the best score; within 1e-9 of it the order of the map decides."""
    best = max(scores[path]["score"] for path in paths)
    return next(path for path in paths if best - scores[path]["score"] <= TIE)
