"""``ctr worker``: a process that takes steps from one of Celery's queues."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from ctr_assets.executors import EXECUTOR_VARIABLE, PRELOADED
from ctr_assets.machines import QUEUES
from ctr_assets.project import PROJECT_VARIABLE, load_project
from ctr_assets.runs import write_instance
from ctr_engine.errors import ParameterError

_TASKS_PER_PROCESS = 200
"""A process is replaced now and then, so that memory which a library keeps is given back."""


def run_worker(folder: Path, queue: str, concurrency: int) -> NoReturn:
    """Become a worker of a project, until it is stopped.

    Raises
    ------
    ParameterError
        If Celery is not installed, the queue is unknown, or a GPU would be shared.
    """
    command = worker_command(queue, concurrency)
    project = load_project(folder)
    write_instance(project)
    environment = os.environ | {
        PROJECT_VARIABLE: str(project.root),
        "DAGSTER_HOME": os.environ.get("DAGSTER_HOME") or str(project.dagster_home),
        EXECUTOR_VARIABLE: "celery",
    }
    os.chdir(project.root)
    os.execve(sys.executable, command, environment)


def worker_command(queue: str, concurrency: int) -> list[str]:
    """Command line of a worker.

    Raises
    ------
    ParameterError
        If Celery is not installed, the queue is unknown, or a GPU would be shared.
    """
    if queue not in QUEUES:
        msg = f"there is no queue {queue!r}; there are: {', '.join(QUEUES)}"
        raise ParameterError(msg)
    if queue == "gpu" and concurrency > 1:
        msg = f"--concurrency {concurrency}: steps on the gpu queue run one at a time; use 1"
        raise ParameterError(msg)
    if find_spec("dagster_celery") is None:
        msg = "workers need Celery, which is not installed; run: pip install 'ctr[celery]'"
        raise ParameterError(msg)
    return [
        *(sys.executable, "-m", "celery", "-A", "ctr_assets.celery_app", "worker"),
        *(
            "--queues",
            queue,
            "--hostname",
            f"{queue}-{os.getpid()}@%h",
            "--concurrency",
            str(concurrency),
        ),
        *("--max-tasks-per-child", str(_TASKS_PER_PROCESS), "--loglevel", "INFO"),
        *("--include", ",".join(PRELOADED), "--without-gossip", "--without-mingle"),
    ]
