"""What an asset of a partition was made from, step by step, from Dagster's own records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import dagster as dg

from ctr_assets.assets.inputs import VERSIONS
from ctr_assets.assets.refinement import iteration_name
from ctr_assets.consistency import CODE_VERSION_TAG, SECTIONS, parameters_of
from ctr_assets.outputs import PACKAGES
from ctr_assets.partitions import Partition
from ctr_assets.project import Project
from ctr_assets.resources import kept_marker_map
from ctr_assets.versions import DATA_VERSION_TAG
from ctr_engine import ALGORITHM_VERSION
from ctr_engine.analysis import used_parameters
from ctr_engine.errors import CtrError
from ctr_engine.io.samples import sha256_of
from ctr_engine.packages import versions

_SHORT = 12


class UnknownAssetError(CtrError):
    """An asset that was never made, or that does not exist."""


@dataclass(frozen=True)
class Made:
    """One asset as it was made, or an input as it was observed.

    ``differs`` says what is another now; empty when it could be made again as it is.
    """

    asset: str
    partition: str
    version: str
    inputs: tuple["Made", ...] = ()
    code_version: str = ""
    run_id: str = ""
    made_at: str = ""
    seconds: float = 0.0
    device: str = ""
    backend: str = ""
    file_sha256: str = ""
    parameters: Mapping[str, Any] | None = None
    packages: Mapping[str, str] | None = None
    differs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name that no other version has."""
        return f"{self.asset}/{self.partition}/{self.version}"

    def walk(self) -> Iterator["Made"]:
        """Yield this one and everything behind it, each once, the inputs first."""
        seen: dict[str, Made] = {}
        _collect(self, seen)
        yield from seen.values()


def _collect(one: Made, seen: dict[str, Made]) -> None:
    for source in one.inputs:
        if source.key not in seen:
            _collect(source, seen)
    seen[one.key] = one


class Records:
    """Reads the newest record of each asset of a partition, once."""

    def __init__(
        self, instance: dg.DagsterInstance, project: Project, partition: Partition
    ) -> None:
        self._instance, self._project, self._partition = instance, project, partition
        self._known: dict[str, Made] = {}

    def made(self, asset: str) -> Made:
        """Give an asset and everything behind it.

        Raises
        ------
        UnknownAssetError
            If it was never made in this partition.
        """
        if asset in self._known:
            return self._known[asset]
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=[self._partition.key]
        )
        records = self._instance.fetch_materializations(wanted, limit=1).records
        event = records[0].asset_materialization if records else None
        if event is None:
            msg = (
                f"{asset} of {self._partition.key} was never made; "
                f"run: ctr run {self._partition.key}"
            )
            raise UnknownAssetError(msg)
        found = self._described(asset, records[0], event)
        self._known[asset] = found
        return found

    def _described(
        self, asset: str, record: dg.EventLogRecord, event: dg.AssetMaterialization
    ) -> Made:
        metadata = {name: value.value for name, value in event.metadata.items()}
        tags = event.tags or {}
        versions: Mapping[str, str] = metadata["input_data_versions"]
        inputs = tuple(self._input(name, version) for name, version in versions.items())
        again = [
            f"{one.asset} was made again since"
            for one in inputs
            if one.version != versions[one.asset]
        ]
        made_at = datetime.fromtimestamp(record.timestamp, UTC).isoformat(timespec="seconds")
        return Made(
            asset=asset,
            partition=self._partition.key,
            version=tags[DATA_VERSION_TAG],
            inputs=inputs,
            code_version=tags[CODE_VERSION_TAG],
            run_id=record.run_id,
            made_at=made_at,
            seconds=float(metadata["seconds"]),
            device=str(metadata["device"]),
            backend=str(metadata["backend"]),
            file_sha256=str(metadata["file_sha256"]),
            parameters=metadata["parameters"],
            packages=metadata[PACKAGES] if PACKAGES in metadata else None,
            differs=(*again, *self._differences(asset, metadata, tags[CODE_VERSION_TAG])),
        )

    def _input(self, name: str, version: str) -> Made:
        """Give an asset, or an input that people put in, as it was read."""
        if name not in VERSIONS:
            return self.made(name)
        try:
            now = VERSIONS[name](self._project, self._partition)
            differs = () if now == version else (f"it is {now[:_SHORT]} now",)
        except CtrError as error:
            differs = (f"it cannot be read now: {error}",)
        return Made(name, self._partition.key, version, differs=differs)

    def _differences(self, asset: str, metadata: Mapping[str, Any], code: str) -> Iterator[str]:
        """Say what is another now than when an asset was made."""
        recorded, used = metadata["parameters"], self._parameters(asset)
        moved = [name for name, value in recorded.items() if name in used and used[name] != value]
        if moved:
            yield f"ctr.yaml has another {', '.join(moved)} now"
        if code.partition("+")[0] != ALGORITHM_VERSION:
            yield f"made by version {code} of the algorithm, this is {ALGORITHM_VERSION}"
        made_with = metadata[PACKAGES] if PACKAGES in metadata else {}
        yield from _other_packages(made_with)
        files = list((self._project.storage / asset).glob(f"{self._partition.key}.*"))
        if not files:
            yield "its file is gone"
        elif sha256_of(self._project.files.local(files[0])) != metadata["file_sha256"]:
            yield "its file was changed since"

    def _parameters(self, asset: str) -> Mapping[str, Any]:
        """Parameters in force for an asset."""
        if asset in SECTIONS:
            return parameters_of(asset, self._used)
        if asset.startswith(iteration_name(0)[:-1]):
            pipeline = self._project.pipeline_for(self._partition)
            refinement = self._project.refinement_for(self._partition)
            return {
                "refinement": refinement.model_dump(mode="json"),
                "refinement_policy": pipeline.refinement_policy,
            }
        return {}

    @cached_property
    def _used(self) -> dict[str, Any]:
        scores = self.hash_of_map()
        marker_map = None
        if scores is not None:
            marker_map = kept_marker_map(self._project, self._partition.tissue, scores)
        return used_parameters(self._project.params_for(self._partition), marker_map)

    def hash_of_map(self) -> str | None:
        """Hash of the map that the scores were made with; None before there are any."""
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey("marker_scores"), asset_partitions=[self._partition.key]
        )
        records = self._instance.fetch_materializations(wanted, limit=1).records
        event = records[0].asset_materialization if records else None
        return None if event is None else str(event.metadata["marker_map_hash"].value)


