"""Checks see what they are for, and fail before anything is stored."""

import dagster as dg
import pandas as pd
import pytest

from ctr_assets.checks import cells_check, require_passed, schema_check
from ctr_engine.tables import Clusters


def clusters(*cells: str) -> pd.DataFrame:
    return pd.DataFrame({"cell_id": list(cells), "cluster_id": ["0"] * len(cells)})


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (("a", "b"), "1 missing: ['c']"),
        (("a", "b", "c", "c"), "1 doubled: ['c']"),
        (("a", "b", "c", "d"), "1 unknown: ['d']"),
        (("a", "a", "x"), "2 missing: ['b', 'c']; 1 unknown: ['x']; 1 doubled: ['a']"),
    ],
)
def test_lost_doubled_and_unknown_cells_are_counted_and_named(cells, words):
    result = cells_check("leiden_clusters", clusters(*cells), ["a", "b", "c"])
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert result.description == words


@pytest.mark.smoke
def test_each_cell_once_passes_in_any_order():
    assert cells_check("leiden_clusters", clusters("c", "a", "b"), ["a", "b", "c"]).passed


def test_a_table_that_breaks_its_schema_does_not_pass():
    good = schema_check("leiden_clusters", Clusters, clusters("a", "b"))
    bad = schema_check("leiden_clusters", Clusters, clusters("a", "a"))
    assert good.passed
    assert not bad.passed
    assert "cell_id" in (bad.description or "")


def test_a_failed_check_is_a_failure_that_is_not_retried():
    result = cells_check("leiden_clusters", clusters("a"), ["a", "b"])
    with pytest.raises(
        dg.Failure, match=r"Nothing was stored\.\nevery_cell_once: 1 missing"
    ) as failure:
        require_passed([result])
    assert failure.value.allow_retries is False
