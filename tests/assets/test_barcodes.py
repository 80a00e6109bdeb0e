"""Sets of barcodes in the graph: a real instance, real files, and the sensor that finds them."""

import json
import os
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from benchmarks.barcodes.simulate import simulated
from ctr_assets.assets.barcodes import COVERAGE, MECE, _mece
from ctr_assets.barcode_sets import BARCODE_SETS, require_key
from ctr_assets.definitions import build_defs
from ctr_assets.resources import ProjectResource
from ctr_assets.sensors.new_barcode_sets import new_barcode_sets
from ctr_engine.errors import ParameterError
from ctr_engine.io.barcodes import fasta_text
from ctr_engine.io.tables import read_parquet
from ctr_engine.splitmerge.barcodes import params as barcode_params
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from ctr_engine.splitmerge.barcodes.refine import refine_barcodes
from ctr_engine.tables import SequenceClusters

KEY = "fungi_1"
STEPS = ("barcode_sequences", "barcode_distances", "initial_clusters", "two_pass_clusters")


class Herbarium:
    """A project with one set of barcodes, and its instance."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = root, instance
        self.known, self.given = simulated(3, n=40)
        (root / "ctr.yaml").write_text("{}\n")
        (root / "barcodes").mkdir()
        self.write(fasta_text(self.known.barcodes))
        instance.add_dynamic_partitions(BARCODE_SETS.name, [KEY])

    def write(self, fasta: str) -> None:
        (self.root / "barcodes" / f"{KEY}.fasta").write_text(fasta)

    def write_clusters(self) -> None:
        rows = [f"{i}\t{name}" for name, ids in self.given.items() for i in ids]
        text = "\n".join(["sequence_id\tcluster_id", *rows]) + "\n"
        (self.root / "barcodes" / f"{KEY}.clusters.tsv").write_text(text)

    def run(self) -> dg.ExecuteInProcessResult:
        job = build_defs(str(self.root)).resolve_job_def("cluster_barcodes")
        return job.execute_in_process(
            instance=self.instance, partition_key=KEY, raise_on_error=False
        )

    def event(self, asset: str) -> dg.AssetMaterialization:
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[KEY])
        return (
            self.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
        )

    def versions(self) -> dict[str, str]:
        return {name: self.event(name).tags["dagster/data_version"] for name in STEPS}

    def clusters(self) -> list[tuple[str, ...]]:
        path = self.root / "storage" / "two_pass_clusters" / f"{KEY}.parquet"
        table = read_parquet(SequenceClusters, path)
        groups = table.groupby("cluster_id")["sequence_id"]
        return sorted(tuple(sorted(ids)) for _, ids in groups)

    def failure(self) -> str:
        result = self.run()
        assert not result.success
        (failed, *_) = [e for e in result.all_events if e.is_step_failure]
        return failed.step_failure_data.user_failure_data.description


@pytest.fixture
def herbarium(tmp_path):
    with dg.instance_for_test() as instance:
        yield Herbarium(tmp_path, instance)


def test_a_run_makes_the_clusters_that_the_engine_makes(herbarium):
    herbarium.write_clusters()
    assert herbarium.run().success
    expected = refine_barcodes(herbarium.known.barcodes, herbarium.given, BarcodeParams())
    assert herbarium.clusters() == sorted(expected.clusters.values())
    metadata = herbarium.event("two_pass_clusters").metadata
    assert metadata["stop_reason"].value == expected.result.stop_reason
    assert metadata["clusters"].value == len(expected.clusters)
    assert metadata["picture"].value.startswith("![picture](data:image/png;base64,")
    assert metadata["summary"].value["n_items"] == 40


def test_checks_for_mece_and_coverage_are_recorded(herbarium):
    result = herbarium.run()
    checks = {e.check_name: e.passed for e in result.get_asset_check_evaluations()
              if e.asset_key == dg.AssetKey("two_pass_clusters")}  # fmt: skip
    assert checks == {"schema": True, MECE: True, COVERAGE: True}


def test_without_a_table_the_clusters_to_begin_with_are_those_of_one_scope(herbarium):
    assert herbarium.run().success
    assert herbarium.event("initial_clusters").metadata["from"].value == "one scope"
    herbarium.write_clusters()
    assert herbarium.run().success
    assert herbarium.event("initial_clusters").metadata["from"].value == f"{KEY}.clusters.tsv"


def test_an_edit_of_the_table_moves_the_versions_below_it_only(herbarium):
    herbarium.run()
    before = herbarium.versions()
    herbarium.run()
    assert herbarium.versions() == before
    herbarium.write_clusters()
    herbarium.run()
    moved = {name for name, version in herbarium.versions().items() if version != before[name]}
    assert moved == {"initial_clusters", "two_pass_clusters"}


def test_the_order_of_the_records_changes_nothing_but_the_hash_of_the_file(herbarium):
    herbarium.run()
    clusters = herbarium.clusters()
    herbarium.write(fasta_text(reversed(herbarium.known.barcodes)))
    assert herbarium.run().success
    assert herbarium.clusters() == clusters


def test_a_broken_file_fails_with_its_lines_and_what_was_stored_stays(herbarium):
    herbarium.run()
    clusters = herbarium.clusters()
    herbarium.write(">a\nACGT\n>a\nACXT\n")
    words = herbarium.failure()
    assert "line 3: 'a' is there twice, first in line 1" in words
    assert "line 4: 'a' has 'X', which is no IUPAC letter" in words
    assert herbarium.clusters() == clusters


def test_a_large_set_is_aligned_scope_by_scope_and_needs_clusters_to_begin_with(
    herbarium, monkeypatch
):
    monkeypatch.setattr(barcode_params, "MOST_IN_ONE_CONTEXT", 39)
    assert "has 40 sequences, too many to be clustered at once" in herbarium.failure()
    herbarium.write_clusters()
    assert herbarium.run().success
    distances = herbarium.event("barcode_distances").metadata
    assert distances["distance_context"].value == "scope"
    assert distances["pairs"].value == 0
    summary = herbarium.event("two_pass_clusters").metadata["summary"].value
    assert summary["search"] in ("vsearch", "blast", "kmer")


def table(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["sequence_id", "cluster_id"])


def test_the_checks_see_what_is_in_two_clusters_lost_or_unknown():
    good = {c.check_name: c.passed for c in _mece(table(("a", "1"), ("b", "2")), ["a", "b"])}
    assert good == {MECE: True, COVERAGE: True}
    twice, lost = _mece(table(("a", "1"), ("a", "2")), ["a", "b"])
    assert (twice.check_name, twice.passed) == (MECE, False)
    assert twice.description == "1 sequences are in several clusters"
    assert (lost.check_name, lost.passed) == (COVERAGE, False)
    assert lost.description == "lost or unknown: ['b'] (1)"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "x\n"])
def test_a_name_that_could_be_a_path_is_refused(name):
    with pytest.raises(ParameterError, match="is no name of a set of barcodes"):
        require_key(name)


def tick(herbarium: Herbarium, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=herbarium.instance, cursor=cursor)
    project = ProjectResource(folder=str(herbarium.root))
    return new_barcode_sets(context, project=project)


def test_a_set_is_requested_when_it_looks_the_same_twice_and_once_for_each_content(herbarium):
    herbarium.instance.delete_dynamic_partition(BARCODE_SETS.name, KEY)
    first = tick(herbarium, None)
    assert first.run_requests == []
    assert first.skip_reason.skip_message == f"{KEY} may still be copied"
    second = tick(herbarium, first.cursor)
    (request,) = second.run_requests
    assert request.partition_key == KEY
    (added,) = second.dynamic_partitions_requests
    assert added.partition_keys == [KEY]
    again = tick(herbarium, second.cursor)
    assert again.run_requests == []
    assert again.skip_reason.skip_message == "no new set among 1"
    herbarium.write_clusters()
    third = tick(herbarium, second.cursor)
    assert third.run_requests == []
    (edited,) = tick(herbarium, third.cursor).run_requests
    assert edited.run_key != request.run_key


def settled(herbarium: Herbarium, cursor: str | None) -> dg.SensorResult:
    """The second tick after a change."""
    return tick(herbarium, tick(herbarium, cursor).cursor)


def test_an_edit_of_the_parameters_is_taken_up_and_taking_it_back_as_well(herbarium):
    first = settled(herbarium, None)
    (before,) = first.run_requests
    (herbarium.root / "ctr.yaml").write_text("barcodes: {max_lump: 0.03}\n")
    second = settled(herbarium, first.cursor)
    (edited,) = second.run_requests
    (herbarium.root / "ctr.yaml").write_text("{}\n")
    third = settled(herbarium, second.cursor)
    (back,) = third.run_requests
    assert len({before.run_key, edited.run_key, back.run_key}) == 3
    assert settled(herbarium, third.cursor).run_requests == []


def test_a_cursor_of_an_earlier_version_is_taken_up(herbarium):
    old = json.dumps({"seen": {KEY: "1:2|none"}, "taken": {KEY: "1:2|none"}})
    (request,) = settled(herbarium, old).run_requests
    assert request.partition_key == KEY


def test_a_file_that_was_only_touched_is_not_clustered_again(herbarium):
    first = settled(herbarium, None)
    (path,) = (herbarium.root / "barcodes").glob("*.fasta")
    os.utime(path, (1, 1))
    touched = settled(herbarium, first.cursor)
    assert touched.run_requests == []
    assert touched.skip_reason.skip_message == "no new set among 1"


def test_files_with_improper_names_or_twice_are_told_and_the_others_go_on(herbarium):
    folder = herbarium.root / "barcodes"
    (folder / "two words.fasta").write_text(">a\nACGT\n")
    (folder / "twice.fasta").write_text(">a\nACGT\n")
    (folder / "twice.fa").write_text(">a\nACGT\n")
    first = tick(herbarium, None)
    assert "'two words' is no name of a set of barcodes" in first.skip_reason.skip_message
    assert "holds twice.fa and twice.fasta; keep one" in first.skip_reason.skip_message
    (request,) = tick(herbarium, first.cursor).run_requests
    assert request.partition_key == KEY


def test_without_a_folder_of_barcodes_nothing_is_requested(herbarium):
    for path in (herbarium.root / "barcodes").iterdir():
        path.unlink()
    (herbarium.root / "barcodes").rmdir()
    assert tick(herbarium, None).skip_reason.skip_message == "no set of barcodes"


def test_distances_are_stored_as_the_engine_has_them(herbarium):
    herbarium.run()
    path = herbarium.root / "storage" / "barcode_distances" / f"{KEY}.npz"
    with np.load(path, allow_pickle=False) as stored:
        values = stored["values"]
    assert values.shape == (40, 40)
    assert np.array_equal(values, values.T, equal_nan=True)
    assert (np.diag(values) == 0).all()
