"""What assets are given: the project, and the marker maps as they were observed. No IO managers."""

import shutil
from pathlib import Path

import dagster as dg
from pydantic import Field

from ctr_assets.partitions import Partition
from ctr_assets.project import Project, project_at
from ctr_engine.errors import Fault, MarkerMapError
from ctr_engine.io.atomic import whole_file
from ctr_engine.io.samples import read_marker_map
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.profiles import AnalysisParams

MARKER_MAP_VERSIONS = "marker_map_versions"


class ProjectResource(dg.ConfigurableResource):
    """The project folder, read when it is needed, so that definitions load without one."""

    folder: str | None = Field(
        None, description="Project folder; by default CTR_PROJECT, else the current folder."
    )

    def open(self) -> Project:
        """Read ``ctr.yaml``."""
        return project_at(self.folder)

    def params(self, partition: Partition) -> AnalysisParams:
        """Parameters of a partition."""
        return self.open().params_for(partition)


def keep_marker_map(project: Project, tissue: str) -> MarkerMap:
    """Read a tissue's live map and keep a copy of it under its content hash.

    Raises
    ------
    MarkerMapError
        If the live map is missing or breaks a rule; no copy is made then.
    """
    live = project.marker_map_path(tissue)
    marker_map = read_marker_map(live)
    copy = _copy_path(project, tissue, marker_map.content_hash, live.suffix)
    if not copy.exists():
        with whole_file(copy) as temporary:
            shutil.copyfile(live, temporary)
    return marker_map


def kept_marker_map(project: Project, tissue: str, content_hash: str) -> MarkerMap:
    """Read the copy of a map that was observed, whatever became of the live file.

    Raises
    ------
    MarkerMapError
        If the copy is gone or is no longer what its name says.
    """
    for suffix in (".json", ".yaml", ".yml"):
        copy = _copy_path(project, tissue, content_hash, suffix)
        if copy.exists():
            marker_map = read_marker_map(copy)
            if marker_map.content_hash == content_hash:
                return marker_map
    message = (
        f"no copy with the hash {content_hash} is stored; observe marker_map of {tissue} again"
    )
    raise MarkerMapError(str(project.marker_map_path(tissue)), [Fault(message)])


def _copy_path(project: Project, tissue: str, content_hash: str, suffix: str) -> Path:
    return project.storage / MARKER_MAP_VERSIONS / tissue / f"{content_hash}{suffix}"
