"""A log of one command: what it was told, each step with its seconds, and how it ended."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from ctr_engine.errors import OutputError


class RunLog:
    """Writes one line for each event, with the time of day and the seconds since the start."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._started = file, time.perf_counter()

    def line(self, text: str) -> None:
        """Write a line, and see that it reaches the disk's cache before the next step."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        seconds = time.perf_counter() - self._started
        one_line = " | ".join(text.splitlines())
        self._file.write(f"{now} {seconds:9.3f} s  {one_line}\n")
        self._file.flush()

    def steps(self, progress: Callable[[str], None]) -> Callable[[str], None]:
        """Log each step that ``progress`` is told of."""

        def step(name: str) -> None:
            self.line(f"step {name}")
            progress(name)

        return step


@contextmanager
def run_log(folder: Path | None, command: str) -> Iterator[RunLog | None]:
    """Open a log file in ``folder``; without one nothing is logged.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    if folder is None:
        yield None
        return
    name = f"ctr-{command}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / name).open("x", encoding="utf-8")
    except OSError as error:
        msg = f"cannot write a log into {folder}: {error.strerror}; name another --log-dir"
        raise OutputError(msg) from None
    with file:
        log = RunLog(file)
        log.line("arguments " + json.dumps(sys.argv[1:], ensure_ascii=False))
        try:
            yield log
        finally:  # also after a defect of ours, whose trace goes on
            failed = sys.exception()
            log.line("done" if failed is None else f"ended with {type(failed).__name__}: {failed}")
