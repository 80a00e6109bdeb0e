"""``ctr annotate``: clusters and labels of one sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctr_engine.cli.console import show_markers, show_reasons, show_warnings, step_progress
from ctr_engine.cli.options import names_in, one_input, pipeline_params
from ctr_engine.cli.refine import known_preset
from ctr_engine.cores import available_cores
from ctr_engine.errors import ParameterError

if TYPE_CHECKING:
    from ctr_engine.cli.log import RunLog
    from ctr_engine.cli.refine_run import RefineRequest
    from ctr_engine.cli.run import RunRequest, RunResult
    from ctr_engine.refinement.params import PipelineParams

_MANY_UNASSIGNED = 0.2


def annotate(
    sample: Annotated[
        Path | None, typer.Argument(metavar="INPUT", help="Sample, .h5ad or .zarr.")
    ] = None,
    marker_map: Annotated[
        Path | None, typer.Option("--marker-map", help="Marker map, JSON or YAML.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "--out", help="Folder for the results.")
    ] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", help="The same as INPUT.", hidden=True)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Parameter file, YAML or JSON; flags win over it.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="reference (default) or adaptive.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="sparse, deep, tumor or conservative; your own values win.")
    ] = None,
    scoring_params: Annotated[str | None, typer.Option(help="Scoring, JSON or @FILE.")] = None,
    gating_params: Annotated[str | None, typer.Option(help="Gating, JSON or @FILE.")] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Layer; auto (default) is batchcorr, aligned or X."),
    ] = None,
    normalize: Annotated[
        str | None, typer.Option(help="none (default), log1p_cp10k or arcsinh.")
    ] = None,
    arcsinh_cofactor: Annotated[
        float | None, typer.Option(help="Divisor before arcsinh (5).")
    ] = None,
    technical_markers: Annotated[
        str | None,
        typer.Option(help="Technical markers, comma-separated; '' for none."),
    ] = None,
    n_pcs: Annotated[int | None, typer.Option(help="Principal components (30).")] = None,
    neighbors_k: Annotated[
        int | None, typer.Option(help="Neighbours, as scanpy counts (15).")
    ] = None,
    resolution: Annotated[float | None, typer.Option(help="Resolution of Leiden (0.6).")] = None,
    random_seed: Annotated[int | None, typer.Option(help="Seed of Leiden (1337).")] = None,
    annotation_only: Annotated[
        bool, typer.Option("--annotation-only", help="Keep the clusters that the sample has.")
    ] = False,
    cluster_key: Annotated[
        str | None,
        typer.Option(help="obs column with them (cluster_lvl0)."),
    ] = None,
    clustering_only: Annotated[
        bool, typer.Option("--clustering-only", help="Make clusters, no labels.")
    ] = False,
    no_gpu: Annotated[  # noqa: ARG001  there is no GPU path yet; the CPU is always used
        bool, typer.Option("--no-gpu", help="Use the CPU (there is no GPU path yet).")
    ] = False,
    skip_refinement: Annotated[
        bool, typer.Option("--skip-refinement", help="Stop after the labels of the clusters.")
    ] = False,
    refinement_params: Annotated[
        str | None, typer.Option(help="Refinement, JSON or @FILE.")
    ] = None,
    refinement_preset: Annotated[
        str | None, typer.Option(help="conservative or aggressive; your own values win.")
    ] = None,
    compute_umap: Annotated[
        bool, typer.Option("--compute-umap", help="Compute a UMAP, and draw the labels on it.")
    ] = False,
    expand_markers: Annotated[
        bool,
        typer.Option("--expand-markers", help="Show the markers of each label, here and on cards."),
    ] = False,
    audit_cards: Annotated[
        bool, typer.Option("--generate-audit-cards", help="Write audit_cards.html.")
    ] = False,
    review_checklist: Annotated[
        bool, typer.Option("--generate-review-checklist", help="Write review_checklist.html.")
    ] = False,
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Draw no figures.")] = False,
    log_dir: Annotated[Path | None, typer.Option(help="Folder for a log of this run.")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Use what is whole there, of the same input and parameters."),
    ] = False,
    n_jobs: Annotated[
        int | None, typer.Option(min=1, help="Threads; all cores by default.")
    ] = None,
) -> None:
    """Name the clusters of a sample from a marker map, then refine them once."""
    clustering: dict[str, Any] = {
        "n_pcs": n_pcs,
        "n_neighbors": neighbors_k,
        "resolution": resolution,
        "random_state": random_seed,
    }
    flags = {"--n-pcs": n_pcs, "--neighbors-k": neighbors_k, "--resolution": resolution}
    flags |= {"--random-seed": random_seed}
    labels: dict[str, Any] = {
        "--marker-map": marker_map,
        "--gating-params": gating_params,
        "--preset": preset,
    }
    labels |= {
        "--expand-markers": expand_markers or None,
        "--generate-audit-cards": audit_cards or None,
        "--generate-review-checklist": review_checklist or None,
    }
    refining = {
        "--refinement-params": refinement_params,
        "--refinement-preset": refinement_preset,
    }
    labels |= refining
    if compute_umap:  # which needs a graph, also on existing clusters
        flags = {"--resolution": resolution}
    _refuse_contradictions(annotation_only, clustering_only, cluster_key, flags, labels)
    if skip_refinement:
        _refuse_idle("--skip-refinement", refining)
    source = one_input(sample, input_)
    if output_dir is None:
        msg = "--output-dir is missing; name a folder for the results"
        raise ParameterError(msg)
    if marker_map is None and not (clustering_only or annotation_only):
        msg = "--marker-map is missing; name the marker map, or add --clustering-only"
        raise ParameterError(msg)
    shown = {
        "compute_umap": compute_umap,
        "expand_markers": expand_markers,
        "audit_cards": audit_cards,
        "review_checklist": review_checklist,
    }
    report = {name: True for name, asked in shown.items() if asked}
    params = pipeline_params(
        config=config,
        profile=profile,
        preset=preset,
        scoring=scoring_params,
        gating=gating_params,
        expression={
            "layer": layer,
            "normalize": normalize,
            "arcsinh_cofactor": arcsinh_cofactor,
            "technical_markers": names_in(technical_markers),
        },
        clustering=clustering,
        report=report | ({"figures": False} if no_figures else {}),
        refinement=refinement_params,
        refinement_preset=known_preset(refinement_preset),
    )
    if arcsinh_cofactor is not None and params.expression.normalize != "arcsinh":
        msg = "--arcsinh-cofactor would have no effect; add --normalize arcsinh"
        raise ParameterError(msg)
    from ctr_engine import keys
    from ctr_engine.cli.run import RunRequest

    request = RunRequest(
        source.expanduser(),
        None if marker_map is None else marker_map.expanduser(),
        output_dir.expanduser(),
        params.analysis,
        (cluster_key or keys.CLUSTER) if annotation_only else None,
        n_jobs or available_cores(),
        labels=not clustering_only,
        resume=resume,
    )
    by_hand = params.refinement_policy == "manual"
    skipped = skip_refinement or clustering_only or by_hand
    refinement = None if skipped else _refinement(request, params)
    _run(request, refinement, log_dir)
    if by_hand and not (skip_refinement or clustering_only):
        typer.echo("Not refined: refinement_policy is manual; see ctr refine --manual.")


def _refinement(request: "RunRequest", params: "PipelineParams") -> "RefineRequest":
    """Ask for one automatic iteration on the results."""
    from ctr_engine.cli.refine_run import RefineRequest
    from ctr_engine.io.folder import REFINEMENT
    from ctr_engine.io.runs import COARSE_CLUSTERS

    return RefineRequest(
        sample=request.output_dir / COARSE_CLUSTERS,
        output_dir=request.output_dir / REFINEMENT,
        auto=True,
        two_pass=False,
        manual=None,
        execute=True,
        until_converged=False,
        given=params.refinement,
        profile=None,
        preset=params.chosen_refinement_preset,
        focus_labels=None,
        focus_clusters=None,
        n_jobs=request.n_jobs,
    )


def _run(request: "RunRequest", refinement: "RefineRequest | None", log_dir: Path | None) -> None:
    from ctr_engine.cli.log import run_log
    from ctr_engine.cli.run import run_stage_h
    from ctr_engine.io.folder import REFINEMENT, clear_refinement, require_refinable

    if refinement is not None and refinement.output_dir is not None:
        require_refinable(refinement.output_dir)
    folder = None if log_dir is None else log_dir.expanduser()
    with run_log(folder, "annotate") as log:
        with step_progress(request.n_steps, request.sample.name) as progress:
            result = run_stage_h(request, progress if log is None else log.steps(progress))
        _tell(result.warnings, log)
        _summary(result, request)
        if refinement is not None:
            _refine(refinement, log)
        else:
            clear_refinement(request.output_dir / REFINEMENT)


def _tell(warnings: Sequence[str], log: "RunLog | None") -> None:
    if log is not None:
        for warning in warnings:
            log.line(f"warning {warning}")
    show_warnings(warnings)


def _refine(request: "RefineRequest", log: "RunLog | None") -> None:
    from rich.console import Console
    from rich.text import Text

    from ctr_engine.cli.refine_run import run_refinement

    if log is not None:
        log.line("refinement")
    with step_progress(request.n_steps, "refinement") as progress:
        result = run_refinement(request, progress if log is None else log.steps(progress))
    _tell(result.warnings, log)
    console = Console()
    for line in result.lines:
        console.print(Text(line), soft_wrap=True)


def _refuse_contradictions(
    annotation_only: bool,
    clustering_only: bool,
    cluster_key: str | None,
    clustering: dict[str, Any],
    labels: dict[str, Any],
) -> None:
    """Refuse flags that would have no effect beside each other."""
    if annotation_only and clustering_only:
        msg = "--annotation-only and --clustering-only exclude each other; drop one"
        raise ParameterError(msg)
    if annotation_only:
        _refuse_idle("--annotation-only", clustering)
    elif clustering_only:
        _refuse_idle("--clustering-only", labels)
    if cluster_key is not None and not annotation_only:
        msg = "--cluster-key names existing clusters; add --annotation-only to use them"
        raise ParameterError(msg)


def _refuse_idle(mode: str, flags: dict[str, Any]) -> None:
    """Refuse flags that would have no effect in a mode."""
    given = [flag for flag, value in flags.items() if value is not None]
    if given:
        msg = f"{', '.join(given)} would have no effect with {mode}; drop it"
        raise ParameterError(msg)


def _summary(result: "RunResult", request: "RunRequest") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    what = f"{result.n_cells:,} cells in {result.n_clusters} clusters"
    if result.reused:
        console.print(f"Used again from the folder: {', '.join(result.reused)}.")
    if request.labels and request.marker_map is None:
        console.print("Marker map: the one that the sample holds.")
    if not request.labels:
        console.print(f"{result.n_cells:,} cells, clustered and not annotated.")
    else:
        show_reasons(result.tables, what)
        if request.params.report.expand_markers:
            show_markers(result.tables)
        annotated = result.tables["cluster_annotations"]
        unassigned = annotated.loc[annotated["stop_reason"] == "no_root_passed", "n_cells"].sum()
        console.print(f"{unassigned:,} cells ({unassigned / result.n_cells:.1%}) are Unassigned.")
        if unassigned > _MANY_UNASSIGNED * result.n_cells:
            console.print(Text(_advice(result, request)), soft_wrap=True)
    console.print(Text(f"Results: {request.output_dir}"), soft_wrap=True)


def _advice(result: "RunResult", request: "RunRequest") -> str:
    """Say what left many cells Unassigned, and what would help: the map, then the profile."""
    from ctr_engine.reporting.reasons import refusals

    first = refusals(result.tables)[0]
    marker = f" ({first.marker})" if first.marker else ""
    did = (
        f"{first.n_cells:,} of them because the nearest root {first.root} fails "
        f"{first.gate}{marker}. "
    )
    return did + _remedy(result, request)


def _remedy(result: "RunResult", request: "RunRequest") -> str:
    from ctr_engine.reporting.reasons import out_of_reach

    lost = out_of_reach(result.tables["decision_steps"])
    if lost:
        marker_map = request.marker_map or f"{request.output_dir}/marker_map.json"
        check = f"ctr check-map {marker_map} --panel {request.sample}"
        return f"The panel lacks markers of {', '.join(lost)}. Mend that first: {check}"
    if request.params.profile == "reference":
        return "Try --profile adaptive, which names more of them (docs/methods.md)."
    return f"ctr explain {request.output_dir} --cluster ID says why."