def _other_packages(made_with: Mapping[str, str]) -> Iterator[str]:
    """Say which packages have another release now."""
    now = versions()
    for name, release in made_with.items():
        if name not in now:
            yield f"made with {name} {release}, which is not used now"
        elif now[name] != release:
            yield f"made with {name} {release}, this is {now[name]}"


def as_tree(made: Made) -> list[str]:
    """Write what is behind an asset as an indented tree; what stands above is not repeated."""
    lines: list[str] = []
    _branch(made, 0, set(), lines)
    return lines


def _branch(one: Made, depth: int, seen: set[str], lines: list[str]) -> None:
    version = one.version[:_SHORT]
    told = f"  {one.made_at} in {one.seconds:g} s on {one.device} ({one.backend})"
    more = told if one.made_at else "  observed"
    again = " (above)" if one.key in seen and one.inputs else ""
    lines.append(f"{'  ' * depth}{one.asset} {version}{again or more}")
    if one.key in seen:
        return
    seen.add(one.key)
    lines.extend(f"{'  ' * depth}  ! {text}" for text in one.differs)
    for source in one.inputs:
        _branch(source, depth + 1, seen, lines)


def as_prov(made: Made) -> dict[str, Any]:
    """Write the same in the terms of W3C PROV (PROV-JSON)."""
    document: dict[str, Any] = {
        "prefix": {"ctr": "urn:ctr:", "prov": "http://www.w3.org/ns/prov#"},
        "entity": {},
        "activity": {},
        "wasGeneratedBy": {},
        "used": {},
        "wasDerivedFrom": {},
    }
    for one in made.walk():
        entity = f"ctr:{one.key}"
        facts = {"ctr:asset": one.asset, "ctr:partition": one.partition, "ctr:version": one.version}
        if one.file_sha256:
            facts["ctr:sha256"] = one.file_sha256
        document["entity"][entity] = facts
        if not one.run_id:
            continue
        activity = f"ctr:run/{one.run_id}/{one.asset}"
        document["activity"][activity] = {
            "prov:endTime": one.made_at,
            "ctr:codeVersion": one.code_version,
            "ctr:device": one.device,
            "ctr:backend": one.backend,
            "ctr:seconds": one.seconds,
            "ctr:parameters": one.parameters,
            "ctr:packages": one.packages,
        }
        document["wasGeneratedBy"][f"_:g/{one.key}"] = {
            "prov:entity": entity,
            "prov:activity": activity,
            "prov:time": one.made_at,
        }
        for source in one.inputs:
            link = f"{one.key}<{source.asset}"
            used = {"prov:activity": activity, "prov:entity": f"ctr:{source.key}"}
            derived = {"prov:generatedEntity": entity, "prov:usedEntity": f"ctr:{source.key}"}
            document["used"][f"_:u/{link}"] = used
            document["wasDerivedFrom"][f"_:d/{link}"] = derived
    return document
