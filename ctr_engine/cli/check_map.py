"""``ctr check-map``: whether a marker map is valid, and what a panel can do with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ctr_engine.cli.console import show_warnings
from ctr_engine.cli.options import pipeline_params
from ctr_engine.errors import ParameterError

if TYPE_CHECKING:
    from ctr_engine.markers.preflight import PreflightReport


def check_map(
    marker_map: Annotated[Path, typer.Argument(metavar="MAP", help="Marker map, JSON or YAML.")],
    panel: Annotated[
        Path | None, typer.Option(help="Sample whose panel the map is held against.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Parameter file, YAML or JSON.")] = None,
    profile: Annotated[str | None, typer.Option(help="reference or adaptive.")] = None,
    gating_params: Annotated[str | None, typer.Option(help="Gating, JSON or @FILE.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of the sample.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when a cell type cannot be reached.")
    ] = False,
) -> None:
    """Check a marker map, alone or against the panel of a sample."""
    idle = {"--layer": layer, "--gating-params": gating_params, "--strict": strict or None}
    given = [flag for flag, value in idle.items() if value is not None]
    if panel is None and given:
        msg = f"{', '.join(given)} would have no effect; add --panel SAMPLE"
        raise ParameterError(msg)
    from ctr_engine.expression import read_expression
    from ctr_engine.io.samples import read_marker_map, read_sample
    from ctr_engine.markers.panel import resolve_map
    from ctr_engine.markers.preflight import preflight

    params = pipeline_params(
        config=config,
        profile=profile,
        scoring=None,
        gating=gating_params,
        expression={"layer": layer},
        clustering={},
    )
    parsed = read_marker_map(marker_map)
    roots = ", ".join(root.label for root in parsed.roots)
    typer.echo(f"{marker_map}: valid. {len(parsed.nodes)} cell types; roots: {roots}.")
    typer.echo(f"content hash {parsed.content_hash}")
    labels = [node.label for node in parsed.nodes]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        shown = ", ".join(map(repr, twice))
        show_warnings([f"In more than one branch, told apart by the path only: {shown}."])
    if panel is None:
        return
    view = read_expression(read_sample(panel), params.expression, str(panel))
    report = preflight(resolve_map(parsed, view.panel), params.gating_for(parsed))
    _show(report, str(panel), view.n_markers)
    show_warnings([*view.warnings, *report.warnings])
    if strict and report.unreachable:
        raise typer.Exit(1)


def _show(report: "PreflightReport", panel: str, n_markers: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"{panel}: {n_markers} markers"), show_lines=False)
    for name in ("cell type", "coverage", "not on the panel", "nearest names", "reachable"):
        table.add_column(name, overflow="fold")
    for row in report.table.to_dict("records"):
        absent = [
            f"{name} ({status})" if status != "missing" else name
            for status in ("missing", "technical", "dropped")
            for name in row[status]
        ]
        label = "  " * row["level"] + row["path"].rpartition(" / ")[2]
        found = len(row["resolved"])
        verdict = "yes" if row["reachable"] else f"no: {row['obstacle']}"
        cells = (
            label,
            f"{found}/{row['n_markers']}",
            ", ".join(absent),
            "; ".join(row["suggestions"]),
            verdict,
        )
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
    lost = report.unreachable
    typer.echo(f"{len(report.table) - len(lost)} of {len(report.table)} cell types can be reached.")
