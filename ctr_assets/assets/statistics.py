"""``reference_values``, ``cluster_statistics``, ``de_lookup``; none knows the marker map."""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from ctr_assets.assets import asset_settings, op_settings, schema_specs, table_outs
from ctr_assets.checks import schema_spec
from ctr_assets.devices import device_for
from ctr_assets.metadata import column_lineage, step
from ctr_assets.outputs import Basis, materialized, table_output, with_metadata
from ctr_assets.partitions import parse_key
from ctr_assets.resources import ProjectResource
from ctr_engine import de
from ctr_engine.cluster_statistics import Statistics, StatisticsParams
from ctr_engine.cluster_statistics import cluster_statistics as summarise
from ctr_engine.cores import available_cores
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.reporting import figures
from ctr_engine.tables import ClusterStatistics, DELookup, ReferenceValues

DESCRIPTIONS = {
    "reference_values": "One row per marker: what every cluster is scored against.",
    "cluster_statistics": "One row per cluster and marker: what all scores are made from.",
}


@dg.multi_asset(
    outs=table_outs(DESCRIPTIONS),
    check_specs=schema_specs(DESCRIPTIONS),
    **op_settings(gpu=True),
)
def statistics(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    leiden_clusters: pd.DataFrame,
    project: ProjectResource,
) -> Iterator[dg.MaterializeResult]:
    """Summarise all clusters and markers in one pass over the cells."""
    with step() as measured:
        folder = project.open()
        measured.device = device_for(context, folder)
        params = folder.params_for(parse_key(context.partition_key)).effective_scoring
        clusters = leiden_clusters["cluster_id"].tolist()
        found = summarise(stage_h_input.read(), clusters, params, n_jobs=available_cores())
    basis = Basis(params.model_dump(include=set(StatisticsParams.model_fields)))
    tables = (
        ("reference_values", ReferenceValues, found.reference, figures.thresholds),
        ("cluster_statistics", ClusterStatistics, found.clusters, figures.enrichment_map),
    )
    outputs = {name: table_output(name, *rest, measured) for name, *rest in tables}
    for name, output in outputs.items():
        yield materialized(context, output, basis, name)


@dg.asset(
    io_manager_key="tables",
    check_specs=[schema_spec("de_lookup")],
    **op_settings(),
    **asset_settings(),
)
def de_lookup(
    context: dg.AssetExecutionContext,
    reference_values: pd.DataFrame,
    cluster_statistics: pd.DataFrame,
    project: ProjectResource,
):
    """One row per cluster and marker: Wilcoxon against the rest, and the rank among the best K."""
    with step() as measured:
        params = project.params(parse_key(context.partition_key)).effective_scoring
        table = de.de_lookup(Statistics(reference_values, cluster_statistics), params)
    sources = {"wilcoxon_score": "rank_sum", "mean_difference": "mean", "cluster_id": "cluster_id"}
    lineage = column_lineage({c: ("cluster_statistics", s) for c, s in sources.items()})
    output = table_output("de_lookup", DELookup, table, figures.wilcoxon_map, measured)
    basis = Basis(params.model_dump(include=set(de.DEParams.model_fields)))
    return materialized(context, with_metadata(output, lineage), basis)


ASSETS = [statistics, de_lookup]
