"""``refinement_iteration_1`` to ``_N``; each reads the one before it, or only passes it on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import dagster as dg
import pandas as pd

from ctr_assets.assets import asset_settings, op_settings
from ctr_assets.assets.annotation import MAP_HASH, newest, scored_map
from ctr_assets.assets.inputs import manual_plan, observe
from ctr_assets.assets.iteration_metadata import before_and_after, plan_changes, told
from ctr_assets.checks import cells_check, cells_spec, schema_check, schema_spec
from ctr_assets.devices import device_for
from ctr_assets.iteration_files import IterationFile, PassedOn
from ctr_assets.metadata import Measured, step, table_metadata
from ctr_assets.outputs import Basis, Output, materialized
from ctr_assets.partitions import Partition, parse_key
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource, kept_manual_plan
from ctr_assets.versions import current_version
from ctr_engine.cores import available_cores
from ctr_engine.errors import ConfigError
from ctr_engine.io.expression import ExpressionFile
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.convergence import is_finished, next_round
from ctr_engine.refinement.engine import Sample, Scored
from ctr_engine.refinement.lineage import Lineage
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.proposals import Policy
from ctr_engine.refinement.record import record_of
from ctr_engine.refinement.sample import opened
from ctr_engine.tables import RefinedClusters

PLAN_VERSION = "manual_plan_version"


def iteration_name(number: int) -> str:
    """Name of the asset of an iteration, from 1."""
    return f"refinement_iteration_{number}"


def iterations(number: int) -> list[dg.AssetsDefinition]:
    """Make the assets of ``number`` iterations."""
    return [first_iteration(), *(later_iteration(n) for n in range(2, number + 1))]


def first_iteration() -> dg.AssetsDefinition:
    """Make the asset that refines the clusters of Stage H."""

    @dg.asset(
        name=iteration_name(1),
        io_manager_key="iterations",
        check_specs=[schema_spec(iteration_name(1)), cells_spec(iteration_name(1))],
        deps=[manual_plan],
        description="Clusters and labels after the first refinement, and what it did.",
        **op_settings(gpu=True),
        **asset_settings(names=True, kinds=("parquet", "igraph")),
    )
    def refine(
        context: dg.AssetExecutionContext,
        stage_h_input: ExpressionFile,
        leiden_clusters: pd.DataFrame,
        cluster_annotations: pd.DataFrame,
        project: ProjectResource,
    ):  # with check_specs, an annotation of MaterializeResult would make the output Nothing
        with step():
            folder, partition = project.open(), parse_key(context.partition_key)
            version, warnings = _plan_in_force(context, folder, partition)
        cells, ids = (leiden_clusters[name].to_numpy(object) for name in ("cell_id", "cluster_id"))
        labels = dict(
            zip(
                cluster_annotations["cluster_id"],
                cluster_annotations["assigned_label"],
                strict=True,
            )
        )
        lineage = Lineage(cells, (ids,), ())
        return _refined(context, folder, stage_h_input, lineage, labels, version, warnings)

    return refine


def later_iteration(number: int) -> dg.AssetsDefinition:
    """Make the asset that goes on from the iteration before it."""
    before = iteration_name(number - 1)

    @dg.asset(
        name=iteration_name(number),
        io_manager_key="iterations",
        check_specs=[schema_spec(iteration_name(number)), cells_spec(iteration_name(number))],
        ins={"previous": dg.AssetIn(before)},
        deps=[manual_plan],
        description=f"Clusters and labels after refinement {number}; the ones before where those "
        "had converged.",
        **op_settings(gpu=True),
        **asset_settings(names=True, kinds=("parquet", "igraph")),
    )
    def refine(
        context: dg.AssetExecutionContext,
        stage_h_input: ExpressionFile,
        leiden_clusters: pd.DataFrame,
        previous: IterationFile,
        project: ProjectResource,
    ):  # with check_specs, an annotation of MaterializeResult would make the output Nothing
        version = str(newest(context, iteration_name(1)).metadata[PLAN_VERSION].value)
        with step() as measured:
            folder, partition = project.open(), parse_key(context.partition_key)
            lineage = previous.read()
            _require_same_clusters(context, lineage, leiden_clusters)
            params = folder.refinement_for(partition)
            rules = _Rules(scored_map(context, folder), params)
            policy = _policy(folder, partition, version)
            done = is_finished(rules, lineage.partition, policy, lineage.records, number)
        if done:
            passed = (previous, lineage, version)
            return _passed_on(context, number, stage_h_input, passed, measured)
        labels = {one.cluster_id: one.label for one in lineage.records[-1].clusters}
        return _refined(context, folder, stage_h_input, lineage, labels, version, ())

    return refine


@dataclass(frozen=True)
class _Rules:
    """Map and parameters of a partition, without its cells."""

    marker_map: MarkerMap
    refinement: RefinementParams


def _plan_in_force(
    context: dg.AssetExecutionContext, project: Project, partition: Partition
) -> tuple[str, tuple[str, ...]]:
    """Version of the live plan when it is well formed, else of the last good one and a warning."""
    try:
        version = observe(context.instance, project, partition, "manual_plan")
    except ConfigError as error:
        last_good = current_version(context.instance, dg.AssetKey("manual_plan"), partition.key)
        if last_good is None:
            raise
        warning = f"The last good manual plan {last_good[:12]} stays in force. {error}"
        context.log.warning(warning)
        return last_good, (warning,)
    return version, ()


def _policy(project: Project, partition: Partition, version: str) -> Policy:
    """Who proposes in the graph, as the project says, and the manual plan."""
    name = project.pipeline_for(partition).refinement_policy
    manual = kept_manual_plan(project, partition, version)
    return Policy(name != "manual", manual, chained=True, two_pass=name == "two-pass")


def _require_same_clusters(
    context: dg.AssetExecutionContext, lineage: Lineage, clusters: pd.DataFrame
) -> None:
    """Refuse an earlier iteration of other clusters than there are now.

    Raises
    ------
    dagster.Failure
        If ``leiden_clusters`` was made again since.
    """
    same = lineage.cell_ids.tolist() == clusters["cell_id"].tolist()
    if not same or lineage.clusters[0].tolist() != clusters["cluster_id"].tolist():
        msg = (
            f"{iteration_name(1)} of {context.partition_key} is of other clusters than "
            "leiden_clusters has now; materialize it first"
        )
        raise dg.Failure(msg, allow_retries=False)


def _refined(
    context: dg.AssetExecutionContext,
    project: Project,
    stage_h_input: ExpressionFile,
    lineage: Lineage,
    labels: Mapping[str, str],
    version: str,
    warnings: tuple[str, ...],
) -> dg.MaterializeResult:
    """Refine once and hand over; ``labels`` are those that the clusters have by what is stored."""
    partition, number = parse_key(context.partition_key), lineage.next_number
    with step("igraph") as measured:
        measured.device = device_for(context, project)
        pipeline = project.pipeline_for(partition)
        marker_map = scored_map(context, project)
        sample = Sample(
            stage_h_input.read(),
            marker_map,
            pipeline.analysis,
            project.refinement_for(partition),
            available_cores(),
        )
        before = opened(sample, lineage).scored
        _require_same_labels(context, before, labels, number)
        policy = _policy(project, partition, version)
        one = next_round(sample, before, policy, lineage.records, number)
        if one is None:
            msg = "an iteration that is not finished made no round"
            raise RuntimeError(msg)
        origin = _origin(context, number)
        record = record_of(sample, before, one, lineage.records, origin)
        after = one.iteration.after
        result = lineage.then(after.partition, record, labels_of_cells(sample, after))
    params = {
        "refinement": sample.refinement.model_dump(mode="json"),
        "refinement_policy": pipeline.refinement_policy,
    }
    metadata = {
        **told(one, before),
        "plan_changes": dg.MetadataValue.json(plan_changes(context, one.iteration.plan)),
        "passthrough": False,
        PLAN_VERSION: version,
        MAP_HASH: marker_map.content_hash,
        "warnings": dg.MetadataValue.json(list(warnings)),
    }
    draw = partial(before_and_after, before, one, sample)
    output = _checked(Output(result, draw, measured, metadata), result, stage_h_input, number)
    return materialized(context, output, Basis(params, {"manual_plan": version}))


def _checked(
    output: Output, lineage: Lineage, stage_h_input: ExpressionFile, number: int
) -> Output:
    """Add the schema and the checks of the clusters of all cells."""
    name, table = iteration_name(number), lineage.table()
    checks = [
        schema_check(name, RefinedClusters, table),
        cells_check(name, table, stage_h_input.cell_ids()),
    ]
    metadata = {**table_metadata(RefinedClusters, table), **output.metadata}
    return replace(output, checks=checks, metadata=metadata)


def _require_same_labels(
    context: dg.AssetExecutionContext, before: Scored, labels: Mapping[str, str], number: int
) -> None:
    """Refuse to go on from labels that the parameters in force would not give.

    Raises
    ------
    dagster.Failure
        If what is stored was made with other parameters.
    """
    if {state.cluster_id: state.label for state in before.states} != dict(labels):
        upstream = "cluster_annotations" if number == 1 else iteration_name(number - 1)
        msg = (
            f"{upstream} of {context.partition_key} was made with other parameters than ctr.yaml "
            "has now; materialize it first"
        )
        raise dg.Failure(msg, allow_retries=False)


def _origin(context: dg.AssetExecutionContext, number: int) -> dict[str, str]:
    """What an iteration was made from, in the words of the graph."""
    parent = "leiden_clusters" if number == 1 else iteration_name(number - 1)
    version = current_version(context.instance, dg.AssetKey(parent), context.partition_key)
    return {
        "parent_file": f"{parent}/{context.partition_key}",
        "parent_sha256": version or "",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _passed_on(
    context: dg.AssetExecutionContext,
    number: int,
    stage_h_input: ExpressionFile,
    passed: tuple[IterationFile, Lineage, str],
    measured: Measured,
) -> dg.MaterializeResult:
    """Point to an iteration that had nothing left to do, with its version.

    Parameters
    ----------
    passed
        The iteration, its content, and the version of the manual plan.
    """
    previous, lineage, version = passed
    before = dg.AssetKey(iteration_name(number - 1))
    known = current_version(context.instance, before, context.partition_key)
    made = newest(context, previous.asset)
    metadata = {
        "picture": made.metadata["picture"],
        MAP_HASH: made.metadata[MAP_HASH],
        "plan": made.metadata["plan"],
        "operations": made.metadata["operations"],
        "warnings": dg.MetadataValue.json([]),
        "passthrough": True,
        "passthrough_of": previous.asset,
        "stop_reason": made.metadata["stop_reason"],
        PLAN_VERSION: version,
    }
    output = Output(PassedOn(previous), None, measured, metadata)
    output = _checked(output, lineage, stage_h_input, number)
    return materialized(context, output, Basis({}, {"manual_plan": version}, known))
