"""``ctr export-review`` and ``ctr import-review``: a curator's sheet, and what is made of it."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ctr_engine.cli.console import counted, show_warnings
from ctr_engine.errors import Fault, InputError, OutputError, ParameterError
from ctr_engine.keys import UNASSIGNED

if TYPE_CHECKING:
    from ctr_engine.markers.hierarchy import MarkerMap
    from ctr_engine.refinement.curation import Curation, Curator, Decision
    from ctr_engine.refinement.lineage import Lineage


def export_review(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder of ctr, or refined.h5ad.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Sheet, .csv or .xlsx.")] = None,
) -> None:
    """Write a sheet with one row per cluster, for a curator to fill in."""
    if out is None:
        msg = "--out is missing; name the sheet: ctr export-review RESULTS --out sheet.xlsx"
        raise ParameterError(msg)
    from ctr_engine.io.results import sample_in
    from ctr_engine.io.review import cells_beside, write_cells
    from ctr_engine.io.samples import read_sample
    from ctr_engine.io.sheets import require_sheet, write_sheet
    from ctr_engine.refinement.params import RefinementParams
    from ctr_engine.refinement.sample import open_sample
    from ctr_engine.reporting.curation import review_sheet

    target = out.expanduser()
    require_sheet(target)
    for file in (target, cells_beside(target)):
        _require_new(file, "name another one, or remove it")
    path = sample_in(results.expanduser())
    opened = open_sample(read_sample(path), RefinementParams(), str(path))
    sheet = review_sheet(opened, str(path.resolve()))
    choices = [*(node.path for node in opened.sample.marker_map.nodes), UNASSIGNED]
    write_sheet(sheet, choices, target)
    write_cells(opened.lineage, opened.sample.marker_map, cells_beside(target))
    typer.echo(f"{target}: {counted(len(sheet), 'cluster')}, the least certain first.")
    typer.echo(f"{cells_beside(target)}: the cells of each; keep it beside the sheet.")
    typer.echo("Fill in curated_label (a label or a path), curator, curated_on, curated_reason;")
    typer.echo(f"then: ctr import-review {target} --out manual.yaml")


def _require_new(path: Path, remedy: str) -> None:
    if path.exists():
        msg = f"{path} exists, and may hold somebody's work; {remedy}"
        raise OutputError(msg)


def import_review(
    review: Annotated[
        Path, typer.Argument(metavar="REVIEW", help="Sheet, or an h5ad that was edited.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Manual file, .yaml.")] = None,
    column: Annotated[
        str | None, typer.Option(help="obs column with the labels of the curator (h5ad).")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Results that the sheet is about, if its cells are lost.")
    ] = None,
    author: Annotated[str | None, typer.Option(help="Curator where the sheet names none.")] = None,
    on: Annotated[
        str | None, typer.Option("--date", help="Day where the sheet names none; today.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Reason where the sheet gives none.")] = None,
    allow_new: Annotated[
        bool, typer.Option("--allow-new", help="Let labels be made that the map lacks.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Change a manual file that is there; the old one gets .bak."
        ),
    ] = False,
) -> None:
    """Turn a curator's decisions into a manual file of overrides, keyed by their cells."""
    from ctr_engine.refinement.curation import Curator
    from ctr_engine.refinement.plan import is_day

    if out is None or out.suffix not in (".yaml", ".yml"):
        msg = "--out names the manual file, such as manual.yaml"
        raise ParameterError(msg)
    if on is not None and not is_day(on):
        msg = f"--date is a day such as 2026-01-31; got {on!r}"
        raise ParameterError(msg)
    target, source = out.expanduser(), review.expanduser()
    if not replace:
        _require_new(target, "add --replace, which keeps the old one as .bak")
    curator = Curator(author, on or date.today().isoformat(), reason, allow_new)  # noqa: DTZ011  the curator's own day
    found = _of_cells(source, column, curator) if _is_sample(source) else None
    if found is None:
        if column is not None:
            msg = "--column is for an h5ad; a sheet has its own columns"
            raise ParameterError(msg)
        found = _of_sheet(source, run, curator)
    _write(found, source, target)


@dataclass(frozen=True)
class _Found:
    """Decisions, the clusters that they are about, and the file that shows them."""

    curation: "Curation"
    lineage: "Lineage"
    results: Path


def _is_sample(path: Path) -> bool:
    from ctr_engine.io.samples import SUFFIXES

    return path.suffix in SUFFIXES


def _of_sheet(source: Path, run: Path | None, curator: "Curator") -> _Found:
    """Read a sheet, and the cells that its clusters had when it was made."""
    from ctr_engine.io.sheets import read_sheet
    from ctr_engine.refinement.curation import decisions_of_sheet

    rows = read_sheet(source)
    lineage, marker_map = _cells_of(source, rows, run)
    curation = decisions_of_sheet(rows, lineage, marker_map, curator, str(source))
    return _Found(curation, lineage, run or _made_from(source, rows)[0])


