"""Scores, decisions and labels: everything below the marker map."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pandas as pd

from ctr_assets.assets import asset_settings, op_settings, schema_specs, table_outs
from ctr_assets.assets.inputs import marker_map as marker_map_source
from ctr_assets.assets.inputs import observe
from ctr_assets.checks import advice, advisory_spec, cells_spec, schema_spec
from ctr_assets.consistency import parameters_of
from ctr_assets.io_managers import ArrayFile
from ctr_assets.metadata import column_lineage, step
from ctr_assets.outputs import Basis, materialized, table_output, with_cells, with_metadata
from ctr_assets.partitions import parse_key
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource, kept_marker_map
from ctr_assets.versions import current_version
from ctr_engine import keys
from ctr_engine.analysis import (
    Decisions,
    annotate_cells,
    decide,
    decider_of,
    score,
    used_parameters,
)
from ctr_engine.cell_labels import choices_of
from ctr_engine.cluster_statistics import Statistics
from ctr_engine.errors import MarkerMapError
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import resolve_map
from ctr_engine.markers.preflight import PreflightReport, preflight
from ctr_engine.reporting import figures
from ctr_engine.reporting.reasons import reasons
from ctr_engine.sure_cells import own_labels
from ctr_engine.tables import (
    Annotations,
    ClusterAnnotations,
    DecisionSteps,
    GatingDetails,
    MarkerEvidence,
    MarkerScores,
    NearMissReport,
)

MAP_HASH = "marker_map_hash"
CLUSTER_ANNOTATIONS = "cluster_annotations"
NEAR_MISSES = "near_miss_report"
FEW_UNASSIGNED, SUPPORTED = "few_unassigned", "labels_supported"
_MOST_REASONS, _MANY = 200, 0.2
_OF_CELLS = {"per_cell_gap_threshold", "per_cell_learning", "per_cell_sure_gap"}

SCORES = {
    "marker_scores": "One row per cluster and cell type: the score and its parts.",
    "marker_evidence": "One row per cluster, cell type and marker: what the marker brought.",
}
DECISIONS = {
    "decision_steps": "One row per cluster and cell type tried.",
    "gating_details": "One row per cluster, cell type visited and gate.",
    "cluster_annotations": "One row per cluster: its label and why the walk stopped there.",
    "near_miss_report": "One row per cluster and label that is nearly its own.",
}


def map_in_force(
    context: dg.AssetExecutionContext, project: Project
) -> tuple[MarkerMap, tuple[str, ...]]:
    """Give the live marker map when it is valid, else the last good one and a warning."""
    partition = parse_key(context.partition_key)
    try:
        wanted = observe(context.instance, project, partition, "marker_map")
        return kept_marker_map(project, partition.tissue, wanted), ()
    except MarkerMapError as error:
        key = dg.AssetKey("marker_map")
        last_good = current_version(context.instance, key, partition.key)
        if last_good is None:
            raise
        warning = f"The last good marker map {last_good[:12]} stays in force. {error}"
        context.log.warning(warning)
        return kept_marker_map(project, partition.tissue, last_good), (warning,)


def newest(context: dg.AssetExecutionContext, name: str) -> dg.AssetMaterialization:
    """Give the newest record of an asset in this run's partition.

    Raises
    ------
    dagster.Failure
        If it was never made.
    """
    key = dg.AssetKey(name)
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[context.partition_key])
    records = context.instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    if event is None:
        msg = f"{name} of {context.partition_key} was never materialized; do that first"
        raise dg.Failure(msg, allow_retries=False)
    return event


def scored_map(context: dg.AssetExecutionContext, project: Project) -> MarkerMap:
    """Give the map that ``marker_scores`` of this partition was made with.

    Raises
    ------
    dagster.Failure
        If it was never made.
    """
    content_hash = str(newest(context, "marker_scores").metadata[MAP_HASH].value)
    return kept_marker_map(project, parse_key(context.partition_key).tissue, content_hash)


@dg.multi_asset(
    outs=table_outs(SCORES, names=True),
    deps=[marker_map_source],
    check_specs=schema_specs(SCORES),
    **op_settings(),
)
def scores(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    reference_values: pd.DataFrame,
    cluster_statistics: pd.DataFrame,
    de_lookup: pd.DataFrame,
    project: ProjectResource,
) -> Iterator[dg.MaterializeResult]:
    """Score every cell type of the map in every cluster; the cells are not read."""
    with step() as measured:
        folder = project.open()
        marker_map, warnings = map_in_force(context, folder)
        params = folder.params_for(parse_key(context.partition_key))
        resolved = resolve_map(marker_map, stage_h_input.panel())
        statistics = Statistics(reference_values, cluster_statistics)
        found = score(statistics, de_lookup, resolved, params)
        report = preflight(resolved, params.gating_for(marker_map))
    tables = (
        ("marker_scores", MarkerScores, found.marker_scores, figures.score_map),
        ("marker_evidence", MarkerEvidence, found.marker_evidence, figures.markers_on_map),
    )
    outputs = {name: table_output(name, *rest, measured) for name, *rest in tables}
    used = params.scoring_for(marker_map).model_dump(mode="json")
    basis = Basis(used, {"marker_map": marker_map.content_hash})
    for name, output in outputs.items():
        described = with_metadata(output, _map_metadata(marker_map, report, warnings))
        yield materialized(context, described, basis, name)


def _map_metadata(
    marker_map: MarkerMap, report: PreflightReport, warnings: tuple[str, ...]
) -> dict[str, Any]:
    missing = {row["path"]: row["missing"] for row in report.table.to_dict("records")}
    return {
        MAP_HASH: marker_map.content_hash,
        "cell_types": len(marker_map.nodes),
        "unreachable_cell_types": dg.MetadataValue.json(report.unreachable),
        "missing_markers": dg.MetadataValue.json(
            {p: names for p, names in missing.items() if names}
        ),
        "warnings": dg.MetadataValue.json([*warnings, *report.warnings]),
    }


@dg.multi_asset(
    outs=table_outs(DECISIONS, names=True),
    check_specs=schema_specs(DECISIONS),
    **op_settings(),
)
def decisions(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    leiden_clusters: pd.DataFrame,
    reference_values: pd.DataFrame,
    cluster_statistics: pd.DataFrame,
    de_lookup: pd.DataFrame,
    marker_scores: pd.DataFrame,
    marker_evidence: pd.DataFrame,
    project: ProjectResource,
) -> Iterator[dg.MaterializeResult]:
    """Walk every cluster down the map to its label."""
    with step() as measured:
        folder = project.open()
        marker_map = scored_map(context, folder)
        params = folder.params_for(parse_key(context.partition_key))
        view = stage_h_input.read()
        found = decide(
            view,
            leiden_clusters,
            Statistics(reference_values, cluster_statistics),
            de_lookup,
            marker_scores,
            resolve_map(marker_map, view.panel),
            params,
        )
    tables = (
        ("decision_steps", DecisionSteps, found.decision_steps, figures.failure_counts),
        ("gating_details", GatingDetails, found.gating_details, figures.gate_shares),
        (CLUSTER_ANNOTATIONS, ClusterAnnotations, found.cluster_annotations, figures.label_counts),
        (NEAR_MISSES, NearMissReport, found.near_miss_report, figures.near_miss_counts),
    )
    outputs = {name: table_output(name, *rest, measured) for name, *rest in tables}
    metadata = {
        MAP_HASH: marker_map.content_hash,
        "warnings": dg.MetadataValue.json(list(found.warnings)),
    }
    why = _reasons(found, marker_evidence)
    outputs[CLUSTER_ANNOTATIONS] = with_metadata(outputs[CLUSTER_ANNOTATIONS], {"reasons": why})
    used = used_parameters(params, marker_map)
    for name, output in outputs.items():
        basis = Basis(parameters_of(name, used))
        yield materialized(context, with_metadata(output, metadata), basis, name)


def _reasons(found: Decisions, marker_evidence: pd.DataFrame) -> dg.TableMetadataValue:
    """Label and reason of each cluster, as a table that the UI shows."""
    annotated = found.cluster_annotations
    why = reasons(
        {
            "cluster_annotations": annotated,
            "decision_steps": found.decision_steps,
            "marker_evidence": marker_evidence,
        }
    )
    records = [
        dg.TableRecord(
            {
                "cluster": row["cluster_id"],
                "cells": int(row["n_cells"]),
                "label": row["assigned_label"],
                "support": round(row["support"], 2),
                "why": why[row["cluster_id"]],
            }
        )
        for row in annotated.head(_MOST_REASONS).to_dict("records")
    ]
    return dg.MetadataValue.table(records)


@dg.asset(
    io_manager_key="tables",
    check_specs=[
        schema_spec("annotations"),
        cells_spec("annotations"),
        advisory_spec(FEW_UNASSIGNED, "annotations", "At most a fifth of the cells has no label."),
        advisory_spec(SUPPORTED, "annotations", "No cluster has less support than review_support."),
    ],
    **op_settings(),
    **asset_settings(names=True),
)
def annotations(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    leiden_clusters: pd.DataFrame,
    cluster_annotations: pd.DataFrame,
    decision_steps: pd.DataFrame,
    marker_scores: pd.DataFrame,
    reference_values: pd.DataFrame,
    cluster_statistics: pd.DataFrame,
    de_lookup: pd.DataFrame,
    pca: ArrayFile,
    project: ProjectResource,
):
    """One row per cell: the label of its cluster, and its own."""
    with step() as measured:
        folder, view = project.open(), stage_h_input.read()
        partition, in_force = parse_key(context.partition_key), scored_map(context, folder)
        analysis = folder.pipeline_for(partition).analysis
        statistics = Statistics(reference_values, cluster_statistics)
        resolved = resolve_map(in_force, view.panel)
        decider = decider_of(statistics, de_lookup, marker_scores, resolved, analysis)
        if decider.gating.per_cell_learning:
            measured.backend = "scikit-learn"
        cells = own_labels(
            view,
            leiden_clusters["cluster_id"].to_numpy(object),
            choices_of(cluster_annotations, decision_steps),
            reference_values,
            decider,
            pca.read,
        )
        table = annotate_cells(leiden_clusters, cluster_annotations, cells)
    sources = {
        keys.CELL_TYPE: "assigned_label",
        keys.CELL_TYPE_ROOT: "root_label",
        keys.CELL_TYPE_CONFIDENCE: "confidence",
        keys.CELL_TYPE_PATH: "assigned_path",
        keys.CELL_TYPE_SUPPORT: "support",
    }
    lineage = column_lineage({c: (CLUSTER_ANNOTATIONS, s) for c, s in sources.items()})
    unassigned = int((table[keys.CELL_TYPE] == keys.UNASSIGNED).sum())
    output = table_output("annotations", Annotations, table, figures.cell_label_counts, measured)
    output = with_cells(output, "annotations", stage_h_input.cell_ids())
    metadata = {
        "unassigned_cells": unassigned,
        MAP_HASH: newest(context, CLUSTER_ANNOTATIONS).metadata[MAP_HASH],
        **lineage,
    }
    params = decider.gating.model_dump(mode="json", include=_OF_CELLS)
    told = _advice(cluster_annotations, analysis.report.review_support)
    output = replace(with_metadata(output, metadata), advice=told)
    return materialized(context, output, Basis(params))


def _advice(annotated: pd.DataFrame, least: float) -> list[dg.AssetCheckResult]:
    """Warn of many cells without a label, and of labels that little supports."""
    n_cells = int(annotated["n_cells"].sum())
    lost = annotated["stop_reason"] == "no_root_passed"
    n_lost = int(annotated.loc[lost, "n_cells"].sum())
    many = f"{n_lost:,} of {n_cells:,} cells are Unassigned; ctr explain says why"
    weak = annotated[~lost & (annotated["support"] < least)]
    doubtful = [
        f"cluster {row['cluster_id']}, {row['assigned_label']}: support {row['support']:.2f}"
        for row in weak.sort_values("support").to_dict("records")
    ]
    return [
        advice(FEW_UNASSIGNED, "annotations", (many,) if n_lost > _MANY * n_cells else ()),
        advice(SUPPORTED, "annotations", doubtful[:_MOST_REASONS]),
    ]


ASSETS = [scores, decisions, annotations]
