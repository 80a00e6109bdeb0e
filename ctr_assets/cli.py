"""The ``ctr`` command: the engine's commands, and those that need the graph."""

from pathlib import Path
from typing import Annotated

import typer

from ctr_engine.cli import build_app

app = build_app()

DEMO_FOLDER = Path("ctr-demo")


@app.command()
def demo(
    project: Annotated[
        Path, typer.Option("--project-dir", help="Folder that is made for the demo.")
    ] = DEMO_FOLDER,
) -> None:
    """Run the graph on real and simulated cells."""
    from ctr_assets.commands import run_demo

    run_demo(project)


@app.command()
def run(
    partitions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PARTITION]...", help="<tissue>__<sample>; all when none is named."
        ),
    ] = None,
    project: Annotated[Path, typer.Option(help="Project folder, the one with ctr.yaml.")] = Path(),
    report: Annotated[
        bool, typer.Option("--report", help="Make the page with figures and cards as well.")
    ] = False,
) -> None:
    """Annotate the samples of a project folder."""
    from ctr_assets.commands import run_partitions

    run_partitions(project, partitions or [], report=report)


@app.command()
def status(
    project: Annotated[Path, typer.Option(help="Project folder, the one with ctr.yaml.")] = Path(),
    tissue: Annotated[str | None, typer.Option(help="Only this tissue.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list the partitions that are fresh.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which samples are fresh, behind, running or failed, and why."""
    from ctr_assets.commands import show_status

    show_status(project, tissue, everything=everything, as_json=as_json)


@app.command()
def backfill(
    tissue: Annotated[str | None, typer.Option(help="All samples of this tissue.")] = None,
    partitions: Annotated[
        list[str] | None, typer.Argument(metavar="[PARTITION]...", help="Or these.")
    ] = None,
    begin: Annotated[
        str, typer.Option("--from", help="First asset that is made anew.")
    ] = "stage_h_input",
    project: Annotated[Path, typer.Option(help="Project folder, the one with ctr.yaml.")] = Path(),
) -> None:
    """Have the daemon make many samples anew, one run each, from an asset on."""
    from ctr_assets.commands import start_backfill

    start_backfill(project, tissue, partitions or [], begin)


@app.command()
def lineage(
    partition: Annotated[str, typer.Argument(help="<tissue>__<sample>.")],
    asset: Annotated[str, typer.Argument(help="Asset, such as final_annotations.")],
    project: Annotated[Path, typer.Option(help="Project folder, the one with ctr.yaml.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print W3C PROV as JSON.")] = False,
) -> None:
    """Show what an asset was made from, and whether it could be made again as it is."""
    from ctr_assets.commands import show_lineage

    show_lineage(project, partition, asset, as_json=as_json)


@app.command()
def export(
    partition: Annotated[str, typer.Argument(help="<tissue>__<sample>.")],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "--out", help="Folder for the results.")
    ],
    project: Annotated[Path, typer.Option(help="Project folder, the one with ctr.yaml.")] = Path(),
) -> None:
    """Write the results of a partition as ctr annotate does, for explain, tune and compare."""
    from ctr_assets.commands import export_results

    export_results(project, partition, output_dir.expanduser())


@app.command()
def ui(
    project: Annotated[
        Path, typer.Argument(help="Project folder, the one with ctr.yaml.")
    ] = Path(),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the Dagster UI of a project folder."""
    from ctr_assets.commands import run_ui

    run_ui(project, port)


@app.command()
def worker(
    project: Annotated[
        Path, typer.Argument(help="Project folder, the one with ctr.yaml.")
    ] = Path(),
    queue: Annotated[str, typer.Option(help="Queue that is worked on: cpu or gpu.")] = "cpu",
    concurrency: Annotated[int, typer.Option(min=1, help="Steps at a time; gpu: one.")] = 1,
) -> None:
    """Work on steps that runs with CTR_EXECUTOR=celery hand out."""
    from ctr_assets.worker import run_worker

    run_worker(project, queue, concurrency)


def main() -> None:
    """Entry point of ``ctr``."""
    app()
