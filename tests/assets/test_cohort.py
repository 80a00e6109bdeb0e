"""``cohort_summary``: what it counts, what it says is missing, and when it is made."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from ctr_assets.assets.cohort import gather
from ctr_assets.definitions import build_defs
from ctr_assets.jobs import JOBS
from ctr_assets.partitions import parse_key
from ctr_assets.runs import register
from ctr_engine.errors import TableError
from ctr_engine.io.tables import read_parquet
from ctr_engine.tables import CohortSummary, checked
from ctr_engine.tables.cohort import cohort_summary, label_counts, tissue_totals
from tests.assets.conftest import LIVER_1, LIVER_2, LUNG_1, Laboratory, make_laboratory
from tests.assets.test_sensors import EDITED, failed_run
from tests.bad_inputs import good_sample

COHORT = dg.AssetKey("cohort_summary")
FINAL = dg.AssetKey("final_annotations")
LUNG_9 = "lung__S9"
ROWS = {
    ("liver", "S1", "Epithelium", "Epithelium"): (60, 0.5),
    ("liver", "S1", "T Cells", "Immune Cells / T Cells"): (36, 0.3),
    ("liver", "S1", "B Cells", "Immune Cells / B Cells"): (24, 0.2),
    ("lung", "S1", "Epithelium", "Epithelium"): (20, 0.25),
    ("lung", "S1", "T Cells", "Immune Cells / T Cells"): (20, 0.25),
    ("lung", "S1", "B Cells", "Immune Cells / B Cells"): (40, 0.5),
}
"""What the samples are made of."""


def put_sample(laboratory: Laboratory, key: str, numbers: tuple[int, int, int]) -> None:
    """Write a sample with so many cells of epithelium, T cells and B cells."""
    cells = good_sample(3 * max(numbers))
    group = np.arange(cells.n_obs) % 3
    place = np.arange(cells.n_obs) // 3
    chosen = cells[place < np.array(numbers)[group]].copy()
    chosen.write_h5ad(laboratory.project.sample_path(parse_key(key)))


def summarise(laboratory: Laboratory) -> dg.AssetMaterialization:
    """Run the job that people find, and give what it reports."""
    job = build_defs(str(laboratory.project.root)).resolve_job_def("summarise_cohort")
    assert job.execute_in_process(instance=laboratory.instance).success
    event = laboratory.instance.get_latest_materialization_event(COHORT)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def stored(laboratory: Laboratory) -> dict[tuple[str, ...], tuple[int, float]]:
    table = read_parquet(CohortSummary, laboratory.project.storage / "cohort_summary.parquet")
    return {tuple(row[:4]): (row[4], row[5]) for row in table.itertuples(index=False)}


def listed(event: dg.AssetMaterialization, name: str) -> list[dict[str, Any]]:
    table = event.metadata[name]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def version(event: dg.AssetMaterialization) -> str:
    return (event.tags or {})["dagster/data_version"]


@dataclass
class Summed:
    """A laboratory in which one sample failed and one was never run, and its cohort."""

    laboratory: Laboratory
    event: dg.AssetMaterialization
    failed_run: str


@pytest.fixture(scope="module")
def summed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Summed]:
    with dg.DagsterInstance.ephemeral() as instance:
        laboratory = make_laboratory(tmp_path_factory.mktemp("cohort"), instance)
        put_sample(laboratory, LIVER_1, (60, 36, 24))
        put_sample(laboratory, LUNG_1, (20, 20, 40))
        laboratory.project.sample_path(parse_key(LIVER_2)).write_text("no sample")
        register(instance, [parse_key(LUNG_9)])
        assert laboratory.run(LIVER_1).success
        assert laboratory.run(LUNG_1).success
        failed = laboratory.run(LIVER_2)
        assert not failed.success
        laboratory.map_file("lung").write_text(EDITED)
        yield Summed(laboratory, summarise(laboratory), failed.run_id)


def test_each_label_of_each_sample_is_a_row_with_its_share(summed):
    assert stored(summed.laboratory) == ROWS
    assert summed.event.metadata["dagster/row_count"].value == 6


def test_what_failed_and_what_was_never_run_is_listed_with_the_reason(summed):
    assert listed(summed.event, "missing") == [
        {
            "partition": LIVER_2,
            "why": f"never annotated; run {summed.failed_run[:8]}: failure",
        },
        {"partition": LUNG_9, "why": "never annotated"},
    ]
    assert summed.event.metadata["samples_missing"].value == 2


def test_labels_that_are_behind_are_counted_and_listed(summed):
    assert listed(summed.event, "behind") == [
        {"partition": LUNG_1, "why": "the marker map was edited"}
    ]
    assert summed.event.metadata["samples"].value == 2
    assert summed.event.metadata["samples_behind"].value == 1


def test_each_tissue_has_its_totals(summed):
    assert listed(summed.event, "tissues") == [
        {
            "tissue": "liver", "samples": 1, "missing": 1, "behind": 0, "cells": 120,
            "unassigned": 0.0, "most_common": "Epithelium 50.0%, T Cells 30.0%, B Cells 20.0%",
        },
        {
            "tissue": "lung", "samples": 1, "missing": 1, "behind": 1, "cells": 80,
            "unassigned": 0.0, "most_common": "B Cells 50.0%, Epithelium 25.0%, T Cells 25.0%",
        },
    ]  # fmt: skip


def test_it_says_about_itself_what_the_other_assets_say(summed):
    metadata = summed.event.metadata
    assert metadata["picture"].value.startswith("![picture](data:image/png;base64,")
    names = [column.name for column in metadata["dagster/column_schema"].value.columns]
    assert names == ["tissue", "sample", "cell_type", "cell_type_path", "n_cells", "share"]
    labels = summed.laboratory.event("final_annotations", LIVER_1)
    others = [summed.laboratory.event(name, LIVER_1) for name in ("pca", "gating_details")]
    common = set.intersection(*(set(event.metadata) for event in [labels, *others]))
    assert {"seconds", "parameters", "file_sha256"} <= common <= set(metadata)
    assert labels.metadata["cells_by_label"].value == [
        {"cell_type": name, "cell_type_path": path, "n_cells": n}
        for (_, sample, name, path), (n, _) in ROWS.items()
        if (sample, n) in {("S1", 60), ("S1", 36), ("S1", 24)}
    ]
    checks = summed.laboratory.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(COHORT, "schema"), limit=1
    )
    assert checks[0].status.value == "SUCCEEDED"


def test_equal_labels_give_an_equal_version_and_others_another(summed):
    again = summarise(summed.laboratory)
    assert version(again) == version(summed.event)
    put_labels(summed.laboratory, LUNG_9, {"Epithelium": 7, "Unassigned": 3})
    more = summarise(summed.laboratory)
    assert version(more) != version(summed.event)
    rows = stored(summed.laboratory)
    assert rows["lung", "S9", "Epithelium", "Epithelium"] == (7, 0.7)
    assert rows["lung", "S9", "Unassigned", ""] == (3, 0.3)
    assert [row["partition"] for row in listed(more, "missing")] == [LIVER_2]
    assert listed(more, "tissues")[1]["unassigned"] == round(3 / 90, 4)


def put_labels(laboratory: Laboratory, key: str, cells: dict[str, int], made: str = "1") -> None:
    """Report labels of a partition as its run would."""
    counts = [
        {"cell_type": name, "cell_type_path": "" if name == "Unassigned" else name, "n_cells": n}
        for name, n in cells.items()
    ]
    event = dg.AssetMaterialization(
        FINAL,
        partition=key,
        metadata={
            "cells_by_label": dg.MetadataValue.json(counts),
            "basis": dg.MetadataValue.json({}),
        },
        tags={"dagster/data_version": f"{key} {made}"},
    )
    laboratory.instance.report_runless_asset_event(event)


def test_the_cohort_of_nothing_is_an_empty_table(laboratory):
    event = summarise(laboratory)
    assert stored(laboratory) == {}
    assert [row["partition"] for row in listed(event, "missing")] == [LIVER_1, LIVER_2, LUNG_1]
    assert listed(event, "tissues")[0] == {
        "tissue": "liver", "samples": 0, "missing": 2, "behind": 0, "cells": 0,
        "unassigned": 0.0, "most_common": "",
    }  # fmt: skip


def test_labels_of_an_earlier_release_are_listed_and_not_counted(laboratory):
    event = dg.AssetMaterialization(FINAL, partition=LUNG_1, tags={"dagster/data_version": "old"})
    laboratory.instance.report_runless_asset_event(event)
    found = gather(laboratory.instance, laboratory.project)
    assert found.missing[parse_key(LUNG_1)] == (
        "its final_annotations does not count its labels; make it anew"
    )
    assert found.versions == {}


def test_a_map_that_cannot_be_read_stops_nothing(laboratory):
    put_labels(laboratory, LUNG_1, {"Epithelium": 1})
    laboratory.map_file("lung").write_text("{")
    found = gather(laboratory.instance, laboratory.project)
    assert list(found.counts) == [parse_key(LUNG_1)]
    assert "is not valid JSON" in " ".join(found.faults)


def test_many_partitions_are_read_in_several_parts(laboratory, monkeypatch):
    monkeypatch.setattr("ctr_assets.assets.cohort._CHUNK", 2)
    for key in (LIVER_1, LIVER_2, LUNG_1):
        put_labels(laboratory, key, {"Epithelium": 1})
    assert len(gather(laboratory.instance, laboratory.project).counts) == 3


class Ticks:
    """Looks of the automation sensor at the cohort, at times that follow each other."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.instance = laboratory.instance
        self.defs = build_defs(str(laboratory.project.root))
        self.cursor: Any = None
        self.ahead = timedelta()
        self.look()

    def look(self, later: timedelta = timedelta()) -> bool:
        """Whether the cohort is requested now, with the clock put forward by so much more."""
        self.ahead += later
        result = dg.evaluate_automation_conditions(
            self.defs,
            self.instance,
            asset_selection=dg.AssetSelection.assets(COHORT),
            cursor=self.cursor,
            evaluation_time=datetime.now(UTC) + self.ahead,
        )
        self.cursor = result.cursor
        return result.get_num_requested(COHORT) == 1

    def until(self, hour: int, minute: int) -> timedelta:
        """Time from now to the next time of the day, on the clock of the looks."""
        now = datetime.now(UTC) + self.ahead
        then = now.replace(hour=hour, minute=minute, second=30, microsecond=0)
        return (then if then > now else then + timedelta(days=1)) - now


