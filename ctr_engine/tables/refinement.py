"""Tables of refinement."""

from ctr_engine.keys import GIVEN_BY
from ctr_engine.tables.base import Table, col, names


class DiagnosticReport(Table):
    """Per cluster: what refinement would do, by which criterion, or why not."""

    cluster_id: str = col("Cluster.", unique=True)
    current_label: str = col("Its label.")
    recommendation: str = col("What to do.", isin=("SUBCLUSTER", "RELABEL", "REGROUP", "SKIP"))
    criterion: str = col(
        "First criterion that holds, or two_pass of that policy; null when none does.",
        nullable=True,
        isin=(
            "low_confidence",
            "ambiguous_root",
            "heterogeneous_parent",
            "homogeneous_parent",
            "mixed_population",
            "weak_leaf",
            "two_pass",
        ),
    )
    reason: str = col(
        "Why nothing is done although a criterion holds.",
        nullable=True,
        isin=("out_of_focus", "manual", "too_small", "converged", "child_fails_gates"),
    )
    target_label: str = col("Cell type that RELABEL gives.", nullable=True)
    best_child: str = col("Best child that no coverage or anti-marker refuses.", nullable=True)
    child_score: float = col("Its score.", nullable=True)
    second_child: str = col("Second such child.", nullable=True)
    second_child_score: float = col("Its score.", nullable=True)
    heterogeneity: float = col(
        "Mean of p (1 - p) over the markers of a leaf.", nullable=True, ge=0, le=0.25
    )
    n_cells: int = col("Cells of the cluster.", ge=1)
    priority: float = col("n_cells * (score_threshold - score); null for SKIP.", nullable=True)
    target_path: str = col("Path of the target.", nullable=True)


class RefinementLog(Table):
    """Per operation of an iteration: what it touched, what it made, and the labels around it."""

    iteration: int = col("Number of the iteration, from 1.", ge=1)
    op: str = col("Operation.", isin=("override", "merge", "regroup", "subcluster", "relabel"))
    source: str = col("Who proposed it.", isin=("auto", "manual"))
    reason: str = col("Why.", nullable=True)
    author: str = col("Person who decided.", nullable=True)
    date: str = col("Day on which they did.", nullable=True)
    clusters: object = names("Clusters that it was applied to.")
    new_clusters: object = names("Clusters that it made or changed; none where it found no parts.")
    n_cells: int = col("Cells that it touched.", ge=1)
    labels_before: object = names("Labels of the clusters before.")
    labels_after: object = names("Labels of what it made.")
    score_before: float = col("Mean score before, weighted by cells; null counts 0.", nullable=True)
    score_after: float = col("Mean score after, weighted by cells; null counts 0.", nullable=True)
    confidence_before: float = col("Smallest confidence of the clusters before.", ge=0)
    confidence_after: float = col("Smallest confidence of what it made.", ge=0)
    outcome: str = col("Whether anything changed.", isin=("done", "unsplittable"))


DECIDED_BY = ("stage_h", "rescored", "relabel", "override", "merge")


class RefinedClusters(Table):
    """Per cell: its clusters."""

    cell_id: str = col("Cell.", unique=True)
    clusters: object = names("Its cluster after Stage H, then after each iteration.")
    cell_type_cell: str = col("Label of the cell alone, after the last iteration.")
    cell_type_cell_path: str = col("Path of that label; empty for none.")
    cell_type_cell_by: str = col(
        "What gave it: the cluster, the cell's own markers, or sure cells that it resembles.",
        isin=GIVEN_BY,
    )


class FinalAnnotations(Table):
    """Per cell: its label after all iterations, and who gave it."""

    cell_id: str = col("Cell.", unique=True)
    clusters: object = names("Its cluster after Stage H, then after each iteration.")
    cell_type: str = col("Label.")
    cell_type_path: str = col("Path of the label; empty for none, and for one of a person.")
    cell_type_root: str = col("Root of the label; a label of a person is its own.")
    cell_type_confidence: float = col("Smallest lead on the way that scoring goes.", ge=0)
    cell_type_support: float = col(
        "Support of the label in its cluster; null where an operation gave the label.",
        nullable=True,
        ge=0,
        le=1,
    )
    cell_type_cell: str = col("Label of the cell alone.")
    cell_type_cell_path: str = col("Path of that label; empty for none.")
    cell_type_cell_by: str = col(
        "What gave it: the cluster, the cell's own markers, or sure cells that it resembles.",
        isin=GIVEN_BY,
    )
    decided_by: str = col(
        "What gave the label: Stage H, scoring of a part or of merged clusters, or an operation.",
        isin=DECIDED_BY,
    )
    decided_in: int = col("Iteration that gave it; 0 is Stage H.", ge=0)


class CellHistory(Table):
    """Per step of one cell: its cluster and label, and what was done."""

    cell_id: str = col("Cell.")
    iteration: int = col("Step; 0 is Stage H.", ge=0)
    cluster_id: str = col("Cluster after the step.")
    cell_type: str = col("Label after the step.")
    cell_type_path: str = col("Path of the label; empty for none, and for one of a person.")
    cell_type_root: str = col("Root of the label; a label of a person is its own.")
    cell_type_confidence: float = col("Smallest lead on the way that scoring goes.", ge=0)
    decided_by: str = col("What gave the label.", isin=DECIDED_BY)
    operation: str = col("What was done to its cluster; null for nothing.", nullable=True)
    source: str = col("Who proposed it.", nullable=True, isin=("auto", "manual"))
    reason: str = col("Why.", nullable=True)
    author: str = col("Person who decided.", nullable=True)
    date: str = col("Day on which they did.", nullable=True)


class ReviewSheet(Table):
    """Per cluster: its label and what speaks for it, and empty columns for the curator."""

    cluster_id: str = col("Cluster.", unique=True)
    n_cells: int = col("Its cells.", ge=1)
    cell_type: str = col("Its label.")
    cell_type_path: str = col("Path of the label; empty for none, and for one of a person.")
    cell_type_confidence: float = col(
        "Smallest lead on the way that scoring goes; null without a rival.", nullable=True, ge=0
    )
    runner_up: str = col("Path of the closest rival on that way.", nullable=True)
    margin_to_runner_up: float = col("Lead over it.", nullable=True)
    reason: str = col("Why scoring stops where it does.")
    decided_by: str = col("What gave the label.", isin=DECIDED_BY)
    curated_label: str = col("To be filled in: the right label, or its path.", nullable=True)
    curator: str = col("To be filled in: who says so.", nullable=True)
    curated_on: str = col("To be filled in: the day, YYYY-MM-DD.", nullable=True)
    curated_reason: str = col("To be filled in: why.", nullable=True)
    source_file: str = col("File that the clusters come from.")
    source_sha256: str = col("SHA-256 of those clusters and how they came about.")


REFINEMENT_TABLES = {
    "diagnostic_report": DiagnosticReport,
    "refinement_log": RefinementLog,
    "refined_clusters": RefinedClusters,
    "final_annotations": FinalAnnotations,
    "cell_history": CellHistory,
    "review_sheet": ReviewSheet,
}
"""Tables of refinement by name."""
