"""One small figure for each step, the one that a person would look at first.

Figures are made without pyplot, so that nothing global is touched. Sequential maps are viridis,
diverging ones RdBu; both are told apart with any colour vision.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from ctr_engine.expression import ExpressionView
from ctr_engine.reporting.drawing import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.float64]

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#999999"
_MOST_COLUMNS = 40
_MOST_ROWS = 80
_MOST_BARS = 25


def expression_ranges(view: ExpressionView) -> "Figure":
    """Median and 5-95 % range of each marker; the most variable ones when there are many."""
    chosen = range(view.n_markers)
    if view.n_markers > _MOST_COLUMNS:
        spread = [float(view.column(j).std()) for j in range(view.n_markers)]
        chosen = sorted(np.argsort(spread)[-_MOST_COLUMNS:])  # type: ignore[assignment]
    low, mid, high = np.array([np.quantile(view.column(j), (0.05, 0.5, 0.95)) for j in chosen]).T
    figure, axes = _figure(width=max(4.0, 0.16 * len(low)))
    place = np.arange(len(low))
    axes.vlines(place, low, high, color=GREY, linewidth=2)
    axes.plot(place, mid, "o", color=BLUE, markersize=3)
    names = [plain(view.panel.markers[j]) for j in chosen]
    axes.set_xticks(place, names, rotation=90, fontsize=6)
    axes.set_ylabel("expression: median, 5-95 %")
    return figure


def component_map(coordinates: npt.NDArray[np.float32]) -> "Figure":
    """Density of the cells on the first two principal components."""
    figure, axes = _figure(width=4)
    second = coordinates[:, 1] if coordinates.shape[1] > 1 else np.zeros(len(coordinates))
    drawn = axes.hexbin(
        coordinates[:, 0], second, gridsize=40, bins="log", cmap="viridis", mincnt=1
    )
    figure.colorbar(drawn, ax=axes, label="cells")
    axes.set_xlabel("PC 1")
    axes.set_ylabel("PC 2")
    return figure


def neighbour_counts(graph: sp.csr_matrix) -> "Figure":
    """How many neighbours the cells have in the graph."""
    figure, axes = _figure(width=4)
    axes.hist(np.diff(graph.indptr), bins=30, color=BLUE)
    axes.set_xlabel("neighbours in the graph")
    axes.set_ylabel("cells")
    return figure


def cluster_sizes(clusters: pd.DataFrame) -> "Figure":
    """Cells per cluster."""
    sizes = clusters["cluster_id"].value_counts(sort=False)
    order = sorted(sizes.index, key=lambda name: -int(sizes[name]))
    return bars([str(name) for name in order], [float(sizes[name]) for name in order], "cells")


def thresholds(reference: pd.DataFrame) -> "Figure":
    """Where a cell becomes positive, in SD above the mean; the first markers only."""
    shown = reference.head(_MOST_COLUMNS)
    figure, axes = _figure(width=max(4.0, 0.16 * len(shown)))
    place = np.arange(len(shown))
    height = (shown["threshold"] - shown["mean"]) / shown["std"]
    axes.bar(place, height, color=np.where(shown["strict"], ORANGE, BLUE))
    axes.set_xticks(place, [plain(name) for name in shown["marker"]], rotation=90, fontsize=6)
    axes.set_ylabel("threshold (SD)\norange: above the minimum")
    return figure


def enrichment_map(statistics: pd.DataFrame) -> "Figure":
    """Enrichment of the most telling markers in each cluster."""
    return _cluster_map(statistics, "marker", "enrichment", "enrichment (SD)", limit=3.0)


def wilcoxon_map(lookup: pd.DataFrame) -> "Figure":
    """Wilcoxon z of the most telling markers in each cluster."""
    return _cluster_map(lookup, "marker", "wilcoxon_score", "Wilcoxon z")


def score_map(scores: pd.DataFrame) -> "Figure":
    """Score of each cell type in each cluster."""
    return _cluster_map(scores, "path", "score", "score", limit=3.0)


def markers_on_map(evidence: pd.DataFrame) -> "Figure":
    """Share of the markers of each cell type that are on in each cluster."""
    own = evidence[evidence["role"] == "marker"]
    shares = own.groupby(["cluster_id", "path"], sort=False)["on"].mean().reset_index()
    return _cluster_map(shares, "path", "on", "share of markers on", limit=1.0)


def failure_counts(steps: pd.DataFrame) -> "Figure":
    """How often each gate was the first to refuse a cell type."""
    counts = steps["fail_reason"].dropna().value_counts()
    return bars(
        [str(name) for name in counts.index], [float(n) for n in counts], "candidates refused"
    )


def gate_shares(details: pd.DataFrame) -> "Figure":
    """Share of the candidates that each gate lets through."""
    shares = details.groupby("gate", sort=False)["passed"].mean()
    return bars(
        [str(name) for name in shares.index], [float(n) for n in shares], "share that passes"
    )


def near_miss_counts(near_misses: pd.DataFrame) -> "Figure":
    """How often each threshold is the one that nearly decided otherwise."""
    counts = near_misses["threshold"].value_counts()
    return bars([str(name) for name in counts.index], [float(n) for n in counts], "near misses")


def label_counts(annotated: pd.DataFrame) -> "Figure":
    """Cells by label of their cluster."""
    counts = annotated.groupby("assigned_label")["n_cells"].sum().sort_values(ascending=False)
    return bars([str(name) for name in counts.index], [float(n) for n in counts], "cells")


def cell_label_counts(annotations: pd.DataFrame, column: str = "cell_type_auto") -> "Figure":
    """Cells by label."""
    counts = annotations[column].value_counts()
    return bars([str(name) for name in counts.index], [float(n) for n in counts], "cells")


def final_label_counts(annotations: pd.DataFrame) -> "Figure":
    """Cells by their label after all iterations."""
    return cell_label_counts(annotations, "cell_type")


def bars(names: Sequence[str], values: Sequence[float], label: str) -> "Figure":
    """Horizontal bars, the first on top; the tail is one bar when there are many."""
    shown, numbers = list(names[:_MOST_BARS]), list(values[:_MOST_BARS])
    if len(names) > _MOST_BARS:
        shown.append(f"{len(names) - _MOST_BARS} more")
        numbers.append(float(sum(values[_MOST_BARS:])))
    figure, axes = _figure(width=5, height=max(1.4, 0.22 * len(shown) + 0.7))
    axes.barh(np.arange(len(shown)), numbers, color=BLUE)
    axes.set_yticks(np.arange(len(shown)), [plain(name) for name in shown], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return figure


def _cluster_map(
    table: pd.DataFrame, column: str, value: str, label: str, limit: float | None = None
) -> "Figure":
    clusters = list(dict.fromkeys(table["cluster_id"]))
    columns = list(dict.fromkeys(table[column]))
    wide = table.pivot_table(index="cluster_id", columns=column, values=value, dropna=False)
    matrix = wide.loc[clusters, columns].to_numpy(dtype=np.float64)
    matrix, clusters = matrix[:_MOST_ROWS], clusters[:_MOST_ROWS]
    if len(columns) > _MOST_COLUMNS:
        strongest = np.nan_to_num(np.abs(matrix)).max(axis=0)
        telling = np.sort(np.argsort(strongest)[-_MOST_COLUMNS:])
        matrix, columns = matrix[:, telling], [columns[j] for j in telling]
    top = limit or float(np.nan_to_num(np.abs(matrix)).max(initial=1.0))
    height = max(1.8, 0.16 * len(clusters) + 1.2)
    figure, axes = _figure(width=max(3.5, 0.18 * len(columns) + 1.5), height=height)
    drawn = axes.imshow(matrix, aspect="auto", cmap="RdBu_r", vmin=-top, vmax=top)
    axes.set_yticks(np.arange(len(clusters)), [plain(name) for name in clusters], fontsize=6)
    short = [plain(str(name).rpartition(" / ")[2]) for name in columns]
    axes.set_xticks(np.arange(len(columns)), short, rotation=90, fontsize=6)
    axes.set_ylabel("cluster")
    figure.colorbar(drawn, ax=axes, label=label)
    return figure


def _figure(width: float, height: float = 2.6) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()
