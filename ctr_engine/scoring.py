"""Scores of every cell type in every cluster, and the part of each marker in them.

``score = mean_enrichment + mean_positive_fraction + de_component - anti_penalty``
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from ctr_engine.cluster_statistics import Statistics, StatisticsParams
from ctr_engine.de import DEParams
from ctr_engine.errors import CellMismatchError
from ctr_engine.markers.gating_params import AntiAgg
from ctr_engine.markers.panel import Resolution, ResolvedMap, ResolvedNode
from ctr_engine.params import Fraction, Real
from ctr_engine.tables import MarkerEvidence, MarkerScores, frame

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ABOVE_ZERO = 1e-9
"""An enrichment counts as above 0 from here on, so that rounding turns no marker on."""


class ScoringParams(StatisticsParams, DEParams):
    """How markers add up to a score."""

    on_min_positive_fraction: Fraction = Field(
        0.15,
        description="A marker is on when its enrichment and its positive fraction are above 0 "
        "and this.",
    )
    de_bonus: Annotated[Real, Field(ge=0)] = Field(
        0.6, description="Score of a cell type whose markers are all the best DE hits."
    )
    de_commonness_alpha: Annotated[Real, Field(ge=0)] = Field(
        0.5, description="Exponent of commonness; smaller punishes markers of many cell types more."
    )
    anti_weight: Annotated[Real, Field(ge=0)] = Field(
        0.8, description="Score lost per unit of anti-marker signal."
    )
    anti_agg: AntiAgg = Field(
        "top2mean",
        description="Anti-markers that count: the largest, the mean of the best two, all.",
    )
    parent_markers: Literal["all", "alternatives"] = Field(
        "all",
        description="alternatives: markers of an inner node that belong to different children "
        "are averaged over their better half.",
    )


@dataclass(frozen=True)
class Evidence:
    """What a marker says about a cluster; arrays have shape ``(n_clusters, n_markers)``.

    ``bonus`` is the rank weight less commonness, 0 to 1, before ``de_bonus``. Where a question is
    asked many times over, a row is a cluster under one of many settings: ``left_out`` are the
    markers that do not count in it (a cell type that would lose all keeps them all), and
    ``anti_factor``, of shape ``(n_rows,)``, is what ``anti_weight`` is multiplied by.
    """

    statistics: Statistics
    enrichment: Float64
    positive_fraction: Float64
    de_rank: Float64
    bonus: Float64
    doc_freq: npt.NDArray[np.int64]
    on: Bools
    left_out: Bools | None = None
    anti_factor: Float64 | None = None

    def counts(self, positions: Sequence[int], *, keep_one: bool) -> Bools:
        """Which of some markers count in each row, shape ``(n_rows, len(positions))``."""
        if self.left_out is None:
            return np.ones((len(self.on), len(positions)), dtype=bool)
        counted = ~self.left_out[:, positions]
        return counted | ~counted.any(axis=1, keepdims=True) if keep_one else counted

    @cached_property
    def n_cells(self) -> npt.NDArray[np.int64]:
        """Cells of each cluster."""
        return self.statistics.n_cells


def evidence(
    statistics: Statistics, lookup: pd.DataFrame, resolved: ResolvedMap, params: ScoringParams
) -> Evidence:
    """Put the statistics and the DE ranks of all markers together.

    Parameters
    ----------
    statistics
        Statistics of the clusters; its markers are the panel of ``resolved``.
    lookup
        A :class:`~ctr_engine.tables.DELookup` table of the same clusters and markers.

    Raises
    ------
    CellMismatchError
        If the three do not speak of the same markers and clusters.
    """
    same = (
        statistics.markers == resolved.panel.markers
        and lookup["marker"].tolist() == statistics.clusters["marker"].tolist()
        and lookup["cluster_id"].tolist() == statistics.clusters["cluster_id"].tolist()
    )
    if not same:
        msg = (
            "statistics, DE lookup and marker map are not of the same clusters and panel; "
            "compute them anew"
        )
        raise CellMismatchError(msg)
    shape = (len(statistics.cluster_ids), len(statistics.markers))
    ranks = lookup["de_rank"].to_numpy(dtype=np.float64).reshape(shape)
    k = np.maximum(lookup["k"].to_numpy(dtype=np.float64).reshape(shape), 1)
    doc_freq = np.zeros(len(statistics.markers), dtype=np.int64)
    for node in resolved.nodes:
        doc_freq[list(node.positions)] += 1
    commonness = (doc_freq / len(resolved.nodes)) ** params.de_commonness_alpha
    bonus = np.nan_to_num((k - ranks + 1) / k) * (1 - commonness)
    enrichment, positive = statistics.matrix("enrichment"), statistics.matrix("positive_fraction")
    on = markers_on(enrichment, positive, params)
    return Evidence(statistics, enrichment, positive, ranks, bonus, doc_freq, on)


def markers_on(enrichment: Float64, positive: Float64, params: ScoringParams) -> Bools:
    """Whether each marker is on: enriched, and positive in enough cells."""
    return (enrichment > ABOVE_ZERO) & (positive > params.on_min_positive_fraction)


def node_scores(
    found: Evidence, resolved: ResolvedMap, params: ScoringParams
) -> dict[str, npt.NDArray[Any]]:
    """Score every cell type of the map in every cluster.

    Returns
    -------
    Numeric columns of :class:`~ctr_engine.tables.MarkerScores` by name, each of shape
    ``(n_clusters, n_nodes)``. A cell type without a resolved marker has NaN as score and means, and
    coverage 0.
    """
    alternatives = _alternative_nodes(resolved) if params.parent_markers == "alternatives" else ()
    columns = [
        _score_node(found, node, params, row in alternatives)
        for row, node in enumerate(resolved.nodes)
    ]
    data = {name: np.column_stack([column[name] for column in columns]) for name in columns[0]}
    coverage = np.array([node.coverage for node in resolved.nodes])
    return data | {"coverage": np.broadcast_to(coverage, data["score"].shape)}


def marker_scores(found: Evidence, resolved: ResolvedMap, params: ScoringParams) -> pd.DataFrame:
    """Score every cell type of the map in every cluster, as a table.

    Returns
    -------
    A :class:`~ctr_engine.tables.MarkerScores` table: clusters in natural order, cell types in that
    of the map.
    """
    n_clusters, n_nodes = len(found.n_cells), len(resolved.nodes)
    data: dict[str, Any] = {
        name: values.ravel() for name, values in node_scores(found, resolved, params).items()
    }
    data |= {
        "cluster_id": np.repeat(np.array(found.statistics.cluster_ids, dtype=object), n_nodes),
        "label": [node.node.label for node in resolved.nodes] * n_clusters,
        "path": [node.node.path for node in resolved.nodes] * n_clusters,
        "level": [node.node.level for node in resolved.nodes] * n_clusters,
        "resolved_markers": [_columns(resolved, node) for node in resolved.nodes] * n_clusters,
        "missing_markers": [list(node.missing) for node in resolved.nodes] * n_clusters,
        "n_cells": np.repeat(found.n_cells, n_nodes),
    }
    return frame(MarkerScores, data)


def score_matrices(
    scores: pd.DataFrame, found: Evidence, resolved: ResolvedMap
) -> dict[str, Float64]:
    """Take the numbers of a stored table back: what :func:`node_scores` returned.

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
    numbers = scores.select_dtypes("number")
    return {str(n): numbers[n].to_numpy(dtype=np.float64).reshape(shape) for n in numbers.columns}


