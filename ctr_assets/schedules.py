"""``nightly_reprocess``: requests what is behind, and deletes old runs that count no more."""

import time
from collections.abc import Iterator

import dagster as dg

from ctr_assets.catching_up import find_behind, requests_for
from ctr_assets.freshness import registered
from ctr_assets.jobs import annotate_partition
from ctr_assets.project import Nightly
from ctr_assets.resources import ProjectResource

NAME = "nightly_reprocess"
MOST_REQUESTS, MOST_DELETED = 500, 500
_DAY = 86_400.0
_FINISHED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


def nightly_schedule(settings: Nightly | None) -> dg.ScheduleDefinition:
    """Make the schedule; it runs by itself where the project asks for it."""
    wanted = settings or Nightly()

    asked_for = settings is not None
    status = dg.DefaultScheduleStatus.RUNNING if asked_for else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        name=NAME,
        cron_schedule=wanted.cron,
        job=annotate_partition,
        default_status=status,
        description="Requests what is behind, and deletes old runs that made nothing in force.",
    )
    def reprocess(
        context: dg.ScheduleEvaluationContext, project: ProjectResource
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        deleted = prune(context.instance, wanted.keep_days)
        folder = project.open()
        behind, faults = find_behind(context.instance, folder, registered(context.instance))
        requests, notes = requests_for(context.instance, folder, behind, MOST_REQUESTS)
        for note in [*notes, *faults]:
            context.log.warning(note)
        if not requests:
            yield dg.SkipReason(f"nothing is behind; {len(deleted)} old runs deleted")
        for request in requests:  # a schedule has one job
            yield request._replace(job_name=None)

    return reprocess


def prune(instance: dg.DagsterInstance, keep_days: int) -> list[str]:
    """Delete finished runs that are older than some days; gives their ids.

    A run that made the newest version of anything stays: its record is the lineage.
    """
    deleted = []
    limit = time.time() - keep_days * _DAY
    records = instance.get_run_records(
        dg.RunsFilter(statuses=list(_FINISHED)), limit=MOST_DELETED, ascending=True
    )
    for record in records:
        run_id = record.dagster_run.run_id
        if record.create_timestamp.timestamp() < limit and not _is_in_force(instance, run_id):
            instance.delete_run(run_id)
            deleted.append(run_id)
    return deleted


def _is_in_force(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run made the newest version of any asset in any partition."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    for entry in instance.all_logs(run_id, of_type=kind):
        event = entry.dagster_event
        if event is None or event.asset_key is None:
            continue
        partitions = [event.partition] if event.partition is not None else None
        wanted = dg.AssetRecordsFilter(asset_key=event.asset_key, asset_partitions=partitions)
        newest = instance.fetch_materializations(wanted, limit=1).records
        if newest and newest[0].run_id == run_id:
            return True
    return False
