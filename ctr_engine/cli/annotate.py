"""``ctr annotate``: clusters and labels of one sample."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctr_engine.cli.console import show_reasons, show_warnings, step_progress
from ctr_engine.cli.options import analysis_params, one_input
from ctr_engine.cores import available_cores
from ctr_engine.errors import ParameterError

if TYPE_CHECKING:
    from ctr_engine.analysis import Annotation

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
    skip_refinement: Annotated[  # noqa: ARG001  nothing refines yet
        bool, typer.Option("--skip-refinement", help="Stop after Stage H (nothing refines yet).")
    ] = False,
    n_jobs: Annotated[
        int | None, typer.Option(min=1, help="Threads; all cores by default.")
    ] = None,
) -> None:
    """Name the clusters of a sample from a marker map."""
    clustering: dict[str, Any] = {
        "n_pcs": n_pcs,
        "n_neighbors": neighbors_k,
        "resolution": resolution,
        "random_state": random_seed,
    }
    flags = {"--n-pcs": n_pcs, "--neighbors-k": neighbors_k, "--resolution": resolution}
    flags |= {"--random-seed": random_seed}
    labels = {"--marker-map": marker_map, "--gating-params": gating_params}
    _refuse_contradictions(annotation_only, clustering_only, cluster_key, flags, labels)
    source = one_input(sample, input_)
    if marker_map is None and not clustering_only:
        msg = "--marker-map is missing; name the marker map, or add --clustering-only"
        raise ParameterError(msg)
    if output_dir is None:
        msg = "--output-dir is missing; name a folder for the results"
        raise ParameterError(msg)
    params = analysis_params(
        config=config,
        profile=profile,
        scoring=scoring_params,
        gating=gating_params,
        expression={
            "layer": layer,
            "normalize": normalize,
            "arcsinh_cofactor": arcsinh_cofactor,
            "technical_markers": _names(technical_markers),
        },
        clustering=clustering,
    )
    if arcsinh_cofactor is not None and params.expression.normalize != "arcsinh":
        msg = "--arcsinh-cofactor would have no effect; add --normalize arcsinh"
        raise ParameterError(msg)
    from ctr_engine import keys
    from ctr_engine.cli.run import RunRequest, run_stage_h

    key = (cluster_key or keys.CLUSTER) if annotation_only else None
    threads = n_jobs or available_cores()
    folder = output_dir.expanduser()
    map_file = None if marker_map is None else marker_map.expanduser()
    request = RunRequest(source.expanduser(), map_file, folder, params, key, threads)
    with step_progress(request.n_steps, source.name) as progress:
        result = run_stage_h(request, progress)
    show_warnings(result.warnings)
    _summary(result, folder, params.profile)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(n.strip() for n in text.split(",") if n.strip())


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
    idle = {}
    if annotation_only:
        idle = {"--annotation-only": clustering}
    elif clustering_only:
        idle = {"--clustering-only": labels}
    for mode, flags in idle.items():
        given = [flag for flag, value in flags.items() if value is not None]
        if given:
            msg = f"{', '.join(given)} would have no effect with {mode}; drop it"
            raise ParameterError(msg)
    if cluster_key is not None and not annotation_only:
        msg = "--cluster-key names existing clusters; add --annotation-only to use them"
        raise ParameterError(msg)


def _summary(result: "Annotation", folder: Path, profile: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    n_cells, n_clusters = len(result.clusters), result.clusters["cluster_id"].nunique()
    if "cluster_annotations" not in result.tables:
        console.print(f"{n_cells:,} cells in {n_clusters} clusters, not annotated.")
    else:
        show_reasons(result.tables, f"{n_cells:,} cells in {n_clusters} clusters")
        annotated = result.tables["cluster_annotations"]
        unassigned = annotated.loc[annotated["stop_reason"] == "no_root_passed", "n_cells"].sum()
        console.print(f"{unassigned:,} cells ({unassigned / n_cells:.1%}) are Unassigned.")
        if unassigned > _MANY_UNASSIGNED * n_cells and profile == "reference":
            console.print("Try --profile adaptive, which names more of them (docs/methods.md).")
    console.print(Text(f"Results: {folder}"), soft_wrap=True)