def running(laboratory: Laboratory, key: str) -> dg.DagsterRun:
    """A run that is to make the labels of a partition, and has not."""
    job = build_defs(str(laboratory.project.root)).resolve_job_def("refine_partition")
    status = dg.DagsterRunStatus.STARTED
    return laboratory.instance.create_run_for_job(
        job, tags={"dagster/partition": key}, status=status
    )


def test_new_labels_are_summed_up_once_whatever_failed_or_is_missing(laboratory):
    ticks = Ticks(laboratory)
    failed_run(laboratory, {"dagster/partition": LIVER_2})
    assert not ticks.look(), "nothing was labelled"
    put_labels(laboratory, LIVER_1, {"Epithelium": 1})
    assert ticks.look(), "one sample failed and one is missing"
    assert not ticks.look()
    put_labels(laboratory, LIVER_1, {"Epithelium": 1}, made="2")
    assert ticks.look()


def test_it_waits_while_labels_are_being_made(laboratory):
    ticks = Ticks(laboratory)
    run = running(laboratory, LIVER_2)
    put_labels(laboratory, LIVER_1, {"Epithelium": 1})
    assert not ticks.look()
    laboratory.instance.report_run_failed(run)
    assert ticks.look(), "a run that failed makes nothing any more"


def test_where_labels_are_always_being_made_it_comes_once_an_hour(laboratory):
    ticks = Ticks(laboratory)
    ticks.look(ticks.until(12, 10))
    running(laboratory, LIVER_2)
    for made in ("1", "2"):
        assert not ticks.look(timedelta(minutes=1))
        put_labels(laboratory, LIVER_1, {"Epithelium": 1}, made)
        assert not ticks.look(timedelta(minutes=1))
        assert ticks.look(timedelta(hours=1))
    assert not ticks.look(timedelta(hours=1)), "no label is new"


