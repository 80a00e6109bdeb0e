"""Clusters whose cells show two lineages that exclude each other: doublets, or spill-over.

Nothing is relabelled. Segmentation that takes in a neighbour, and droplets with two cells, give
cells that are positive for markers that the map says exclude each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.expression import ExpressionView
from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.scoring import Evidence

Rows = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Exclusion:
    """Two markers that exclude each other, and the branches of the map that they stand for."""

    branches: tuple[str, str]
    columns: tuple[int, int]


@dataclass(frozen=True)
class Mixed:
    """Two lineages in the cells of one cluster.

    ``share`` is that of the cells that are positive for both markers, ``explained`` that of those
    cells with a neighbour of the second lineage; None without coordinates.
    """

    branches: tuple[str, str]
    markers: tuple[str, str]
    share: float
    explained: float | None


def exclusions(resolved: ResolvedMap) -> tuple[Exclusion, ...]:
    """List the pairs of markers of which one is an anti-marker of the other's cell type.

    A pair that several cell types give stands for those that are nearest to the roots.
    """
    order = sorted(range(len(resolved.nodes)), key=lambda row: resolved.nodes[row].node.level)
    found: dict[tuple[int, int], Exclusion] = {}
    for first, second in combinations(order, 2):
        a, b = resolved.nodes[first], resolved.nodes[second]
        if _related(a.node.path, b.node.path):
            continue
        for x in a.positions:
            for y in b.positions:
                key = (min(x, y), max(x, y))
                excluded = y in a.anti_positions or x in b.anti_positions
                if x != y and excluded and key not in found:
                    found[key] = Exclusion((a.node.path, b.node.path), (x, y))
    return tuple(found.values())


def mixed_lineages(
    found: Evidence,
    resolved: ResolvedMap,
    view: ExpressionView,
    clusters: Sequence[str],
    paths: Sequence[str],
    *,
    mixed_share: float,
    mixed_neighbors: int,
) -> list[Mixed | None]:
    """Find two lineages in each cluster; None where its cells show one.

    Of all pairs of exclusive markers that are both on in the cluster, the one with the most cells
    that are positive for both counts.

    Parameters
    ----------
    view, clusters
        Expression and cluster of each cell.
    paths
        Path of the label of each cluster, in natural order.
    mixed_share
        Least share of cells that are positive for both markers, above 0 and up to 1.
    mixed_neighbors
        Nearest cells in the tissue that may explain the second lineage, at least 1.
    """
    codes = pd.Index(found.statistics.cluster_ids).get_indexer(pd.Index(list(clusters)))
    pairs = exclusions(resolved)
    strongest = (
        _strongest(found, pairs, view, np.flatnonzero(codes == cluster), cluster)
        for cluster in range(len(paths))
    )
    flagged = [one if one is not None and one.share >= mixed_share else None for one in strongest]
    if not any(flagged):
        return [None] * len(paths)
    around = _Neighbours.of(view, codes, paths, mixed_neighbors)
    return [
        None if one is None else _described(one, resolved, paths[cluster], around)
        for cluster, one in enumerate(flagged)
    ]


@dataclass(frozen=True)
class _Flag:
    """The pair of a cluster, its share, and the cells that are positive for both."""

    pair: Exclusion
    share: float
    cells: Rows


def _strongest(
    found: Evidence, pairs: Sequence[Exclusion], view: ExpressionView, cells: Rows, cluster: int
) -> _Flag | None:
    on = found.on[cluster]
    tried = [pair for pair in pairs if on[list(pair.columns)].all()]
    if not tried:
        return None
    columns = sorted({column for pair in tried for column in pair.columns})
    positive = dict(zip(columns, _positive(found, view, cells, columns).T, strict=True))
    best: _Flag | None = None
    for pair in tried:
        both = positive[pair.columns[0]] & positive[pair.columns[1]]
        share = float(both.mean())
        if best is None or share > best.share:
            best = _Flag(pair, share, cells[both])
    return best


def _positive(found: Evidence, view: ExpressionView, cells: Rows, columns: Sequence[int]) -> Bools:
    """Whether some cells are positive for some markers, shape ``(n_cells, n_columns)``."""
    reference = found.statistics.reference.iloc[list(columns)]
    values = view.block(cells, columns).astype(np.float64)
    threshold = reference["threshold"].to_numpy(dtype=np.float64)
    strict = reference["strict"].to_numpy(dtype=bool)
    return np.asarray(np.where(strict, values > threshold, values >= threshold))


@dataclass(frozen=True)
class _Neighbours:
    """Where the cells lie, which of them have a place, and the label of each cluster."""

    coordinates: npt.NDArray[np.float64] | None
    placed: Rows
    codes: Rows
    paths: Sequence[str]
    n_neighbors: int

    @classmethod
    def of(
        cls, view: ExpressionView, codes: Rows, paths: Sequence[str], n_neighbors: int
    ) -> "_Neighbours":
        places = view.coordinates
        placed = np.empty(0, dtype=np.intp)
        if places is not None:
            placed = np.flatnonzero(np.isfinite(places).all(axis=1))
        return cls(places, placed, codes, paths, n_neighbors)

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return None if self.coordinates is None else cKDTree(self.coordinates[self.placed])

    def explain(self, cells: Rows, branch: str) -> float | None:
        """Share of some cells that have a neighbour of a branch; None where none has a place."""
        asked = np.intersect1d(cells, self.placed)
        if self.coordinates is None or not len(asked):
            return None
        k = min(self.n_neighbors + 1, len(self.placed))  # the cell itself is of the first branch
        _, nearest = self._tree.query(self.coordinates[asked], k=k)
        around = self.codes[self.placed[np.asarray(nearest).reshape(len(asked), -1)]]
        of_branch = np.array([_related_below(path, branch) for path in self.paths])
        return float(of_branch[around].any(axis=1).mean())


def _described(one: _Flag, resolved: ResolvedMap, path: str, around: _Neighbours) -> Mixed:
    """Put the branch of the cluster's own label first."""
    first, second = one.pair.branches
    columns = one.pair.columns
    if _related_below(path, second) or (path and _related_below(second, path)):
        first, second, columns = second, first, columns[::-1]
    x, y = (resolved.panel.markers[column] for column in columns)
    return Mixed((first, second), (x, y), one.share, around.explain(one.cells, second))


def _related(a: str, b: str) -> bool:
    return _related_below(a, b) or _related_below(b, a)


def _related_below(path: str, branch: str) -> bool:
    """Whether a path is a branch or stands below it."""
    return path == branch or path.startswith(branch + PATH_SEPARATOR)


def as_columns(found: Sequence[Mixed | None]) -> Iterator[dict[str, object]]:
    """Give the columns of ``cluster_annotations`` for each cluster."""
    for one in found:
        yield {
            "mixed_lineage": None if one is None else " + ".join(one.branches),
            "mixed_lineage_markers": [] if one is None else list(one.markers),
            "mixed_lineage_share": None if one is None else one.share,
            "mixed_lineage_explained": None if one is None else one.explained,
        }
