"""Tables of the two-pass refinement."""

from ctr_engine.tables.base import Table, col


class BarcodeSequences(Table):
    """Per sequence: its letters."""

    sequence_id: str = col("First word of the header.", unique=True)
    description: str = col("The rest of the header.")
    residues: str = col("Letters of IUPAC, as they were written.")


class GivenClusters(Table):
    """Per sequence and cluster: what refinement begins with; a sequence may be in several."""

    sequence_id: str = col("First word of the header.")
    cluster_id: str = col("Cluster.")

    class Config(Table.Config):
        """Key of the table."""

        unique = ["sequence_id", "cluster_id"]  # noqa: RUF012


class SequenceClusters(Table):
    """Per sequence: its cluster."""

    sequence_id: str = col("First word of the header.", unique=True)
    cluster_id: str = col("Cluster; a sequence that is alone has one of its own.")


class ClusterMapping(Table):
    """Per old and new cluster that share sequences."""

    old_cluster: str = col("Cluster that was given.")
    new_cluster: str = col("Cluster of the result.")
    n_shared: int = col("Sequences in both.", ge=1)
    n_old: int = col("Sequences of the old cluster.", ge=1)
    n_new: int = col("Sequences of the new cluster.", ge=1)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["old_cluster", "new_cluster"]  # noqa: RUF012


class TwoPassHistory(Table):
    """Per iteration: what it did, and the partition after it."""

    number: int = col("From 0.", ge=0, unique=True)
    stage: str = col(
        "given: the input, where it was a partition; pass_1; pass_2.",
        isin=["given", "pass_1", "pass_2"],
    )
    n_before: int = col("Clusters before.", ge=0)
    n_after: int = col("Clusters afterwards.", ge=1)
    n_scopes: int = col("Scopes that were clustered.", ge=0)
    n_skipped: int = col("Scopes that had converged.", ge=0)
    n_applied: int = col("Scopes whose clusters changed.", ge=0)
    n_dropped: int = col("Scopes that came after one that they share clusters with.", ge=0)
    gap: float = col(
        "Mean gap of the clusters to their nearest; null for a single cluster.",
        unit="distance",
        nullable=True,
    )
    partition: str = col("SHA-256 of the partition.")
    kept: bool = col("Whether this partition, which has the widest gap, is the result.")


class ConsensusClusters(Table):
    """Per cell: its cluster in the consensus of several clusterings."""

    cell_id: str = col("Cell.", unique=True)
    cluster_id: str = col('Cluster, "0" the largest.')
    consensus_stability: float = col(
        "Share of runs whose cluster overlaps the cell's cluster best.", ge=0, le=1
    )
    is_conflict: bool = col("Whether runs put the cell into clusters that are not the same.")


class ConsensusSummary(Table):
    """Per cluster of a consensus: how often the runs found it."""

    cluster_id: str = col("Cluster.", unique=True)
    n_cells: int = col("Cells of the cluster.", ge=1)
    n_conflicts: int = col("Cells of it that runs put elsewhere, too.", ge=0)
    mean_stability: float = col("Mean consensus_stability of its cells.", ge=0, le=1)
    mean_jaccard: float = col(
        "Mean over the runs of its overlap (Jaccard) with the best cluster of a run.", ge=0, le=1
    )
    n_runs_found: int = col("Runs with a cluster that overlaps it by more than half.", ge=0)


class ConsensusLabels(Table):
    """Per cell: the label of its cluster in a consensus, and how many runs give the same."""

    cell_id: str = col("Cell.", unique=True)
    cell_type_consensus: str = col("Label of its cluster.")
    cell_type_consensus_path: str = col("Path of the label; empty for none.")
    label_stability: float = col("Share of runs that give the cell the same label.", ge=0, le=1)


SPLITMERGE_TABLES = {
    "barcode_sequences": BarcodeSequences,
    "given_clusters": GivenClusters,
    "sequence_clusters": SequenceClusters,
    "cluster_mapping": ClusterMapping,
    "two_pass_history": TwoPassHistory,
    "consensus_clusters": ConsensusClusters,
    "consensus_summary": ConsensusSummary,
    "consensus_labels": ConsensusLabels,
}
"""Tables of a two-pass refinement by name."""
