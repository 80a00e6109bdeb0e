"""The whole reason of one cluster's label, as data: for the terminal, for JSON, for the pages."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from ctr_engine.gating.compete import ALONE, path_of
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.flips import Flip, flips
from ctr_engine.gating.near_misses import label_of
from ctr_engine.markers.gating_params import PER_ROOT
from ctr_engine.reporting.reasons import mixed_sentence, reasons
from ctr_engine.tables import STOP_REASONS


@dataclass(frozen=True)
class MarkerPart:
    """What one marker says; ``in_score`` is what it adds to the score."""

    marker: str
    column: str
    role: str
    enrichment: float
    positive_fraction: float
    de_rank: float | None
    on: bool
    in_score: float


@dataclass(frozen=True)
class GateValue:
    """One gate: what was measured and what it was held against."""

    gate: str
    value: float | None
    threshold: float
    passed: bool
    marker: str | None
    alternative_value: float | None
    alternative_threshold: float | None


@dataclass(frozen=True)
class Candidate:
    """One cell type that was tried."""

    label: str
    path: str
    passed: bool
    selected: bool
    score: float | None
    mean_enrichment: float | None
    mean_positive_fraction: float | None
    de_component: float | None
    anti_penalty: float
    coverage: float
    fail_reason: str | None
    passed_through: str | None
    missing_markers: tuple[str, ...]
    gates: tuple[GateValue, ...]
    markers: tuple[MarkerPart, ...]


@dataclass(frozen=True)
class Step:
    """One competition; candidates that passed first, best first.

    ``margin`` is null where nobody was beaten, ``needed_gap`` where nobody passed.
    """

    step_idx: int
    parent_path: str | None
    winner: str | None
    runner_up: str | None
    margin: float | None
    needed_gap: float | None
    ambiguous: bool
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Change:
    """A setting of one threshold that gives another label.

    ``gating_params`` is what ``--gating-params`` takes to set it; null for a threshold of a single
    cell type, which only the marker map can set.
    """

    threshold: str
    current: float
    needed: float
    change: float
    label: str
    path: str
    stop_reason: str
    gating_params: Mapping[str, Any] | None


@dataclass(frozen=True)
class Explanation:
    """Why a cluster has its label, and what would give it another one."""

    cluster_id: str
    n_cells: int
    label: str
    path: str
    stop_reason: str
    confidence: float | None
    support: float
    stability: float
    agreement: float
    robustness: float
    mixed: str | None
    reason: str
    votes: Mapping[str, float] | None
    steps: tuple[Step, ...]
    changes: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)

    @property
    def smallest_change(self) -> Change | None:
        """The smallest change of one threshold that gives another label, if any does."""
        return self.changes[0] if self.changes else None


def explain(
    tables: Mapping[str, pd.DataFrame], decider: Decider, cluster_id: str, most: int = 5
) -> Explanation:
    """Put together why a cluster has its label.

    Parameters
    ----------
    tables
        ``cluster_annotations``, ``decision_steps``, ``gating_details``, ``marker_scores`` and
        ``marker_evidence`` of one run.
    decider
        What decided in that run.
    most
        Changes of thresholds that are listed, one for each threshold and label.
    """
    own = {
        name: tables[name][tables[name]["cluster_id"] == cluster_id]
        for name in (
            "cluster_annotations",
            "decision_steps",
            "gating_details",
            "marker_scores",
            "marker_evidence",
        )
    }
    row = own["cluster_annotations"].to_dict("records")[0]
    position = decider.cluster_ids.index(cluster_id)
    nearest = flips(decider, [position])[:most]
    alone = bool(row["margin_is_infinite"])
    return Explanation(
        cluster_id=cluster_id,
        n_cells=int(row["n_cells"]),
        label=row["assigned_label"],
        path=row["assigned_path"],
        stop_reason=row["stop_reason"],
        confidence=None if alone else float(row["confidence"]),
        support=float(row["support"]),
        stability=float(row["stability"]),
        agreement=float(row["agreement"]),
        robustness=float(row["robustness"]),
        mixed=mixed_sentence(row),
        reason=str(reasons(own)[cluster_id]),
        votes=_votes(row["composition"]),
        steps=_steps(own, decider),
        changes=tuple(_change(flip, decider) for flip in nearest),
    )


def _votes(composition: str | None) -> dict[str, float] | None:
    if composition is None or pd.isna(composition):
        return None
    return {k: v for k, v in json.loads(composition).items() if not k.startswith("_")}


def _steps(own: Mapping[str, pd.DataFrame], decider: Decider) -> tuple[Step, ...]:
    scores = own["marker_scores"].set_index("path")
    gates = {str(path): rows for path, rows in own["gating_details"].groupby("path")}
    markers = {str(path): rows for path, rows in own["marker_evidence"].groupby("path")}
    steps = []
    for index, rows in own["decision_steps"].groupby("step_idx", sort=True):
        candidates = tuple(
            _candidate(row, scores.loc[row["child_path"]], gates, markers)
            for row in rows.to_dict("records")
        )
        steps.append(_step(int(str(index)), rows, candidates, decider))
    return tuple(steps)


def _step(
    index: int, rows: pd.DataFrame, candidates: tuple[Candidate, ...], decider: Decider
) -> Step:
    """Sort the candidates as they competed; ties keep the order of the map."""
    order = sorted(candidates, key=_rank)
    best = rows[rows["margin_to_runner_up"].notna()].to_dict("records")
    winner = best[0] if best else None
    second = None if winner is None else _text(winner["runner_up_path"])
    parent = rows["parent_path"].iloc[0]
    gap = None
    if winner is not None:
        row = decider.resolved.marker_map.row_of[winner["child_path"]]
        gap = float(decider.limits.min_gap[row])
    margin = None if winner is None else float(winner["margin_to_runner_up"])
    return Step(
        step_idx=index,
        parent_path=None if pd.isna(parent) else parent,
        winner=None if winner is None else winner["child_label"],
        runner_up=None if second is None else label_of(second),
        margin=margin if margin is not None and margin < ALONE else None,
        needed_gap=gap,
        ambiguous=winner is not None and not winner["selected"],
        candidates=tuple(order),
    )


def _rank(candidate: Candidate) -> tuple[bool, float]:
    return not candidate.passed, ALONE if candidate.score is None else -round(candidate.score, 9)


def _candidate(
    row: Mapping[Any, Any],
    score: pd.Series,
    gates: Mapping[str, pd.DataFrame],
    markers: Mapping[str, pd.DataFrame],
) -> Candidate:
    path = row["child_path"]
    evidence = markers[path].to_dict("records") if path in markers else []
    return Candidate(
        label=row["child_label"],
        path=path,
        passed=bool(row["child_passed_gate"]),
        selected=bool(row["selected"]),
        score=_number(row["child_score"]),
        mean_enrichment=_number(row["child_enrichment"]),
        mean_positive_fraction=_number(row["child_pos_frac"]),
        de_component=_number(score["de_component"]),
        anti_penalty=float(row["child_anti_penalty"]),
        coverage=float(row["child_coverage"]),
        fail_reason=_text(row["fail_reason"]),
        passed_through=_text(row["passed_through"]),
        missing_markers=tuple(score["missing_markers"]),
        gates=tuple(_gate(gate) for gate in gates[path].to_dict("records")),
        markers=tuple(sorted(map(_marker, evidence), key=lambda part: -abs(part.in_score))),
    )


def _gate(row: Mapping[Any, Any]) -> GateValue:
    return GateValue(
        gate=row["gate"],
        value=_number(row["value"]),
        threshold=float(row["threshold"]),
        passed=bool(row["passed"]),
        marker=_text(row["marker"]),
        alternative_value=_number(row["alternative_value"]),
        alternative_threshold=_number(row["alternative_threshold"]),
    )


def _marker(row: Mapping[Any, Any]) -> MarkerPart:
    return MarkerPart(
        marker=row["marker"],
        column=row["column"],
        role=row["role"],
        enrichment=float(row["enrichment"]),
        positive_fraction=float(row["positive_fraction"]),
        de_rank=_number(row["de_rank"]),
        on=bool(row["on"]),
        in_score=float(row["in_score"]),
    )


def _change(flip: Flip, decider: Decider) -> Change:
    path = path_of(flip.place, decider.resolved.marker_map)
    return Change(
        threshold=flip.knob.name,
        current=flip.knob.value,
        needed=flip.value,
        change=round(flip.change, 9),
        label=label_of(path),
        path=path,
        stop_reason=STOP_REASONS[flip.stop],
        gating_params=_gating_params(flip, decider),
    )


def _gating_params(flip: Flip, decider: Decider) -> dict[str, Any] | None:
    """Parameters that turn the knob; a root rule is given whole."""
    name, _, rest = flip.knob.name.partition(".")
    if name == "gating_overrides":
        return None
    if not rest:
        return {name: flip.value}
    if name not in PER_ROOT:
        return {name: {rest: flip.value}}
    root, _, field = rest.rpartition(".")
    rule = getattr(decider.gating, name)[root].model_dump(mode="json", exclude_none=True)
    return {name: {root: {**rule, field: flip.value}}}


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _text(value: Any) -> str | None:
    return None if value is None or pd.isna(value) else str(value)
