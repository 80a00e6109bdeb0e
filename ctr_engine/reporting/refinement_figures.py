"""How refinement moved the scores of the clusters' labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ctr_engine.reporting.drawing import BLUE, ORANGE, SMALL, WORDS, Style
from ctr_engine.reporting.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scores = Sequence[tuple[float | None, int]]
"""Score of each cluster, None without one, and its cells."""
_BINS = 30


def score_distribution(before: Scores, after: Scores, threshold: float) -> "Figure":
    """Cells by the score of their cluster's label, before and after.

    Parameters
    ----------
    before, after
        Score and cells of each cluster; a cluster without a score counts as 0.
    threshold
        Clusters with a smaller score are divided; drawn as a line.
    """
    sides = [
        (
            np.array([0.0 if score is None else score for score, _ in side]),
            np.array([cells for _, cells in side]),
        )
        for side in (before, after)
    ]
    every = np.concatenate([scores for scores, _ in sides])
    low, high = min(every.min(), threshold), max(every.max(), threshold)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    key = [("before", Style(BLUE)), ("after", Style(ORANGE))]
    n = sides[0][1].sum()
    sheet = Sheet(5.4, 2.0, title="Scores of the labels", note=f"{n:,} cells", key=key, bottom=0.5)
    axes = sheet.axes(0.75, 4.4)
    for (scores, cells), colour, filled in zip(sides, (BLUE, ORANGE), (True, False), strict=True):
        counts, _ = np.histogram(scores, bins=edges, weights=cells)
        axes.stairs(counts, edges, fill=filled, color=colour, alpha=0.45 if filled else 1, lw=1.6)
    axes.axvline(threshold, color="#222222", lw=0.8, ls="--")
    axes.set_xlabel("score of the cluster's label; dashed: score_threshold", fontsize=WORDS)
    axes.set_ylabel("cells", fontsize=WORDS)
    axes.tick_params(labelsize=SMALL)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return sheet.figure
