"""Scores before and after refinement, drawn."""

import numpy as np

from ctr_engine.reporting.refinement_figures import score_distribution


def test_cells_are_counted_by_the_score_of_their_cluster():
    figure = score_distribution([(None, 10), (2.0, 30)], [(1.0, 10), (2.0, 30)], 1.0)
    (axes,) = figure.axes
    before, after = (patch.get_data() for patch in axes.patches)
    assert before.values.sum() == after.values.sum() == 40
    assert before.values[0] == 10, "no score counts as 0"
    assert after.values[0] == 0
    assert before.values[-1] == after.values[-1] == 30
    (line,) = axes.lines
    assert np.ptp(line.get_xdata()) == 0
    assert line.get_xdata()[0] == 1.0


def test_one_cluster_of_the_very_threshold_can_be_drawn():
    assert score_distribution([(1.0, 5)], [(1.0, 5)], 1.0).axes
