"""What the user sees: results on stdout, progress, warnings and errors on stderr."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import typer
from typer.core import TyperGroup

from ctr_engine.errors import CtrError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pandas import DataFrame
    from rich.console import Console


class FriendlyGroup(TyperGroup):
    """Shows an error of ours as its text and exits with 1; a defect keeps its trace."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except CtrError as error:
            show_error(str(error))
            raise typer.Exit(1) from None
        except KeyboardInterrupt as interrupt:
            usual = "interrupted; a folder of results without a run.json is not whole"
            show_error(str(interrupt) or usual)
            raise typer.Exit(130) from None


def counted(n: int, thing: str) -> str:
    """Write a number of things: ``1 cluster``, ``2 clusters``."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"


def stderr() -> "Console":
    """Console for everything that is not a result."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


def show_error(message: str) -> None:
    """Print an error; what it quotes is never read as markup."""
    from rich.text import Text

    stderr().print(Text.assemble(("Error: ", "bold red"), message))


def show_warnings(messages: Sequence[str]) -> None:
    """Print warnings, one line each."""
    from rich.text import Text

    console = stderr()
    for message in messages:
        console.print(Text.assemble(("Warning: ", "yellow"), message))


def show_reasons(tables: "Mapping[str, DataFrame]", title: str) -> None:
    """Print each cluster with its label, where the walk stopped, and why."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ctr_engine.reporting.reasons import reasons

    why = reasons(tables)
    shown = Table(title=Text(title))
    for name in ("cluster", "cells", "cell type", "support", "stop reason", "why"):
        justify: Literal["left", "right"] = "right" if name in ("cells", "support") else "left"
        shown.add_column(name, justify=justify, overflow="fold")
    for row in tables["cluster_annotations"].to_dict("records"):
        cluster = row["cluster_id"]
        texts = (
            cluster,
            f"{row['n_cells']:,}",
            row["assigned_label"],
            f"{row['support']:.0%}",
            row["stop_reason"],
        )
        shown.add_row(*(Text(text) for text in (*texts, why[cluster])))
    Console().print(shown)


def show_markers(tables: "Mapping[str, DataFrame]") -> None:
    """Print the markers of the label of each cluster: what they show, and what they add."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title="Markers of each label")
    for name in ("cluster", "cell type", "marker", "role"):
        shown.add_column(name, overflow="fold")
    for name in ("enrichment", "positive", "DE rank", "in the score"):
        shown.add_column(name, justify="right")
    evidence = tables["marker_evidence"]
    for row in tables["cluster_annotations"].to_dict("records"):
        own = (evidence["cluster_id"] == row["cluster_id"]) & (
            evidence["path"] == row["assigned_path"]
        )
        for part in evidence[own].to_dict("records"):
            numbers = (
                f"{part['enrichment']:+.2f}",
                f"{part['positive_fraction']:.0%}",
                "" if part["de_rank"] != part["de_rank"] else f"{part['de_rank']:.0f}",
                f"{part['in_score']:+.2f}",
            )
            texts = (row["cluster_id"], row["assigned_label"], part["marker"], part["role"])
            shown.add_row(*map(Text, texts + numbers))
    Console().print(shown)


@contextmanager
def step_progress(
    total: int, what: str, *, counted: bool = False
) -> Iterator["Callable[[str], None]"]:
    """Show a bar; call what is given with the name of each step before it starts.

    Where ``counted``, call it with the number of things that are done.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.fields[what]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr(), transient=False) as progress:
        task = progress.add_task("starting", total=total, what=what)
        started = 0

        def step(name: str) -> None:
            nonlocal started
            if counted:
                progress.update(task, description="", completed=int(name))
                return
            progress.update(task, description=name, completed=started)
            started += 1

        yield step
        progress.update(task, description="done", completed=total)
