"""One edit of a marker map, until the last label of its tissue is in force."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg

from benchmarks.orchestration.figures import Figure, figure
from benchmarks.orchestration.laboratory import Size, annotated_project, dispose, edited_map
from benchmarks.orchestration.looks import settle, settled
from benchmarks.orchestration.records import PHASES, Course, courses, ticks
from benchmarks.orchestration.running import Usage, dagster, until
from ctr_assets.freshness import FINAL, newest_events, recorded
from ctr_assets.requested import UNFINISHED
from ctr_assets.runs import project_instance

PART = "edit"
PATIENCE = 7_200.0


def measure(
    folder: Path, size: Size, executor: str, tick: int | None, usage: Usage, max_runs: int = 2
) -> list[Figure]:
    """Edit the map of a tissue whose partitions are all annotated.

    ``tick`` is the time between two looks of each sensor; None for the product's.
    """
    project = annotated_project(folder / f"edit-{executor}", size, max_runs, files=True)
    keys = [one.key for one in size.all()]
    words = f"{len(keys)} partitions of {size.cells:,} cells, {executor}"
    with project_instance(project) as instance:
        settle(project, settled(instance, project))
        with dagster(project, usage, executor, tick) as _:
            began = time.time()
            until(
                lambda: bool(ticks(instance, "annotation_automation", began)),
                "the conditions were asked once",
                PATIENCE,
            )
            edited = time.time()
            wanted = edited_map(project, size.tissues[0])
            before = usage.processor()
            until(lambda: _in_force(instance, keys, wanted), "all labels are in force", PATIENCE, 3)
        found = list(_figures(instance, keys, edited, words))
        found += processor_figures(PART, before, usage.processor(), len(keys), words)
    dispose(project)
    return found


def _in_force(instance: dg.DagsterInstance, keys: Sequence[str], wanted: str) -> bool:
    unfinished = dg.RunsFilter(statuses=list(UNFINISHED))
    if instance.get_runs_count(unfinished):
        return False
    labels = recorded(instance, keys)
    return all(labels[key].basis["marker_map"] == wanted for key in keys)


def _figures(
    instance: dg.DagsterInstance, keys: Sequence[str], edited: float, words: str
) -> Iterator[Figure]:
    events = newest_events(instance, FINAL, keys, dg.DagsterEventType.ASSET_MATERIALIZATION)
    seconds = max(event.timestamp for event in events.values()) - edited
    runs = courses(instance, edited)
    failed = sum(not one.success for one in runs)
    note = f"{len(runs)} runs, {failed} failed, {len(runs) - len(keys)} more than partitions"
    yield figure(PART, "edit until the last label is in force", words, seconds, note=note)
    yield figure(PART, "per partition", words, seconds / len(keys))
    first = min(one.queued for one in runs) - edited
    yield figure(PART, "edit until the first run is queued", words, first)
    last = max(one.queued for one in runs) - edited
    yield figure(PART, "edit until the last run is queued", words, last)
    yield from phase_figures(PART, runs, words)


def phase_figures(part: str, runs: Sequence[Course], words: str) -> Iterator[Figure]:
    """Give the median seconds of each phase of a run."""
    for phase in PHASES:
        median = statistics.median(one.phases()[phase] for one in runs)
        yield figure(part, f"a run {phase}" if phase != "first step" else phase, words, median)
    inside = statistics.median(one.inside for one in runs)
    yield figure(part, "of the steps, in the engine", words, inside)
    blocked = statistics.mean(one.blocked for one in runs)
    yield figure(part, "of the steps, waiting for a pool, mean", words, blocked)


def processor_figures(
    part: str, before: Mapping[str, float], after: Mapping[str, float], number: int, words: str
) -> Iterator[Figure]:
    """Give the seconds of the processor per partition, which the load of the machine moves less.

    ``number`` is that of the partitions.
    """
    spent = {
        role: (seconds - (before[role] if role in before else 0.0)) / number
        for role, seconds in after.items()
    }
    for role, seconds in sorted(spent.items()):
        yield figure(part, f"processor per partition: {role}", words, seconds)
    least = sum(spent.values()) / 2
    note = "all processor seconds over 2 cores"
    yield figure(part, "least seconds per partition on 2 free cores", words, least, note=note)
