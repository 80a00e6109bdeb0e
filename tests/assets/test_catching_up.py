"""What nobody saw is caught up once, by the smallest job, and never beside somebody who saw it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from ctr_assets import catching_up, requested
from ctr_assets.catching_up import find_behind
from ctr_assets.definitions import build_defs
from ctr_assets.partitions import parse_key
from ctr_assets.requested import being_requested, conditions_have_looked
from ctr_assets.sensors import reconcile as module
from ctr_assets.sensors.new_samples import new_samples
from ctr_assets.sensors.reconcile import reconcile
from ctr_assets.status import statuses
from tests.assets.conftest import LIVER_1, LIVER_2, LUNG_1, Laboratory, make_laboratory
from tests.assets.test_sensors import EDITED, failed_run, look
from tests.assets.test_sensors import requested as requested_by

ALL = {LIVER_1, LIVER_2, LUNG_1}


def caught_up(laboratory: Laboratory, cursor: str | None = None) -> dg.SensorResult:
    """The second of two looks of the sensor."""
    first = look(laboratory, reconcile, cursor)
    assert requested_by(first) == {}
    return look(laboratory, reconcile, first.cursor)


def dropped(laboratory: Laboratory) -> None:
    """All samples as ``new_samples`` leaves them before the daemon makes their runs."""
    cursor = look(laboratory, new_samples).cursor
    assert set(requested_by(look(laboratory, new_samples, cursor))) == ALL


def queued_run(laboratory: Laboratory, key: str) -> dg.DagsterRun:
    job = build_defs(str(laboratory.project.root)).resolve_job_def("annotate_partition")
    return laboratory.instance.create_run_for_job(job, tags={"dagster/partition": key})


def test_what_is_behind_is_requested_by_the_smallest_job(laboratory):
    assert requested_by(caught_up(laboratory)) == {}, "nothing was observed yet"
    assert laboratory.run(LIVER_1).success
    assert requested_by(caught_up(laboratory)) == {}
    plan = laboratory.project.root / "manual" / f"{LIVER_1}.yaml"
    plan.parent.mkdir()
    plan.write_text("skip: [{cluster_id: 1}]")
    assert requested_by(caught_up(laboratory)) == {LIVER_1: "refine_partition"}
    laboratory.map_file("liver").write_text(EDITED)
    assert requested_by(caught_up(laboratory)) == {LIVER_1: "reannotate_from_scores"}
    (laboratory.project.root / "ctr.yaml").write_text("defaults: {clustering: {resolution: 1.0}}")
    assert requested_by(caught_up(laboratory)) == {LIVER_1: "annotate_partition"}
    assert laboratory.run(LIVER_1).success
    assert requested_by(caught_up(laboratory)) == {}


def test_a_sample_that_was_observed_and_never_made_is_requested(laboratory):
    dropped(laboratory)
    assert set(requested_by(caught_up(laboratory))) == ALL


def test_a_sample_that_was_just_dropped_is_left_to_who_saw_it(laboratory):
    """The daemon reports what was observed, and makes the run a second later."""
    dropped(laboratory)
    first = look(laboratory, reconcile)
    assert requested_by(first) == {}
    told = "3 of 3 partitions looked at, 3 of them behind: requested at a later look if nobody"
    assert told in first.skip_reason.skip_message
    for key in (LIVER_1, LUNG_1):
        queued_run(laboratory, key)
    assert set(requested_by(look(laboratory, reconcile, first.cursor))) == {LIVER_2}


def test_what_is_behind_waits_until_the_conditions_had_the_time_to_see_it(laboratory, monkeypatch):
    dropped(laboratory)
    asked, answers = [], iter([False, True])

    def looked(_: dg.DagsterInstance, since: float) -> bool:
        asked.append(since)
        return next(answers)

    monkeypatch.setattr(module, "conditions_have_looked", looked)
    first = look(laboratory, reconcile)
    second = look(laboratory, reconcile, first.cursor)
    assert requested_by(second) == {}
    third = look(laboratory, reconcile, second.cursor)
    assert set(requested_by(third)) == ALL
    assert asked[0] == asked[1], "since the first look"


def test_another_edit_since_the_last_look_is_left_to_who_saw_it(laboratory):
    assert laboratory.run(LIVER_1).success
    laboratory.map_file("liver").write_text(EDITED)
    first = look(laboratory, reconcile)
    laboratory.map_file("liver").write_text(EDITED.replace("CD3", "CD68"))
    second = look(laboratory, reconcile, first.cursor)
    assert requested_by(second) == {}
    third = look(laboratory, reconcile, second.cursor)
    assert set(requested_by(third)) == {LIVER_1}


def test_looks_go_on_after_what_was_behind_was_looked_at_twice(laboratory, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1)
    dropped(laboratory)
    queued_run(laboratory, LIVER_2)
    cursor, asked = None, []
    for _ in range(6):
        result = look(laboratory, reconcile, cursor)
        cursor = result.cursor
        asked.append(set(requested_by(result)))
    nobody: set[str] = set()
    assert asked == [nobody, {LIVER_1}, nobody, nobody, {LUNG_1}, nobody]


@pytest.mark.parametrize(("cursor", "asked"), [("1", {LIVER_2}), ("7", {LIVER_1})])
def test_a_place_that_an_older_version_wrote_is_understood(
    laboratory, monkeypatch, cursor: str, asked: set[str]
):
    monkeypatch.setattr(module, "CHUNK", 1)
    dropped(laboratory)
    assert set(requested_by(caught_up(laboratory, cursor))) == asked


def test_no_look_asks_for_more_than_some(laboratory, monkeypatch):
    monkeypatch.setattr(module, "MOST_REQUESTS", 2)
    dropped(laboratory)
    second = caught_up(laboratory)
    assert set(requested_by(second)) == {LIVER_1, LIVER_2}
    for key in (LIVER_1, LIVER_2):
        queued_run(laboratory, key)
    assert set(requested_by(look(laboratory, reconcile, second.cursor))) == {LUNG_1}


@pytest.mark.parametrize("read", ["recorded", "busy_partitions"])
def test_a_run_that_ends_while_a_look_reads_leaves_nothing_behind(laboratory, monkeypatch, read):
    """Either its partition was busy, or its labels are there."""
    dropped(laboratory)
    run = queued_run(laboratory, LIVER_1)

    def then_it_ends(function: Callable) -> Callable:
        def wrapped(*arguments: object) -> object:
            found = function(*arguments)
            if not laboratory.instance.get_run_by_id(run.run_id).is_finished:
                assert laboratory.run(LIVER_1).success
                laboratory.instance.report_run_canceled(run)
            return found

        return wrapped

    monkeypatch.setattr(catching_up, read, then_it_ends(getattr(catching_up, read)))
    partition = parse_key(LIVER_1)
    assert find_behind(laboratory.instance, laboratory.project, [partition]) == ([], [])
    assert laboratory.instance.get_run_by_id(run.run_id).is_finished


def test_a_failed_run_is_requested_again_after_a_while_and_not_for_ever(laboratory):
    config = laboratory.project.root / "ctr.yaml"
    config.write_text("retries: {most: 1, wait_seconds: 0}\n")
    dropped(laboratory)
    keys = []
    for _ in range(2):
        (one,) = [r for r in caught_up(laboratory).run_requests if r.partition_key == LIVER_1]
        keys.append(one.run_key)
        failed_run(laboratory, {**one.tags, "dagster/partition": LIVER_1})
    assert keys[0] != keys[1], "else Dagster would take them for the same request"
    last = caught_up(laboratory)
    assert LIVER_1 not in requested_by(last)
    config.write_text("retries: {most: 9, wait_seconds: 1000}\n")
    assert LIVER_1 not in requested_by(caught_up(laboratory))


def test_a_run_that_somebody_terminated_is_told_and_the_others_go_on(laboratory, monkeypatch):
    monkeypatch.setattr(module, "MOST_REQUESTS", 1)
    dropped(laboratory)
    (one,) = caught_up(laboratory).run_requests
    job = build_defs(str(laboratory.project.root)).resolve_job_def("annotate_partition")
    tags = {**one.tags, "dagster/partition": LIVER_1, "dagster/run_key": one.run_key}
    run = laboratory.instance.create_run_for_job(job, tags=tags)
    assert one.partition_key == LIVER_1
    laboratory.instance.report_run_canceled(run)
    assert set(requested_by(caught_up(laboratory))) == {LIVER_2}, "Dagster passes over the other"
    for key in (LIVER_2, LUNG_1):
        queued_run(laboratory, key)
    told = f"run {run.run_id[:8]} was canceled; make it with: ctr run {LIVER_1}"
    assert told in caught_up(laboratory).skip_reason.skip_message


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One that keeps ticks."""
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


