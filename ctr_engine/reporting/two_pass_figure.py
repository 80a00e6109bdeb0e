"""How a two-pass refinement went: clusters and gap, iteration by iteration."""

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE = (5.0, 2.6)
_CLUSTERS, _GAP = "#1b6ca8", "#b4521a"


def two_pass_history(history: pd.DataFrame) -> "Figure":
    """Draw the number of clusters and the mean gap of each iteration, and which was kept."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    other = axes.twinx()
    labels = [
        "pass 1" if stage == "pass_1" else "given" if stage == "given" else str(number)
        for stage, number in zip(history["stage"], _rounds(history), strict=True)
    ]
    x = range(len(history))
    axes.plot(x, history["n_after"], "o-", color=_CLUSTERS)
    other.plot(x, history["gap"], "s--", color=_GAP)
    for at in history.index[history["kept"]]:
        axes.axvline(at, color="#999999", linewidth=6, alpha=0.3, zorder=0)
    axes.set_xticks(list(x), labels)
    axes.set_xlabel("iteration of pass 2 (grey: kept)")
    axes.set_ylabel("clusters", color=_CLUSTERS)
    other.set_ylabel("mean gap", color=_GAP)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _rounds(history: pd.DataFrame) -> list[int]:
    """Number of each iteration within pass 2."""
    return [int(n) for n in (history["stage"] == "pass_2").cumsum()]
