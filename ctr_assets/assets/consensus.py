"""``consensus_clusters`` and ``consensus_summary``; labels do not depend on them."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg

from ctr_assets.assets import asset_settings, op_settings, schema_specs
from ctr_assets.checks import cells_spec
from ctr_assets.devices import device_for
from ctr_assets.io_managers import ArrayFile
from ctr_assets.metadata import step
from ctr_assets.outputs import Basis, materialized, table_output, with_cells, with_metadata
from ctr_assets.partitions import parse_key
from ctr_assets.resources import ProjectResource
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.reporting.consensus_figure import runs_that_found
from ctr_engine.splitmerge.cells.consensus import Consensus
from ctr_engine.splitmerge.cells.consensus import consensus as consensus_of
from ctr_engine.splitmerge.cells.runs import leiden_runs
from ctr_engine.tables import ConsensusClusters, ConsensusSummary

CONSENSUS = "consensus"
"""Group of these assets, apart from those that a new sample or an edit makes."""

CLUSTERS, SUMMARY = "consensus_clusters", "consensus_summary"
DESCRIPTIONS = {
    CLUSTERS: "One row per cell: its cluster in the consensus of several runs of Leiden, and the "
    "share of runs that agree.",
    SUMMARY: "One row per cluster of the consensus: how often the runs found it.",
}


def _outs() -> dict[str, dg.AssetOut]:
    settings = asset_settings(kinds=("parquet", "igraph"), on_demand=True)
    settings["group_name"] = CONSENSUS
    return {
        name: dg.AssetOut(description=text, io_manager_key="tables", **settings)
        for name, text in DESCRIPTIONS.items()
    }


@dg.multi_asset(
    outs=_outs(),
    check_specs=[*schema_specs(DESCRIPTIONS), cells_spec(CLUSTERS)],
    **op_settings(gpu=True),
)
def consensus(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    pca: ArrayFile,
    knn_graph: ArrayFile,
    project: ProjectResource,
) -> Iterator[dg.MaterializeResult]:
    """Run Leiden with several seeds on one graph, and make one partition of the runs."""
    with step("igraph") as measured:
        folder = project.open()
        measured.device = device_for(context, folder)
        partition = parse_key(context.partition_key)
        clustering = folder.params_for(partition).clustering
        params = folder.pipeline_for(partition).consensus
        cells = stage_h_input.cell_ids()
        runs = leiden_runs(knn_graph.read_graph(), clustering, params)
        found = consensus_of(runs, pca.read(), cells, params)
    summary = found.summary()
    used = clustering.model_dump(include={"resolution", "random_state"})
    basis = Basis(params.model_dump(mode="json") | used)
    per_cell = table_output(CLUSTERS, ConsensusClusters, found.table(cells), None, measured)
    per_cell = with_metadata(with_cells(per_cell, CLUSTERS, cells), _told(found, runs))
    yield materialized(context, per_cell, basis, CLUSTERS)
    sizes = summary["n_cells"].tolist()
    per_cluster = table_output(SUMMARY, ConsensusSummary, summary, None, measured)
    per_cluster = replace(per_cluster, draw=partial(runs_that_found, found.jaccard, sizes))
    yield materialized(context, per_cluster, basis, SUMMARY)


def _told(found: Consensus, runs: list[Any]) -> dict[str, Any]:
    """What the UI shows of a consensus."""
    return {
        "clusters": len(found.jaccard),
        "clusters_of_runs": dg.MetadataValue.json([len(set(run.tolist())) for run in runs]),
        "conflicts": int(found.conflict.sum()),
        "ties": int(found.tie.sum()),
        "mean_stability": float(found.stability.mean()),
        "repeatable": True,
    }


ASSETS = [consensus]
