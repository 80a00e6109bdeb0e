"""What people put in: samples, marker maps and manual plans, observed and never written."""

import dagster as dg

from ctr_assets.partitions import PARTITIONS, Partition, parse_key
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource, keep_manual_plan, keep_marker_map
from ctr_assets.unstable import accepted
from ctr_assets.versions import DATA_VERSION_TAG, current_version
from ctr_engine.errors import CtrError, Fault, InputError
from ctr_engine.io.samples import sha256_of

GROUP = "inputs"


def sample_version(project: Project, partition: Partition) -> str:
    """Hash of a sample's content."""
    path = project.sample_path(partition)
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(str(path), [Fault(f"cannot be read: {error.strerror}")]) from None


def marker_map_version(project: Project, partition: Partition) -> str:
    """Hash of what the tissue's map means; a copy of the map is kept under it."""
    return keep_marker_map(project, partition.tissue).content_hash


VERSIONS = {
    "sample": sample_version,
    "marker_map": marker_map_version,
    "manual_plan": keep_manual_plan,
}


def _observed(
    context: dg.OpExecutionContext, project: Project, name: str
) -> dg.DataVersionsByPartition:
    """Versions of all partitions; what cannot be read keeps its last one and is reported."""
    versions = {}
    for key in sorted(context.instance.get_dynamic_partitions(PARTITIONS.name or "")):
        try:
            versions[key] = VERSIONS[name](project, parse_key(key))
        except CtrError as error:
            context.log.warning(f"{name} of {key} keeps its last version: {error}")
    with accepted():  # as observable source assets
        return dg.DataVersionsByPartition(versions)


def _observable(name: str, text: str) -> dg.SourceAsset:
    """Make an input that is observed for every partition, so that identity mapping works."""

    def observe_all(
        context: dg.OpExecutionContext, project: ProjectResource
    ) -> dg.DataVersionsByPartition:
        return _observed(context, project.open(), name)

    with accepted():  # observable source assets are in beta
        return dg.observable_source_asset(
            name=name, partitions_def=PARTITIONS, group_name=GROUP, description=text
        )(observe_all)


sample = _observable("sample", "A sample as it lies in the folder; its version is the file's hash.")
marker_map = _observable(
    "marker_map", "The marker map of the tissue; its version is the hash of what the map means."
)
manual_plan = _observable(
    "manual_plan", "What a person wrote down for refinement; its version is the hash of that."
)


def observe(instance: dg.DagsterInstance, project: Project, partition: Partition, name: str) -> str:
    """Give the version of an input of a partition, and report it when it is a new one.

    Raises
    ------
    CtrError
        If the sample or the map cannot be read; its last version stays in force.
    """
    version, key = VERSIONS[name](project, partition), dg.AssetKey(name)
    if current_version(instance, key, partition.key) != version:
        tags = {DATA_VERSION_TAG: version}
        event = dg.AssetObservation(key, partition=partition.key, tags=tags)
        instance.report_runless_asset_event(event)
    return version


ASSETS = [sample, marker_map, manual_plan]
