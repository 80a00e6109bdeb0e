"""Small tables for the figures, and what a figure holds."""

from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

HARD_NAMES = (
    r"$\frac{a}{b_1}$ <b>T Cells</b>",
    "Zellen ß µ 免疫 \u202e\x07 \U0001f9ec",
    "An extraordinarily long name of a cell type that no figure has room for, I",
    "An extraordinarily long name of a cell type that no figure has room for, II",
    "a_b^c {d} $ 5 % & \\",
)


def annotated(*rows: dict[str, Any]) -> pd.DataFrame:
    """Table ``cluster_annotations`` with what the figures read; clusters count from 0."""
    table = []
    for i, row in enumerate(rows):
        label = row["label"] if "label" in row else "Unassigned"
        path = row["path"] if "path" in row else "" if label == "Unassigned" else f"R / {label}"
        stop = "no_root_passed" if label == "Unassigned" else "leaf_reached"
        known = {
            "cluster_id": str(i),
            "assigned_label": label,
            "assigned_path": path,
            "assigned_level": -1 if label == "Unassigned" else path.count(" / "),
            "root_label": path.partition(" / ")[0] if path else "Unassigned",
            "confidence": 0.0 if label == "Unassigned" else 1.0,
            "stop_reason": stop,
            "n_cells": 1,
            "is_ambiguous_root": False,
            "margin_is_infinite": False,
        }
        given = {key: value for key, value in row.items() if key not in ("label", "path")}
        table.append({**known, **given})
    return pd.DataFrame(table)


def drawn(figure: Figure) -> Figure:
    """Draw a figure; every warning is an error."""
    FigureCanvasAgg(figure).draw()
    return figure


def texts(figure: Figure) -> list[str]:
    """Texts of a figure as the reader sees them."""
    drawn(figure)
    return [
        part.get_text().replace(r"\$", "$")
        for part in figure.findobj(Text)
        if part.get_visible() and part.get_text()
    ]


def faults(figure: Figure) -> list[str]:
    """What leaves the figure, and which horizontal texts lie over one another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox(canvas.get_renderer())
    found = []
    if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
        found.append(f"{box.extents} leaves {width} x {height}")
    hidden = _hidden(figure)
    shown = [
        part
        for part in figure.findobj(Text)
        if part.get_visible()
        and part.get_text()
        and not part.get_rotation()
        and id(part) not in hidden
    ]
    boxes = [part.get_window_extent() for part in shown]
    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes[:i]):
            wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            if wide > 1 and high > 2:
                found.append(f"{shown[i].get_text()!r} over {shown[j].get_text()!r}")
    return found


def _hidden(figure: Figure) -> set[int]:
    """Texts of the ticks of axes that are not drawn."""
    return {
        id(part)
        for axes in figure.axes
        if not axes.axison
        for axis in (axes.xaxis, axes.yaxis)
        for part in axis.findobj(Text)
    }
