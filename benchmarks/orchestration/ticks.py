"""Seconds of one tick of each sensor, of ``ctr status`` and of the UI's status query."""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.orchestration.figures import Figure, figure, timed
from benchmarks.orchestration.laboratory import Size, annotated_project, dispose, edited_map
from benchmarks.orchestration.looks import Automation, reconcile_round, sensor_look, settle, settled
from benchmarks.orchestration.records import PARTITION, Tick, ticks
from benchmarks.orchestration.running import Running, Usage, dagster, until, webserver
from ctr_assets.project import Project
from ctr_assets.requested import unfinished_partitions
from ctr_assets.runs import project_instance
from ctr_assets.sensors.input_edits import input_edits
from ctr_assets.sensors.new_samples import new_samples
from ctr_assets.sensors.reconcile import CHUNK
from ctr_assets.status import statuses

PART = "ticks"
SENSORS = ("annotation_automation", "new_samples", "input_edits", "reconcile")
PATIENCE = 3_600.0
_GRAPH = """{ assetNodes(loadMaterializations: true) {
  assetKey { path }
  partitionStats { numMaterialized numPartitions numFailed numMaterializing } } }"""
_PAGE = """{ assetNodeOrError(assetKey: {path: ["final_annotations"]}) { ... on AssetNode {
  partitionKeys assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions failedPartitions
    unmaterializedPartitions materializingPartitions } } } } }"""


def measure(folder: Path, size: Size, tick: int, usage: Usage, quiet: int = 3) -> list[Figure]:
    """Measure at one number of partitions.

    Parameters
    ----------
    tick
        Time between two looks of each sensor.
    quiet
        Quiet ticks of each sensor that are waited for.
    """
    project = annotated_project(folder / f"ticks-{size.partitions}", size, max_runs=0)
    with project_instance(project) as instance:
        found = list(_Ticks(instance, project, size).all(tick, usage, quiet))
    dispose(project)
    return found


