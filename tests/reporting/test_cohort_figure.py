"""The bars of a cohort."""

import base64
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import StepPatch

from ctr_assets.metadata import picture
from ctr_engine.reporting import drawing
from ctr_engine.reporting.cohort_figure import label_shares
from ctr_engine.tables.cohort import LabelCount, cohort_summary
from tests.reporting.figure_tables import HARD_NAMES, faults, texts


def counts(**cells: int) -> list[LabelCount]:
    """Labels below a root R; a label without cells does not stand in the table."""
    paths = {name: "" if name == "Unassigned" else f"R / {name}" for name in cells}
    return [
        LabelCount(cell_type=name, cell_type_path=paths[name], n_cells=n)
        for name, n in cells.items()
        if n
    ]


def random_cohort(sizes: dict[str, int], n_labels: int) -> pd.DataFrame:
    """Samples whose shares have nothing in common, which is the worst case for a picture."""
    rng = np.random.default_rng(0)
    names = [f"Type {i}" for i in range(n_labels - 1)] + ["Unassigned"]
    return cohort_summary(
        (tissue, f"S{i}", counts(**dict(zip(names, rng.multinomial(5000, shares), strict=True))))
        for tissue, n in sizes.items()
        for i, shares in enumerate(rng.dirichlet(np.ones(n_labels), n))
    )


def bars(axes: Any) -> list[list[tuple[float, float]]]:
    """From and to of each label in each bar, from the bottom upwards."""
    parts = [part.get_data() for part in axes.patches if isinstance(part, StepPatch)]
    return [
        list(zip(np.round(part.baseline, 6), np.round(part.values, 6), strict=True))
        for part in parts
    ]


def pixels(shown: str) -> int:
    """Width of an embedded PNG, which stands in its header."""
    header = base64.b64decode(shown.removeprefix("![picture](data:image/png;base64,")[:32])
    return int.from_bytes(header[16:20], "big")


TWO = cohort_summary(
    [
        ("liver", "S10", counts(A=1, B=4)),
        ("liver", "S2", counts(A=2, Unassigned=2)),
        ("lung", "S1", counts(B=10)),
    ]
)


def test_each_tissue_has_a_strip_and_each_sample_a_bar_in_the_order_of_the_names():
    figure = label_shares(TWO)
    liver, lung = figure.axes
    assert [text.get_text() for text in liver.get_xticklabels()] == ["S2", "S10"]
    assert bars(liver) == [
        [(0, 0), (0, 80)],  # B: its shares are the largest of the tissue
        [(0, 50), (80, 100)],  # A
        [(50, 100), (100, 100)],  # Unassigned is always on top
    ]
    assert bars(lung) == [[(0, 100)]]
    assert {"liver", "2 samples, 9 cells", "lung", "1 sample, 10 cells"} <= set(texts(figure))
    assert "3 samples of 2 tissues; a bar is a sample, 0 to 100 % of its cells" in texts(figure)


def test_a_label_has_one_colour_in_all_tissues_and_the_key_names_each_once():
    figure = label_shares(TWO)
    liver, lung = figure.axes
    faces = [[part.get_facecolor()[:3] for part in axes.patches] for axes in (liver, lung)]
    assert faces[0][0] == faces[1][0] == drawing.tint(drawing.BLUE, 0)
    assert faces[0][2] == drawing.tint(drawing.NO_LABEL, 0)
    shown = texts(figure)
    assert [shown.count(name) for name in ("A", "B", "Unassigned")] == [1, 1, 1]


def test_many_samples_have_no_names_and_stand_by_the_commonest_label_of_their_tissue():
    samples = [("liver", f"S{i}", counts(A=100 - i, B=i)) for i in range(1, 61)]
    samples += [("lung", f"S{i}", counts(A=i, B=100 - i)) for i in range(1, 41)]
    liver, lung = label_shares(cohort_summary(samples[::-1])).axes
    assert not liver.get_xticklabels()
    assert [top for _, top in bars(liver)[0]] == list(range(99, 39, -1))
    assert [text.get_text() for text in lung.get_xticklabels()][:2] == ["S1", "S2"]
    assert [top for _, top in bars(lung)[0]] == list(range(99, 59, -1)), "B is the commonest"


def test_beyond_500_samples_some_of_each_tissue_are_drawn_and_it_says_so():
    figure = label_shares(random_cohort({"liver": 900, "lung": 100, "skin": 5}, 3))
    drawn = [len(bars(axes)[0]) for axes in figure.axes]
    assert drawn == [395, 100, 5]
    assert any(text.startswith("900 samples (395 drawn), ") for text in texts(figure))


def test_beyond_8_tissues_those_with_the_most_samples_are_drawn():
    sizes = {f"tissue-{i}": 1 + (i != 3) for i in range(9)}
    figure = label_shares(random_cohort(sizes, 2))
    assert len(figure.axes) == 8
    assert "tissue-3" not in texts(figure)
    assert any("; the 8 tissues with the most samples" in text for text in texts(figure))


@pytest.mark.parametrize(("n_samples", "n_labels", "rest"), [(2, 16, 0), (2, 17, 2), (101, 12, 3)])
def test_the_rarest_labels_are_drawn_as_one(n_samples, n_labels, rest):
    figure = label_shares(random_cohort({"liver": n_samples}, n_labels))
    named = [text for text in texts(figure) if text.startswith("Type ")]
    assert len(named) == n_labels - 1 - rest
    assert (f"{rest} other labels" in texts(figure)) is bool(rest)
    assert "Unassigned" in texts(figure)
    tops = np.array(bars(figure.axes[0])[-1])[:, 1]
    assert np.allclose(tops, 100)


def test_labels_that_share_a_name_are_told_apart_also_one_of_a_person():
    same = [
        LabelCount(cell_type="T Cells", cell_type_path="Immune / T Cells", n_cells=1),
        LabelCount(cell_type="T Cells", cell_type_path="", n_cells=1),
    ]
    shown = texts(label_shares(cohort_summary([("liver", "S1", same)])))
    assert {"T Cells", "T Cells (Immune)"} <= set(shown)


def test_a_cohort_without_labels_says_so():
    assert "no sample has labels" in texts(label_shares(cohort_summary([])))


@pytest.mark.parametrize(
    "sizes",
    [{"liver": 1}, {"liver": 46, "lung": 47}, {"liver": 500}, {f"t-{i}": 70 for i in range(9)}],
)
@pytest.mark.parametrize("n_labels", [2, 25])
def test_nothing_is_cut_nothing_overlaps_and_the_metadata_can_hold_it_legibly(sizes, n_labels):
    table = random_cohort(sizes, n_labels)
    before = table.copy(deep=True)
    assert faults(label_shares(table)) == []
    assert table.equals(before)
    shown = picture(lambda: label_shares(table))["picture"].value
    assert pixels(shown) >= 6.6 * 60


def test_hard_names_are_drawn_as_they_are():
    cells = [LabelCount(cell_type=name, cell_type_path=name, n_cells=1) for name in HARD_NAMES]
    long = "a-very-long-name-of-a-tissue-that-goes-on-and-on"
    table = cohort_summary([(long, "Patient_2023-0001.right.ovary", cells)])
    figure = label_shares(table)
    assert faults(figure) == []
    assert any("免" in text or "□" in text for text in texts(figure))
