"""The figures of a run's report that look at markers: by cell type, and by label."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.reporting.drawing import (
    GREY,
    INK,
    PALE,
    SMALL,
    SOFT,
    WORDS,
    largest,
    many,
    shown,
    text_width,
    told_apart,
    widest,
)
from ctr_engine.reporting.sheet import (
    AXES_BY_ROW,
    MARGIN,
    Sheet,
    cluster_note,
    frame,
    heat_map,
    message,
    name_rows,
    row_room,
    write,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = npt.NDArray[np.float64]

MOST_CLUSTERS = 60
MOST_CELL_TYPES = 80
MOST_LABELS = 60
MOST_COLUMNS = 60
_ENRICHMENT = 3.0
_DOT = 54.0  # diameter at 100 %, in points per inch between the dots
_MOST_WIDE = 36


def marker_coverage(scores: pd.DataFrame) -> "Figure":
    """Share of the markers of each cell type that are on in each cluster.

    A leading column gives the markers on the panel of those that the cell type has.

    Parameters
    ----------
    scores
        ``marker_scores``. Cell types without a marker on the panel are hatched.
    """
    kinds = scores.drop_duplicates("path").head(MOST_CELL_TYPES)
    sizes = scores.drop_duplicates("cluster_id")
    kept = list(sizes["cluster_id"].iloc[largest(list(sizes["n_cells"]), MOST_CLUSTERS)])
    matrix = _wide(scores, "path", "frac_markers_on").reindex(index=kept, columns=kinds["path"])
    clusters = [shown(name, 16) for name in kept]
    note = cluster_note(len(kept), len(sizes), int(sizes["n_cells"].sum()))
    if len(kinds) < scores["path"].nunique():
        note += f"; the first {len(kinds)} of {scores['path'].nunique()} cell types"
    names = [shown(label) for label in kinds["label"]]
    indents = [0.11 * level for level in kinds["level"]]
    left = 0.08 + max(row_room([], [n]) + i for n, i in zip(names, indents, strict=True))
    tilted = widest(clusters) > (0.18 if len(kept) <= _MOST_WIDE else 0.14)
    width = (0.2 if len(kept) <= _MOST_WIDE else 0.16) * len(kept)
    sheet = Sheet(
        left + 0.62 + max(width, 2.4) + MARGIN,
        0.175 * len(kinds) + 0.2,
        title="Markers that are on, by cell type and cluster",
        note=note,
        bottom=(widest(clusters) if tilted else 0.11) + 0.78,
    )
    axes = sheet.axes(left + 0.62, width, top=0.2, height=sheet.body - 0.2)
    drawn = heat_map(axes, matrix.to_numpy(dtype=np.float64).T, "viridis", 1.0)
    axes.set_xticks(range(len(kept)), clusters, rotation=90 if tilted else 0)
    axes.set_xlabel("cluster", fontsize=WORDS, labelpad=2)
    column = sheet.axes(left, 0.5, top=0.2, height=sheet.body - 0.2)
    _coverage_column(column, kinds)
    _tree(column, names, indents, left - MARGIN)
    sheet.colour_bar(drawn, "share of the markers on the panel that are on", left + 0.62)
    return sheet.figure


def dot_plot(annotated: pd.DataFrame, evidence: pd.DataFrame, statistics: pd.DataFrame) -> "Figure":
    """Markers of the assigned cell types in the cells of each label.

    The area of a dot is the share of positive cells, its colour the enrichment; both are means
    over the clusters of the label, weighted by their cells. A frame is around a label's own
    markers.

    Parameters
    ----------
    annotated, evidence, statistics
        ``cluster_annotations``, ``marker_evidence`` and ``cluster_statistics`` of one run.
    """
    own = evidence[evidence["role"] == "marker"]
    cells = _cells_by_path(annotated, list(dict.fromkeys(own["path"])))
    groups = _own_markers(cells, own)
    if not groups:
        return message(_DOT_TITLE, "no label has a marker")
    enrichment, positive = _means(annotated, statistics, list(cells))
    groups, note = _fewer(groups, enrichment, len(cells))
    if len(cells) < annotated["assigned_path"].nunique():
        note += f"; the {len(cells)} largest of {annotated['assigned_path'].nunique()} labels"
    labels = dict(zip(annotated["assigned_path"], annotated["assigned_label"], strict=True))
    names = told_apart({path: labels[path] for path in cells})
    return _dots(cells, groups, enrichment, positive, names, note)


_DOT_TITLE = "Markers of the assigned cell types, by label"


def _cells_by_path(annotated: pd.DataFrame, order: Sequence[str]) -> dict[str, int]:
    """Cells per assigned path: cell types as the map has them, ambiguous roots, Unassigned."""
    counts = annotated.groupby("assigned_path", sort=False)["n_cells"].sum()
    kept = counts.iloc[largest(list(counts), MOST_LABELS)]
    rank = {path: i for i, path in enumerate(order)}
    last = len(rank)
    paths = sorted(kept.index, key=lambda path: rank[path] if path in rank else last + (not path))
    return {path: int(kept[path]) for path in paths}


def _own_markers(cells: Mapping[str, int], own: pd.DataFrame) -> dict[str, list[str]]:
    columns = own[own["path"].isin(list(cells))].groupby("path")["column"].unique()
    return {path: list(columns[path]) for path in cells if path in columns.index}


def _means(
    annotated: pd.DataFrame, statistics: pd.DataFrame, paths: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Enrichment and positive fraction by path and marker, each cell of a path with one weight."""
    member = (
        annotated["assigned_path"].to_numpy()[None, :] == np.array(paths, dtype=object)[:, None]
    )
    weights = member * annotated["n_cells"].to_numpy()
    weights = weights / weights.sum(axis=1, keepdims=True)
    tables = []
    for value in ("enrichment", "positive_fraction"):
        wide = _wide(statistics, "marker", value).loc[list(annotated["cluster_id"])]
        tables.append(pd.DataFrame(weights @ wide.to_numpy(), list(paths), wide.columns))
    return tables[0], tables[1]


