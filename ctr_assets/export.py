"""The stored results of a partition as a folder, as ``ctr annotate`` would have written it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from ctr_assets.consistency import require_current
from ctr_assets.partitions import Partition
from ctr_assets.project import Project
from ctr_engine import ALGORITHM_VERSION
from ctr_engine.analysis import used_parameters
from ctr_engine.io.folder import FolderWriter, clear, require_usable
from ctr_engine.io.runs import COARSE_CLUSTERS
from ctr_engine.io.tables import read_parquet
from ctr_engine.manifest import Manifest, MapRecord, SampleRecord
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.packages import versions
from ctr_engine.tables import STAGE_H_TABLES


def export_partition(
    instance: dg.DagsterInstance, project: Project, partition: Partition, folder: Path
) -> Manifest:
    """Write the results of a partition into a folder that explain, tune and compare can open.

    Raises
    ------
    StaleError
        If the partition was not annotated, or from other inputs or parameters than are in force.
    OutputError
        If the folder cannot be used.
    """
    require_usable(folder)
    events, marker_map = require_current(instance, project, partition)
    clear(folder)
    writer = FolderWriter(folder)
    writer.tables(_tables(project, partition))
    writer.marker_map(marker_map)
    stored = project.stored("coarse_clusters", partition, ".h5ad")
    if stored.is_file():
        writer.copy(stored, COARSE_CLUSTERS)
    manifest = _manifest(project, partition, events["stage_h_input"].metadata, marker_map, writer)
    writer.finish(manifest)
    return manifest


def _manifest(
    project: Project,
    partition: Partition,
    read: Mapping[str, dg.MetadataValue[Any]],
    marker_map: MarkerMap,
    writer: FolderWriter,
) -> Manifest:
    """Record of the folder; ``read`` are the metadata of ``stage_h_input``."""
    params = project.params_for(partition)
    place = str(project.marker_map_path(partition.tissue))
    return Manifest(
        algorithm_version=ALGORITHM_VERSION,
        parameters=used_parameters(params, marker_map),
        given=params.model_dump(mode="json", exclude_unset=True),
        layer=str(read["layer"].value),
        n_cells=int(str(read["dagster/row_count"].value)),
        n_markers=int(str(read["markers"].value)),
        technical_markers=tuple(_names(read, "technical_markers")),
        dropped_markers=tuple(_names(read, "dropped_markers")),
        device="cpu",
        versions=versions(),
        sample=SampleRecord(
            path=str(project.sample_path(partition)), sha256=str(read["sample_sha256"].value)
        ),
        marker_map=MapRecord(path=place, content_hash=marker_map.content_hash),
        cluster_key=None,
        warnings=tuple(_names(read, "warnings")),
        seconds=0.0,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=writer.hashes(),
    )


def _names(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> list[str]:
    return [str(value) for value in metadata[name].value]


def _tables(project: Project, partition: Partition) -> dict[str, Any]:
    return {
        name: read_parquet(model, project.stored(name, partition))
        for name, model in STAGE_H_TABLES.items()
    }
