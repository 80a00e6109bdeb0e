"""``reconcile``: what is behind although nobody noticed is requested again, with back-off.

Conditions see edges: an edit in the middle of a run, or a killed daemon, is lost to them.
"""

import json
import time
from collections.abc import Sequence

import dagster as dg

from ctr_assets.automation import being_requested
from ctr_assets.freshness import (
    Wanted,
    differences,
    foreign_keys,
    in_words,
    observed_samples,
    recorded,
    registered,
    unfinished_partitions,
)
from ctr_assets.jobs import annotate_partition, reannotate_from_scores, refine_partition
from ctr_assets.partition_counts import count_again
from ctr_assets.partitions import Partition
from ctr_assets.project import Project, Retries
from ctr_assets.resources import ProjectResource
from ctr_assets.sensors import seconds
from ctr_assets.versions import digest

CHUNK, MOST_REQUESTS = 500, 20
WANTED_TAG = "ctr/wanted"
"""Hash of what a run was to make fresh; its failures are counted by it."""
_FROM_SCORES, _FROM_PLAN = {"marker_map", "manual_plan"}, {"manual_plan"}


def job_for(names: Sequence[str]) -> str:
    """Job that makes no more than what moved."""
    if set(names) <= _FROM_PLAN:
        return refine_partition.name
    return (reannotate_from_scores if set(names) <= _FROM_SCORES else annotate_partition).name


def _reconcile(context: dg.SensorEvaluationContext, project: ProjectResource) -> dg.SensorResult:
    folder = project.open()
    known = registered(context.instance)
    start = int(context.cursor or 0)
    chunk = known[start : start + CHUNK] or known[:CHUNK]
    start = start if start < len(known) else 0
    requests, notes = requests_for(context.instance, folder, chunk)
    notes += foreign_keys(context.instance) + _counted_again(context)
    for note in notes:
        context.log.warning(note)
    following = start + CHUNK if start + CHUNK < len(known) else 0
    full = len(requests) >= MOST_REQUESTS
    looked = f"{len(chunk)} of {len(known)} partitions looked at"
    return dg.SensorResult(
        run_requests=requests,
        cursor=json.dumps(start if full else following),
        skip_reason=None if requests else dg.SkipReason("; ".join([looked, *notes])),
    )


def _counted_again(context: dg.SensorEvaluationContext) -> list[str]:
    """Correct what Dagster counts as made, and say of which assets."""
    if context.repository_def is None:
        return []
    assets = context.repository_def.assets_defs_by_key
    partitioned = {key: one.partitions_def for key, one in assets.items() if one.partitions_def}
    wrong = count_again(context.instance, partitioned)
    return [f"made partitions of {key.to_user_string()} are counted again" for key in wrong]


reconcile = dg.SensorDefinition(
    name="reconcile",
    evaluation_fn=_reconcile,
    jobs=[annotate_partition, reannotate_from_scores, refine_partition],
    minimum_interval_seconds=seconds(120),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Finds labels that do not follow from what lies in the project, and requests them.",
)


def requests_for(
    instance: dg.DagsterInstance,
    project: Project,
    partitions: Sequence[Partition],
    most: int = MOST_REQUESTS,
) -> tuple[list[dg.RunRequest], list[str]]:
    """Request what is behind among some partitions, and say what is waited for or given up."""
    watched = [one for one in partitions if project.pipeline_for(one).automation]
    keys = [one.key for one in watched]
    labels, samples = recorded(instance, keys), observed_samples(instance, keys)
    busy = unfinished_partitions(instance) | being_requested(instance)
    wanted = Wanted(project)
    requests: list[dg.RunRequest] = []
    notes: list[str] = []
    for one in watched:
        if len(requests) >= most:
            break
        if one.key in busy or one.key not in samples:
            continue
        basis = wanted.basis(one, samples[one.key])
        found = labels[one.key] if one.key in labels else None
        moved = differences(basis, found)
        if not moved:
            continue
        target = digest(basis)[:16]
        attempt, wait = _attempts(instance, one, target, project.config.retries)
        if wait is not None:
            notes.append(f"{one.key}: {in_words(moved)}; {wait}")
            continue
        number = 0 if found is None else found.storage_id
        requests.append(
            dg.RunRequest(
                run_key=f"{one.key}:{number}:{target}:{attempt}",
                partition_key=one.key,
                job_name=job_for(moved),
                tags={**one.tags, "ctr/trigger": "reconcile", WANTED_TAG: target},
            )
        )
    return requests, [*notes, *wanted.faults.values()]


def _attempts(
    instance: dg.DagsterInstance, partition: Partition, target: str, retries: Retries
) -> tuple[int, str | None]:
    """Number of the next attempt, and why it is not made now."""
    tags = {"dagster/partition": partition.key, WANTED_TAG: target}
    failed = instance.get_run_records(
        dg.RunsFilter(tags=tags, statuses=[dg.DagsterRunStatus.FAILURE]), limit=retries.most + 1
    )
    attempt = len(failed)
    if attempt > retries.most:
        return attempt, f"given up after {attempt} failed runs; see the last of them"
    if attempt:
        last = max(record.end_time or record.update_timestamp.timestamp() for record in failed)
        left = last + retries.wait_seconds * 2 ** (attempt - 1) - time.time()
        if left > 0:
            return attempt, f"failed {attempt} times, again in {left:.0f} s"
    return attempt, None
