"""Whether the labels of a partition follow from what lies in the project now, and if not, why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from ctr_assets.assets.inputs import VERSIONS
from ctr_assets.partitions import PARTITIONS, Partition, is_key, parse_key
from ctr_assets.project import Project
from ctr_assets.versions import DATA_VERSION_TAG, code_version, digest
from ctr_engine.errors import CtrError

FINAL = dg.AssetKey("final_annotations")
BASIS = "basis"
"""Metadata of the final labels: what they were made from."""
_CHUNK = 500
"""Partitions that are asked about at once; databases limit the values of a query."""
_WORDS = {
    "sample": "the sample was replaced",
    "marker_map": "the marker map was edited",
    "manual_plan": "the manual plan was edited",
    "parameters": "ctr.yaml has other parameters",
    "code": "another version of ctr is installed",
}


@dataclass(frozen=True)
class Recorded:
    """The newest labels of a partition: number of their record, and what they were made from."""

    storage_id: int
    basis: Mapping[str, str]


def parameters_version(project: Project, partition: Partition) -> str:
    """Hash of all parameters that can move a label."""
    params = project.pipeline_for(partition)
    idle = {"report", "automation", "device", "consensus"}
    return digest(params.model_dump(mode="json", exclude=idle))


class Wanted:
    """What the labels should be made from; a map is read once for all samples of a tissue.

    A file that cannot be read keeps the version that was last observed, as in a run.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._maps: dict[str, str | None] = {}
        self.faults: dict[str, str] = {}

    def basis(self, partition: Partition, sample: str | None) -> dict[str, str]:
        """Version of everything that is known; ``sample`` is what was last observed."""
        if partition.tissue not in self._maps:
            self._maps[partition.tissue] = self._version("marker_map", partition)
        found = {
            "sample": sample,
            "marker_map": self._maps[partition.tissue],
            "manual_plan": self._version("manual_plan", partition),
            "parameters": parameters_version(self._project, partition),
            "code": code_version(names=True),
        }
        return {name: version for name, version in found.items() if version is not None}

    def _version(self, name: str, partition: Partition) -> str | None:
        try:
            return VERSIONS[name](self._project, partition)
        except CtrError as error:
            self.faults[f"{name} of {partition.key}"] = str(error)
            return None


def recorded(instance: dg.DagsterInstance, partitions: Sequence[str]) -> dict[str, Recorded]:
    """Read what the newest labels of many partitions were made from.

    The records hold pictures too: they are read a chunk at a time.
    """
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    found = {}
    for start in range(0, len(partitions), _CHUNK):
        events = newest_events(instance, FINAL, partitions[start : start + _CHUNK], kind)
        for key, record in events.items():
            event = record.asset_materialization
            if event is not None:
                value: Any = event.metadata[BASIS].value if BASIS in event.metadata else {}
                found[key] = Recorded(record.storage_id, dict(value))
    return found


def observed_samples(instance: dg.DagsterInstance, partitions: Sequence[str]) -> dict[str, str]:
    """Version of the sample that was last observed, by partition."""
    sample, kind = dg.AssetKey("sample"), dg.DagsterEventType.ASSET_OBSERVATION
    found = {}
    for start in range(0, len(partitions), _CHUNK):
        events = newest_events(instance, sample, partitions[start : start + _CHUNK], kind)
        for key, record in events.items():
            event = record.asset_observation
            if event is not None and event.tags and DATA_VERSION_TAG in event.tags:
                found[key] = event.tags[DATA_VERSION_TAG]
    return found


def newest_events(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partitions: Sequence[str],
    kind: dg.DagsterEventType,
) -> dict[str, dg.EventLogRecord]:
    """Newest event of an asset for each of many partitions, in two queries."""
    if not partitions:
        return {}
    ids = instance.get_latest_storage_id_by_partition(key, kind, set(partitions))
    if not ids:
        return {}
    wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=list(ids.values()))
    is_made = kind is dg.DagsterEventType.ASSET_MATERIALIZATION
    fetch = instance.fetch_materializations if is_made else instance.fetch_observations
    records = fetch(wanted, limit=len(ids)).records
    return {record.partition_key: record for record in records if record.partition_key}


def differences(wanted: Mapping[str, str], found: Recorded | None) -> tuple[str, ...]:
    """Names of what moved since the labels were made; ``missing`` where there are none."""
    if found is None:
        return ("missing",)
    return tuple(
        name
        for name, version in wanted.items()
        if name not in found.basis or found.basis[name] != version
    )


def in_words(names: Iterable[str]) -> str:
    """Say what moved."""
    return "; ".join(_WORDS[name] if name in _WORDS else "never annotated" for name in names)


def registered(instance: dg.DagsterInstance) -> list[Partition]:
    """Partitions that Dagster knows, in order of their key; without keys that are none of ours."""
    return [parse_key(key) for key in _keys(instance) if is_key(key)]


def foreign_keys(instance: dg.DagsterInstance) -> list[str]:
    """Say which keys somebody added in the UI that can be no partition of ours."""
    return [
        f"Dagster lists the partition {key!r}, which can be none; delete it in the UI"
        for key in _keys(instance)
        if not is_key(key)
    ]


def _keys(instance: dg.DagsterInstance) -> list[str]:
    return sorted(instance.get_dynamic_partitions(PARTITIONS.name or ""))
