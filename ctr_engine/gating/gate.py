"""All gates of all cell types in all clusters: value, threshold and verdict of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.errors import CellMismatchError
from ctr_engine.markers.gating_params import EQUAL, GatingParams
from ctr_engine.markers.hierarchy import threshold_of
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.markers.root_rules import ResolvedRequirement, ResolvedVeto, RootRules
from ctr_engine.scoring import Evidence

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

CLOSING = ("root_hard_requirement", "root_veto", "anti_conflict")
"""Gates that a passing child cannot overrule."""


@dataclass(frozen=True)
class Gate:
    """One gate; arrays have shape ``(n_clusters, n_nodes)``, ``applies`` has ``(n_nodes,)``."""

    name: str
    applies: Bools
    value: Float64
    threshold: Float64
    passed: Bools
    marker: npt.NDArray[Any] | None = None
    alternative_value: Float64 | None = None
    alternative_threshold: Float64 | None = None


@dataclass(frozen=True)
class GateResults:
    """Verdicts of all gates, in the order in which they are reported."""

    gates: tuple[Gate, ...]
    scores: Float64
    own: Bools
    passed: Bools
    passed_through: npt.NDArray[np.intp]

    @cached_property
    def first_failure(self) -> npt.NDArray[np.intp]:
        """Index of the first gate that fails; -1 where the cell type is let in."""
        failed = np.stack([gate.applies & ~gate.passed for gate in self.gates])
        return np.where(self.passed | ~failed.any(axis=0), -1, failed.argmax(axis=0))


def thresholds(resolved: ResolvedMap, gating: GatingParams, name: str) -> Float64:
    """Threshold of each cell type, its own or that of its level; shape ``(n_nodes,)``."""
    return np.array([threshold_of(node.node, gating, name) for node in resolved.nodes])


def evaluate_gates(
    found: Evidence,
    scores: pd.DataFrame,
    resolved: ResolvedMap,
    gating: GatingParams,
    rules: RootRules,
) -> GateResults:
    """Hold every cell type in every cluster against every gate.

    Parameters
    ----------
    found, scores
        What :func:`~ctr_engine.scoring.evidence` and :func:`~ctr_engine.scoring.marker_scores`
        returned.

    Raises
    ------
    CellMismatchError
        If the scores are of another map, of the same in another order, or of other clusters.
    """
    shape = (len(found.n_cells), len(resolved.nodes))
    paths = [node.node.path for node in resolved.nodes] * shape[0]
    clusters = np.repeat(np.array(found.statistics.cluster_ids, dtype=object), shape[1])
    if scores["path"].tolist() != paths or scores["cluster_id"].tolist() != clusters.tolist():
        msg = "marker_scores are not of this map and these clusters; compute them anew"
        raise CellMismatchError(msg)

    def matrix(name: str) -> Float64:
        return scores[name].to_numpy(dtype=np.float64).reshape(shape)

    def limit(name: str) -> Float64:
        return np.broadcast_to(thresholds(resolved, gating, name), shape)

    gates = (
        _hard_requirement(found, rules, shape),
        _veto(found, rules, shape),
        _coverage(matrix("coverage"), limit("min_coverage")),
        _positive(matrix, limit),
        _at_least("low_enrichment", matrix("mean_enrichment"), limit("min_enrichment")),
        _anti_conflict(matrix, resolved, gating),
    )
    own = np.logical_and.reduce([gate.passed | ~gate.applies for gate in gates])
    passed, through = own, np.full(shape, -1, dtype=np.intp)
    if gating.gate_inheritance:
        passed, through = _inherit(gates, own, matrix("score"), matrix("coverage") > 0, resolved)
    return GateResults(gates, matrix("score"), own, passed, through)


def _all(shape: tuple[int, int]) -> Bools:
    return np.ones(shape[1], dtype=bool)


def _at_least(name: str, value: Float64, threshold: Float64) -> Gate:
    return Gate(name, _all(value.shape), value, threshold, value >= threshold - EQUAL)


def _coverage(coverage: Float64, minimum: Float64) -> Gate:
    """Pass with enough markers on the panel; never without any, whatever the threshold."""
    return Gate(
        "low_coverage",
        _all(coverage.shape),
        coverage,
        minimum,
        (coverage >= minimum - EQUAL) & (coverage > 0),
    )


def _positive(matrix: Any, limit: Any) -> Gate:
    """Pass with enough positive cells, or with enough markers on."""
    fraction, minimum = matrix("mean_positive_fraction"), limit("min_pos_frac")
    on, minimum_on = matrix("frac_markers_on"), limit("min_frac_markers_on")
    passed = (fraction >= minimum - EQUAL) | (on >= minimum_on - EQUAL)
    return Gate(
        "low_positive",
        _all(fraction.shape),
        fraction,
        minimum,
        passed,
        alternative_value=on,
        alternative_threshold=minimum_on,
    )


def _anti_conflict(matrix: Any, resolved: ResolvedMap, gating: GatingParams) -> Gate:
    """Refuse too high a penalty; then, where asked for, anti-markers that are not off."""
    penalty, positive = matrix("anti_penalty"), np.nan_to_num(matrix("anti_positive"))
    asked = np.array([node.node.overrides.require_anti_markers_off for node in resolved.nodes])
    too_high = penalty > gating.anti_penalty_hard_gate + EQUAL
    not_off = ~too_high & asked & (positive > gating.anti_off_max_positive_fraction + EQUAL)
    return Gate(
        "anti_conflict",
        _all(penalty.shape),
        value=np.where(not_off, positive, penalty),
        threshold=np.where(
            not_off, gating.anti_off_max_positive_fraction, gating.anti_penalty_hard_gate
        ),
        passed=~too_high & ~not_off,
    )


def _hard_requirement(found: Evidence, rules: RootRules, shape: tuple[int, int]) -> Gate:
    gate = _empty("root_hard_requirement", shape)
    for row, requirement in rules.requirements.items():
        gate.applies[row] = True
        value, threshold, passed = _required(found, requirement)
        gate.value[:, row], gate.threshold[:, row], gate.passed[:, row] = value, threshold, passed
        if gate.marker is not None:
            gate.marker[:, row] = requirement.rule.marker
    return gate


def _required(found: Evidence, requirement: ResolvedRequirement) -> tuple[Float64, Float64, Bools]:
    """Value and threshold of the check that fails first, or of the last one that passes."""
    rule, n_clusters = requirement.rule, len(found.n_cells)
    measured = {"min_pos_frac": found.positive_fraction, "min_enrichment": found.enrichment}
    checks = [
        (measured[name], float(minimum))
        for name, minimum in (
            ("min_pos_frac", rule.min_pos_frac),
            ("min_enrichment", rule.min_enrichment),
        )
        if minimum is not None
    ]
    if requirement.position is None:
        nothing = np.full(n_clusters, np.nan)
        return nothing, np.full(n_clusters, checks[0][1]), np.zeros(n_clusters, dtype=bool)
    value, threshold = checks[0][0][:, requirement.position], np.full(n_clusters, checks[0][1])
    passed = value >= threshold - EQUAL
    for matrix, minimum in checks[1:]:
        later = matrix[:, requirement.position]
        fails_here = passed & (later < minimum - EQUAL)
        value, threshold = (
            np.where(fails_here, later, value),
            np.where(fails_here, minimum, threshold),
        )
        passed &= ~fails_here
    return value, threshold, passed


def _veto(found: Evidence, rules: RootRules, shape: tuple[int, int]) -> Gate:
    gate = _empty("root_veto", shape)
    for row, veto in rules.vetoes.items():
        gate.applies[row] = True
        gate.threshold[:, row] = veto.max_pos_frac
        for cluster in range(shape[0]):
            name, value = _vetoing(found.positive_fraction[cluster], veto)
            gate.value[cluster, row] = value
            gate.passed[cluster, row] = not value > veto.max_pos_frac + EQUAL
            if gate.marker is not None:
                gate.marker[cluster, row] = name
    return gate


def _vetoing(fractions: Float64, veto: ResolvedVeto) -> tuple[str | None, float]:
    """First marker above the limit, else the one nearest to it."""
    if not veto.markers:
        return None, np.nan
    for name, position in veto.markers:
        if fractions[position] > veto.max_pos_frac + EQUAL:
            return name, float(fractions[position])
    name, position = max(veto.markers, key=lambda marker: float(fractions[marker[1]]))
    return name, float(fractions[position])


def _empty(name: str, shape: tuple[int, int]) -> Gate:
    return Gate(
        name,
        np.zeros(shape[1], dtype=bool),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.ones(shape, dtype=bool),
        np.full(shape, None, dtype=object),
    )


def _inherit(
    gates: Sequence[Gate], own: Bools, scores: Float64, has_marker: Bools, resolved: ResolvedMap
) -> tuple[Bools, npt.NDArray[np.intp]]:
    """Bottom-up, ``pass(n) = own(n) or (open(n) and some child passes)``."""
    is_open = has_marker & np.logical_and.reduce(
        [gate.passed | ~gate.applies for gate in gates if gate.name in CLOSING]
    )
    passed, through = own.copy(), np.full(own.shape, -1, dtype=np.intp)
    for row in reversed(range(own.shape[1])):
        children = resolved.marker_map.child_rows[row]
        for cluster in np.flatnonzero(~own[:, row] & is_open[:, row]) if children else ():
            passing = [child for child in children if passed[cluster, child]]
            if passing:
                passed[cluster, row] = True
                best = max(scores[cluster, child] for child in passing)
                through[cluster, row] = next(
                    child for child in passing if scores[cluster, child] >= best - EQUAL
                )
    return passed, through