def _fewer(
    groups: dict[str, list[str]], enrichment: pd.DataFrame, n_labels: int
) -> tuple[dict[str, list[str]], str]:
    note = many(n_labels, "label")
    most = max(len(markers) for markers in groups.values())
    if sum(len(markers) for markers in groups.values()) <= MOST_COLUMNS:
        return groups, note
    while most > 1 and sum(min(most, len(markers)) for markers in groups.values()) > MOST_COLUMNS:
        most -= 1
    kept = {}
    for path, markers in groups.items():
        strongest = largest([float(enrichment[name][path]) for name in markers], most)
        kept[path] = [markers[i] for i in strongest]
    return (
        kept,
        f"{note}; at most {most} {'marker' if most == 1 else 'markers'} of each, the most enriched",
    )


def _dots(
    cells: Mapping[str, int],
    groups: Mapping[str, Sequence[str]],
    enrichment: pd.DataFrame,
    positive: pd.DataFrame,
    names: Mapping[str, str],
    note: str,
) -> "Figure":
    columns = [marker for markers in groups.values() for marker in markers]
    rows = [shown(names[path]) for path in cells]
    counts = [f"{n:,}" for n in cells.values()]
    heads = {path: shown(names[path], 24) for path in groups}
    markers = [shown(name, 24) for name in columns]
    pitch = 0.24 if len(columns) <= _MOST_WIDE else 0.19
    left = row_room(rows, counts)
    width = pitch * len(columns)
    over, head = _head_room(heads, groups, pitch)
    sheet = Sheet(
        left + max(width + over, 3.6) + MARGIN,
        pitch * len(rows) + head,
        title=_DOT_TITLE,
        note=note,
        bottom=widest(markers) + 0.75,
    )
    axes = sheet.axes(left, width, top=head, height=pitch * len(rows))
    tables = (enrichment.loc[list(cells), columns], positive.loc[list(cells), columns])
    drawn = _scatter(axes, *tables, _DOT * pitch)
    name_rows(axes, rows, counts)
    write(axes, "cells", (0, 1), (-6, 7), xycoords="axes fraction", ha="right", color=SOFT)
    axes.set_xticks(range(len(columns)), markers, rotation=90)
    _frames(axes, list(cells), groups, heads)
    sheet.colour_bar(drawn, "enrichment (SD)", left, extend="both")
    _size_key(sheet, left + 2.0, _DOT * pitch)
    return sheet.figure


