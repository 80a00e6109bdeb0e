"""Ctrl-C ends ``ctr run`` and its run at once, although steps are tried again after faults."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from ctr_assets.assets import RETRY
from ctr_assets.retries import RetryFaults, ends_when_interrupted
from ctr_assets.runs import project_instance
from tests.assets.conftest import LIVER_1, LIVER_2, make_laboratory

PATIENCE = 120.0
COMMAND = """
import signal, time
# what is started in the background ignores Ctrl-C, and hands that on
signal.signal(signal.SIGINT, signal.default_int_handler)
from ctr_assets.assets import clustering
from ctr_assets.cli import main
pca = clustering.principal_components
def slow(*arguments):
    print("in the middle of a step", flush=True)
    time.sleep(3)
    return pca(*arguments)
clustering.principal_components = slow
main()
"""
INTERRUPTS = [KeyboardInterrupt, dg.DagsterExecutionInterruptedError]
"""What Dagster makes of the signal, inside of a step and outside."""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dg.DagsterInstance]]:
    """``ctr run`` on two partitions, and the instance on which it works."""
    with dg.DagsterInstance.ephemeral() as instance:
        project = make_laboratory(tmp_path, instance).project
    with project_instance(project) as instance:
        arguments = ["run", LIVER_1, LIVER_2, "--project", str(tmp_path)]
        command = [sys.executable, "-W", "ignore", "-c", COMMAND, *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        yield process, instance
        process.kill()
        process.communicate()


def in_the_middle_of_a_step(process: subprocess.Popen[str], _: dg.DagsterInstance) -> None:
    assert process.stdout is not None
    assert any(line == "in the middle of a step\n" for line in process.stdout)


def has_come(instance: dg.DagsterInstance, kind: dg.DagsterEventType, step: str) -> bool:
    entries = (
        entry for run in instance.get_runs() for entry in instance.all_logs(run.run_id, kind)
    )
    return any(entry.dagster_event and entry.dagster_event.step_key == step for entry in entries)


def between_steps(_: subprocess.Popen[str], instance: dg.DagsterInstance) -> None:
    until = time.monotonic() + PATIENCE
    while not has_come(instance, dg.DagsterEventType.STEP_SUCCESS, "leiden_clusters"):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [in_the_middle_of_a_step, between_steps])
def test_ctrl_c_ends_the_command_and_cancels_its_run(started, moment):
    process, instance = started
    moment(process, instance)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, told
    assert f"Error: interrupted in {LIVER_1}; what was made before is whole." in told
    assert f"Again with: ctr run {LIVER_1} --project " in told
    assert "Traceback" not in told
    (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    for name in ("pca", "leiden_clusters"):
        assert not has_come(instance, dg.DagsterEventType.STEP_RESTARTED, name)
    assert not has_come(instance, dg.DagsterEventType.STEP_SUCCESS, "final_annotations")


@pytest.mark.slow
def test_a_run_that_is_terminated_on_the_page_is_told_and_the_others_go_on(started):
    process, instance = started
    in_the_middle_of_a_step(process, instance)
    (run,) = instance.get_runs()
    assert instance.run_launcher.terminate(run.run_id)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert f"{LIVER_1}: it was terminated on Dagster's page" in told
    states = {one.tags["dagster/partition"]: one.status for one in instance.get_runs()}
    done = {LIVER_1: dg.DagsterRunStatus.CANCELED, LIVER_2: dg.DagsterRunStatus.SUCCESS}
    assert states == done


def test_steps_are_tried_again_after_faults_only():
    assert isinstance(RETRY, RetryFaults)
    assert RETRY.max_retries == 2
    assert [RETRY.calculate_delay(attempt) for attempt in (1, 2)] == [5, 15]


@pytest.mark.parametrize("interrupt", INTERRUPTS)
def test_an_interrupt_is_an_end_only_where_a_person_waits(interrupt):
    def asked_after(fault: BaseException) -> float:
        try:
            raise fault
        except type(fault):
            return RETRY.calculate_delay(1)

    assert asked_after(interrupt()) == 5, "a pod whose machine goes away"
    with ends_when_interrupted():
        assert asked_after(OSError()) == 5
        with pytest.raises(interrupt):
            asked_after(interrupt())
    assert asked_after(interrupt()) == 5
