"""Which runs found which cluster of a consensus."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ctr_engine.reporting.drawing import INK, SMALL, TITLE, WORDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CLUSTERS, _MOST_RUNS = 40, 30
_DARK = 0.6


def runs_that_found(jaccard: npt.NDArray[np.float64], sizes: list[int]) -> "Figure":
    """Draw the overlap of each cluster with the best cluster of each run.

    Parameters
    ----------
    jaccard
        Shape ``(n_clusters, n_runs)``, 0 to 1; clusters in the order of their numbers.
    sizes
        Cells of each cluster.
    """
    from matplotlib.figure import Figure

    shown = jaccard[:_MOST_CLUSTERS, :_MOST_RUNS]
    n_clusters, n_runs = shown.shape
    size = (2.2 + 0.3 * n_runs, 1.4 + 0.2 * n_clusters)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(shown):
        colour = "white" if value > _DARK else INK
        axes.text(
            column, row, f"{value * 100:.0f}", ha="center", va="center", size=SMALL, color=colour
        )
    names = [f"{number}  ({n:,})" for number, n in enumerate(sizes[:n_clusters])]
    axes.set_yticks(range(n_clusters), names, fontsize=WORDS)
    axes.set_xticks(range(n_runs), [str(run + 1) for run in range(n_runs)], fontsize=WORDS)
    axes.set_xlabel("run", fontsize=WORDS)
    axes.set_ylabel("cluster (cells)", fontsize=WORDS)
    axes.set_title(_title(jaccard, shown), fontsize=TITLE)
    bar = figure.colorbar(image, ax=axes, ticks=(0, 0.5, 1))
    bar.ax.tick_params(labelsize=WORDS)
    return figure


def _title(jaccard: npt.NDArray[np.float64], shown: npt.NDArray[np.float64]) -> str:
    text = "Cells in common with\nthe best cluster of each run, %"
    if shown.shape != jaccard.shape:
        rows, columns = jaccard.shape
        text += f"\n(of {rows} clusters and {columns} runs, the first)"
    return text
