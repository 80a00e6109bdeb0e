"""Jobs that a person looks for by name."""

import dagster as dg

from ctr_assets.assets import GROUP
from ctr_assets.partitions import PARTITIONS, parse_key

ANNOTATE_PARTITION = "annotate_partition"


def _tags(key: str) -> dict[str, str]:
    """Tags of a run that the UI starts."""
    return parse_key(key).tags


annotate_partition = dg.define_asset_job(
    ANNOTATE_PARTITION,
    selection=dg.AssetSelection.groups(GROUP),
    config=dg.PartitionedConfig(
        partitions_def=PARTITIONS,
        run_config_for_partition_key_fn=lambda _: {},
        tags_for_partition_key_fn=_tags,
    ),
    description="Everything of one sample, from its file to the label of each cell.",
)

JOBS = [annotate_partition]
