"""``ctr backfill``: what the UI would have asked for."""

import pytest

from ctr_assets.backfill import BackfillError, request_backfill
from ctr_assets.commands import start_backfill
from ctr_assets.runs import project_instance, register
from ctr_engine.errors import ParameterError
from tests.assets.conftest import LIVER_1, LIVER_2, Laboratory


@pytest.fixture
def known(laboratory: Laboratory) -> Laboratory:
    """A laboratory whose own instance knows its samples."""
    with project_instance(laboratory.project) as instance:
        register(instance, laboratory.project.partitions())
    return laboratory


def test_a_tissue_is_asked_for_one_run_each(known, capsys):
    start_backfill(known.project.root, "liver", [], "marker_scores")
    printed = capsys.readouterr().out
    assert "reannotate_from_scores on 2 partitions, one run each" in printed
    with project_instance(known.project) as instance:
        (backfill,) = instance.get_backfills()
    assert backfill.backfill_id in printed
    assert set(backfill.partition_names) == {LIVER_1, LIVER_2}
    assert backfill.partition_set_origin.partition_set_name.startswith("reannotate_from_scores")


@pytest.mark.parametrize(
    ("tissue", "keys", "begin", "words"),
    [
        ("liver", [LIVER_1], "marker_scores", "one of both"),
        (None, [], "marker_scores", "one of both"),
        (None, ["liver__S99"], "marker_scores", "does not know liver__S99 yet"),
        ("brain", [], "marker_scores", "does not know a sample of brain yet"),
        ("liver", [], "pca", "begins with stage_h_input, marker_scores"),
        (None, ["no key"], "marker_scores", "is no partition key"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error(known, tissue, keys, begin, words):
    with pytest.raises(ParameterError, match=words):
        start_backfill(known.project.root, tissue, keys, begin)


def test_what_dagster_does_not_take_is_an_error(known):
    with pytest.raises(BackfillError, match="did not take the backfill"):
        request_backfill(known.project, known.project.partitions(), "no_such_job")
