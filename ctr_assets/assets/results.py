"""What people take home; not on the path to the labels."""

from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from ctr_assets.assets import asset_settings, op_settings
from ctr_assets.assets.annotation import MAP_HASH, newest, scored_map
from ctr_assets.assets.inputs import sample_version
from ctr_assets.io_managers import ArrayFile
from ctr_assets.metadata import step
from ctr_assets.outputs import Basis, Output, materialized
from ctr_assets.partitions import Partition, parse_key
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource
from ctr_engine.analysis import attach
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.io.samples import read_sample
from ctr_engine.reporting import figures

if TYPE_CHECKING:
    from anndata import AnnData


def require_same_sample(context: dg.AssetExecutionContext, version: str) -> None:
    """Refuse to put labels on a sample that was replaced since it was annotated.

    Raises
    ------
    dagster.Failure
        If the file is another one.
    """
    annotated = newest(context, "stage_h_input").metadata["sample_sha256"].value
    if annotated != version:
        msg = f"the sample of {context.partition_key} was replaced; materialize stage_h_input first"
        raise dg.Failure(msg, allow_retries=False)


def annotated_sample(
    context: dg.AssetExecutionContext,
    project: Project,
    partition: Partition,
    stage_h_input: ExpressionFile,
    pca: ArrayFile,
    tables: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame],
) -> "AnnData":
    """Give the sample of a partition with its clusters and labels.

    Parameters
    ----------
    tables
        ``leiden_clusters``, ``de_lookup`` and ``annotations``.
    """
    require_same_sample(context, sample_version(project, partition))
    clusters, lookup, annotations = tables
    return attach(
        read_sample(project.sample_path(partition)),
        stage_h_input.read(),
        clusters,
        project.params_for(partition),
        lookup=lookup,
        annotations=annotations,
        marker_map=scored_map(context, project),
        coordinates=pca.read(),
    )


def sample_metadata(
    context: dg.AssetExecutionContext, project: Project, sample: "AnnData"
) -> dict[str, Any]:
    """What a stored sample says about itself."""
    return {
        "dagster/row_count": sample.n_obs,
        "obs_columns": dg.MetadataValue.json([str(name) for name in sample.obs.columns]),
        MAP_HASH: scored_map(context, project).content_hash,
    }


@dg.asset(
    io_manager_key="anndata_files",
    **op_settings(),
    **asset_settings(kinds=("anndata", "h5ad"), on_demand=True),
)
def coarse_clusters(
    context: dg.AssetExecutionContext,
    stage_h_input: ExpressionFile,
    pca: ArrayFile,
    leiden_clusters: pd.DataFrame,
    de_lookup: pd.DataFrame,
    annotations: pd.DataFrame,
    project: ProjectResource,
) -> dg.MaterializeResult:
    """The sample with its clusters and labels, for scanpy."""
    with step() as measured:
        folder, partition = project.open(), parse_key(context.partition_key)
        tables = (leiden_clusters, de_lookup, annotations)
        result = annotated_sample(context, folder, partition, stage_h_input, pca, tables)
    draw = partial(figures.cell_label_counts, annotations)
    output = Output(result, draw, measured, sample_metadata(context, folder, result))
    return materialized(context, output, Basis({}))


ASSETS = [coarse_clusters]
