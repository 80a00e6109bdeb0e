"""Data versions: hashes of the code version, the parameters and the versions of the inputs.

Equal inputs give an equal version, so that everything downstream may stop.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg

from ctr_engine import ALGORITHM_VERSION
from ctr_engine.markers.aliases import builtin_rows

DATA_VERSION_TAG = "dagster/data_version"


def digest(content: object) -> str:
    """SHA-256 of the canonical JSON of something, hexadecimal."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_version(*, names: bool = False) -> str:
    """Version of the algorithm; for what looks marker names up, with the built-in alias table."""
    return f"{ALGORITHM_VERSION}+{digest(builtin_rows())[:8]}" if names else ALGORITHM_VERSION


def current_version(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition_key: str
) -> str | None:
    """Version of the newest materialisation of a partition, else of its newest observation."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition_key])
    for fetch in (instance.fetch_materializations, instance.fetch_observations):
        records = fetch(wanted, limit=1).records
        if records:
            event = records[0].asset_materialization or records[0].asset_observation
            tags = event.tags if event is not None and event.tags else {}
            return tags[DATA_VERSION_TAG] if DATA_VERSION_TAG in tags else None
    return None


def input_versions(
    context: dg.AssetExecutionContext, key: dg.AssetKey, known: Mapping[str, str]
) -> dict[str, str]:
    """Version of each upstream asset of ``key``, in this run's partition.

    ``known`` has what this step really read, where that can change while it runs.

    Raises
    ------
    dagster.Failure
        If one was never stored or observed.
    """
    versions = {}
    for dep in context.assets_def.specs_by_key[key].deps:
        name = dep.asset_key.to_user_string()
        if name in known:
            versions[name] = known[name]
            continue
        version = current_version(context.instance, dep.asset_key, context.partition_key)
        if version is None:
            msg = f"{name} of {context.partition_key} was never materialized; do that first"
            raise dg.Failure(msg, allow_retries=False)
        versions[name] = version
    return versions


def data_version(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    params: Mapping[str, Any],
    inputs: Mapping[str, str],
) -> dg.DataVersion:
    """Version of what ``context`` is about to store under ``key``."""
    parts = {
        "asset": key.to_user_string(),
        "code": context.assets_def.specs_by_key[key].code_version,
        "params": dict(params),
        "inputs": dict(inputs),
    }
    return dg.DataVersion(digest(parts))