def _head_room(
    heads: Mapping[str, str], groups: Mapping[str, Sequence[str]], pitch: float
) -> tuple[float, float]:
    """Room that the tilted names need to the right of the columns and above them, in inches."""
    over, high, start = 0.0, 0.0, 0
    total = pitch * sum(len(markers) for markers in groups.values())
    for path, markers in groups.items():
        run = 0.71 * text_width(heads[path]) + 0.1
        over = max(over, pitch * (start + len(markers) / 2) + run - total)
        high = max(high, run)
        start += len(markers)
    return over, high + 0.1


def _scatter(axes: Any, enrichment: pd.DataFrame, positive: pd.DataFrame, dot_width: float) -> Any:
    n_rows, n_columns = enrichment.shape
    down, along = np.indices((n_rows, n_columns))
    drawn = axes.scatter(
        along.ravel(), down.ravel(), s=dot_width**2 * positive.to_numpy().ravel(),
        c=enrichment.to_numpy().ravel(), cmap="RdBu_r", vmin=-_ENRICHMENT, vmax=_ENRICHMENT,
        edgecolors="#777777", linewidths=0.4, zorder=2,
    )  # fmt: skip
    axes.set_xlim(-0.5, n_columns - 0.5)
    axes.set_ylim(n_rows - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_facecolor("#FAFAFA")
    axes.grid(color="#EDEDED", linewidth=0.5)
    axes.set_axisbelow(True)
    return drawn


def _frames(
    axes: Any,
    paths: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    heads: Mapping[str, str],
) -> None:
    start = 0
    for path, markers in groups.items():
        frame(axes, start, paths.index(path), len(markers), INK, 0.8)
        middle = start + len(markers) / 2 - 0.5
        axes.plot(
            [start - 0.35, start + len(markers) - 0.65], [-0.68, -0.68], color=SOFT, linewidth=1,
            clip_on=False,
        )  # fmt: skip
        tilt = {"rotation": 45, "rotation_mode": "anchor", "ha": "left", "va": "bottom"}
        write(axes, heads[path], (middle, -0.68), (0, 3), **tilt)
        start += len(markers)


def _size_key(sheet: Sheet, left: float, dot_width: float) -> None:
    from matplotlib.lines import Line2D

    for i, share in enumerate((0.25, 0.5, 0.75, 1.0)):
        place = left + 0.1 + 0.33 * i
        dot = Line2D([place], [0.43], marker="o", color=GREY, markeredgecolor="#777777")
        dot.set(markersize=dot_width * share**0.5, markeredgewidth=0.4)
        dot.set_transform(sheet.figure.dpi_scale_trans)
        sheet.figure.add_artist(dot)
        sheet.text(place, sheet.height - 0.27, f"{100 * share:.0f}", ha="center")
    sheet.text(left, sheet.height - 0.13, "positive cells (%)")


def _wide(table: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    return table.pivot_table(index="cluster_id", columns=column, values=value, dropna=False)


def _coverage_column(axes: Any, kinds: pd.DataFrame) -> None:
    found = [len(names) for names in kinds["resolved_markers"]]
    missing = [len(names) for names in kinds["missing_markers"]]
    place = range(len(kinds))
    axes.barh(place, [1.0] * len(kinds), height=0.86, color=PALE)
    axes.barh(place, list(kinds["coverage"]), height=0.86, color="#C9C9C9")
    for i, (n, lost) in enumerate(zip(found, missing, strict=True)):
        axes.text(
            0.5, i, f"{n}/{n + lost}", ha="center", va="center_baseline", fontsize=SMALL, color=INK
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.set_axis_off()
    axes.set_title("on panel", fontsize=SMALL, color=INK, pad=3)


def _tree(axes: Any, names: Sequence[str], indents: Sequence[float], room: float) -> None:
    for i, (name, indent) in enumerate(zip(names, indents, strict=True)):
        weight = "normal" if indent else "bold"
        write(axes, name, (0, i), (72 * (indent - room), 0), xycoords=AXES_BY_ROW, weight=weight)
