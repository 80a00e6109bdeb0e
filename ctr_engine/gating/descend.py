"""The walk of a cluster down the map: siblings compete, and a close race ends it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ctr_engine.gating.compete import (
    AMBIGUOUS_ROOT,
    AMBIGUOUS_SIBLINGS,
    LEAF,
    NO_CHILD,
    NO_ROOT,
    Round,
    descend,
    lead,
    ranked,
)
from ctr_engine.gating.gate import GateResults
from ctr_engine.gating.thresholds import Thresholds
from ctr_engine.keys import ROOT_SEPARATOR, UNASSIGNED
from ctr_engine.markers.gating_params import EQUAL
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.scoring import Evidence
from ctr_engine.tables import STOP_REASONS, DecisionSteps, GatingDetails, from_rows


@dataclass
class Walk:
    """How one cluster came to its label; nodes are rows of ``resolved.nodes``."""

    cluster: int
    path: list[int] = field(default_factory=list)
    stop_reason: str = STOP_REASONS[NO_ROOT]
    margins: list[float] = field(default_factory=list)
    candidates: list[int] = field(default_factory=list)
    steps: list["Competition"] = field(default_factory=list)

    @property
    def confidence(self) -> float:
        """Smallest margin met; :data:`ALONE` without competition, 0 when unassigned."""
        return 0.0 if self.stop_reason == STOP_REASONS[NO_ROOT] else min(self.margins)


@dataclass(frozen=True)
class Competition:
    """Siblings that were tried; ``winner`` and ``runner_up`` are None where nobody passed."""

    parent: int | None
    tried: tuple[int, ...]
    winner: int | None
    runner_up: int | None
    margin: float
    ambiguous: bool


def walk_clusters(
    results: GateResults, limits: Thresholds, resolved: ResolvedMap, max_ambiguity: int
) -> list[Walk]:
    """Walk every cluster down the map.

    Parameters
    ----------
    results
        Verdicts, one row per cluster.
    max_ambiguity
        Most candidates of a tie that are kept for the vote.
    """
    walks = [Walk(cluster) for cluster in range(len(results.scores))]
    for step in descend(results.scores, results.passed, limits.min_gap, resolved.marker_map):
        for index, cluster in enumerate(step.rows.tolist()):
            _advance(walks[cluster], _competition(step, index))
    for walk in walks:
        if walk.steps[-1].ambiguous:
            walk.candidates = _candidates(walk, results, limits)[:max_ambiguity]
    return walks


def _competition(step: Round, index: int) -> Competition:
    winner, runner_up = int(step.winner[index]), int(step.runner_up[index])
    return Competition(
        step.parent,
        step.tried,
        None if winner < 0 else winner,
        None if runner_up < 0 else runner_up,
        float(step.margin[index]),
        bool(step.ambiguous[index]),
    )


def _advance(walk: Walk, step: Competition) -> None:
    walk.steps.append(step)
    at_root = step.parent is None
    if step.winner is None:
        walk.stop_reason = STOP_REASONS[NO_ROOT if at_root else NO_CHILD]
        return
    walk.margins.append(step.margin)
    if step.ambiguous:
        walk.stop_reason = STOP_REASONS[AMBIGUOUS_ROOT if at_root else AMBIGUOUS_SIBLINGS]
        return
    walk.path.append(step.winner)
    walk.stop_reason = STOP_REASONS[LEAF]


def _candidates(walk: Walk, results: GateResults, limits: Thresholds) -> list[int]:
    """Siblings less than the winner's gap behind it, best first."""
    step, scores = walk.steps[-1], results.scores[walk.cluster]
    columns = list(step.tried)
    order = ranked(scores[columns], results.passed[walk.cluster, columns])
    gap = limits.min_gap[columns[order[0]]] - EQUAL
    return [columns[i] for i in order if lead(scores[columns[order[0]]], scores[columns[i]]) < gap]


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
                        "margin_to_runner_up": step.margin if step.winner == row else None,
                        **_failure(results, walk.cluster, row),
                        "passed_through": _path(
                            resolved, int(results.passed_through[walk.cluster, row])
                        ),
                        "runner_up_path": _runner_up(step, row, resolved),
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


def _runner_up(step: Competition, row: int, resolved: ResolvedMap) -> str | None:
    if step.winner != row or step.runner_up is None:
        return None
    return resolved.nodes[step.runner_up].node.path


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
        best, second = walk.candidates[:2]
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
