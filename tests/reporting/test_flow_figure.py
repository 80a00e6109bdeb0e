"""The alluvial diagram: widths, colours and order of its ribbons."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import PathPatch, Rectangle

from ctr_engine.reporting.flow_figure import flow
from tests.reporting.figure_tables import HARD_NAMES, drawn, faults, texts


def flows(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["from_label", "to_label", "n_cells"])


def ribbons(figure):
    """(height at the left, height at the right, colour) of each ribbon, in inches."""
    found = []
    for patch in drawn(figure).axes[0].patches:
        if isinstance(patch, PathPatch):
            corners = patch.get_path().vertices
            left, right = corners[7, 1] - corners[0, 1], corners[4, 1] - corners[3, 1]
            found.append((left, right, _hex(patch.get_facecolor())))
    return found


EXAMPLE = flows(("a", "a", 60), ("a", "b", 20), ("b", "b", 15), ("Unassigned", "a", 5))


def test_the_width_of_a_ribbon_is_its_cells_and_unchanged_ones_are_grey():
    found = ribbons(flow(EXAMPLE))
    per_cell = found[0][0] / 60
    widths = [(round(left / per_cell, 6), round(right / per_cell, 6)) for left, right, _ in found]
    assert widths == [(60, 60), (15, 15), (20, 20), (5, 5)]
    assert [colour for *_, colour in found] == ["#DADADA", "#DADADA", "#0072B2", "#8C8C8C"]


def test_labels_have_their_cells_on_both_sides():
    shown = texts(flow(EXAMPLE, ("first run", "second run")))
    assert {"a  80", "b  15", "Unassigned  5", "a  65", "b  35"} <= set(shown)
    assert {"first run", "second run"} <= set(shown)
    assert "25 of 100 cells (25 %) change their label" in shown


def test_ribbons_fill_their_labels_without_a_gap():
    axes = flow(EXAMPLE).axes[0]
    blocks = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert len(blocks) == 5
    left = sorted(p.get_y() for p in blocks[:3])
    tops = sorted(p.get_path().vertices[0, 1] for p in axes.patches if isinstance(p, PathPatch))
    heights = [blocks[0].get_height() * n / 80 for n in (60, 20, 15, 5)]
    assert tops == pytest.approx([left[0], left[0] + heights[0], left[1], left[2]])


def test_the_smallest_labels_are_one_and_their_own_changes_stay_changes():
    kept = [(f"l{i}", f"l{i}", 1_000 - i) for i in range(40)]
    figure = flow(flows(*kept, ("l30", "l31", 7), ("Unassigned", "l0", 1)))
    shown = texts(figure)
    # 23 labels, Unassigned and the rest; l23 ... l39 are the smallest
    rest = sum(1_000 - i for i in range(23, 40)) + 7
    assert f"17\u00a0other labels  {rest:,}".replace("\u00a0", " ") in shown
    assert "Unassigned  1" in shown
    assert f"8 of {sum(n for *_, n in kept) + 8:,} cells (<0.1 %) change their label" in shown
    assert [colour for *_, colour in ribbons(figure)].count("#4D4D4D") == 1


def test_rows_of_one_pair_are_added_and_empty_ones_are_left_out():
    figure = flow(flows(("a", "b", 2), ("a", "b", 3), ("c", "c", 0)))
    assert len(ribbons(figure)) == 1
    assert {"a  5", "b  5"} <= set(texts(figure))
    assert "no cell is in both" in texts(flow(flows(("a", "b", 0))))


@pytest.mark.parametrize("n", [1, 2, 12, 80])
def test_nothing_is_cut_and_nothing_overlaps(n):
    rng = np.random.default_rng(n)
    names = [f"{HARD_NAMES[i % 5]} {i}" for i in range(n)] + ["Unassigned"]
    rows = [(a, names[rng.integers(n + 1)], int(10 ** rng.uniform(0, 6))) for a in names * 3]
    table = flows(*rows)
    before = table.copy(deep=True)
    assert faults(flow(table, ("$a$ <b>", HARD_NAMES[2]))) == []
    pd.testing.assert_frame_equal(table, before)


def _hex(colour):
    return "#" + "".join(f"{round(255 * part):02X}" for part in colour[:3])
