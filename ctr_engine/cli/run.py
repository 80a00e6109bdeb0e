"""One run of Stage H on files: reads the sample, writes the output folder, says what came out."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as arrow

from ctr_engine.analysis import (
    CLUSTERING_STEPS,
    LABEL_STEPS,
    Annotation,
    annotate,
    attach,
    existing_clusters,
    run_record,
)
from ctr_engine.errors import OutputError
from ctr_engine.expression import ExpressionView, read_expression
from ctr_engine.io.atomic import write_text
from ctr_engine.io.samples import read_marker_map, read_sample, sha256_of, write_h5ad
from ctr_engine.io.tables import write_csv
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import resolve_map
from ctr_engine.markers.preflight import preflight
from ctr_engine.profiles import AnalysisParams
from ctr_engine.tables import STAGE_H_TABLES, Clusters, Preflight

MANIFEST = "run.json"
COARSE_CLUSTERS = "coarse_clusters.h5ad"


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
    _refuse_file(request.output_dir)
    progress("reading")
    source = str(request.sample)
    marker_map = None if request.marker_map is None else read_marker_map(request.marker_map)
    adata = read_sample(request.sample)
    view = read_expression(adata, request.params.expression, source)
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
    (request.output_dir / MANIFEST).unlink(missing_ok=True)
    write_h5ad(annotated, request.output_dir / COARSE_CLUSTERS)
    _write_tables(request, result, view, marker_map)
    _write_manifest(request, result, view, marker_map, time.perf_counter() - started)
    return result


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder with --output-dir"
        raise OutputError(msg)


def _write_tables(
    request: RunRequest, result: Annotation, view: ExpressionView, marker_map: MarkerMap | None
) -> None:
    if marker_map is None:
        write_csv(Clusters, result.clusters, request.output_dir / "clusters.csv")
    else:
        resolved = resolve_map(marker_map, view.panel)
        report = preflight(resolved, request.params.gating_for(marker_map))
        write_csv(Preflight, report.table, request.output_dir / "preflight.csv")
    for name, table in result.tables.items():
        write_csv(STAGE_H_TABLES[name], table, request.output_dir / f"{name}.csv")


def _write_manifest(
    request: RunRequest,
    result: Annotation,
    view: ExpressionView,
    marker_map: MarkerMap | None,
    seconds: float,
) -> None:
    files = [COARSE_CLUSTERS, *(f"{name}.csv" for name in result.tables)]
    files.append("clusters.csv" if marker_map is None else "preflight.csv")
    manifest: dict[str, Any] = {
        **run_record(request.params, view, marker_map),
        "versions": {"pandas": pd.__version__, "pyarrow": arrow.__version__},
        "sample": {"path": str(request.sample.resolve()), "sha256": sha256_of(request.sample)},
        "marker_map": None
        if marker_map is None
        else {
            "path": str(Path(marker_map.source).resolve()),
            "content_hash": marker_map.content_hash,
        },
        "cluster_key": request.cluster_key,
        "warnings": list(result.warnings),
        "seconds": round(seconds, 3),
        "files": {name: sha256_of(request.output_dir / name) for name in sorted(files)},
    }
    write_text(request.output_dir / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
