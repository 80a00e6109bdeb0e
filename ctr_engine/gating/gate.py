"""All gates of all cell types: value, threshold and verdict of each.

Gates look at :class:`Measured` and :class:`~ctr_engine.gating.thresholds.Thresholds`, both arrays,
so that one kernel serves the labels of a run and thousands of settings of its thresholds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ctr_engine.gating.compete import best_of
from ctr_engine.gating.thresholds import Thresholds
from ctr_engine.markers.gating_params import EQUAL
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.root_rules import RootRules
from ctr_engine.scoring import Evidence

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

CLOSING = ("root_hard_requirement", "root_veto", "anti_conflict")
"""Gates that a passing child cannot overrule."""


@dataclass(frozen=True)
class Measured:
    """What the gates look at, shape ``(n_rows, n_nodes)``.

    ``required_*`` are the values of the marker of a hard requirement, NaN where there is no such
    rule or no such marker; ``veto_fractions`` has, by root, ``(n_rows, n_veto_markers)``.
    """

    score: Float64
    coverage: Float64
    mean_positive_fraction: Float64
    frac_markers_on: Float64
    mean_enrichment: Float64
    anti_penalty: Float64
    anti_positive: Float64
    required_pos_frac: Float64
    required_enrichment: Float64
    veto_fractions: Mapping[int, Float64]
    rules: RootRules

    def take(self, rows: Rows) -> "Measured":
        """Values of the given rows, in their order; a row may be taken often."""
        arrays = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name not in ("veto_fractions", "rules")
        }
        vetoes = {root: fractions[rows] for root, fractions in self.veto_fractions.items()}
        return replace(self, **arrays, veto_fractions=vetoes)


def measured(found: Evidence, scores: Mapping[str, Float64], rules: RootRules) -> Measured:
    """Put together what the gates look at, one row per cluster.

    Parameters
    ----------
    found, scores
        What :func:`~ctr_engine.scoring.evidence` and :func:`~ctr_engine.scoring.node_scores`
        returned.
    """
    shape = scores["score"].shape
    required = {name: np.full(shape, np.nan) for name in ("positive_fraction", "enrichment")}
    for row, requirement in rules.requirements.items():
        if requirement.position is not None:
            required["positive_fraction"][:, row] = found.positive_fraction[:, requirement.position]
            required["enrichment"][:, row] = found.enrichment[:, requirement.position]
    vetoes = {
        row: found.positive_fraction[:, [position for _, position in veto.markers]]
        for row, veto in rules.vetoes.items()
    }
    names = (
        "score",
        "coverage",
        "mean_positive_fraction",
        "frac_markers_on",
        "mean_enrichment",
        "anti_penalty",
        "anti_positive",
    )
    return Measured(
        **{name: scores[name] for name in names},
        required_pos_frac=required["positive_fraction"],
        required_enrichment=required["enrichment"],
        veto_fractions=vetoes,
        rules=rules,
    )


@dataclass(frozen=True)
class Gate:
    """One gate; arrays have shape ``(n_rows, n_nodes)``, ``applies`` has ``(n_nodes,)``."""

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


def evaluate_gates(
    values: Measured, limits: Thresholds, marker_map: MarkerMap, *, inherit: bool
) -> GateResults:
    """Hold every cell type against every gate, in every row.

    Parameters
    ----------
    limits
        One set of thresholds for all rows, or one for each.
    inherit
        Whether a cell type passes when one of its children does and nothing forbids it.
    """
    gates = (
        _hard_requirement(values, limits),
        _veto(values, limits),
        _coverage(values, limits),
        _positive(values, limits),
        _enrichment(values, limits),
        _anti_conflict(values, limits),
    )
    own = np.logical_and.reduce([gate.passed | ~gate.applies for gate in gates])
    passed, through = own, np.full(own.shape, -1, dtype=np.intp)
    if inherit:
        passed, through = _inherit(gates, own, values, marker_map)
    return GateResults(gates, values.score, own, passed, through)


def _everywhere(values: Measured) -> Bools:
    return np.ones(values.score.shape[1], dtype=bool)


def _like(values: Measured, threshold: Float64) -> Float64:
    return np.broadcast_to(threshold, values.score.shape)


def _enrichment(values: Measured, limits: Thresholds) -> Gate:
    value, minimum = values.mean_enrichment, _like(values, limits.min_enrichment)
    passed = value >= minimum - EQUAL
    return Gate("low_enrichment", _everywhere(values), value, minimum, passed)


def _coverage(values: Measured, limits: Thresholds) -> Gate:
    """Pass with enough markers on the panel; never without any, whatever the threshold."""
    minimum = _like(values, limits.min_coverage)
    passed = (values.coverage >= minimum - EQUAL) & (values.coverage > 0)
    return Gate("low_coverage", _everywhere(values), values.coverage, minimum, passed)


def _positive(values: Measured, limits: Thresholds) -> Gate:
    """Pass with enough positive cells, or with enough markers on."""
    minimum, minimum_on = (
        _like(values, limits.min_pos_frac),
        _like(values, limits.min_frac_markers_on),
    )
    passed = (values.mean_positive_fraction >= minimum - EQUAL) | (
        values.frac_markers_on >= minimum_on - EQUAL
    )
    return Gate(
        "low_positive",
        _everywhere(values),
        values.mean_positive_fraction,
        minimum,
        passed,
        alternative_value=values.frac_markers_on,
        alternative_threshold=minimum_on,
    )


def _anti_conflict(values: Measured, limits: Thresholds) -> Gate:
    """Refuse too high a penalty; then, where asked for, anti-markers that are not off."""
    positive = np.nan_to_num(values.anti_positive)
    hard = _like(values, limits.anti_penalty_hard_gate)
    off = _like(values, limits.anti_off_max_positive_fraction)
    too_high = values.anti_penalty > hard + EQUAL
    not_off = ~too_high & (positive > off + EQUAL)
    return Gate(
        "anti_conflict",
        _everywhere(values),
        value=np.where(not_off, positive, values.anti_penalty),
        threshold=np.where(not_off, off, hard),
        passed=~too_high & ~not_off,
    )


def _hard_requirement(values: Measured, limits: Thresholds) -> Gate:
    """Ask for the fraction, then for the enrichment; report the one that fails first."""
    gate = _empty("root_hard_requirement", values)
    names = _names(gate)
    for row, requirement in values.rules.requirements.items():
        fraction, enrichment = (
            values.required_pos_frac[:, row],
            values.required_enrichment[:, row],
        )
        least = _like(values, limits.required_pos_frac)[:, row]
        least_enrichment = _like(values, limits.required_enrichment)[:, row]
        too_few = ~np.isnan(least) & ~(fraction >= least - EQUAL)
        too_low = ~np.isnan(least_enrichment) & ~(enrichment >= least_enrichment - EQUAL)
        second = np.isnan(least) | (~too_few & too_low)
        gate.applies[row] = True
        gate.value[:, row] = np.where(second, enrichment, fraction)
        gate.threshold[:, row] = np.where(second, least_enrichment, least)
        gate.passed[:, row] = ~too_few & ~too_low
        names[:, row] = requirement.rule.marker
    return gate


def _veto(values: Measured, limits: Thresholds) -> Gate:
    """Refuse a root with a forbidden marker; report the first above the limit, else the nearest."""
    gate = _empty("root_veto", values)
    names = _names(gate)
    for row, veto in values.rules.vetoes.items():
        most = _like(values, limits.veto_max_pos_frac)[:, row]
        gate.applies[row] = True
        gate.threshold[:, row] = most
        if not veto.markers:
            continue
        fractions = values.veto_fractions[row]
        above = fractions > most[:, None] + EQUAL
        shown = np.where(above.any(axis=1), above.argmax(axis=1), fractions.argmax(axis=1))
        gate.value[:, row] = fractions[np.arange(len(fractions)), shown]
        gate.passed[:, row] = ~above.any(axis=1)
        names[:, row] = np.array([name for name, _ in veto.markers], dtype=object)[shown]
    return gate


def _empty(name: str, values: Measured) -> Gate:
    shape = values.score.shape
    return Gate(
        name,
        np.zeros(shape[1], dtype=bool),
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        np.ones(shape, dtype=bool),
        np.full(shape, None, dtype=object),
    )


def _names(gate: Gate) -> npt.NDArray[Any]:
    return np.empty(0) if gate.marker is None else gate.marker


def _inherit(
    gates: Sequence[Gate], own: Bools, values: Measured, marker_map: MarkerMap
) -> tuple[Bools, Rows]:
    """Bottom-up, ``pass(n) = own(n) or (open(n) and some child passes)``."""
    is_open = (values.coverage > 0) & np.logical_and.reduce(
        [gate.passed | ~gate.applies for gate in gates if gate.name in CLOSING]
    )
    passed, through = own.copy(), np.full(own.shape, -1, dtype=np.intp)
    for row in reversed(range(own.shape[1])):
        children = np.asarray(marker_map.child_rows[row], dtype=np.intp)
        if not len(children):
            continue
        best = best_of(values.score[:, children], passed[:, children])
        admitted = ~own[:, row] & is_open[:, row] & (best >= 0)
        passed[admitted, row] = True
        through[admitted, row] = children[best[admitted]]
    return passed, through
