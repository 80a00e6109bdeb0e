"""Everything that is ever asked of the cells, per marker, from one sort.

A marker's values are packed with the cluster of their cell into 64-bit keys and sorted once: ranks,
ties, medians, quantiles, thresholds and positive fractions can then be read off. Sums run in sorted
order and in float64, so that the order of the cells does not show in the last digit.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from ctr_engine.errors import CellMismatchError
from ctr_engine.expression import ExpressionView
from ctr_engine.params import Params, Real
from ctr_engine.tables import ClusterStatistics, ReferenceValues, frame, natural_key

Float64 = npt.NDArray[np.float64]

POSITIVE_SHIFTS = {
    "positive_fraction_minus_02": -0.2,
    "positive_fraction_minus_01": -0.1,
    "positive_fraction": 0.0,
    "positive_fraction_plus_01": 0.1,
    "positive_fraction_plus_02": 0.2,
}
"""Columns with the share of positive cells, by how far their threshold is moved. SD units."""

_OTSU_BINS = 256
_OTSU_TAIL = 0.001
_SIGN = np.uint32(0x8000_0000)
_MIN_STD = 1e-6


class StatisticsParams(Params):
    """How the cells of a cluster are summarised, and when a cell is positive."""

    enrichment_statistic: Literal["auto", "median", "mean"] = Field(
        "auto",
        description="Statistic behind enrichment; auto takes the mean of markers whose median is "
        "their minimum.",
    )
    positive_quantile: Annotated[Real, Field(gt=0, lt=1)] = Field(
        0.75, description="A cell at or above this quantile of all cells is positive. 0 to 1."
    )
    positive_reference: Literal["auto", "all", "nonzero"] = Field(
        "auto",
        description="Cells behind the quantile: all; nonzero, those above the minimum; auto, "
        "all, but above "
        "the minimum is positive where the quantile equals it.",
    )
    positive_threshold: Literal["quantile", "otsu"] = Field(
        "quantile",
        description="quantile, or otsu: Otsu's cut for markers whose median is above their "
        "minimum.",
    )


@dataclass(frozen=True)
class Statistics:
    """The two tables of this module, and their columns as arrays.

    ``reference`` is a :class:`~ctr_engine.tables.ReferenceValues` table in panel order,
    ``clusters`` a :class:`~ctr_engine.tables.ClusterStatistics` table, clusters in natural order
    and markers in panel order.
    """

    reference: pd.DataFrame
    clusters: pd.DataFrame

    @cached_property
    def markers(self) -> tuple[str, ...]:
        """Names of the panel, in order."""
        return tuple(self.reference["marker"])

    @cached_property
    def cluster_ids(self) -> tuple[str, ...]:
        """Ids in natural order."""
        return tuple(self.clusters["cluster_id"].iloc[:: len(self.markers)])

    @cached_property
    def n_cells(self) -> npt.NDArray[np.int64]:
        """Cells of each cluster."""
        return np.asarray(self.clusters["n_cells"].iloc[:: len(self.markers)], dtype=np.int64)

    def matrix(self, name: str) -> Float64:
        """Column ``name`` of ``clusters``, shape ``(n_clusters, n_markers)``."""
        return self.clusters[name].to_numpy(dtype=np.float64).reshape(-1, len(self.markers))


def cluster_statistics(
    view: ExpressionView, clusters: Sequence[str], params: StatisticsParams, *, n_jobs: int = 1
) -> Statistics:
    """Summarise every marker over all cells and in every cluster.

    Parameters
    ----------
    view
        Transformed expression, shape ``(n_cells, n_markers)``.
    clusters
        Cluster id of each cell, length ``n_cells``.
    params
        Which statistic, which threshold.
    n_jobs
        Threads; the result does not depend on it.

    Returns
    -------
    ``enrichment`` is (cluster statistic - global statistic) / global population SD, in SD units;
    ``positive_fraction`` is the share of cells at or above the threshold (above it where
    ``strict``), with a column for each of :data:`POSITIVE_SHIFTS`. A strict threshold is the
    minimum and is not moved below it, where every cell would be positive.

    Raises
    ------
    CellMismatchError
        If ``clusters`` does not have one entry for each cell.
    """
    if len(clusters) != view.n_cells:
        msg = f"{len(clusters)} cluster ids for {view.n_cells} cells"
        raise CellMismatchError(msg)
    names, codes = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    order = sorted(range(len(names)), key=lambda i: natural_key(str(names[i])))
    rank = np.empty(len(names), dtype=np.uint64)
    rank[order] = np.arange(len(names), dtype=np.uint64)
    ids = [str(names[i]) for i in order]
    coded = rank[codes]
    counts = np.bincount(coded.astype(np.int64), minlength=len(ids))

    def summarise(position: int) -> dict[str, Any]:
        return _marker(view.column(position), coded, counts, params)

    with ThreadPoolExecutor(max_workers=max(1, n_jobs)) as pool:
        markers = list(pool.map(summarise, range(view.n_markers)))
    return _tables(view.panel.markers, ids, counts, markers)


def _tables(
    panel: Sequence[str],
    ids: list[str],
    counts: npt.NDArray[np.intp],
    markers: list[dict[str, Any]],
) -> Statistics:
    reference = {
        name: [marker[name] for marker in markers]
        for name in ("statistic", "centre", "mean", "std", "threshold", "strict", "tie_sum")
    }
    per_cluster = {
        name: np.column_stack([marker[name] for marker in markers]).ravel()
        for name in (
            "cluster_mean",
            "cluster_median",
            "enrichment",
            *POSITIVE_SHIFTS,
            "rank_sum",
        )
    }
    n_cells = np.full(len(panel), counts.sum(), dtype=np.int64)
    return Statistics(
        frame(ReferenceValues, {"marker": list(panel), "n_cells": n_cells, **reference}),
        frame(
            ClusterStatistics,
            {
                "cluster_id": np.repeat(np.array(ids, dtype=object), len(panel)),
                "marker": np.tile(np.array(panel, dtype=object), len(ids)),
                "n_cells": np.repeat(counts.astype(np.int64), len(panel)),
                "mean": per_cluster["cluster_mean"],
                "median": per_cluster["cluster_median"],
                **per_cluster,
            },
        ),
    )


def _marker(
    values: npt.NDArray[np.float32],
    codes: npt.NDArray[np.uint64],
    counts: npt.NDArray[np.intp],
    params: StatisticsParams,
) -> dict[str, Any]:
    """Read all statistics of one marker off its sorted values."""
    keys = _sortable(values).astype(np.uint64)
    by_value = np.sort(keys << np.uint64(32) | codes)
    sorted_codes = (by_value & np.uint64(0xFFFF_FFFF)).astype(np.intp)
    ordered = _unsorted(by_value >> np.uint64(32))
    by_cluster = _unsorted(np.sort(codes << np.uint64(32) | keys) & np.uint64(0xFFFF_FFFF))
    ranks, tie_sum = _average_ranks(ordered)

    n, n_clusters = len(ordered), len(counts)
    mean = ordered.sum() / n
    std = float(np.sqrt(((ordered - mean) ** 2).sum() / n)) or _MIN_STD
    median = _quantile(ordered, 0.5)
    use_mean = params.enrichment_statistic == "mean" or (
        params.enrichment_statistic == "auto" and median == ordered[0]
    )
    cluster_mean = np.bincount(sorted_codes, weights=ordered, minlength=n_clusters) / counts
    cluster_median = _group_medians(by_cluster, counts)
    centre = mean if use_mean else median
    threshold, strict = _threshold(ordered, params)
    shares = {
        name: _positive(ordered, sorted_codes, threshold + shift * std, strict, n_clusters) / counts
        for name, shift in POSITIVE_SHIFTS.items()
    }
    return {
        "statistic": "mean" if use_mean else "median",
        "centre": float(centre),
        "mean": float(mean),
        "std": std,
        "threshold": threshold,
        "strict": strict,
        "tie_sum": tie_sum,
        "cluster_mean": cluster_mean,
        "cluster_median": cluster_median,
        "enrichment": ((cluster_mean if use_mean else cluster_median) - centre) / std,
        **shares,
        "rank_sum": np.bincount(sorted_codes, weights=ranks, minlength=n_clusters),
    }


def _positive(
    ordered: Float64,
    codes: npt.NDArray[np.intp],
    threshold: float,
    strict: bool,
    n_clusters: int,
) -> npt.NDArray[np.intp]:
    """Positive cells of each cluster; ``ordered`` are all values, ``codes`` their clusters."""
    least = max(threshold, ordered[0]) if strict else threshold
    first = np.searchsorted(ordered, least, side="right" if strict else "left")
    return np.bincount(codes[first:], minlength=n_clusters)


def _sortable(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Map float32 to unsigned integers of the same order; adding 0 turns -0 into 0."""
    bits = (values + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _unsorted(keys: npt.NDArray[np.uint64]) -> Float64:
    """Invert :func:`_sortable`."""
    bits = keys.astype(np.uint32)
    restored = np.where(bits & _SIGN, bits & ~_SIGN, ~bits)
    return np.asarray(restored.view(np.float32), dtype=np.float64)


def _average_ranks(ordered: Float64) -> tuple[Float64, float]:
    """Ranks from 1, equal values sharing their mean rank; and the sum of t^3 - t over the ties."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1])
    sizes = np.diff(np.append(starts, len(ordered)))
    ranks = np.repeat(starts + (sizes + 1) / 2, sizes)
    t = sizes.astype(np.float64)
    return ranks, float((t**3 - t).sum())


def _group_medians(by_cluster: Float64, counts: npt.NDArray[np.intp]) -> Float64:
    """Medians of consecutive sorted groups."""
    starts = np.cumsum(counts) - counts
    lower, upper = by_cluster[starts + (counts - 1) // 2], by_cluster[starts + counts // 2]
    return np.asarray((lower + upper) / 2)


def _quantile(ordered: Float64, q: float) -> float:
    """Quantile with linear interpolation (type 7 of Hyndman & Fan 1996) of sorted values."""
    place = q * (len(ordered) - 1)
    low = int(np.floor(place))
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def _threshold(ordered: Float64, params: StatisticsParams) -> tuple[float, bool]:
    """Threshold of a positive cell, and whether only cells above it count."""
    minimum = float(ordered[0])
    if params.positive_threshold == "otsu" and _quantile(ordered, 0.5) > minimum:
        cut = otsu_threshold(ordered)
        if cut is not None:
            return cut, False
    if params.positive_reference == "nonzero":
        above = ordered[np.searchsorted(ordered, minimum, side="right") :]
        return (
            (_quantile(above, params.positive_quantile), False) if len(above) else (minimum, True)
        )
    quantile = _quantile(ordered, params.positive_quantile)
    return quantile, params.positive_reference == "auto" and quantile == minimum


def otsu_threshold(ordered: Float64) -> float | None:
    """Cut that maximises the variance between two groups (Otsu 1979), or None without any spread.

    Parameters
    ----------
    ordered
        Sorted values. They are clipped to their 0.1 and 99.9 % quantiles and counted in 256 bins;
        the cut is an upper bin edge, the middle of the plateau when several cuts are equally good.
    """
    low, high = _quantile(ordered, _OTSU_TAIL), _quantile(ordered, 1 - _OTSU_TAIL)
    if not high > low:
        return None
    counts, edges = np.histogram(np.clip(ordered, low, high), bins=_OTSU_BINS, range=(low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = len(ordered) - below
    weighted = np.cumsum(counts * centres)
    both = (below > 0) & (above > 0)
    between = np.zeros(_OTSU_BINS - 1)
    gap = weighted[:-1][both] / below[both] - (weighted[-1] - weighted[:-1][both]) / above[both]
    between[both] = below[both] * above[both] * gap**2
    first = int(np.argmax(between >= between.max() * (1 - 1e-12)))  # equal but for rounding
    last = first
    while last + 1 < len(between) and counts[last + 1] == 0:
        last += 1
    return float((edges[first + 1] + edges[last + 1]) / 2)
