"""Tables of Stage H, and what the panel offers before it."""

import pandera.pandas as pa

from ctr_engine.keys import GIVEN_BY
from ctr_engine.tables.base import GATES, STOP_REASONS, Table, col, names


class Clusters(Table):
    """The cluster of each cell."""

    cell_id: str = col("Name of the cell.", unique=True)
    cluster_id: str = col("Cluster, '0' the largest; '3:1' is the second child of '3'.")


class ReferenceValues(Table):
    """Per marker: values of the whole partition, against which every cluster is scored."""

    marker: str = col("Column of the panel.", unique=True)
    statistic: str = col("Statistic of this marker.", isin=("mean", "median"))
    centre: float = col("That statistic over all cells.", unit="expression")
    mean: float = col("Mean over all cells.", unit="expression")
    std: float = col("Population standard deviation over all cells.", unit="expression", gt=0)
    threshold: float = col("A cell is positive at or above it.", unit="expression")
    strict: bool = col("Whether positive means above the threshold, not at it.")
    n_cells: int = col("Cells of the partition.", ge=1)
    tie_sum: float = col("Sum of t^3 - t over groups of t equal values.", ge=0)


class ClusterStatistics(Table):
    """Per cluster and marker: what all scores are made from."""

    cluster_id: str = col("Cluster.")
    marker: str = col("Column of the panel.")
    n_cells: int = col("Cells of the cluster.", ge=1)
    mean: float = col("Mean over the cluster.", unit="expression")
    median: float = col("Median over the cluster.", unit="expression")
    enrichment: float = col("(cluster statistic - centre) / std.", unit="SD")
    positive_fraction_minus_02: float = col(
        "Share that would be with the threshold 0.2 SD lower.", ge=0, le=1
    )
    positive_fraction_minus_01: float = col("The same, 0.1 SD lower.", ge=0, le=1)
    positive_fraction: float = col("Share of the cluster's cells that are positive.", ge=0, le=1)
    positive_fraction_plus_01: float = col("The same, 0.1 SD higher.", ge=0, le=1)
    positive_fraction_plus_02: float = col("The same, 0.2 SD higher.", ge=0, le=1)
    rank_sum: float = col("Sum of the cells' average ranks among all cells.", ge=0)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "marker"]  # noqa: RUF012


class DELookup(Table):
    """Per cluster and marker: Wilcoxon rank-sum against the rest, and the rank in the top K."""

    cluster_id: str = col("Cluster.")
    marker: str = col("Column of the panel.")
    wilcoxon_score: float = col(
        "z of the rank-sum, tie-corrected, as float32 stores it; null where no test is possible.",
        unit="SD",
        nullable=True,
    )
    p_value: float = col("Two-sided p of the z.", nullable=True, ge=0, le=1)
    p_value_adjusted: float = col("Benjamini-Hochberg over the markers.", nullable=True, ge=0, le=1)
    mean_difference: float = col(
        "Mean of the cluster minus mean of the rest.", unit="expression", nullable=True
    )
    de_rank: float = col("Rank from 1 among the top K; null outside.", nullable=True, ge=1)
    k: int = col("Markers that count as DE hits in this cluster.", ge=0)
    k_target: int = col("ceil(panel size * de_top_frac), before the limits.", ge=0)
    n_pos: int = col("Markers with a score above 0.", ge=0)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "marker"]  # noqa: RUF012


class MarkerScores(Table):
    """Per cluster and cell type: the score and its parts."""

    cluster_id: str = col("Cluster.")
    label: str = col("Cell type.")
    path: str = col("Cell type from the root, such as 'Immune Cells / Lymphoids / T Cells'.")
    level: int = col("Depth; a root has 0.", ge=0)
    score: float = col(
        "Sum of the parts, less the penalty; null without a resolved marker.", nullable=True
    )
    coverage: float = col("Markers on the panel / markers of the cell type.", ge=0, le=1)
    mean_enrichment: float = col(
        "Mean enrichment of the resolved markers.", unit="SD", nullable=True
    )
    mean_positive_fraction: float = col("Mean positive fraction.", nullable=True, ge=0, le=1)
    frac_markers_on: float = col(
        "Share of the resolved markers that are on.", nullable=True, ge=0, le=1
    )
    de_component: float = col("Bonus for markers among the top K.", nullable=True, ge=0)
    anti_penalty: float = col("Cost of the anti-markers.", ge=0)
    resolved_markers: object = names("Columns that the score uses.")
    missing_markers: object = names("Markers that the panel lacks, as the map spells them.")
    n_cells: int = col("Cells of the cluster.", ge=1)
    n_markers_on: int = col("Resolved markers that are on.", ge=0)
    anti_enrichment: float = col(
        "Aggregated enrichment of the anti-markers.", unit="SD", nullable=True, ge=0
    )
    anti_positive: float = col(
        "Aggregated positive fraction of the anti-markers.", nullable=True, ge=0, le=1
    )

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "path"]  # noqa: RUF012


