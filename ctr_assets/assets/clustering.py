"""``pca``, ``knn_graph`` and ``leiden_clusters``."""

import dagster as dg

from ctr_assets.assets import asset_settings, op_settings
from ctr_assets.checks import cells_spec, schema_spec
from ctr_assets.devices import device_for
from ctr_assets.io_managers import ArrayFile
from ctr_assets.metadata import step
from ctr_assets.outputs import Basis, Output, materialized, table_output, with_cells, with_metadata
from ctr_assets.partitions import parse_key
from ctr_assets.resources import ProjectResource
from ctr_engine.analysis import clusters_table
from ctr_engine.clustering import pipeline
from ctr_engine.clustering.neighbors import EXACT_CELLS
from ctr_engine.clustering.pca import pca as principal_components
from ctr_engine.cores import available_cores
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.reporting import figures
from ctr_engine.tables import Clusters


@dg.asset(io_manager_key="arrays", **op_settings(gpu=True), **asset_settings(kinds=("numpy",)))
def pca(
    context: dg.AssetExecutionContext, stage_h_input: ExpressionFile, project: ProjectResource
) -> dg.MaterializeResult:
    """Principal components of the scaled expression, one row per cell."""
    with step("scipy") as measured:
        folder = project.open()
        measured.device = device_for(context, folder)
        params = folder.params_for(parse_key(context.partition_key)).clustering
        found = principal_components(stage_h_input.read(), params.n_pcs)
    metadata = {"dagster/row_count": len(found), "components": found.shape[1]}
    output = Output(found, lambda: figures.component_map(found), measured, metadata)
    return materialized(context, output, Basis(params.model_dump(include={"n_pcs"})))


@dg.asset(
    io_manager_key="arrays",
    **op_settings(gpu=True),
    **asset_settings(kinds=("numpy", "scikitlearn")),
)
def knn_graph(
    context: dg.AssetExecutionContext, pca: ArrayFile, project: ProjectResource
) -> dg.MaterializeResult:
    """Weighted graph of the nearest neighbours of each cell."""
    with step("scikit-learn") as measured:
        folder = project.open()
        measured.device = device_for(context, folder)
        params = folder.params_for(parse_key(context.partition_key)).clustering
        graph = pipeline.knn_graph(pca.read(), params, n_jobs=available_cores())
    metadata = {
        "dagster/row_count": graph.shape[0],
        "edges": graph.nnz // 2,
        "search": "exact" if graph.shape[0] <= EXACT_CELLS else "cells of nearby panels",
    }
    output = Output(graph, lambda: figures.neighbour_counts(graph), measured, metadata)
    return materialized(context, output, Basis(params.model_dump(include={"n_neighbors"})))


@dg.asset(
    io_manager_key="tables",
    check_specs=[schema_spec("leiden_clusters"), cells_spec("leiden_clusters")],
    **op_settings(gpu=True),
    **asset_settings(kinds=("parquet", "igraph")),
)
def leiden_clusters(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    knn_graph: ArrayFile,
    project: ProjectResource,
):  # with check_specs, an annotation of MaterializeResult would make the output Nothing
    """One row per cell: its cluster, "0" the largest."""
    with step("igraph") as measured:
        folder = project.open()
        measured.device = device_for(context, folder)
        params = folder.params_for(parse_key(context.partition_key)).clustering
        cells = stage_h_input.cell_ids()
        table = clusters_table(cells, pipeline.leiden(knn_graph.read_graph(), params))
    output = table_output("leiden_clusters", Clusters, table, figures.cluster_sizes, measured)
    metadata = {"clusters": int(table["cluster_id"].nunique()), "repeatable": True}
    output = with_metadata(with_cells(output, "leiden_clusters", cells), metadata)
    basis = Basis(params.model_dump(include={"resolution", "random_state"}))
    return materialized(context, output, basis)


ASSETS = [pca, knn_graph, leiden_clusters]
