"""The figures of a report by cluster: bars, places, looks and names, counted by hand."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ctr_engine.reporting import drawing, label_figures, marker_figures
from ctr_engine.reporting import report_figures as figures
from tests.bad_inputs import good_sample
from tests.reporting.figure_tables import HARD_NAMES, annotated, drawn, faults, texts
from tests.reporting.test_reports import run

CLUSTER_FIGURES = (
    figures.cluster_sizes,
    figures.confidence,
    figures.depth,
    figures.stop_reasons,
    label_figures.root_composition,
)


def three_kinds() -> pd.DataFrame:
    return annotated(
        {"label": "T Cells", "path": "Immune / T Cells", "n_cells": 60, "confidence": 0.5},
        {
            "label": "A~B",
            "path": "A~B",
            "n_cells": 30,
            "confidence": 0.0,
            "stop_reason": "ambiguous_root",
            "is_ambiguous_root": True,
        },
        {"n_cells": 6},
        {
            "label": "B Cells",
            "path": "Immune / B Cells",
            "n_cells": 3,
            "confidence": 1e6,
            "margin_is_infinite": True,
        },
        {"label": "Immune", "path": "Immune", "confidence": 0.25, "stop_reason": "no_child_passed"},
    )


def many(n: int, *, unassigned: bool = False) -> pd.DataFrame:
    stops = ("leaf_reached", "no_child_passed", "ambiguous_siblings")
    rows = [
        {
            "label": f"{HARD_NAMES[i % 5]} {i % 61}",
            "path": f"Root {i % 13} / {HARD_NAMES[i % 5]} {i % 61}",
            "n_cells": 10_000 // (i + 1) + 1,
            "confidence": 1e6 if i % 4 == 0 else 0.1 * (i % 7),
            "margin_is_infinite": i % 4 == 0,
            "stop_reason": stops[i % 3],
        }
        for i in range(n)
    ]
    return annotated(*([{"n_cells": 5}] * n if unassigned else rows))


def test_bars_are_as_long_as_the_clusters_and_say_the_label():
    figure = figures.cluster_sizes(three_kinds())
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [60, 30, 6, 3, 1]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["0", "1", "2", "3", "4"]
    beside = [note.get_text() for note in axes.texts]
    assert beside == ["60  T Cells", "30  A~B", "6  Unassigned", "3  B Cells", "1  Immune"]


def test_bars_have_the_look_of_their_root():
    bars = figures.cluster_sizes(three_kinds()).axes[0].patches
    faces = [drawing.LONG_PALETTE[0], "#8A8A8A", drawing.NO_LABEL] + 2 * [drawing.LONG_PALETTE[0]]
    assert [_hex(bar.get_facecolor()) for bar in bars] == faces
    assert [bar.get_hatch() for bar in bars] == [None, "////", None, None, None]


def test_the_key_of_the_roots_ends_with_what_has_none():
    shown = texts(figures.cluster_sizes(three_kinds()))
    key = [text for text in shown if text in ("Immune", "Unassigned", "two roots too close")]
    assert key == ["Immune", "Unassigned", "two roots too close"]
    assert "A~B" not in shown


def test_the_largest_clusters_are_shown_in_the_order_of_the_table():
    table = many(200).sort_values("n_cells").reset_index(drop=True)
    figure = figures.cluster_sizes(table)
    assert [bar.get_width() for bar in figure.axes[0].patches] == list(table["n_cells"].tail(60))
    assert any(text.startswith("the 60 largest of 200 clusters") for text in texts(figure))


def test_the_least_sure_stand_on_top_and_infinite_ones_have_a_lane():
    unassigned, margin, alone = figures.confidence(three_kinds()).axes
    assert [unassigned.get_title(), alone.get_title()] == ["Unassigned", "no competition"]
    assert _points(unassigned) == [(0.5, 0)]
    assert _points(margin) == [(0.0, 1), (0.25, 2), (0.5, 3)]
    assert _points(alone) == [(0.5, 4)]
    assert margin.get_xlim()[1] < 1
    assert [t.get_text() for t in unassigned.get_yticklabels()] == ["2", "1", "4", "0", "3"]
    named = [note.get_text() for note in unassigned.texts]
    assert named == ["Unassigned", "A~B", "Immune", "T Cells", "B Cells"]


def test_a_dot_has_the_colour_and_shape_of_its_stop_reason():
    margin = figures.confidence(three_kinds()).axes[1]
    looks = [(line.get_marker(), line.get_color()) for line in margin.lines]
    assert looks == [("^", "#D55E00"), ("s", "#56B4E9"), ("o", "#009E73")]


def test_lanes_without_a_cluster_are_not_there():
    alone = many(4).assign(confidence=1e6, margin_is_infinite=True)
    assert [axes.get_title() for axes in figures.confidence(alone).axes] == ["no competition"]
    [axes] = figures.confidence(many(4).assign(margin_is_infinite=False, confidence=0.3)).axes
    assert axes.get_xlabel() == "margin (score)"


def test_the_least_sure_are_kept_when_there_are_too_many():
    figure = figures.confidence(many(200))
    assert any(text.startswith("the 60 least sure of 200") for text in texts(figure))
    [axes] = figure.axes
    assert max(x for x, _ in _points(axes)) < 0.7


def test_levels_are_counted_in_cells_and_clusters():
    cells, clusters = figures.depth(three_kinds()).axes
    assert [bar.get_width() for bar in cells.patches] == [6, 31, 63]
    assert [bar.get_width() for bar in clusters.patches] == [1, 2, 2]
    names = [text.get_text() for text in cells.get_yticklabels()]
    assert names == ["Unassigned", "level 0 (root)", "level 1"]
    assert [note.get_text() for note in cells.texts] == ["6  (6.0 %)", "31  (31 %)", "63  (63 %)"]


def test_each_stop_reason_has_a_row_even_without_a_cluster():
    cells, clusters = figures.stop_reasons(three_kinds()).axes
    assert [bar.get_width() for bar in cells.patches] == [63, 6, 1, 30, 0]
    assert [bar.get_width() for bar in clusters.patches] == [2, 1, 1, 1, 0]
    assert cells.get_yticklabels()[1].get_text() == "no root passed"


@pytest.mark.parametrize("draw", CLUSTER_FIGURES)
@pytest.mark.parametrize(
    "table",
    [three_kinds(), many(1), many(12), many(200), many(7, unassigned=True), many(1).iloc[:1]],
    ids=["three kinds", "one", "hard names", "many", "none", "first"],
)
def test_nothing_is_cut_and_nothing_overlaps(draw, table):
    before = table.copy(deep=True)
    assert faults(draw(table)) == []
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("draw", CLUSTER_FIGURES)
def test_the_index_of_the_table_does_not_matter(draw):
    table = three_kinds()
    assert texts(draw(table.set_axis([3, 3, 1, 0, 0]))) == texts(draw(table))


def test_every_figure_can_be_drawn_from_a_run():
    tables = run().tables
    clusters = tables["cluster_annotations"]
    found = [draw(clusters) for draw in CLUSTER_FIGURES]
    found.append(marker_figures.marker_coverage(tables["marker_scores"]))
    evidence, statistics = tables["marker_evidence"], tables["cluster_statistics"]
    found.append(marker_figures.dot_plot(clusters, evidence, statistics))
    labels = tables["annotations"]["cell_type_auto"]
    places = np.random.default_rng(0).random((good_sample().n_obs, 2))
    found += [label_figures.label_map(places, labels, kind) for kind in ("spatial", "UMAP")]
    assert [faults(figure) for figure in found] == [[]] * len(found)


def test_names_are_written_as_they_are():
    shown = texts(figures.cluster_sizes(annotated({"label": "$x$ <b>", "path": "R / $x$ <b>"})))
    assert "1  $x$ <b>" in shown
    assert drawing.plain("a $x$\n  b") == r"a \$x\$ b"
    assert drawing.plain("µ免\x07\u202e") == "µ□□□"


def test_long_names_lose_their_middle():
    assert drawing.shorten("abcdefghij", 10) == "abcdefghij"
    assert drawing.shorten("abcdefghijk", 10) == "abcde…hijk"
    assert len(drawing.shorten("x" * 500)) == 40


def test_labels_of_several_paths_are_told_apart():
    paths = {"A / T": "T", "B / T": "T", "A / B": "B", "": "Unassigned"}
    assert drawing.told_apart(paths) == {
        "A / T": "T (A)",
        "B / T": "T (B)",
        "A / B": "B",
        "": "Unassigned",
    }


def test_percentages_have_two_figures_and_are_never_rounded_to_none_or_all():
    shares = (0, 0.0004, 0.004, 0.0994, 0.0996, 0.5, 0.996, 0.9996, 1)
    written = ("0", "<0.1", "0.4", "9.9", "10", "50", "99.6", ">99.9", "100")
    assert [drawing.percent(share) for share in shares] == [f"{text} %" for text in written]


def test_names_keep_a_look_of_their_own_beyond_the_colours():
    looks = drawing.styles([f"n{i}" for i in range(60)] + ["Unassigned"])
    assert len({(look.colour, look.marker) for look in looks.values()}) == 61
    assert len({(look.colour, look.hatch) for look in looks.values()}) == 61
    assert looks["Unassigned"].colour == drawing.NO_LABEL
    assert [looks[f"n{i}"].colour for i in range(8)] == list(drawing.OKABE_ITO)


MACHADO_2009 = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


@pytest.mark.parametrize("vision", MACHADO_2009)
def test_colours_are_as_far_apart_as_those_of_okabe_and_ito(vision):
    colours = _oklab(
        [*drawing.LONG_PALETTE, drawing.NO_LABEL, "#FFFFFF"], np.array(MACHADO_2009[vision])
    )
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=2)
    distance[np.diag_indices(len(colours))] = np.inf
    assert distance.min() > 7.5  # Okabe and Ito's own eight: 7.6


def test_pyplot_is_not_imported():
    names = "card_figure,flow_figure,label_figures,marker_figures,report_figures,tuning_figures"
    code = (
        f"import sys; from ctr_engine.reporting import {names}; import pandas as pd\n"
        "loaded = [name for name in sys.modules if name.startswith('matplotlib')]\n"
        "assert not loaded, loaded\n"
        "card_figure.marker_bars([dict(marker='a', role='marker', enrichment=1.0,"
        " positive_fraction=0.5, on=True)], 'c')\n"
        "flow_figure.flow(pd.DataFrame(dict(from_label=['a'], to_label=['b'], n_cells=[2])))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_figure_can_be_saved(tmp_path):
    for form in ("png", "svg", "pdf"):
        drawn(figures.confidence(three_kinds())).savefig(tmp_path / f"f.{form}")
        assert (tmp_path / f"f.{form}").stat().st_size > 1_000


def _points(axes):
    """Places of the dots, from the top down."""
    found = [(float(line.get_xdata()[0]), int(line.get_ydata()[0])) for line in axes.lines]
    return sorted(found, key=lambda place: place[1])


def _hex(colour):
    return "#" + "".join(f"{round(255 * part):02X}" for part in colour[:3])


def _oklab(colours, seen_as):
    rgb = np.array([[int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)] for text in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    axes = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return 100 * np.cbrt(np.clip(linear @ seen_as.T, 0, 1) @ cones.T) @ axes.T
