"""Partitions whose labels do not follow from what lies in the project, and runs that make them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from ctr_assets.freshness import Wanted, differences, in_words, observed_samples, recorded
from ctr_assets.jobs import annotate_partition, reannotate_from_scores, refine_partition
from ctr_assets.partitions import Partition
from ctr_assets.project import Project, Retries
from ctr_assets.requested import busy_partitions
from ctr_assets.versions import digest

WANTED_TAG = "ctr/wanted"
"""Hash of what a run was to make fresh; its failures are counted by it."""
_RUN_KEY_TAG = "dagster/run_key"
_FROM_SCORES, _FROM_PLAN = {"marker_map", "manual_plan"}, {"manual_plan"}


@dataclass(frozen=True)
class Behind:
    """A partition that is behind, and that nobody is working on.

    Attributes
    ----------
    partition
        Which one.
    moved
        Names of what moved since its labels were made.
    storage_id
        Number of the record of these labels; 0 where there are none.
    target
        Hash of what the labels are to be made from.
    """

    partition: Partition
    moved: tuple[str, ...]
    storage_id: int
    target: str

    @property
    def mark(self) -> str:
        """Tell the same labels with the same target from all others."""
        return f"{self.partition.key}:{self.storage_id}:{self.target}"


def find_behind(
    instance: dg.DagsterInstance, project: Project, partitions: Sequence[Partition]
) -> tuple[list[Behind], list[str]]:
    """Find which of some partitions are behind, and say which files could not be read."""
    watched = [one for one in partitions if project.pipeline_for(one).automation]
    keys = [one.key for one in watched]
    busy = busy_partitions(instance)
    labels, samples = recorded(instance, keys), observed_samples(instance, keys)
    wanted = Wanted(project)
    found = []
    for one in watched:
        if one.key in busy or one.key not in samples:
            continue
        basis = wanted.basis(one, samples[one.key])
        made = labels[one.key] if one.key in labels else None
        moved = differences(basis, made)
        if moved:
            number = 0 if made is None else made.storage_id
            found.append(Behind(one, moved, number, digest(basis)[:16]))
    return found, list(wanted.faults.values())


def requests_for(
    instance: dg.DagsterInstance, project: Project, behind: Sequence[Behind], most: int
) -> tuple[list[dg.RunRequest], list[str]]:
    """Request what is behind, at most some, and say what is waited for or given up."""
    requests: list[dg.RunRequest] = []
    notes: list[str] = []
    for one in behind:
        if len(requests) >= most:
            break
        attempt, wait = _attempts(instance, one, project.config.retries)
        run_key = f"{one.mark}:{attempt}"
        wait = wait or _given_up(instance, one, run_key)
        if wait is not None:
            notes.append(f"{one.partition.key}: {in_words(one.moved)}; {wait}")
            continue
        tags = {"ctr/trigger": "reconcile", WANTED_TAG: one.target}
        requests.append(
            dg.RunRequest(
                run_key=run_key,
                partition_key=one.partition.key,
                job_name=job_for(one.moved),
                tags={**one.partition.tags, **tags},
            )
        )
    return requests, notes


def job_for(names: Sequence[str]) -> str:
    """Job that makes no more than what moved."""
    if set(names) <= _FROM_PLAN:
        return refine_partition.name
    return (reannotate_from_scores if set(names) <= _FROM_SCORES else annotate_partition).name


def _attempts(
    instance: dg.DagsterInstance, behind: Behind, retries: Retries
) -> tuple[int, str | None]:
    """Number of the next attempt, and why it is not made now."""
    tags = {"dagster/partition": behind.partition.key, WANTED_TAG: behind.target}
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


def _given_up(instance: dg.DagsterInstance, behind: Behind, run_key: str) -> str | None:
    """Say which run had the key of a request, for Dagster passes over a key that it knows.

    Such a run did not fail, and its labels are not there: somebody terminated it.
    """
    runs = instance.get_runs(dg.RunsFilter(tags={_RUN_KEY_TAG: run_key}), limit=1)
    if not runs:
        return None
    how = f"run {runs[0].run_id[:8]} was {runs[0].status.value.lower()}"
    return f"{how}; make it with: ctr run {behind.partition.key}"
