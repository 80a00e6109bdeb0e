"""``final_annotations`` and ``refined``: what people take home after the last iteration."""

from dataclasses import replace
from functools import partial

import dagster as dg
import pandas as pd

from ctr_assets.assets import asset_settings, op_settings
from ctr_assets.assets.annotation import MAP_HASH, newest
from ctr_assets.assets.refinement import PLAN_VERSION, iteration_name
from ctr_assets.assets.results import annotated_sample, sample_metadata
from ctr_assets.checks import advice, advisory_spec, cells_spec, schema_spec
from ctr_assets.freshness import BASIS, parameters_version
from ctr_assets.io_managers import ArrayFile
from ctr_assets.iteration_files import IterationFile
from ctr_assets.metadata import column_lineage, step
from ctr_assets.outputs import Basis, Output, materialized, table_output, with_cells, with_metadata
from ctr_assets.partitions import parse_key
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource
from ctr_assets.versions import code_version
from ctr_engine import keys
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.refinement.convergence import CONVERGED
from ctr_engine.refinement.lineage import Lineage, final_annotations
from ctr_engine.refinement.sample import attach_lineage
from ctr_engine.reporting import figures
from ctr_engine.tables import FinalAnnotations
from ctr_engine.tables.cohort import label_counts

FINAL, REFINED = "final_annotations", "refined"
IS_CONVERGED, CARRIED_OUT = "converged", "manual_plan_carried_out"
LABEL_COUNTS = "cells_by_label"
"""Metadata of the final labels: the cells of each, from which the cohort is summed up."""


def final_assets(n_iterations: int) -> list[dg.AssetsDefinition]:
    """Make the assets that read the last of ``n_iterations``."""
    last = iteration_name(n_iterations)
    return [_final_annotations(last), _refined(last)]


def _final_annotations(last: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=FINAL,
        io_manager_key="tables",
        ins={"iteration": dg.AssetIn(last)},
        description="One row per cell: its label after all iterations, and who gave it.",
        check_specs=[
            schema_spec(FINAL),
            cells_spec(FINAL),
            advisory_spec(IS_CONVERGED, FINAL, "The iterations ended because nothing moved."),
            advisory_spec(CARRIED_OUT, FINAL, "Every entry of the manual plan found its cluster."),
        ],
        **op_settings(),
        **asset_settings(),
    )
    def final(
        context: dg.AssetExecutionContext,
        stage_h_input: ExpressionFile,
        annotations: pd.DataFrame,
        iteration: IterationFile,
        project: ProjectResource,
    ):  # with check_specs, an annotation of MaterializeResult would make the output Nothing
        with step() as measured:
            lineage = iteration.read()
            table = final_annotations(lineage, annotations)
        output = table_output(FINAL, FinalAnnotations, table, figures.final_label_counts, measured)
        output = with_cells(output, FINAL, stage_h_input.cell_ids())
        decided = table["decided_by"].value_counts()
        metadata = {
            "unassigned_cells": int((table["cell_type"] == keys.UNASSIGNED).sum()),
            LABEL_COUNTS: dg.MetadataValue.json(label_counts(table)),
            "cells_by_who_decided": dg.MetadataValue.json(
                {str(name): int(n) for name, n in decided.items()}
            ),
            "iterations": len(lineage.records),
            "stop_reason": lineage.stop_reason or "not converged",
            MAP_HASH: newest(context, "annotations").metadata[MAP_HASH],
            BASIS: dg.MetadataValue.json(_basis(context, project.open())),
            **_sources(iteration),
        }
        output = with_metadata(output, metadata)
        return materialized(context, replace(output, advice=_advice(lineage)), Basis({}))

    return final


def _basis(context: dg.AssetExecutionContext, project: Project) -> dict[str, str]:
    """Versions of everything that the labels come from, by which they are known to be fresh."""
    partition = parse_key(context.partition_key)
    known = {
        "sample": newest(context, "stage_h_input").metadata["sample_sha256"],
        "marker_map": newest(context, "annotations").metadata[MAP_HASH],
        "manual_plan": newest(context, iteration_name(1)).metadata[PLAN_VERSION],
    }
    return {name: str(value.value) for name, value in known.items()} | {
        "parameters": parameters_version(project, partition),
        "code": code_version(names=True),
    }


def _advice(lineage: Lineage) -> list[dg.AssetCheckResult]:
    """Warn of iterations that did not converge, and of what a person asked for in vain."""
    reason = lineage.stop_reason
    moving = f"the last of {len(lineage.records)} iterations ended with {reason}"
    return [
        advice(IS_CONVERGED, FINAL, () if reason in CONVERGED else (moving,)),
        advice(CARRIED_OUT, FINAL, lineage.records[-1].waiting),
    ]


def _sources(iteration: IterationFile) -> dict[str, object]:
    columns = ("clusters", "cell_type", "cell_type_path", "cell_type_root", "cell_type_confidence")
    own = (keys.CELL_TYPE_CELL, keys.CELL_TYPE_CELL_PATH, keys.CELL_TYPE_CELL_BY)
    return column_lineage(
        dict.fromkeys((*columns, "cell_type_support"), (iteration.asset, "clusters"))
        | {name: (iteration.asset, name) for name in own}
    )


def _refined(last: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=REFINED,
        io_manager_key="anndata_files",
        ins={"iteration": dg.AssetIn(last)},
        description="The sample with clusters and labels of every iteration, for scanpy.",
        **op_settings(),
        **asset_settings(kinds=("anndata", "h5ad")),
    )
    def refined(
        context: dg.AssetExecutionContext,
        stage_h_input: ExpressionFile,
        pca: ArrayFile,
        leiden_clusters: pd.DataFrame,
        de_lookup: pd.DataFrame,
        annotations: pd.DataFrame,
        iteration: IterationFile,
        final_annotations: pd.DataFrame,
        project: ProjectResource,
    ) -> dg.MaterializeResult:
        with step() as measured:
            folder, partition = project.open(), parse_key(context.partition_key)
            tables = (leiden_clusters, de_lookup, annotations)
            sample = annotated_sample(context, folder, partition, stage_h_input, pca, tables)
            result = attach_lineage(sample, iteration.read())
        draw = partial(figures.final_label_counts, final_annotations)
        metadata = sample_metadata(context, folder, result)
        return materialized(context, Output(result, draw, measured, metadata), Basis({}))

    return refined
