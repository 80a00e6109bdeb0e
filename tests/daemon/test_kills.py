"""What is killed is noticed: the run is failed, and the partition is caught up."""

import os
import signal

import dagster as dg
import pytest

from ctr_assets.workers import pid_of
from tests.daemon.conftest import Running

pytestmark = pytest.mark.slow
TERMINATE = """
mutation($id: String!) {
  terminateRun(runId: $id) { __typename ... on PythonError { message } }
}
"""


def working(running: Running, key: str) -> tuple[str, int]:
    """Run that works on a partition, and its process."""
    found: list[tuple[str, int]] = []

    def has_started() -> bool:
        statuses = [dg.DagsterRunStatus.STARTED]
        wanted = dg.RunsFilter(tags={"dagster/partition": key}, statuses=statuses)
        for run in running.instance.get_runs(wanted):
            pid = pid_of(running.instance, run.run_id)
            if pid is not None:
                found.append((run.run_id, pid))
                return True
        return False

    running.until(has_started, f"a run works on {key}")
    return found[0]


def status(running: Running, run_id: str) -> dg.DagsterRunStatus:
    run = running.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_whose_worker_was_killed_fails_and_is_caught_up(running):
    running.put_sample("liver__K1", n_cells=4_000)
    run_id, pid = working(running, "liver__K1")
    os.kill(pid, signal.SIGKILL)
    failed = dg.DagsterRunStatus.FAILURE
    running.until(lambda: status(running, run_id) is failed, "the killed run is failed")
    running.until(lambda: bool(running.basis("liver__K1")), "another run made the labels")
    running.quiet()
    assert running.partitions() >= {"liver__K1"}


def test_what_was_killed_with_the_daemon_and_the_code_server_is_caught_up(running):
    running.put_sample("liver__K2", seed=1, n_cells=4_000)
    run_id, _ = working(running, "liver__K2")
    running.stop(signal.SIGKILL)
    assert status(running, run_id) is dg.DagsterRunStatus.STARTED, "nobody noticed yet"
    running.start()
    failed = dg.DagsterRunStatus.FAILURE
    running.until(lambda: status(running, run_id) is failed, "the lost run is failed")
    running.until(lambda: bool(running.basis("liver__K2")), "another run made the labels")
    running.quiet()


def test_a_run_that_is_terminated_on_the_page_ends(running):
    running.put_sample("liver__K3", seed=2, n_cells=4_000)
    run_id, _ = working(running, "liver__K3")
    answer = running.graphql(TERMINATE, {"id": run_id})["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    canceled = dg.DagsterRunStatus.CANCELED
    running.until(lambda: status(running, run_id) is canceled, "the run is canceled")
