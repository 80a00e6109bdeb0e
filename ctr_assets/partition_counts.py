"""What Dagster counts as made, held against its own records.

For each asset Dagster keeps which partitions were made, and adds what is newer than the newest
record it has counted. It reads what was made first and how far the records go later: what another
run makes in between, just before a further run is launched, is passed over and never counted. The
page then shows that partition as missing, and the conditions wait for it.
"""

from collections.abc import Mapping

import dagster as dg

_MADE = dg.DagsterEventType.ASSET_MATERIALIZATION
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def wrong_counts(
    instance: dg.DagsterInstance, partitioned: Mapping[dg.AssetKey, dg.PartitionsDefinition]
) -> list[dg.AssetKey]:
    """Find assets of which Dagster's count misses a partition that it should have counted.

    Parameters
    ----------
    instance
        Dagster's records.
    partitioned
        Partitions of each asset.
    """
    found = []
    for record in instance.get_asset_records(list(partitioned)):
        entry = record.asset_entry
        counted = entry.cached_status
        if counted is None:
            continue
        definition, until = partitioned[entry.asset_key], counted.latest_storage_id
        made = counted.deserialize_materialized_partition_subsets(definition)
        failed = counted.deserialize_failed_partition_subsets(definition)
        known = set(definition.get_partition_keys(dynamic_partitions_store=instance))
        recorded = instance.get_materialized_partitions(entry.asset_key, before_cursor=until + 1)
        missed = (recorded & known) - set(made.get_partition_keys())
        failures = known & set(failed.get_partition_keys())
        if missed or _made_again(instance, entry.asset_key, failures, until):
            found.append(entry.asset_key)
    return found


def _made_again(
    instance: dg.DagsterInstance, key: dg.AssetKey, failed: set[str], until: int
) -> bool:
    """Whether a partition that counts as failed was made after it was last planned."""
    if not failed:
        return False
    made = instance.get_latest_storage_id_by_partition(key, _MADE, failed)
    planned = instance.get_latest_storage_id_by_partition(key, _PLANNED, failed)
    return any(
        until >= number > (planned[partition] if partition in planned else 0)
        for partition, number in made.items()
    )


def count_again(
    instance: dg.DagsterInstance, partitioned: Mapping[dg.AssetKey, dg.PartitionsDefinition]
) -> list[dg.AssetKey]:
    """Let Dagster count anew where it counted wrong; gives those assets."""
    wrong = wrong_counts(instance, partitioned)
    instance.wipe_asset_cached_status(wrong)
    return wrong
