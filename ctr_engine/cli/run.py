"""One run of Stage H on files: reads the sample, writes the output folder, says what came out."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctr_engine import ALGORITHM_VERSION, keys
from ctr_engine.analysis import (
    CLUSTERING_STEPS,
    LABEL_STEPS,
    Annotation,
    KnownClusters,
    annotate,
    attach,
    existing_clusters,
    run_record,
    used_parameters,
)
from ctr_engine.cli import checkpoint
from ctr_engine.errors import Fault, InputError, OutputError
from ctr_engine.expression import ExpressionParams, ExpressionView, read_expression
from ctr_engine.io.folder import (
    AUDIT_CARDS,
    REVIEW_CHECKLIST,
    FolderWriter,
    clear,
    require_usable,
)
from ctr_engine.io.runs import (
    COARSE_CLUSTERS,
    MARKER_MAP,
    is_whole,
    read_manifest,
    read_run,
)
from ctr_engine.io.samples import read_marker_map, read_sample, sha256_of
from ctr_engine.manifest import Manifest, MapRecord, SampleRecord
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import resolve_map
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.markers.preflight import PreflightReport, preflight
from ctr_engine.packages import versions
from ctr_engine.positions import positions
from ctr_engine.profiles import AnalysisParams
from ctr_engine.reporting.report import Report, report_figures

if TYPE_CHECKING:
    from anndata import AnnData
    from pandas import DataFrame


@dataclass(frozen=True)
class RunRequest:
    """What to run: clusters only without ``labels``, new clusters without ``cluster_key``.

    Without ``marker_map`` the one that an earlier run stored in the sample is used.
    """

    sample: Path
    marker_map: Path | None
    output_dir: Path
    params: AnalysisParams
    cluster_key: str | None
    n_jobs: int
    labels: bool = True
    resume: bool = False

    @property
    def n_steps(self) -> int:
        """Steps that the progress bar will see."""
        report = self.params.report
        clustering = 0 if self.cluster_key else CLUSTERING_STEPS
        pages = (report.figures, report.audit_cards, report.review_checklist)
        labels = LABEL_STEPS + sum(pages) if self.labels else 0
        return 2 + clustering + 2 + labels + report.compute_umap


@dataclass(frozen=True)
class RunResult:
    """What a run gave, for people; ``reused`` names the steps that were not done again."""

    tables: Mapping[str, "DataFrame"]
    n_cells: int
    n_clusters: int
    warnings: tuple[str, ...]
    reused: tuple[str, ...]


@dataclass(frozen=True)
class _Input:
    """What was read: the sample, its values, its map."""

    adata: "AnnData"
    view: ExpressionView
    marker_map: MarkerMap | None
    preflight: PreflightReport | None
    sha256: str


def run_stage_h(request: RunRequest, progress: Callable[[str], None]) -> RunResult:
    """Run Stage H and write its output folder.

    The manifest ``run.json`` is removed first and written last: a folder with it is whole.

    Raises
    ------
    CtrError
        If the sample, the map or the folder cannot be used; nothing is written then.
    """
    started = time.perf_counter()
    require_usable(request.output_dir)
    progress("reading")
    marker_map = None if request.marker_map is None else read_marker_map(request.marker_map)
    sha256 = _sample_hash(request)
    finished = _finished(request) if request.resume else None
    if finished is not None and _is_the_same(finished, request, marker_map, sha256):
        return _stored(request, finished)
    read = _read(request, marker_map, sha256)
    clusters, reused = _known_clusters(request, read, finished)
    result = annotate(
        read.view,
        read.marker_map,
        request.params,
        clusters=clusters,
        n_jobs=request.n_jobs,
        progress=progress,
        on_clusters=lambda known: _keep(request, read, known),
    )
    notes = _out_of_reach(request, read)
    notes += _earlier_run(read.adata, read.view, request.params.expression)
    warnings = (*notes, *result.warnings)
    writer = _write(request, read, result, progress)
    manifest = _manifest(request, read, writer.hashes(), (warnings, reused), started)
    writer.finish(manifest)
    checkpoint.discard(request.output_dir)
    n_clusters = result.clusters["cluster_id"].nunique()
    return RunResult(result.tables, len(result.clusters), n_clusters, warnings, reused)


def _finished(request: RunRequest) -> Manifest | None:
    """Manifest of a finished run in the folder; one of another version of ours is none."""
    try:
        return read_manifest(request.output_dir)
    except OutputError:
        return None


def _sample_hash(request: RunRequest) -> str:
    """Hash of the sample as it is read.

    Raises
    ------
    InputError
        If the results would replace the sample.
    """
    if request.sample.resolve() == (request.output_dir / COARSE_CLUSTERS).resolve():
        fault = Fault("the results would replace this file; name another --output-dir")
        raise InputError(str(request.sample), [fault])
    return sha256_of(request.sample) if request.sample.exists() else ""


def _read(request: RunRequest, marker_map: MarkerMap | None, sha256: str) -> _Input:
    """Read the sample and hold the map against its panel, before anything is computed."""
    source = str(request.sample)
    adata = read_sample(request.sample)
    if marker_map is None and request.labels:
        marker_map = _map_in(adata, source)
    view = read_expression(adata, request.params.expression, source)
    report = None
    if marker_map is not None:
        resolved = resolve_map(marker_map, view.panel)
        report = preflight(resolved, request.params.gating_for(marker_map))
    return _Input(adata, view, marker_map, report, sha256)


def _map_in(adata: "AnnData", source: str) -> MarkerMap:
    """Take the marker map that an earlier run stored in its results.

    Raises
    ------
    InputError
        If there is none.
    """
    if keys.UNS_MARKER_MAP not in adata.uns:
        fault = Fault("holds no marker map of an earlier run; name one with --marker-map")
        raise InputError(source, [fault])
    return parse_marker_map(str(adata.uns[keys.UNS_MARKER_MAP]), source)


def _out_of_reach(request: RunRequest, read: _Input) -> tuple[str, ...]:
    """Say which cell types the panel cannot serve, and what shows why."""
    if read.preflight is None or not read.preflight.notes:
        return ()
    marker_map = request.marker_map or request.output_dir / MARKER_MAP
    see = f"See: ctr check-map {marker_map} --panel {request.sample}"
    return tuple(f"{note} {see}" for note in read.preflight.notes)


def _known_clusters(
    request: RunRequest, read: _Input, finished: Manifest | None
) -> tuple[KnownClusters | None, tuple[str, ...]]:
    """Clusters that need not be made, and the name of the steps that this spares."""
    if request.cluster_key is not None:
        ids = existing_clusters(read.adata, request.cluster_key, str(request.sample))
        return KnownClusters(ids), ()
    if not request.resume:
        return None, ()
    key = checkpoint.clusters_key(read.sha256, request.params, versions())
    cell_ids = read.view.cell_ids.tolist()
    known = checkpoint.of_interrupted(request.output_dir, key, cell_ids)
    if known is None and finished is not None:
        known = checkpoint.of_finished(request.output_dir, key, finished, cell_ids)
        if known is not None:  # the files that they came from are about to be replaced
            _keep(request, read, known)
    return known, () if known is None else ("clusters",)


def _keep(request: RunRequest, read: _Input, known: KnownClusters) -> None:
    key = checkpoint.clusters_key(read.sha256, request.params, versions())
    checkpoint.save(request.output_dir, key, known, read.view.cell_ids.tolist())


def _is_the_same(
    manifest: Manifest, request: RunRequest, marker_map: MarkerMap | None, sha256: str
) -> bool:
    """Whether a finished run did just this, and all of its files are still there."""
    if marker_map is None and request.labels:
        marker_map = _map_of_the_sample(manifest, request)
        if marker_map is None:
            return False
    return (
        manifest.algorithm_version == ALGORITHM_VERSION
        and manifest.sample.sha256 == sha256
        and _same_map(request.output_dir, manifest, marker_map)
        and manifest.cluster_key == request.cluster_key
        and dict(manifest.parameters) == used_parameters(request.params, marker_map)
        and dict(manifest.versions) == versions()
        and is_whole(request.output_dir, manifest)
    )


def _map_of_the_sample(manifest: Manifest, request: RunRequest) -> MarkerMap | None:
    """Map of a run that took it from its sample; with the same sample it is the same map."""
    kept = request.output_dir / MARKER_MAP
    place = str(request.sample.resolve())
    if manifest.marker_map is None or manifest.marker_map.path != place or not kept.is_file():
        return None
    return read_marker_map(kept)


def _same_map(folder: Path, manifest: Manifest, marker_map: MarkerMap | None) -> bool:
    """Whether a run read this map; the order of its cell types counts, for it decides ties."""
    if manifest.marker_map is None or marker_map is None:
        return manifest.marker_map is None and marker_map is None
    if manifest.marker_map.content_hash != marker_map.content_hash:
        return False
    kept = folder / MARKER_MAP
    return kept.is_file() and [n.path for n in read_marker_map(kept).nodes] == [
        node.path for node in marker_map.nodes
    ]


def _stored(request: RunRequest, manifest: Manifest) -> RunResult:
    """Result of a run that need not be done again."""
    tables: Mapping[str, DataFrame] = {}
    n_clusters = 0
    if request.labels:
        tables = read_run(request.output_dir).tables
        n_clusters = len(tables["cluster_annotations"])
    return RunResult(tables, manifest.n_cells, n_clusters, manifest.warnings, ("everything",))


def _earlier_run(
    adata: "AnnData", view: ExpressionView, params: ExpressionParams
) -> tuple[str, ...]:
    """Say where a sample that we wrote could be read another way than its user means."""
    if keys.STAGE_H_LAYER not in adata.layers:
        return ()
    if params.layer == "auto" and not _same_values(adata, view):
        values = f"{keys.STAGE_H_LAYER!r}, the values of an earlier run, which was not used"
        return (f"The sample holds {values}. Add --layer {keys.STAGE_H_LAYER} to work on them.",)
    if params.layer == keys.STAGE_H_LAYER and params.normalize != "none":
        values = f"{keys.STAGE_H_LAYER!r} holds the values of an earlier run"
        return (f"{values}, and --normalize {params.normalize} was applied to them once more.",)
    return ()


def _same_values(adata: "AnnData", view: ExpressionView) -> bool:
    stored = adata[:, list(view.panel.markers)].layers[keys.STAGE_H_LAYER]
    return bool(abs(stored - view.values).max() == 0)


def _write(
    request: RunRequest, read: _Input, result: Annotation, progress: Callable[[str], None]
) -> FolderWriter:
    """Write everything but the manifest."""
    progress("writing")
    annotated = attach(
        read.adata,
        read.view,
        result.clusters,
        request.params,
        lookup=result.tables["de_lookup"],
        annotations=result.tables["annotations"] if read.marker_map else None,
        marker_map=read.marker_map,
        coordinates=result.coordinates,
        layout=result.umap,
    )
    clear(request.output_dir)
    writer = FolderWriter(request.output_dir)
    writer.sample(annotated)
    writer.tables(result.tables)
    if read.marker_map is None or read.preflight is None or result.decider is None:
        writer.tables({"clusters": result.clusters})
        return writer
    writer.tables({"preflight": read.preflight.table})
    writer.marker_map(read.marker_map)
    report = Report(request.sample.stem, result.tables, result.decider, request.params.report)
    _write_pages(writer, report, annotated, progress)
    return writer


def _write_pages(
    writer: FolderWriter, report: Report, annotated: "AnnData", progress: Callable[[str], None]
) -> None:
    from ctr_engine.reporting.pages import audit_cards, review_checklist

    if report.params.figures:
        progress("figures")
        writer.figures(report_figures(report.tables, positions(annotated)))
    if report.params.audit_cards:
        progress("audit cards")
        writer.page(AUDIT_CARDS, audit_cards(report))
    if report.params.review_checklist:
        progress("review checklist")
        writer.page(REVIEW_CHECKLIST, review_checklist(report))


def _manifest(
    request: RunRequest,
    read: _Input,
    files: Mapping[str, str],
    notes: tuple[tuple[str, ...], tuple[str, ...]],
    started: float,
) -> Manifest:
    """Record of the run; ``notes`` are its warnings and the steps that it reused."""
    warnings, reused = notes
    place = request.sample if request.marker_map is None else request.marker_map
    record: dict[str, Any] = run_record(request.params, read.view, read.marker_map)
    return Manifest(
        **record,
        versions=versions(),
        sample=SampleRecord(path=str(request.sample.resolve()), sha256=read.sha256),
        marker_map=None
        if read.marker_map is None
        else MapRecord(path=str(place.resolve()), content_hash=read.marker_map.content_hash),
        cluster_key=request.cluster_key,
        reused=reused,
        warnings=warnings,
        seconds=round(time.perf_counter() - started, 3),
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
    )
