"""``ctr compare``: what changed between two runs, and which edit is behind it."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ctr_engine.cli.console import counted, show_warnings

if TYPE_CHECKING:
    from rich.console import Console

    from ctr_engine.comparison.compare import Comparison

_MOST_ROWS = 30


def compare(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder of the earlier run.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="Folder of the later run.")],
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--out", help="Folder for tables, JSON and page."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which labels changed between two runs, where the decision parted, and why."""
    from ctr_engine.comparison.compare import compare as compared
    from ctr_engine.io.folder import require_no_run
    from ctr_engine.io.runs import read_run

    folder = None if output_dir is None else output_dir.expanduser()
    if folder is not None:
        require_no_run(folder)
    result = compared(read_run(run_a.expanduser()), read_run(run_b.expanduser()))
    show_warnings(result.warnings)
    if folder is not None:
        _write(folder, result)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2, ensure_ascii=False))
    else:
        _show(result, folder)


def _write(folder: Path, result: "Comparison") -> None:
    from ctr_engine.io.atomic import write_text
    from ctr_engine.io.tables import write_csv
    from ctr_engine.reporting.comparison_page import comparison_page
    from ctr_engine.tables import COMPARISON_TABLES

    for name, table in result.tables.items():
        write_csv(COMPARISON_TABLES[name], table, folder / f"{name}.csv")
    text = json.dumps(result.as_json(), indent=2, ensure_ascii=False)
    write_text(folder / "compare.json", text + "\n")
    write_text(folder / "compare.html", comparison_page(result))


def _show(result: "Comparison", folder: Path | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console, found = Console(), result.agreement
    console.print(Text(f"A: {result.run_a}"), soft_wrap=True)
    console.print(Text(f"B: {result.run_b}"), soft_wrap=True)
    share = found.n_cells_changed / found.n_cells
    console.print(
        f"{found.n_cells_changed:,} of {found.n_cells:,} cells ({share:.1%}) have another label, "
        f"in {counted(result.n_clusters_changed, 'cluster')}."
    )
    if found.n_cells_only_a or found.n_cells_only_b:
        only = f"Only in A: {found.n_cells_only_a:,} cells; only in B: {found.n_cells_only_b:,}."
        console.print(only)
    console.print(
        f"ARI of the labels {found.ari_labels:.3f}, of the clusters {found.ari_clusters:.3f}; "
        f"mean Jaccard of the labels {found.mean_jaccard:.3f}."
    )
    _show_flow(console, result)
    _show_differences(console, result)
    _show_clusters(console, result)
    if folder is None:
        console.print("Add --output-dir DIR to keep tables, JSON and the page.")
    else:
        console.print(Text(f"Results: {folder}; open {folder / 'compare.html'}"), soft_wrap=True)


def _show_flow(console: "Console", result: "Comparison") -> None:
    from rich.table import Table
    from rich.text import Text

    flow = result.tables["label_flow"]
    changed = flow[flow["changed"]].head(_MOST_ROWS)
    if changed.empty:
        return
    table = Table(title="Cells that changed their label")
    for name in ("cells", "label in A", "label in B"):
        table.add_column(name, justify="right" if name == "cells" else "left", overflow="fold")
    for row in changed.to_dict("records"):
        names = [row["path_a"] or row["label_a"], row["path_b"] or row["label_b"]]
        table.add_row(f"{row['n_cells']:,}", *map(Text, names))
    console.print(table)


def _show_differences(console: "Console", result: "Comparison") -> None:
    from rich.table import Table
    from rich.text import Text

    differ = result.tables["differences"]
    if differ.empty:
        console.print("The runs had the same values, parameters and marker map.")
        return
    table = Table(title="What differs between the runs")
    for name in ("what", "in A", "in B", "set in", "explains alone"):
        table.add_column(name, overflow="fold")
    for row in differ.to_dict("records"):
        values = ["-" if row[n] is None else row[n] for n in ("value_a", "value_b", "set_in_b")]
        alone = row["n_clusters_alone"]
        cells = row["n_cells_alone"]
        known = (
            "?" if math.isnan(alone) else f"{counted(int(alone), 'cluster')}, {cells:,.0f} cells"
        )
        table.add_row(*map(Text, (row["name"], *values, known)))
    console.print(table)


def _show_clusters(console: "Console", result: "Comparison") -> None:
    from rich.text import Text

    from ctr_engine.reporting.comparison_page import because

    changes = result.tables["cluster_changes"]
    changed = changes[changes["changed"]].sort_values("n_cells", ascending=False, kind="stable")
    for row in changed.head(_MOST_ROWS).to_dict("records"):
        name = row["cluster_b"]
        if not result.same_clusters:
            name += f" (from {row['cluster_a']}, {row['share_shared']:.0%} of it)"
        same = row["label_a"] == row["label_b"]  # in another branch
        labels = [row[f"path_{side}" if same else f"label_{side}"] for side in ("a", "b")]
        title = f"Cluster {name}: {' -> '.join(labels)} ({row['n_cells']:,} cells)"
        console.print(Text(title, style="bold"))
        if row["step"] is not None:
            where = row["parent_path"] or "the roots"
            console.print(Text(f"  first difference, at {where}: {row['step']}"))
        console.print(Text(f"  because of: {because(row)}"))
