"""The commands that need no graph. Heavy imports live inside them, so that help is instant."""

from typing import Annotated

import typer

from ctr_engine.cli import gaphack
from ctr_engine.cli.annotate import annotate
from ctr_engine.cli.check_map import check_map
from ctr_engine.cli.compare import compare
from ctr_engine.cli.consensus import consensus
from ctr_engine.cli.console import FriendlyGroup
from ctr_engine.cli.evaluate import evaluate
from ctr_engine.cli.explain import explain
from ctr_engine.cli.export_markers import export_markers
from ctr_engine.cli.history import history
from ctr_engine.cli.refine import refine
from ctr_engine.cli.review import export_review, import_review
from ctr_engine.cli.schema import schema
from ctr_engine.cli.simulate import simulate
from ctr_engine.cli.tune import tune


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ctr {version('ctr')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Name the cells of single-cell and spatial-proteomics samples from a marker map."""


def build_app() -> typer.Typer:
    """Make the application; whoever builds on it adds its own commands."""
    app = typer.Typer(
        name="ctr",
        cls=FriendlyGroup,
        help="Name the cells of single-cell and spatial-proteomics samples from a marker map.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain help; that of rich takes 0.3 s to import
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.command("annotate")(annotate)
    app.command("check-map")(check_map)
    app.command("refine")(refine)
    app.command("consensus")(consensus)
    app.command("history")(history)
    app.command("export-review")(export_review)
    app.command("import-review")(import_review)
    app.command("explain")(explain)
    app.command("compare")(compare)
    app.command("tune")(tune)
    app.command("evaluate")(evaluate)
    app.add_typer(gaphack.app, name="gaphack")
    app.command("export-markers")(export_markers)
    app.command("simulate")(simulate)
    app.command("schema")(schema)
    return app
