"""Figures with the machine they come from, as a table and as CSV."""

import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Figure:
    """One figure.

    ``load`` is the load of the machine over the last minute, when the figure was taken.
    """

    part: str
    what: str
    size: str
    value: float
    unit: str
    load: float
    note: str = ""


def figure(
    part: str, what: str, size: str, value: float, unit: str = "s", note: str = ""
) -> Figure:
    """Take a figure down with the load of the machine."""
    taken = Figure(part, what, size, round(value, 3), unit, round(os.getloadavg()[0], 1), note)
    print(f"  {part}: {what}, {size}: {value:.2f} {unit}  (load {taken.load}) {note}", flush=True)
    return taken


def machine() -> str:
    """Say where this runs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


def timed(function: Callable[[], T], times: int = 1) -> tuple[float, float, T]:
    """Median seconds of the clock and of the processor, and the last result."""
    clock, processor = [], []
    for _ in range(times):
        started, used = time.perf_counter(), time.process_time()
        result = function()
        clock.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    return statistics.median(clock), statistics.median(processor), result


def as_markdown(found: Sequence[Figure]) -> str:
    """Make a table."""
    names = [field.name for field in fields(Figure)]
    lines = [machine(), "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines += [f"| {' | '.join(str(value) for value in asdict(one).values())} |" for one in found]
    return "\n".join(lines) + "\n"


def write(found: Sequence[Figure], folder: Path) -> None:
    """Write the table and the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orchestration.md").write_text(as_markdown(found), encoding="utf-8")
    with (folder / "orchestration.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Figure)])
        writer.writeheader()
        writer.writerows(asdict(one) for one in found)
