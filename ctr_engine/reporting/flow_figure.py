"""Where the labels of one run went in another: an alluvial diagram."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ctr_engine.keys import UNASSIGNED
from ctr_engine.reporting.drawing import (
    INK,
    SMALL,
    SOFT,
    WORDS,
    Style,
    percent,
    shown,
    styles,
    widest,
)
from ctr_engine.reporting.sheet import MARGIN, Sheet, message

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LABELS = 25
_NODE, _RIBBON, _LINE, _GAP, _MOST_GAP = 0.12, 3.0, 0.155, 0.05, 0.3
_SAME, _REST, _NONE = "#DADADA", "#4D4D4D", "#8C8C8C"
_TITLE = "Where the labels of the cells went"


@dataclass(frozen=True)
class _Ribbon:
    start: str
    end: str
    changed: bool
    n: int


@dataclass(frozen=True)
class _Side:
    """One column of labels: cells, upper edge and place of the text per label, in inches."""

    cells: dict[str, int]
    tops: dict[str, float]
    words: dict[str, float]


def flow(flows: pd.DataFrame, names: tuple[str, str] = ("before", "after")) -> "Figure":
    """Ribbons from the labels of one run to those of another; their width is cells.

    Cells that keep their label are grey, the others have the colour of the label that they leave.
    Beyond 25 labels on a side the smallest are drawn as one.

    Parameters
    ----------
    flows
        Columns ``from_label``, ``to_label`` and ``n_cells``, one row per pair.
    names
        What to call the two runs.
    """
    ribbons = _ribbons(flows)
    n_cells = sum(ribbon.n for ribbon in ribbons)
    if not n_cells:
        return message(_TITLE, "no cell is in both")
    starts = _starts(ribbons)
    ends = _ends(ribbons, list(starts))
    most = max(len(starts), len(ends))
    height = max(1.4, 0.3 * min(most, 15), 0.19 * most)
    scale = (height - _GAP * (most - 1)) / n_cells
    sides = (_side(starts, scale, height), _side(ends, scale, height))
    texts = [{name: f"{shown(name)}  {n:,}" for name, n in side.cells.items()} for side in sides]
    rooms = [
        0.16 + max(widest(side.values()), widest([shown(name)], WORDS))
        for side, name in zip(texts, names, strict=True)
    ]
    changed = sum(ribbon.n for ribbon in ribbons if ribbon.changed)
    sheet = Sheet(
        2 * MARGIN + sum(rooms) + 2 * _NODE + _RIBBON,
        height + 0.3,
        title=_TITLE,
        note=f"{changed:,} of {n_cells:,} cells ({percent(changed / n_cells)}) change their label",
        key=[("cells that keep it", Style(_SAME))] if changed < n_cells else (),
        bottom=MARGIN,
    )
    axes = sheet.axes(0, sheet.width, top=0.22, height=height + 0.08)
    axes.set(xlim=(0, sheet.width), ylim=(height + 0.04, -0.04))
    axes.set_axis_off()
    looks = styles([*starts, *ends])
    edges = (MARGIN + rooms[0] + _NODE, MARGIN + rooms[0] + _NODE + _RIBBON)
    _draw_ribbons(axes, ribbons, sides, looks, scale, edges)
    _draw_side(axes, sides[0], looks, scale, texts[0], edges[0], -1)
    _draw_side(axes, sides[1], looks, scale, texts[1], edges[1], 1)
    for edge, name, align in zip(edges, names, ("right", "left"), strict=True):
        sheet.text(edge, sheet.top + 0.09, shown(name), WORDS, ha=align, weight="bold")
    return sheet.figure


def _last(name: str) -> int:
    """Unassigned stands last, the labels drawn as one before it."""
    return 2 if name == UNASSIGNED else int(_is_rest(name))


def _is_rest(name: str) -> bool:
    return name.endswith("\u00a0other labels")


def _ribbons(flows: pd.DataFrame) -> list[_Ribbon]:
    table = flows[flows["n_cells"] > 0]
    changed = table["from_label"] != table["to_label"]
    keys = [_gathered(table, "from_label"), _gathered(table, "to_label"), changed.rename("changed")]
    counts = table["n_cells"].groupby(keys, sort=False).sum()
    rows = zip(*(counts.index.get_level_values(i) for i in range(3)), counts, strict=True)
    return [_Ribbon(str(a), str(b), bool(c), int(n)) for a, b, c, n in rows]


def _gathered(table: pd.DataFrame, column: str) -> pd.Series:
    """Labels with the smallest under one name, if there are too many; never Unassigned."""
    sizes = table.groupby(column, sort=False)["n_cells"].sum()
    order = sorted(sizes.index, key=lambda name: (name != UNASSIGNED, -sizes[name]))
    rest = order[MOST_LABELS - 1 :] if len(order) > MOST_LABELS else []
    return table[column].where(~table[column].isin(rest), f"{len(rest)}\u00a0other labels")


def _total(ribbons: Sequence[_Ribbon], names: Sequence[str]) -> dict[str, int]:
    totals = dict.fromkeys(names, 0)
    for ribbon, name in zip(ribbons, names, strict=True):
        totals[name] += ribbon.n
    return totals


def _starts(ribbons: Sequence[_Ribbon]) -> dict[str, int]:
    """Cells per label on the left, the largest first."""
    cells = _total(ribbons, [ribbon.start for ribbon in ribbons])
    return {name: cells[name] for name in sorted(cells, key=lambda s: (_last(s), -cells[s]))}


def _ends(ribbons: Sequence[_Ribbon], starts: Sequence[str]) -> dict[str, int]:
    """Cells per label on the right, in the order of where they come from, so that few cross."""
    rank = {name: i for i, name in enumerate(starts)}
    cells = _total(ribbons, [ribbon.end for ribbon in ribbons])
    pull = dict.fromkeys(cells, 0.0)
    for ribbon in ribbons:
        pull[ribbon.end] += rank[ribbon.start] * ribbon.n / cells[ribbon.end]
    order = sorted(cells, key=lambda name: (_last(name), pull[name], -cells[name]))
    return {name: cells[name] for name in order}


def _side(cells: dict[str, int], scale: float, height: float) -> _Side:
    free = height - scale * sum(cells.values())
    gap = min(_MOST_GAP, free / max(len(cells) - 1, 1))
    place = (free - gap * (len(cells) - 1)) / 2
    tops = {}
    for name, n in cells.items():
        tops[name] = place
        place += scale * n + gap
    words = _spread([tops[name] + scale * n / 2 for name, n in cells.items()], height)
    return _Side(cells, tops, dict(zip(cells, words, strict=True)))


def _spread(places: Sequence[float], height: float) -> list[float]:
    """Move places of texts apart, as little as needed, within the height."""
    spread: list[float] = []
    for place in places:
        spread.append(max(place, spread[-1] + _LINE if spread else _LINE / 2))
    limit = height - _LINE / 2
    for i in reversed(range(len(spread))):
        spread[i] = min(spread[i], limit)
        limit = spread[i] - _LINE
    return spread


def _draw_ribbons(
    axes: Any,
    ribbons: Sequence[_Ribbon],
    sides: tuple[_Side, _Side],
    looks: Mapping[str, Style],
    scale: float,
    edges: tuple[float, float],
) -> None:
    from matplotlib.patches import PathPatch

    first, second = ({name: i for i, name in enumerate(side.cells)} for side in sides)
    free = (dict(sides[0].tops), dict(sides[1].tops))
    heights: dict[_Ribbon, list[float]] = {ribbon: [] for ribbon in ribbons}
    for ribbon in sorted(ribbons, key=lambda r: (first[r.start], second[r.end], r.changed)):
        heights[ribbon].append(free[0][ribbon.start])
        free[0][ribbon.start] += scale * ribbon.n
    for ribbon in sorted(ribbons, key=lambda r: (second[r.end], first[r.start], r.changed)):
        heights[ribbon].append(free[1][ribbon.end])
        free[1][ribbon.end] += scale * ribbon.n
    for ribbon in sorted(ribbons, key=lambda r: (r.changed, -r.n)):
        colour = _colour(ribbon.start, looks) if ribbon.changed else _SAME
        path = _band(edges, (heights[ribbon][0], heights[ribbon][1]), scale * ribbon.n)
        axes.add_patch(
            PathPatch(
                path,
                facecolor=colour,
                edgecolor=colour,
                linewidth=0.3,
                alpha=0.65 if ribbon.changed else 0.8,
            )
        )


def _colour(name: str, looks: Mapping[str, Style]) -> str:
    if name == UNASSIGNED:
        return _NONE  # darker than elsewhere: light grey is for cells that keep their label
    return _REST if _is_rest(name) else looks[name].colour


def _band(edges: tuple[float, float], tops: tuple[float, float], width: float) -> Any:
    from matplotlib.path import Path

    (left, right), (a, b), middle = edges, tops, sum(edges) / 2
    corners = [
        (left, a), (middle, a), (middle, b), (right, b),
        (right, b + width), (middle, b + width), (middle, a + width), (left, a + width),
        (left, a),
    ]  # fmt: skip
    curve = [Path.CURVE4] * 3
    return Path(corners, [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY])


def _draw_side(
    axes: Any,
    side: _Side,
    looks: Mapping[str, Style],
    scale: float,
    texts: Mapping[str, str],
    edge: float,
    outwards: int,
) -> None:
    outer = edge + outwards * _NODE
    for name, n in side.cells.items():
        top, words = side.tops[name], side.words[name]
        colour = _colour(name, looks)
        axes.bar(
            (edge + outer) / 2, scale * n, bottom=top, width=_NODE, color=colour,
            edgecolor=colour, linewidth=0.3,
        )  # fmt: skip
        axes.plot(
            [outer + outwards * 0.02, outer + outwards * 0.1], [top + scale * n / 2, words],
            color=SOFT, linewidth=0.5,
        )  # fmt: skip
        axes.text(
            outer + outwards * 0.13, words, texts[name], fontsize=SMALL, color=INK,
            ha="right" if outwards < 0 else "left", va="center_baseline",
        )  # fmt: skip