class MarkerEvidence(Table):
    """Per cluster, cell type and marker: what the marker brought."""

    cluster_id: str = col("Cluster.")
    label: str = col("Cell type.")
    path: str = col("Cell type from the root.")
    marker: str = col("Marker as the map spells it.")
    column: str = col("Column of the panel.")
    role: str = col("Speaks for the cell type, or against it.", isin=("marker", "anti_marker"))
    enrichment: float = col("(cluster statistic - centre) / std.", unit="SD")
    statistic: str = col("Statistic of the marker.", isin=("mean", "median"))
    positive_fraction: float = col("Share of the cluster's cells that are positive.", ge=0, le=1)
    threshold: float = col("Expression from which a cell is positive.", unit="expression")
    de_rank: float = col("Rank from 1 among the top K; null outside.", nullable=True, ge=1)
    de_bonus: float = col(
        "Rank weight less commonness, before de_bonus; 0 for anti-markers.", ge=0, le=1
    )
    doc_freq: int = col("Cell types whose resolved markers hold this column.", ge=0)
    on: bool = col("Enrichment above 0 and enough positive cells.")
    in_score: float = col("What it adds to the score; the sum over the cell type is the score.")

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "path", "column"]  # noqa: RUF012


class DecisionSteps(Table):
    """Per cluster and cell type tried: one row of a competition."""

    cluster_id: str = col("Cluster.")
    step_idx: int = col("Number of the competition; 0 is that of the roots.", ge=0)
    parent_label: str = col("Cell type whose children compete; null for the roots.", nullable=True)
    child_label: str = col("Cell type tried.")
    child_passed_gate: bool = col("Whether it may be chosen.")
    child_score: float = col("Its score; null without a resolved marker.", nullable=True)
    child_coverage: float = col("Its coverage.", ge=0, le=1)
    child_pos_frac: float = col("Its mean positive fraction.", nullable=True, ge=0, le=1)
    child_enrichment: float = col("Its mean enrichment.", unit="SD", nullable=True)
    child_anti_penalty: float = col("Its anti-marker penalty.", ge=0)
    selected: bool = col("Whether the walk went on to it.")
    margin_to_runner_up: float = col(
        "Lead of the best that passed; 1e6 when alone.", nullable=True, ge=0
    )
    fail_reason: str = col("First gate that failed.", nullable=True, isin=GATES)
    parent_path: str = col("Path of the parent; null for the roots.", nullable=True)
    child_path: str = col("Path of the cell type tried.")
    child_level: int = col("Its depth.", ge=0)
    fail_marker: str = col(
        "Marker of the root rule that failed, as the rule spells it.", nullable=True
    )
    fail_value: float = col("Value that failed; null when the marker is absent.", nullable=True)
    fail_threshold: float = col("Threshold that it failed.", nullable=True)
    passed_through: str = col("Passing child that let it pass (gate inheritance).", nullable=True)
    runner_up_path: str = col(
        "On the best that passed: the one that it leads; null without any.", nullable=True
    )

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "child_path"]  # noqa: RUF012


class GatingDetails(Table):
    """Per cluster, cell type visited and gate: value, threshold, verdict."""

    cluster_id: str = col("Cluster.")
    path: str = col("Cell type from the root.")
    label: str = col("Cell type.")
    level: int = col("Depth; a root has 0.", ge=0)
    gate: str = col("The gate, by the reason that it gives.", isin=GATES)
    value: float = col("What was measured; null when there is nothing to measure.", nullable=True)
    threshold: float = col("What it was held against.")
    passed: bool = col("Verdict of this gate alone.")
    marker: str = col("Marker of a root rule, as the rule spells it.", nullable=True)
    alternative_value: float = col("frac_markers_on, which passes as well.", nullable=True)
    alternative_threshold: float = col("Its threshold.", nullable=True)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "path", "gate"]  # noqa: RUF012


