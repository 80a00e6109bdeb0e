"""``ctr gaphack``: clusters of DNA barcodes with a gap around each."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ctr_engine.cli.gaphack_run import ClusterRequest, GaphackRefineRequest
from ctr_engine.cores import available_cores
from ctr_engine.errors import ParameterError

app = typer.Typer(
    help="Cluster DNA barcodes by the gap between species, and refine clusters.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Method(StrEnum):
    """How a gap is measured."""

    local = "local"
    global_ = "global"


class Context(StrEnum):
    """What is aligned together."""

    auto = "auto"
    dataset = "dataset"
    scope = "scope"


class SearchTool(StrEnum):
    """What leaves out pairs that cannot be near."""

    auto = "auto"
    all = "all"
    kmer = "kmer"
    vsearch = "vsearch"
    blast = "blast"


OutputDir = Annotated[Path, typer.Option("--output-dir", "--out", help="New folder for results.")]
MinSplit = Annotated[
    float | None, typer.Option(help="Nearer than this is always one species (0.005).")
]
MaxLump = Annotated[
    float | None, typer.Option(help="Farther apart than this is never one species (0.02).")
]
Percentile = Annotated[
    float | None, typer.Option(help="Percentile of distances that has to be small (95).")
]
GapMethod = Annotated[
    Method | None, typer.Option(help="Gap to the nearest cluster, or of all distances (local).")
]
EachFasta = Annotated[
    bool, typer.Option("--fasta", help="Also write one FASTA file for each cluster.")
]
CacheDir = Annotated[
    Path | None, typer.Option(help="Keep alignments here; your cache folder by default.")
]
NoCacheFlag = Annotated[bool, typer.Option("--no-cache", help="Keep no alignment.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Threads; all by default.")]


@app.command("cluster")
def cluster(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT.fasta...", help="FASTA, or .gz.")],
    output_dir: OutputDir,
    min_split: MinSplit = None,
    max_lump: MaxLump = None,
    target_percentile: Percentile = None,
    gap_method: GapMethod = None,
    alpha: Annotated[
        float | None, typer.Option(help="Preference for few clusters, local gap only (0).")
    ] = None,
    fasta: EachFasta = False,
    distance_matrix: Annotated[
        Path | None, typer.Option(help="Also write all distances to this CSV file.")
    ] = None,
    cache_dir: CacheDir = None,
    no_cache: NoCacheFlag = False,
    n_jobs: Jobs = None,
) -> None:
    """Cluster sequences as one scope (up to a few thousand)."""
    from ctr_engine.cli.gaphack_run import run_cluster

    given = _given(
        min_split=min_split, max_lump=max_lump, target_percentile=target_percentile,
        gap_method=gap_method, alpha=alpha,
    )  # fmt: skip
    request = ClusterRequest(
        inputs=tuple(path.expanduser() for path in inputs),
        output_dir=output_dir.expanduser(),
        given=given,
        fasta=fasta,
        distance_matrix=None if distance_matrix is None else distance_matrix.expanduser(),
        cache_dir=_cache(cache_dir, no_cache=no_cache),
        n_jobs=n_jobs or available_cores(),
    )
    for line in run_cluster(request):
        typer.echo(line)


@app.command("refine")
def refine(
    source: Annotated[
        Path,
        typer.Argument(metavar="INPUT", help="Folder with a FASTA file per cluster, or one FASTA."),
    ],
    output_dir: OutputDir,
    clusters: Annotated[
        Path | None, typer.Option(help="TSV with sequence_id and cluster_id, beside one FASTA.")
    ] = None,
    pass1_only: Annotated[
        bool, typer.Option("--pass1-only", help="Resolve conflicts, refine each cluster once.")
    ] = False,
    pass2_only: Annotated[
        bool, typer.Option("--pass2-only", help="The clusters share no sequence already.")
    ] = False,
    max_iterations: Annotated[
        int | None, typer.Option(min=1, help="Most iterations of pass 2 (10).")
    ] = None,
    close_threshold: Annotated[
        float | None, typer.Option(help="Nearer clusters are refined together (max-lump).")
    ] = None,
    min_split: MinSplit = None,
    max_lump: MaxLump = None,
    target_percentile: Percentile = None,
    max_scope_size: Annotated[
        int | None, typer.Option(help="Most sequences that are clustered together (300).")
    ] = None,
    gap_method: GapMethod = None,
    alpha: Annotated[
        float | None, typer.Option(help="Preference for few clusters, local gap only (1).")
    ] = None,
    distance_context: Annotated[
        Context | None, typer.Option(help="Align all at once, or each scope (auto: up to 2,000).")
    ] = None,
    search: Annotated[
        SearchTool, typer.Option(help="What leaves out pairs that cannot be near.")
    ] = SearchTool.auto,
    fasta: EachFasta = False,
    cache_dir: CacheDir = None,
    no_cache: NoCacheFlag = False,
    n_jobs: Jobs = None,
) -> None:
    """Divide and merge clusters of sequences until nothing changes."""
    from ctr_engine.cli.gaphack_run import run_gaphack_refine

    passes = _passes(max_iterations, close_threshold, pass1_only=pass1_only, pass2_only=pass2_only)
    given = _given(
        max_iterations=max_iterations, close_threshold=close_threshold, min_split=min_split,
        max_lump=max_lump, target_percentile=target_percentile, max_scope_size=max_scope_size,
        gap_method=gap_method, alpha=alpha, distance_context=distance_context,
    )  # fmt: skip
    request = GaphackRefineRequest(
        source=source.expanduser(),
        clusters=None if clusters is None else clusters.expanduser(),
        output_dir=output_dir.expanduser(),
        given=given,
        passes=passes,
        search=search.value,
        fasta=fasta,
        cache_dir=_cache(cache_dir, no_cache=no_cache),
        n_jobs=n_jobs or available_cores(),
    )
    with _progress(source.name) as progress:
        lines = run_gaphack_refine(request, progress)
    for line in lines:
        typer.echo(line)


def _given(**flags: Any) -> dict[str, Any]:
    """Flags that somebody set.

    Raises
    ------
    ParameterError
        If one would have no effect.
    """
    found = {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in flags.items()
        if value is not None
    }
    if "alpha" in found and "gap_method" in found and found["gap_method"] == Method.global_:
        msg = "--alpha would have no effect with --gap-method global; drop one of them"
        raise ParameterError(msg)
    return found


def _passes(
    max_iterations: int | None,
    close_threshold: float | None,
    *,
    pass1_only: bool,
    pass2_only: bool,
) -> tuple[int, ...]:
    """Passes that are asked for.

    Raises
    ------
    ParameterError
        If flags contradict each other, or one would have no effect.
    """
    if pass1_only and pass2_only:
        msg = "--pass1-only and --pass2-only exclude each other; drop both to run both passes"
        raise ParameterError(msg)
    idle = {"--max-iterations": max_iterations, "--close-threshold": close_threshold}
    named = [flag for flag, value in idle.items() if value is not None]
    if pass1_only and named:
        msg = f"{', '.join(named)} would have no effect with --pass1-only; drop one of them"
        raise ParameterError(msg)
    return (1,) if pass1_only else (2,) if pass2_only else (1, 2)


def _cache(folder: Path | None, *, no_cache: bool) -> Path | None:
    """Folder for alignments; None where none is kept.

    Raises
    ------
    ParameterError
        If a folder is named and refused at once.
    """
    if folder is not None and no_cache:
        msg = "--cache-dir and --no-cache exclude each other; drop one"
        raise ParameterError(msg)
    if no_cache:
        return None
    if folder is not None:
        return folder.expanduser()
    named = os.environ["XDG_CACHE_HOME"] if "XDG_CACHE_HOME" in os.environ else ""
    return (Path(named) if named else Path.home() / ".cache") / "ctr" / "barcodes"


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each pass, whose length is known when it begins."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ctr_engine.cli.console import stderr

    columns = (
        TextColumn(name, markup=False),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr(), transient=False) as bars:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield step
        for task in bars.tasks:  # pass 2 seldom needs all of its iterations
            bars.update(task.id, total=task.completed + 1, completed=task.completed + 1)