def tick(
    instance: dg.DagsterInstance,
    name: str,
    status: TickStatus,
    keys: list[str],
    of: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
    age: float = 0.0,
    place: str = "ctr",
) -> None:
    """Newest tick of a sensor, which asks for the runs of some partitions."""
    code = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(), place)
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(code, "__repository__"), name)
    state = InstigatorState(origin, InstigatorType.SENSOR, of, SensorInstigatorData())
    if instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
        instance.add_instigator_state(state)
    instance.create_tick(
        TickData(
            state.instigator_origin_id,
            name,
            InstigatorType.SENSOR,
            status,
            time.time() - age,
            selector_id=state.selector_id,
            run_requests=[dg.RunRequest(partition_key=key) for key in keys],
            run_ids=[],
            run_keys=[],
        )
    )


def test_what_any_sensor_is_asking_for_is_nobody_elses(instance):
    assert being_requested(instance) == set()
    tick(instance, "annotation_automation", TickStatus.STARTED, ["liver__A", "liver__B"])
    tick(instance, "new_samples", TickStatus.STARTED, ["liver__C"])
    assert being_requested(instance) == {"liver__A", "liver__B", "liver__C"}
    tick(instance, "annotation_automation", TickStatus.SUCCESS, ["liver__A", "liver__B"])
    assert being_requested(instance) == {"liver__C"}, "the runs of the others are there now"


