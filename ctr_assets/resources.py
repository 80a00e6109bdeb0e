"""What assets are given: the project, and the marker maps as they were observed. No IO managers."""

import json
from dataclasses import replace

import dagster as dg
from pydantic import Field
from upath import UPath

from ctr_assets.partitions import Partition
from ctr_assets.project import Project, project_at
from ctr_assets.versions import digest
from ctr_engine.cli.options import document_of, read_text
from ctr_engine.documents import Document
from ctr_engine.errors import ConfigError, Fault, MarkerMapError
from ctr_engine.io.atomic import write_text
from ctr_engine.io.samples import read_marker_map
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.profiles import AnalysisParams

MARKER_MAP_VERSIONS = "marker_map_versions"
MANUAL_PLAN_VERSIONS = "manual_plan_versions"
NO_PLAN = "none"
"""Version of the manual plan of a partition that has none."""


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
    marker_map = read_marker_map(project.marker_map_path(tissue))
    copy = _copy_path(project, tissue, marker_map.content_hash)
    if _kept(project, copy, marker_map.content_hash) is None:
        with project.files.writing(copy) as file:
            write_text(file, json.dumps(marker_map.as_source(), indent=2) + "\n")
    return marker_map


def kept_marker_map(project: Project, tissue: str, content_hash: str) -> MarkerMap:
    """Read the copy of a map that was observed, whatever became of the live file.

    Raises
    ------
    MarkerMapError
        If the copy is gone or is no longer what its name says.
    """
    copy = _copy_path(project, tissue, content_hash)
    marker_map = _kept(project, copy, content_hash)
    if marker_map is None:
        message = (
            f"no map with the hash {content_hash} is kept; observe marker_map of {tissue} again"
        )
        raise MarkerMapError(str(copy), [Fault(message)])
    return marker_map


def _kept(project: Project, copy: UPath, content_hash: str) -> MarkerMap | None:
    """Read a copy; None when there is none, or it was damaged."""
    try:
        marker_map = read_marker_map(project.files.local(copy))
    except MarkerMapError:
        return None
    return marker_map if marker_map.content_hash == content_hash else None


def _copy_path(project: Project, tissue: str, content_hash: str) -> UPath:
    return project.storage / MARKER_MAP_VERSIONS / tissue / f"{content_hash}.json"


def keep_manual_plan(project: Project, partition: Partition) -> str:
    """Give the version of a partition's manual plan, and keep a copy of the plan under it.

    The version is a hash of the content: comments and white space do not count.

    Raises
    ------
    ConfigError
        If the file is not well formed; no copy is made then.
    """
    path = project.manual_plan_path(partition)
    if not path.exists():
        return NO_PLAN
    text = read_text(path)
    document = document_of(text, str(path))
    if document.value is None:
        return NO_PLAN
    version = _plan_version(document)
    copy = _plan_copy(project, partition, version, path.suffix)
    kept = project.files.local(copy)
    if not kept.exists() or kept.read_text("utf-8") != text:  # lines may have moved
        with project.files.writing(copy) as file:
            write_text(file, text)
    return version


def _plan_version(document: Document) -> str:
    """Hash of the content, with every number as it is written: ``1.10`` may be a cluster."""
    texts = {".".join(map(str, place)): text for place, text in document.texts.items()}
    return digest([document.value, texts])


def kept_manual_plan(project: Project, partition: Partition, version: str) -> Document | None:
    """Read the copy of a manual plan that was observed; None where there was none.

    Raises
    ------
    ConfigError
        If the copy is gone or is no longer what its name says.
    """
    if version == NO_PLAN:
        return None
    candidates = [
        _plan_copy(project, partition, version, suffix) for suffix in (".yaml", ".yml", ".json")
    ]
    for copy in map(project.files.local, candidates):
        if copy.exists():
            document = document_of(read_text(copy), str(copy))
            if _plan_version(document) == version:
                return replace(document, source=str(project.manual_plan_path(partition)))
    message = f"no plan with the hash {version} is kept; observe manual_plan again"
    raise ConfigError(str(candidates[0]), [Fault(message)])


def _plan_copy(project: Project, partition: Partition, version: str, suffix: str) -> UPath:
    return project.storage / MANUAL_PLAN_VERSIONS / partition.key / f"{version}{suffix}"
