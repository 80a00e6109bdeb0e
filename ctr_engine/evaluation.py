"""How labels compare with known ones, and whether their support can be trusted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.tables import Accuracy, Confusion, from_rows

N_BINS = 10
"""Bins of equal width in which support is held against the share of right clusters."""


@dataclass(frozen=True)
class TruthComparison:
    """Shares of cells, 0 to 1; precision and recall count every ancestor of a label.

    ``macro_f1`` is the mean F1 of the true labels, each counting once.
    """

    n_cells: int
    exact: float
    macro_f1: float
    unassigned: float
    hierarchical_precision: float
    hierarchical_recall: float

    @property
    def hierarchical_f(self) -> float:
        """Harmonic mean of hierarchical precision and recall."""
        return _harmonic(self.hierarchical_precision, self.hierarchical_recall)


@dataclass(frozen=True)
class SupportCheck:
    """Whether high support means right clusters.

    ``auroc`` is the chance that a right cluster has more support than a wrong one, None where all
    are right or all wrong; ``calibration_error`` the mean difference between support and the share
    of right clusters, over :data:`N_BINS` bins, weighted by their clusters (Naeini et al. 2015).
    """

    n_clusters: int
    auroc: float | None
    calibration_error: float


@dataclass(frozen=True)
class Evaluation:
    """Labels of a sample beside known ones; ``confusion`` by the kind of label.

    ``ceiling`` is the share of right cells if each cluster had its commonest true label.
    """

    accuracy: pd.DataFrame
    confusion: Mapping[str, pd.DataFrame]
    ceiling: float
    support: SupportCheck

    def as_json(self) -> dict[str, Any]:
        """All of it but the confusion, ready for JSON."""
        return {
            "accuracy": self.accuracy.to_dict("records"),
            "ceiling": self.ceiling,
            "support": asdict(self.support),
        }


def evaluate(
    assigned: Mapping[str, Sequence[str]],
    truth: Sequence[str],
    clusters: Sequence[str],
    cluster_paths: Sequence[str],
    support: Sequence[float],
) -> Evaluation:
    """Compare several kinds of labels of one sample with known ones.

    Parameters
    ----------
    assigned
        Path of each cell's label, by the kind of label.
    truth
        True path of each cell; empty where it is not to be scored.
    clusters, cluster_paths, support
        Cluster of each cell, path of its label, and the support of that label.

    Raises
    ------
    ValueError
        If no cell has a known label.
    """
    rows = []
    for name, paths in assigned.items():
        seen = compare_with_truth(paths, truth)
        rows.append({"labels": name, **asdict(seen), "hierarchical_f": seen.hierarchical_f})
    best = majorities(clusters, truth)
    of_cluster = dict(zip(clusters, zip(cluster_paths, support, strict=True), strict=True))
    judged = [(of_cluster[one][1], of_cluster[one][0] == path) for one, path in best.items()]
    return Evaluation(
        from_rows(Accuracy, rows),
        {name: confusion_table(paths, truth) for name, paths in assigned.items()},
        compare_with_truth(ceiling(clusters, truth), truth).exact,
        check_support([given for given, _ in judged], [right for _, right in judged]),
    )


def confusion_table(paths: Sequence[str], truth: Sequence[str]) -> pd.DataFrame:
    """Count the cells of each pair of true and assigned paths, as a ``Confusion`` table."""
    pairs = Counter((true, found) for found, true in zip(paths, truth, strict=True) if true)
    known = Counter[str]()
    for (true, _), k in pairs.items():
        known[true] += k
    rows = [
        {"true_path": true, "assigned_path": found, "n_cells": k, "share": k / known[true]}
        for (true, found), k in sorted(pairs.items())
    ]
    return from_rows(Confusion, rows)


def compare_with_truth(paths: Sequence[str], truth: Sequence[str]) -> TruthComparison:
    """Compare assigned paths with true ones (hierarchical measures: Kiritchenko et al. 2006).

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
    pairs = Counter((found, true) for found, true in zip(paths, truth, strict=True) if true)
    n = pairs.total()
    if not n:
        msg = "no cell has a known label"
        raise ValueError(msg)
    nodes = {path: ancestry(path) for pair in pairs for path in pair}
    shared = sum(k * len(nodes[found] & nodes[true]) for (found, true), k in pairs.items())
    claimed = sum(k * len(nodes[found]) for (found, _), k in pairs.items())
    known = sum(k * len(nodes[true]) for (_, true), k in pairs.items())
    return TruthComparison(
        n_cells=n,
        exact=sum(k for (found, true), k in pairs.items() if found == true) / n,
        macro_f1=_macro_f1(pairs),
        unassigned=sum(k for (found, _), k in pairs.items() if not found) / n,
        hierarchical_precision=shared / claimed if claimed else 0.0,
        hierarchical_recall=shared / known,
    )


