"""When an asset is made again: its input has another content, its code is new, or it is missing."""

import dagster as dg
from dagster import AutomationCondition

from ctr_assets.sensors import seconds

NAME = "rebuild_on_change"
SENSOR = "annotation_automation"
_SAMPLE = dg.AssetSelection.assets("sample")
_LABELS, _LAST = dg.AssetKey("final_annotations"), dg.AssetKey("refined")


def rebuild_on_change() -> AutomationCondition:
    """Give the condition of every asset on the way to the labels.

    A dependency counts when its *data version* moved; ``eager()`` would also run after a dependency
    that was made again with the same content.
    """
    moved = AutomationCondition.data_version_changed()
    by_this_run = AutomationCondition.executed_with_root_target()
    # who sees a new or replaced sample also requests its run, which takes a while to be there
    inputs = AutomationCondition.any_deps_match(moved & ~by_this_run).ignore(_SAMPLE)
    reasons = (
        inputs.with_label("an input changed")
        | AutomationCondition.code_version_changed()
        | AutomationCondition.newly_missing()
    )
    ready = (
        ~AutomationCondition.any_deps_missing()
        & ~AutomationCondition.any_deps_in_progress()
        & ~AutomationCondition.in_progress()
        & ~_is_worked_on().with_label("a run of the partition is not finished")
    )
    wanted = reasons.since_last_handled() & ready
    # A tick reads what was made at its start, and what is in progress later: what is made in
    # between seems to be neither. On the next tick it is known.
    still_wanted = wanted & ~wanted.newly_true()
    with_dependency = AutomationCondition.any_deps_match(AutomationCondition.will_be_requested())
    return (still_wanted | (with_dependency & ready)).with_label(NAME)


def _is_worked_on() -> AutomationCondition:
    """Whether a partition waits for its first labels, or a run will still make its last assets."""
    missing, in_progress = AutomationCondition.missing(), AutomationCondition.in_progress()
    return AutomationCondition.asset_matches(_LABELS, missing | in_progress) | (
        AutomationCondition.asset_matches(_LAST, in_progress)
    )


def automation_sensor(selection: dg.AssetSelection) -> dg.AutomationConditionSensorDefinition:
    """Make the sensor that asks the conditions."""
    return dg.AutomationConditionSensorDefinition(
        SENSOR,
        target=selection,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=seconds(15),
        # one run per partition with all its steps, where a backfill would make one per step
        emit_backfills=False,
        run_tags={"ctr/trigger": "automation"},
        description="Makes what an edit touches, step by step, and nothing else.",
    )
