"""What looks after a project, on a real instance: arrivals, edits, what was lost."""

import json
import os
import subprocess
import sys
import time
from socket import gethostname

import dagster as dg
import pytest

from ctr_assets import rejected
from ctr_assets.arrivals import scan
from ctr_assets.definitions import build_defs
from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_assets.sensors import lost_runs
from ctr_assets.sensors.input_edits import input_edits
from ctr_assets.sensors.lost_runs import fail_lost_runs
from ctr_assets.sensors.new_samples import new_samples
from ctr_assets.sensors.reconcile import reconcile
from ctr_assets.workers import is_alive
from tests.assets.conftest import LIVER_1, LIVER_2, LUNG_1, Laboratory
from tests.bad_inputs import GOOD_MAP, good_sample

EDITED = GOOD_MAP.replace('"CD20"', '"CD20", "CD3"')


def look(laboratory: Laboratory, sensor: dg.SensorDefinition, cursor: str | None = None):
    """One tick of a sensor; what it observed is reported, as the daemon does."""
    root = str(laboratory.project.root)
    context = dg.build_sensor_context(
        instance=laboratory.instance,
        cursor=cursor,
        definitions=build_defs(root),
        resources={"project": build_defs(root).resources["project"]},
    )
    result = sensor(context)
    for event in result.asset_events:
        laboratory.instance.report_runless_asset_event(event)
    for request in result.dynamic_partitions_requests or ():
        laboratory.instance.add_dynamic_partitions(
            request.partitions_def_name, list(request.partition_keys)
        )
    return result


def requested(result) -> dict[str, str]:
    return {one.partition_key: one.job_name or "" for one in result.run_requests or ()}


def observed(result) -> set[tuple[str, str]]:
    return {
        (event.asset_key.to_user_string(), event.partition)
        for event in result.asset_events
        if isinstance(event, dg.AssetObservation)
    }


def test_a_sample_is_taken_when_it_has_not_moved_between_two_looks(laboratory):
    first = look(laboratory, new_samples)
    assert requested(first) == {}
    assert "may still be copied" in first.skip_reason.skip_message
    path = laboratory.project.sample_path(parse_key(LIVER_2))
    os.utime(path, ns=(1, 1))
    second = look(laboratory, new_samples, first.cursor)
    assert set(requested(second)) == {LIVER_1, LUNG_1}
    inputs = ("sample", "marker_map", "manual_plan")
    assert observed(second) == {(name, key) for name in inputs for key in (LIVER_1, LUNG_1)}
    third = look(laboratory, new_samples, second.cursor)
    assert set(requested(third)) == {LIVER_2}
    assert requested(look(laboratory, new_samples, third.cursor)) == {}
    tags = second.run_requests[0].tags
    assert (tags["ctr/tissue"], tags["ctr/trigger"]) == ("liver", "new_sample")


def test_a_sample_with_its_done_is_taken_at_once_and_registered(laboratory):
    folder = laboratory.project.root / "samples" / "liver"
    good_sample(seed=5).write_h5ad(folder / "S9.h5ad")
    (folder / "S9.done").touch()
    result = look(laboratory, new_samples)
    assert set(requested(result)) == {"liver__S9"}
    assert "liver__S9" in laboratory.instance.get_dynamic_partitions("tissue__sample")


def test_a_sample_that_is_replaced_is_requested_again_also_by_an_older_content(laboratory):
    path = laboratory.project.sample_path(parse_key(LIVER_1))
    done, old = path.with_suffix(".done"), path.read_bytes()
    done.touch()
    keys, cursor = [], None
    for content in (old, good_sample(seed=9), old):
        path.write_bytes(content) if isinstance(content, bytes) else content.write_h5ad(path)
        result = look(laboratory, new_samples, cursor)
        cursor = result.cursor
        keys += [one.run_key for one in result.run_requests if one.partition_key == LIVER_1]
    assert len(set(keys)) == 3


