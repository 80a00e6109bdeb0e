"""Which clusters should be divided or given a child's label, and why: the diagnostic report."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.gating.compete import lead, ranked
from ctr_engine.gating.decider import Decider
from ctr_engine.markers.gating_params import EQUAL
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.state import ClusterState, require_same_clusters
from ctr_engine.tables import DiagnosticReport, from_rows

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SUBCLUSTER, RELABEL, REGROUP, SKIP = "SUBCLUSTER", "RELABEL", "REGROUP", "SKIP"


@dataclass(frozen=True)
class _Children:
    """Children of a cluster's cell type: all that have a score, eligible ones best first."""

    n_scored: int
    eligible: tuple[int, ...]
    signalling: tuple[int, ...]


@dataclass(frozen=True)
class _Finding:
    """What the first criterion that holds proposes; ``target`` is a row of the map's nodes."""

    criterion: str | None = None
    action: str = SKIP
    target: int | None = None


_TWO_PASS = _Finding("two_pass", REGROUP)


def diagnose(
    states: Sequence[ClusterState],
    decider: Decider,
    positive_fraction: Float64,
    params: RefinementParams,
    focus: Collection[str] | None = None,
    regrouped: Collection[str] | None = None,
) -> pd.DataFrame:
    """Judge every cluster.

    Parameters
    ----------
    states, decider
        Of the same clusters, in natural order.
    positive_fraction
        Shape ``(n_clusters, n_markers)``.
    focus
        Ids of the clusters that may be changed; all when None.
    regrouped
        Ids of the clusters that two passes change, which are then recommended instead of what the
        criteria would.

    Returns
    -------
    A :class:`~ctr_engine.tables.DiagnosticReport` table, the highest priority first.
    """
    require_same_clusters(states, decider)
    rows = []
    for index, state in enumerate(states):
        children = _children(index, state, decider, params)
        heterogeneity = _heterogeneity(index, state, decider, positive_fraction)
        if regrouped is None:
            finding = _judge(index, state, decider, children, heterogeneity, params)
        else:
            finding = _TWO_PASS if state.cluster_id in regrouped else _Finding()
        reason = _held_back(index, state, finding, decider, params, focus)
        rows.append(_row(index, state, decider, children, heterogeneity, finding, reason, params))
    return from_rows(DiagnosticReport, sorted(rows, key=_urgency))


def _urgency(row: Mapping[str, Any]) -> float:
    """Sort key that puts the highest priority first and what is skipped last."""
    return np.inf if row["priority"] is None else -float(row["priority"])


def _node(state: ClusterState, decider: Decider) -> int | None:
    """Row of the cell type that a cluster holds; None for a label that is no cell type."""
    rows = decider.resolved.marker_map.row_of
    return rows[state.path] if state.path in rows else None


def _children(
    index: int, state: ClusterState, decider: Decider, params: RefinementParams
) -> _Children:
    node = _node(state, decider)
    below = () if node is None else decider.resolved.marker_map.child_rows[node]
    scores = decider.values.score[index]
    scored = [row for row in below if not np.isnan(scores[row])]
    open_ = _open(decider)[index]
    columns = np.array(scored, dtype=np.intp)
    order = ranked(scores[columns], open_[columns]) if scored else []
    eligible = tuple(scored[i] for i in order)
    signals = params.subtype_signal_threshold
    return _Children(
        len(scored), eligible, tuple(row for row in eligible if scores[row] > signals + EQUAL)
    )


def _open(decider: Decider) -> Bools:
    """Whether a cell type fails neither the coverage nor the anti-marker gate."""
    gates = {gate.name: gate.passed for gate in decider.results.gates}
    return np.asarray(gates["low_coverage"] & gates["anti_conflict"])


def _heterogeneity(
    index: int, state: ClusterState, decider: Decider, positive_fraction: Float64
) -> float | None:
    """Mean of p (1 - p) over the markers of a leaf; p is the share of positive cells."""
    row = _node(state, decider)
    if row is None or not decider.resolved.nodes[row].node.is_leaf:
        return None
    p = positive_fraction[index, list(decider.resolved.nodes[row].positions)]
    return float((p * (1 - p)).mean()) if len(p) else None


def _judge(
    index: int,
    state: ClusterState,
    decider: Decider,
    children: _Children,
    heterogeneity: float | None,
    params: RefinementParams,
) -> _Finding:
    """Apply the criteria in their order; the first that holds decides."""
    if state.score is None or state.score < params.score_threshold - EQUAL:
        return _Finding("low_confidence", SUBCLUSTER)
    if state.stop_reason == "ambiguous_root" and not state.held:
        return _Finding("ambiguous_root", SUBCLUSTER)
    if children.signalling:
        return _towards_children(decider.values.score[index], children, params)
    if children.n_scored and state.score >= params.mixed_parent_threshold - EQUAL:
        return _Finding("mixed_population", SUBCLUSTER)
    spread = -np.inf if heterogeneity is None else heterogeneity
    weak = state.score < params.weak_leaf_score - EQUAL
    if weak and spread > params.weak_leaf_heterogeneity + EQUAL:
        return _Finding("weak_leaf", SUBCLUSTER)
    return _Finding()


def _towards_children(scores: Float64, children: _Children, params: RefinementParams) -> _Finding:
    """Divide between two signalling children that are close; else move to the best."""
    best, *rest = children.signalling
    if rest and lead(scores[best], scores[rest[0]]) < params.heterogeneity_gap - EQUAL:
        return _Finding("heterogeneous_parent", SUBCLUSTER)
    return _Finding("homogeneous_parent", RELABEL, best)


def _held_back(
    index: int,
    state: ClusterState,
    finding: _Finding,
    decider: Decider,
    params: RefinementParams,
    focus: Collection[str] | None,
) -> str | None:
    """Reason why nothing is done about a finding, if there is one."""
    if finding.criterion is None:
        return None
    divides = finding.action == SUBCLUSTER
    passes = finding.target is None or bool(decider.results.passed[index, finding.target])
    reasons = {
        "out_of_focus": focus is not None and state.cluster_id not in focus,
        "manual": state.overridden or state.by_hand,
        "too_small": divides and state.n_cells < params.min_cells,
        "converged": divides and state.unsplittable,
        "child_fails_gates": params.relabel_requires_pass and not passes,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _row(
    index: int,
    state: ClusterState,
    decider: Decider,
    children: _Children,
    heterogeneity: float | None,
    finding: _Finding,
    reason: str | None,
    params: RefinementParams,
) -> dict[str, object]:
    nodes, scores = decider.resolved.nodes, decider.values.score[index]
    best = [*children.eligible[:2], None, None]
    act = finding.criterion is not None and reason is None
    target = None if finding.target is None or not act else nodes[finding.target].node
    shortfall = params.score_threshold - (state.score or 0.0)
    return {
        "cluster_id": state.cluster_id,
        "current_label": state.label,
        "recommendation": finding.action if act else SKIP,
        "criterion": finding.criterion,
        "reason": reason,
        "target_label": None if target is None else target.label,
        "best_child": None if best[0] is None else nodes[best[0]].node.label,
        "child_score": None if best[0] is None else float(scores[best[0]]),
        "second_child": None if best[1] is None else nodes[best[1]].node.label,
        "second_child_score": None if best[1] is None else float(scores[best[1]]),
        "heterogeneity": heterogeneity,
        "n_cells": state.n_cells,
        "priority": state.n_cells * shortfall if act else None,
        "target_path": None if target is None else target.path,
    }
