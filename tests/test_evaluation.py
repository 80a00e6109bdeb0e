"""Labels beside known ones, and support beside what is right; counted by hand and by loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from ctr_engine.evaluation import (
    ceiling,
    check_support,
    compare_with_truth,
    majorities,
    reliability,
)

A, AB, ABC, AD, E = "A", "A / B", "A / B / C", "A / D", "E"
PATHS = st.sampled_from(["", A, AB, ABC, AD, E])
KNOWN = st.sampled_from([A, AB, ABC, AD, E])


def test_shares_are_counted_by_hand():
    #      right, too deep, too shallow, wrong branch, unassigned, not known
    found = [AB, ABC, A, AD, "", E]
    truth = [AB, AB, AB, AB, AB, ""]
    seen = compare_with_truth(found, truth)
    assert (seen.n_cells, seen.exact, seen.unassigned) == (5, 0.2, 0.2)
    # ancestors shared: 2 + 2 + 1 + 1 + 0; claimed: 2 + 3 + 1 + 2 + 0; known: 5 * 2
    assert seen.hierarchical_precision == pytest.approx(6 / 8)
    assert seen.hierarchical_recall == pytest.approx(6 / 10)
    assert seen.hierarchical_f == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert seen.macro_f1 == pytest.approx(2 * 1 / (1 + 5))


def test_nothing_in_common_is_zero():
    seen = compare_with_truth(["E", ""], ["A", "A"])
    assert (seen.exact, seen.hierarchical_f, seen.macro_f1) == (0, 0, 0)


@given(st.lists(st.tuples(PATHS, KNOWN), min_size=1, max_size=40))
def test_macro_f1_is_that_of_scikit_learn_over_the_true_labels(pairs):
    found, truth = zip(*pairs, strict=True)
    expected = f1_score(truth, found, labels=sorted(set(truth)), average="macro", zero_division=0.0)
    assert compare_with_truth(found, truth).macro_f1 == pytest.approx(expected)


@given(st.lists(st.tuples(PATHS, KNOWN), min_size=1, max_size=40), st.randoms())
def test_the_order_of_the_cells_does_not_matter(pairs, random):
    mixed = list(pairs)
    random.shuffle(mixed)
    first, second = (compare_with_truth(*zip(*some, strict=True)) for some in (pairs, mixed))
    assert first == second


def test_no_known_label_is_refused():
    with pytest.raises(ValueError, match="no cell has a known label"):
        compare_with_truth([A], [""])


def test_the_ceiling_is_the_commonest_true_label_of_each_cluster():
    clusters, truth = list("00011223"), [AB, AB, AD, E, A, "", AD, ""]
    assert majorities(clusters, truth) == {"0": AB, "1": A, "2": AD}  # A before E
    assert ceiling(clusters, truth) == [AB, AB, AB, A, A, AD, AD, ""]


def test_auroc_and_calibration_are_counted_by_hand():
    support, right = [0.95, 0.91, 0.55, 0.51, 0.12], [True, True, False, True, False]
    seen = check_support(support, right)
    # right over wrong: 0.95 and 0.91 beat both, 0.51 beats 0.12 alone: 5 of 6
    assert seen.auroc == pytest.approx(5 / 6)
    bins = [(0.12, 0.0, 0.2), (0.53, 0.5, 0.4), (0.93, 1.0, 0.4)]
    found = reliability(np.array(support), np.array(right))
    assert [tuple(map(float, row)) for row in found] == [pytest.approx(row) for row in bins]
    assert seen.calibration_error == pytest.approx(0.2 * 0.12 + 0.4 * 0.03 + 0.4 * 0.07)
    assert seen.n_clusters == 5


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30))
def test_auroc_is_the_share_of_pairs_in_order(pairs):
    support, right = [value / 20 for value, _ in pairs], [hit for _, hit in pairs]
    won = [
        1.0 if s > t else 0.5 if s == t else 0.0
        for s, hit in zip(support, right, strict=True)
        for t, other in zip(support, right, strict=True)
        if hit and not other
    ]
    seen = check_support(support, right)
    assert seen.auroc == (pytest.approx(sum(won) / len(won)) if won else None)


def test_full_support_has_its_place_in_the_last_bin():
    assert reliability(np.array([1.0, 0.9]), np.array([True, True])) == [
        (pytest.approx(0.95), 1.0, 1.0)
    ]


def test_supports_of_other_clusters_are_refused():
    with pytest.raises(ValueError, match="2 supports for 1 clusters"):
        check_support([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="0 supports for 0 clusters"):
        check_support([], [])
