"""The bars of a cluster's card."""

import copy

import pytest

from ctr_engine.reporting import drawing
from ctr_engine.reporting.card_figure import marker_bars
from tests.reporting.figure_tables import HARD_NAMES, faults, texts


def bar(marker, enrichment, positive, *, on=True, role="marker"):
    return {
        "marker": marker,
        "role": role,
        "enrichment": enrichment,
        "positive_fraction": positive,
        "on": on,
    }


ROWS = [
    bar("CD3", 2.0, 0.72),
    bar("CD4", -0.5, 0.1, on=False),
    bar("CD20", 1.0, 0.3, role="anti_marker"),
]


def test_bars_are_enrichments_and_the_positive_share_stands_at_the_right():
    figure = marker_bars(ROWS, "Cluster 3")
    axes = figure.axes[0]
    assert [patch.get_width() for patch in axes.patches] == [2.0, -0.5, 1.0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["CD3", "CD4", "CD20"]
    assert [part.get_text() for part in axes.texts] == ["72 %", "10 %", "30 %"]
    assert axes.lines[0].get_xdata() == [0, 0]
    width, height = figure.get_size_inches()
    assert width == pytest.approx(5, abs=0.3)
    assert height < 2.2


def test_anti_markers_are_hatched_and_what_is_not_on_is_pale():
    patches = marker_bars(ROWS, "Cluster 3").axes[0].patches
    assert [patch.get_hatch() for patch in patches] == [None, None, "////"]
    faces = [patch.get_facecolor()[:3] for patch in patches]
    blue, orange = drawing.tint(drawing.BLUE, 0), drawing.tint(drawing.ORANGE, 0)
    assert faces == [blue, drawing.tint(drawing.BLUE, 0.65), orange]
    assert {"marker", "anti-marker", "pale: not on"} <= set(texts(marker_bars(ROWS, "Cluster 3")))


def test_the_key_names_only_what_is_there():
    shown = texts(marker_bars(ROWS[:1], "Cluster 3"))
    assert "marker" in shown
    assert not {"anti-marker", "pale: not on"} & set(shown)


def test_more_than_twenty_markers_are_cut_and_none_is_said():
    figure = marker_bars([bar(f"M{i}", 1.0, 0.5) for i in range(26)], "Cluster 3")
    assert len(figure.axes[0].patches) == 20
    assert "the first 20 of 26 markers" in texts(figure)
    assert "no marker is on the panel" in texts(marker_bars([], "Cluster 3"))


@pytest.mark.parametrize("values", [(0.0,), (-2.0, -1.0), (3e3, -1e-3), tuple(range(20))])
def test_nothing_is_cut_and_nothing_overlaps(values):
    rows = [bar(HARD_NAMES[i % 5], value, 1.0) for i, value in enumerate(values)]
    before = copy.deepcopy(rows)
    assert faults(marker_bars(rows, HARD_NAMES[2] + HARD_NAMES[0])) == []
    assert rows == before
