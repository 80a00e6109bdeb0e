"""How labels compare with known ones, along the hierarchy (Kiritchenko et al. 2006)."""

from collections.abc import Sequence
from dataclasses import dataclass

from ctr_engine.keys import PATH_SEPARATOR


@dataclass(frozen=True)
class TruthComparison:
    """Shares of cells, 0 to 1; precision and recall count every ancestor of a label."""

    n_cells: int
    exact: float
    unassigned: float
    hierarchical_precision: float
    hierarchical_recall: float

    @property
    def hierarchical_f(self) -> float:
        """Harmonic mean of hierarchical precision and recall."""
        both = self.hierarchical_precision + self.hierarchical_recall
        return 2 * self.hierarchical_precision * self.hierarchical_recall / both if both else 0.0


def compare_with_truth(paths: Sequence[str], truth: Sequence[str]) -> TruthComparison:
    """Compare assigned paths with true ones.

    Parameters
    ----------
    paths
        Path of each cell's label; empty when unassigned.
    truth
        True path of each cell; cells with an empty one are left out.

    Raises
    ------
    ValueError
        If no cell has a known label, or the two differ in length.
    """
    pairs = [
        (set(_nodes(path)), set(_nodes(true)))
        for path, true in zip(paths, truth, strict=True)
        if true
    ]
    if not pairs:
        msg = "no cell has a known label"
        raise ValueError(msg)
    shared = sum(len(found & true) for found, true in pairs)
    claimed = sum(len(found) for found, _ in pairs)
    return TruthComparison(
        n_cells=len(pairs),
        exact=sum(found == true for found, true in pairs) / len(pairs),
        unassigned=sum(not found for found, _ in pairs) / len(pairs),
        hierarchical_precision=shared / claimed if claimed else 0.0,
        hierarchical_recall=shared / sum(len(true) for _, true in pairs),
    )


def _nodes(path: str) -> list[str]:
    """Path of the cell type and of each of its ancestors."""
    parts = path.split(PATH_SEPARATOR) if path else []
    return [PATH_SEPARATOR.join(parts[: i + 1]) for i in range(len(parts))]
