"""``ctr refine``: what refinement would do to a sample, and, when asked to, doing it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ctr_engine.cli.console import show_warnings, step_progress
from ctr_engine.cli.options import names_in, one_input, read_any
from ctr_engine.cores import available_cores
from ctr_engine.errors import ParameterError

if TYPE_CHECKING:
    from ctr_engine.cli.refine_run import RefineRequest, RefineResult
    from ctr_engine.refinement.params import PipelineParams

_MOST_ROWS = 40
AUTO, TWO_PASS = "auto", "two-pass"


def refine(
    sample: Annotated[
        Path | None,
        typer.Argument(metavar="INPUT", help="coarse_clusters.h5ad, or an earlier refined.h5ad."),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "--out", help="Folder for the results.")
    ] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", help="The same as INPUT.", hidden=True)
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Propose by the criteria.")] = False,
    policy: Annotated[
        str | None,
        typer.Option(help="auto, the same as --auto; or two-pass: divide and join by distance."),
    ] = None,
    manual: Annotated[
        Path | None, typer.Option("--manual", help="Plan of a person, YAML or JSON.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Parameter file (its refinement); or a plan.")
    ] = None,
    execute: Annotated[
        bool, typer.Option("--execute", help="Do it; else only the report is written.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and write nothing.")
    ] = False,
    until_converged: Annotated[
        bool, typer.Option("--until-converged", help="Go on until nothing moves.")
    ] = False,
    max_iterations: Annotated[int | None, typer.Option(min=1, help="Most iterations (3).")] = None,
    refinement_params: Annotated[
        str | None, typer.Option(help="Parameters, JSON or @FILE.")
    ] = None,
    refinement_preset: Annotated[
        str | None, typer.Option(help="conservative or aggressive; your own values win.")
    ] = None,
    focus_labels: Annotated[
        str | None, typer.Option(help="Only clusters of these labels, comma-separated.")
    ] = None,
    focus_clusters: Annotated[
        str | None, typer.Option(help="Only these clusters and their parts, comma-separated.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="reference or adaptive; that of the annotation by default.")
    ] = None,
    n_jobs: Annotated[int | None, typer.Option(min=1, help="Threads; all by default.")] = None,
) -> None:
    """Divide mixed clusters and move labels, against the values of the whole sample."""
    source = one_input(sample, input_, "ctr refine RUN/coarse_clusters.h5ad --output-dir DIR")
    if output_dir is None and not dry_run:
        msg = "--output-dir is missing; name a folder for the results, or add --dry-run"
        raise ParameterError(msg)
    if dry_run and execute:
        msg = "--dry-run and --execute exclude each other; drop one"
        raise ParameterError(msg)
    if until_converged and not execute:
        msg = "--until-converged would have no effect; add --execute"
        raise ParameterError(msg)
    plan_file, parameters = _files(manual, config)
    chosen = _policy(policy, auto=auto)
    if execute and chosen is None and plan_file is None:
        msg = "nobody proposes anything; add --auto, --policy two-pass or --manual FILE"
        raise ParameterError(msg)
    flags = (profile, refinement_params, refinement_preset, max_iterations)
    params = _parameters(parameters, *flags)
    from ctr_engine.cli.refine_run import RefineRequest

    request = RefineRequest(
        sample=source.expanduser(),
        output_dir=None if output_dir is None or dry_run else output_dir.expanduser(),
        auto=chosen is not None or plan_file is None,
        two_pass=chosen == TWO_PASS,
        manual=plan_file,
        execute=execute,
        until_converged=until_converged,
        given=params.refinement,
        profile=params.profile if "profile" in params.model_fields_set else None,
        preset=params.chosen_refinement_preset,
        focus_labels=names_in(focus_labels),
        focus_clusters=names_in(focus_clusters),
        n_jobs=n_jobs or available_cores(),
    )
    _run(request)


def _policy(name: str | None, *, auto: bool) -> str | None:
    """Who proposes beside a person; None where nobody was asked to.

    Raises
    ------
    ParameterError
        If there is no such policy, or ``--auto`` names another one.
    """
    if name is None:
        return AUTO if auto else None
    if name not in (AUTO, TWO_PASS):
        msg = f"--policy is {AUTO} or {TWO_PASS}; got {name!r}"
        raise ParameterError(msg)
    if auto and name != AUTO:
        msg = f"--auto is --policy {AUTO}, and --policy is {name}; drop one"
        raise ParameterError(msg)
    return name


def _run(request: "RefineRequest") -> None:
    from ctr_engine.cli.refine_run import run_refinement

    with step_progress(request.n_steps, request.sample.name) as progress:
        result = run_refinement(request, progress)
    show_warnings(result.warnings)
    _show(result, request)


def _files(manual: Path | None, config: Path | None) -> tuple[Path | None, Path | None]:
    """Tell the plan from the parameter file; ``--config`` may name either."""
    from ctr_engine.refinement.manual import SECTIONS

    if config is None:
        return manual, None
    content = read_any(config).value
    is_plan = isinstance(content, dict) and bool({*SECTIONS, "refinements"} & set(content))
    if not is_plan:
        return manual, config
    if manual is not None:
        msg = f"--config {config} is a plan, and so is --manual {manual}; name one"
        raise ParameterError(msg)
    return config, None


def _parameters(
    file: Path | None,
    profile: str | None,
    flag: str | None,
    preset: str | None,
    max_iterations: int | None,
) -> "PipelineParams":
    from ctr_engine.cli.options import pipeline_params
    from ctr_engine.params import layered
    from ctr_engine.refinement.params import PipelineParams, RefinementParams

    params = pipeline_params(
        config=file,
        profile=profile,
        scoring=None,
        gating=None,
        expression={},
        clustering={},
        refinement=flag,
        refinement_preset=known_preset(preset),
    )
    if max_iterations is None:
        return params
    limit = RefinementParams(max_iterations=max_iterations)
    return layered(params, PipelineParams(refinement=limit))


def known_preset(name: str | None) -> str | None:
    """Refuse a preset that does not exist.

    Raises
    ------
    ParameterError
        If there is none of this name.
    """
    from ctr_engine.refinement.params import REFINEMENT_PRESETS

    if name is not None and name not in REFINEMENT_PRESETS:
        known = " or ".join(REFINEMENT_PRESETS)
        msg = f"--refinement-preset is {known}; got {name!r}"
        raise ParameterError(msg)
    return name


def _show(result: "RefineResult", request: "RefineRequest") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ctr_engine.refinement.plan import describe

    console = Console()
    table = Table(
        title="What refinement would do" if not request.execute else "What was found at first"
    )
    for name in ("cluster", "cells", "label", "recommendation", "criterion", "why not", "target"):
        table.add_column(name, justify="right" if name == "cells" else "left", overflow="fold")
    for row in result.report.head(_MOST_ROWS).to_dict("records"):
        texts = [row[n] or "" for n in ("criterion", "reason", "target_label")]
        first = (row["cluster_id"], f"{row['n_cells']:,}", row["current_label"])
        table.add_row(*map(Text, (*first, row["recommendation"], *texts)))
    console.print(table)
    for operation in result.plan.operations:
        console.print(Text(f"  {describe(operation)}"))
    for line in result.lines:
        console.print(Text(line), soft_wrap=True)
