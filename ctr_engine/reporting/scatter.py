"""A map of cells: its limits, its points, and names in their midst."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ctr_engine.keys import UNASSIGNED
from ctr_engine.reporting.drawing import INK, WORDS, Style, shown, text_width, widest
from ctr_engine.reporting.sheet import round_number, within

Matrix = npt.NDArray[np.float64]

MOST_POINTS = 200_000
_SIDE, _LONGEST, _SHORTEST = 4.4, 6.5, 0.8
_NAMED_SHARE, _SMALL_SHARE = 0.005, 0.02


class Entry(NamedTuple):
    """One label of a map: its name, its cells, its look."""

    name: str
    n: int
    style: Style


class Box(NamedTuple):
    """Limits of the map in its own units, and its size in inches."""

    low: Matrix
    high: Matrix
    width: float
    height: float


def box_of(points: Matrix, kind: str) -> Box:
    """Limits around the points, and a size of their shape; square for a UMAP."""
    low, high = points.min(axis=0), points.max(axis=0)
    pad = np.where(high > low, 0.02 * (high - low), 1.0)
    low, high = low - pad, high + pad
    if kind == "UMAP":
        return Box(low, high, _SIDE, _SIDE)
    ratio = float((high[0] - low[0]) / (high[1] - low[1]))
    wide, tall = _SIDE * ratio**0.5, _SIDE / ratio**0.5
    smaller = min(1.0, _LONGEST / max(wide, tall))
    return Box(low, high, max(smaller * wide, _SHORTEST), max(smaller * tall, _SHORTEST))


def ticks_of(box: Box, kind: str) -> tuple[list[float], list[float]]:
    """Round numbers of x and y that have room beside one another; none for a UMAP."""
    if kind == "UMAP":
        return [], []
    x, y = ([within(box.low[i], box.high[i], most) for most in (6, 4, 2, 1)] for i in range(2))
    scale = min(np.array([box.width, box.height]) / (box.high - box.low))
    return (
        next((t for t in x if _step(t) * scale > 0.12 + widest(map(round_number, t))), x[-1][:1]),
        next((t for t in y if _step(t) * scale > 0.2), y[-1][:1]),
    )


def _step(ticks: Sequence[float]) -> float:
    return ticks[1] - ticks[0] if len(ticks) > 1 else float("inf")


def draw_points(
    axes: Any, points: Matrix, names: npt.NDArray[Any], entries: Sequence[Entry], box: Box
) -> None:
    """Draw the points, the rarer labels over the commoner ones and all over Unassigned."""
    if len(points) > MOST_POINTS:
        drawn = np.random.default_rng(0).choice(len(points), MOST_POINTS, replace=False)
        points, names = points[drawn], names[drawn]
    area = 72 * 72 * box.width * box.height
    size = float(np.clip(0.4 * area / len(points), 0.5, 25))
    upwards = sorted(entries, key=lambda entry: (entry.name != UNASSIGNED, -entry.n))
    for height, entry in enumerate(upwards):
        here = points[names == entry.name]
        axes.scatter(
            here[:, 0],
            here[:, 1],
            s=size,
            color=entry.style.colour,
            marker=entry.style.marker,
            linewidths=0,
            rasterized=True,
            zorder=2 + height / len(upwards),
            label=entry.name,
        )


def finish(axes: Any, box: Box, ticks: Sequence[Sequence[float]], kind: str) -> None:
    """Set limits, ticks and names of the axes."""
    axes.set_xlim(box.low[0], box.high[0])
    axes.set_ylim(box.low[1], box.high[1])
    axes.set_xticks(ticks[0], [round_number(tick) for tick in ticks[0]])
    axes.set_yticks(ticks[1], [round_number(tick) for tick in ticks[1]])
    if kind == "spatial":
        axes.invert_yaxis()
        axes.set_aspect("equal", anchor="NW")
    axes.spines[:].set_visible(True)
    x, y = ("x", "y") if kind == "spatial" else ("UMAP 1", "UMAP 2")
    axes.set_xlabel(x, fontsize=WORDS, labelpad=3)
    axes.set_ylabel(y, fontsize=WORDS, labelpad=3)


def name_in_place(
    axes: Any, points: Matrix, names: npt.NDArray[Any], entries: Sequence[Entry], box: Box
) -> None:
    """Write the names of the commoner labels where their cells are densest, none over another."""
    from matplotlib.patheffects import withStroke

    inches = np.array([box.width, box.height]) / (box.high - box.low)
    taken: list[tuple[float, float, float]] = []
    for entry in entries:
        if entry.name == UNASSIGNED or entry.n < _NAMED_SHARE * len(points):
            continue
        text = shown(entry.name, 24)
        half = text_width(text, WORDS, bold=True) / 2
        x, y = _densest((points[names == entry.name] - box.low) * inches)
        if entry.n < _SMALL_SHARE * len(points):
            y = min(y + 0.13, box.height - 0.08)  # above the few points, not over them
        x = float(np.clip(x, half + 0.03, max(box.width - half - 0.03, half + 0.03)))
        if any(abs(x - other) < half + room and abs(y - up) < 0.14 for other, up, room in taken):
            continue
        taken.append((x, y, half))
        place = box.low + np.array([x, y]) / inches
        halo = [withStroke(linewidth=2, foreground="white")]
        look = {"fontsize": WORDS, "weight": "bold", "color": INK, "path_effects": halo}
        axes.text(*place, text, ha="center", va="center", zorder=4, **look)


def _densest(places: Matrix) -> Matrix:
    """Mean of the points in the fullest square of a quarter of an inch."""
    squares, member = np.unique(np.floor(4 * places), axis=0, return_inverse=True)
    fullest = np.bincount(member.ravel(), minlength=len(squares)).argmax()
    return np.asarray(places[member.ravel() == fullest].mean(axis=0))
