"""Whether the process behind a run is still there."""

import os
import re
from pathlib import Path

import dagster as dg

HOST_TAG = "ctr/host"
"""Machine of a run; one that a code server launched says so itself."""
GRACE = 5.0
"""Seconds that a run may take to end by itself after it was interrupted."""
_PID = re.compile(r"\(pid: (\d+)\)")
_IN_PROCESS = "Executing steps in process"
_FIELD_OF_START = 19
"""Place of the start time in /proc/PID/stat, counted after the name of the command."""
_SLACK = 5.0


def pid_of(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """Process that works on a run, by what it said when it started; None before that."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        match = _PID.search((event.message if event is not None else None) or "")
        if match is not None:
            return int(match.group(1))
    return None


def makes_steps(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the process of a run makes the steps itself."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    events = (entry.dagster_event for entry in entries)
    return any(((one and one.message) or "").startswith(_IN_PROCESS) for one in events)


def command_of(pid: int) -> str:
    """Command of a process; empty where there is none, or the system does not say."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return " ".join(word.decode(errors="replace") for word in words)


def is_alive(pid: int, since: float) -> bool:
    """Whether a process lives that was there at a time (seconds of the epoch).

    A number is given again after a restart: on Linux a process that is younger does not count.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    started = _started(pid)
    return started is None or started <= since + _SLACK


def _started(pid: int) -> float | None:
    """Start of a process in seconds of the epoch; None where the system does not say."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = re.search(r"^btime (\d+)$", Path("/proc/stat").read_text("utf-8"), re.MULTILINE)
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if boot is None or fields[0] == "Z":  # a zombie works on nothing
        return None if boot is None else float("inf")
    return float(boot.group(1)) + int(fields[_FIELD_OF_START]) / os.sysconf("SC_CLK_TCK")
