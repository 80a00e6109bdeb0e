"""Differential expression: Wilcoxon rank-sum of a cluster against the rest, and the ranks."""

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, model_validator

from ctr_engine.cluster_statistics import Statistics
from ctr_engine.keys import CLUSTER
from ctr_engine.params import Count, Params, Real
from ctr_engine.tables import DELookup, frame

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class DEParams(Params):
    """How many markers of a cluster count as differentially expressed."""

    de_top_frac: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.2, description="Share of the panel that counts as DE hits of a cluster. 0 to 1."
    )
    de_min_k: Annotated[Count, Field(ge=0)] = Field(3, description="Fewest DE hits.")
    de_max_k: Annotated[Count, Field(ge=0)] = Field(12, description="Most DE hits.")

    @model_validator(mode="after")
    def _limits_in_order(self) -> "DEParams":
        if self.de_min_k > self.de_max_k:
            msg = f"de_min_k {self.de_min_k} is above de_max_k {self.de_max_k}"
            raise ValueError(msg)
        return self


def wilcoxon_scores(statistics: Statistics) -> Float32:
    """Z of the rank-sum of each cluster against the rest, corrected for ties (Mann & Whitney 1947).

    Returns
    -------
    Shape ``(n_clusters, n_markers)``, float32; NaN for a cluster of one cell and where there is no
    rest.
    """
    n_cells = statistics.n_cells.astype(np.float64)[:, None]
    n = n_cells.sum()
    tie_sum = statistics.reference["tie_sum"].to_numpy(dtype=np.float64)
    correction = 1 - tie_sum / (n**3 - n)
    variance = correction * n_cells * (n - n_cells) * (n + 1) / 12
    testable = (n_cells > 1) & (n_cells < n)
    expected = n_cells * (n + 1) / 2
    z = np.full(variance.shape, np.nan)
    spread = testable & (variance > 0)
    distance = statistics.matrix("rank_sum") - expected
    z[spread] = distance[spread] / np.sqrt(variance[spread])
    z[testable & (variance <= 0)] = 0.0
    return z.astype(np.float32)


def de_lookup(
    statistics: Statistics, params: DEParams, scores: Float32 | None = None
) -> pd.DataFrame:
    """Rank the markers of each cluster.

    Parameters
    ----------
    statistics
        Statistics of the clusters.
    params
        How many markers count.
    scores
        Wilcoxon z, shape ``(n_clusters, n_markers)``, NaN where there is no test; computed when not
        given.

    Returns
    -------
    A :class:`~ctr_engine.tables.DELookup` table, clusters in natural order, markers in panel order.
    """
    if scores is None:
        scores = wilcoxon_scores(statistics)
    n_clusters, n_markers = scores.shape
    k_target = math.ceil(round(n_markers * params.de_top_frac, 9))
    limit = min(max(k_target, params.de_min_k), params.de_max_k)
    n_pos = (scores > 0).sum(axis=1)
    k = np.minimum(limit, n_pos)
    p_values = _p_values(scores)
    return frame(
        DELookup,
        {
            "cluster_id": statistics.clusters["cluster_id"].to_numpy(),
            "marker": statistics.clusters["marker"].to_numpy(),
            "wilcoxon_score": scores.astype(np.float64).ravel(),
            "p_value": p_values.ravel(),
            "p_value_adjusted": _adjusted(p_values).ravel(),
            "mean_difference": _mean_difference(statistics).ravel(),
            "de_rank": _ranks(scores, k).ravel(),
            "k": np.repeat(k, n_markers).astype(np.int64),
            "k_target": np.full(n_clusters * n_markers, k_target, dtype=np.int64),
            "n_pos": np.repeat(n_pos, n_markers).astype(np.int64),
        },
    )


def _ranks(scores: Float32, k: npt.NDArray[np.intp]) -> Float64:
    """Ranks from 1 of the best ``k`` of each row, equal scores in panel order; NaN elsewhere."""
    ranks = np.full(scores.shape, np.nan)
    for row, best in enumerate(k):
        order = np.argsort(-np.nan_to_num(scores[row]), kind="stable")[:best]
        ranks[row, order] = np.arange(1, best + 1)
    return ranks


def _p_values(scores: Float32) -> Float64:
    from scipy.special import ndtr

    return np.asarray(2 * ndtr(-np.abs(scores.astype(np.float64))))


def _adjusted(p_values: Float64) -> Float64:
    """Benjamini-Hochberg within each row; untested rows stay NaN."""
    from scipy.stats import false_discovery_control

    adjusted = p_values.copy()
    tested = ~np.isnan(p_values).any(axis=1)
    if tested.any():
        adjusted[tested] = false_discovery_control(p_values[tested], axis=1)
    return adjusted


def _mean_difference(statistics: Statistics) -> Float64:
    n_cells = statistics.n_cells.astype(np.float64)[:, None]
    n = n_cells.sum()
    mean = statistics.matrix("mean")
    total = statistics.reference["mean"].to_numpy(dtype=np.float64) * n
    rest = np.full_like(mean, np.nan)
    has_rest = (n_cells < n).ravel()
    rest[has_rest] = (total - mean * n_cells)[has_rest] / (n - n_cells)[has_rest]
    return np.asarray(mean - rest)


def rank_genes_groups(lookup: pd.DataFrame, layer: str) -> dict[str, Any]:
    """Give the results in scanpy's form, so that ``scanpy.get.rank_genes_groups_df`` reads them.

    Clusters that could not be tested are left out. ``logfoldchanges`` holds the difference of the
    means: on log-transformed values it is a log fold change, on others scanpy's own formula would
    mean nothing.
    """
    tested = lookup[lookup["wilcoxon_score"].notna()]
    columns = {
        "names": "marker",
        "scores": "wilcoxon_score",
        "pvals": "p_value",
        "pvals_adj": "p_value_adjusted",
        "logfoldchanges": "mean_difference",
    }
    kinds = {"names": "O", "scores": "f4", "pvals": "f8", "pvals_adj": "f8", "logfoldchanges": "f4"}
    groups = {
        str(cluster): rows.sort_values("wilcoxon_score", ascending=False, kind="stable")
        for cluster, rows in tested.groupby("cluster_id", sort=False)
    }
    result: dict[str, Any] = {
        "params": {
            "groupby": CLUSTER,
            "reference": "rest",
            "method": "wilcoxon",
            "use_raw": False,
            "layer": layer,
            "corr_method": "benjamini-hochberg",
        },
    }
    for name, source in columns.items():
        if groups:
            fields = [(cluster, kinds[name]) for cluster in groups]
            rows = zip(*(groups[cluster][source] for cluster in groups), strict=True)
            result[name] = np.array(list(rows), dtype=fields)
    return result
