"""How runs are launched: each is a process of its own, a fork of one that has imported everything.

Dagster's own launcher starts an interpreter for each run, which imports for longer than the steps
of a small sample take.
"""

import json
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from os import kill
from pathlib import Path
from socket import gethostname

import dagster as dg
from dagster._core.launcher import LaunchRunContext
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData

import ctr_assets
import ctr_engine
from ctr_assets.workers import GRACE, HOST_TAG, command_of, is_alive, makes_steps, pid_of

_SERVER = "ctr_assets.fork_server"
_PATIENCE = 180.0
"""Seconds that the server may take to import and to fork; ``start_timeout_seconds`` is as much."""
_UNTIL_IT_SAYS = 10.0
"""Seconds that a new run may take to say which process works on it."""


class ForkingRunLauncher(dg.DefaultRunLauncher):
    """Launches runs as forks of a process that has imported everything, on Linux.

    Runs of an interpreter other than the daemon's go to their code server, as with Dagster's
    default. Runs end with the process that launched them, the daemon.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._retired: list[ForkServer] = []

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run."""
        run, origin = context.dagster_run, context.dagster_run.job_code_origin
        is_ours = origin is not None and origin.executable_path == sys.executable
        if origin is None or not is_ours or sys.platform != "linux":
            super().launch_run(context)
            return
        self._instance.add_run_tags(run.run_id, {HOST_TAG: gethostname()})
        asked = ExecuteRunArgs(
            job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref()
        )
        command = list(asked.get_command_args())
        with self._lock:
            self._up_to_date().fork(command[command.index("api") :])
        self._run_ids.add(run.run_id)

    @property
    def server(self) -> "ForkServer | None":
        """Process that forked the last run."""
        return self._server

    def _up_to_date(self) -> "ForkServer":
        """Server that imported what is installed now; another one where that has changed."""
        code = installed_code()
        if self._server is not None and self._server.is_alive():
            if self._server.code == code:
                return self._server
            self._server.retire()
        old = [*self._retired, *([] if self._server is None else [self._server])]
        self._retired = [server for server in old if server.is_alive()]
        for server in old:
            if not server.is_alive():
                server.close()
        self._server = ForkServer(code)
        return self._server

    def terminate(self, run_id: str) -> bool:
        """Interrupt the process of a run, if it works on this machine."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or HOST_TAG not in run.tags:
            return super().terminate(run_id)
        self._instance.report_run_canceling(run)
        host, pid = run.tags[HOST_TAG], None
        if host == gethostname():
            pid = self._worker(run_id)
        if pid is None:
            told = f"The process of this run works on {host}" if host != gethostname() else ""
            self._instance.report_engine_event(
                f"{told or 'No process works on this run any more'}; it was not interrupted.", run
            )
            return False
        kill(pid, signal.SIGINT)
        if makes_steps(self._instance, run_id) and _SERVER in command_of(pid):
            self._insist(run, pid)
        return True

    def _insist(self, run: dg.DagsterRun, pid: int) -> None:
        """Kill a fork that goes on after it was interrupted.

        Dagster takes an interrupt in a step that has a retry policy for a fault, and tries again.
        """
        until = time.monotonic() + GRACE
        while time.monotonic() < until:
            if not is_alive(pid, time.time()):
                return
            time.sleep(0.1)
        now = self._instance.get_run_by_id(run.run_id)
        if now is not None and not now.is_finished and _SERVER in command_of(pid):
            kill(pid, signal.SIGKILL)
            self._instance.report_run_canceled(run, "The run went on; its process was killed.")

    def _worker(self, run_id: str) -> int | None:
        """Process of a run that lives."""
        until = time.monotonic() + _UNTIL_IT_SAYS
        while (pid := pid_of(self._instance, run_id)) is None and time.monotonic() < until:
            time.sleep(0.2)
        record = self._instance.get_run_record_by_id(run_id)
        if pid is None or record is None:
            return None
        since = record.start_time or record.update_timestamp.timestamp()
        return pid if is_alive(pid, since) else None

    def dispose(self) -> None:
        """End the servers; runs in flight are interrupted."""
        for server in (*self._retired, *([] if self._server is None else [self._server])):
            server.close()
        self._server, self._retired = None, []


class ForkServer:
    """The process that forks, from the side of who asks it."""

    def __init__(self, code: str) -> None:
        self.code = code
        self._asked, theirs = socket.socketpair()
        self._asked.settimeout(_PATIENCE)
        with theirs:
            command = [sys.executable, "-m", _SERVER]
            self._process = subprocess.Popen(command, stdin=theirs)
        self._answers = self._asked.makefile("rb")

    @property
    def pid(self) -> int:
        """Process of the server."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def fork(self, arguments: list[str]) -> int:
        """Let ``dagster`` run with some arguments; gives its process.

        Raises
        ------
        ConnectionError
            If the server does not answer; it is not asked again, for it may have forked.
        """
        try:
            self._asked.sendall(json.dumps(arguments).encode() + b"\n")
            answer = self._answers.readline()
        except OSError as error:
            answer, fault = b"", str(error)
        else:
            fault = "it ended"
        if not answer:
            msg = (
                f"The process {self.pid} that forks the runs gave no answer ({fault}). What it "
                "said stands in the log of the daemon; the next run starts another one."
            )
            raise ConnectionError(msg)
        return int(answer)

    def retire(self) -> None:
        """Let it end with its last fork."""
        self._asked.sendall(b"null\n")

    def close(self) -> None:
        """Let it end now, and wait until it has interrupted its forks."""
        self._answers.close()
        self._asked.close()
        try:
            self._process.wait(3 * GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def installed_code() -> str:
    """Fingerprint of the installed packages, and of our files, which may be edited in place."""
    folders = (Path(module.__file__ or "").parent for module in (ctr_assets, ctr_engine))
    ours = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    places = [Path(sysconfig.get_path("purelib")), *ours]
    return json.dumps([[str(place), place.stat().st_mtime_ns] for place in places])
