"""What somebody asked for already: a run that is not finished, or one that is still to be made."""

import time

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorState

from ctr_assets.automation import SENSOR

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
LONGEST = 86_400.0
"""Seconds after which a tick that never ended belongs to a sensor that exists no more."""
_LOOKS, _LONGEST_WAIT = 3, 600.0


def busy_partitions(instance: dg.DagsterInstance) -> set[str]:
    """Partitions that a run waits for or works on, or that a sensor is asking a run for.

    Read it before the labels: a run that ends between the two is then seen here or there.
    """
    # what is asked for becomes a run, so this order meets it in one of the two
    return being_requested(instance) | unfinished_partitions(instance)


def unfinished_partitions(instance: dg.DagsterInstance) -> set[str]:
    """Partitions that a run is waiting for or working on."""
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    return {run.tags["dagster/partition"] for run in runs if "dagster/partition" in run.tags}


def being_requested(instance: dg.DagsterInstance) -> set[str]:
    """Partitions for which a sensor asks at this moment.

    The daemon creates the runs of a tick one after the other, a second or so each: two hundred
    take minutes.
    """
    found: set[str] = set()
    since = time.time() - LONGEST
    for state in _running(instance):
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
            if tick.status.value == "STARTED" and tick.timestamp > since:
                requests = tick.run_requests or ()
                found |= {one.partition_key for one in requests if one.partition_key}
    return found


def conditions_have_looked(instance: dg.DagsterInstance, since: float) -> bool:
    """Whether the conditions, if anybody asks them, had the time to see what moved before a time.

    An edit is observed first, then wanted by one look, and requested by the look after that.
    """
    if time.time() - since > _LONGEST_WAIT:
        return True
    looks = []  # an installation that was moved leaves the state of its old place behind
    for state in _running(instance):
        if state.instigator_name == SENSOR:
            ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since)
            looks.append(sum(tick.status.value != "STARTED" for tick in ticks))
    return not looks or max(looks) >= _LOOKS


def _running(instance: dg.DagsterInstance) -> list[InstigatorState]:
    """Sensors and schedules that the daemon asks; the last tick of another may never end."""
    if instance.schedule_storage is None:  # one that lives in memory has none
        return []
    states = instance.all_instigator_state()
    return [state for state in states if state.status.value != "STOPPED"]
