"""The assets, one module per step of the engine. Each body is one call of the engine."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from ctr_assets.automation import rebuild_on_change
from ctr_assets.checks import schema_spec
from ctr_assets.machines import CPU_TAGS, GPU_POOL, gpu_tags
from ctr_assets.partitions import PARTITIONS
from ctr_assets.retries import RetryFaults
from ctr_assets.versions import code_version

GROUP = "annotation"
OWNERS = ["team:annotation"]
RETRY = RetryFaults(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)


def op_settings(*, gpu: bool = False) -> dict[str, Any]:
    """Partitions, retries and machine of a step."""
    settings: dict[str, Any] = {"partitions_def": PARTITIONS, "retry_policy": RETRY}
    settings |= {"op_tags": gpu_tags(), "pool": GPU_POOL} if gpu else {"op_tags": CPU_TAGS}
    return settings


def asset_settings(
    *, names: bool = False, kinds: Iterable[str] = ("parquet",), on_demand: bool = False
) -> dict[str, Any]:
    """Group, owners, kinds, code version and automation of an asset.

    Parameters
    ----------
    names
        Whether marker names are looked up, so that the built-in table counts.
    on_demand
        Whether it is made only when somebody asks for it.
    """
    return {
        "automation_condition": None if on_demand else rebuild_on_change(),
        "group_name": GROUP,
        "owners": OWNERS,
        "kinds": set(kinds),
        "code_version": code_version(names=names),
    }


def table_outs(descriptions: dict[str, str], *, names: bool = False) -> dict[str, dg.AssetOut]:
    """Outputs of a step that stores several tables."""
    return {
        name: dg.AssetOut(description=text, io_manager_key="tables", **asset_settings(names=names))
        for name, text in descriptions.items()
    }


def schema_specs(tables: Iterable[str]) -> list[dg.AssetCheckSpec]:
    """Declare the schema checks of several tables."""
    return [schema_spec(name) for name in tables]
