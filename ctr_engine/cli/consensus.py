"""``ctr consensus``: several clusterings of a sample become one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctr_engine.cli.options import names_in
from ctr_engine.cores import available_cores
from ctr_engine.errors import ParameterError

if TYPE_CHECKING:
    from pandas import DataFrame

    from ctr_engine.cli.consensus_run import ConsensusResult
    from ctr_engine.refinement.params import PipelineParams

_MOST_ROWS = 60


def consensus(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder of ctr annotate, or its h5ad.")
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--out", help="Folder for tables, figure and h5ad."),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(help="obs columns with clusterings, comma-separated; else Leiden is run."),
    ] = None,
    runs: Annotated[int | None, typer.Option(min=2, help="Runs of Leiden (10).")] = None,
    resolutions: Annotated[
        str | None, typer.Option(help="Resolutions, comma-separated, taken in turn by the runs.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Parameter file (its consensus).")] = None,
    skip_labels: Annotated[
        bool, typer.Option("--skip-labels", help="Only clusters: runs are not annotated.")
    ] = False,
    n_jobs: Annotated[int | None, typer.Option(min=1, help="Threads; all by default.")] = None,
) -> None:
    """Make one partition of several clusterings, with a stability for each cell."""
    columns = names_in(keys)
    if columns is not None and (runs is not None or resolutions is not None):
        msg = "--keys names clusterings that are there; drop it, or --runs and --resolutions"
        raise ParameterError(msg)
    if columns is not None and len(set(columns)) < 2:
        msg = f"--keys names two or more columns; got {keys!r}"
        raise ParameterError(msg)
    params = _parameters(config, runs, resolutions)
    from ctr_engine.cli.consensus_run import ConsensusRequest, run_consensus
    from ctr_engine.cli.console import show_warnings, step_progress

    request = ConsensusRequest(
        results=results.expanduser(),
        output_dir=None if output_dir is None else output_dir.expanduser(),
        columns=columns,
        params=params.consensus,
        with_labels=not skip_labels,
        n_jobs=n_jobs or available_cores(),
    )
    with step_progress(request.n_steps, request.results.name) as progress:
        result = run_consensus(request, progress)
    show_warnings(result.warnings)
    _show(result, request.output_dir)


def _parameters(config: Path | None, runs: int | None, resolutions: str | None) -> "PipelineParams":
    from ctr_engine.cli.options import read_params, validated
    from ctr_engine.documents import Document
    from ctr_engine.params import layered
    from ctr_engine.refinement.params import PipelineParams

    given: dict[str, Any] = {} if runs is None else {"n_runs": runs}
    if resolutions is not None:
        texts = names_in(resolutions) or ("",)  # nothing between commas is no number
        given["resolutions"] = [_number(text) for text in texts]
    flags = validated(PipelineParams, Document("command line"), {"consensus": given})
    return layered(read_params(config), flags)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        msg = f"--resolutions are numbers such as 0.4,0.6,1; got {text!r}"
        raise ParameterError(msg) from None


def _show(result: "ConsensusResult", folder: Path | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from ctr_engine.cli.console import counted

    console = Console()
    numbers = result.numbers
    console.print(_clusters_table(result.shown))
    each = numbers["clusters_of_runs"]
    console.print(
        f"{numbers['n_cells']:,} cells; {len(each)} runs of {min(each)} to "
        f"{counted(max(each), 'cluster')} -> {counted(numbers['n_clusters'], 'cluster')}. "
        f"{numbers['n_conflicts']:,} cells were put into clusters that are not the same, "
        f"{numbers['n_ties']:,} of them as often into one as into another.",
        soft_wrap=True,
    )
    console.print(f"Mean stability: of clusters {numbers['mean_stability']:.3f}", end="")
    if numbers["mean_label_stability"] is None:
        console.print(".")
    else:
        console.print(f", of labels {numbers['mean_label_stability']:.3f}.")
    if folder is None:
        console.print("Nothing was written; add --output-dir DIR to keep the result.")
        return
    console.print(Text(f"Results: {folder}"), soft_wrap=True)
    console.print(Text(f"Annotate on these clusters: {result.next_command}"), soft_wrap=True)


def _clusters_table(rows: "DataFrame") -> Any:
    from rich.table import Table
    from rich.text import Text

    from ctr_engine.cli.console import counted

    shown = Table(title="Clusters of the consensus")
    for name in ("cluster", "cells", "stability", "overlap", "found by"):
        shown.add_column(name, justify="right")
    if "label" in rows.columns:
        shown.add_column("label", overflow="fold")
        shown.add_column("label stability", justify="right")
    for row in rows.head(_MOST_ROWS).to_dict("records"):
        texts = [
            row["cluster_id"],
            f"{row['n_cells']:,}",
            f"{row['mean_stability']:.2f}",
            f"{row['mean_jaccard']:.2f}",
            counted(row["n_runs_found"], "run"),
        ]
        if "label" in rows.columns:
            texts += [row["label"], f"{row['label_stability']:.2f}"]
        shown.add_row(*map(Text, texts))
    return shown
