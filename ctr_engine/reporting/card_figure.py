"""The small figure of a cluster's card: the markers of its cell type."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ctr_engine.reporting.drawing import (
    BLUE,
    INK,
    ORANGE,
    SOFT,
    WORDS,
    Style,
    percent,
    shown,
    tint,
)
from ctr_engine.reporting.sheet import AXES_BY_ROW, MARGIN, Sheet, message, row_room, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_MARKERS = 20
_WIDTH = 5.0


def marker_bars(rows: Sequence[Mapping[str, Any]], title: str) -> "Figure":
    """Enrichment of the markers and anti-markers of one cell type in one cluster.

    Parameters
    ----------
    rows
        ``marker``, ``role`` (``marker`` or ``anti_marker``), ``enrichment`` in SD units,
        ``positive_fraction`` (0 to 1) and ``on``, one mapping per marker, in the order to draw.
        What is not on is pale.
    title
        Such as the cluster and its label.
    """
    if not rows:
        return message(shown(title, 70), "no marker is on the panel")
    kept = rows[:MOST_MARKERS]
    names = [shown(str(row["marker"]), 24) for row in kept]
    left = row_room([], names)
    width = max(_WIDTH - left - 0.75, 2.0)
    sheet = Sheet(
        left + width + 0.75,
        0.185 * len(kept) + 0.26,
        title=shown(title, 60),
        note="" if len(kept) == len(rows) else f"the first {len(kept)} of {len(rows)} markers",
        key=_key(kept),
        bottom=0.43,
    )
    axes = sheet.axes(left, width, top=0.2, height=sheet.body - 0.22)
    _draw_bars(axes, kept)
    axes.set_yticks(range(len(kept)), names)
    for i, row in enumerate(kept):
        text, look = percent(float(row["positive_fraction"])), {"color": INK if row["on"] else SOFT}
        write(axes, text, (1, i), (0.68 * 72, 0), xycoords=AXES_BY_ROW, ha="right", **look)
    sheet.text(sheet.width - MARGIN + 0.05, sheet.top + 0.1, "positive", ha="right", color=SOFT)
    return sheet.figure


def _key(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Style]]:
    roles = {str(row["role"]) for row in rows}
    key = [("marker", Style(BLUE))] if "marker" in roles else []
    if "anti_marker" in roles:
        key.append(("anti-marker", Style(ORANGE, "////")))
    if not all(row["on"] for row in rows):
        key.append(("pale: not on", Style("#D0D0D0")))
    return key


def _draw_bars(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    for i, row in enumerate(rows):
        anti = row["role"] == "anti_marker"
        colour = ORANGE if anti else BLUE
        face = colour if row["on"] else tint(colour, 0.65)
        look = {"hatch": "////", "edgecolor": "white"} if anti else {}
        axes.barh(i, float(row["enrichment"]), height=0.7, color=[face], linewidth=0, **look)
    axes.axvline(0, color=INK, linewidth=0.8, zorder=3)
    values = [0.0, *(float(row["enrichment"]) for row in rows)]
    span = max(max(values) - min(values), 0.5)
    axes.set_xlim(
        min(values) - (0.04 * span if min(values) < 0 else 0), max(*values, 0.1) + 0.04 * span
    )
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#E8E8E8", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("enrichment (SD)", fontsize=WORDS)
