"""The whole of Stage H in order, on one sample: from an AnnData to labels with their reasons."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine import ALGORITHM_VERSION, keys
from ctr_engine.cell_labels import CellLabels, choices_of
from ctr_engine.cluster_statistics import Statistics, cluster_statistics
from ctr_engine.clustering.pca import pca
from ctr_engine.clustering.pipeline import cluster_cells, knn_graph
from ctr_engine.clustering.umap import umap
from ctr_engine.de import de_lookup, rank_genes_groups
from ctr_engine.errors import CellMismatchError, Fault, InputError
from ctr_engine.expression import ExpressionView
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.descend import (
    assignment,
    decision_steps,
    gating_details,
    walk_clusters,
)
from ctr_engine.gating.near_misses import near_misses
from ctr_engine.gating.stability import stability
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import ResolvedMap, resolve_map
from ctr_engine.mixed_lineage import as_columns, mixed_lineages
from ctr_engine.profiles import AnalysisParams
from ctr_engine.scoring import evidence, marker_evidence, marker_scores, score_matrices
from ctr_engine.sure_cells import own_labels
from ctr_engine.tables import Annotations, Clusters, frame, natural_key
from ctr_engine.voting import cluster_annotations

if TYPE_CHECKING:
    from anndata import AnnData

Progress = Callable[[str], None]
_LONGEST_ID = 200
CLUSTERING_STEPS, LABEL_STEPS = 3, 3
"""Steps that :func:`annotate` reports for clusters and labels, beside two for statistics."""


@dataclass(frozen=True)
class Scores:
    """Tables of the scoring step."""

    marker_scores: pd.DataFrame
    marker_evidence: pd.DataFrame


@dataclass(frozen=True)
class Decisions:
    """Tables of the assignment step."""

    decision_steps: pd.DataFrame
    gating_details: pd.DataFrame
    cluster_annotations: pd.DataFrame
    near_miss_report: pd.DataFrame
    decider: Decider
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Annotation:
    """All that a run of Stage H gives; ``tables`` by their name.

    ``coordinates`` are the principal components, ``umap`` has shape ``(n_cells, 2)``; None where
    they were not computed. ``decider`` is None without labels.
    """

    clusters: pd.DataFrame
    coordinates: npt.NDArray[np.float32] | None
    umap: npt.NDArray[np.float32] | None
    tables: dict[str, pd.DataFrame]
    decider: Decider | None
    warnings: tuple[str, ...]


def score(
    statistics: Statistics, lookup: pd.DataFrame, resolved: ResolvedMap, params: AnalysisParams
) -> Scores:
    """Score all cell types in all clusters."""
    scoring = params.scoring_for(resolved.marker_map)
    found = evidence(statistics, lookup, resolved, scoring)
    return Scores(
        marker_scores(found, resolved, scoring), marker_evidence(found, resolved, scoring)
    )


def decider_of(
    statistics: Statistics,
    lookup: pd.DataFrame,
    scores: pd.DataFrame,
    resolved: ResolvedMap,
    params: AnalysisParams,
) -> Decider:
    """Put everything together that decides about clusters that were scored."""
    found = evidence(statistics, lookup, resolved, params.scoring_for(resolved.marker_map))
    matrices = score_matrices(scores, found, resolved)
    return Decider.of(found, matrices, resolved, params.gating_for(resolved.marker_map))


def decide(
    view: ExpressionView,
    clusters: pd.DataFrame,
    statistics: Statistics,
    lookup: pd.DataFrame,
    scores: pd.DataFrame,
    resolved: ResolvedMap,
    params: AnalysisParams,
) -> Decisions:
    """Walk every cluster to its label."""
    decider = decider_of(statistics, lookup, scores, resolved, params)
    scoring = params.scoring_for(resolved.marker_map)
    found = evidence(statistics, lookup, resolved, scoring)
    results = decider.results
    walks = walk_clusters(results, decider.limits, resolved, decider.gating.max_ambiguity)
    ids = clusters["cluster_id"].tolist()
    stable = stability(found, scoring, decider)
    paths = [assignment(walk, resolved, results)["assigned_path"] for walk in walks]
    share, neighbors = params.report.mixed_share, params.report.mixed_neighbors
    mixed = mixed_lineages(
        found, resolved, view, ids, paths, mixed_share=share, mixed_neighbors=neighbors
    )
    return Decisions(
        decision_steps(walks, found, scores, results, resolved),
        gating_details(walks, found, results, resolved),
        cluster_annotations(walks, decider, statistics, view, ids, stable, as_columns(mixed)),
        near_misses(decider, params.report.near_miss_margin),
        decider,
        decider.rules.warnings,
    )


def annotate_cells(
    clusters: pd.DataFrame, annotated: pd.DataFrame, cells: CellLabels
) -> pd.DataFrame:
    """Give each cell the label of its cluster, and its own (table ``annotations``)."""
    by_cluster = annotated.set_index("cluster_id").loc[clusters["cluster_id"]]
    return frame(
        Annotations,
        {
            "cell_id": clusters["cell_id"].to_numpy(),
            keys.CLUSTER: clusters["cluster_id"].to_numpy(),
            keys.CELL_TYPE: by_cluster["assigned_label"].to_numpy(),
            keys.CELL_TYPE_ROOT: by_cluster["root_label"].to_numpy(),
            keys.CELL_TYPE_CONFIDENCE: by_cluster["confidence"].to_numpy(),
            keys.CELL_TYPE_PATH: by_cluster["assigned_path"].to_numpy(),
            keys.CELL_TYPE_SUPPORT: by_cluster["support"].to_numpy(),
            keys.CELL_TYPE_CELL: cells.labels,
            keys.CELL_TYPE_CELL_PATH: cells.paths,
            keys.CELL_TYPE_CELL_BY: cells.given_by,
        },
    )


def clusters_table(cell_ids: Sequence[str], ids: Sequence[str]) -> pd.DataFrame:
    """Give the cluster of each cell, as a :class:`~ctr_engine.tables.Clusters` table."""
    return frame(
        Clusters,
        {
            "cell_id": np.asarray(cell_ids, dtype=str).astype(object),
            "cluster_id": np.asarray(ids, dtype=str).astype(object),
        },
    )


def existing_clusters(adata: "AnnData", column: str, source: str = "sample") -> list[str]:
    """Take cluster ids from an ``obs`` column.

    Raises
    ------
    InputError
        If there is no such column, a cell has no id in it, or an id cannot be shown.
    """
    if column not in adata.obs.columns:
        known = ", ".join(map(str, adata.obs.columns)) or "none"
        message = (
            f"obs has no column {column!r}; it has: {known}. Cluster first, or name a column "
            "with --cluster-key."
        )
        raise InputError(source, [Fault(message)])
    values = adata.obs[column]
    missing = int(values.isna().sum())
    if missing:
        message = (
            f"{missing} of {len(values)} cells have no cluster in obs[{column!r}]. Give each one "
            "an id, or drop them."
        )
        raise InputError(source, [Fault(message)])
    ids = [str(value) for value in values]
    odd = sorted(
        {
            name
            for name in ids
            if not name.strip() or len(name) > _LONGEST_ID or not name.isprintable()
        }
    )
    if odd:
        shown = ", ".join(repr(name[:30]) for name in odd[:5])
        message = (
            f"obs[{column!r}] has cluster ids that are empty, very long or unprintable: {shown}"
        )
        raise InputError(source, [Fault(message)])
    return ids


@dataclass(frozen=True)
class KnownClusters:
    """Clusters that need not be made: the id of each cell, and where they came from."""

    ids: Sequence[str]
    coordinates: npt.NDArray[np.float32] | None = None


def annotate(
    view: ExpressionView,
    marker_map: MarkerMap | None,
    params: AnalysisParams,
    *,
    clusters: Sequence[str] | KnownClusters | None = None,
    n_jobs: int = 1,
    progress: Progress = lambda _: None,
    on_clusters: Callable[["KnownClusters"], None] = lambda _: None,
) -> Annotation:
    """Run Stage H.

    Parameters
    ----------
    view
        Expression of one sample.
    marker_map
        Cell types; None to cluster only.
    params
        All parameters.
    clusters
        Cluster id of each cell, to annotate existing clusters; clustered anew when None.
    n_jobs
        Threads; the result does not depend on it.
    progress
        Called with the name of each step before it starts.
    on_clusters
        Called with new clusters as soon as they are known.

    Raises
    ------
    PanelError
        If the map does not fit the panel.
    """
    resolved = None if marker_map is None else resolve_map(marker_map, view.panel)
    graph = None
    if clusters is None:
        ids, coordinates, graph = cluster_cells(
            view, params.clustering, n_jobs=n_jobs, progress=progress
        )
        known = KnownClusters(ids.tolist(), coordinates)
        on_clusters(known)
    else:
        known = clusters if isinstance(clusters, KnownClusters) else KnownClusters(clusters)
    layout = None
    if params.report.compute_umap:
        layout = _layout(view, params, known, graph, n_jobs, progress)
    table = clusters_table(view.cell_ids.tolist(), known.ids)
    progress("cluster_statistics")
    statistics = cluster_statistics(view, known.ids, params.effective_scoring, n_jobs=n_jobs)
    progress("de_lookup")
    lookup = de_lookup(statistics, params.effective_scoring)
    tables = {
        "reference_values": statistics.reference,
        "cluster_statistics": statistics.clusters,
        "de_lookup": lookup,
    }
    if resolved is None:
        return Annotation(table, known.coordinates, layout, tables, None, view.warnings)
    progress("marker_scores")
    scores = score(statistics, lookup, resolved, params)
    progress("decision_steps")
    decisions = decide(view, table, statistics, lookup, scores.marker_scores, resolved, params)
    progress("annotations")
    annotated = decisions.cluster_annotations
    choices = choices_of(annotated, decisions.decision_steps)
    ids = table["cluster_id"].to_numpy(object)
    reference, decider = statistics.reference, decisions.decider
    cells = own_labels(view, ids, choices, reference, decider, _coordinates_of(view, known, params))
    tables |= {
        "marker_scores": scores.marker_scores,
        "marker_evidence": scores.marker_evidence,
        "decision_steps": decisions.decision_steps,
        "gating_details": decisions.gating_details,
        "cluster_annotations": annotated,
        "near_miss_report": decisions.near_miss_report,
        "annotations": annotate_cells(table, annotated, cells),
    }
    warnings = view.warnings + decisions.warnings
    return Annotation(table, known.coordinates, layout, tables, decisions.decider, warnings)


def _coordinates_of(
    view: ExpressionView, known: KnownClusters, params: AnalysisParams
) -> Callable[[], npt.NDArray[np.float32]]:
    """Principal components of the cells, computed when they are asked for and not there."""
    if known.coordinates is None:
        return lambda: pca(view, params.clustering.n_pcs)
    found = known.coordinates
    return lambda: found


def _layout(
    view: ExpressionView,
    params: AnalysisParams,
    known: KnownClusters,
    graph: Any,
    n_jobs: int,
    progress: Progress,
) -> npt.NDArray[np.float32]:
    """Compute the UMAP, and what it needs where clusters were given."""
    progress("umap")
    coordinates = _coordinates_of(view, known, params)()
    if graph is None:
        graph = knn_graph(coordinates, params.clustering, n_jobs=n_jobs)
    return umap(coordinates, graph, params.clustering.random_state)


def attach(
    adata: "AnnData",
    view: ExpressionView,
    clusters: pd.DataFrame,
    params: AnalysisParams,
    *,
    lookup: pd.DataFrame,
    annotations: pd.DataFrame | None = None,
    marker_map: MarkerMap | None = None,
    coordinates: npt.NDArray[np.float32] | None = None,
    layout: npt.NDArray[np.float32] | None = None,
) -> "AnnData":
    """Write the results into a copy of the sample, which plain anndata and scanpy can read.

    Returns
    -------
    The cells of ``adata``, in its order, and the markers of the panel. ``X`` and the layers are as
    they came; ``layers["stage_h_input"]`` holds the values that everything was computed on.

    Raises
    ------
    CellMismatchError
        If the sample does not have the same cells in the same order.
    """
    if list(adata.obs_names) != list(view.cell_ids) or list(view.cell_ids) != list(
        clusters["cell_id"]
    ):
        msg = "the sample no longer has the cells that were annotated; annotate it again"
        raise CellMismatchError(msg)
    result = adata[:, list(view.panel.markers)].copy()
    _forget_earlier_run(result)
    result.layers[keys.STAGE_H_LAYER] = view.values
    for name in view.technical.columns:
        result.obs[name] = view.technical[name].to_numpy()
    ids = sorted(set(clusters["cluster_id"]), key=natural_key)
    result.obs[keys.CLUSTER] = pd.Categorical(clusters["cluster_id"], categories=ids)
    if annotations is not None:
        for name in keys.CATEGORIES_OF_STAGE_H:
            result.obs[name] = pd.Categorical(annotations[name])
        for name in (keys.CELL_TYPE_CONFIDENCE, keys.CELL_TYPE_SUPPORT):
            result.obs[name] = annotations[name].to_numpy()
    if coordinates is not None:
        result.obsm[keys.PCA] = coordinates
    if layout is not None:
        result.obsm[keys.UMAP] = layout
    if lookup["wilcoxon_score"].notna().any():
        result.uns[keys.de_key(view.layer)] = rank_genes_groups(lookup, keys.STAGE_H_LAYER)
    result.uns[keys.UNS_PARAMS] = json.dumps(run_record(params, view, marker_map), sort_keys=True)
    if marker_map is not None:
        gating = params.gating_for(marker_map).model_dump(mode="json")
        result.uns[keys.UNS_GATING_PARAMS] = json.dumps(gating, sort_keys=True)
        result.uns[keys.UNS_MARKER_MAP] = json.dumps(marker_map.as_source())
    return result


def _forget_earlier_run(adata: "AnnData") -> None:
    """Drop what an earlier run wrote, so that its labels do not stand beside new clusters."""
    ours = (*keys.OBS_OF_STAGE_H, *keys.OBS_OF_REFINEMENT)
    for name in [str(name) for name in adata.obs.columns]:
        if name in ours or name.startswith(keys.CLUSTER_ITERATION):
            del adata.obs[name]
    for name in list(adata.uns):
        if (
            name in keys.UNS_OF_STAGE_H
            or keys.is_de_key(name)
            or name.startswith(keys.UNS_ITERATION)
        ):
            del adata.uns[name]


def used_parameters(params: AnalysisParams, marker_map: MarkerMap | None) -> dict[str, Any]:
    """Parameters as they are used, with what the profile, the preset and the map gave; for JSON."""
    used: dict[str, Any] = params.model_dump(mode="json", exclude={"scoring", "gating"})
    if marker_map is None:
        return used | {"scoring": params.effective_scoring.model_dump(mode="json")}
    return used | {
        "scoring": params.scoring_for(marker_map).model_dump(mode="json"),
        "gating": params.gating_for(marker_map).model_dump(mode="json"),
    }


def run_record(
    params: AnalysisParams, view: ExpressionView, marker_map: MarkerMap | None
) -> dict[str, Any]:
    """Parameters and circumstances of a run, ready for JSON.

    ``parameters`` are those that were used, ``given`` those that somebody set.
    """
    return {
        "algorithm_version": ALGORITHM_VERSION,
        "parameters": used_parameters(params, marker_map),
        "given": params.model_dump(mode="json", exclude_unset=True),
        "layer": view.layer,
        "n_cells": view.n_cells,
        "n_markers": view.n_markers,
        "technical_markers": list(view.panel.technical),
        "dropped_markers": list(view.panel.dropped),
        "device": "cpu",
    }
