"""Copies of the records of one partition for others, written into Dagster's SQLite files.

Dagster's own interface would take an hour for 10,000 partitions. What is copied are the rows that
a real run has left: observations, plans, materialisations, checks, tags, the run itself.
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from ctr_assets.partitions import Partition

_PICTURE = re.compile(r"(data:image/png;base64,)[A-Za-z0-9+/=]+")
_READ_IN_BULK = '["final_annotations"]'
"""The records of this asset are read for many partitions at once, and keep their pictures."""
_EVENTS, _RUNS = "event_logs", "runs"
_NUMBERS = {
    _EVENTS: {"id": _EVENTS},
    "asset_event_tags": {"id": "asset_event_tags", "event_id": _EVENTS},
    "asset_check_executions": {
        "id": "asset_check_executions",
        "evaluation_event_storage_id": _EVENTS,
        "materialization_event_storage_id": _EVENTS,
    },
    _RUNS: {"id": _RUNS},
    "run_tags": {"id": "run_tags"},
}
"""Columns that count rows, and the table whose rows they count."""
Row = dict[str, Any]


@dataclass(frozen=True)
class _Table:
    """Rows of one partition, and by how much the numbers of a copy are higher."""

    name: str
    rows: list[Row]
    steps: dict[str, int]

    def copied(self, number: int, swaps: Sequence[tuple[str, str]]) -> Iterator[list[Any]]:
        for row in self.rows:
            yield [
                value + number * self.steps[column]
                if column in self.steps and value is not None
                else _renamed(value, swaps)
                for column, value in row.items()
            ]


def copy_records(
    history: Path, first: Partition, others: Sequence[Partition], *, pictures: bool
) -> None:
    """Give other partitions the records of the first, the only one that Dagster has seen."""
    with closing(sqlite3.connect(history / "runs.db")) as runs:
        (run_id,) = runs.execute("SELECT run_id FROM runs").fetchone()
        _copy(runs, (_RUNS, "run_tags"), (first, others, run_id), pictures=True)
    with closing(sqlite3.connect(history / "runs" / "index.db")) as index:
        tables = (_EVENTS, "asset_event_tags", "asset_check_executions")
        highest = _copy(index, tables, (first, others, run_id), pictures=pictures)
        if others:
            step = len(others) * highest[_EVENTS]
            _point_to_last(index, step, _swaps(first, others[-1], run_id))


def _copy(
    database: sqlite3.Connection,
    names: Sequence[str],
    what: tuple[Partition, Sequence[Partition], str],
    *,
    pictures: bool,
) -> dict[str, int]:
    """Copy the rows of tables; gives the highest number of each before that."""
    first, others, run_id = what
    highest = {name: _highest(database, name) for name in names}
    tables = [_read(database, name, highest, pictures=pictures) for name in names]
    with database:
        for number, other in enumerate(others, 1):
            swaps = _swaps(first, other, run_id)
            for table in tables:
                places = ", ".join("?" * len(table.rows[0]))
                database.executemany(
                    f"INSERT INTO {table.name} VALUES ({places})",  # noqa: S608
                    table.copied(number, swaps),
                )
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return highest


def _read(
    database: sqlite3.Connection, name: str, highest: dict[str, int], *, pictures: bool
) -> _Table:
    found = database.execute(f"SELECT * FROM {name} ORDER BY id")  # noqa: S608
    columns = [column[0] for column in found.description]
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    if name == _EVENTS and not pictures:
        for row in rows:
            if row["asset_key"] != _READ_IN_BULK:
                row["event"] = _PICTURE.sub(r"\1", row["event"])
    return _Table(name, rows, {column: highest[of] for column, of in _NUMBERS[name].items()})


def _highest(database: sqlite3.Connection, name: str) -> int:
    (highest,) = database.execute(f"SELECT max(id) FROM {name}").fetchone()  # noqa: S608
    return int(highest)


def _swaps(first: Partition, other: Partition, run_id: str) -> list[tuple[str, str]]:
    run = str(uuid5(UUID(run_id), other.key))
    return [(run_id, run), (first.tissue, other.tissue), (first.sample, other.sample)]


def _renamed(value: Any, swaps: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        for old, new in swaps:
            value = value.replace(old, new)
    return value


def _point_to_last(index: sqlite3.Connection, step: int, swaps: Sequence[tuple[str, str]]) -> None:
    """Let each asset name the copy that was written last as its newest materialisation."""
    rows = index.execute("SELECT id, last_materialization, last_run_id FROM asset_keys").fetchall()
    with index:
        for number, newest, run_id in rows:
            if newest is None:
                continue
            record = json.loads(_renamed(newest, swaps))
            record["storage_id"] += step
            values = (json.dumps(record), _renamed(run_id, swaps), number)
            index.execute(
                "UPDATE asset_keys SET last_materialization = ?, last_run_id = ?, "
                "cached_status_data = NULL WHERE id = ?",
                values,
            )
