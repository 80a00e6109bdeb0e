"""Dagster's count of what was made: where a run slips between its two queries, and how it heals."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import (
    get_and_update_asset_status_cache_value as counted,
)

from ctr_assets.partition_counts import count_again, wrong_counts
from ctr_assets.partitions import PARTITIONS
from ctr_assets.sensors.reconcile import reconcile
from tests.assets.conftest import LIVER_1, LIVER_2
from tests.assets.test_sensors import look

PARTS = dg.DynamicPartitionsDefinition(name="cells")
KEY = dg.AssetKey("labels")
PARTITIONED = {KEY: PARTS}
QUERY = "get_latest_planned_materialization_info"
"""What Dagster asks second: how far the records go."""


class Fails(dg.Config):
    now: bool = False


@dg.asset(partitions_def=PARTS)
def labels(config: Fails) -> None:
    if config.now:
        raise dg.Failure("asked for")


JOB = dg.Definitions([labels], jobs=[dg.define_asset_job("make", [labels])])


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as opened:
        opened.add_dynamic_partitions("cells", ["a", "b", "c"])
        yield opened


def make(instance: dg.DagsterInstance, key: str, fails: bool = False) -> None:
    config = dg.RunConfig(ops={"labels": Fails(now=fails)})
    dg.materialize(
        [labels], partition_key=key, instance=instance, run_config=config, raise_on_error=False
    )


def launch(instance: dg.DagsterInstance, key: str) -> None:
    """Launch a run that has made nothing yet."""
    tags = {"dagster/partition": key}
    instance.create_run_for_job(JOB.resolve_job_def("make"), tags=tags)


def counts(instance: dg.DagsterInstance) -> tuple[set[str], set[str]]:
    """What the page shows: partitions that were made, and that failed."""
    value = counted(instance, KEY, PARTS)
    assert value is not None
    made = value.deserialize_materialized_partition_subsets(PARTS)
    failed = value.deserialize_failed_partition_subsets(PARTS)
    return set(made.get_partition_keys()), set(failed.get_partition_keys())


def slip(instance: dg.DagsterInstance, monkeypatch, happens: Callable[[], None]) -> None:
    """Let something happen between the two queries of a look at the page."""
    storage = instance.event_log_storage
    asked = getattr(storage, QUERY)
    with ExitStack() as stack:
        patched = stack.enter_context(monkeypatch.context())

        def between(key: dg.AssetKey):
            patched.undo()
            happens()
            return asked(key)

        for owner in (storage, instance):
            patched.setattr(owner, QUERY, between)
        counts(instance)
        assert getattr(storage, QUERY) == asked, "the page asks in two queries"


def test_what_is_made_between_the_queries_is_missing_for_ever_until_it_is_counted_again(
    instance, monkeypatch
):
    make(instance, "a")
    assert counts(instance) == ({"a"}, set())

    def made_and_next_launched() -> None:
        make(instance, "b")
        launch(instance, "c")

    slip(instance, monkeypatch, made_and_next_launched)
    assert counts(instance) == ({"a"}, set()), "Dagster counts right now: this module can go"
    assert count_again(instance, PARTITIONED) == [KEY]
    assert counts(instance) == ({"a", "b"}, set())
    assert wrong_counts(instance, PARTITIONED) == []


def test_what_is_made_again_between_the_queries_counts_as_failed_until_it_is_counted_again(
    instance, monkeypatch
):
    make(instance, "b")
    make(instance, "b", fails=True)
    assert counts(instance) == ({"b"}, {"b"})
    assert wrong_counts(instance, PARTITIONED) == []

    def made_and_next_launched() -> None:
        make(instance, "b")
        launch(instance, "c")

    slip(instance, monkeypatch, made_and_next_launched)
    assert counts(instance) == ({"b"}, {"b"})
    assert count_again(instance, PARTITIONED) == [KEY]
    assert counts(instance) == ({"b"}, set())


def test_a_partition_that_was_made_and_then_failed_is_counted_right(instance):
    make(instance, "a")
    counts(instance)
    make(instance, "a", fails=True)
    assert counts(instance) == ({"a"}, {"a"})
    assert wrong_counts(instance, PARTITIONED) == []


def test_what_nobody_has_looked_at_or_was_made_since_is_no_fault(instance):
    assert wrong_counts(instance, PARTITIONED) == []
    make(instance, "a")
    assert wrong_counts(instance, PARTITIONED) == [], "nothing is counted yet"
    counts(instance)
    make(instance, "b")
    assert wrong_counts(instance, PARTITIONED) == [], "the next look counts it"


def test_a_partition_that_was_deleted_is_no_fault(instance):
    make(instance, "a")
    make(instance, "b")
    instance.delete_dynamic_partition("cells", "b")
    assert counts(instance) == ({"a"}, set())
    assert wrong_counts(instance, PARTITIONED) == []


def test_reconcile_looks_at_the_counts_and_says_what_it_corrects(laboratory):
    instance, key = laboratory.instance, dg.AssetKey("pca")
    for partition in (LIVER_1, LIVER_2):
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))
    value = counted(instance, key, PARTITIONS)
    assert value is not None
    one = PARTITIONS.empty_subset().with_partition_keys([LIVER_1]).serialize()
    wrong = value._replace(serialized_materialized_partition_subset=one)
    instance.update_asset_cached_status_data(key, wrong)
    told = "made partitions of pca are counted again"
    assert told in look(laboratory, reconcile).skip_reason.skip_message
    again = counted(instance, key, PARTITIONS)
    assert again is not None
    made = again.deserialize_materialized_partition_subsets(PARTITIONS)
    assert set(made.get_partition_keys()) == {LIVER_1, LIVER_2}
    assert told not in look(laboratory, reconcile).skip_reason.skip_message