class _Ticks:
    """Figures of one project."""

    def __init__(self, instance: dg.DagsterInstance, project: Project, size: Size) -> None:
        self.instance, self.project = instance, project
        self._size, self._words = size, f"{size.partitions:,} partitions"
        self._automation = Automation(instance, project)

    def all(self, tick: int, usage: Usage, quiet: int) -> Iterator[Figure]:
        """Quiet looks in this process, then the daemon, then looks after an edit."""
        cursors = settled(self.instance, self.project)
        yield from self._quiet_looks(cursors)
        settle(self.project, cursors)
        with webserver(self.project) as running:
            yield from self._pages(running, "")
        with dagster(self.project, usage, tick=tick) as running:
            yield from self._daemon(quiet)
            yield from self._pages(running, ", runs waiting")
        yield from self._edited_looks(cursors)

    def _figure(self, what: str, value: float, note: str = "") -> Figure:
        return figure(PART, what, self._words, value, note=note)

    def _look(self, what: str, function: Callable[[], Any], times: int = 1) -> Iterator[Figure]:
        clock, processor, _ = timed(function, times)
        yield self._figure(f"{what}, clock", clock)
        yield self._figure(f"{what}, processor", processor)

    def _quiet_looks(self, cursors: dict[str, str]) -> Iterator[Figure]:
        instance, project = self.instance, self.project
        yield from self._look("ctr status", partial(statuses, instance, project))
        yield from self._look("automation, first look", self._automation.look)
        yield from self._look("automation, quiet", self._automation.look, 3)
        for sensor in (new_samples, input_edits):
            yield from self._look(
                f"{sensor.name}, quiet",
                partial(sensor_look, instance, project, sensor, cursors[sensor.name]),
                3,
            )
        clock, processor, chunks = timed(partial(reconcile_round, instance, project))
        note = f"{len(chunks)} chunks of {CHUNK}; the sensor takes one in 60 s"
        yield self._figure("reconcile, whole round, clock", clock, note)
        yield self._figure("reconcile, whole round, processor", processor, note)
        yield self._figure("reconcile, one chunk, clock", clock / len(chunks))
        yield self._figure("reconcile, one chunk, processor", processor / len(chunks))

    def _pages(self, running: Running, when: str) -> Iterator[Figure]:
        for name, query in (("graph", _GRAPH), ("partitions of an asset", _PAGE)):
            if not when:
                clock, _, _ = timed(partial(running.graphql, query))
                yield self._figure(f"UI, {name}, first time", clock)
            clock, _, _ = timed(partial(running.graphql, query), 3)
            yield self._figure(f"UI, {name}{when}", clock)

    def _ticks(self, sensor: str, since: float) -> list[Tick]:
        return ticks(self.instance, sensor, since)

    def _has_looked(self, sensor: str, since: float, times: int) -> bool:
        return len(self._ticks(sensor, since)) >= times

    def _daemon(self, quiet: int) -> Iterator[Figure]:
        started = time.time()
        for name in SENSORS:
            until(
                partial(self._has_looked, name, started, quiet + 1),
                f"{name} has looked {quiet + 1} times",
                PATIENCE,
            )
            first, *later = self._ticks(name, started)
            yield self._figure(f"daemon, {name}, first tick", first.seconds)
            seconds = [one.seconds for one in later]
            note = f"median of {len(later)}, the slowest {max(seconds):.2f}"
            yield self._figure(f"daemon, {name}, quiet tick", statistics.median(seconds), note)
        yield from self._daemon_edit()

    def _daemon_edit(self) -> Iterator[Figure]:
        """Edit a tissue; its runs wait, by whichever sensor they were requested."""
        edited, tissue = time.time(), self._size.tissues[-1]
        keys = {one.key for one in self._size.all() if one.tissue == tissue}
        edited_map(self.project, tissue)
        until(lambda: keys <= unfinished_partitions(self.instance), "all runs wait", PATIENCE, 2)
        waiting = time.time()
        until(partial(self._has_looked, SENSORS[0], waiting, 1), "the last tick ended", PATIENCE)
        queued = self._queued(edited)
        first = min(times[0] for times in queued.values())
        last = max(times[0] for times in queued.values())
        twice = sum(len(times) for times in queued.values()) - len(queued)
        yield self._figure("daemon, edit until the first run waits", first - edited)
        yield self._figure("daemon, edit until all its runs wait", last - edited)
        yield figure(PART, "daemon, requested twice", self._words, twice, "runs")
        for look in (one for one in self._ticks(SENSORS[0], edited) if one.runs):
            note = f"{look.runs} runs submitted"
            yield self._figure("daemon, automation, tick after an edit", look.seconds, note)
        reported = max(one.seconds for one in self._ticks("input_edits", edited))
        yield self._figure("daemon, input_edits, tick after an edit", reported)

    def _queued(self, since: float) -> dict[str, list[float]]:
        """When runs of each partition were made since then, in order."""
        wanted = dg.RunsFilter(created_after=datetime.fromtimestamp(since, UTC))
        found: dict[str, list[float]] = {}
        for record in self.instance.get_run_records(wanted, ascending=True):
            tags = record.dagster_run.tags
            if PARTITION in tags:
                made = record.create_timestamp.timestamp()
                found.setdefault(tags[PARTITION], []).append(made)
        return found

    def _edited_looks(self, cursors: dict[str, str]) -> Iterator[Figure]:
        """An edit of another tissue, seen in this process."""
        instance, project = self.instance, self.project
        self._automation.look()
        edited_map(project, self._size.tissues[0])
        yield from self._look(
            "reconcile, chunk after an edit that nobody saw",
            partial(reconcile_round, instance, project),
        )
        cursor = cursors["input_edits"]
        yield from self._look(
            "input_edits, after an edit",
            partial(sensor_look, instance, project, input_edits, cursor),
        )
        yield from self._look("automation, after an edit", self._automation.look)
        yield from self._look("automation, after that", self._automation.look)
