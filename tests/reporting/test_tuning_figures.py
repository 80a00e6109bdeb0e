"""Heat maps of a tuning."""

import numpy as np
import pandas as pd
import pytest

from ctr_engine.reporting.tuning_figures import changed_grid, share_kept
from tests.reporting.figure_tables import HARD_NAMES, drawn, faults, texts


def shares(values: dict[tuple[str, str, object], float]) -> pd.DataFrame:
    rows = [(*key, share) for key, share in values.items()]
    return pd.DataFrame(rows, columns=["cluster_id", "parameter", "value", "share"])


EXAMPLE = {
    ("2", "gap", 0.5): 1.0, ("2", "gap", 0.1): 0.25, ("2", "mode", "mean"): 0.0,
    ("10", "gap", 0.5): 0.75, ("10", "mode", "mean"): 1.0,
}  # fmt: skip


def test_each_parameter_has_its_columns_in_the_order_of_the_table():
    gap, mode, _ = drawn(share_kept(shares(EXAMPLE))).axes
    assert gap.images[0].get_array().filled(-1).tolist() == [[1.0, 0.25], [0.75, -1]]
    assert mode.images[0].get_array().tolist() == [[0.0], [1.0]]
    assert gap.images[0].get_cmap().name == "cividis"
    assert [text.get_text() for text in gap.get_xticklabels()] == ["0.5", "0.1"]
    assert [text.get_text() for text in mode.get_xticklabels()] == ["mean"]
    assert [text.get_text() for text in gap.get_yticklabels()] == ["2", "10"]


def test_the_numbers_and_the_parameter_are_written():
    gap, mode, _ = drawn(share_kept(shares(EXAMPLE))).axes
    assert [part.get_text() for part in gap.texts] == ["100", "25", "75", "gap"]
    assert [part.get_text() for part in mode.texts] == ["0", "100", "mode"]


def test_many_columns_have_no_numbers():
    table = shares({("0", "gap", i): 0.5 for i in range(50)})
    assert [part.get_text() for part in share_kept(table).axes[0].texts] == ["gap"]


def test_the_least_stable_clusters_are_kept_in_order():
    table = shares({(str(i), "gap", v): 1 - i * v / 200 for i in range(150) for v in (0, 1)})
    figure = share_kept(table)
    kept = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert kept == [str(i) for i in range(90, 150)]
    assert "the 60 least stable of 150 clusters" in texts(figure)


def test_the_grid_has_x_to_the_right_and_y_upwards():
    table = pd.DataFrame(
        {"x": [0.2, 0.1, 0.1], "y": [1, 1, 2], "n_changed": [3, 0, 12], "more": "ignored"}
    )
    figure = changed_grid(table, "min $gap$", "k", 12, used=(0.1, 1))
    axes = drawn(figure).axes[0]
    assert axes.images[0].get_array().filled(-1).tolist() == [[12, -1], [0, 3]]
    assert axes.images[0].get_clim() == (0, 12)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.1", "0.2"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["2", "1"]
    assert [part.get_text() for part in axes.texts] == ["12", "0", "3"]
    assert {"min $gap$", "of 12; framed: the values of this run"} <= set(texts(figure))
    [frame] = axes.patches
    assert frame.get_xy() == (-0.5, 0.5)


def test_values_of_the_run_that_were_not_tried_have_no_frame():
    table = pd.DataFrame({"x": [1], "y": [1], "n_changed": [0]})
    figure = changed_grid(table, "a", "b", 3, used=(1, 2))
    assert len(figure.axes[0].patches) == 0
    assert "of 3" in texts(figure)


def test_nothing_tried_is_said():
    assert "no value was tried" in texts(share_kept(shares({})))
    empty = pd.DataFrame({"x": [], "y": [], "n_changed": []})
    assert "no pair of values was tried" in texts(changed_grid(empty, "a", "b", 3))


@pytest.mark.parametrize(("n_clusters", "n_values"), [(1, 1), (14, 4), (80, 15)])
def test_nothing_is_cut_and_nothing_overlaps(n_clusters, n_values):
    rng = np.random.default_rng(0)
    table = shares(
        {
            (f"3:{i}", name, 12345.678 * v): rng.random()
            for i in range(n_clusters)
            for name in HARD_NAMES
            for v in range(n_values)
        }
    )
    before = table.copy(deep=True)
    assert faults(share_kept(table, HARD_NAMES[1])) == []
    pd.testing.assert_frame_equal(table, before)
    grid = pd.DataFrame(
        [(x, y / 7, x * y) for x in range(n_values) for y in range(n_values)],
        columns=["x", "y", "n_changed"],
    )
    assert faults(changed_grid(grid, HARD_NAMES[0], HARD_NAMES[2], 300)) == []
