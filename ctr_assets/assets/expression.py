"""``stage_h_input``: the one matrix that is stored."""

import dagster as dg

from ctr_assets.assets import asset_settings, op_settings
from ctr_assets.assets.inputs import observe, sample, sample_version
from ctr_assets.metadata import step
from ctr_assets.outputs import Basis, Output, materialized
from ctr_assets.partitions import parse_key
from ctr_assets.resources import ProjectResource
from ctr_engine.errors import Fault, InputError
from ctr_engine.expression import read_expression
from ctr_engine.io.samples import read_sample
from ctr_engine.reporting import figures


@dg.asset(
    deps=[sample],
    io_manager_key="expression",
    **op_settings(),
    **asset_settings(names=True, kinds=("anndata", "h5ad")),
)
def stage_h_input(
    context: dg.AssetExecutionContext, project: ProjectResource
) -> dg.MaterializeResult:
    """Expression of the panel, as everything below uses it; technical markers stand in obs."""
    with step() as measured:
        folder, partition = project.open(), parse_key(context.partition_key)
        version = observe(context.instance, folder, partition, "sample")
        path = folder.sample_path(partition)
        params = folder.params_for(partition).expression
        view = read_expression(read_sample(path), params, str(path))
        if sample_version(folder, partition) != version:
            fault = Fault("changed while it was read; run again when it is whole")
            raise InputError(str(path), [fault])
    for warning in view.warnings:
        context.log.warning(warning)
    metadata = {
        "dagster/row_count": view.n_cells,
        "markers": view.n_markers,
        "technical_markers": dg.MetadataValue.json(list(view.panel.technical)),
        "dropped_markers": dg.MetadataValue.json(list(view.panel.dropped)),
        "layer": view.layer,
        "sample_sha256": version,
        "warnings": dg.MetadataValue.json(list(view.warnings)),
    }
    output = Output(view, lambda: figures.expression_ranges(view), measured, metadata)
    basis = Basis(params.model_dump(mode="json"), {"sample": version})
    return materialized(context, output, basis)


ASSETS = [stage_h_input]
