"""The sheet that a figure of a report is laid out on, measured in inches.

Figures are made without pyplot, so that nothing global is touched. A sheet grows with what it
shows: names of any length fit, and a row takes the same room whatever the number of rows.
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ctr_engine.reporting.drawing import (
    INK,
    SMALL,
    SOFT,
    TITLE,
    WORDS,
    Style,
    many,
    text_width,
    widest,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.float64]

MARGIN = 0.12
AXES_BY_ROW = ("axes fraction", "data")
_LINE = 0.16
Key = Sequence[tuple[str, Style]]


class Sheet:
    """A figure laid out in inches: title, note and key on top, the body below.

    Parameters
    ----------
    width, body
        Width of the figure, and height of its body, in inches. The sheet is made wider when its
        title needs it.
    title, note, key
        What stands above the body. Names of the key are ready to be drawn.
    bottom
        Room below the body, in inches.
    shape
        Whether the key shows boxes or points.
    """

    def __init__(
        self,
        width: float,
        body: float,
        *,
        title: str,
        note: str = "",
        key: Key = (),
        bottom: float = 0.45,
        shape: Literal["box", "point"] = "box",
    ) -> None:
        from matplotlib.figure import Figure

        self.width = max(width, text_width(title, TITLE, bold=True) + 2 * MARGIN)
        notes = _wrapped(note, self.width - 2 * MARGIN)
        rows = _key_rows(key, self.width - 2 * MARGIN)
        self.top = 0.38 + _LINE * (len(notes) + len(rows)) + (0.04 if notes or rows else 0)
        self.body = body
        self.height = self.top + body + bottom
        self.figure: Figure = Figure(figsize=(self.width, self.height))
        self.text(MARGIN, 0.19, title, TITLE, weight="bold")
        for i, line in enumerate(notes):
            self.text(MARGIN, 0.38 + _LINE * i, line, WORDS, color=SOFT)
        for i, row in enumerate(rows, len(notes)):
            for left, name, style in row:
                self.sign(left + 0.05, 0.40 + _LINE * i, style, shape)
                self.text(left + 0.16, 0.40 + _LINE * i, name, SMALL)

    def axes(self, left: float, width: float, top: float = 0.0, height: float | None = None) -> Any:
        """Add axes; ``top`` counts from the top of the body downwards."""
        tall = self.body if height is None else height
        lower = self.height - self.top - top - tall
        place = (
            left / self.width,
            lower / self.height,
            width / self.width,
            tall / self.height,
        )
        axes = self.figure.add_axes(place)
        axes.tick_params(labelsize=SMALL, length=2.5, width=0.6, color=SOFT, labelcolor=INK)
        for side, spine in axes.spines.items():
            spine.set_linewidth(0.6)
            spine.set_color(SOFT)
            spine.set_visible(side in ("left", "bottom"))
        return axes

    def text(self, left: float, top: float, text: str, size: float = SMALL, **options: Any) -> None:
        """Write at a place counted from the upper left corner of the sheet."""
        looks = {"color": INK, "va": "center", **options}
        self.figure.text(left / self.width, 1 - top / self.height, text, fontsize=size, **looks)

    def sign(
        self, left: float, top: float, style: Style, shape: Literal["box", "point"] = "box"
    ) -> None:
        """Draw the look of a category, centred at a place counted from the upper left corner."""
        from matplotlib.lines import Line2D
        from matplotlib.patches import Rectangle

        inches = self.figure.dpi_scale_trans
        up = self.height - top
        if shape == "point":
            look: dict[str, Any] = {"marker": style.marker, "color": style.colour}
            self.figure.add_artist(
                Line2D([left], [up], markersize=5, markeredgewidth=0, transform=inches, **look)
            )
            return
        box = Rectangle((left - 0.05, up - 0.045), 0.11, 0.09, transform=inches)
        fill(box, style)
        self.figure.add_artist(box)

    def colour_bar(self, drawn: Any, label: str, left: float, **options: Any) -> Any:
        """Add a horizontal colour bar at the foot of the sheet."""
        axes = self.figure.add_axes(
            (left / self.width, 0.37 / self.height, 1.5 / self.width, 0.085 / self.height)
        )
        bar = self.figure.colorbar(drawn, cax=axes, orientation="horizontal", **options)
        bar.outline.set_linewidth(0.4)
        axes.tick_params(labelsize=SMALL, length=2, width=0.5, pad=1.5)
        axes.set_xlabel(label, fontsize=SMALL, labelpad=1.5, loc="left")
        return axes


def fill(patch: Any, style: Style) -> None:
    """Give a bar or box the look of a category."""
    patch.set_facecolor(style.colour)
    patch.set_linewidth(0)
    if style.hatch:
        patch.set_hatch(style.hatch)
        patch.set_edgecolor("white")


def row_room(names: Sequence[str], ends: Sequence[str] = ("",)) -> float:
    """Room that two columns of texts need to the left of the axes, in inches."""
    gap = 0.1 if any(names) else 0.0
    return MARGIN + widest(names) + gap + widest(ends) + 0.08


def name_rows(axes: Any, names: Sequence[str], ends: Sequence[str]) -> None:
    """Write two columns of texts to the left of the axes; ``ends`` are the tick labels."""
    axes.set_yticks(range(len(ends)), ends)
    axes.tick_params(axis="y", length=0)
    away = -72 * (widest(ends) + 0.14)
    for i, name in enumerate(names):
        write(axes, name, (0, i), (away, 0), xycoords=AXES_BY_ROW, ha="right")


def write(
    axes: Any, text: str, place: tuple[float, float], away: tuple[float, float], **options: Any
) -> None:
    """Write a text ``away`` points from a place of the axes, also outside them."""
    looks = {
        "xycoords": "data",
        "textcoords": "offset points",
        "va": "center_baseline",
        "fontsize": SMALL,
        "color": INK,
        "annotation_clip": False,
        **options,
    }
    axes.annotate(text, place, away, **looks)


def frame(
    axes: Any, column: float, row: float, width: float, colour: str, thickness: float
) -> None:
    """Draw a frame around ``width`` squares of a row, the first at ``column``."""
    from matplotlib.patches import Rectangle

    box = Rectangle((column - 0.5, row - 0.5), width, 1, fill=False, clip_on=False, zorder=3)
    box.set(edgecolor=colour, linewidth=thickness)
    axes.add_patch(box)


def written_bars(
    axes: Any, values: Sequence[float], texts: Sequence[str], looks: Sequence[Style], width: float
) -> None:
    """Draw horizontal bars from the top down, with a text behind each, all within the axes.

    Parameters
    ----------
    axes
        Axes of a sheet.
    values, texts, looks
        Length, text behind the bar and look, per bar.
    width
        Width of the axes in inches.
    """
    longest = max([*values, 1.0])
    room = min(
        (width - 0.08 - text_width(text)) / (value / longest)
        for value, text in zip([*values, longest], [*texts, ""], strict=True)
        if value > 0
    )
    drawn = axes.barh(range(len(values)), values, height=0.72)
    for bar, style in zip(drawn, looks, strict=True):
        fill(bar, style)
    for i, (value, text) in enumerate(zip(values, texts, strict=True)):
        write(axes, text, (value, i), (3, 0))
    axes.set_xlim(0, longest * width / room)
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.set_xticks(within(0, longest, max(2, int(room / 0.5)), integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines["bottom"].set_bounds(0, longest)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.label.set_fontsize(WORDS)


def heat_map(axes: Any, matrix: Matrix, colours: str, top: float) -> Any:
    """Draw values from 0 to ``top`` as an image; what is not a number is hatched."""
    axes.patch.set(facecolor="white", hatch="//////", edgecolor="#C4C4C4", linewidth=0)
    values = np.ma.masked_invalid(matrix)
    drawn = axes.imshow(values, aspect="auto", cmap=colours, vmin=0, vmax=top)
    axes.set_xticks(np.arange(-0.5, matrix.shape[1]), minor=True)
    axes.set_yticks(np.arange(-0.5, matrix.shape[0]), minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return drawn


def within(low: float, high: float, most: int, *, integer: bool = False) -> list[float]:
    """Round numbers for an axis, none of them outside its limits."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=most, integer=integer).tick_values(low, high)
    return [float(tick) + 0.0 for tick in ticks if low <= tick <= high]


