"""Heat map and dot plot of markers, against means by hand."""

import numpy as np
import pandas as pd
import pytest

from ctr_engine.reporting.marker_figures import dot_plot, marker_coverage
from tests.reporting.figure_tables import HARD_NAMES, annotated, drawn, faults, texts


def scores(kinds, clusters) -> pd.DataFrame:
    """``marker_scores``: per cell type (path, resolved, missing, share on per cluster)."""
    return pd.DataFrame(
        [
            {
                "cluster_id": cluster,
                "label": path.rpartition(" / ")[2],
                "path": path,
                "level": path.count(" / "),
                "coverage": len(found) / (len(found) + len(lost)),
                "frac_markers_on": on[i],
                "resolved_markers": found,
                "missing_markers": lost,
                "n_cells": size,
            }
            for i, (cluster, size) in enumerate(clusters.items())
            for path, found, lost, on in kinds
        ]
    )


KINDS = (
    ("R", ["a", "b"], [], (0.5, 1.0)),
    ("R / T$1$", ["c"], ["d", "e"], (1.0, 0.0)),
    ("R / B", [], ["f"], (np.nan, np.nan)),
)


def test_the_map_has_cell_types_by_clusters_with_the_share_that_is_on():
    axes, _, column = _by_kind(marker_coverage(scores(KINDS, {"0": 9, "10": 4})))
    shown = axes.images[0].get_array()
    assert shown.filled(-1).tolist() == [[0.5, 1.0], [1.0, 0.0], [-1, -1]]
    assert axes.images[0].get_cmap().name == "viridis"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "10"]
    assert axes.patch.get_hatch() == "//////"
    numbers = [part.get_text() for part in column.texts if "/" in part.get_text()]
    assert numbers == ["2/2", "1/3", "0/1"]
    assert [bar.get_width() for bar in column.patches][3:] == pytest.approx([1, 1 / 3, 0])


def test_cell_types_are_indented_by_level():
    _, _, column = _by_kind(marker_coverage(scores(KINDS, {"0": 9, "10": 4})))
    names = [part for part in column.texts if "/" not in part.get_text()]
    assert [part.get_text() for part in names] == ["R", r"T\$1\$", "B"]
    left = [part.xyann[0] for part in names]
    assert left[1] - left[0] == pytest.approx(0.11 * 72)
    assert left[2] == left[1]


def test_the_largest_clusters_and_the_first_cell_types_are_shown():
    kinds = [(f"R{i}", ["a"], [], np.arange(200) / 200) for i in range(90)]
    figure = marker_coverage(scores(kinds, {str(i): i + 1 for i in range(200)}))
    shown = _by_kind(figure)[0].images[0].get_array()
    np.testing.assert_allclose(shown, np.tile(np.arange(140, 200) / 200, (80, 1)))
    assert any("the first 80 of 90 cell types" in text for text in texts(figure))


@pytest.mark.parametrize("n_kinds", [1, 30])
@pytest.mark.parametrize("clusters", [["0"], ["3:1:1", "4"], [str(i) for i in range(120)]])
def test_nothing_of_the_map_is_cut(n_kinds, clusters):
    names = [f"{HARD_NAMES[i % 5]} {i}" for i in range(n_kinds)]
    kinds = [(name, ["a"], ["b"], np.full(len(clusters), 0.5)) for name in names]
    table = scores(kinds, dict.fromkeys(clusters, 5))
    before = table.copy(deep=True)
    assert faults(marker_coverage(table)) == []
    pd.testing.assert_frame_equal(table, before)


def evidence(markers: dict[str, list[str]]) -> pd.DataFrame:
    rows = [
        {"cluster_id": "0", "path": path, "marker": name, "column": name.lower(), "role": role}
        for path, names in markers.items()
        for name, role in [*((name, "marker") for name in names), ("ANTI", "anti_marker")]
    ]
    return pd.DataFrame(rows)


def statistics(values: dict[tuple[str, str], tuple[float, float]]) -> pd.DataFrame:
    rows = [(*key, 1, *pair) for key, pair in values.items()]
    names = ["cluster_id", "marker", "n_cells", "enrichment", "positive_fraction"]
    return pd.DataFrame(rows, columns=names)


