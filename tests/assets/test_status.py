"""``ctr status``: what is fresh, behind, failed, and why."""

import json

from ctr_assets.commands import show_status
from ctr_assets.runs import project_instance, register, run_job
from ctr_assets.status import statuses
from tests.assets.conftest import LIVER_1, LIVER_2, LUNG_1, Laboratory
from tests.assets.test_sensors import EDITED, failed_run, input_edits, look, new_samples, reconcile


def states(laboratory: Laboratory, tissue: str | None = None) -> dict[str, tuple[str, str]]:
    found, _ = statuses(laboratory.instance, laboratory.project, tissue)
    return {one.partition: (one.state, one.why) for one in found}


def test_each_state_has_its_reason(laboratory):
    assert {state for state, _ in states(laboratory).values()} == {"new"}
    assert laboratory.run(LIVER_1).success
    assert states(laboratory, "liver")[LIVER_1] == ("fresh", "")
    laboratory.map_file("liver").write_text(EDITED)
    assert states(laboratory)[LIVER_1] == ("behind", "the marker map was edited")
    cursor = look(laboratory, new_samples).cursor
    look(laboratory, new_samples, cursor)
    assert states(laboratory)[LUNG_1] == ("behind", "never annotated")
    failed_run(laboratory, {"dagster/partition": LIVER_1})
    state, why = states(laboratory)[LIVER_1]
    assert state == "failed"
    assert why.startswith("the marker map was edited; run ")
    assert set(states(laboratory, "liver")) == {LIVER_1, LIVER_2}


def test_a_map_that_cannot_be_read_is_told_and_moves_nothing(laboratory):
    assert laboratory.run(LIVER_1).success
    laboratory.map_file("liver").write_text("{")
    found, faults = statuses(laboratory.instance, laboratory.project, "liver")
    assert {one.state for one in found} == {"fresh", "new"}
    assert "is not valid JSON" in " ".join(faults)


def test_the_command_lists_what_is_not_fresh(laboratory, capsys):
    project = laboratory.project
    with project_instance(project) as instance:
        register(instance, project.partitions())
        partition = project.partitions()[0]
        assert run_job(instance, project, partition, "annotate_partition").success
    show_status(project.root, None, everything=False, as_json=False)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"{LIVER_2}  new: its sample was not observed yet",
        f"{LUNG_1}  new: its sample was not observed yet",
        "3 partitions: 1 fresh, 2 new",
    ]
    show_status(project.root, "liver", everything=True, as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["fresh", "new"]


def test_keys_that_can_be_no_partition_are_told_and_stop_nothing(laboratory):
    """The UI lets anybody add any key."""
    laboratory.instance.add_dynamic_partitions("tissue__sample", ["No Key!", "liver__S99"])
    misnamed = laboratory.project.root / "samples" / "Liver" / "S 1.h5ad"
    misnamed.parent.mkdir()
    misnamed.touch()
    assert laboratory.run(LIVER_1).success
    found, faults = statuses(laboratory.instance, laboratory.project)
    assert {one.partition for one in found} == {LIVER_1, LIVER_2, LUNG_1, "liver__S99"}
    told = "Dagster lists the partition 'No Key!', which can be none; delete it in the UI"
    misnaming = "'Liver__S 1' is no partition key, so this sample is not looked at; rename its"
    assert faults == [told, f"{misnaming} file or folder"]
    for sensor in (input_edits, reconcile):
        tick = look(laboratory, sensor)
        assert tick.skip_reason is None or told in str(tick.skip_reason.skip_message)
