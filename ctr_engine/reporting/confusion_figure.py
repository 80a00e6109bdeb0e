"""Assigned cell types beside the true ones, both in the order of the hierarchy."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ctr_engine.keys import PATH_SEPARATOR, UNASSIGNED
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.reporting.drawing import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.24


def confusion(table: pd.DataFrame, marker_map: MarkerMap) -> "Figure":
    """Share of the cells of each true cell type that were given each cell type.

    Rows and columns are in the order of the map, with a line between its roots, so that a mistake
    beside the diagonal is one among relatives. A frame marks the right one, a dotted one its
    ancestors.

    Parameters
    ----------
    table
        A :class:`~ctr_engine.tables.Confusion` table.
    """
    from matplotlib.figure import Figure

    order = {node.path: i for i, node in enumerate(marker_map.nodes)}
    true = _ordered(table["true_path"], order)
    assigned = _ordered(table["assigned_path"], order)
    shares = (
        table.pivot_table(index="true_path", columns="assigned_path", values="share", fill_value=0)
        .loc[true, assigned]
        .to_numpy(np.float64)
    )
    names = [[_name(path) for path in paths] for paths in (true, assigned)]
    longest = max(len(name) for name in (*names[0], *names[1]))
    width = _CELL * len(assigned) + 0.075 * longest + 1.4
    height = _CELL * len(true) + 0.075 * longest + 1.0
    figure = Figure(figsize=(max(width, 3.5), max(height, 2.5)), layout="constrained")
    axes = figure.add_subplot()
    drawn = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, aspect="equal")
    axes.set_xticks(range(len(assigned)), names[1], rotation=90, fontsize=7)
    axes.set_yticks(range(len(true)), names[0], fontsize=7)
    axes.set_xlabel("assigned")
    axes.set_ylabel("known")
    _frames(axes, true, assigned)
    for draw, paths in ((axes.axhline, true), (axes.axvline, assigned)):
        roots = [path.split(PATH_SEPARATOR)[0] for path in paths]
        for i, (before, after) in enumerate(pairwise(roots)):
            if before != after:
                draw(i + 0.5, color="white", lw=0.6)
    figure.colorbar(drawn, ax=axes, label="share of the known cells", shrink=0.7)
    return figure


def _ordered(paths: "pd.Series", order: dict[str, int]) -> list[str]:
    """Paths in the order of the map; other labels after them, Unassigned last."""
    unique = set(paths)
    last = len(order)
    return sorted(
        unique, key=lambda path: (order[path] if path in order else last + (not path), path)
    )


def _name(path: str) -> str:
    if not path:
        return UNASSIGNED
    return plain(path.rpartition(PATH_SEPARATOR)[2])


def _frames(axes: Any, true: Sequence[str], assigned: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    for i, known in enumerate(true):
        for j, found in enumerate(assigned):
            if found and (known == found or known.startswith(found + PATH_SEPARATOR)):
                right = known == found
                box = Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False)
                box.set(
                    edgecolor="white",
                    linestyle="-" if right else ":",
                    linewidth=1.2 if right else 0.8,
                )
                axes.add_patch(box)
