"""Throughput of a backfill, by executor and by the number of runs at a time."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from benchmarks.orchestration.edit import phase_figures, processor_figures
from benchmarks.orchestration.figures import Figure, figure
from benchmarks.orchestration.laboratory import Size, dispose, make_project
from benchmarks.orchestration.looks import settle, settled
from benchmarks.orchestration.records import courses
from benchmarks.orchestration.running import Usage, dagster, until, workers
from ctr_assets.backfill import request_backfill
from ctr_assets.jobs import ANNOTATE_PARTITION
from ctr_assets.runs import project_instance, register

PART = "backfill"
PATIENCE = 7_200.0


def measure(
    folder: Path, size: Size, executors: Sequence[str], runs: Sequence[int], usage: Usage
) -> list[Figure]:
    """Annotate new samples by each executor and with each number of runs at a time."""
    return [
        one
        for executor in executors
        for max_runs in runs
        for one in _measured(folder, size, executor, max_runs, usage)
    ]


def _measured(
    folder: Path, size: Size, executor: str, max_runs: int, usage: Usage
) -> Iterator[Figure]:
    project = make_project(folder / f"backfill-{executor}-{max_runs}", size, max_runs)
    partitions = size.all()
    words = f"{len(partitions)} x {size.cells:,} cells, {executor}, {max_runs} at a time"
    with project_instance(project) as instance:
        register(instance, partitions)
        settle(project, settled(instance, project))
        with workers(project, executor), dagster(project, usage, executor):
            asked, before = time.time(), usage.processor()
            request_backfill(project, partitions, ANNOTATE_PARTITION)
            until(lambda: _finished(instance) >= len(partitions), "all are made", PATIENCE, 2)
        made = courses(instance, asked)
        failed = len(partitions) - sum(one.success for one in made)
        if failed:
            msg = f"{failed} of {len(partitions)} runs failed; see {project.dagster_home}"
            raise RuntimeError(msg)
        seconds = max(one.ended for one in made) - min(one.dequeued for one in made)
        yield figure(PART, "per partition", words, seconds / len(made))
        yield from phase_figures(PART, made, words)
        yield from processor_figures(PART, before, usage.processor(), len(made), words)
    dispose(project)


def _finished(instance: dg.DagsterInstance) -> int:
    done = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    return instance.get_runs_count(dg.RunsFilter(statuses=done))
