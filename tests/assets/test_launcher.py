"""Runs are forks of one process: what they are, how they stop, what happens without it."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import LaunchRunContext

import ctr_assets
from ctr_assets import launcher as module
from ctr_assets.launcher import ForkingRunLauncher, ForkServer, installed_code
from ctr_assets.runs import project_instance
from ctr_assets.workers import HOST_TAG, is_alive
from tests.assets.conftest import make_laboratory

ROOT = str(Path(__file__).parents[2])
REPOSITORY = ReconstructableRepository.for_module("tests.small_jobs", "defs", ROOT)
SUCCESS, FAILURE = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, f"it does not hold that {what}"
        time.sleep(0.05)


@dataclass
class Runs:
    """Runs of the small jobs in an instance of their own."""

    instance: dg.DagsterInstance
    folder: Path

    @property
    def launcher(self) -> ForkingRunLauncher:
        found = self.instance.run_launcher
        assert isinstance(found, ForkingRunLauncher)
        return found

    def launch(self, name: str, python: str = sys.executable) -> str:
        job = REPOSITORY.get_reconstructable_job(name)
        origin = job.get_python_origin()
        repository = origin.repository_origin._replace(executable_path=python)
        (op,) = job.get_definition().nodes
        config = {"ops": {op.name: {"config": {"folder": str(self.folder)}}}}
        run = self.instance.create_run_for_job(
            job.get_definition(),
            run_config=config,
            job_code_origin=origin._replace(repository_origin=repository),
        )
        self.launcher.launch_run(LaunchRunContext(run, None))
        return run.run_id

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def ends_as(self, run_id: str, wanted: dg.DagsterRunStatus) -> None:
        until(lambda: self.status(run_id) is wanted, f"the run is {wanted.value}")

    def said(self, run_id: str) -> dict:
        self.ends_as(run_id, SUCCESS)
        return json.loads((self.folder / run_id).read_text())

    def sleeper(self, name: str = "sleeps") -> tuple[str, int]:
        """Run that sleeps, and its process."""
        run_id = self.launch(name)
        place = self.folder / run_id
        until(lambda: place.exists() and place.read_text() != "", "the run sleeps")
        return run_id, int(place.read_text())

    def told(self, run_id: str) -> str:
        events = [entry.dagster_event for entry in self.instance.all_logs(run_id)]
        return "\n".join(str(event.message) for event in events if event is not None)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("said")
    ours = {"run_launcher": {"module": "ctr_assets.launcher", "class": "ForkingRunLauncher"}}
    with dg.DagsterInstance.local_temp(str(home), overrides=ours) as instance:
        yield Runs(instance, folder)


def test_the_instance_of_a_project_launches_this_way(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        project = make_laboratory(tmp_path, instance).project
    with project_instance(project) as instance:
        assert isinstance(instance.run_launcher, ForkingRunLauncher)


def test_a_run_is_a_fork_that_has_imported_everything_and_obeys_interrupts(runs):
    one, two = (runs.said(runs.launch("says")) for _ in range(2))
    server = runs.launcher.server
    assert server is not None
    assert one["pid"] != two["pid"]
    for said in (one, two):
        assert said["parent"] == server.pid
        assert said["imported"]
        assert not said["ignores_interrupts"]
        assert said["input"] == "", "the socket of the server is not for its forks"
        assert said["arguments"][1:] == ["api", "execute_run"]


def test_a_run_is_terminated_from_another_process(runs):
    run_id, pid = runs.sleeper()
    with dg.DagsterInstance.from_ref(runs.instance.get_ref()) as webserver:
        assert webserver.run_launcher.terminate(run_id)
    runs.ends_as(run_id, dg.DagsterRunStatus.CANCELED)
    until(lambda: not is_alive(pid, time.time()), "the process is gone")
    assert not runs.launcher.terminate(run_id), "it has ended"


def test_a_run_that_is_tried_again_after_faults_is_terminated_for_good(runs):
    run_id, pid = runs.sleeper("sleeps_again")
    with dg.DagsterInstance.from_ref(runs.instance.get_ref()) as webserver:
        assert webserver.run_launcher.terminate(run_id)
    assert runs.status(run_id) is dg.DagsterRunStatus.CANCELED
    assert "The run went on; its process was killed." in runs.told(run_id)
    until(lambda: not is_alive(pid, time.time()), "the process is gone")


def test_a_run_without_a_process_is_not_terminated_and_says_so(runs):
    run_id, pid = runs.sleeper()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid, time.time()), "the process is gone")
    assert not runs.launcher.terminate(run_id)
    assert "No process works on this run any more; it was not interrupted." in runs.told(run_id)


def test_a_run_of_another_machine_is_not_terminated_and_says_where_it_is(runs):
    run_id, pid = runs.sleeper()
    runs.instance.add_run_tags(run_id, {HOST_TAG: "elsewhere"})
    assert not runs.launcher.terminate(run_id)
    assert "The process of this run works on elsewhere; it was not" in runs.told(run_id)
    assert is_alive(pid, time.time())
    os.kill(pid, signal.SIGKILL)


def test_a_server_that_was_killed_is_replaced(runs):
    runs.said(runs.launch("says"))
    killed = runs.launcher.server
    os.kill(killed.pid, signal.SIGKILL)
    until(lambda: not killed.is_alive(), "the server is gone")
    assert runs.said(runs.launch("says"))["parent"] == runs.launcher.server.pid != killed.pid
    with pytest.raises(ConnectionError, match=f"{killed.pid} that forks the runs gave no answer"):
        killed.fork(["--version"])


def test_after_an_upgrade_another_server_forks_and_runs_in_flight_go_on(runs, monkeypatch):
    run_id, pid = runs.sleeper()
    old = runs.launcher.server
    with monkeypatch.context() as patch:
        patch.setattr(module, "installed_code", lambda: "another release")
        new = runs.said(runs.launch("says"))["parent"]
    assert new == runs.launcher.server.pid != old.pid
    assert old.is_alive()
    assert is_alive(pid, time.time())
    assert runs.launcher.terminate(run_id)
    until(lambda: not old.is_alive(), "the old server has ended with its last run")


def test_an_edit_of_our_files_is_an_upgrade(tmp_path, monkeypatch):
    monkeypatch.setattr(ctr_assets, "__file__", str(tmp_path / "__init__.py"))
    file = tmp_path / "steps" / "pca.py"
    file.parent.mkdir()
    file.write_text("")
    before = installed_code()
    assert installed_code() == before
    os.utime(file, ns=(1, 1))
    assert installed_code() != before


def test_runs_of_another_interpreter_go_to_their_code_server(runs):
    with pytest.raises(dg.DagsterInvariantViolationError, match="requires a workspace"):
        runs.launch("says", python="/another/python")


def test_runs_in_flight_are_interrupted_with_the_daemon(runs):
    run_id, _ = runs.sleeper()
    runs.launcher.dispose()
    runs.ends_as(run_id, FAILURE)
    assert "interrupted" in runs.told(run_id)


def test_runs_that_are_tried_again_after_faults_end_with_the_daemon(runs):
    _, pid = runs.sleeper("sleeps_again")
    runs.launcher.dispose()
    until(lambda: not is_alive(pid, time.time()), "the process is gone")


def test_what_dagster_itself_refuses_ends_the_fork_and_not_the_server():
    server = ForkServer("")
    gone = server.fork(["no-such-command"])
    until(lambda: not is_alive(gone, time.time()), "the fork has ended")
    assert server.is_alive()
    server.close()
    until(lambda: not server.is_alive(), "the server has ended")