def test_what_was_annotated_by_hand_is_not_annotated_again(laboratory):
    assert laboratory.run(LIVER_1).success
    laboratory.project.sample_path(parse_key(LIVER_1)).with_suffix(".done").touch()
    assert LIVER_1 not in requested(look(laboratory, new_samples))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bad name.h5ad", "is no partition key"),
        ("broken.h5ad", "is not an AnnData file"),
        ("S1.zarr", "both exist; keep one"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_its_reason(laboratory, name, reason):
    path = laboratory.project.root / "samples" / "liver" / name
    if path.suffix == ".zarr":
        path.mkdir()
    else:
        path.write_text("no sample")
    path.with_suffix(".done").touch()
    result = look(laboratory, new_samples)
    assert f"liver/{name}" not in str(requested(result))
    table = rejected.rejected_samples(laboratory.project).set_index("file")["reason"]
    assert reason in table[f"liver/{name}"]
    assert any(event.asset_key == rejected.KEY for event in result.asset_events)
    again = look(laboratory, new_samples, result.cursor)
    assert all(event.asset_key != rejected.KEY for event in again.asset_events), "told once"
    path.rmdir() if path.is_dir() else path.unlink()
    look(laboratory, new_samples, again.cursor)
    assert f"liver/{name}" not in set(rejected.rejected_samples(laboratory.project)["file"])


def test_one_look_takes_no_more_than_it_can_read(laboratory):
    for path in (laboratory.project.root / "samples").glob("*/*.h5ad"):
        path.with_suffix(".done").touch()
    found = scan(laboratory.project, {}, {}, most=2)
    assert len(found.ready) == 2
    taken = {f"{a.partition.tissue}/{a.partition.sample}.h5ad": a.signature for a in found.ready}
    assert len(scan(laboratory.project, {}, taken, most=2).ready) == 1


def test_an_edit_of_a_map_is_observed_by_the_partitions_of_its_tissue(laboratory):
    first = look(laboratory, input_edits)
    assert observed(first) == {("marker_map", key) for key in (LIVER_1, LIVER_2, LUNG_1)}
    assert observed(look(laboratory, input_edits, first.cursor)) == set()
    laboratory.map_file("liver").write_text(EDITED)
    second = look(laboratory, input_edits, first.cursor)
    assert observed(second) == {("marker_map", LIVER_1), ("marker_map", LIVER_2)}
    laboratory.map_file("liver").write_text(GOOD_MAP)
    reverted = look(laboratory, input_edits, second.cursor)
    assert observed(reverted) == {("marker_map", LIVER_1), ("marker_map", LIVER_2)}


@pytest.mark.parametrize("text", [GOOD_MAP.replace("\n", "\n\n"), GOOD_MAP[:-9]])
def test_white_space_and_an_invalid_map_are_no_edit(laboratory, text):
    first = look(laboratory, input_edits)
    laboratory.map_file("liver").write_text(text)
    second = look(laboratory, input_edits, first.cursor)
    assert observed(second) == set()
    is_invalid = len(text) < len(GOOD_MAP)
    told = second.skip_reason.skip_message
    assert ("The last good marker map of liver stays in force" in told) is is_invalid


def test_a_manual_plan_is_observed_by_its_partition_when_it_comes_moves_and_goes(laboratory):
    cursor = look(laboratory, input_edits).cursor
    plan = laboratory.project.root / "manual" / f"{LIVER_1}.yaml"
    plan.parent.mkdir()
    for text in ("skip: [{cluster_id: 1}]", "skip: [{cluster_id: 2}]", None):
        plan.unlink() if text is None else plan.write_text(text)
        result = look(laboratory, input_edits, cursor)
        assert observed(result) == {("manual_plan", LIVER_1)}
        assert observed(look(laboratory, input_edits, result.cursor)) == set()
        cursor = result.cursor
    (event,) = result.asset_events
    assert event.tags["dagster/data_version"] == "none"


def test_a_tissue_without_automation_is_registered_and_left_alone(laboratory):
    (laboratory.project.root / "ctr.yaml").write_text("tissues: {liver: {automation: false}}\n")
    laboratory.project = load_project(laboratory.project.root)
    cursor = look(laboratory, new_samples).cursor
    assert set(requested(look(laboratory, new_samples, cursor))) == {LUNG_1}
    assert observed(look(laboratory, input_edits)) == {("marker_map", LUNG_1)}
    first = look(laboratory, reconcile)
    assert set(requested(look(laboratory, reconcile, first.cursor))) == {LUNG_1}


def failed_run(laboratory: Laboratory, tags: dict[str, str]) -> None:
    job = build_defs(str(laboratory.project.root)).resolve_job_def("annotate_partition")
    run = laboratory.instance.create_run_for_job(job, tags=tags)
    laboratory.instance.report_run_failed(run)


def grpc_info(host: str) -> dict[str, str]:
    """Tag of a run that a daemon launched through a code server."""
    return {".dagster/grpc_info": json.dumps({"host": host, "socket": "s"})}


HERE, ELSEWHERE = {"ctr/host": gethostname()}, {"ctr/host": "another"}


@pytest.fixture
def gone() -> int:
    """Number of a process that was."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def started_run(laboratory: Laboratory, instance: dg.DagsterInstance, pid: int, tags) -> str:
    """A run that a process said to have begun."""
    job = build_defs(str(laboratory.project.root)).resolve_job_def("annotate_partition")
    run = instance.create_run_for_job(job, tags={"dagster/partition": LIVER_1} | tags)
    instance.report_engine_event(f"Started process for run (pid: {pid}).", run)
    instance.handle_new_event(
        dg.EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id=run.run_id,
            timestamp=time.time(),
            dagster_event=dg.DagsterEvent(
                dg.DagsterEventType.RUN_START.value, run.job_name, message="started"
            ),
        )
    )
    return run.run_id


@pytest.mark.parametrize("tags", [HERE, grpc_info("localhost"), grpc_info("127.0.0.1")])
def test_a_run_whose_process_was_killed_is_failed_and_others_are_not(
    laboratory, tmp_path, gone, tags
):
    alive = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        lost, well = (started_run(laboratory, instance, pid, tags) for pid in (gone, alive.pid))
        try:
            assert fail_lost_runs(instance) == [lost]
        finally:
            alive.kill()
            alive.wait()
        assert instance.get_run_by_id(lost).status is dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(well).status is dg.DagsterRunStatus.STARTED


def test_a_run_that_ends_while_it_is_looked_for_is_not_lost(
    laboratory, tmp_path, gone, monkeypatch
):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run_id = started_run(laboratory, instance, gone, HERE)

        def ends(*_: object) -> bool:
            run = instance.get_run_by_id(run_id)
            instance.report_dagster_event(
                dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name), run_id
            )
            return False

        monkeypatch.setattr(lost_runs, "is_alive", ends)
        assert fail_lost_runs(instance) == []
        assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.SUCCESS


@pytest.mark.parametrize("tags", [ELSEWHERE, grpc_info("10.0.0.7"), {}])
def test_a_run_that_works_elsewhere_is_left_to_others(laboratory, tmp_path, gone, tags):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        started_run(laboratory, instance, gone, tags)
        assert fail_lost_runs(instance) == []


def test_runs_of_another_launcher_are_left_to_it(laboratory, gone):
    """A pod has its processes for itself."""
    assert not isinstance(laboratory.instance.run_launcher, dg.DefaultRunLauncher)
    started_run(laboratory, laboratory.instance, gone, HERE)
    assert fail_lost_runs(laboratory.instance) == []


def test_a_run_from_python_says_where_it_works(laboratory):
    run = laboratory.instance.get_run_by_id(laboratory.run(LIVER_1).run_id)
    assert run.tags["ctr/host"] == gethostname()


def test_a_number_that_was_given_to_a_younger_process_is_not_that_of_the_run():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert is_alive(process.pid, time.time())
        assert not is_alive(process.pid, time.time() - 3600)
    finally:
        process.kill()
        process.wait()
    assert not is_alive(process.pid, time.time())