class ClusterAnnotations(Table):
    """Per cluster: its label and why the walk stopped there."""

    cluster_id: str = col("Cluster.", unique=True)
    assigned_label: str = col("Cell type, 'A~B' for ambiguous roots, or 'Unassigned'.")
    assigned_path: str = col("Cell type from the root; empty when unassigned.")
    assigned_level: int = col("Depth; -1 when unassigned.", ge=-1)
    assigned_score: float = col("Score of the cell type; null when unassigned.", nullable=True)
    root_label: str = col("Root of the path, 'A~B', or 'Unassigned'.")
    confidence: float = col("Smallest margin on the path; 1e6 without competition.", ge=0)
    stop_reason: str = col("Why the walk ended.", isin=STOP_REASONS)
    n_cells: int = col("Cells of the cluster.", ge=1)
    coverage: float = col(
        "Coverage of the cell type; null when unassigned.", nullable=True, ge=0, le=1
    )
    resolved_markers: object = names("Columns that its score uses.")
    is_ambiguous_root: bool = col("Whether two roots were too close.")
    composition: str = col("JSON object: shares of the votes among tied siblings.", nullable=True)
    margin_is_infinite: bool = col("Whether no competition was met.")
    agreement: float = col(
        "Least share of cells that prefer the chosen cell type, over the path.", ge=0, le=1
    )
    robustness: float = col(
        "Share of settings within 20 % of the thresholds that keep the label.", ge=0, le=1
    )
    stability: float = col(
        "Share of decisions with moved thresholds and weights and fewer markers that keep it.",
        ge=0,
        le=1,
    )
    support: float = col("stability * agreement: how far the label can be trusted.", ge=0, le=1)
    mixed_lineage: str = col(
        "Two branches that exclude each other and that its cells show together.", nullable=True
    )
    mixed_lineage_markers: object = names("The marker of each of them.")
    mixed_lineage_share: float = col(
        "Share of its cells that are positive for both markers.", nullable=True, ge=0, le=1
    )
    mixed_lineage_explained: float = col(
        "Share of those cells with a neighbour of the second branch; null without coordinates.",
        nullable=True,
        ge=0,
        le=1,
    )


class NearMissReport(Table):
    """Per cluster and other label: the smallest change of one threshold that would give it."""

    cluster_id: str = col("Cluster.")
    assigned_label: str = col("Its label.")
    assigned_path: str = col("Path of the label; empty when unassigned.")
    stop_reason: str = col("Why the walk ended.", isin=STOP_REASONS)
    n_cells: int = col("Cells of the cluster.", ge=1)
    threshold: str = col("The threshold, such as 'min_coverage.0'.")
    current_value: float = col("What it is set to.")
    needed_value: float = col("What would give the other label.")
    change: float = col("Difference of the two; below 0 when it has to be lowered.")
    other_label: str = col("The label that it would give.")
    other_path: str = col("Path of that label; empty when unassigned.")
    other_stop_reason: str = col("Why the walk would end there.", isin=STOP_REASONS)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "other_path"]  # noqa: RUF012


class Annotations(Table):
    """Per cell: its label."""

    cell_id: str = col("Name of the cell.", unique=True)
    cluster_lvl0: str = col("Its cluster.")
    cell_type_auto: str = col("Label of the cluster.")
    cell_type_auto_root: str = col("Root of that label.")
    cell_type_auto_conf: float = col("Smallest margin on the path of the cluster.", ge=0)
    cell_type_auto_path: str = col("Path of the label; empty when unassigned.")
    cell_type_auto_support: float = col("Support of the label in its cluster.", ge=0, le=1)
    cell_type_cell: str = col("Label of the cell alone.")
    cell_type_cell_path: str = col("Path of that label; empty when unassigned.")
    cell_type_cell_by: str = col(
        "What gave it: the cluster, the cell's own markers, or sure cells that it resembles.",
        isin=GIVEN_BY,
    )


class Preflight(Table):
    """Per cell type of the map: what the panel offers, before anything is computed."""

    path: str = col("Cell type from the root.", unique=True)
    level: int = col("Depth; a root has 0.", ge=0)
    n_markers: int = col("Markers of the cell type.", ge=1)
    coverage: float = col("Share of them on the panel.", ge=0, le=1)
    min_coverage: float = col("Share that the gate asks for.", ge=0, le=1)
    reachable: bool = col("Whether the gates as set can let any cluster come here.")
    obstacle: str = col("Why not, in words.", nullable=True)
    resolved: object = names("'marker = column' for what was found.")
    missing: object = names("Markers that the panel lacks.")
    technical: object = names("Markers that are technical columns.")
    dropped: object = names("Markers whose column has no variation.")
    suggestions: object = names("'marker: nearest panel names'.")
    anti_missing: object = names("Anti-markers that the panel cannot show.")


STAGE_H_TABLES: dict[str, type[pa.DataFrameModel]] = {
    "reference_values": ReferenceValues,
    "cluster_statistics": ClusterStatistics,
    "de_lookup": DELookup,
    "marker_scores": MarkerScores,
    "marker_evidence": MarkerEvidence,
    "decision_steps": DecisionSteps,
    "gating_details": GatingDetails,
    "cluster_annotations": ClusterAnnotations,
    "near_miss_report": NearMissReport,
    "annotations": Annotations,
}
