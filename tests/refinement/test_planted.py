"""One of each of the benchmarks: planted mixtures, and a labelled folder."""

import pytest

from benchmarks import planted, refinement


@pytest.mark.parametrize("profile", ["reference", "adaptive"])
def test_refinement_mends_planted_mixtures(profile):
    row = planted.measure(4, profile)
    assert row["refined"] > row["Stage H"] + 0.2
    assert row["cells, learnt"] > row["cells"] + 0.01


@pytest.mark.slow
def test_refinement_does_not_harm_a_labelled_folder(shared):
    row = refinement.measure(shared / "data" / "pbmc68k_reduced", "adaptive")
    assert row["change"] >= -0.005


def test_f1_is_the_mean_over_the_true_labels():
    # A: 2 of 3 found, 1 wrong: 2*2/(3+3); B: never found; the cell without a truth is left out.
    found = ["A", "A", "B?", "A", "A"]
    assert refinement.macro_f1(found, ["A", "A", "A", "B", ""]) == pytest.approx((4 / 6 + 0) / 2)
