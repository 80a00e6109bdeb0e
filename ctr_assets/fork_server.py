"""A process that has imported what a run needs; each run is a fork of it.

The launcher starts it and asks it over the socket that is its standard input: a line of JSON is
the arguments of ``dagster`` for one fork, and is answered with its process; ``null`` lets it end
with its last fork. Where nobody can ask any more, it interrupts its forks, kills those that
go on (a step that is tried again after faults is tried again after an interrupt), and ends.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import time
import warnings

from ctr_assets.executors import PRELOADED
from ctr_assets.io_managers import TABLES
from ctr_assets.metadata import picture
from ctr_assets.workers import GRACE
from ctr_engine.tables import from_rows

ALSO = (
    "ctr_engine.refinement",
    "dagster._cli.api",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.workspace.autodiscovery",
    "igraph",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "scipy.stats",
    "sklearn.decomposition",
    "sklearn.neighbors",
)
"""What a worker imports besides, inside functions."""
_POLL = 1.0


def main() -> None:
    """Import, serve, and in a fork become the command that was asked for."""
    for name in (*PRELOADED, *ALSO):
        importlib.import_module(name)
    warm_up()
    gc.collect()
    gc.freeze()  # else the collector touches, and so copies, all memory that forks share
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it reaches every fork as well
    with socket.socket(fileno=os.dup(0)) as asked:
        arguments = serve(asked)
    if arguments is not None:
        become(arguments)


def warm_up() -> None:
    """Do once what is slow the first time: declare the tables, find the fonts."""
    from matplotlib.figure import Figure

    for model in TABLES.values():
        from_rows(model, [])
    picture(Figure)


def serve(asked: socket.socket) -> list[str] | None:
    """Fork for each request; gives its arguments in the fork, and None when all is over."""
    workers: set[int] = set()
    is_last = False
    with asked.makefile("rb") as requests:
        while workers or not is_last:
            readable, _, _ = select.select([asked], [], [], _POLL)
            _reap(workers)
            if not readable:
                continue
            request = requests.readline()
            if not request:
                break
            arguments: list[str] | None = json.loads(request)
            if arguments is None:
                is_last = True
                continue
            worker = _fork()
            if worker == 0:
                return arguments
            workers.add(worker)
            asked.sendall(b"%d\n" % worker)
    _end(workers)
    return None


def become(arguments: list[str]) -> None:
    """Go on as ``dagster`` with some arguments, as if it had just been started."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.argv = ["dagster", *arguments]
    runpy.run_module("dagster", run_name="__main__", alter_sys=True)


def _fork() -> int:
    """Fork; gives 0 in the fork."""
    with warnings.catch_warnings():
        # the threads it warns of are those of OpenBLAS and jemalloc, which know what a fork is
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _reap(workers: set[int]) -> None:
    """Forget the forks that have ended."""
    while workers:
        ended, _ = os.waitpid(-1, os.WNOHANG)
        if ended == 0:
            return
        workers.discard(ended)


def _end(workers: set[int]) -> None:
    """Interrupt the forks that were not interrupted with the launcher; kill those that go on."""
    for stronger in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE
        while workers and time.monotonic() < deadline:
            time.sleep(0.1)
            _reap(workers)
        for worker in workers:
            os.kill(worker, stronger)


if __name__ == "__main__":
    main()
