"""The stored results of a partition as a folder, as ``ctr annotate`` would have written it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from ctr_assets.partitions import Partition
from ctr_assets.project import Project
from ctr_assets.resources import kept_marker_map
from ctr_engine import ALGORITHM_VERSION
from ctr_engine.analysis import used_parameters
from ctr_engine.cli.folder import FolderWriter, clear, require_usable
from ctr_engine.cli.run import versions
from ctr_engine.errors import CtrError
from ctr_engine.io.runs import COARSE_CLUSTERS
from ctr_engine.io.tables import read_parquet
from ctr_engine.manifest import Manifest, MapRecord, SampleRecord
from ctr_engine.tables import STAGE_H_TABLES

USED = {"marker_scores": "scoring", "cluster_annotations": "gating"}
"""Assets that record the parameters that they were made with."""


class NotExportedError(CtrError):
    """The stored results of a partition do not belong together, or are not there."""


def export_partition(
    instance: dg.DagsterInstance, project: Project, partition: Partition, folder: Path
) -> Manifest:
    """Write the results of a partition into a folder that explain, tune and compare can open.

    Raises
    ------
    NotExportedError
        If the partition was not annotated, or with other parameters than those in force.
    OutputError
        If the folder cannot be used.
    """
    require_usable(folder)
    events = {name: _newest(instance, name, partition) for name in ("stage_h_input", *USED)}
    content_hash = str(events["marker_scores"]["marker_map_hash"].value)
    marker_map = kept_marker_map(project, partition.tissue, content_hash)
    params = project.params_for(partition)
    used = used_parameters(params, marker_map)
    for name, section in USED.items():
        if events[name]["parameters"].value != used[section]:
            msg = (
                f"{partition.key} was annotated with other {section} parameters than ctr.yaml has "
                f"now; run: ctr run {partition.key} --project {project.root}"
            )
            raise NotExportedError(msg)
    clear(folder)
    writer = FolderWriter(folder)
    writer.tables(_tables(project, partition))
    writer.marker_map(marker_map)
    stored = project.storage / "coarse_clusters" / f"{partition.key}.h5ad"
    if stored.is_file():
        writer.copy(stored, COARSE_CLUSTERS)
    read = events["stage_h_input"]
    manifest = Manifest(
        algorithm_version=ALGORITHM_VERSION,
        parameters=used,
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
        marker_map=MapRecord(
            path=str(project.marker_map_path(partition.tissue)), content_hash=content_hash
        ),
        cluster_key=None,
        warnings=tuple(_names(read, "warnings")),
        seconds=0.0,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=writer.hashes(),
    )
    writer.finish(manifest)
    return manifest


def _newest(
    instance: dg.DagsterInstance, name: str, partition: Partition
) -> Mapping[str, dg.MetadataValue[Any]]:
    """Metadata of the newest materialisation of an asset."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[partition.key])
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    if event is None:
        msg = f"{partition.key} was not annotated yet; run: ctr run {partition.key}"
        raise NotExportedError(msg)
    return event.metadata


def _names(metadata: Mapping[str, dg.MetadataValue[Any]], name: str) -> list[str]:
    return [str(value) for value in metadata[name].value]


def _tables(project: Project, partition: Partition) -> dict[str, Any]:
    return {
        name: read_parquet(model, project.storage / name / f"{partition.key}.parquet")
        for name, model in STAGE_H_TABLES.items()
    }
