"""The schedule of the night: requests what is behind, deletes old runs that count no more."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from ctr_assets import schedules
from ctr_assets.definitions import build_defs
from ctr_assets.partitions import parse_key
from ctr_assets.runs import project_instance, register, run_job
from ctr_assets.schedules import NAME, prune
from tests.assets.conftest import LIVER_1, Laboratory
from tests.assets.test_sensors import EDITED, failed_run


def night(laboratory: Laboratory) -> dg.ScheduleDefinition:
    return build_defs(str(laboratory.project.root)).resolve_schedule_def(NAME)


def test_it_is_off_unless_the_project_names_a_night(laboratory):
    assert night(laboratory).default_status is dg.DefaultScheduleStatus.STOPPED
    (laboratory.project.root / "ctr.yaml").write_text("nightly: {cron: '30 1 * * *'}\n")
    found = night(laboratory)
    assert found.default_status is dg.DefaultScheduleStatus.RUNNING
    assert found.cron_schedule == "30 1 * * *"


def test_what_is_behind_is_requested(laboratory):
    project, partition = laboratory.project, parse_key(LIVER_1)
    root = str(project.root)
    with project_instance(project) as instance:  # a schedule wants one that can be opened again
        register(instance, [partition])
        assert run_job(instance, project, partition, "annotate_partition").success
        laboratory.map_file("liver").write_text(EDITED)
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC),
            resources={"project": build_defs(root).resources["project"]},
        )
        with context:
            found = list(night(laboratory)(context))
    assert [one.partition_key for one in found] == [LIVER_1]


def test_old_runs_go_and_those_that_made_what_is_in_force_stay(
    laboratory, monkeypatch: pytest.MonkeyPatch
):
    first = laboratory.run(LIVER_1).run_id
    failed_run(laboratory, {"dagster/partition": LIVER_1})
    second = laboratory.run(LIVER_1).run_id
    before = laboratory.versions(LIVER_1)
    assert prune(laboratory.instance, keep_days=1) == [], "they are new"
    later = (datetime.now(UTC) + timedelta(days=2)).timestamp()
    monkeypatch.setattr(schedules.time, "time", lambda: later)
    deleted = prune(laboratory.instance, keep_days=1)
    assert first in deleted
    assert len(deleted) == 2
    assert {run.run_id for run in laboratory.instance.get_runs()} == {second}
    assert laboratory.versions(LIVER_1) == before
