"""A partition from its file to its labels, on a real Dagster instance."""

import base64
import json
from collections.abc import Iterator

import anndata
import dagster as dg
import numpy as np
import pandas as pd
import pytest

from ctr_assets.assets.inputs import observe
from ctr_assets.definitions import build_defs
from ctr_assets.partitions import parse_key
from ctr_engine.analysis import annotate
from ctr_engine.expression import read_expression
from ctr_engine.io.samples import read_marker_map, read_sample, sha256_of
from ctr_engine.io.tables import read_parquet, write_parquet
from ctr_engine.profiles import AnalysisParams
from ctr_engine.tables import STAGE_H_TABLES, Clusters, arrow_schema
from tests.assets.conftest import LIVER_1, LIVER_2, LUNG_1, Laboratory, make_laboratory
from tests.bad_inputs import GOOD_MAP, MAPS, SAMPLES, BadInput, good_sample

BELOW_THE_MAP = {
    "marker_scores", "marker_evidence", "decision_steps", "gating_details", "cluster_annotations",
    "near_miss_report",
    "annotations", "coarse_clusters", "refinement_iteration_1", "refinement_iteration_2",
    "refinement_iteration_3", "final_annotations", "refined",
}  # fmt: skip
EDITED_MAP = GOOD_MAP.replace(
    '"T Cells": {"markers": ["CD3"]}', '"CD3 T Cells": {"markers": ["CD3"]}'
)


@pytest.mark.smoke
@pytest.mark.parametrize("name", STAGE_H_TABLES)
def test_each_stored_table_is_that_of_the_engine(annotated: Laboratory, name):
    sample = annotated.project.sample_path(parse_key(LIVER_1))
    view = read_expression(read_sample(sample), AnalysisParams().expression)
    expected = annotate(view, read_marker_map(annotated.map_file("liver")), AnalysisParams())
    stored = read_parquet(STAGE_H_TABLES[name], annotated.stored(name, LIVER_1))
    pd.testing.assert_frame_equal(stored, expected.tables[name])


def test_the_labels_are_the_planted_ones(annotated: Laboratory):
    labels = pd.read_parquet(annotated.stored("annotations", LIVER_1))["cell_type_auto"]
    truth = np.array(["Epithelium", "T Cells", "B Cells"])[np.arange(120) % 3]
    assert (labels.to_numpy() == truth).all()


def test_the_finished_sample_opens_in_anndata(annotated: Laboratory):
    adata = anndata.read_h5ad(annotated.stored("coarse_clusters", LIVER_1))
    assert adata.n_obs == 120
    assert {"cluster_lvl0", "cell_type_auto", "DAPI_intensity"} <= set(adata.obs.columns)
    assert adata.obsm["X_pca"].shape == (120, 4)


def test_every_materialisation_says_what_it_is(annotated: Laboratory):
    for asset in annotated.versions(LIVER_1):
        metadata = annotated.event(asset, LIVER_1).metadata
        least = 0 if asset == "near_miss_report" else 1
        assert metadata["dagster/row_count"].value >= least, asset
        assert {"seconds", "peak_memory_mib", "device", "parameters", "input_data_versions",
                "file_sha256", "picture"} <= set(metadata), asset  # fmt: skip
        assert metadata["file_sha256"].value == sha256_of(annotated.stored(asset, LIVER_1))


@pytest.mark.parametrize(
    ("asset", "backend"),
    [
        ("pca", "scipy"),
        ("knn_graph", "scikit-learn"),
        ("leiden_clusters", "igraph"),
        ("annotations", "numpy"),
    ],
)
def test_the_library_that_did_the_work_is_named(annotated: Laboratory, asset, backend):
    assert annotated.event(asset, LIVER_1).metadata["backend"].value == backend


