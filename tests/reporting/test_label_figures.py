"""Parts of the roots, and maps of the cells, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from ctr_engine.errors import CellMismatchError
from ctr_engine.reporting import drawing, scatter
from ctr_engine.reporting.label_figures import label_map, root_composition
from tests.reporting.figure_tables import HARD_NAMES, annotated, drawn, faults, texts


def test_a_bar_is_divided_by_label_the_largest_first():
    table = annotated(
        {"label": "T", "path": "Immune / T", "n_cells": 10},
        {"label": "B", "path": "Immune / B", "n_cells": 50},
        {"label": "T", "path": "Immune / T", "n_cells": 15},
        {"n_cells": 20},
        {"label": "Stroma", "path": "Stroma", "n_cells": 5},
    )
    axes = root_composition(table).axes[0]
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [
        (0, 50),
        (50, 25),
        (0, 5),
        (0, 20),
    ]
    written = [part.get_text() for part in axes.texts]
    assert written == ["B", "50 %", "T", "25 %"]


def test_the_rows_are_named_with_their_cells_and_unassigned_is_last():
    shown = texts(root_composition(annotated({"n_cells": 30}, {"label": "S", "path": "S"})))
    names = [text for text in shown if text in ("S", "Unassigned", "30  (97 %)", "1  (3.2 %)")]
    assert names == ["S", "1  (3.2 %)", "Unassigned", "30  (97 %)"]


def test_labels_without_room_are_listed_below_and_the_rest_is_counted():
    rows = [{"label": f"Rare cells {i:02}", "path": f"R / {i}", "n_cells": 1} for i in range(40)]
    table = annotated({"label": "Common", "path": "R / C", "n_cells": 960}, *rows)
    written = [part.get_text() for part in root_composition(table).axes[0].texts]
    assert written[:2] == ["Common", "96 %"]
    assert written[2].startswith("Rare cells 00 0.1 %   Rare cells 01 0.1 %")
    assert len(written) == 5
    named = sum(line.count("Rare cells") for line in written[2:])
    assert written[4].endswith(f"   and {40 - named} more")


def test_roots_that_are_too_close_have_one_bar():
    close = {"is_ambiguous_root": True, "n_cells": 40}
    table = annotated(
        {"label": "A~B", "path": "A~B", **close}, {"label": "B~C", "path": "B~C", **close}
    )
    figure = root_composition(table)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [40, 40]
    assert "two roots too close" in texts(figure)
    assert "80  (100 %)" in texts(figure)


def test_labels_of_one_name_in_one_root_are_told_apart():
    table = annotated({"label": "T", "path": "R / A / T"}, {"label": "T", "path": "R / B / T"})
    assert {"T (R / A)", "T (R / B)"} <= set(texts(root_composition(table)))


POINTS = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0], [3.0, 2.0], [4.0, 2.0], [4.0, 1.0]])
LABELS = ["a", "b", "a", "Unassigned", "a", "b"]


def test_each_cell_is_drawn_at_its_place_with_the_look_of_its_label():
    axes = drawn(label_map(POINTS, LABELS, "spatial")).axes[0]
    found = {part.get_label(): part for part in axes.collections}
    np.testing.assert_array_equal(found["a"].get_offsets(), POINTS[[0, 2, 4]])
    np.testing.assert_array_equal(found["b"].get_offsets(), POINTS[[1, 5]])
    np.testing.assert_array_equal(found["Unassigned"].get_offsets(), POINTS[[3]])
    for name, colour in (("a", drawing.BLUE), ("b", drawing.ORANGE)):
        assert _hex(found[name].get_facecolor()[0]) == colour
    assert _hex(found["Unassigned"].get_facecolor()[0]) == drawing.NO_LABEL


def test_rarer_labels_lie_above_and_unassigned_below_all():
    axes = label_map(POINTS, LABELS, "spatial").axes[0]
    upwards = sorted(axes.collections, key=lambda part: part.get_zorder())
    assert [part.get_label() for part in upwards] == ["Unassigned", "a", "b"]
    assert all(part.get_rasterized() for part in upwards)


def test_space_is_to_scale_with_y_downwards_and_a_umap_is_not():
    space = drawn(label_map(POINTS, LABELS, "spatial")).axes[0]
    assert space.get_aspect() == 1
    low, high = space.get_ylim()
    assert low > high
    umap = label_map(POINTS, LABELS, "UMAP").axes[0]
    assert umap.get_ylim()[0] < umap.get_ylim()[1]
    assert umap.get_aspect() == "auto"
    assert list(umap.get_xticks()) == []


def test_the_legend_counts_the_cells_commonest_first_and_unassigned_last():
    labels = ["b"] * 3 + ["Unassigned"] * 20 + ["a"] * 10
    shown = texts(label_map(np.zeros((33, 2)), labels, "spatial"))
    start = shown.index("cells") + 1
    assert shown[start : start + 6] == ["a", "10", "b", "3", "Unassigned", "20"]


def test_names_stand_on_a_umap_where_most_cells_of_the_label_are():
    points = np.concatenate([np.zeros((100, 2)), np.full((60, 2), 10.0), [[10.0, 0.0]]])
    axes = label_map(points, ["a"] * 100 + ["b"] * 60 + ["a"], "UMAP").axes[0]
    places = {part.get_text(): part.get_position() for part in axes.texts}
    assert places["a"] == pytest.approx((0, 0), abs=0.1)
    assert places["b"] == pytest.approx((10, 10), abs=0.1)


def test_cells_without_a_place_are_counted():
    points = POINTS.copy()
    points[0, 0] = np.nan
    points[1, 1] = np.inf
    figure = label_map(points, LABELS, "spatial")
    assert sum(len(part.get_offsets()) for part in figure.axes[0].collections) == 4
    assert "4 cells; 2 without a place" in texts(figure)
    assert "no cell has a place" in texts(label_map(points[:1], ["a"], "UMAP"))


def test_very_many_cells_are_drawn_in_part_and_always_the_same(monkeypatch):
    monkeypatch.setattr(scatter, "MOST_POINTS", 50)
    monkeypatch.setattr("ctr_engine.reporting.label_figures.MOST_POINTS", 50)
    points = np.arange(400, dtype=float).reshape(200, 2)
    first, again = (label_map(points, ["a", "b"] * 100, "spatial") for _ in range(2))
    assert "50 of 200 cells, drawn at random" in texts(first)
    assert sum(len(part.get_offsets()) for part in first.axes[0].collections) == 50
    for one, two in zip(first.axes[0].collections, again.axes[0].collections, strict=True):
        np.testing.assert_array_equal(one.get_offsets(), two.get_offsets())


def test_more_than_sixty_labels_end_in_one_for_the_rest():
    labels = [f"l{i}" for i in range(70) for _ in range(100 - i)] + ["Unassigned"]
    axes = label_map(np.zeros((len(labels), 2)), labels, "spatial").axes[0]
    sizes = {part.get_label(): len(part.get_offsets()) for part in axes.collections}
    assert len(sizes) == 60
    assert sizes["12 other labels"] == sum(100 - i for i in range(58, 70))
    assert sizes["l57"] == 43
    assert sizes["Unassigned"] == 1


def test_labels_and_places_are_of_the_same_cells():
    with pytest.raises(CellMismatchError, match="6 positions, but 5 labels"):
        label_map(POINTS, LABELS[:5], "UMAP")


@pytest.mark.parametrize("kind", ["spatial", "UMAP"])
@pytest.mark.parametrize(
    ("n_labels", "shape"),
    [(5, (1.0, 1.0)), (37, (30.0, 1.0)), (90, (1.0, 3_000.0)), (1, (0.0, 0.0))],
)
def test_nothing_is_cut_and_nothing_overlaps(kind, n_labels, shape):
    points = np.random.default_rng(0).random((300, 2)) * shape - 1e5
    before = points.copy()
    labels = pd.Series([f"{HARD_NAMES[i % 5]} {i % n_labels}" for i in range(300)])
    assert faults(label_map(points, labels, kind)) == []
    np.testing.assert_array_equal(points, before)


def _hex(colour):
    return "#" + "".join(f"{round(255 * part):02X}" for part in colour[:3])