CLUSTERS = (
    {"label": "T", "path": "R / T", "n_cells": 30},
    {"n_cells": 7},
    {"label": "B", "path": "R / B", "n_cells": 5},
    {"label": "T", "path": "R / T", "n_cells": 10},
)
VALUES = {
    ("0", "cd3"): (2.0, 0.8), ("0", "cd20"): (-1.0, 0.0), ("0", "cd19"): (0.0, 0.1),
    ("1", "cd3"): (0.5, 0.2), ("1", "cd20"): (0.1, 0.2), ("1", "cd19"): (0.2, 0.2),
    ("2", "cd3"): (-2.0, 0.0), ("2", "cd20"): (5.0, 1.0), ("2", "cd19"): (3.0, 0.5),
    ("3", "cd3"): (1.0, 0.4), ("3", "cd20"): (1.0, 0.4), ("3", "cd19"): (0.0, 0.1),
}  # fmt: skip


def example():
    known = evidence({"R": ["CD45"], "R / B": ["CD20", "CD19"], "R / T": ["CD3"]})
    return dot_plot(annotated(*CLUSTERS), known, statistics(VALUES))


def test_rows_are_labels_in_the_order_of_the_map_and_columns_their_markers():
    axes = example().axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["cd20", "cd19", "cd3"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["5", "40", "7"]
    names = [part.get_text() for part in axes.texts]
    assert names == ["B", "T", "Unassigned", "cells", "B", "T"]


def test_dots_are_means_over_the_cells_of_the_label():
    dots = drawn(example()).axes[0].collections[0]
    along, down = dots.get_offsets().T
    assert along.tolist() == [0, 1, 2] * 3
    assert down.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    # T: (30 * first + 10 * fourth cluster) / 40
    enrichment = [[5.0, 3.0, -2.0], [-0.5, 0.0, 1.75], [0.1, 0.2, 0.5]]
    positive = [[1.0, 0.5, 0.0], [0.1, 0.1, 0.7], [0.2, 0.2, 0.2]]
    np.testing.assert_allclose(dots.get_array(), np.ravel(enrichment), atol=1e-12)
    sizes = dots.get_sizes()
    np.testing.assert_allclose(sizes / sizes[0], np.ravel(positive), atol=1e-12)
    assert dots.get_cmap().name == "RdBu_r"
    assert dots.get_clim() == (-3, 3)


def test_a_frame_is_around_the_own_markers_of_a_label():
    frames = [(box.get_xy(), box.get_width()) for box in example().axes[0].patches]
    assert frames == [((-0.5, -0.5), 2), ((1.5, 0.5), 1)]


def test_too_many_columns_are_cut_to_the_most_enriched_of_each_label():
    names = [f"M{i}" for i in range(50)]
    known = evidence({"R / T": names, "R / B": names[:45]})
    clusters = annotated(*[{"label": x, "path": f"R / {x}"} for x in "TB"])
    values = {(c, f"m{i}"): (float(i), 0.5) for c in "01" for i in range(50)}
    figure = dot_plot(clusters, known, statistics(values))
    shown = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert shown == [f"m{i}" for i in range(20, 50)] + [f"m{i}" for i in range(15, 45)]
    assert "2 labels; at most 30 markers of each, the most enriched" in texts(figure)


def test_the_largest_labels_are_kept():
    rows = [{"label": f"L{i}", "path": f"R / L{i}", "n_cells": i + 1} for i in range(70)]
    known = evidence({f"R / L{i}": ["M"] for i in range(70)})
    values = {(str(i), "m"): (1.0, 0.5) for i in range(70)}
    figure = dot_plot(annotated(*rows), known, statistics(values))
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [str(i) for i in range(11, 71)]
    assert any(text.endswith("the 60 largest of 70 labels") for text in texts(figure))


def test_without_a_label_there_is_a_sentence():
    clusters = annotated({}, {})
    known = evidence({"R / T": ["CD3"]})
    figure = dot_plot(clusters, known, statistics({(c, "cd3"): (0.0, 0.1) for c in "01"}))
    assert "no label has a marker" in texts(figure)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_nothing_of_the_dots_is_cut_and_no_table_is_changed(n):
    names = [f"{HARD_NAMES[i % 5]} {i}" for i in range(n)]
    clusters = annotated(*[{"label": name, "path": f"R / {name}"} for name in names])
    known = evidence({f"R / {name}": [name, "M"] for name in names})
    values = {(str(i), m): (1.0, 0.5) for i in range(n) for m in set(known["column"])}
    tables = (clusters, known, statistics(values))
    before = [table.copy(deep=True) for table in tables]
    assert faults(dot_plot(*tables)) == []
    for table, old in zip(tables, before, strict=True):
        pd.testing.assert_frame_equal(table, old)


def _by_kind(figure):
    """Heat map, colour bar and leading column."""
    heat, column, bar = drawn(figure).axes
    return heat, bar, column
