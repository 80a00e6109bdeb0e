"""``new_samples``: a sample that was dropped into the folder, or replaced, is annotated."""

import json
from collections.abc import Mapping

import dagster as dg

from ctr_assets import rejected
from ctr_assets.arrivals import Arrival, Scan, scan
from ctr_assets.assets.inputs import VERSIONS
from ctr_assets.freshness import observed_samples, recorded
from ctr_assets.jobs import annotate_partition
from ctr_assets.partitions import PARTITIONS, Partition
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource
from ctr_assets.sensors import seconds
from ctr_assets.versions import DATA_VERSION_TAG
from ctr_engine.errors import CtrError

MOST_SAMPLES = 20
"""Samples that one look takes; they are read to the last byte."""


def _new_samples(context: dg.SensorEvaluationContext, project: ProjectResource) -> dg.SensorResult:
    folder = project.open()
    state = json.loads(context.cursor) if context.cursor else {"seen": {}, "taken": {}}
    found = scan(folder, state["seen"], state["taken"], MOST_SAMPLES)
    for name, reason in found.rejected.items():
        context.log.warning(f"{name} was rejected: {reason}")
    events: list[dg.AssetObservation | dg.AssetMaterialization] = []
    requests = []
    for arrival in found.ready:
        observations, request = _taken(context.instance, folder, arrival)
        events += observations
        requests += [request] if request is not None else []
    table = rejected.update(folder, found.rejected, _still_rejected(folder, found))
    events += [table] if table is not None else []
    keys = [arrival.partition.key for arrival in found.ready]
    known = set(context.instance.get_dynamic_partitions(PARTITIONS.name or ""))
    new = [key for key in keys if key not in known]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[PARTITIONS.build_add_request(new)] if new else [],
        asset_events=events,
        cursor=_cursor(folder, found, state["taken"]),
        skip_reason=None if requests else dg.SkipReason(_summary(found)),
    )


new_samples = dg.SensorDefinition(
    name="new_samples",
    evaluation_fn=_new_samples,
    job=annotate_partition,
    minimum_interval_seconds=seconds(30),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers samples that are whole, and annotates them; says why others are not.",
)


def _taken(
    instance: dg.DagsterInstance, project: Project, arrival: Arrival
) -> tuple[list[dg.AssetObservation], dg.RunRequest | None]:
    """Observe the inputs of a sample and request its run, unless its labels are there already."""
    partition = arrival.partition
    if not project.pipeline_for(partition).automation:
        return [], None
    versions = _versions(project, partition)
    if "sample" not in versions or _has_labels(instance, partition, versions["sample"]):
        return [], None
    events = [observation(name, partition, version) for name, version in versions.items()]
    wanted = versions["sample"]
    request = dg.RunRequest(
        run_key=f"{partition.key}:{wanted[:16]}:{arrival.signature}",
        partition_key=partition.key,
        tags={**partition.tags, "ctr/trigger": "new_sample"},
    )
    return events, request


def observation(name: str, partition: Partition, version: str) -> dg.AssetObservation:
    """Event that an input of a partition has a version."""
    tags = {DATA_VERSION_TAG: version}
    return dg.AssetObservation(dg.AssetKey(name), partition=partition.key, tags=tags)


def _versions(project: Project, partition: Partition) -> dict[str, str]:
    """Versions of the inputs that can be read; the run says what is wrong with the others."""
    found = {}
    for name, version_of in VERSIONS.items():
        try:
            found[name] = version_of(project, partition)
        except CtrError:
            continue
    return found


def _has_labels(instance: dg.DagsterInstance, partition: Partition, version: str) -> bool:
    """Whether this very content was annotated before, by hand or before the daemon started."""
    labels = recorded(instance, [partition.key])
    known = observed_samples(instance, [partition.key])
    if partition.key not in labels or partition.key not in known:
        return False
    basis = labels[partition.key].basis
    return known[partition.key] == version and "sample" in basis and basis["sample"] == version


def _still_rejected(project: Project, found: Scan) -> set[str]:
    """Files that were rejected before, lie there as they did, and were not taken now."""
    root = project.root / project.config.samples_dir
    taken = {arrival.path.relative_to(root).as_posix() for arrival in found.ready}
    before = set(rejected.rejected_samples(project)["file"])
    return {name for name in before if name in found.signatures and name not in taken}


def _cursor(project: Project, found: Scan, taken: Mapping[str, str]) -> str:
    root = project.root / project.config.samples_dir
    kept = {name: sign for name, sign in taken.items() if name in found.signatures}
    for arrival in found.ready:
        kept[arrival.path.relative_to(root).as_posix()] = arrival.signature
    for name in found.rejected:
        kept[name] = found.signatures[name]
    open_ = {name: sign for name, sign in found.signatures.items() if kept.get(name) != sign}
    return json.dumps({"seen": open_, "taken": kept}, sort_keys=True)


def _summary(found: Scan) -> str:
    """Say why nothing was requested."""
    parts = [f"{name} rejected: {reason}" for name, reason in found.rejected.items()]
    parts += [f"{name} may still be copied" for name in found.growing]
    return "; ".join(parts) or f"no new sample among {len(found.signatures)}"
