"""Jobs that a person looks for by name."""

from typing import Any

import dagster as dg

from ctr_assets.assets import GROUP
from ctr_assets.assets.barcodes import BARCODES
from ctr_assets.assets.cohort import COHORT
from ctr_assets.assets.consensus import CONSENSUS
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
_ON_DEMAND = dg.AssetSelection.assets(REPORT, "coarse_clusters")
_GROUP = dg.AssetSelection.groups(GROUP)


def _job(name: str, selection: dg.AssetSelection, description: str) -> Any:
    """Make a job that runs on one partition at a time."""
    return dg.define_asset_job(
        name, selection=selection, config=_PER_PARTITION, description=description
    )


def _below(*names: str) -> dg.AssetSelection:
    """Select assets and what stands below them in the partition; the cohort has none."""
    return dg.AssetSelection.assets(*names).downstream() & _GROUP


annotate_partition = _job(
    ANNOTATE_PARTITION,
    _GROUP - _REPORT,
    "Everything of one sample, from its file to the refined label of each cell.",
)
reannotate_from_scores = _job(
    "reannotate_from_scores",
    _below("marker_scores", "marker_evidence") - _ON_DEMAND,
    "Scores, labels and refinement on the clusters that are there, after an edit of the map.",
)
refine_partition = _job(
    "refine_partition",
    _below("refinement_iteration_1"),
    "Refinement alone, after an edit of the manual plan.",
)
report_partition = _job(
    REPORT_PARTITION,
    _REPORT,
    "The page of one sample that was annotated: figures, checklist, cards.",
)
consensus_partition = _job(
    "consensus_partition",
    dg.AssetSelection.groups(CONSENSUS),
    "Several runs of Leiden on a sample that was clustered, and one partition of them.",
)
rebuild_everything = _job(
    "rebuild_everything", _GROUP, "Everything of one sample anew, with its page."
)
summarise_cohort = dg.define_asset_job(
    "summarise_cohort",  # the name of the asset is taken
    selection=dg.AssetSelection.groups(COHORT),
    description="The labels of all samples side by side, as they are there now.",
)
cluster_barcodes = dg.define_asset_job(
    "cluster_barcodes",
    selection=dg.AssetSelection.groups(BARCODES),
    description="Everything of one set of DNA barcodes, from its FASTA file to refined clusters.",
)

JOBS = [
    annotate_partition,
    reannotate_from_scores,
    refine_partition,
    report_partition,
    consensus_partition,
    rebuild_everything,
    summarise_cohort,
    cluster_barcodes,
]
