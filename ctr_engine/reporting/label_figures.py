"""The figures of a run's report that look at labels: their part in the roots, and their places."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.errors import CellMismatchError
from ctr_engine.keys import UNASSIGNED
from ctr_engine.reporting.drawing import (
    SMALL,
    SOFT,
    TWO_ROOTS,
    WORDS,
    Style,
    ink_on,
    many,
    percent,
    shown,
    styles,
    text_width,
    tint,
    told_apart,
    widest,
)
from ctr_engine.reporting.scatter import (
    MOST_POINTS,
    Entry,
    box_of,
    draw_points,
    finish,
    name_in_place,
    ticks_of,
)
from ctr_engine.reporting.sheet import MARGIN, Sheet, message, round_number, within
from ctr_engine.tables import natural_key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.float64]
Parts = list[tuple[str, int]]

MOST_LABELS = 60
_WIDTH, _BAR, _LINE, _GAP = 5.6, 0.34, 0.135, 0.14
_LIST = 6.5
_MOST_LINES = 3
_CLOSE = "two roots too close"
_ENTRY = 0.165
_OTHERS = Style("#5F5F5F")


def root_composition(annotated: pd.DataFrame) -> "Figure":
    """Share of cells of each root, its bar divided by the final labels.

    Labels whose part is too narrow for their name stand below the bar, in its order. Clusters
    whose best two roots are too close have one bar together.

    Parameters
    ----------
    annotated
        ``cluster_annotations``.
    """
    n_cells = int(annotated["n_cells"].sum())
    roots = _parts(annotated)
    totals = {root: sum(n for _, n in parts) for root, parts in roots.items()}
    scale = _WIDTH / max(totals.values())
    lists = {root: _listed(root, parts, scale, n_cells) for root, parts in roots.items()}
    heights = [_BAR + _LINE * len(lines) + _GAP for lines in lists.values()]
    names = [shown(root) for root in roots]
    under = [f"{total:,}  ({percent(total / n_cells)})" for total in totals.values()]
    left = MARGIN + widest([*names, *under]) + 0.12
    sheet = Sheet(
        left + _WIDTH + 0.2,
        sum(heights),
        title="Cells by root, divided by label",
        note=f"{many(n_cells, 'cell')}; every percentage is of all cells",
    )
    axes = sheet.axes(left, _WIDTH)
    _percent_axis(axes, max(totals.values()), n_cells, sum(heights))
    looks = {**styles(root for root in roots if root != _CLOSE), _CLOSE: TWO_ROOTS}
    top = 0.03
    for i, (root, parts) in enumerate(roots.items()):
        shades = [
            tint(looks[root].colour, 0.7 * j / max(len(parts) - 1, 3)) for j in range(len(parts))
        ]
        _draw_bar(axes, top, root, parts, shades, scale, n_cells)
        for j, line in enumerate(lists[root]):
            place = (0.02 / scale, top + _BAR + _LINE * (j + 0.6))
            axes.text(*place, line, fontsize=_LIST, color=SOFT, va="center")
        middle = sheet.top + top + _BAR / 2
        sheet.text(left - 0.07, middle - 0.07, names[i], ha="right")
        sheet.text(left - 0.07, middle + 0.07, under[i], _LIST, ha="right", color=SOFT)
        top += heights[i]
    return sheet.figure


def label_map(
    positions: Matrix, labels: Iterable[str], kind: Literal["spatial", "UMAP"]
) -> "Figure":
    """Cells at their places, coloured by label; rarer labels lie above commoner ones.

    Parameters
    ----------
    positions
        Shape ``(n_cells, 2)``. Cells without a finite place are left out and counted in the note.
    labels
        Label per cell, length ``n_cells``.
    kind
        ``spatial`` is drawn to scale with y downwards, as images are; ``UMAP`` has names in it.

    Raises
    ------
    CellMismatchError
        If there are not as many labels as positions.
    """
    labels = pd.Series(list(labels), dtype=object)
    if len(positions) != len(labels):
        msg = f"{len(positions)} positions, but {len(labels)} labels: give one of each per cell."
        raise CellMismatchError(msg)
    title = "Cells in space, by label" if kind == "spatial" else "UMAP of the cells, by label"
    placed = np.flatnonzero(np.isfinite(positions).all(axis=1))
    if not len(placed):
        return message(title, "no cell has a place")
    points = np.asarray(positions, dtype=np.float64)[placed]
    names, entries = _entries(labels.iloc[placed])
    box = box_of(points, kind)
    ticks = ticks_of(box, kind)
    left = MARGIN + 0.2 + (widest(map(round_number, ticks[1])) + 0.08 if ticks[1] else 0.0)
    columns = _columns(entries, max(8, int(box.height / _ENTRY) - 1))
    rows = max(len(column) for column, _ in columns)
    sheet = Sheet(
        left + box.width + 0.2 + sum(width for _, width in columns) + MARGIN,
        max(box.height, _ENTRY * (rows + 0.7)),
        title=title,
        note=_which_cells(len(points), len(positions)),
        bottom=0.45 if kind == "spatial" else 0.28,
    )
    axes = sheet.axes(left, box.width, height=box.height)
    draw_points(axes, points, names, entries, box)
    finish(axes, box, ticks, kind)
    if kind == "UMAP":
        name_in_place(axes, points, names, entries, box)
    _legend(sheet, columns, left + box.width + 0.2)
    return sheet.figure


def _parts(annotated: pd.DataFrame) -> dict[str, Parts]:
    """Labels and cells per root, both the largest first; what has no root comes last."""
    labels = dict(zip(annotated["assigned_path"], annotated["assigned_label"], strict=True))
    names = told_apart(labels)
    root = annotated["root_label"].mask(annotated["is_ambiguous_root"], _CLOSE)
    counts = annotated["n_cells"].groupby([root, annotated["assigned_path"]]).sum()
    totals = counts.groupby(level=0).sum()
    last = {_CLOSE: 1, UNASSIGNED: 2}
    order = sorted(
        totals.index, key=lambda name: (last[name] if name in last else 0, -totals[name])
    )
    sizes = {name: counts[name].sort_values(ascending=False, kind="stable") for name in order}
    return {
        name: [(names[path], int(n)) for path, n in found.items()] for name, found in sizes.items()
    }


def _is_written(root: str, name: str, n: int, scale: float) -> bool:
    return name != root and text_width(shown(name), SMALL) + 0.08 <= n * scale


def _listed(root: str, parts: Parts, scale: float, n_cells: int) -> list[str]:
    """Lines with the labels that have no room in the bar."""
    small = [
        f"{shown(name)} {percent(n / n_cells)}"
        for name, n in parts
        if name != root and not _is_written(root, name, n, scale)
    ]
    lines: list[str] = []
    room = 0.0
    for i, text in enumerate(small):
        needed = text_width(text, _LIST) + 0.12
        room -= needed
        if room > 0:
            lines[-1] += f"   {text}"
        elif len(lines) == _MOST_LINES:
            lines[-1] += f"   and {len(small) - i} more"
            break
        else:
            lines.append(text)
            room = _WIDTH - 0.7 - needed
    return lines


def _draw_bar(
    axes: Any, top: float, root: str, parts: Parts, shades: list[Any], scale: float, n_cells: int
) -> None:
    start = 0
    for (name, n), shade in zip(parts, shades, strict=True):
        edge = {"edgecolor": "white", "linewidth": 0.8} if n * scale > 0.04 else {}
        axes.barh(top + _BAR / 2, n, left=start, height=_BAR, color=[shade], **edge)
        if _is_written(root, name, n, scale):
            look = {"color": ink_on(shade), "ha": "center", "va": "center"}
            axes.text(start + n / 2, top + 0.11, shown(name), fontsize=SMALL, **look)
            axes.text(start + n / 2, top + 0.24, percent(n / n_cells), fontsize=_LIST, **look)
        start += n


def _percent_axis(axes: Any, longest: int, n_cells: int, height: float) -> None:
    top = 100 * longest / n_cells
    ticks = within(0, top, 6)
    axes.set_xlim(0, longest)
    axes.set_ylim(height, 0)
    axes.set_autoscale_on(False)
    axes.set_xticks([tick * n_cells / 100 for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set_yticks([])
    axes.set_xlabel("share of all cells (%)", fontsize=WORDS)
    axes.spines["left"].set_visible(False)


def _entries(labels: pd.Series) -> tuple[npt.NDArray[Any], list[Entry]]:
    """Name per cell and the entries of the legend; the rarest labels have one if too many."""
    counts = labels.value_counts()
    ranked = sorted(
        counts.index, key=lambda name: (name == UNASSIGNED, -counts[name], natural_key(name))
    )
    known = [name for name in ranked if name != UNASSIGNED]
    rest = known[MOST_LABELS - 2 :] if len(ranked) > MOST_LABELS else []
    looks = styles(name for name in known if name not in rest)
    name = f"{len(rest)} other labels"
    entries = [Entry(name, int(counts[name]), looks[name]) for name in ranked if name not in rest]
    if rest:
        place = len(entries) - (UNASSIGNED in ranked)
        entries.insert(place, Entry(name, int(counts[rest].sum()), _OTHERS))
    return labels.where(~labels.isin(rest), name).to_numpy(), entries


def _which_cells(n_placed: int, n: int) -> str:
    text = many(n_placed, "cell")
    if n_placed > MOST_POINTS:
        text = f"{MOST_POINTS:,} of {n_placed:,} cells, drawn at random"
    return text if n_placed == n else f"{text}; {n - n_placed:,} without a place"


def _columns(entries: Sequence[Entry], most: int) -> list[tuple[list[Entry], float]]:
    """Entries of each column of the legend, and its width in inches."""
    columns = []
    for start in range(0, len(entries), most):
        part = list(entries[start : start + most])
        names, counts = [shown(entry.name) for entry in part], [f"{entry.n:,}" for entry in part]
        columns.append((part, 0.16 + widest(names) + 0.12 + max(widest(counts), 0.25) + 0.2))
    return columns


def _legend(sheet: Sheet, columns: Sequence[tuple[Sequence[Entry], float]], left: float) -> None:
    for entries, width in columns:
        right = left + width - 0.2
        sheet.text(right, sheet.top + 0.06, "cells", ha="right", color=SOFT)
        for i, entry in enumerate(entries, 1):
            top = sheet.top + 0.06 + _ENTRY * i
            sheet.sign(left + 0.05, top, entry.style, "point")
            sheet.text(left + 0.16, top, shown(entry.name))
            sheet.text(right, top, f"{entry.n:,}", ha="right")
        left += width
