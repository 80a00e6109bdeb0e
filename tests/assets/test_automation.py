"""The condition and a run that goes on while it is asked: nothing that the run makes is made again.

A tick reads what was made at its start, and what is in progress later. ``between`` lets an asset be
made in between.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import (
    AutomationConditionEvaluator,
)
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

from ctr_assets.automation import rebuild_on_change
from ctr_assets.unstable import accepted

PARTS = dg.DynamicPartitionsDefinition(name="tissue__sample")
CHAIN = {
    "stage_h_input": ["sample"],
    "marker_scores": ["stage_h_input", "marker_map"],
    "final_annotations": ["marker_scores"],
    "refined": ["final_annotations"],
}


@dataclass
class Laboratory:
    """A chain whose assets are made when they are let, and the condition over it."""

    instance: dg.DagsterInstance
    monkeypatch: pytest.MonkeyPatch
    gates: dict[str, threading.Event] = field(default_factory=dict)
    version: int = 1
    cursor: object = None

    def __post_init__(self) -> None:
        sources = [self._source(name) for name in ("sample", "marker_map")]
        made = [self._asset(name, deps) for name, deps in CHAIN.items()]
        job = dg.define_asset_job("whole", dg.AssetSelection.assets(*CHAIN))
        self.defs = dg.Definitions([*sources, *made], jobs=[job])

    def _source(self, name: str) -> dg.SourceAsset:
        with accepted():  # observable source assets are in beta
            return dg.observable_source_asset(name=name, partitions_def=PARTS)(lambda: None)

    def _asset(self, name: str, deps: list[str]) -> dg.AssetsDefinition:
        @dg.asset(
            name=name, deps=deps, partitions_def=PARTS, automation_condition=rebuild_on_change()
        )
        def made() -> dg.MaterializeResult:
            if name in self.gates:
                assert self.gates[name].wait(30)
            return dg.MaterializeResult(data_version=dg.DataVersion(f"{name} {self.version}"))

        return made

    def observe(self, name: str, key: str) -> None:
        tags = {"dagster/data_version": str(self.version)}
        self.instance.report_runless_asset_event(
            dg.AssetObservation(name, partition=key, tags=tags)
        )

    def register(self, key: str) -> None:
        self.instance.add_dynamic_partitions("tissue__sample", [key])
        for name in ("sample", "marker_map"):
            self.observe(name, key)

    def run(self, key: str) -> None:
        done = self.defs.resolve_job_def("whole").execute_in_process(
            instance=self.instance, partition_key=key
        )
        assert done.success

    @contextmanager
    def in_flight(self, key: str) -> Iterator[None]:
        """A run whose assets wait to be let."""
        self.gates = {name: threading.Event() for name in CHAIN}
        thread = threading.Thread(target=self.run, args=(key,))
        thread.start()
        self._until(lambda: bool(self.instance.get_runs(dg.RunsFilter(statuses=[STARTED]))))
        try:
            yield
        finally:
            for gate in self.gates.values():
                gate.set()
            thread.join()
            self.gates = {}

    def let(self, name: str, key: str) -> None:
        """Let the run in flight make an asset, and wait until it is recorded."""
        before = self._times(name, key)
        self.gates[name].set()
        self._until(lambda: self._times(name, key) > before)

    def _times(self, name: str, key: str) -> int:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[key])
        return len(self.instance.fetch_materializations(wanted, limit=100).records)

    def _until(self, holds: Callable[[], bool]) -> None:
        for _ in range(600):
            if holds():
                return
            threading.Event().wait(0.05)
        pytest.fail("it never held")

    def tick(self, between: Callable[[], None] = lambda: None) -> set[str]:
        """Ask the conditions; gives what they request."""
        read = AutomationConditionEvaluator.prefetch

        def prefetch(evaluator: AutomationConditionEvaluator) -> None:
            read(evaluator)
            between()

        with self.monkeypatch.context() as patch, accepted():
            patch.setattr(AutomationConditionEvaluator, "prefetch", prefetch)
            # the daemon reads the keys once for a tick; this function, a thousand times
            keys = cache(self.instance.get_dynamic_partitions)
            patch.setattr(self.instance, "get_dynamic_partitions", keys)
            found = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        return {name for name in CHAIN if found.get_num_requested(dg.AssetKey(name))}


STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    # captured logs are ended by an interrupt, which a shell's background job ignores: 30 s a run
    silent = {"module": NoOpComputeLogManager.__module__, "class": NoOpComputeLogManager.__name__}
    with dg.DagsterInstance.local_temp(str(tmp_path), {"compute_logs": silent}) as instance:
        yield Laboratory(instance, monkeypatch)


def settled(laboratory: Laboratory) -> None:
    """Two samples that were annotated, and a tick that saw it."""
    for key in ("liver__A", "liver__B"):
        laboratory.register(key)
        laboratory.run(key)
    laboratory.tick()
    laboratory.tick()


@pytest.mark.parametrize("name", CHAIN)
@pytest.mark.parametrize("ticks", [True, False])
def test_what_a_run_makes_during_a_tick_is_not_made_again(laboratory, name, ticks):
    settled(laboratory)
    laboratory.version = 2
    requested = []
    with laboratory.in_flight("liver__A"):
        laboratory.observe("marker_map", "liver__A")
        for before in list(CHAIN)[: list(CHAIN).index(name)]:
            requested += [laboratory.tick()] if ticks else []
            laboratory.let(before, "liver__A")
        requested += [laboratory.tick()] if ticks else []
        requested += [laboratory.tick(lambda: laboratory.let(name, "liver__A"))]
    requested += [laboratory.tick() for _ in range(3)]
    assert not set().union(*requested), requested


def test_a_sample_whose_run_was_not_created_yet_is_not_requested_again(laboratory):
    settled(laboratory)
    laboratory.register("liver__C")
    assert not laboratory.tick() | laboratory.tick() | laboratory.tick()
    laboratory.run("liver__C")
    assert not laboratory.tick() | laboratory.tick()


def test_a_sample_that_was_replaced_is_left_to_the_run_that_its_sensor_requests(laboratory):
    settled(laboratory)
    laboratory.version = 2
    laboratory.observe("sample", "liver__A")
    assert not laboratory.tick() | laboratory.tick()


def test_an_edit_is_requested_once_with_all_below_it(laboratory):
    settled(laboratory)
    laboratory.version = 2
    laboratory.observe("marker_map", "liver__A")
    requested = [laboratory.tick() for _ in range(4)]
    assert [one for one in requested if one] == [set(CHAIN) - {"stage_h_input"}]


def test_an_edit_after_the_scores_waits_for_the_end_of_the_run(laboratory):
    settled(laboratory)
    laboratory.version = 2
    with laboratory.in_flight("liver__A"):
        laboratory.let("stage_h_input", "liver__A")
        laboratory.let("marker_scores", "liver__A")
        laboratory.tick()
        laboratory.version = 3
        laboratory.observe("marker_map", "liver__A")
        assert not laboratory.tick() | laboratory.tick()
    requested = [laboratory.tick() for _ in range(4)]
    assert [one for one in requested if one] == [set(CHAIN) - {"stage_h_input"}]
