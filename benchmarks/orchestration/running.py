"""Dagster on a project, as ``ctr ui`` starts it, and what its processes take."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from ctr_assets.project import Project

WORKSPACE = str(files("ctr_assets") / "instance" / "workspace.yaml")
ROLES = {
    "dagster._daemon": "daemon",
    "dagster api grpc": "code server",
    "code-server start": "proxy of the code server",
    "dagster_webserver": "webserver",
    "dagster dev": "dagster dev",
    "ctr_assets.fork_server": "run",
    "multiprocessing.spawn": "run",
    "multiprocessing.forkserver": "step",
}
"""What a process is, by a part of its command line."""
_SAMPLED = 0.5
_USER = 11
"""Place of the user time in /proc/PID/stat, counted after the name of the command."""


@dataclass
class Usage:
    """What the processes below one have used, by what they are.

    Attributes
    ----------
    peaks
        Largest memory of one process, in MiB.
    seconds
        Seconds of the processor by process, as far as they were seen; the last half second of a
        short one may be missing.
    """

    peaks: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, dict[int, float]] = field(default_factory=dict)

    def look(self, root: int) -> None:
        """Read what each process that is there now has used."""
        for pid in _descendants(root):
            with suppress(OSError, ValueError, IndexError):
                place = Path(f"/proc/{pid}")
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                role = next((role for part, role in ROLES.items() if part in command), None)
                if role is None:
                    continue
                status = (place / "status").read_text(encoding="utf-8")
                fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
                self.peaks[role] = max(self.peaks[role], peak) if role in self.peaks else peak
                ticks = int(fields[_USER]) + int(fields[_USER + 1])
                self.seconds.setdefault(role, {})[pid] = ticks / os.sysconf("SC_CLK_TCK")

    def processor(self) -> dict[str, float]:
        """Seconds of the processor, by what the processes are."""
        return {role: sum(found.values()) for role, found in self.seconds.items()}

    def clear(self) -> None:
        """Forget all."""
        self.peaks.clear()
        self.seconds.clear()


def _descendants(root: int) -> list[int]:
    """Give a process and all that it has started."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parent = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
                below.setdefault(int(parent), []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += below[found[-1]] if found[-1] in below else []
    return found


@dataclass(frozen=True)
class Running:
    """Dagster on a project."""

    project: Project
    port: int

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the webserver, as its page does."""
        content = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
        headers = {"Content-Type": "application/json"}
        address = f"http://127.0.0.1:{self.port}/graphql"
        with urlopen(Request(address, content, headers), timeout=600) as answer:
            found = json.loads(answer.read())
        if "errors" in found:
            raise RuntimeError(str(found["errors"])[:2000])
        return dict(found["data"])

    def answers(self) -> bool:
        """Whether the webserver is there."""
        with suppress(URLError, OSError):
            address = f"http://127.0.0.1:{self.port}/server_info"
            with urlopen(address, timeout=5) as answer:
                return bool(answer.status == 200)
        return False


@contextmanager
def webserver(project: Project) -> Iterator[Running]:
    """Start the webserver alone: nothing happens by itself."""
    with _started(project, ["dagster_webserver"], {}, Usage()) as running:
        yield running


@contextmanager
def workers(project: Project, executor: str) -> Iterator[None]:
    """Start the workers that an executor needs: those of Celery, on the broker that is set."""
    if executor != "celery":
        yield
        return
    ctr = [sys.executable, "-m", "ctr_assets", "worker", str(project.root)]
    started = []
    with (project.root / "workers.log").open("ab") as log:
        for queue, number in (("cpu", 2), ("gpu", 1)):
            command = [*ctr, "--queue", queue, "--concurrency", str(number)]
            started.append(
                subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            )
    try:
        yield
    finally:
        for process in started:
            _stop(process)


@contextmanager
def dagster(
    project: Project, usage: Usage, executor: str = "multiprocess", tick: int | None = None
) -> Iterator[Running]:
    """Start Dagster as ``ctr ui`` does; what it uses is measured until it is stopped.

    ``tick`` is the time between two looks of every sensor, where it is not to be the product's.
    """
    settings = {"CTR_EXECUTOR": executor}
    if tick is not None:
        settings["CTR_TICK_SECONDS"] = str(tick)
    with _started(project, ["dagster", "dev"], settings, usage) as running:
        yield running


@contextmanager
def _started(
    project: Project, module: list[str], settings: dict[str, str], usage: Usage
) -> Iterator[Running]:
    running = Running(project, _free_port())
    own = {"CTR_PROJECT": str(project.root), "DAGSTER_HOME": str(project.dagster_home)}
    command = [sys.executable, "-m", *module, "-w", WORKSPACE, "-h", "127.0.0.1"]
    with (project.root / "dagster.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "-p", str(running.port)],
            env=os.environ | _bytecode(project) | own | {"PYTHONWARNINGS": "ignore"} | settings,
            cwd=project.root,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    stopped = threading.Event()

    def sample() -> None:
        while not stopped.wait(_SAMPLED):
            usage.look(process.pid)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        until(running.answers, "the webserver answers", 300)
        yield running
    finally:
        stopped.set()
        sampler.join()
        _stop(process)


def _bytecode(project: Project) -> dict[str, str]:
    """Let Python keep what it has compiled, as where a wheel was installed.

    Without that every process of Dagster takes twice as long to start.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return {}
    place = project.root.parent / "bytecode"
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(place)}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process and all that it has started, in whatever session that lives."""
    pids = _descendants(process.pid)
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(holds: Callable[[], bool], what: str, patience: float, every: float = 0.3) -> None:
    """Wait until something holds.

    Raises
    ------
    TimeoutError
        If it does not.
    """
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(every)
    msg = f"after {patience:.0f} s it does not hold that {what}"
    raise TimeoutError(msg)