def round_number(value: float) -> str:
    """Write a number of an axis, with a minus as matplotlib writes it."""
    return f"{value:g}".replace("-", "−")


def message(title: str, text: str) -> "Figure":
    """Make a figure that says why there is nothing to draw."""
    sheet = Sheet(4.5, 0.5, title=title, bottom=0.1)
    sheet.text(MARGIN, sheet.top + 0.2, text, WORDS, color=SOFT)
    return sheet.figure


def cluster_note(n_shown: int, n: int, n_cells: int, which: str = "largest") -> str:
    """Say how many clusters and cells there are, and which clusters are shown."""
    if n_shown < n:
        return f"the {n_shown} {which} of {n} clusters; {many(n_cells, 'cell')} in all"
    return f"{many(n, 'cluster')}, {many(n_cells, 'cell')}"


def _wrapped(text: str, width: float) -> list[str]:
    letters = max(20, int(width / (WORDS * 0.56 / 72)))
    return textwrap.wrap(text, letters)


def _key_rows(key: Key, width: float) -> list[list[tuple[float, str, Style]]]:
    rows: list[list[tuple[float, str, Style]]] = []
    left = width
    for name, style in key:
        needed = 0.16 + text_width(name) + 0.18
        if not rows or left + needed - 0.18 > width + MARGIN:
            rows.append([])
            left = MARGIN
        rows[-1].append((left, name, style))
        left += needed
    return rows
