"""One figure: exact labels by method and set, and support against what is right."""

from pathlib import Path

import numpy as np
import pandas as pd

from ctr_engine.evaluation import reliability


def draw(labels: pd.DataFrame, supports: pd.DataFrame, path: Path) -> None:
    """Draw the shares of right cells, and the reliability of support."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    whole = labels["stage"] == "clusters"
    shown = labels[whole | ~labels["method"].str.contains("Stage H")]
    names = shown["method"] + np.where(shown["stage"] == "cells", ", cells", "")
    table = shown.assign(name=names).pivot_table(
        index="name", columns="set", values="exact", sort=False
    )
    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    places = np.arange(len(table))
    height = 0.8 / len(table.columns)
    for i, name in enumerate(table.columns):
        middle = places + (i - (len(table.columns) - 1) / 2) * height
        left.barh(middle, table[name], height, label=name)
    left.scatter(table.mean(axis=1), places, color="black", marker="|", s=300, zorder=3)
    left.set(xlim=(0, 1), xlabel="share of cells with exactly the right label (| mean)")
    left.set_yticks(places, table.index)
    left.invert_yaxis()
    left.legend(fontsize=7, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    right.plot([0, 1], [0, 1], color="0.7", lw=1)
    refined = supports[supports["step"] == "refined"]
    for profile, rows in refined.groupby("profile", sort=False):
        bins = reliability(rows["support"].to_numpy(), rows["share_right"].to_numpy())
        expected, seen, weight = zip(*bins, strict=True)
        right.scatter(expected, seen, s=[500 * one for one in weight], label=profile, alpha=0.7)
    right.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="support (refined clusters)", ylabel="share of right cells"
    )
    for mark in right.legend().legend_handles:
        mark.set_sizes([30])
    figure.savefig(path, dpi=120)
