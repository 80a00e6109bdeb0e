"""Whether what is stored of a partition belongs together, and to the project as it stands."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ctr_assets.partitions import Partition
from ctr_assets.project import Project
from ctr_assets.resources import kept_marker_map
from ctr_assets.versions import DATA_VERSION_TAG
from ctr_engine import ALGORITHM_VERSION
from ctr_engine.analysis import used_parameters
from ctr_engine.errors import CtrError
from ctr_engine.markers.hierarchy import MarkerMap

CHAIN = {
    "stage_h_input": "expression",
    "pca": "clustering",
    "knn_graph": "clustering",
    "leiden_clusters": "clustering",
    "reference_values": "scoring",
    "cluster_statistics": "scoring",
    "de_lookup": "scoring",
    "marker_scores": "scoring",
    "marker_evidence": "scoring",
    "decision_steps": "gating",
    "gating_details": "gating",
    "cluster_annotations": "gating",
    "annotations": "gating",
}
"""Assets on the way to the labels, and the section that their parameters come from."""
SECTIONS = {**CHAIN, "near_miss_report": "gating"}
"""The same, and what is made beside them."""
_SHOWN = {
    "cluster_annotations": ("mixed_share", "mixed_neighbors"),
    "near_miss_report": ("near_miss_margin",),
}
"""Parameters of the report that a table follows from."""
CODE_VERSION_TAG = "dagster/code_version"


class StaleError(CtrError):
    """What is stored was made from other inputs or parameters than are in force."""


def parameters_of(asset: str, used: Mapping[str, Any]) -> dict[str, Any]:
    """Choose from the parameters of a run those that an asset follows from."""
    shown = _SHOWN[asset] if asset in _SHOWN else ()
    return used[SECTIONS[asset]] | {name: used["report"][name] for name in shown}


def require_current(
    instance: dg.DagsterInstance, project: Project, partition: Partition
) -> tuple[dict[str, dg.AssetMaterialization], MarkerMap]:
    """Give the newest materialisation of each asset, which all follow from each other.

    Raises
    ------
    StaleError
        If an asset was never made, or with other inputs, parameters or code than are in force.
    """
    events = {name: _newest(instance, name, partition) for name in CHAIN}
    content_hash = str(events["marker_scores"].metadata["marker_map_hash"].value)
    marker_map = kept_marker_map(project, partition.tissue, content_hash)
    used = used_parameters(project.params_for(partition), marker_map)
    remedy = f"run: ctr run {partition.key} --project {project.root}"
    for name, event in events.items():
        recorded, now = _mapping(event, "parameters"), parameters_of(name, used)
        moved = [key for key, value in recorded.items() if value != now[key]]
        if moved:
            msg = (
                f"{name} of {partition.key} was made with other parameters than ctr.yaml has now "
                f"({', '.join(moved)}); {remedy}"
            )
            raise StaleError(msg)
        for source, version in _mapping(event, "input_data_versions").items():
            if source in events and _tags(events[source])[DATA_VERSION_TAG] != version:
                msg = f"{name} of {partition.key} is older than {source}; {remedy}"
                raise StaleError(msg)
        tags = _tags(event)
        if tags[CODE_VERSION_TAG].partition("+")[0] != ALGORITHM_VERSION:
            msg = f"{name} of {partition.key} was made by another version of ctr; {remedy}"
            raise StaleError(msg)
    return events, marker_map


def _newest(
    instance: dg.DagsterInstance, name: str, partition: Partition
) -> dg.AssetMaterialization:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(name), asset_partitions=[partition.key])
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    if event is None:
        msg = f"{partition.key} was not annotated yet; run: ctr run {partition.key}"
        raise StaleError(msg)
    return event


def _mapping(event: dg.AssetMaterialization, name: str) -> Mapping[str, Any]:
    value = event.metadata[name].value
    return value if isinstance(value, Mapping) else {}


def _tags(event: dg.AssetMaterialization) -> Mapping[str, str]:
    return event.tags or {}