def _columns(resolved: ResolvedMap, node: ResolvedNode) -> list[str]:
    return [resolved.panel.markers[position] for position in node.positions]


@dataclass(frozen=True)
class _Parts:
    """What each marker adds to the parts of one score; their sums over the markers are the parts.

    Markers have shape ``(n_clusters, n_markers)``, anti-markers ``(n_clusters, n_anti_markers)``.
    """

    enrichment: Float64
    positive: Float64
    de: Float64
    anti_enrichment: Float64
    anti_positive: Float64

    @classmethod
    def of(
        cls, found: Evidence, node: ResolvedNode, params: ScoringParams, alternatives: bool
    ) -> "_Parts":
        own, anti = list(node.positions), list(node.anti_positions)
        counted = found.counts(own, keep_one=True)
        counted_anti = found.counts(anti, keep_one=False)
        keep = counted.sum(axis=1)
        if alternatives:
            keep = -(-keep // 2)
        most = np.minimum(
            {"max": 1, "top2mean": 2, "mean": len(anti)}[params.anti_agg], counted_anti.sum(axis=1)
        )
        return cls(
            _shares_of_largest(found.enrichment[:, own], keep, counted),
            _shares_of_largest(found.positive_fraction[:, own], keep, counted),
            params.de_bonus * _shares_of_largest(found.bonus[:, own], keep, counted),
            _shares_of_largest(np.clip(found.enrichment[:, anti], 0, None), most, counted_anti),
            _shares_of_largest(found.positive_fraction[:, anti], most, counted_anti),
        )

    def in_score(self, params: ScoringParams) -> Float64:
        """What each marker, then each anti-marker adds to the score."""
        cost = params.anti_weight * (self.anti_enrichment + self.anti_positive)
        return np.hstack([self.enrichment + self.positive + self.de, -cost])


def _score_node(
    found: Evidence, node: ResolvedNode, params: ScoringParams, alternatives: bool
) -> dict[str, npt.NDArray[Any]]:
    """Score one cell type in all clusters; each array has length ``n_clusters``."""
    parts, positions = _Parts.of(found, node, params, alternatives), list(node.positions)
    counted = found.counts(positions, keep_one=True)
    n_on = (found.on[:, positions] & counted).sum(axis=1).astype(np.int64)
    anti_enrichment, anti_positive = _total(parts.anti_enrichment), _total(parts.anti_positive)
    penalty = params.anti_weight * np.nan_to_num(anti_enrichment + anti_positive)
    if found.anti_factor is not None:
        penalty = penalty * found.anti_factor
    mean_enrichment, mean_positive = _total(parts.enrichment), _total(parts.positive)
    de_component = _total(parts.de)
    return {
        "score": mean_enrichment + mean_positive + de_component - penalty,
        "mean_enrichment": mean_enrichment,
        "mean_positive_fraction": mean_positive,
        "frac_markers_on": n_on / counted.sum(axis=1) if positions else np.full(len(n_on), np.nan),
        "de_component": de_component,
        "anti_penalty": penalty,
        "n_markers_on": n_on,
        "anti_enrichment": anti_enrichment,
        "anti_positive": anti_positive,
    }


def _shares_of_largest(values: Float64, keep: npt.NDArray[np.intp], counted: Bools) -> Float64:
    """Share of each column in the mean of the ``keep`` largest of its row; 0 for the others.

    Columns that do not count are never among them; ``keep`` has length ``n_rows``.
    """
    largest = counted
    if values.size and (keep < counted.sum(axis=1)).any():
        shown = np.where(counted, values, -np.inf)
        order = np.argsort(-shown, axis=1, kind="stable")
        largest = np.zeros(values.shape, dtype=bool)
        np.put_along_axis(largest, order, np.arange(values.shape[1]) < keep[:, None], axis=1)
    return np.where(largest, values, 0.0) / np.maximum(keep, 1)[:, None]


def _total(shares: Float64) -> Float64:
    """Sum over the columns; NaN when there is none."""
    return shares.sum(axis=1) if shares.shape[1] else np.full(len(shares), np.nan)


def _alternative_nodes(resolved: ResolvedMap) -> set[int]:
    """Rows of the inner nodes whose markers stand for different children.

    For each child that holds a marker of the node in its subtree, the node's markers in that
    subtree or in no child's subtree are one variant; two different variants make the markers
    alternatives.
    """
    children = resolved.marker_map.child_rows
    rows: set[int] = set()
    for row, node in enumerate(resolved.nodes):
        own = set(node.positions)
        held = [own & _subtree_positions(resolved, child) for child in children[row]]
        shared = own.difference(*held) if held else own
        if len({frozenset(part | shared) for part in held if part}) > 1:
            rows.add(row)
    return rows


def _subtree_positions(resolved: ResolvedMap, row: int) -> set[int]:
    below = (_subtree_positions(resolved, child) for child in resolved.marker_map.child_rows[row])
    return set(resolved.nodes[row].positions).union(*below)


def marker_evidence(found: Evidence, resolved: ResolvedMap, params: ScoringParams) -> pd.DataFrame:
    """Give one row per cluster, cell type and resolved marker or anti-marker.

    Returns
    -------
    A :class:`~ctr_engine.tables.MarkerEvidence` table.
    """
    rows = [
        (node, resolution, role)
        for node in resolved.nodes
        for role, resolutions in (("marker", node.markers), ("anti_marker", node.anti_markers))
        for resolution in resolutions
        if resolution.position is not None
    ]
    n_clusters = len(found.n_cells)
    positions = [int(resolution.position or 0) for _, resolution, _ in rows]
    reference = found.statistics.reference.iloc[positions]
    bonus = found.bonus[:, positions]
    bonus[:, [role == "anti_marker" for _, _, role in rows]] = 0
    alternatives = _alternative_nodes(resolved) if params.parent_markers == "alternatives" else ()
    parts = [
        _Parts.of(found, node, params, row in alternatives).in_score(params)
        for row, node in enumerate(resolved.nodes)
    ]
    return frame(
        MarkerEvidence,
        {
            "cluster_id": np.repeat(
                np.array(found.statistics.cluster_ids, dtype=object), len(rows)
            ),
            **{name: values * n_clusters for name, values in _evidence_names(rows).items()},
            "enrichment": found.enrichment[:, positions].ravel(),
            "statistic": reference["statistic"].tolist() * n_clusters,
            "positive_fraction": found.positive_fraction[:, positions].ravel(),
            "threshold": np.tile(reference["threshold"].to_numpy(), n_clusters),
            "de_rank": found.de_rank[:, positions].ravel(),
            "de_bonus": bonus.ravel(),
            "doc_freq": np.tile(found.doc_freq[positions], n_clusters),
            "on": found.on[:, positions].ravel(),
            "in_score": np.hstack(parts).ravel(),
        },
    )


def _evidence_names(rows: list[tuple[ResolvedNode, Resolution, str]]) -> dict[str, list[Any]]:
    return {
        "label": [node.node.label for node, _, _ in rows],
        "path": [node.node.path for node, _, _ in rows],
        "marker": [resolution.name for _, resolution, _ in rows],
        "column": [resolution.column for _, resolution, _ in rows],
        "role": [role for _, _, role in rows],
    }
