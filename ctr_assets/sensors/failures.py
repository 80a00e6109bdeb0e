"""``failed_runs``: posts a failure to the webhook of the project, if it names one."""

import json
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg

from ctr_assets.project import project_at
from ctr_assets.sensors import seconds

_TIMEOUT = 10.0


def message_of(context: dg.RunFailureSensorContext) -> dict[str, object]:
    """What is posted: which partition, which steps, and why."""
    tags, run = context.dagster_run.tags, context.dagster_run
    steps = {
        event.step_key: event.step_failure_data.error_display_string
        for event in context.get_step_failure_events()
    }
    partition = tags["dagster/partition"] if "dagster/partition" in tags else None
    return {
        "text": f"ctr: {run.job_name} of {partition or 'no partition'} failed",
        "partition": partition,
        "job": run.job_name,
        "run_id": run.run_id,
        "message": context.failure_event.message,
        "steps": steps,
    }


@dg.run_failure_sensor(
    name="failed_runs",
    minimum_interval_seconds=seconds(30),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Posts failed runs to the webhook that ctr.yaml names; does nothing without one.",
)
def failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
    """Post one failure; an address that does not answer is a warning, not another failure."""
    address = project_at(None).config.webhook
    if address is None:
        return dg.SkipReason("ctr.yaml names no webhook")
    if context.dagster_run.status is dg.DagsterRunStatus.CANCELED:
        return dg.SkipReason("somebody interrupted the run")
    content = json.dumps(message_of(context)).encode()
    headers = {"Content-Type": "application/json"}
    try:
        # the pattern of `webhook` lets nothing but http and https through
        with urlopen(Request(address, content, headers), timeout=_TIMEOUT):  # noqa: S310
            return None
    except (URLError, HTTPException, OSError) as error:
        context.log.warning(f"the webhook did not take the failure: {error}")
        return dg.SkipReason(f"the webhook did not take it: {error}")
