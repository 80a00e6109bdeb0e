"""The benchmark of the orchestration, small: its figures are there, and its copies are real."""

import csv
import math
from collections import Counter

import dagster as dg
import pytest

from benchmarks.orchestration import edit
from benchmarks.orchestration.__main__ import main
from benchmarks.orchestration.figures import Figure
from benchmarks.orchestration.laboratory import Size, annotated_project, edited_map
from benchmarks.orchestration.looks import Automation, reconcile_round
from benchmarks.orchestration.running import Usage
from ctr_assets.runs import project_instance
from ctr_assets.status import statuses

pytestmark = pytest.mark.slow
TEN = Size(10, per_tissue=5, cells=300)


def finite(found: list[Figure]) -> dict[str, float]:
    assert all(math.isfinite(one.value) and one.value >= 0 for one in found)
    return {one.what: one.value for one in found}


def test_the_copies_are_fresh_and_an_edit_moves_those_of_its_tissue(tmp_path):
    project = annotated_project(tmp_path / "project", TEN)
    with project_instance(project) as instance:

        def states() -> Counter[tuple[str, str]]:
            found, faults = statuses(instance, project)
            assert not faults
            return Counter((one.partition.partition("__")[0], one.state) for one in found)

        assert states() == {("tissue-000", "fresh"): 5, ("tissue-001", "fresh"): 5}
        assert reconcile_round(instance, project) == [0]
        for record in instance.get_asset_records():
            made = dg.DagsterEventType.ASSET_MATERIALIZATION
            ids = instance.get_latest_storage_id_by_partition(record.asset_entry.asset_key, made)
            newest = record.asset_entry.last_materialization_storage_id
            assert newest == max(ids.values(), default=None)
        automation = Automation(instance, project)
        assert [len(automation.look()) for _ in range(2)] == [0, 0]
        edited_map(project, "tissue-001")
        assert states() == {("tissue-000", "fresh"): 5, ("tissue-001", "behind"): 5}
        assert reconcile_round(instance, project) == [5]


def test_ticks_and_memory_are_measured_and_written(tmp_path):
    size = ["--partitions", "10", "--per-tissue", "5", "--cells", "300"]
    out = tmp_path / "out"
    main(["--only", "ticks", *size, "--tick-seconds", "1", "--out", str(out)])
    with (out / "orchestration.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["part"], row["what"]): float(row["value"]) for row in rows}
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    sensors = ("annotation_automation", "new_samples", "input_edits", "reconcile")
    for what in (
        *(f"daemon, {name}, quiet tick" for name in sensors),
        "daemon, edit until all its runs wait",
        "automation, after an edit, processor",
        "ctr status, clock",
        "UI, graph",
    ):
        assert found["ticks", what] > 0, what
    assert found["memory", "peak of: daemon"] > 50
    assert found["memory", "peak of: code server"] > 50
    assert "| ticks | UI, graph | 10 partitions |" in (out / "orchestration.md").read_text()


def test_an_edit_is_measured_until_it_is_in_force(tmp_path):
    usage = Usage()
    found = finite(edit.measure(tmp_path, Size(2, 2, 300), "in_process", 1, usage))
    assert found["edit until the last label is in force"] > found["a run steps"] > 0
    assert found["per partition"] * 2 == pytest.approx(
        found["edit until the last label is in force"], abs=0.01
    )
    assert usage.peaks["run"] > 50
