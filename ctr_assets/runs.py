"""Runs of one partition from Python: the same jobs, records and checks as a click in the UI."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from shlex import quote
from socket import gethostname
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.events import RunFailureReason

from ctr_assets.assets.inputs import VERSIONS, observe
from ctr_assets.definitions import build_defs
from ctr_assets.partitions import PARTITIONS, Partition
from ctr_assets.project import Project
from ctr_assets.retries import ends_when_interrupted
from ctr_assets.workers import HOST_TAG
from ctr_engine.errors import CtrError
from ctr_engine.io.atomic import write_text

REPOSITORY_TAG, REPOSITORY = ".dagster/repository", "__repository__@ctr"
"""Without this tag a run from Python is missing from the page of its job."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended; ``faults`` holds the text of each step that failed."""

    partition: Partition
    run_id: str
    success: bool
    faults: tuple[str, ...]


def write_instance(project: Project) -> None:
    """Give the project its Dagster instance, unless it has one."""
    target = project.dagster_home / "dagster.yaml"
    if not target.exists():
        ours = files("ctr_assets") / "instance" / "dagster.yaml"
        write_text(target, ours.read_text(encoding="utf-8"))


@contextmanager
def project_instance(project: Project) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance of a project, made when there is none."""
    write_instance(project)
    with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
        yield instance


def register(instance: dg.DagsterInstance, partitions: list[Partition]) -> None:
    """Make partitions known to Dagster."""
    keys = [partition.key for partition in partitions]
    instance.add_dynamic_partitions(PARTITIONS.name or "", keys)


def run_job(
    instance: dg.DagsterInstance,
    project: Project,
    partition: Partition,
    job_name: str,
    on_step: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Observe the inputs of a partition and run a job on it, in this process.

    Parameters
    ----------
    on_step
        Called with the name of each step when it has succeeded.

    Raises
    ------
    KeyboardInterrupt
        If it is interrupted; the run is canceled.
    """
    observe_all(instance, project, partition)

    @dg.success_hook
    def report(context: dg.HookContext) -> None:
        on_step(context.op.name)

    job = build_defs(str(project.root)).resolve_job_def(job_name).with_hooks({report})
    run_id = str(uuid4())
    with _canceled_together(instance, run_id, partition, project), ends_when_interrupted():
        result = job.execute_in_process(
            instance=instance,
            partition_key=partition.key,
            run_id=run_id,
            tags=partition.tags | {REPOSITORY_TAG: REPOSITORY, HOST_TAG: gethostname()},
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            raise_on_error=False,
        )
        if _was_interrupted(result.all_events):
            raise KeyboardInterrupt
    return Outcome(partition, run_id, result.success, _faults(result.all_events))


@contextmanager
def _canceled_together(
    instance: dg.DagsterInstance, run_id: str, partition: Partition, project: Project
) -> Iterator[None]:
    """Cancel a run when its process is interrupted, wherever that meets it, and say so."""
    try:
        yield
    except KeyboardInterrupt:
        run = instance.get_run_by_id(run_id)
        if run is not None:
            instance.report_run_canceled(run, "Interrupted in the terminal.")
        msg = (
            f"interrupted in {partition.key}; what was made before is whole. "
            f"Again with: ctr run {partition.key} --project {quote(str(project.root))}"
        )
        raise KeyboardInterrupt(msg) from None


def _was_interrupted(events: Sequence[dg.DagsterEvent]) -> bool:
    """Whether a run ended with an interrupt of its process that nobody asked Dagster for."""
    ends = (event.job_failure_data for event in events if event.is_job_failure)
    return any(end.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION for end in ends)


def _faults(events: Sequence[dg.DagsterEvent]) -> tuple[str, ...]:
    """Say why a run did not succeed."""
    if any(event.event_type is dg.DagsterEventType.RUN_CANCELED for event in events):
        return ("it was terminated on Dagster's page",)
    faults = [
        f"{event.step_key}: {_text(event.step_failure_data)}"
        for event in events
        if event.is_step_failure
    ]
    return tuple(faults or [event.message or "" for event in events if event.is_failure])


def observe_all(instance: dg.DagsterInstance, project: Project, partition: Partition) -> None:
    """Report new versions before the run starts, for a step that starts later records them.

    An input that cannot be read is left to the step that reads it, which says so in the run.
    """
    for name in VERSIONS:
        with suppress(CtrError):
            observe(instance, project, partition, name)


def n_steps(job_name: str) -> int:
    """Steps of a job, for a progress bar."""
    return len(build_defs().resolve_job_def(job_name).nodes)


def _text(failure: Any) -> str:
    """Our own message where there is one, else that of the error behind the step's failure."""
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "failed without a message"