def _cells_of(
    source: Path, rows: list[dict[str, str]], run: Path | None
) -> "tuple[Lineage, MarkerMap]":
    """Cells of the clusters of a sheet: from beside it, else from the results it was made from.

    Raises
    ------
    InputError
        If there are none, or only those of other clusters.
    """
    from ctr_engine.io.results import sample_in
    from ctr_engine.io.review import cells_beside, read_cells
    from ctr_engine.io.samples import read_sample
    from ctr_engine.refinement.sample import lineage_in, stored_map

    place, wanted = _made_from(source, rows)
    beside = cells_beside(source)
    if run is None and beside.is_file():
        path, (lineage, marker_map) = beside, read_cells(beside)
    else:
        path = place if run is None else sample_in(run.expanduser())
        if not path.is_file():
            fault = Fault(f"lacks {beside.name} beside it, and {path} is gone; add --run RESULTS")
            raise InputError(str(source), [fault])
        adata = read_sample(path, values=False)
        lineage, marker_map = lineage_in(adata, str(path)), stored_map(adata, str(path))
    if lineage.content_sha256 != wanted:
        fault = Fault(f"is about other clusters than {path} has; export a new sheet")
        raise InputError(str(source), [fault])
    return lineage, marker_map


def _made_from(source: Path, rows: list[dict[str, str]]) -> tuple[Path, str]:
    """File that a sheet was made from, and the hash of its clusters."""
    columns = ("source_file", "source_sha256")
    if not rows or any(name not in rows[0] for name in columns):
        fault = Fault(f"has no {' and '.join(columns)}; fill in what ctr export-review wrote")
        raise InputError(str(source), [fault])
    named = {(row["source_file"], row["source_sha256"]) for row in rows if any(row.values())}
    if len(named) != 1:
        fault = Fault("its rows are about several files; import one sheet at a time")
        raise InputError(str(source), [fault])
    ((place, wanted),) = named
    return Path(place), wanted


def _of_cells(source: Path, column: str | None, curator: "Curator") -> _Found:
    """Read labels that were given to cells."""
    from ctr_engine.io.samples import read_sample
    from ctr_engine.refinement.curation import decisions_of_cells
    from ctr_engine.refinement.lineage import final_annotations
    from ctr_engine.refinement.sample import annotations_in, lineage_in, stored_map

    adata = read_sample(source, values=False)
    if column is None or column not in adata.obs.columns:
        known = ", ".join(map(str, adata.obs.columns))
        what = "is missing" if column is None else f"{column!r} is no column of obs"
        msg = f"--column {what}; name the one that the curator edited, of: {known}"
        raise ParameterError(msg)
    if curator.author is None:
        msg = "--author is missing; say who edited the labels"
        raise ParameterError(msg)
    lineage = lineage_in(adata, str(source))
    labels = final_annotations(lineage, annotations_in(adata, str(source)))
    edited = adata.obs[column].astype(object).tolist()
    marker_map = stored_map(adata, str(source))
    curation = decisions_of_cells(edited, labels, lineage, marker_map, curator, str(source))
    return _Found(curation, lineage, source)


def _write(found: _Found, source: Path, target: Path) -> None:
    from ctr_engine.io.manual import write_manual

    show_warnings([f"Not taken over: {text}." for text in found.curation.conflicts])
    decisions = found.curation.decisions
    if not decisions:
        message = (
            "holds no decision; fill in curated_label"
            if not _is_sample(source)
            else ("holds no decision about a whole cluster")
        )
        raise InputError(str(source), [Fault(message)])
    from ctr_engine.cli.options import read_document
    from ctr_engine.refinement.curation import manual_content

    older = read_document(target) if target.exists() else None
    content, gone = manual_content(found.curation, found.lineage, older)
    kept_as = write_manual(content, target)
    for one in decisions:
        typer.echo(f"  override {one.cluster} -> {one.label}{_signed(one)}")
    for one in found.curation.withdrawn:
        typer.echo(f"  taken back: {one.cluster} -> {one.label}{_signed(one)}")
    if gone:
        typer.echo(f"  older entries that gave way: {', '.join(gone)}")
    if kept_as is not None:
        typer.echo(f"Other entries were kept, comments were not; the old file is {kept_as}.")
    typer.echo(
        f"{target}: {counted(len(decisions), 'override')}, each with the cells it was decided on."
    )
    typer.echo(f"Next: ctr refine {found.results} --manual {target} --execute --output-dir DIR")


def _signed(decision: "Decision") -> str:
    return f" ({decision.author})" if decision.author else ""
