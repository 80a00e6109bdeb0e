"""Jobs that a person looks for by name."""

import dagster as dg

from ctr_assets.assets import GROUP

ANNOTATE_PARTITION = "annotate_partition"

annotate_partition = dg.define_asset_job(
    ANNOTATE_PARTITION,
    selection=dg.AssetSelection.groups(GROUP),
    description="Everything of one sample, from its file to the label of each cell.",
)

JOBS = [annotate_partition]