def test_a_lost_cell_stops_the_labels_before_they_are_stored(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    good = laboratory.stored("annotations", LIVER_1).read_bytes()
    clusters = laboratory.stored("leiden_clusters", LIVER_1)
    write_parquet(Clusters, read_parquet(Clusters, clusters).iloc[1:], clusters)
    words = laboratory.failure_of("annotations", LIVER_1)
    assert "Nothing was stored." in words
    assert "every_cell_once: 1 missing: ['cell_0']" in words
    assert laboratory.stored("annotations", LIVER_1).read_bytes() == good


def test_every_materialisation_has_a_small_picture(annotated: Laboratory):
    for asset in annotated.versions(LIVER_1):
        text = annotated.event(asset, LIVER_1).metadata["picture"].value
        prefix = "![picture](data:image/png;base64,"
        assert text.startswith(prefix)
        assert len(text) < 60_100
        assert base64.b64decode(text[len(prefix) : -1]).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", STAGE_H_TABLES)
def test_the_column_schema_is_the_declared_one(annotated: Laboratory, name):
    shown = annotated.event(name, LIVER_1).metadata["dagster/column_schema"].schema.columns
    declared = arrow_schema(STAGE_H_TABLES[name])
    assert [column.name for column in shown] == declared.names
    assert all(column.description for column in shown)


def test_each_label_has_its_reason_in_the_ui(annotated: Laboratory):
    records = annotated.event("cluster_annotations", LIVER_1).metadata["reasons"].records
    assert {record.data["label"] for record in records} == {"Epithelium", "T Cells", "B Cells"}
    assert all("markers on" in record.data["why"] for record in records)


def test_the_inputs_of_a_version_are_recorded(annotated: Laboratory):
    versions = annotated.versions(LIVER_1)
    inputs = annotated.event("marker_scores", LIVER_1).metadata["input_data_versions"].value
    assert inputs["cluster_statistics"] == versions["cluster_statistics"]
    assert inputs["marker_map"] == read_marker_map(annotated.map_file("liver")).content_hash
    sample = annotated.event("stage_h_input", LIVER_1).metadata["input_data_versions"].value
    assert sample == {"sample": sha256_of(annotated.project.sample_path(parse_key(LIVER_1)))}


def test_checks_are_recorded_and_passed(annotated: Laboratory):
    for asset, check in (("leiden_clusters", "every_cell_once"), ("marker_scores", "schema")):
        key = dg.AssetCheckKey(dg.AssetKey(asset), check)
        (record,) = annotated.instance.event_log_storage.get_asset_check_execution_history(
            key, limit=1
        )
        assert record.event.dagster_event.event_specific_data.passed


def test_runs_carry_the_tissue_and_the_sample(annotated: Laboratory):
    (run,) = annotated.instance.get_runs()
    assert run.tags["ctr/tissue"] == "liver"
    assert run.tags["ctr/sample"] == "S1"
    assert run.tags["dagster/partition"] == LIVER_1
    assert run.job_name == "annotate_partition"


def test_a_second_run_on_the_same_input_gives_the_same_versions_and_files(laboratory: Laboratory):
    assert laboratory.run(LIVER_1).success
    versions = laboratory.versions(LIVER_1)
    tables = {name: laboratory.stored(name, LIVER_1).read_bytes() for name in STAGE_H_TABLES}
    assert laboratory.run(LIVER_1).success
    assert laboratory.versions(LIVER_1) == versions
    for name, content in tables.items():
        assert laboratory.stored(name, LIVER_1).read_bytes() == content, name


def changed(laboratory: Laboratory, key: str, before: dict[str, str]) -> set[str]:
    after = laboratory.versions(key)
    return {name for name in before if before[name] != after[name]}


def test_an_edit_of_the_map_changes_the_versions_below_it_only(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    before = laboratory.versions(LIVER_1)
    laboratory.map_file("liver").write_text(EDITED_MAP)
    assert laboratory.run(LIVER_1).success
    assert changed(laboratory, LIVER_1, before) == BELOW_THE_MAP
    labels = pd.read_parquet(laboratory.stored("annotations", LIVER_1))["cell_type_auto"]
    assert "CD3 T Cells" in set(labels)


def test_white_space_and_descriptions_in_the_map_change_no_version(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    before = laboratory.versions(LIVER_1)
    content = json.loads(GOOD_MAP)
    content["_marker_map_metadata"] = {"version": "2"}
    content["Epithelium"]["description"] = "Lines surfaces."
    laboratory.map_file("liver").write_text(json.dumps(dict(reversed(content.items())), indent=8))
    assert laboratory.run(LIVER_1).success
    assert changed(laboratory, LIVER_1, before) == set()


def test_a_parameter_changes_the_versions_from_its_step_on(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    before = laboratory.versions(LIVER_1)
    (laboratory.project.root / "ctr.yaml").write_text("defaults: {gating: {max_ambiguity: 2}}\n")
    assert laboratory.run(LIVER_1).success
    decided = BELOW_THE_MAP - {"marker_scores", "marker_evidence"}
    assert changed(laboratory, LIVER_1, before) == decided


@pytest.mark.parametrize(
    ("setting", "table"),
    [("near_miss_margin: 0.2", "near_miss_report"), ("mixed_share: 0.5", "cluster_annotations")],
)
def test_a_parameter_of_the_report_changes_the_table_that_shows_it(
    laboratory: Laboratory, setting: str, table: str
):
    laboratory.run(LIVER_1)
    before = laboratory.versions(LIVER_1)
    (laboratory.project.root / "ctr.yaml").write_text(f"defaults: {{report: {{{setting}}}}}\n")
    assert laboratory.run(LIVER_1).success
    decided = {"decision_steps", "gating_details", "near_miss_report", "cluster_annotations"}
    assert changed(laboratory, LIVER_1, before) & decided == {table}


def test_a_replaced_sample_changes_every_version(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    before = laboratory.versions(LIVER_1)
    good_sample(seed=9).write_h5ad(laboratory.project.sample_path(parse_key(LIVER_1)))
    assert laboratory.run(LIVER_1).success
    assert changed(laboratory, LIVER_1, before) == set(before)


def test_tissues_have_their_own_parameters(laboratory: Laboratory):
    assert laboratory.run(LUNG_1).success
    assert laboratory.run(LIVER_2).success
    used = {
        key: laboratory.event("cluster_annotations", key).metadata["parameters"].value
        for key in (LUNG_1, LIVER_2)
    }
    assert used[LUNG_1]["gate_inheritance"] is True
    assert used[LIVER_2]["gate_inheritance"] is False


@pytest.fixture(scope="module")
def good_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Laboratory, bytes]]:
    """Give a laboratory whose sample each test may spoil, and what was stored of the good one."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = make_laboratory(tmp_path_factory.mktemp("good_once"), instance)
        assert made.run(LIVER_1).success
        yield made, made.stored("stage_h_input", LIVER_1).read_bytes()


@pytest.mark.parametrize("bad", SAMPLES, ids=lambda bad: bad.name)
def test_a_bad_sample_fails_with_the_words_of_the_command(good_once, bad: BadInput):
    laboratory, good = good_once
    assert bad.sample is not None
    bad.sample(laboratory.project.sample_path(parse_key(LIVER_1)))
    outcome = laboratory.run(LIVER_1)
    assert not outcome.success
    (fault,) = outcome.faults
    assert fault.startswith("stage_h_input: ")
    assert all(part in fault for part in bad.words), fault
    assert laboratory.stored("stage_h_input", LIVER_1).read_bytes() == good
    assert not list(laboratory.project.root.rglob("*.part"))


@pytest.mark.parametrize("bad", MAPS, ids=lambda bad: bad.name)
def test_a_bad_map_fails_with_the_words_of_the_command(laboratory: Laboratory, bad: BadInput):
    laboratory.map_file("liver").write_text(bad.marker_map)
    outcome = laboratory.run(LIVER_1)
    assert not outcome.success
    (fault,) = outcome.faults
    assert fault.startswith("scores: ")
    assert all(part in fault for part in bad.words), fault
    assert laboratory.stored("de_lookup", LIVER_1).exists()
    assert not (laboratory.project.storage / "marker_scores").exists()
    assert not list(laboratory.project.root.rglob("*.part"))


def test_a_broken_edit_leaves_the_last_good_map_in_force_and_says_so(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    before = laboratory.versions(LIVER_1)
    laboratory.map_file("liver").write_text('{"Epithelium": {"markers": ["Pan-C')
    assert laboratory.run(LIVER_1).success
    assert changed(laboratory, LIVER_1, before) == set()
    (warning,) = laboratory.event("marker_scores", LIVER_1).metadata["warnings"].value
    assert "stays in force" in warning
    assert "is not valid JSON" in warning


def test_a_new_version_of_an_input_is_observed_once(laboratory: Laboratory):
    partition = parse_key(LIVER_1)
    for text in (GOOD_MAP, GOOD_MAP + "\n", EDITED_MAP, EDITED_MAP):
        laboratory.map_file("liver").write_text(text)
        observe(laboratory.instance, laboratory.project, partition, "marker_map")
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("marker_map"), asset_partitions=[LIVER_1])
    assert len(laboratory.instance.fetch_observations(wanted, limit=10).records) == 2
    copies = laboratory.project.storage / "marker_map_versions" / "liver"
    assert len(list(copies.iterdir())) == 2


def test_a_missing_upstream_file_is_named(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    laboratory.stored("de_lookup", LIVER_1).unlink()
    failure = laboratory.failure_of("coarse_clusters", LIVER_1)
    assert "de_lookup of liver__S1 is not stored" in failure
    assert "Materialize de_lookup first" in failure


def test_a_sample_that_was_replaced_after_its_labels_is_refused(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    good_sample(seed=7).write_h5ad(laboratory.project.sample_path(parse_key(LIVER_1)))
    failure = laboratory.failure_of("coarse_clusters", LIVER_1)
    assert "the sample of liver__S1 was replaced" in failure


def test_a_damaged_copy_of_a_map_is_made_again(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    (copy,) = (laboratory.project.storage / "marker_map_versions" / "liver").iterdir()
    copy.write_text("{")
    assert laboratory.run(LIVER_1).success
    assert read_marker_map(copy).content_hash == copy.stem


def test_a_kept_map_has_the_order_of_the_live_one(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    (copy,) = (laboratory.project.storage / "marker_map_versions" / "liver").iterdir()
    live = read_marker_map(laboratory.map_file("liver"))
    assert list(read_marker_map(copy).by_path) == list(live.by_path)


def test_a_damaged_table_is_a_failure_that_is_not_retried(laboratory: Laboratory):
    laboratory.run(LIVER_1)
    laboratory.stored("cluster_annotations", LIVER_1).write_bytes(b"half")
    failure = laboratory.failure_of("annotations", LIVER_1)
    assert "cannot be read as parquet" in failure


def test_runs_from_the_ui_carry_the_tissue_and_the_sample():
    job = build_defs().resolve_job_def("annotate_partition")
    tags = job.get_tags_for_partition_key("fallopian-tube__S0001", selected_asset_keys=None)
    assert tags["ctr/tissue"] == "fallopian-tube"
    assert tags["ctr/sample"] == "S0001"


def test_a_run_that_was_started_without_tags_gets_those_of_its_partition(laboratory: Laboratory):
    job = build_defs(str(laboratory.project.root)).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=laboratory.instance,
        partition_key=LIVER_1,
        asset_selection=[dg.AssetKey("stage_h_input")],
    )
    run = laboratory.instance.get_run_by_id(result.run_id)
    assert (run.tags["ctr/tissue"], run.tags["ctr/sample"]) == ("liver", "S1")