def ceiling(clusters: Sequence[str], truth: Sequence[str]) -> list[str]:
    """Give each cell the commonest true path of its cluster: the best that clusters allow.

    Among equally common paths the first in the order of the alphabet; empty where no cell of the
    cluster has a known one.
    """
    best = majorities(clusters, truth)
    return [best[cluster] if cluster in best else "" for cluster in clusters]


def majorities(clusters: Sequence[str], truth: Sequence[str]) -> dict[str, str]:
    """Commonest true path of each cluster that has a cell with a known one."""
    counted: dict[str, Counter[str]] = {}
    for cluster, true in zip(clusters, truth, strict=True):
        if true:
            counted.setdefault(cluster, Counter())[true] += 1
    return {
        cluster: min(counts, key=lambda path: (-counts[path], path))
        for cluster, counts in counted.items()
    }


def check_support(support: Sequence[float], right: Sequence[bool]) -> SupportCheck:
    """Hold the support of clusters against whether their labels are right.

    Parameters
    ----------
    support
        0 to 1, one for each cluster.
    right
        Whether the label is the commonest true one of the cluster.

    Raises
    ------
    ValueError
        If there is no cluster, or the two differ in length.
    """
    from sklearn.metrics import roc_auc_score

    given, hits = np.asarray(support, dtype=np.float64), np.asarray(right, dtype=bool)
    if not len(given) or len(given) != len(hits):
        msg = f"{len(given)} supports for {len(hits)} clusters"
        raise ValueError(msg)
    both = hits.any() and not hits.all()
    return SupportCheck(
        n_clusters=len(given),
        auroc=float(roc_auc_score(hits, given)) if both else None,
        calibration_error=calibration_error(given, hits),
    )


def calibration_error(
    support: npt.NDArray[np.float64], right: npt.NDArray[np.bool_ | np.float64]
) -> float:
    """Mean difference of support and what is right, over bins weighted by their clusters.

    ``right`` is whether a cluster is right, or the share of its cells that are.
    """
    return sum(
        weight * abs(expected - seen) for expected, seen, weight in reliability(support, right)
    )


def reliability(
    support: npt.NDArray[np.float64], right: npt.NDArray[np.bool_ | np.float64]
) -> list[tuple[float, float, float]]:
    """Mean support, share that is right and share of the clusters, for each bin that has any."""
    bins = np.minimum((support * N_BINS).astype(int), N_BINS - 1)
    return [
        (
            float(support[bins == one].mean()),
            float(right[bins == one].mean()),
            float((bins == one).mean()),
        )
        for one in np.unique(bins)
    ]


def ancestry(path: str) -> frozenset[str]:
    """Path of a cell type and of each of its ancestors; empty for an empty one."""
    parts = path.split(PATH_SEPARATOR) if path else []
    return frozenset(PATH_SEPARATOR.join(parts[: i + 1]) for i in range(len(parts)))


def _macro_f1(pairs: "Counter[tuple[str, str]]") -> float:
    named, known, hit = Counter[str](), Counter[str](), Counter[str]()
    for (found, true), k in pairs.items():
        named[found] += k
        known[true] += k
        hit[true] += k if found == true else 0
    return float(np.mean([2 * hit[path] / (named[path] + known[path]) for path in sorted(known)]))


def _harmonic(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second else 0.0
