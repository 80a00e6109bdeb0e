"""The figures of a run's report that look at its clusters: size, confidence, depth, stop reason."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ctr_engine.keys import UNASSIGNED
from ctr_engine.reporting.drawing import (
    BLUE,
    INK,
    NO_LABEL,
    PALE,
    SMALL,
    SOFT,
    TWO_ROOTS,
    WORDS,
    Style,
    largest,
    percent,
    shown,
    styles,
)
from ctr_engine.reporting.sheet import (
    MARGIN,
    Sheet,
    cluster_note,
    name_rows,
    row_room,
    write,
    written_bars,
)
from ctr_engine.tables import STOP_REASONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLUSTERS = 60
_ROW = 0.185
STOP_STYLES = {
    "leaf_reached": Style("#009E73", marker="o"),
    "no_child_passed": Style("#56B4E9", marker="s"),
    "ambiguous_siblings": Style("#E69F00", marker="D"),
    "ambiguous_root": Style("#D55E00", marker="^"),
    "no_root_passed": Style(NO_LABEL, marker="X"),
}


def cluster_sizes(annotated: pd.DataFrame) -> "Figure":
    """Cells of each cluster, coloured by root, with the label beside the bar.

    Parameters
    ----------
    annotated
        ``cluster_annotations``.
    """
    rows = _largest_clusters(annotated)
    cells = rows.groupby("root_label", sort=False)["n_cells"].sum()
    by_size = sorted(cells.index, key=lambda root: (root == UNASSIGNED, -cells[root]))
    ambiguous = set(rows.loc[rows["is_ambiguous_root"], "root_label"])
    looks = styles(root for root in by_size if root not in ambiguous)
    looks |= dict.fromkeys(ambiguous, TWO_ROOTS)
    key = [(shown(root), looks[root]) for root in by_size if root not in ambiguous]
    key += [("two roots too close", TWO_ROOTS)] if ambiguous else []
    names = [shown(name, 24) for name in rows["cluster_id"]]
    left = 0.22 + row_room([], names)
    sheet = Sheet(
        left + 5.2 + MARGIN,
        _ROW * len(rows) + 0.1,
        title="Cells per cluster",
        note=cluster_note(len(rows), len(annotated), int(annotated["n_cells"].sum())),
        key=key,
    )
    axes = sheet.axes(left, 5.2)
    texts = [
        f"{n:,}  {shown(label)}"
        for n, label in zip(rows["n_cells"], rows["assigned_label"], strict=True)
    ]
    roots = [looks[root] for root in rows["root_label"]]
    written_bars(axes, [float(n) for n in rows["n_cells"]], texts, roots, 5.2)
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylabel("cluster", fontsize=WORDS)
    axes.set_xlabel("cells")
    return sheet.figure


def confidence(annotated: pd.DataFrame) -> "Figure":
    """Confidence of each cluster, the least sure on top; lanes for those without a margin.

    Parameters
    ----------
    annotated
        ``cluster_annotations``. A cluster that met no competition has no place on the axis.
    """
    everything = _by_confidence(annotated)
    rows = everything.head(MOST_CLUSTERS)
    present = [name for name in _LANE_WIDTHS if (rows["lane"] == name).any()]
    names = [shown(label) for label in rows["assigned_label"]]
    clusters = [shown(cluster, 24) for cluster in rows["cluster_id"]]
    head = 0.22 if {*present} - {"margin"} else 0.0
    left = row_room(names, clusters)
    note = cluster_note(len(rows), len(annotated), int(annotated["n_cells"].sum()), "least sure")
    sheet = Sheet(
        left + sum(_LANE_WIDTHS[lane] for lane in present) + MARGIN,
        _ROW * len(rows) + 0.05 + head,
        title="Confidence: the smallest margin to a runner-up on the path",
        note=note,
        key=[
            (_words(reason), STOP_STYLES[reason])
            for reason in STOP_REASONS
            if (rows["stop_reason"] == reason).any()
        ],
        bottom=0.45 if "margin" in present else 0.15,
        shape="point",
    )
    for i, lane in enumerate(present):
        axes = sheet.axes(left, _LANE_WIDTHS[lane] - 0.08, top=head, height=sheet.body - head)
        left += _LANE_WIDTHS[lane]
        _draw_lane(axes, rows, lane)
        if i == 0:
            name_rows(axes, names, clusters)
    return sheet.figure


def depth(annotated: pd.DataFrame) -> "Figure":
    """Cells and clusters by the level of their label; -1 is Unassigned.

    Parameters
    ----------
    annotated
        ``cluster_annotations``.
    """
    levels = range(-1, max(0, int(annotated["assigned_level"].max())) + 1)
    names = {-1: UNASSIGNED, 0: "level 0 (root)"}
    return _two_counts(
        annotated,
        "assigned_level",
        {level: names[level] if level in names else f"level {level}" for level in levels},
        {level: Style(NO_LABEL if level < 0 else BLUE) for level in levels},
        "How deep the labels are",
    )


def stop_reasons(annotated: pd.DataFrame) -> "Figure":
    """Cells and clusters by the reason why the walk ended.

    Parameters
    ----------
    annotated
        ``cluster_annotations``.
    """
    names = {reason: _words(reason) for reason in STOP_REASONS}
    return _two_counts(annotated, "stop_reason", names, STOP_STYLES, "Why the walks ended")


_LANE_WIDTHS = {UNASSIGNED: 0.85, "margin": 3.8, "no competition": 1.1}


def _by_confidence(annotated: pd.DataFrame) -> pd.DataFrame:
    lane = np.select(
        [annotated["assigned_level"] < 0, annotated["margin_is_infinite"]],
        [UNASSIGNED, "no competition"],
        "margin",
    )
    rows = annotated.assign(lane=lane)
    rank = rows["lane"].map({name: i for i, name in enumerate(_LANE_WIDTHS)})
    place = rows["confidence"].where(rows["lane"] == "margin", 0.0)
    return rows.iloc[np.lexsort((place, rank))]


def _draw_lane(axes: Any, rows: pd.DataFrame, lane: str) -> None:
    is_axis = lane == "margin"
    here = rows["lane"].to_numpy() == lane
    values = rows["confidence"].to_numpy(dtype=np.float64)
    top = max([*values[here], 1e-3]) if is_axis else 1.0
    for i in np.flatnonzero(here).tolist():
        style = STOP_STYLES[rows["stop_reason"].iloc[i]]
        place = values[i] if is_axis else 0.5
        if is_axis:
            axes.hlines(i, 0, place, color=style.colour, linewidth=1, alpha=0.6, zorder=1)
            write(axes, f"{place:.2f}", (place, i), (5, 0), color=SOFT)
        look = {"color": style.colour, "markersize": 5, "markeredgewidth": 0}
        axes.plot(place, i, style.marker, clip_on=False, zorder=3, **look)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#E8E8E8", linewidth=0.5)
    axes.set_axisbelow(True)
    if is_axis:
        axes.set_xlim(0, 1.12 * top)
        axes.set_xlabel("margin (score)", fontsize=WORDS)
        return
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.set_facecolor(PALE)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_title(lane, fontsize=SMALL, color=INK, pad=3)


def _two_counts(
    annotated: pd.DataFrame,
    column: str,
    names: Mapping[Any, str],
    looks: Mapping[Any, Style],
    title: str,
) -> "Figure":
    cells = annotated.groupby(column)["n_cells"].sum().reindex(list(names), fill_value=0)
    clusters = annotated[column].value_counts().reindex(list(names), fill_value=0)
    left = row_room([], list(names.values()))
    sheet = Sheet(left + 2 * 2.6 + MARGIN, 0.23 * len(names) + 0.1, title=title)
    for i, (counts, unit) in enumerate([(cells, "cells"), (clusters, "clusters")]):
        axes = sheet.axes(left + 2.6 * i, 2.5)
        values = [float(n) for n in counts]
        texts = [f"{n:,.0f}  ({percent(n / sum(values))})" for n in values]
        written_bars(axes, values, texts, [looks[name] for name in names], 2.5)
        axes.set_yticks(range(len(names)), list(names.values()) if i == 0 else [])
        axes.set_xlabel(unit)
    return sheet.figure


def _largest_clusters(annotated: pd.DataFrame) -> pd.DataFrame:
    return annotated.iloc[largest(list(annotated["n_cells"]), MOST_CLUSTERS)]


def _words(name: str) -> str:
    return name.replace("_", " ")
