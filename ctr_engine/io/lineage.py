"""The lineage of a sample as one parquet file: clusters of each cell, records in its metadata."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ctr_engine.errors import TableError
from ctr_engine.io.tables import read_notes, read_parquet, write_parquet
from ctr_engine.refinement.lineage import Lineage, lineage_of_table
from ctr_engine.refinement.record import IterationRecord
from ctr_engine.tables import RefinedClusters

_RECORDS, CONTENT = "ctr_iterations", "ctr_content_sha256"
_Records = TypeAdapter(tuple[IterationRecord, ...])


def write_lineage(lineage: Lineage, path: Path, more: Mapping[str, str] | None = None) -> None:
    """Write where every cell has been, and what each iteration did; ``more`` goes with it."""
    notes = {
        _RECORDS: _Records.dump_json(lineage.records).decode(),
        CONTENT: lineage.content_sha256,
        **(more or {}),
    }
    write_parquet(RefinedClusters, lineage.table(), path, notes)


def read_lineage(path: Path) -> Lineage:
    """Read it back.

    Raises
    ------
    CtrError
        If the file is something else, or of another version.
    """
    notes = read_notes(path)
    try:
        records, content = _Records.validate_json(notes[_RECORDS]), notes[CONTENT]
    except (KeyError, ValidationError):
        msg = f"{path} holds no iterations of this version; materialize it again"
        raise TableError(msg) from None
    lineage = lineage_of_table(read_parquet(RefinedClusters, path), records)
    if lineage.content_sha256 != content:
        msg = f"{path} is damaged: its content is not what was written; make it again"
        raise TableError(msg)
    return lineage
