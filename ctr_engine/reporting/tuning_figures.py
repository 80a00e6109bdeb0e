"""The figures of a tuning: what other values of the parameters would change."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.reporting.drawing import (
    INK,
    SMALL,
    WORDS,
    ink_on,
    largest,
    many,
    shown,
    text_width,
    widest,
)
from ctr_engine.reporting.sheet import MARGIN, Sheet, frame, heat_map, message, row_room, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.float64]

MOST_CLUSTERS = 60
_ROW, _PITCH, _NARROW, _GAP = 0.18, 0.33, 0.2, 0.1
_MOST_WRITTEN = 40
_USED = ("#D55E00", 1.6)


def share_kept(table: pd.DataFrame, title: str = "Share that stays as it is") -> "Figure":
    """Share of each cluster that stays as it is, per value of each parameter.

    Parameters
    ----------
    table
        Columns ``cluster_id``, ``parameter``, ``value`` and ``share`` (0 to 1), one row per
        cluster, parameter and value; drawn in the order in which they stand. A pair that was not
        tried is hatched.
    title
        What stands above it.
    """
    if table.empty:
        return message(title, "no value was tried")
    rows = table.groupby("cluster_id", sort=False)["share"].min()
    kept = [str(rows.index[i]) for i in largest(list(-rows.fillna(1.0)), MOST_CLUSTERS)]
    groups = {str(name): _wide(part, kept) for name, part in table.groupby("parameter", sort=False)}
    n_columns = sum(part.shape[1] for part in groups.values())
    pitch = _PITCH if n_columns <= _MOST_WRITTEN else _NARROW
    widths = [
        max(pitch * part.shape[1], text_width(shown(name, 28), WORDS) + 0.06)
        for name, part in groups.items()
    ]
    names = [shown(name, 24) for name in kept]
    below = widest(text for part in groups.values() for text in part.columns)
    left, tilted = 0.22 + row_room([], names), below > pitch - 0.04
    below = (below if tilted else 0.12) + 0.1
    sheet = Sheet(
        left + max(sum(widths) + _GAP * (len(groups) - 1), 2.0) + MARGIN,
        _ROW * len(kept),
        title=shown(title, 60),
        note=_which_clusters(len(kept), len(rows)),
        bottom=below + 0.85,
    )
    start = left
    for (name, part), width in zip(groups.items(), widths, strict=True):
        axes = sheet.axes(start, width)
        drawn = heat_map(axes, part.to_numpy(dtype=np.float64), "cividis", 1.0)
        if pitch == _PITCH:
            _write(axes, drawn, 100)
        ticks = list(part.columns)
        axes.set_xticks(range(len(ticks)), ticks, rotation=90 if tilted else 0)
        _name_below(axes, shown(name, 28), below)
        if start == left:
            axes.set_yticks(range(len(names)), names)
            axes.set_ylabel("cluster", fontsize=WORDS)
        start += width + _GAP
    sheet.colour_bar(drawn, "share kept" + (" (numbers: %)" if pitch == _PITCH else ""), left)
    return sheet.figure


def changed_grid(
    table: pd.DataFrame,
    x_name: str,
    y_name: str,
    n_clusters: int,
    used: tuple[float, float] | None = None,
) -> "Figure":
    """Number of clusters that change, by the values of two parameters.

    Parameters
    ----------
    table
        Columns ``x``, ``y`` (values of the two parameters) and ``n_changed``, one row per pair. A
        pair that was not tried is hatched.
    x_name, y_name
        Names of the parameters.
    n_clusters
        Clusters in all; the upper end of the colours.
    used
        The pair of values of the run itself, which gets a frame.
    """
    title = "Clusters that change"
    if table.empty:
        return message(title, "no pair of values was tried")
    wide = table.pivot_table(index="y", columns="x", values="n_changed", dropna=False)
    wide = wide.sort_index(ascending=False).sort_index(axis=1)
    names = (shown(x_name), shown(y_name))
    is_used = used is not None and used[0] in wide.columns and used[1] in wide.index
    note = f"of {n_clusters:,}" + ("; framed: the values of this run" if is_used else "")
    axes = _draw_grid(wide, names, title, note, max(n_clusters, 1))
    if used is not None and is_used:
        column, row = wide.columns == used[0], wide.index == used[1]
        frame(axes, int(column.argmax()), int(row.argmax()), 1, *_USED)
    return cast("Figure", axes.figure)


def _draw_grid(
    wide: pd.DataFrame, names: tuple[str, str], title: str, note: str, top: float
) -> Any:
    rows = [_value(value) for value in wide.index]
    columns = [_value(value) for value in wide.columns]
    below = widest(columns)
    tilted = below > _PITCH + 0.03
    left, pitch = 0.22 + row_room([], rows), _PITCH + 0.07
    width = max(pitch * len(columns), text_width(names[0], WORDS) - 0.2)
    sheet = Sheet(
        left + max(width, 2.0) + MARGIN,
        max(0.26 * len(rows), text_width(names[1], WORDS) - 0.1),
        title=title,
        note=note,
        bottom=(below if tilted else 0.12) + 0.88,
    )
    axes = sheet.axes(left, width)
    drawn = heat_map(axes, wide.to_numpy(dtype=np.float64), "cividis_r", top)
    _write(axes, drawn, 1)
    axes.set_xticks(range(len(columns)), columns, rotation=90 if tilted else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(names[0], fontsize=WORDS, labelpad=2)
    axes.set_ylabel(names[1], fontsize=WORDS)
    sheet.colour_bar(drawn, "clusters that change", left)
    return axes


def _wide(table: pd.DataFrame, clusters: list[str]) -> pd.DataFrame:
    """Shares of one parameter, clusters by values, which are text."""
    texts = [_value(value) for value in table["value"]]
    wide = table.assign(value=texts).pivot_table(
        index="cluster_id", columns="value", values="share", dropna=False
    )
    return wide.reindex(index=clusters, columns=list(dict.fromkeys(texts)))


def _value(value: Any) -> str:
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return f"{value:g}" if is_number else shown(str(value), 16)


def _which_clusters(n_shown: int, n: int) -> str:
    if n_shown < n:
        return f"the {n_shown} least stable of {n} clusters"
    return many(n, "cluster")


def _write(axes: Any, drawn: Any, times: int) -> None:
    """Write the numbers into a heat map, ``times`` as large."""
    matrix = drawn.get_array()
    for row, column in np.argwhere(~np.ma.getmaskarray(matrix)):
        value = matrix[row, column]
        axes.text(
            column, row, f"{times * value:.0f}", fontsize=SMALL - 0.5, ha="center",
            va="center_baseline", color=ink_on(drawn.to_rgba(value)[:3]),
        )  # fmt: skip


def _name_below(axes: Any, name: str, below: float) -> None:
    """Write the name of a parameter under its values, and a line over it."""
    from matplotlib.transforms import ScaledTranslation

    look = {"ha": "center", "va": "top", "fontsize": WORDS, "xycoords": "axes fraction"}
    write(axes, name, (0.5, 0), (0, -72 * below - 5), **look)
    down = axes.transAxes + ScaledTranslation(0, -below, axes.figure.dpi_scale_trans)
    axes.plot([0.02, 0.98], [0, 0], color=INK, linewidth=0.6, clip_on=False, transform=down)
