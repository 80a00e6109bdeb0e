"""What somebody asked for already: a run that is not finished, or one that is still to be made."""

import time

import dagster as dg

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
LONGEST = 86_400.0
"""Seconds after which a tick that never ended belongs to a sensor that exists no more."""


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
    if instance.schedule_storage is None:  # one that lives in memory has no sensors
        return set()
    found: set[str] = set()
    since = time.time() - LONGEST
    for state in instance.all_instigator_state():
        if state.status.value == "STOPPED":  # its last tick may never end
            continue
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
            if tick.status.value == "STARTED" and tick.timestamp > since:
                requests = tick.run_requests or ()
                found |= {one.partition_key for one in requests if one.partition_key}
    return found
