"""``ctr evaluate``: labels of a run beside known ones."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctr_engine.errors import Fault, InputError, ParameterError

if TYPE_CHECKING:
    from anndata import AnnData

    from ctr_engine.evaluation import Evaluation


def evaluate(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder of ctr, or its h5ad.")],
    truth: Annotated[str, typer.Option(help="Column of obs with the known labels.")],
    truth_map: Annotated[
        Path, typer.Option(help="JSON or YAML: known label -> cell type of the map, or null.")
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "--out", help="Folder for tables, JSON and figures."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the labels of a sample with known ones, along the hierarchy."""
    from ctr_engine.cli.options import read_document
    from ctr_engine.evaluation import evaluate as evaluated
    from ctr_engine.io.folder import require_no_run
    from ctr_engine.io.results import sample_in
    from ctr_engine.io.samples import read_sample
    from ctr_engine.refinement.sample import stored_map
    from ctr_engine.truth_map import truth_paths

    path = sample_in(results.expanduser())
    folder = None if output_dir is None else output_dir.expanduser()
    if folder is not None:
        require_no_run(folder)
    adata = read_sample(path, values=False)
    marker_map = stored_map(adata, str(path))
    known = _known(adata, truth, str(path))
    paths = truth_paths(
        read_document(truth_map.expanduser()), sorted(set(known) - {""}), marker_map
    )
    true = [paths[label] if label else "" for label in known]
    if not any(true):
        msg = f"{truth_map} scores no cell of {path}: every known label is null in it"
        raise ParameterError(msg)
    result = evaluated(_assigned(adata, str(path)), true, *_clusters(adata, str(path)))
    if folder is not None:
        _write(folder, result, marker_map)
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2, ensure_ascii=False))
    else:
        _show(result, folder)


def _known(adata: "AnnData", column: str, source: str) -> list[str]:
    """Known label of each cell; empty where it is missing.

    Raises
    ------
    InputError
        If there is no such column.
    """
    if column not in adata.obs.columns:
        names = ", ".join(map(str, adata.obs.columns))
        raise InputError(source, [Fault(f"obs has no column {column!r}; it has: {names}")])
    values = adata.obs[column]
    return ["" if gone else str(v) for v, gone in zip(values, values.isna(), strict=True)]


def _assigned(adata: "AnnData", source: str) -> dict[str, list[str]]:
    """Paths of the labels, by what they are called; the newest last."""
    from ctr_engine import keys
    from ctr_engine.refinement.lineage import final_annotations
    from ctr_engine.refinement.sample import annotations_in, lineage_in

    stage_h, lineage = annotations_in(adata, source), lineage_in(adata, source)
    found = {keys.CELL_TYPE: stage_h[keys.CELL_TYPE_PATH].tolist()}
    if lineage.records:
        final = final_annotations(lineage, stage_h)
        found[keys.CELL_TYPE_LVL1] = final["cell_type_path"].tolist()
    return found | {keys.CELL_TYPE_CELL: stage_h[keys.CELL_TYPE_CELL_PATH].tolist()}


def _clusters(adata: "AnnData", source: str) -> tuple[list[str], list[str], list[float]]:
    """Cluster of Stage H of each cell, path of its label, and its support."""
    from ctr_engine import keys
    from ctr_engine.refinement.sample import annotations_in

    stage_h = annotations_in(adata, source)
    columns = (keys.CLUSTER, keys.CELL_TYPE_PATH, keys.CELL_TYPE_SUPPORT)
    clusters, paths, support = (stage_h[name].tolist() for name in columns)
    return clusters, paths, support


def _write(folder: Path, result: "Evaluation", marker_map: Any) -> None:
    from ctr_engine.io.atomic import whole_file, write_text
    from ctr_engine.io.tables import write_csv
    from ctr_engine.reporting.confusion_figure import confusion
    from ctr_engine.tables import Accuracy, Confusion

    write_csv(Accuracy, result.accuracy, folder / "accuracy.csv")
    for name, table in result.confusion.items():
        write_csv(Confusion, table, folder / f"confusion_{name}.csv")
        with whole_file(folder / f"confusion_{name}.png") as temporary:
            confusion(table, marker_map).savefig(temporary, format="png", dpi=150)
    text = json.dumps(result.as_json(), indent=2, ensure_ascii=False)
    write_text(folder / "evaluation.json", text + "\n")


def _show(result: "Evaluation", folder: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console, shown = Console(), Table()
    shown.add_column("labels", no_wrap=True)
    for name in ("exact", "macro-F1", "h. precision", "h. recall", "h. F", "none"):
        shown.add_column(name, justify="right")
    for row in result.accuracy.to_dict("records"):
        numbers = [f"{row[name]:.3f}" for name in result.accuracy.columns[2:]]
        shown.add_row(row["labels"], *numbers)
    console.print(shown)
    n_cells = int(result.accuracy["n_cells"].iloc[0])
    console.print(
        f"{n_cells:,} cells with a known label; the best that the clusters allow: "
        f"{result.ceiling:.3f} exact."
    )
    check = result.support
    order = "no order to speak of" if check.auroc is None else f"AUROC {check.auroc:.2f}"
    console.print(
        f"Support of {check.n_clusters} clusters: {order}, calibration error "
        f"{check.calibration_error:.2f}."
    )
    if folder is not None:
        console.print(f"Results: {folder}", soft_wrap=True)
