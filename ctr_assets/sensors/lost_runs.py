"""``lost_runs``: a run whose process was killed is failed, so that its partition is free again."""

import json
import time
from socket import gethostname

import dagster as dg

from ctr_assets.sensors import seconds
from ctr_assets.workers import HOST_TAG, is_alive, pid_of

_GRACE = 60.0
"""Seconds that a run may take to say which process works on it."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_GRPC_TAG = ".dagster/grpc_info"
WORKING = (
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def fail_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail every run on this machine whose process is gone; gives their ids."""
    lost: list[str] = []
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return lost  # pods and the like have processes that nobody sees from here
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(WORKING))):
        run = record.dagster_run
        if not _is_here(run):
            continue  # others look after it, where it works
        # a run that waited in the queue has not started when it was made
        since = record.start_time or record.update_timestamp.timestamp()
        pid = pid_of(instance, run.run_id)
        if pid is None and time.time() - since < _GRACE:
            continue
        if pid is None or not is_alive(pid, since):
            now = instance.get_run_by_id(run.run_id)
            if now is None or now.is_finished:  # it ended while this looked, as it should
                continue
            what = "said nothing" if pid is None else f"{pid} is gone"
            instance.report_run_failed(run, f"The process of this run {what}; it was killed.")
            lost.append(run.run_id)
    return lost


def _is_here(run: dg.DagsterRun) -> bool:
    """Whether a run was launched by a code server of this machine, or from Python on it."""
    if _GRPC_TAG in run.tags:
        server: dict[str, object] = json.loads(run.tags[_GRPC_TAG])
        return "host" in server and server["host"] in _LOCAL
    return HOST_TAG in run.tags and run.tags[HOST_TAG] == gethostname()


def _lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    lost = fail_lost_runs(context.instance)
    for run_id in lost:
        context.log.warning(f"run {run_id} was failed: its process is gone")
    return dg.SkipReason(f"{len(lost)} lost runs failed" if lost else "no lost run")


lost_runs = dg.SensorDefinition(
    name="lost_runs",
    evaluation_fn=_lost_runs,
    minimum_interval_seconds=seconds(30),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails runs whose process was killed, which the launcher does not always notice.",
)
