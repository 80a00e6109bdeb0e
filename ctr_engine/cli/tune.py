"""``ctr tune``: labels over a grid of parameters, from what a run stored."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctr_engine.cli.console import show_warnings, step_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from ctr_engine.tuning.tune import Tuning

_FORM = "NAME=FROM:TO:STEP or NAME=VALUE,VALUE; may be given often"
_MOST_ROWS, _MOST_VALUES = 15, 60
_FIGURES = ("tune_clusters", "tune_grid")


def tune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that ctr annotate wrote.")],
    gating: Annotated[list[str] | None, typer.Option(help=f"Gating range: {_FORM}.")] = None,
    scoring: Annotated[list[str] | None, typer.Option(help=f"Scoring range: {_FORM}.")] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--out", help="Folder for tables and heat map."),
    ] = None,
) -> None:
    """Decide again over a grid of parameters; the cells are not touched."""
    from ctr_engine.io.folder import require_no_run
    from ctr_engine.io.runs import read_run
    from ctr_engine.tuning.grid import parse_axis, settings_of
    from ctr_engine.tuning.summary import tuning_tables
    from ctr_engine.tuning.tune import tune as tuned

    axes = [parse_axis("scoring", text) for text in scoring or []]
    axes += [parse_axis("gating", text) for text in gating or []]
    n_settings = len(settings_of(axes))
    folder = None if output_dir is None else output_dir.expanduser()
    if folder is not None:
        require_no_run(folder)
    stored = read_run(run.expanduser())
    done = 0
    with step_progress(n_settings, "settings", counted=True) as progress:

        def advance(n: int) -> None:
            nonlocal done
            done += n
            progress(str(done))

        result = tuned(stored, axes, advance)
    tables = tuning_tables(result)
    what = "turns nothing on this map, so that no label depends on it."
    show_warnings([f"{name} {what}" for name in result.idle])
    if folder is not None:
        _write(folder, result, tables)
    _show(result, tables, folder)


def _write(folder: Path, result: "Tuning", tables: "dict[str, DataFrame]") -> None:
    from ctr_engine.io.atomic import whole_file, write_text
    from ctr_engine.io.tables import write_csv
    from ctr_engine.tables import TUNING_TABLES
    from ctr_engine.tuning.summary import parameter_columns

    for name, table in tables.items():
        extra = parameter_columns(result) if name == "tune_settings" else None
        write_csv(TUNING_TABLES[name], table, folder / f"{name}.csv", extra)
    axes = [{"section": a.section, "name": a.name, "values": a.values} for a in result.axes]
    content = {"axes": axes, "n_settings": len(result.settings)}
    write_text(folder / "tune.json", json.dumps(content, indent=2) + "\n")
    for name in _FIGURES:
        (folder / f"{name}.png").unlink(missing_ok=True)
    for name, figure in _figures(result, tables).items():
        with whole_file(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=150)


def _figures(result: "Tuning", tables: "dict[str, DataFrame]") -> "dict[str, Figure]":
    """Draw the heat maps; of an axis with very many values, some that are evenly spread."""
    import pandas as pd

    from ctr_engine.reporting.tuning_figures import changed_grid, share_kept
    from ctr_engine.tuning.grid import names_of

    names = names_of(result.axes)
    drawn = {n: _spread(axis.values) for n, axis in zip(names, result.axes, strict=True)}
    shares = tables["tune_shares"]
    texts = {name: {str(value) for value in values} for name, values in drawn.items()}
    kept = [v in texts[n] for n, v in zip(shares["parameter"], shares["value"], strict=True)]
    title = "Share that keeps its label"
    if not all(kept):
        title += f" (at most {_MOST_VALUES} values of each parameter)"
    figures = {"tune_clusters": share_kept(shares[kept].reset_index(drop=True), title)}
    if len(names) == 2:
        x_name, y_name = names
        grid = pd.DataFrame(result.settings, columns=["x", "y"])
        grid["n_changed"] = tables["tune_settings"]["n_clusters_changed"]
        grid = grid[grid["x"].isin(drawn[x_name]) & grid["y"].isin(drawn[y_name])]
        used = None if None in result.current else (result.current[0], result.current[1])
        n_clusters = result.decider.n_clusters
        figures["tune_grid"] = changed_grid(
            grid.reset_index(drop=True), x_name, y_name, n_clusters, used
        )
    return figures


def _spread(values: "tuple[Any, ...]") -> "list[Any]":
    """Choose values that are evenly spread over all, the first and the last among them."""
    n = min(len(values), _MOST_VALUES)
    places = [round(i * (len(values) - 1) / max(n - 1, 1)) for i in range(n)]
    return [values[place] for place in places]


def _show(result: "Tuning", tables: "dict[str, DataFrame]", folder: Path | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from ctr_engine.tuning.summary import fewest_unassigned

    console = Console()
    settings, clusters = tables["tune_settings"], tables["tune_clusters"]
    n, same = len(settings), int((settings["n_clusters_changed"] == 0).sum())
    console.print(f"{n:,} settings, {len(clusters)} clusters; {same:,} settings change no label.")
    firm = int((clusters["share_kept"] == 1).sum())
    console.print(f"{firm} clusters keep their label under every setting.")
    _show_clusters(clusters[clusters["share_kept"] < 1].sort_values("share_kept"))
    _show_labels(tables["tune_labels"])
    best = fewest_unassigned(result)
    if best is None:
        console.print("No setting leaves fewer cells Unassigned than the run.")
    else:
        named = zip(result.axes, result.settings[best], strict=True)
        values = ", ".join(f"{axis.name}={value}" for axis, value in named)
        fewest = settings["n_cells_unassigned"][best]
        console.print(Text(f"Fewest Unassigned cells, {fewest:,}: {values}"), soft_wrap=True)
    if folder is None:
        console.print("Add --output-dir DIR to keep the tables and the heat map.")
    else:
        console.print(Text(f"Results: {folder}"), soft_wrap=True)


def _show_clusters(clusters: "DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if clusters.empty:
        return
    shown = Table(title=f"Least firm of {len(clusters)} clusters that change")
    for name in ("cluster", "cells", "label", "kept", "else mostly", "robustness"):
        right = name in ("cells", "kept", "robustness")
        shown.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in clusters.head(_MOST_ROWS).to_dict("records"):
        other = f"{row['other_path'] or row['other_label']} ({row['other_share']:.0%})"
        label = row["assigned_path"] or row["assigned_label"]
        texts = (row["cluster_id"], f"{row['n_cells']:,}", label)
        numbers = (f"{row['share_kept']:.0%}", other, f"{row['robustness']:.0%}")
        shown.add_row(*map(Text, texts + numbers))
    Console().print(shown)


def _show_labels(labels: "DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title="Cells by label over the grid")
    for name in ("label", "now", "fewest", "median", "most", "stable"):
        shown.add_column(name, justify="left" if name == "label" else "right", overflow="fold")
    for row in labels.to_dict("records"):
        numbers = [f"{row[n]:,.0f}" for n in ("n_cells", "least_cells", "median_cells")]
        numbers += [f"{row['most_cells']:,}", f"{row['share_stable']:.0%}"]
        shown.add_row(Text(row["path"] or row["label"]), *numbers)
    Console().print(shown)
