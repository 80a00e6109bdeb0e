"""One run of Stage H on files: reads the sample, writes the output folder, says what came out."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ctr_engine import keys
from ctr_engine.analysis import (
    CLUSTERING_STEPS,
    LABEL_STEPS,
    Annotation,
    annotate,
    attach,
    existing_clusters,
    run_record,
)
from ctr_engine.errors import Fault, InputError, OutputError
from ctr_engine.expression import ExpressionParams, ExpressionView, read_expression
from ctr_engine.io.atomic import write_text
from ctr_engine.io.samples import read_marker_map, read_sample, sha256_of, write_h5ad
from ctr_engine.io.tables import write_csv
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import resolve_map
from ctr_engine.markers.preflight import PreflightReport, preflight
from ctr_engine.profiles import AnalysisParams
from ctr_engine.tables import STAGE_H_TABLES, Clusters, Preflight

MANIFEST = "run.json"
COARSE_CLUSTERS = "coarse_clusters.h5ad"
OUTPUTS = frozenset(
    [COARSE_CLUSTERS, "clusters.csv", "preflight.csv", *(f"{name}.csv" for name in STAGE_H_TABLES)]
)
DECIDING = ("anndata", "igraph", "numpy", "pandas", "scikit-learn", "scipy")
"""Packages whose release can change a result; recorded with it."""


@dataclass(frozen=True)
class RunRequest:
    """What to run; without ``marker_map`` clusters only, without ``cluster_key`` new clusters."""

    sample: Path
    marker_map: Path | None
    output_dir: Path
    params: AnalysisParams
    cluster_key: str | None
    n_jobs: int

    @property
    def n_steps(self) -> int:
        """Steps that the progress bar will see."""
        clustering = 0 if self.cluster_key else CLUSTERING_STEPS
        return 2 + clustering + 2 + (LABEL_STEPS if self.marker_map else 0)


def run_stage_h(request: RunRequest, progress: Callable[[str], None]) -> Annotation:
    """Run Stage H and write its output folder.

    The manifest ``run.json`` is removed first and written last: a folder with it is whole.

    Raises
    ------
    CtrError
        If the sample, the map or the folder cannot be used; nothing is written then.
    """
    started = time.perf_counter()
    _usable(request.output_dir)
    progress("reading")
    source = str(request.sample)
    marker_map = None if request.marker_map is None else read_marker_map(request.marker_map)
    sample_hash = _sample_hash(request)
    adata = read_sample(request.sample)
    view = read_expression(adata, request.params.expression, source)
    report = None if marker_map is None else _preflight(request, marker_map, view)
    clusters = None
    if request.cluster_key is not None:
        clusters = existing_clusters(adata, request.cluster_key, source)
    result = annotate(
        view,
        marker_map,
        request.params,
        clusters=clusters,
        n_jobs=request.n_jobs,
        progress=progress,
    )
    notes = () if report is None else report.notes
    notes += _earlier_run(adata, request.params.expression)
    result = replace(result, warnings=(*notes, *result.warnings))
    progress("writing")
    annotated = attach(
        adata,
        view,
        result.clusters,
        request.params,
        lookup=result.tables["de_lookup"],
        annotations=None if marker_map is None else result.tables["annotations"],
        marker_map=marker_map,
        coordinates=result.coordinates,
    )
    _clear(request.output_dir)
    write_h5ad(annotated, request.output_dir / COARSE_CLUSTERS)
    _write_tables(request, result, report)
    seconds = time.perf_counter() - started
    record = {"sample": {"path": str(request.sample.resolve()), "sha256": sample_hash}}
    _write_manifest(request, result, view, marker_map, {**record, "seconds": round(seconds, 3)})
    return result


def _sample_hash(request: RunRequest) -> str:
    """Hash of the sample as it is read.

    Raises
    ------
    InputError
        If the results would replace the sample, or there is none.
    """
    if request.sample.resolve() == (request.output_dir / COARSE_CLUSTERS).resolve():
        fault = Fault("the results would replace this file; name another --output-dir")
        raise InputError(str(request.sample), [fault])
    return sha256_of(request.sample) if request.sample.exists() else ""


def _earlier_run(adata: Any, params: ExpressionParams) -> tuple[str, ...]:
    """Say where a sample that we wrote could be read another way than its user means."""
    if keys.STAGE_H_LAYER not in adata.layers:
        return ()
    if params.layer == "auto":
        values = f"{keys.STAGE_H_LAYER!r}, the values of an earlier run, which was not used"
        return (f"The sample holds {values}. Add --layer {keys.STAGE_H_LAYER} to work on them.",)
    if params.layer == keys.STAGE_H_LAYER and params.normalize != "none":
        values = f"{keys.STAGE_H_LAYER!r} holds the values of an earlier run"
        return (f"{values}, and --normalize {params.normalize} was applied to them once more.",)
    return ()


def _preflight(request: RunRequest, marker_map: MarkerMap, view: ExpressionView) -> PreflightReport:
    """Hold the map against the panel before anything is computed."""
    resolved = resolve_map(marker_map, view.panel)
    return preflight(resolved, request.params.gating_for(marker_map))


def _usable(folder: Path) -> None:
    """Find out before the work whether the folder can be written to."""
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder with --output-dir"
        raise OutputError(msg)
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        msg = f"{nearest} cannot be written to; name another folder with --output-dir"
        raise OutputError(msg)


def _clear(folder: Path) -> None:
    """Remove what an earlier run of ours wrote, the manifest first; other files stay."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return
    try:
        names = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError):
        msg = f"{manifest} is not a manifest of ctr; name another folder with --output-dir"
        raise OutputError(msg) from None
    manifest.unlink()
    for name in names:
        if name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)


def _write_tables(request: RunRequest, result: Annotation, report: PreflightReport | None) -> None:
    if report is None:
        write_csv(Clusters, result.clusters, request.output_dir / "clusters.csv")
    else:
        write_csv(Preflight, report.table, request.output_dir / "preflight.csv")
    for name, table in result.tables.items():
        write_csv(STAGE_H_TABLES[name], table, request.output_dir / f"{name}.csv")


def _write_manifest(
    request: RunRequest,
    result: Annotation,
    view: ExpressionView,
    marker_map: MarkerMap | None,
    record: dict[str, Any],
) -> None:
    files = [COARSE_CLUSTERS, *(f"{name}.csv" for name in result.tables)]
    files.append("clusters.csv" if marker_map is None else "preflight.csv")
    manifest: dict[str, Any] = {
        **run_record(request.params, view, marker_map),
        "versions": {name: version(name) for name in DECIDING},
        **record,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "marker_map": None
        if marker_map is None
        else {
            "path": str(Path(marker_map.source).resolve()),
            "content_hash": marker_map.content_hash,
        },
        "cluster_key": request.cluster_key,
        "warnings": list(result.warnings),
        "files": {name: sha256_of(request.output_dir / name) for name in sorted(files)},
    }
    write_text(request.output_dir / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