def test_labels_that_were_made_while_it_ran_are_not_lost(laboratory):
    ticks = Ticks(laboratory)
    put_labels(laboratory, LIVER_1, {"Epithelium": 1})
    assert ticks.look()
    put_labels(laboratory, LUNG_1, {"Epithelium": 1})
    job = build_defs(str(laboratory.project.root)).resolve_job_def("summarise_cohort")
    started = dg.DagsterRunStatus.STARTED
    run = laboratory.instance.create_run_for_job(job, status=started)
    assert not ticks.look(), "it is being made"
    laboratory.instance.report_runless_asset_event(dg.AssetMaterialization(COHORT))
    laboratory.instance.report_run_canceled(run)
    assert ticks.look(), "it was read before the labels of lung came"
    assert not ticks.look()


def test_once_a_day_it_is_made_anew_for_what_is_missing_or_behind(laboratory):
    ticks = Ticks(laboratory)
    assert not ticks.look(ticks.until(3, 20))
    assert ticks.look(ticks.until(3, 31))
    assert not ticks.look(timedelta(hours=5))


def test_the_sensor_of_the_project_looks_at_it(laboratory):
    defs = build_defs(str(laboratory.project.root))
    (sensor,) = [one for one in defs.sensors if one.name == "annotation_automation"]
    graph = defs.resolve_asset_graph()
    assert {COHORT, FINAL} <= sensor.asset_selection.resolve(graph)


