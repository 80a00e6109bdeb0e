"""``ctr history``: where a cell has been, and who gave it its label."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctr_engine.errors import ParameterError

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_NAMES = 3


def history(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder of ctr, or refined.h5ad.")
    ],
    cell: Annotated[list[str] | None, typer.Option("--cell", help="Id; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the clusters and labels of a cell, step by step."""
    if not cell:
        msg = "--cell is missing; write: ctr history RESULTS --cell ID"
        raise ParameterError(msg)
    from ctr_engine.io.results import sample_in
    from ctr_engine.io.samples import read_sample
    from ctr_engine.refinement.lineage import history as history_of
    from ctr_engine.refinement.sample import annotations_in, lineage_in

    path = sample_in(results.expanduser())
    adata = read_sample(path, values=False)
    lineage, labels = lineage_in(adata, str(path)), annotations_in(adata, str(path))
    known = set(lineage.cell_ids.tolist())
    unknown = [name for name in cell if name not in known]
    if unknown:
        some = ", ".join(map(str, lineage.cell_ids[:_MOST_NAMES]))
        names = ", ".join(map(repr, unknown))
        msg = f"{path} has no cell {names}; cells are called {some}, ..."
        raise ParameterError(msg)
    rows: dict[Any, Any] = (
        labels[labels["cell_id"].isin(cell)].set_index("cell_id").to_dict("index")
    )
    found = [history_of(lineage, name, rows[name]) for name in dict.fromkeys(cell)]
    if as_json:
        _print_json(found)
        return
    for table in found:
        _show(table)


def _print_json(found: "list[DataFrame]") -> None:
    import json

    rows = [row for table in found for row in json.loads(table.to_json(orient="records"))]
    typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))


def _show(table: "DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    way = [name for name, _ in groupby(table["cell_type"])]
    shown = Table(
        title=Text(f"{table['cell_id'].iloc[0]}: {' -> '.join(way)}"), title_justify="left"
    )
    for name in ("step", "cluster", "cell type", "confidence", "decided by", "what was done"):
        shown.add_column(name, justify="right" if name == "confidence" else "left", overflow="fold")
    before = None
    for row in table.to_dict("records"):
        step = "Stage H" if row["iteration"] == 0 else f"iteration {row['iteration']}"
        parts = (
            step,
            row["cluster_id"],
            row["cell_type_path"] or row["cell_type"],
            _lead(row["cell_type_confidence"]),
            row["decided_by"],
            _done(row, row["cluster_id"] == before),
        )
        shown.add_row(*map(Text, parts))
        before = row["cluster_id"]
    Console().print(shown)


def _lead(confidence: float) -> str:
    from ctr_engine.gating.compete import ALONE

    return "no rival" if confidence >= ALONE else f"{confidence:.2f}"


def _done(row: Mapping[Any, Any], stayed: bool) -> str:
    """Operation, who asked for it, and why."""
    if row["operation"] is None:
        return ""
    who = ", ".join(row[name] or "" for name in ("author", "date") if row[name])
    why = f": {row['reason']}" if row["reason"] else ""
    vain = ", in vain" if row["operation"] == "subcluster" and stayed else ""
    return f"{row['operation']}{vain} ({row['source']}{', ' + who if who else ''}){why}"
