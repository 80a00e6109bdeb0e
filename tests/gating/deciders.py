"""Deciders on evidence that is set by hand, or drawn from a seed."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ctr_engine.analysis import AnalysisParams
from ctr_engine.cluster_statistics import Statistics, StatisticsParams, cluster_statistics
from ctr_engine.de import de_lookup
from ctr_engine.gating.compete import path_of
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.flips import flips
from ctr_engine.scoring import Evidence, node_scores
from ctr_engine.scoring import evidence as measured_evidence
from ctr_engine.tables import STOP_REASONS
from tests.builders import expression, resolved

PANEL = tuple("ABCDEFGH")
Values = Mapping[str, Sequence[tuple[float, float]]]


@cache
def _statistics(names: tuple[str, ...], panel: tuple[str, ...]) -> Statistics:
    """Statistics that only name the clusters and the panel."""
    ids = [name for name in names for _ in range(2)]
    cells = np.arange(len(ids) * len(panel)).reshape(len(ids), len(panel))
    found = cluster_statistics(expression(cells, panel), ids, StatisticsParams())
    assert found.cluster_ids == names, "give the clusters in natural order"
    return found


def evidence(values: Values, panel: Sequence[str] = PANEL) -> Evidence:
    """Evidence of clusters of two cells: (enrichment, positive fraction) of each marker.

    Clusters are in natural order. Markers that are left out have 0 and 0; no marker has a DE hit.
    """
    n_markers = len(panel)
    full = [[*row, *[(0.0, 0.0)] * (n_markers - len(row))] for row in values.values()]
    both = np.array(full, dtype=float)
    enrichment, positive = both[:, :, 0], both[:, :, 1]
    return Evidence(
        _statistics(tuple(values), tuple(panel)),
        enrichment,
        positive,
        np.full(both.shape[:2], np.nan),
        np.zeros(both.shape[:2]),
        np.ones(n_markers, dtype=np.int64),
        (enrichment > 0) & (positive > 0.15),
    )


def decider(
    content: Mapping[str, Any],
    values: Values | Sequence[tuple[float, float]],
    *,
    panel: Sequence[str] = PANEL,
    profile: str = "reference",
    scoring: Mapping[str, Any] | None = None,
    **gating: Any,
) -> Decider:
    """Decider of a map; ``values`` of markers A, B, ... in each cluster, or in cluster 0 alone."""
    given = values if isinstance(values, Mapping) else {"0": values}
    raw = {"profile": profile, "gating": gating, "scoring": scoring or {}}
    params = AnalysisParams.model_validate(raw)
    on_panel, found = resolved(content, panel), evidence(given, panel)
    scores = node_scores(found, on_panel, params.scoring_for(on_panel.marker_map))
    return Decider.of(found, scores, on_panel, params.gating_for(on_panel.marker_map))


def decider_of(case: Mapping[str, Any]) -> Decider:
    """Decider of a drawn case."""
    return decider(
        case["marker_map"],
        {
            name: [(v["enrichment"], v["positive_fraction"]) for v in row.values()]
            for name, row in case["values"].items()
        },
        panel=case["panel"],
        profile=case["profile"],
        scoring=case["scoring"],
        **case["gating"],
    )


def decider_of_cells(case: Mapping[str, Any]) -> Decider:
    """Decider of a random case that comes as cells (``tests.test_oracle_cases``)."""
    raw = {name: case[name] for name in ("profile", "scoring", "gating")}
    params = AnalysisParams.model_validate(raw)
    view = expression(case["expression"], case["markers"])
    on_panel = resolved(case["marker_map"], case["markers"])
    scoring = params.scoring_for(on_panel.marker_map)
    statistics = cluster_statistics(view, case["clusters"], scoring)
    found = measured_evidence(statistics, de_lookup(statistics, scoring), on_panel, scoring)
    scores = node_scores(found, on_panel, scoring)
    return Decider.of(found, scores, on_panel, params.gating_for(on_panel.marker_map))


def ends(given: Decider) -> list[tuple[str, str]]:
    """Path and stop reason of each cluster."""
    found = given.outcomes
    return [
        (path_of(place, given.resolved.marker_map), STOP_REASONS[stop])
        for place, stop in zip(found.place.tolist(), found.stop.tolist(), strict=True)
    ]


def found_flips(given: Decider, **options: Any) -> list[tuple[str, str, float, str]]:
    """Cluster, knob, setting and path of each flip, in the order found."""
    marker_map = given.resolved.marker_map
    return [
        (given.cluster_ids[f.cluster], f.knob.name, f.value, path_of(f.place, marker_map))
        for f in flips(given, **options)
    ]


def own_flips(given: Decider, **options: Any) -> list[tuple[str, float, str]]:
    """Knob, setting and path of each flip of cluster 0."""
    return [flip[1:] for flip in found_flips(given, **options)]


# ---------------------------------------------------------------------- drawn cases

EIGHTHS = [i / 8 for i in range(-8, 9)]
SIXTEENTHS = [i / 16 for i in range(17)]
FRACTIONS = [0.0, 0.1, 0.25, 0.3, 0.5, 0.625, 0.8125, 1.0]
ENRICHMENTS = [-0.75, -0.5, -0.3, 0.0, 0.1, 0.25]
GAPS = [0.0, 0.1, 0.125, 0.25, 0.4, 0.75]
OF_FIELD = {
    "min_coverage": FRACTIONS[1:6],
    "min_pos_frac": FRACTIONS,
    "min_frac_markers_on": FRACTIONS[3:],
    "min_enrichment": ENRICHMENTS,
    "min_gap": GAPS,
}


class Drawn:
    """Draws small cases whose numbers are sums of powers of two, so that ties are exact.

    Cell types have one, two or four markers on the panel, and anti-markers weigh a half.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def one(self, values: Sequence[Any]) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def some(self, values: Sequence[Any], n: int) -> list[Any]:
        return [values[i] for i in self.rng.choice(len(values), size=n, replace=False)]

    def case(self) -> dict[str, Any]:
        labels = ["Root B", "Root A", "Root C"][: self.one([1, 2, 3, 3])]
        content = self.siblings(labels, self.one([1, 2, 2, 3]))
        if self.chance(0.5):
            content["_gating_params"] = self.gating(labels)
        return {
            "marker_map": content,
            "gating": self.gating(labels),
            "scoring": {"anti_weight": 0.5},
            "profile": self.one(["reference", "adaptive"]),
            "panel": list(PANEL),
            "values": {name: self.values() for name in ("0", "1", "2")[: self.one([1, 2, 3])]},
        }

    def values(self) -> dict[str, dict[str, float]]:
        row = {
            marker: {"enrichment": self.one(EIGHTHS[4:]), "positive_fraction": self.one(SIXTEENTHS)}
            for marker in PANEL
        }
        first, second = self.some(PANEL, 2)
        row[second] = row[first]
        return row

    def node(self, depth: int) -> dict[str, Any]:
        n_markers = self.one([1, 1, 2, 4])
        chosen = self.some(PANEL, n_markers + 2)
        body: dict[str, Any] = {"markers": chosen[:n_markers]}
        if self.chance(0.3):
            body["markers"] = [*body["markers"], *["Absent 1", "Absent 2"][: self.one([1, 2])]]
        if self.chance(0.08):
            body["markers"] = ["Absent 3"]
        if self.chance(0.4):
            body["anti_markers"] = chosen[n_markers:][: self.one([1, 2])]
        if self.chance(0.3):
            own = {k: self.one(v) for k, v in OF_FIELD.items() if self.chance(0.4)}
            off = {"require_anti_markers_off": True} if self.chance(0.5) else {}
            body["gating_overrides"] = own | off
        if depth > 1:
            labels = ["Type D", "Type A", "Type C"][: self.one([1, 2, 2, 3])]
            key = self.one(["subtypes", "children"])
            body[key] = self.siblings(labels, depth - 1)
        return body

    def siblings(self, labels: Sequence[str], depth: int) -> dict[str, Any]:
        nodes = {label: self.node(depth) for label in labels}
        if len(labels) > 1 and self.chance(0.25):
            twins = [nodes[label] for label in self.some(labels, 2)]
            twins[0]["markers"] = twins[1]["markers"][::-1]
            for twin in twins:
                twin.pop("anti_markers", None)
        return nodes

    def gating(self, labels: Sequence[str]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, values in OF_FIELD.items():
            chosen = [str(level) for level in range(3) if self.chance(0.3)]
            if chosen:
                given[name] = {level: self.one(values) for level in chosen}
        single = {
            "root_gap_threshold": GAPS,
            "anti_penalty_hard_gate": [0.25, 0.3, 0.5],
            "anti_off_max_positive_fraction": [0.1, 0.25, 0.5],
            "gate_inheritance": [True, False],
        }
        given |= {k: self.one(v) for k, v in single.items() if self.chance(0.3)}
        if self.chance(0.3):
            marker = self.one([*PANEL, *PANEL, "Absent 4"])
            rule = {"marker": marker, "min_pos_frac": self.one(FRACTIONS[:6])}
            if self.chance(0.5):
                rule["min_enrichment"] = self.one(ENRICHMENTS)
            given["root_hard_requirements"] = {self.one(labels): rule}
        if self.chance(0.3):
            markers = [*self.some(PANEL, 2), "Absent 5"][self.one([0, 1, 2]) :]
            rule = {"markers": markers, "max_pos_frac": self.one(FRACTIONS[2:7])}
            given["root_veto_markers"] = {self.one(labels): rule}
        return given


def with_clusters(case: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The same case with clusters renamed and in natural order of the new names."""
    renamed = {names[name]: row for name, row in case["values"].items() if name in names}
    return {**case, "values": dict(sorted(renamed.items(), key=lambda item: int(item[0])))}
