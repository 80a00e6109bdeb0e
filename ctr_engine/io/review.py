"""The cells that a review sheet is about, in a file beside it: results move on meanwhile."""

import json
from pathlib import Path

from ctr_engine.errors import TableError
from ctr_engine.io.lineage import read_lineage, write_lineage
from ctr_engine.io.tables import read_notes
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.refinement.lineage import Lineage

_MAP = "ctr_marker_map"


def cells_beside(sheet: Path) -> Path:
    """Place of the cells of a sheet."""
    return sheet.with_name(f"{sheet.stem}.cells.parquet")


def write_cells(lineage: Lineage, marker_map: MarkerMap, path: Path) -> None:
    """Keep the clusters of all cells, and the cell types that a curator may name."""
    write_lineage(lineage, path, {_MAP: json.dumps(marker_map.as_source())})


def read_cells(path: Path) -> tuple[Lineage, MarkerMap]:
    """Read them back.

    Raises
    ------
    CtrError
        If the file is something else.
    """
    notes = read_notes(path)
    if _MAP not in notes:
        msg = f"{path} does not hold the cells of a review; export the sheet again"
        raise TableError(msg)
    return read_lineage(path), parse_marker_map(notes[_MAP], f"the marker map in {path}")
