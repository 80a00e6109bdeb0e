"""Measure the orchestration and print a table.

python -m benchmarks.orchestration [--partitions 1000 10000] [--only PART] [--out DIR]
"""

import argparse
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.orchestration import backfill, edit, ticks
from benchmarks.orchestration.figures import Figure, as_markdown, figure, machine, write
from benchmarks.orchestration.laboratory import Size
from benchmarks.orchestration.running import Usage

PARTS = ("ticks", "edit", "backfill", "memory")


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.orchestration")
    add = parser.add_argument
    add("--partitions", type=int, nargs="+", default=[1_000, 10_000], help="sizes for the ticks")
    add("--only", choices=PARTS, help="one part; memory is that of the daemon during the ticks")
    add("--out", type=Path, help="folder for the CSV and the table")
    add("--folder", type=Path, help="where the projects are made; 4 GB at 10,000 partitions")
    add("--per-tissue", type=int, default=200, help="partitions of the tissue that is edited")
    add("--cells", type=int, default=2_000, help="cells of a sample")
    add("--samples", type=int, default=20, help="partitions of a backfill")
    add("--executors", nargs="+", default=["multiprocess", "in_process"])
    add("--runs", type=int, nargs="+", default=[1, 2, 4], help="max_concurrent_runs of a backfill")
    add("--tick-seconds", type=int, default=15, help="between two looks, while ticks are measured")
    return parser.parse_args(given)


def measured(chosen: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    """Measure the parts that are chosen."""
    only, usage = chosen.only, Usage()
    if only in {None, "ticks", "memory"}:
        for number in chosen.partitions:
            size = Size(number, chosen.per_tissue, chosen.cells)
            yield from ticks.measure(folder, size, chosen.tick_seconds, usage)
            yield from _memory(usage, f"ticks, {number:,} partitions")
    if only in {None, "edit"}:
        size = Size(chosen.per_tissue, chosen.per_tissue, chosen.cells)
        for executor in chosen.executors:
            yield from edit.measure(folder, size, executor, None, usage)
            yield from _memory(usage, f"edit, {executor}")
    if only in {None, "backfill"}:
        size = Size(chosen.samples, chosen.samples, chosen.cells)
        yield from backfill.measure(folder, size, chosen.executors, chosen.runs, usage)
        yield from _memory(usage, "backfill")


def _memory(usage: Usage, when: str) -> Iterator[Figure]:
    for role, mib in sorted(usage.peaks.items()):
        yield figure("memory", f"peak of: {role}", when, mib, "MiB")
    usage.clear()


def main(given: Sequence[str] | None = None) -> list[Figure]:
    """Measure, print, write."""
    warnings.simplefilter("ignore")
    chosen = arguments(given)
    print(machine(), flush=True)
    if chosen.folder is not None:
        chosen.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        found = []
        for one in measured(chosen, Path(name)):
            if chosen.only != "memory" or one.part == "memory":
                found.append(one)
            if chosen.out is not None:
                write(found, chosen.out)
    print(as_markdown(found))
    return found


if __name__ == "__main__":
    main()
