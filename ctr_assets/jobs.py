"""Jobs that a person looks for by name."""

import dagster as dg

from ctr_assets.assets import GROUP
from ctr_assets.assets.report import REPORT
from ctr_assets.partitions import PARTITIONS, parse_key

ANNOTATE_PARTITION = "annotate_partition"
REPORT_PARTITION = "report_partition"


def _tags(key: str) -> dict[str, str]:
    """Tags of a run that the UI starts."""
    return parse_key(key).tags


_PER_PARTITION = dg.PartitionedConfig(
    partitions_def=PARTITIONS,
    run_config_for_partition_key_fn=lambda _: {},
    tags_for_partition_key_fn=_tags,
)
_REPORT = dg.AssetSelection.assets(REPORT)

annotate_partition = dg.define_asset_job(
    ANNOTATE_PARTITION,
    selection=dg.AssetSelection.groups(GROUP) - _REPORT,
    config=_PER_PARTITION,
    description="Everything of one sample, from its file to the refined label of each cell.",
)
report_partition = dg.define_asset_job(
    REPORT_PARTITION,
    selection=_REPORT,
    config=_PER_PARTITION,
    description="The page of one sample that was annotated: figures, checklist, cards.",
)

JOBS = [annotate_partition, report_partition]
