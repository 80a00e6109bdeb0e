"""What the user sees: results on stdout, progress, warnings and errors on stderr."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from ctr_engine.errors import CtrError

if TYPE_CHECKING:
    from collections.abc import Callable

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
        except KeyboardInterrupt:
            show_error("interrupted; a folder of results without a run.json is not whole")
            raise typer.Exit(130) from None


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


@contextmanager
def step_progress(total: int, what: str) -> Iterator["Callable[[str], None]"]:
    """Show a bar with the step that is running; call what is given with the name of each step."""
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
            progress.update(task, description=name, completed=started)
            started += 1

        yield step
        progress.update(task, description="done", completed=total)
