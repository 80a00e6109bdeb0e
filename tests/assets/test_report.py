"""The page of a partition as an asset: on demand, with its pictures where people look."""

import base64
from collections.abc import Iterator

import dagster as dg
import pytest

from ctr_assets.jobs import REPORT_PARTITION
from ctr_engine.io.samples import read_marker_map, sha256_of
from ctr_engine.reporting.report import FIGURES
from tests.assets.conftest import LIVER_1, LIVER_2, Laboratory, make_laboratory
from tests.bad_inputs import good_sample


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Give a laboratory with the report of its first liver sample; only to be read."""
    with dg.DagsterInstance.ephemeral() as instance:
        laboratory = make_laboratory(tmp_path_factory.mktemp("laboratory"), instance)
        assert laboratory.run(LIVER_1).success
        outcome = laboratory.run(LIVER_1, REPORT_PARTITION)
        assert outcome.success, outcome.faults
        yield laboratory


def test_the_page_is_stored_and_says_where(reported: Laboratory):
    page = reported.stored("report", LIVER_1)
    metadata = reported.event("report", LIVER_1).metadata
    assert page.name == f"{LIVER_1}.html"
    assert metadata["page"].value == str(page)
    assert metadata["file_sha256"].value == sha256_of(page)
    text = page.read_text(encoding="utf-8")
    assert f"Report: {LIVER_1}" in text
    assert "Cluster 0: " in text
    assert "Review checklist" in text


def test_the_metadata_show_every_figure_that_can_be_drawn(reported: Laboratory):
    metadata = reported.event("report", LIVER_1).metadata
    without_places = set(FIGURES) - {"spatial_labels", "umap_labels"}
    assert without_places <= set(metadata)
    for name in without_places:
        text = metadata[name].value
        prefix = f"![{name}](data:image/png;base64,"
        assert text.startswith(prefix)
        assert len(text) < 40_100
        assert base64.b64decode(text[len(prefix) : -1]).startswith(b"\x89PNG")


def test_it_names_the_map_that_it_shows(reported: Laboratory):
    metadata = reported.event("report", LIVER_1).metadata
    expected = read_marker_map(reported.map_file("liver")).content_hash
    assert metadata["marker_map_hash"].value == expected
    assert metadata["clusters_to_review"].value >= 0


def test_the_job_of_a_partition_does_not_make_it(reported: Laboratory):
    (annotating, reporting) = reversed(reported.instance.get_runs())
    steps = reported.instance.all_logs(annotating.run_id)
    assert "report" not in {event.step_key for event in steps}
    assert reporting.job_name == REPORT_PARTITION


def test_a_partition_that_was_not_annotated_has_no_report(reported: Laboratory):
    outcome = reported.run(LIVER_2, REPORT_PARTITION)
    assert not outcome.success
    assert "Materialize" in " ".join(outcome.faults)


def test_a_replaced_sample_is_refused(laboratory: Laboratory):
    assert laboratory.run(LIVER_1).success
    good_sample(seed=9).write_h5ad(laboratory.project.root / "samples" / "liver" / "S1.h5ad")
    outcome = laboratory.run(LIVER_1, REPORT_PARTITION)
    assert not outcome.success
    assert "was replaced; materialize stage_h_input first" in " ".join(outcome.faults)


@pytest.mark.slow
def test_coordinates_and_a_umap_are_drawn_where_there_are_any(laboratory: Laboratory):
    config = laboratory.project.root / "ctr.yaml"
    config.write_text("defaults:\n  report: {compute_umap: true}\n")
    adata = good_sample()
    adata.obs["x"], adata.obs["y"] = range(adata.n_obs), range(adata.n_obs)
    adata.write_h5ad(laboratory.project.root / "samples" / "liver" / "S1.h5ad")
    assert laboratory.run(LIVER_1).success
    outcome = laboratory.run(LIVER_1, REPORT_PARTITION)
    assert outcome.success, outcome.faults
    assert {"spatial_labels", "umap_labels"} <= set(laboratory.event("report", LIVER_1).metadata)
