"""When an asset is made again: its input has another content, its code is new, or it is missing."""

import dagster as dg
from dagster import AutomationCondition

from ctr_assets.sensors import seconds

NAME = "rebuild_on_change"


def rebuild_on_change() -> AutomationCondition:
    """Give the condition of every asset on the way to the labels.

    A dependency counts when its *data version* moved; ``eager()`` would also run after a dependency
    that was made again with the same content.
    """
    moved = AutomationCondition.data_version_changed()
    by_this_run = AutomationCondition.executed_with_root_target()
    requested = AutomationCondition.will_be_requested()
    inputs = AutomationCondition.any_deps_match((moved & ~by_this_run) | requested)
    reasons = (
        inputs.with_label("an input changed")
        | AutomationCondition.code_version_changed()
        | AutomationCondition.newly_missing()
    )
    ready = (
        ~AutomationCondition.any_deps_missing()
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
    )
    return (reasons.since_last_handled() & ready).with_label(NAME)


def automation_sensor(selection: dg.AssetSelection) -> dg.AutomationConditionSensorDefinition:
    """Make the sensor that asks the conditions."""
    return dg.AutomationConditionSensorDefinition(
        "annotation_automation",
        target=selection,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=seconds(15),
        # one run per partition with all its steps, where a backfill would make one per step
        emit_backfills=False,
        run_tags={"ctr/trigger": "automation"},
        description="Makes what an edit touches, step by step, and nothing else.",
    )
