"""How every asset hands over what it made: checked, with its version and its metadata."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from ctr_assets.checks import cells_check, require_passed, schema_check
from ctr_assets.metadata import Measured, picture, table_metadata
from ctr_assets.partitions import is_key, parse_key
from ctr_assets.versions import data_version, input_versions
from ctr_engine.packages import versions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PACKAGES = "package_versions"
"""Metadata of every asset: releases of the packages that can change a result."""


@dataclass(frozen=True)
class Output:
    """What a step made: the value, its picture, what it says about itself, and its checks.

    ``advice`` are checks that do not keep a value from being stored.
    """

    value: Any
    draw: Callable[[], "Figure"] | None
    measured: Measured
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[dg.AssetCheckResult] = ()
    advice: Sequence[dg.AssetCheckResult] = ()


@dataclass(frozen=True)
class Basis:
    """What an output depends on beside its code: parameters, and inputs that may change meanwhile.

    ``known`` has the versions that the step really read, by the name of the input. ``version`` is
    that of the input which the output only passes on.
    """

    params: Mapping[str, Any]
    known: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None


def table_output(
    name: str,
    model: Any,
    table: pd.DataFrame,
    draw: Callable[[pd.DataFrame], "Figure"] | None,
    measured: Measured,
) -> Output:
    """Make the output of a table, with its schema check and, where ``draw`` is given, a picture."""
    return Output(
        value=table,
        draw=None if draw is None else lambda: draw(table),
        measured=measured,
        metadata=table_metadata(model, table),
        checks=[schema_check(name, model, table)],
    )


def with_cells(output: Output, name: str, expected: Sequence[str]) -> Output:
    """Add the check that the table has each expected cell exactly once."""
    checks = [*output.checks, cells_check(name, output.value, expected)]
    return replace(output, checks=checks)


def with_metadata(output: Output, metadata: Mapping[str, Any]) -> Output:
    """Let an output say more about itself."""
    return replace(output, metadata={**output.metadata, **metadata})


def materialized(
    context: dg.AssetExecutionContext, output: Output, basis: Basis, name: str | None = None
) -> dg.MaterializeResult:
    """Hand an output over; ``name`` says which asset, where a step makes several.

    Raises
    ------
    dagster.Failure
        If a check did not pass; nothing is stored then.
    """
    require_passed(output.checks)
    _tag_run(context)
    key = context.asset_key if name is None else dg.AssetKey(name)
    inputs = input_versions(context, key, basis.known)
    made = data_version(context, key, basis.params, inputs)
    return dg.MaterializeResult(
        asset_key=key,
        value=output.value,
        data_version=made if basis.version is None else dg.DataVersion(basis.version),
        metadata={
            **({} if output.draw is None else picture(output.draw)),
            **output.metadata,
            **output.measured.metadata(),
            "parameters": dg.MetadataValue.json(dict(basis.params)),
            "input_data_versions": dg.MetadataValue.json(inputs),
            PACKAGES: dg.MetadataValue.json(versions()),
        },
        check_results=[*output.checks, *output.advice],
    )


def _tag_run(context: dg.AssetExecutionContext) -> None:
    """Give a run that a condition started the tags that all others are started with."""
    if not context.has_partition_key or not is_key(context.partition_key):
        return  # a cohort has none, and a set of barcodes is tagged by who requests its run
    tags = parse_key(context.partition_key).tags
    if any(name not in context.run.tags for name in tags):
        context.instance.add_run_tags(context.run.run_id, tags)