def test_no_job_of_a_partition_makes_it(laboratory):
    repository = build_defs(str(laboratory.project.root)).get_repository_def()
    makes = {
        job.name: repository.get_job(job.name).asset_layer.executable_asset_keys for job in JOBS
    }
    assert {name for name, keys in makes.items() if COHORT in keys} == {"summarise_cohort"}
    assert makes["summarise_cohort"] == {COHORT}
    assert FINAL in makes["refine_partition"]
    assert FINAL in makes["reannotate_from_scores"]


def test_it_reads_all_partitions_of_the_labels_and_has_none(laboratory):
    graph = build_defs(str(laboratory.project.root)).resolve_asset_graph()
    node = graph.get(COHORT)
    assert node.parent_keys == {FINAL}
    assert node.partitions_def is None
    assert isinstance(node.partition_mappings[FINAL], dg.AllPartitionMapping)
    assert node.group_name == "cohort"
    assert node.owners == ["team:annotation"]
    assert node.kinds == {"parquet"}
    assert node.code_version
    assert node.description
    assert graph.get(dg.AssetCheckKey(COHORT, "schema")).blocking


def test_labels_are_counted_by_name_and_path_the_most_common_first():
    cells = [("B", "R / B"), ("T", "R / T"), ("T", "R / T"), ("T", ""), ("Unassigned", "")]
    final = pd.DataFrame(cells, columns=["cell_type", "cell_type_path"])
    assert [tuple(count.values()) for count in label_counts(final)] == [
        ("T", "R / T", 2), ("B", "R / B", 1), ("T", "", 1), ("Unassigned", "", 1),
    ]  # fmt: skip


def test_shares_are_of_the_sample_and_totals_of_the_tissue():
    def count(name, n):
        return {"cell_type": name, "cell_type_path": f"R / {name}", "n_cells": n}

    none = {"cell_type": "Unassigned", "cell_type_path": "", "n_cells": 4}
    table = cohort_summary(
        [("liver", "S1", [count("A", 3), count("B", 1)]), ("liver", "S2", [none, count("A", 12)])]
    )
    assert list(table["share"]) == [0.75, 0.25, 0.25, 0.75]
    assert tissue_totals(table) == [
        {
            "tissue": "liver", "samples": 2, "cells": 20, "unassigned": 0.2,
            "most_common": "A 75.0%, B 5.0%",
        }
    ]  # fmt: skip


def test_a_label_that_stands_twice_in_a_sample_is_refused():
    table = cohort_summary(
        [("liver", "S1", [{"cell_type": "A", "cell_type_path": "A", "n_cells": 1}])]
    )
    with pytest.raises(TableError, match="CohortSummary"):
        checked(CohortSummary, pd.concat([table, table], ignore_index=True))
