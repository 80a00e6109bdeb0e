"""Tables of two runs beside each other."""

import pandera.pandas as pa

from ctr_engine.tables.base import Table, col, names


class LabelFlow(Table):
    """Per pair of labels: cells that had the one in run A and have the other in run B."""

    label_a: str = col("Label in run A.")
    path_a: str = col("Path of it; empty when unassigned.")
    label_b: str = col("Label in run B.")
    path_b: str = col("Path of it; empty when unassigned.")
    n_cells: int = col("Cells.", ge=1)
    share_of_a: float = col("Share of the cells with that label in run A.", ge=0, le=1)
    changed: bool = col("Whether the two labels differ.")

    class Config(Table.Config):
        """Key of the table."""

        unique = ["path_a", "path_b"]  # noqa: RUF012


class LabelOverlap(Table):
    """Per label: how far the two runs give it to the same cells."""

    label: str = col("Cell type, 'A~B' or 'Unassigned'.")
    path: str = col("Cell type from the root; empty for Unassigned.", unique=True)
    n_cells_a: int = col("Cells with it in run A.", ge=0)
    n_cells_b: int = col("Cells with it in run B.", ge=0)
    n_cells_both: int = col("Cells with it in both.", ge=0)
    jaccard: float = col("Cells in both / cells in either.", ge=0, le=1)


class ClusterChanges(Table):
    """Per cluster of run B: its label in both runs, and where and why they part."""

    cluster_b: str = col("Cluster of run B.", unique=True)
    cluster_a: str = col("Cluster of run A with most of its cells.", nullable=True)
    n_cells: int = col("Cells of the cluster of run B.", ge=1)
    share_shared: float = col("Share of them that lie in the cluster of run A.", ge=0, le=1)
    label_a: str = col("Label in run A; null where no cell of it is in run A.", nullable=True)
    path_a: str = col("Path of it; empty when unassigned or null.")
    label_b: str = col("Label in run B.")
    path_b: str = col("Path of it; empty when unassigned.")
    changed: bool = col("Whether the labels differ.")
    step_idx: float = col("First competition with another end; null when none.", nullable=True)
    parent_path: str = col("Cell type below which that is; null for the roots.", nullable=True)
    step: str = col("What is different in it, in words.", nullable=True)
    causes: object = names("Edits behind it: each alone, or all together, give the label of run B.")
    causes_are: str = col(
        "How the causes act.", nullable=True, isin=("each alone", "together", "clusters", "unknown")
    )


class CellChanges(Table):
    """Per cell with another label: its clusters and labels in both runs."""

    cell_id: str = col("Name of the cell.", unique=True)
    cluster_a: str = col("Cluster in run A.")
    cluster_b: str = col("Cluster in run B.")
    path_a: str = col("Path of its label in run A; empty when unassigned.")
    path_b: str = col("Path of its label in run B; empty when unassigned.")


class RunDifferences(Table):
    """Per thing that was set or edited differently: both values, and what it does alone."""

    name: str = col(
        "What differs, such as 'min_coverage.0' or 'markers of Epithelium'.", unique=True
    )
    kind: str = col(
        "Where it belongs.",
        isin=("sample", "clusters", "values", "scoring", "gating", "marker map"),
    )
    value_a: str = col("Value in run A.", nullable=True)
    value_b: str = col("Value in run B.", nullable=True)
    set_in_b: str = col("What gave run B its value; null where that is plain.", nullable=True)
    n_clusters_alone: float = col(
        "Changed clusters that it explains alone; null where that cannot be told.",
        nullable=True,
        ge=0,
    )
    n_cells_alone: float = col("Cells of these clusters.", nullable=True, ge=0)


COMPARISON_TABLES: dict[str, type[pa.DataFrameModel]] = {
    "label_flow": LabelFlow,
    "label_overlap": LabelOverlap,
    "cluster_changes": ClusterChanges,
    "cell_changes": CellChanges,
    "differences": RunDifferences,
}
