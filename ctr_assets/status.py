"""What is there, fresh, behind or failed, partition by partition, and why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import dagster as dg

from ctr_assets.freshness import (
    Wanted,
    differences,
    foreign_keys,
    in_words,
    observed_samples,
    recorded,
    registered,
)
from ctr_assets.partitions import Partition, is_key, parse_key
from ctr_assets.project import Project
from ctr_assets.requested import busy_partitions

State = Literal["fresh", "behind", "running", "failed", "new"]
_MOST_FAILURES = 500


@dataclass(frozen=True)
class Status:
    """State of a partition.

    ``new``: its sample lies in the folder, and nobody has observed it. ``why`` is empty when fresh.
    """

    partition: str
    state: State
    why: str

    def as_row(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def statuses(
    instance: dg.DagsterInstance, project: Project, tissue: str | None = None
) -> tuple[list[Status], list[str]]:
    """Look at every sample of a project, or of a tissue.

    Returns
    -------
    A state for each, in order of the key, and what could not be read.
    """
    there = project.sample_keys()
    known = {*registered(instance), *(parse_key(key) for key in there if is_key(key))}
    chosen = sorted(one for one in known if tissue is None or one.tissue == tissue)
    keys = [one.key for one in chosen]
    busy = busy_partitions(instance)
    labels, samples = recorded(instance, keys), observed_samples(instance, keys)
    failed, wanted = _failures(instance), Wanted(project)
    found = []
    for one in chosen:
        if one.key not in samples:
            found.append(Status(one.key, "new", "its sample was not observed yet"))
            continue
        record = labels[one.key] if one.key in labels else None
        moved = differences(wanted.basis(one, samples[one.key]), record)
        found.append(_state(one, moved, busy, failed))
    nameless = [
        f"{key!r} is no partition key, so this sample is not looked at; rename its file or folder"
        for key in there
        if not is_key(key)
    ]
    return found, [*wanted.faults.values(), *foreign_keys(instance), *nameless]


def _state(one: Partition, moved: Sequence[str], busy: set[str], failed: dict[str, str]) -> Status:
    if one.key in busy:
        return Status(one.key, "running", in_words(moved))
    if not moved:
        return Status(one.key, "fresh", "")
    if one.key in failed:
        return Status(one.key, "failed", f"{in_words(moved)}; run {failed[one.key][:8]} failed")
    return Status(one.key, "behind", in_words(moved))


def _failures(instance: dg.DagsterInstance) -> dict[str, str]:
    """Newest run of each partition, where it failed."""
    newest: dict[str, tuple[str, dg.DagsterRunStatus]] = {}
    for record in instance.get_run_records(limit=_MOST_FAILURES):
        tags = record.dagster_run.tags
        if "dagster/partition" in tags and tags["dagster/partition"] not in newest:
            run = record.dagster_run
            newest[tags["dagster/partition"]] = (run.run_id, run.status)
    failure = dg.DagsterRunStatus.FAILURE
    return {key: run_id for key, (run_id, status) in newest.items() if status is failure}
