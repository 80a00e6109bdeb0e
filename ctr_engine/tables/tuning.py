"""Tables of a grid of parameters."""

import pandera.pandas as pa

from ctr_engine.tables.base import Table, col


class TuningSettings(Table):
    """Per setting of the grid: what it does; one more column per parameter of the grid follows."""

    setting: int = col("Number of the setting, 0 first.", ge=0, unique=True)
    n_clusters_changed: int = col("Clusters with another label than in the run.", ge=0)
    n_cells_changed: int = col("Cells with another label than in the run.", ge=0)
    n_cells_unassigned: int = col("Cells that are Unassigned.", ge=0)
    n_cells_ambiguous: int = col("Cells whose walk ends between two candidates.", ge=0)
    n_labels: int = col("Different labels, Unassigned not counted.", ge=0)


class TuningClusters(Table):
    """Per cluster: how firmly its label stands over the grid."""

    cluster_id: str = col("Cluster.", unique=True)
    n_cells: int = col("Cells of the cluster.", ge=1)
    assigned_label: str = col("Label of the run.")
    assigned_path: str = col("Path of that label; empty when unassigned.")
    share_kept: float = col("Share of the settings that keep the label.", ge=0, le=1)
    n_labels: int = col("Different labels over the grid.", ge=1)
    other_label: str = col("Most frequent other label; null when none.", nullable=True)
    other_path: str = col("Path of that label; empty when unassigned or none.")
    other_share: float = col("Share of the settings that give it.", ge=0, le=1)
    robustness: float = col(
        "Share of settings within 20 % of the thresholds that keep the label.", ge=0, le=1
    )


class TuningLabels(Table):
    """Per label: how many cells carry it over the grid."""

    label: str = col("Cell type, 'A~B' or 'Unassigned'.")
    path: str = col("Cell type from the root; empty for Unassigned.", unique=True)
    n_cells: int = col("Cells with it in the run.", ge=0)
    least_cells: int = col("Fewest cells with it under any setting.", ge=0)
    median_cells: float = col("Median over the settings.", ge=0)
    most_cells: int = col("Most cells with it under any setting.", ge=0)
    share_stable: float = col(
        "Share of the settings in which the same clusters carry it.", ge=0, le=1
    )


class TuningShares(Table):
    """Per cluster and value of a parameter: how often the label stays there."""

    cluster_id: str = col("Cluster.")
    parameter: str = col("Parameter of the grid.")
    value: str = col("Value of the parameter.")
    share: float = col("Share of the settings with this value that keep the label.", ge=0, le=1)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "parameter", "value"]  # noqa: RUF012


TUNING_TABLES: dict[str, type[pa.DataFrameModel]] = {
    "tune_settings": TuningSettings,
    "tune_clusters": TuningClusters,
    "tune_labels": TuningLabels,
    "tune_shares": TuningShares,
}
