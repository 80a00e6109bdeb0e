"""A ``ctr`` and a ``python`` for the shell that need not import everything each time.

A server imports what the commands need and runs none of it. Each command is a fork of the server,
with the folder, environment, streams and arguments of whoever called it, and enters where the
installed command enters.
"""

import array
import contextlib
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

IMPORTED = (
    "anndata",
    "ctr_assets.cli",
    "ctr_engine.cli.consensus_run",
    "ctr_engine.cli.refine_run",
    "ctr_engine.cli.run",
    "ctr_engine.scenarios",
    "ctr_engine.tuning",
    "igraph",
    "jinja2",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pandera.strategies.pandas_strategies",
    "pyarrow.pandas_compat",
    "scipy.stats",
    "sklearn.decomposition",
    "sklearn.neighbors",
)
CLIENT = """\
#!{python} -ISE
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(asked)
status = server.recv(1)
sys.exit(status[0] if status else "the command died")
"""


@contextlib.contextmanager
def warm_commands(folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """Give a folder for ``PATH`` with both commands."""
    address = str(folder / "server")
    for name in ("ctr", "python"):
        client = folder / name
        client.write_text(CLIENT.format(python=sys.executable, address=address, name=name))
        client.chmod(0o755)
    command = [sys.executable, "-m", "tests.warm", address]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], env=environment, stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield folder
        finally:
            server.terminate()


def serve(address: str) -> None:
    """Fork for each command that is asked for, until the end."""
    for name in IMPORTED:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while True:
            asked, _ = listener.accept()
            with asked:
                if os.fork() == 0:
                    listener.close()
                    answer(asked)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def answer(asked: socket.socket) -> None:
    """Become the command: run it, tell its exit status, and end."""
    streams = array.array("i")
    size, ancillary, _, _ = asked.recvmsg(4, socket.CMSG_SPACE(3 * streams.itemsize))
    streams.frombytes(ancillary[0][2])
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    with asked.makefile("rb") as content:
        name, arguments, folder, environment = json.loads(content.read(int.from_bytes(size, "big")))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    status = 1
    try:
        run(name, arguments)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - whatever it is, the interpreter prints it and ends
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asked.sendall(bytes([status]))
        os._exit(status)


def run(name: str, arguments: list[str]) -> None:
    """Run ``ctr``, or a script as the interpreter does."""
    if name == "ctr":
        sys.argv = [name, *arguments]
        (command,) = entry_points(group="console_scripts", name=name)
        command.load()()
        return
    first, *rest = arguments
    if first.startswith("-"):
        sys.argv, sys.path[0] = [first, *rest], ""
        code = {"-": sys.stdin.read, "-c": lambda: rest[0]}[first]()
        exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})  # noqa: S102
        return
    sys.argv, sys.path[0] = arguments, str(Path(first).parent)
    runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
