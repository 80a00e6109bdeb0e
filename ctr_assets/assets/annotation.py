"""Scores, decisions and labels: everything below the marker map."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from ctr_assets.assets import asset_settings, op_settings, schema_specs, table_outs
from ctr_assets.assets.inputs import marker_map as marker_map_source
from ctr_assets.assets.inputs import observe
from ctr_assets.checks import cells_check, cells_spec, require_passed, schema_check, schema_spec
from ctr_assets.metadata import Measured, column_lineage, parameters, picture, step, table_metadata
from ctr_assets.partitions import parse_key
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource, kept_marker_map
from ctr_assets.versions import current_version, data_version
from ctr_engine import keys
from ctr_engine.analysis import annotate_cells, decide, score
from ctr_engine.cluster_statistics import Statistics
from ctr_engine.errors import MarkerMapError
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import resolve_map
from ctr_engine.markers.preflight import PreflightReport, preflight
from ctr_engine.reporting import figures
from ctr_engine.tables import (
    Annotations,
    ClusterAnnotations,
    DecisionSteps,
    GatingDetails,
    MarkerEvidence,
    MarkerScores,
)

MAP_HASH = "marker_map_hash"

SCORES = {
    "marker_scores": "One row per cluster and cell type: the score and its parts.",
    "marker_evidence": "One row per cluster, cell type and marker: what the marker brought.",
}
DECISIONS = {
    "decision_steps": "One row per cluster and cell type tried.",
    "gating_details": "One row per cluster, cell type visited and gate.",
    "cluster_annotations": "One row per cluster: its label and why the walk stopped there.",
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


def scored_map(context: dg.AssetExecutionContext, project: Project) -> MarkerMap:
    """Give the map that ``marker_scores`` of this partition was made with.

    Raises
    ------
    dagster.Failure
        If it was never made.
    """
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey("marker_scores"), asset_partitions=[context.partition_key]
    )
    records = context.instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    if event is None:
        msg = f"marker_scores of {context.partition_key} was never materialized; do that first"
        raise dg.Failure(msg, allow_retries=False)
    content_hash = str(event.metadata[MAP_HASH].value)
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
    tables = {
        "marker_scores": (MarkerScores, found.marker_scores, figures.score_map),
        "marker_evidence": (MarkerEvidence, found.marker_evidence, figures.markers_on_map),
    }
    used = params.scoring_for(marker_map).model_dump(mode="json")
    shared = {**_map_metadata(marker_map, report, warnings), **parameters(used)}
    yield from _stored(context, tables, used, shared, measured, marker_map.content_hash)


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
    tables = {
        "decision_steps": (DecisionSteps, found.decision_steps, figures.failure_counts),
        "gating_details": (GatingDetails, found.gating_details, figures.gate_shares),
        "cluster_annotations": (
            ClusterAnnotations,
            found.cluster_annotations,
            figures.label_counts,
        ),
    }
    used = params.gating_for(marker_map).model_dump(mode="json")
    warnings = dg.MetadataValue.json(list(found.warnings))
    shared = {MAP_HASH: marker_map.content_hash, "warnings": warnings, **parameters(used)}
    yield from _stored(context, tables, used, shared, measured, marker_map.content_hash)


def _stored(
    context: dg.AssetExecutionContext,
    tables: dict[str, tuple[Any, pd.DataFrame, Any]],
    used: dict[str, Any],
    shared: dict[str, Any],
    measured: Measured,
    map_hash: str,
) -> Iterator[dg.MaterializeResult]:
    """Check all tables of a step, then give each with its metadata."""
    checks = {name: schema_check(name, model, table) for name, (model, table, _) in tables.items()}
    require_passed(list(checks.values()))
    for name, (model, table, draw) in tables.items():
        yield dg.MaterializeResult(
            asset_key=name,
            value=table,
            data_version=data_version(context, dg.AssetKey(name), used, {"marker_map": map_hash}),
            metadata={
                **table_metadata(model, table),
                **shared,
                **measured.metadata(),
                **picture(lambda draw=draw, table=table: draw(table)),
            },
            check_results=[checks[name]],
        )


@dg.asset(
    io_manager_key="tables",
    check_specs=[schema_spec("annotations"), cells_spec("annotations")],
    **op_settings(),
    **asset_settings(),
)
def annotations(
    context: dg.AssetExecutionContext,
    leiden_clusters: pd.DataFrame,
    cluster_annotations: pd.DataFrame,
):
    """One row per cell: the label of its cluster."""
    with step() as measured:
        table = annotate_cells(leiden_clusters, cluster_annotations)
    checks = [
        schema_check("annotations", Annotations, table),
        cells_check("annotations", table, leiden_clusters["cell_id"].tolist()),
    ]
    require_passed(checks)
    sources = {
        keys.CELL_TYPE: "assigned_label",
        keys.CELL_TYPE_ROOT: "root_label",
        keys.CELL_TYPE_CONFIDENCE: "confidence",
        keys.CELL_TYPE_PATH: "assigned_path",
    }
    return dg.MaterializeResult(
        value=table,
        data_version=data_version(context, context.asset_key, {}),
        metadata={
            **table_metadata(Annotations, table),
            **column_lineage({c: ("cluster_annotations", s) for c, s in sources.items()}),
            "unassigned_cells": int((table[keys.CELL_TYPE] == keys.UNASSIGNED).sum()),
            **parameters({}),
            **measured.metadata(),
            **picture(lambda: figures.cell_label_counts(table)),
        },
        check_results=checks,
    )


ASSETS = [scores, decisions, annotations]
