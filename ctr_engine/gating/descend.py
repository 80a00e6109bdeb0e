"""The walk of a cluster down the map: siblings compete, and a close race ends it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.gating.gate import GateResults, thresholds
from ctr_engine.keys import ROOT_SEPARATOR, UNASSIGNED
from ctr_engine.markers.gating_params import EQUAL, GatingParams
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.scoring import Evidence
from ctr_engine.tables import DecisionSteps, GatingDetails, from_rows

ALONE = 1e6
"""Margin of a candidate that nobody competed with."""


@dataclass
class Walk:
    """How one cluster came to its label; nodes are rows of ``resolved.nodes``."""

    cluster: int
    path: list[int] = field(default_factory=list)
    stop_reason: str = "no_root_passed"
    margins: list[float] = field(default_factory=list)
    candidates: list[int] = field(default_factory=list)
    steps: list["Competition"] = field(default_factory=list)

    @property
    def confidence(self) -> float:
        """Smallest margin met; :data:`ALONE` without competition, 0 when unassigned."""
        return 0.0 if self.stop_reason == "no_root_passed" else min(self.margins)


@dataclass(frozen=True)
class Competition:
    """Siblings that were tried; ``ranked`` are those that passed, best first."""

    parent: int | None
    tried: tuple[int, ...]
    ranked: tuple[int, ...]
    margin: float
    ambiguous: bool


def walk_clusters(results: GateResults, resolved: ResolvedMap, gating: GatingParams) -> list[Walk]:
    """Walk every cluster down the map."""
    levels = gating.model_copy(update={"min_gap": {**gating.min_gap, 0: gating.root_gap}})
    gaps = thresholds(resolved, levels, "min_gap")
    clusters = range(len(results.scores))
    return [_walk(cluster, results, resolved, gaps, gating.max_ambiguity) for cluster in clusters]


def _walk(
    cluster: int,
    results: GateResults,
    resolved: ResolvedMap,
    gaps: npt.NDArray[np.float64],
    max_ambiguity: int,
) -> Walk:
    walk = Walk(cluster)
    parent: int | None = None
    tried = resolved.marker_map.root_rows
    while tried:
        step = _compete(results.scores[cluster], results.passed[cluster], parent, tried, gaps)
        walk.steps.append(step)
        if not step.ranked:
            walk.stop_reason = "no_root_passed" if parent is None else "no_child_passed"
            return walk
        walk.margins.append(step.margin)
        best = step.ranked[0]
        if step.ambiguous:
            walk.stop_reason = "ambiguous_root" if parent is None else "ambiguous_siblings"
            close = [
                row
                for row in step.ranked
                if _lead(results.scores[cluster], best, row) < gaps[best] - EQUAL
            ]
            walk.candidates = close[:max_ambiguity]
            return walk
        walk.path.append(best)
        parent, tried = best, resolved.marker_map.child_rows[best]
    walk.stop_reason = "leaf_reached"
    return walk


def _compete(
    scores: npt.NDArray[np.float64],
    passed: npt.NDArray[np.bool_],
    parent: int | None,
    tried: tuple[int, ...],
    gaps: npt.NDArray[np.float64],
) -> Competition:
    ranked = rank([row for row in tried if passed[row]], scores)
    margin = ALONE if len(ranked) < 2 else _lead(scores, ranked[0], ranked[1])
    ambiguous = len(ranked) > 1 and margin < gaps[ranked[0]] - EQUAL
    return Competition(parent, tried, tuple(ranked), margin, bool(ambiguous))


def rank(rows: Sequence[int], scores: npt.NDArray[np.float64]) -> list[int]:
    """Sort by score, best first; among equals the order of the map decides."""
    left, ranked = list(rows), []
    while left:
        best = max(scores[row] for row in left)
        first = next(row for row in left if scores[row] >= best - EQUAL)
        ranked.append(first)
        left.remove(first)
    return ranked


def _lead(scores: npt.NDArray[np.float64], best: int, other: int) -> float:
    lead = float(scores[best] - scores[other])
    return 0.0 if abs(lead) <= EQUAL else lead


def decision_steps(
    walks: Sequence[Walk],
    found: Evidence,
    scores: pd.DataFrame,
    results: GateResults,
    resolved: ResolvedMap,
) -> pd.DataFrame:
    """Give one row per cell type tried (table ``decision_steps``)."""
    by_node = scores.to_dict("list")
    rows = []
    for walk in walks:
        for index, step in enumerate(walk.steps):
            for row in step.tried:
                flat = walk.cluster * len(resolved.nodes) + row
                rows.append(
                    {
                        "cluster_id": found.statistics.cluster_ids[walk.cluster],
                        "step_idx": index,
                        **_names(step, row, resolved),
                        "child_passed_gate": bool(results.passed[walk.cluster, row]),
                        "child_score": by_node["score"][flat],
                        "child_coverage": by_node["coverage"][flat],
                        "child_pos_frac": by_node["mean_positive_fraction"][flat],
                        "child_enrichment": by_node["mean_enrichment"][flat],
                        "child_anti_penalty": by_node["anti_penalty"][flat],
                        "selected": row in walk.path,
                        "margin_to_runner_up": step.margin if step.ranked[:1] == (row,) else None,
                        **_failure(results, walk.cluster, row),
                        "passed_through": _path(
                            resolved, int(results.passed_through[walk.cluster, row])
                        ),
                    }
                )
    return from_rows(DecisionSteps, rows)


def _names(step: Competition, row: int, resolved: ResolvedMap) -> dict[str, Any]:
    child = resolved.nodes[row].node
    parent = None if step.parent is None else resolved.nodes[step.parent].node
    return {
        "parent_label": None if parent is None else parent.label,
        "parent_path": None if parent is None else parent.path,
        "child_label": child.label,
        "child_path": child.path,
        "child_level": child.level,
    }


def _path(resolved: ResolvedMap, row: int) -> str | None:
    return None if row < 0 else resolved.nodes[row].node.path


def _failure(results: GateResults, cluster: int, row: int) -> dict[str, Any]:
    index = results.first_failure[cluster, row]
    if index < 0:
        return dict.fromkeys(("fail_reason", "fail_marker", "fail_value", "fail_threshold"))
    gate = results.gates[index]
    return {
        "fail_reason": gate.name,
        "fail_marker": None if gate.marker is None else gate.marker[cluster, row],
        "fail_value": gate.value[cluster, row],
        "fail_threshold": gate.threshold[cluster, row],
    }


def gating_details(
    walks: Sequence[Walk], found: Evidence, results: GateResults, resolved: ResolvedMap
) -> pd.DataFrame:
    """Give one row per cell type visited and gate (table ``gating_details``)."""
    rows = []
    for walk in walks:
        for row in (row for step in walk.steps for row in step.tried):
            node, cluster = resolved.nodes[row].node, walk.cluster
            for gate in (gate for gate in results.gates if gate.applies[row]):
                other, other_limit = gate.alternative_value, gate.alternative_threshold
                rows.append(
                    {
                        "cluster_id": found.statistics.cluster_ids[cluster],
                        "path": node.path,
                        "label": node.label,
                        "level": node.level,
                        "gate": gate.name,
                        "value": gate.value[cluster, row],
                        "threshold": gate.threshold[cluster, row],
                        "passed": bool(gate.passed[cluster, row]),
                        "marker": None if gate.marker is None else gate.marker[cluster, row],
                        "alternative_value": None if other is None else other[cluster, row],
                        "alternative_threshold": None
                        if other_limit is None
                        else other_limit[cluster, row],
                    }
                )
    return from_rows(GatingDetails, rows)


def assignment(walk: Walk, resolved: ResolvedMap, results: GateResults) -> dict[str, Any]:
    """Label, path, level, score, root, coverage and markers of a walk's end."""
    nodes = resolved.nodes
    if walk.stop_reason == "no_root_passed":
        return _assigned(UNASSIGNED, "", -1, None, UNASSIGNED, None, [])
    if walk.stop_reason == "ambiguous_root":
        best, second = walk.steps[0].ranked[:2]
        name = f"{nodes[best].node.label}{ROOT_SEPARATOR}{nodes[second].node.label}"
        label = path = root = name
    else:
        best = walk.path[-1]
        label, path = nodes[best].node.label, nodes[best].node.path
        root = nodes[walk.path[0]].node.label
    node = nodes[best]
    columns = [resolved.panel.markers[position] for position in node.positions]
    score = float(results.scores[walk.cluster, best])
    return _assigned(label, path, node.node.level, score, root, node.coverage, columns)


def _assigned(
    label: str,
    path: str,
    level: int,
    score: float | None,
    root: str,
    coverage: float | None,
    columns: list[str],
) -> dict[str, Any]:
    return {
        "assigned_label": label,
        "assigned_path": path,
        "assigned_level": level,
        "assigned_score": score,
        "root_label": root,
        "coverage": coverage,
        "resolved_markers": columns,
    }
