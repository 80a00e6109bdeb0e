"""Checks, made inside the step; the blocking ones before anything is stored."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd

from ctr_assets.partitions import PARTITIONS
from ctr_assets.unstable import accepted
from ctr_engine.errors import TableError
from ctr_engine.tables import checked

SCHEMA = "schema"
EVERY_CELL_ONCE = "every_cell_once"


def schema_spec(
    asset: str, partitions: dg.PartitionsDefinition[str] | None = PARTITIONS
) -> dg.AssetCheckSpec:
    """Declare the schema check of a table."""
    text = "Columns, types, ranges and keys are as declared."
    return blocking_spec(SCHEMA, asset, text, partitions)


def cells_spec(asset: str) -> dg.AssetCheckSpec:
    """Declare the check that no cell is lost or doubled."""
    text = "The table has each cell of stage_h_input exactly once."
    return blocking_spec(EVERY_CELL_ONCE, asset, text, PARTITIONS)


def advisory_spec(name: str, asset: str, text: str) -> dg.AssetCheckSpec:
    """Declare a check that warns and blocks nothing."""
    with accepted():  # a check with partitions is in preview
        return dg.AssetCheckSpec(
            name, asset=asset, blocking=False, partitions_def=PARTITIONS, description=text
        )


def advice(name: str, asset: str, faults: Sequence[str]) -> dg.AssetCheckResult:
    """Warn of faults; the check passes without any."""
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(asset),
        check_name=name,
        passed=not faults,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(faults) or None,
    )


def blocking_spec(
    name: str, asset: str, text: str, partitions: dg.PartitionsDefinition[str] | None
) -> dg.AssetCheckSpec:
    """Declare a check without which nothing is stored."""
    with accepted():  # a check with partitions is in preview
        return dg.AssetCheckSpec(
            name, asset=asset, blocking=True, partitions_def=partitions, description=text
        )


def schema_check(asset: str, model: Any, table: pd.DataFrame) -> dg.AssetCheckResult:
    """Check a table against its schema."""
    try:
        checked(model, table)
        fault = None
    except TableError as error:
        fault = str(error)
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(asset),
        check_name=SCHEMA,
        passed=fault is None,
        severity=dg.AssetCheckSeverity.ERROR,
        description=fault,
        metadata={"rows": len(table), "columns": len(table.columns)},
    )


def cells_check(asset: str, table: pd.DataFrame, expected: Sequence[str]) -> dg.AssetCheckResult:
    """Check that a table holds each expected cell exactly once."""
    found = table["cell_id"].value_counts()
    missing = sorted(set(expected) - set(found.index))
    unknown = sorted(set(found.index) - set(expected))
    doubled = sorted(found.index[found > 1])
    faults = {"missing": missing, "unknown": unknown, "doubled": doubled}
    words = [f"{len(cells)} {name}: {cells[:3]}" for name, cells in faults.items() if cells]
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(asset),
        check_name=EVERY_CELL_ONCE,
        passed=not words,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(words) or None,
        metadata={"cells": len(expected), **{name: len(cells) for name, cells in faults.items()}},
    )


def require_passed(results: Sequence[dg.AssetCheckResult]) -> None:
    """Fail before anything is stored, so that a bad value never replaces a good one.

    Raises
    ------
    dagster.Failure
        With the words of each check that did not pass.
    """
    failed = [r for r in results if not r.passed]
    if failed:
        words = "\n".join(f"{r.check_name}: {r.description}" for r in failed)
        raise dg.Failure(f"Nothing was stored.\n{words}", allow_retries=False)
