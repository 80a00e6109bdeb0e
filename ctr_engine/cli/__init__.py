"""The commands that need no graph. Heavy imports live inside them, so that help is instant."""

import typer

from ctr_engine.cli.annotate import annotate
from ctr_engine.cli.check_map import check_map
from ctr_engine.cli.console import FriendlyGroup
from ctr_engine.cli.schema import schema


def build_app() -> typer.Typer:
    """Make the application; whoever builds on it adds its own commands."""
    app = typer.Typer(
        name="ctr",
        cls=FriendlyGroup,
        help="Name the cells of single-cell and spatial-proteomics samples from a marker map.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("annotate")(annotate)
    app.command("check-map")(check_map)
    app.command("schema")(schema)
    return app
