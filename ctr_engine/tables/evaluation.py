"""Tables of ``ctr evaluate``."""

from ctr_engine.tables.base import Table, col


class Accuracy(Table):
    """Per kind of label: how it compares with the known labels."""

    labels: str = col("Column of the sample, or of the final annotations.", unique=True)
    n_cells: int = col("Cells with a known label.", ge=1)
    exact: float = col("Share of cells with exactly the right cell type.", ge=0, le=1)
    macro_f1: float = col("Mean F1 of the true cell types.", ge=0, le=1)
    hierarchical_precision: float = col(
        "Share of the assigned cell types and their ancestors that are true.", ge=0, le=1
    )
    hierarchical_recall: float = col(
        "Share of the true cell types and their ancestors that are assigned.", ge=0, le=1
    )
    hierarchical_f: float = col("Harmonic mean of both.", ge=0, le=1)
    unassigned: float = col("Share of cells without a label.", ge=0, le=1)


class Confusion(Table):
    """Per true and assigned cell type: the cells that have both."""

    true_path: str = col("True cell type.")
    assigned_path: str = col("Assigned cell type; empty when unassigned.")
    n_cells: int = col("Cells.", ge=1)
    share: float = col("Share of the cells of the true cell type.", ge=0, le=1)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["true_path", "assigned_path"]  # noqa: RUF012


EVALUATION_TABLES = {"accuracy": Accuracy, "confusion": Confusion}
"""Tables of an evaluation by name."""
