"""Decides about clusters, and decides again with other thresholds, without the cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ctr_engine.gating.compete import Outcomes, Rows, outcomes
from ctr_engine.gating.gate import GateResults, Measured, evaluate_gates, measured
from ctr_engine.gating.thresholds import Knob, Thresholds, knobs
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.markers.root_rules import RootRules, resolve_root_rules
from ctr_engine.scoring import Evidence

Float64 = npt.NDArray[np.float64]
_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Decider:
    """A map with its thresholds, and what the gates measure in some clusters."""

    cluster_ids: tuple[str, ...]
    n_cells: npt.NDArray[np.int64]
    resolved: ResolvedMap
    gating: GatingParams
    rules: RootRules
    values: Measured
    knobs: tuple[Knob, ...]

    @classmethod
    def of(
        cls,
        found: Evidence,
        scores: Mapping[str, Float64],
        resolved: ResolvedMap,
        gating: GatingParams,
    ) -> "Decider":
        """Put everything that decides together.

        Parameters
        ----------
        found, scores
            What :func:`~ctr_engine.scoring.evidence` and :func:`~ctr_engine.scoring.node_scores`
            returned.

        Raises
        ------
        PanelError
            If a root rule stands on a label that is no root.
        """
        rules = resolve_root_rules(resolved, gating)
        values = measured(found, scores, rules)
        return cls(
            found.statistics.cluster_ids,
            found.n_cells,
            resolved,
            gating,
            rules,
            values,
            knobs(resolved, gating, rules),
        )

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(self.values.score)

    @property
    def settings(self) -> Float64:
        """Value of each knob, shape ``(n_knobs,)``."""
        return np.array([knob.value for knob in self.knobs])

    @cached_property
    def limits(self) -> Thresholds:
        """Thresholds as they stand."""
        return Thresholds.of(self.knobs, len(self.resolved.nodes))

    @cached_property
    def results(self) -> GateResults:
        """Verdicts of all gates as they stand, one row per cluster."""
        return self._evaluated(self.values, self.limits)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Where each cluster ends as the thresholds stand."""
        return self._outcomes(self.values, self.limits)

    def under_all(self, settings: Float64) -> Outcomes:
        """Decide about every cluster under every setting; shape ``(n_settings, n_clusters)``.

        Parameters
        ----------
        settings
            Shape ``(n_settings, n_knobs)``.
        """
        n, step = self.n_clusters, max(1, _ROWS_AT_ONCE // self.n_clusters)
        shape = (len(settings), n)
        found = Outcomes(np.empty(shape, dtype=np.intp), np.empty(shape, dtype=np.intp))
        for start in range(0, len(settings), step):
            part = settings[start : start + step]
            clusters = np.tile(np.arange(n, dtype=np.intp), len(part))
            decided = self.under(clusters, np.repeat(part, n, axis=0))
            found.place[start : start + step] = decided.place.reshape(-1, n)
            found.stop[start : start + step] = decided.stop.reshape(-1, n)
        return found

    def under(self, clusters: Rows, settings: Float64) -> Outcomes:
        """Decide about ``clusters[i]`` with the knobs set to ``settings[i]``.

        Parameters
        ----------
        clusters
            Positions of clusters, length ``n_rows``.
        settings
            Shape ``(n_rows, n_knobs)``.
        """
        places, stops = [self.outcomes.place[:0]], [self.outcomes.stop[:0]]
        for start in range(0, len(clusters), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            limits = Thresholds.of(self.knobs, len(self.resolved.nodes), settings[part])
            found = self._outcomes(self.values.take(clusters[part]), limits)
            places.append(found.place)
            stops.append(found.stop)
        return Outcomes(np.concatenate(places), np.concatenate(stops))

    def _evaluated(self, values: Measured, limits: Thresholds) -> GateResults:
        inherit = self.gating.gate_inheritance
        return evaluate_gates(values, limits, self.resolved.marker_map, inherit=inherit)

    def _outcomes(self, values: Measured, limits: Thresholds) -> Outcomes:
        results = self._evaluated(values, limits)
        return outcomes(results.scores, results.passed, limits.min_gap, self.resolved.marker_map)
