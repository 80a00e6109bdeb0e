"""``cohort_summary``: the labels of all samples side by side, from the records of their labels.

It has no partition, and it waits for none: what is missing or behind is listed, with the reason.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pandas as pd
from dagster import AutomationCondition

from ctr_assets.assets import RETRY, asset_settings
from ctr_assets.assets.final import FINAL, LABEL_COUNTS
from ctr_assets.checks import schema_spec
from ctr_assets.freshness import (
    BASIS,
    Recorded,
    Wanted,
    differences,
    in_words,
    newest_events,
    observed_samples,
    registered,
)
from ctr_assets.machines import CPU_TAGS
from ctr_assets.metadata import column_lineage, step
from ctr_assets.outputs import Basis, materialized, table_output, with_metadata
from ctr_assets.partitions import Partition
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource
from ctr_assets.versions import DATA_VERSION_TAG, digest
from ctr_engine.reporting.cohort_figure import label_shares
from ctr_engine.tables import CohortSummary
from ctr_engine.tables.cohort import LabelCount, tissue_totals
from ctr_engine.tables.cohort import cohort_summary as summary_of

COHORT = "cohort"
COHORT_SUMMARY = "cohort_summary"
HOURLY, DAILY = "0 * * * *", "30 3 * * *"
_CHUNK = 500
_MOST_LISTED = 200
_REASON_COLUMNS = ("partition", "why")
_TISSUE_COLUMNS = (
    "tissue", "samples", "missing", "behind", "cells", "unassigned", "most_common",
)  # fmt: skip
_NOTHING: Mapping[str, Any] = {"samples": 0, "cells": 0, "unassigned": 0.0, "most_common": ""}


@dataclass
class Cohort:
    """What is known of each partition: its labels, and the reason where they are not in force.

    ``missing`` have no rows in the table; ``behind`` have the rows of the labels that are there.
    """

    counts: dict[Partition, list[LabelCount]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[Partition, str] = field(default_factory=dict)
    behind: dict[Partition, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """One row per sample and label."""
        return summary_of((one.tissue, one.sample, n) for one, n in self.counts.items())


def gather(instance: dg.DagsterInstance, project: Project) -> Cohort:
    """Read the newest labels of every registered partition, as their records count them.

    The records hold picture and parameters too: they are read a chunk at a time.
    """
    known = registered(instance)
    cohort, wanted = Cohort(), Wanted(project)
    for start in range(0, len(known), _CHUNK):
        _add(cohort, instance, wanted, known[start : start + _CHUNK])
    cohort.faults.extend(wanted.faults.values())
    return cohort


def _add(
    cohort: Cohort, instance: dg.DagsterInstance, wanted: Wanted, partitions: Sequence[Partition]
) -> None:
    keys = [one.key for one in partitions]
    made = dg.DagsterEventType.ASSET_MATERIALIZATION
    records = newest_events(instance, dg.AssetKey(FINAL), keys, made)
    samples = observed_samples(instance, keys)
    for one in partitions:
        event = records[one.key].asset_materialization if one.key in records else None
        if event is None:
            cohort.missing[one] = "never annotated"
            continue
        if LABEL_COUNTS not in event.metadata:
            cohort.missing[one] = f"its {FINAL} does not count its labels; make it anew"
            continue
        counts: Any = event.metadata[LABEL_COUNTS].value
        cohort.counts[one] = counts
        cohort.versions[one.key] = (event.tags or {})[DATA_VERSION_TAG]
        basis: Any = event.metadata[BASIS].value
        sample = samples[one.key] if one.key in samples else None
        found = Recorded(records[one.key].storage_id, basis)
        moved = differences(wanted.basis(one, sample), found)
        if moved:
            cohort.behind[one] = in_words(moved)


def when_quiet() -> AutomationCondition:
    """Give the condition of the cohort, which never waits for a partition that failed.

    Made when labels changed and none is being made; in a long load, where some always are, once an
    hour. Once a day in any case: what is missing or behind changes without new labels.
    """
    requested = AutomationCondition.newly_requested()
    # each side knows its times, so that labels made while the cohort is read are not lost
    changed = AutomationCondition.any_deps_match(AutomationCondition.newly_updated())
    daily = AutomationCondition.cron_tick_passed(DAILY).since(requested)
    hourly = AutomationCondition.cron_tick_passed(HOURLY)
    reasons = changed.since(requested).with_label("labels changed") | daily.with_label("daily")
    quiet = ~AutomationCondition.any_deps_in_progress()
    ready = quiet.with_label("no labels are being made") | hourly.with_label("hourly")
    return (reasons & ready & ~AutomationCondition.in_progress()).with_label("when_quiet")


@dg.asset(
    name=COHORT_SUMMARY,
    io_manager_key="tables",
    deps=[dg.AssetDep(FINAL, partition_mapping=dg.AllPartitionMapping())],
    check_specs=[schema_spec(COHORT_SUMMARY, None)],
    retry_policy=RETRY,
    op_tags=CPU_TAGS,
    **asset_settings() | {"group_name": COHORT, "automation_condition": when_quiet()},
)
def cohort_summary(
    context: dg.AssetExecutionContext, project: ProjectResource
):  # with check_specs, an annotation of MaterializeResult would make the output Nothing
    """One row per sample and final label, of every sample that has labels."""
    with step("pandas") as measured:
        cohort = gather(context.instance, project.open())
        table = cohort.table()
    for fault in cohort.faults:
        context.log.warning(fault)
    output = table_output(COHORT_SUMMARY, CohortSummary, table, label_shares, measured)
    lineage = column_lineage({name: (FINAL, name) for name in ("cell_type", "cell_type_path")})
    output = with_metadata(output, lineage | _lists(context.instance, cohort, table))
    return materialized(context, output, Basis({}, known={FINAL: digest(cohort.versions)}))


def _lists(instance: dg.DagsterInstance, cohort: Cohort, table: pd.DataFrame) -> dict[str, Any]:
    """What each tissue has, and which partitions are missing or behind; long lists are cut."""
    missing = list(cohort.missing.items())[:_MOST_LISTED]
    behind = list(cohort.behind.items())[:_MOST_LISTED]
    return {
        "samples": len(cohort.counts),
        "samples_missing": len(cohort.missing),
        "samples_behind": len(cohort.behind),
        "tissues": _shown(_TISSUE_COLUMNS, _tissues(cohort, table)),
        "missing": _shown(
            _REASON_COLUMNS, [(one.key, _why_missing(instance, one, why)) for one, why in missing]
        ),
        "behind": _shown(_REASON_COLUMNS, [(one.key, why) for one, why in behind]),
    }


def _tissues(cohort: Cohort, table: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Numbers of each tissue, also of one in which nothing has labels."""
    totals = {row["tissue"]: row for row in tissue_totals(table)}
    missing = Counter(one.tissue for one in cohort.missing)
    behind = Counter(one.tissue for one in cohort.behind)
    rows = []
    for tissue in sorted({*totals, *missing}):
        known = totals[tissue] if tissue in totals else _NOTHING
        numbers = (known["samples"], missing[tissue], behind[tissue], known["cells"])
        rows.append((tissue, *numbers, round(known["unassigned"], 4), known["most_common"]))
    return rows


def _why_missing(instance: dg.DagsterInstance, partition: Partition, why: str) -> str:
    """Say what became of the newest run, where there is one."""
    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": partition.key}), limit=1)
    return f"{why}; run {runs[0].run_id[:8]}: {runs[0].status.value.lower()}" if runs else why


def _shown(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.TableMetadataValue:
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in columns])
    records = [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows]
    return dg.MetadataValue.table(records, schema)


ASSETS = [cohort_summary]
