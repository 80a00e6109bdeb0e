"""A stored run, as far as labels can be decided again from it: everything but the cells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from ctr_engine.cluster_statistics import Statistics, StatisticsParams
from ctr_engine.de import DEParams, de_lookup
from ctr_engine.errors import ParameterError
from ctr_engine.gating.decider import Decider
from ctr_engine.manifest import Manifest
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import Panel, ResolvedMap, resolve_map
from ctr_engine.profiles import AnalysisParams
from ctr_engine.scoring import Evidence, ScoringParams, evidence, node_scores

NEEDS_CELLS = tuple(StatisticsParams.model_fields)
"""Scoring parameters that change what is measured in the cells."""


@dataclass(frozen=True)
class Evidences:
    """Evidence of the clusters of one run under other maps and parameters.

    ``made_with`` are the parameters that the statistics were made with.
    """

    statistics: Statistics
    made_with: ScoringParams
    _lookups: dict[tuple[object, ...], pd.DataFrame] = field(default_factory=dict)

    def lookup(self, scoring: ScoringParams) -> pd.DataFrame:
        """DE ranks of the clusters; made once for each set of parameters."""
        key = tuple(getattr(scoring, name) for name in DEParams.model_fields)
        if key not in self._lookups:
            self._lookups[key] = de_lookup(self.statistics, scoring)
        return self._lookups[key]

    def evidence(self, resolved: ResolvedMap, scoring: ScoringParams) -> Evidence:
        """Evidence of all markers.

        Raises
        ------
        ParameterError
            If a parameter asks for something that only the cells can tell.
        """
        moved = [n for n in NEEDS_CELLS if getattr(scoring, n) != getattr(self.made_with, n)]
        if moved:
            msg = (
                f"{', '.join(moved)} cannot be changed without the cells; run: ctr annotate "
                "RUN/coarse_clusters.h5ad --annotation-only --scoring-params ..."
            )
            raise ParameterError(msg)
        return evidence(self.statistics, self.lookup(scoring), resolved, scoring)

    def decider(
        self, resolved: ResolvedMap, scoring: ScoringParams, gating: GatingParams
    ) -> Decider:
        """Everything that decides, under a map and parameters.

        Raises
        ------
        ParameterError
            If a parameter asks for something that only the cells can tell.
        """
        found = self.evidence(resolved, scoring)
        return Decider.of(found, node_scores(found, resolved, scoring), resolved, gating)


@dataclass(frozen=True)
class StoredRun:
    """An annotated sample: its record, its marker map and its tables."""

    name: str
    manifest: Manifest
    params: AnalysisParams
    marker_map: MarkerMap
    tables: Mapping[str, pd.DataFrame]

    @cached_property
    def scoring(self) -> ScoringParams:
        """Scoring parameters that were used."""
        return self.params.scoring_for(self.marker_map)

    @cached_property
    def gating(self) -> GatingParams:
        """Gating parameters that were used."""
        return self.params.gating_for(self.marker_map)

    @cached_property
    def panel(self) -> Panel:
        """Columns of the sample."""
        return Panel(
            tuple(self.tables["reference_values"]["marker"]),
            self.manifest.technical_markers,
            self.manifest.dropped_markers,
        )

    @cached_property
    def resolved(self) -> ResolvedMap:
        """The map on the panel."""
        return resolve_map(self.marker_map, self.panel)

    @cached_property
    def statistics(self) -> Statistics:
        """What was measured in the clusters."""
        return Statistics(self.tables["reference_values"], self.tables["cluster_statistics"])

    @cached_property
    def evidences(self) -> Evidences:
        """The evidence of the clusters, under any map and parameters."""
        return Evidences(self.statistics, self.scoring)

    @cached_property
    def decider(self) -> Decider:
        """Everything that decided."""
        return self.evidences.decider(self.resolved, self.scoring, self.gating)

    def gap_of(self, path: str) -> float:
        """Lead over the runner-up that a cell type needs."""
        return float(self.decider.limits.min_gap[self.marker_map.row_of[path]])

    def cell(self, cell_id: str) -> dict[str, Any]:
        """Row of a cell in the table ``annotations``.

        Raises
        ------
        ParameterError
            If the run has no such cell.
        """
        cells = self.tables["annotations"]
        found = cells[cells["cell_id"] == cell_id].to_dict("records")
        if not found:
            some = ", ".join(cells["cell_id"].head(3))
            msg = f"{self.name} has no cell {cell_id!r}; it has {len(cells):,}, such as {some}"
            raise ParameterError(msg)
        return {str(name): value for name, value in found[0].items()}

    def position_of(self, cluster_id: str) -> int:
        """Position of a cluster in the tables.

        Raises
        ------
        ParameterError
            If the run has no such cluster.
        """
        ids = self.statistics.cluster_ids
        if cluster_id not in ids:
            msg = f"{self.name} has no cluster {cluster_id!r}; it has: {', '.join(ids)}"
            raise ParameterError(msg)
        return ids.index(cluster_id)