def test_a_tick_that_will_never_end_asks_for_nothing(instance):
    tick(instance, "reconcile", TickStatus.STARTED, ["liver__A"], InstigatorStatus.STOPPED)
    tick(instance, "of_an_old_version", TickStatus.STARTED, ["liver__B"], age=requested.LONGEST)
    assert being_requested(instance) == set()


def test_an_instance_without_sensors_asks_for_nothing():
    with dg.DagsterInstance.ephemeral() as without:
        assert being_requested(without) == set()


def test_the_conditions_have_looked_after_three_ticks_that_ended(instance):
    edited = time.time() - 60
    assert conditions_have_looked(instance, edited), "nobody asks them"
    name = "annotation_automation"
    tick(instance, name, TickStatus.SUCCESS, [], age=61)
    for status in (TickStatus.SKIPPED, TickStatus.SUCCESS, TickStatus.STARTED):
        tick(instance, name, status, [])
        tick(instance, "new_samples", TickStatus.SUCCESS, [])
    assert not conditions_have_looked(instance, edited)
    tick(instance, name, TickStatus.SUCCESS, [])
    assert conditions_have_looked(instance, edited)


def test_what_an_installation_that_was_moved_left_behind_is_not_waited_for(instance):
    edited, name = time.time() - 60, "annotation_automation"
    tick(instance, name, TickStatus.SUCCESS, [], age=90, place="where it was")
    for _ in range(3):
        assert not conditions_have_looked(instance, edited)
        tick(instance, name, TickStatus.SUCCESS, [])
    assert conditions_have_looked(instance, edited)


def test_conditions_that_hang_or_are_not_asked_are_not_waited_for(instance):
    tick(instance, "annotation_automation", TickStatus.STARTED, [])
    assert not conditions_have_looked(instance, time.time() - 590)
    assert conditions_have_looked(instance, time.time() - 610)


def test_conditions_that_somebody_switched_off_are_not_waited_for(instance):
    tick(instance, "annotation_automation", TickStatus.STARTED, [], InstigatorStatus.STOPPED)
    assert conditions_have_looked(instance, time.time())


@pytest.mark.parametrize("sensor", ["annotation_automation", "new_samples"])
def test_what_a_sensor_is_asking_for_is_not_behind(tmp_path, instance, sensor):
    """The daemon takes minutes to create the runs of a large tissue."""
    folder = tmp_path / "project"
    folder.mkdir()
    laboratory = make_laboratory(folder, instance)
    assert laboratory.run(LIVER_1).success
    laboratory.map_file("liver").write_text(EDITED)
    partitions = [parse_key(LIVER_1)]
    (one,), _ = find_behind(instance, laboratory.project, partitions)
    assert one.moved == ("marker_map",)
    tick(instance, sensor, TickStatus.STARTED, [LIVER_1])
    assert find_behind(instance, laboratory.project, partitions) == ([], [])
    found, _ = statuses(instance, laboratory.project, "liver")
    assert found[0].state == "running"
