"""The share of settings near the thresholds that keep the label of a cluster.

The factors of the settings are drawn here again; the settings that keep a label are counted in
plain loops, by hand where one or two thresholds decide, and by the slow oracle.
"""

from typing import Any

import numpy as np
import pytest

from ctr_engine.gating import decider as decider_module
from ctr_engine.gating.robustness import robustness
from tests.gating.deciders import Drawn, decider, decider_of, ends, with_clusters
from tests.oracles.thresholds import Deciding, number, range_of

SEEDS = range(300, 315)
ONE = {"R": {"markers": ["A"]}}
TWO = {"R": {"markers": ["A"]}, "S": {"markers": ["B"]}}
KNOBS = (
    "min_coverage",
    "min_pos_frac",
    "min_enrichment",
    "gap",
    "min_frac_markers_on",
    "anti_penalty_hard_gate",
)
"""Of a map of roots only, without a rule, in their order."""


def factors(n_knobs: int = len(KNOBS)) -> list[list[float]]:
    """One row for each of the hundred settings."""
    return np.random.default_rng(20_200).uniform(0.8, 1.2, (100, n_knobs)).tolist()


def share(keeps, n_knobs: int = len(KNOBS)) -> float:
    """Share of settings that a label survives; ``keeps`` looks at the factor of each knob."""
    kept = 0
    for row in factors(n_knobs):
        if keeps(row):
            kept += 1
    return kept / 100


def by_name(row: list[float]) -> dict[str, float]:
    return dict(zip(KNOBS, row, strict=True))


def test_the_hundred_settings_spread_over_a_fifth_up_and_down():
    drawn = np.array(factors())
    assert drawn.shape == (100, 6)
    assert 0.8 <= drawn.min() < 0.81
    assert 1.19 < drawn.max() < 1.2


def test_a_label_far_from_every_threshold_survives_all_settings():
    given = decider(TWO, [(3, 0.9), (-3, 0.1)])
    assert ends(given)[0] == ("R", "leaf_reached")
    assert robustness(given).tolist() == [1]


def test_no_label_far_from_every_threshold_survives_as_well():
    given = decider(TWO, [(-3, 0), (-3, 0)], min_enrichment={"0": 1.0})
    assert ends(given)[0] == ("", "no_root_passed")
    assert robustness(given).tolist() == [1]


# ---------------------------------------------------------------------- one threshold decides


def test_where_one_threshold_decides_the_settings_are_counted():
    given = decider(ONE, [(1, 0.9)], min_enrichment={"0": 0.95})
    expected = share(lambda row: 0.95 * by_name(row)["min_enrichment"] <= 1)
    assert 0.4 < expected < 0.8
    assert robustness(given).tolist() == [expected]


def test_a_cluster_that_fails_keeps_that_too():
    given = decider(ONE, [(1, 0.9)], min_enrichment={"0": 1.05})
    expected = share(lambda row: 1.05 * by_name(row)["min_enrichment"] > 1)
    assert 0.4 < expected < 0.8
    assert robustness(given).tolist() == [expected]


def test_a_threshold_below_0_is_turned_both_ways():
    given = decider(ONE, [(-1, 0.9)], min_enrichment={"0": -1.05})
    expected = share(lambda row: -1.05 * by_name(row)["min_enrichment"] <= -1)
    assert 0.4 < expected < 0.8
    assert robustness(given).tolist() == [expected]


def test_a_threshold_of_0_stays():
    given = decider(ONE, [(0, 0.9)])
    assert (ends(given)[0][0], robustness(given).tolist()) == ("R", [1])


@pytest.mark.parametrize(("enrichment", "least"), [(1.21, 1), (1.19, 0.9)])
def test_a_value_a_fifth_beyond_its_threshold_is_certain_and_a_nearer_one_is_not(enrichment, least):
    found = robustness(decider(ONE, [(enrichment, 0.9)], min_enrichment={"0": 1.0}))
    assert least <= found[0] <= 1
    assert (found[0] == 1) == (enrichment == 1.21)


def test_a_fraction_is_kept_within_its_range():
    given = decider(ONE, [(2, 1)], min_coverage={"0": 0.95}, min_pos_frac={"0": 0.95})
    assert ends(given)[0][0] == "R"
    assert share(lambda row: 0.95 * by_name(row)["min_coverage"] <= 1) < 1
    assert robustness(given).tolist() == [1]


def test_a_gap_has_no_end_to_be_kept_at():
    given = decider(TWO, [(4, 0.5), (2, 0.5)], root_gap_threshold=1.9)
    expected = share(lambda row: 1.9 * by_name(row)["gap"] <= 2)
    assert 0.4 < expected < 1
    assert robustness(given).tolist() == [expected]


def test_two_thresholds_are_turned_independently():
    given = decider(TWO, [(1, 0.5), (0.5, 0.5)], min_enrichment={"0": 0.45}, root_gap_threshold=0.5)

    def keeps(row):
        turned = by_name(row)
        root, other = (0.45 * turned["min_enrichment"] <= e for e in (1, 0.5))
        close = 0.5 * turned["gap"] > 0.5
        return root and not (other and close)

    expected = share(keeps)
    assert share(lambda row: by_name(row)["gap"] <= 1) < expected < 1
    assert robustness(given).tolist() == [expected]


def test_one_threshold_of_a_level_is_turned_by_one_factor_for_all_its_cell_types():
    given = decider(TWO, [(1, 0.5), (1, 0.5)], min_enrichment={"0": 0.95})
    assert ends(given)[0][0] == "R~S"
    expected = share(lambda row: 0.95 * by_name(row)["min_enrichment"] <= 1)
    assert robustness(given).tolist() == [expected]  # both pass or both fail


def test_an_override_is_turned_by_a_factor_of_its_own():
    body = {"markers": ["A"], "gating_overrides": {"min_enrichment": 0.95}}
    given = decider({"R": body, "S": TWO["S"]}, [(1, 0.5), (1, 0.5)], min_enrichment={"0": 0.95})
    assert [knob.name for knob in given.knobs][2:4] == [
        "min_enrichment.0",
        "gating_overrides.R.min_enrichment",
    ]
    expected = share(lambda row: 0.95 * row[2] <= 1 and 0.95 * row[3] <= 1, n_knobs=7)
    assert robustness(given).tolist() == [expected]


def test_the_numbers_of_root_rules_are_turned():
    rules = {
        "root_hard_requirements": {
            "R": {"marker": "B", "min_pos_frac": 0.5, "min_enrichment": 1.0}
        },
        "root_veto_markers": {"R": {"markers": ["C", "D"], "max_pos_frac": 0.5}},
    }
    given = decider(ONE, [(2, 0.9), (1.1, 0.55), (0, 0.4), (0, 0.45)], **rules)
    assert ends(given)[0][0] == "R"
    expected = share(
        lambda row: 0.5 * row[6] <= 0.55 and row[7] <= 1.1 and 0.5 * row[8] >= 0.45, n_knobs=9
    )
    assert 0.2 < expected < 0.9
    assert robustness(given).tolist() == [expected]


def test_another_reason_for_the_same_label_keeps_the_label():
    content = {
        "R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}, "Y": {"markers": ["C"]}}}
    }
    options: dict[str, Any] = {"min_enrichment": {"1": 1.0}, "min_gap": {"1": 1.0}}
    given = decider(content, [(3, 0.9), (1.1, 0.9), (1.1, 0.9)], **options)
    assert ends(given)[0] == ("R", "ambiguous_siblings")
    assert robustness(given).tolist() == [1]  # no child passes, or both are equal


def test_robustness_is_that_of_each_cluster():
    values = {"0": [(3, 0.9)], "1": [(1, 0.9)], "2": [(-3, 0.9)]}
    given = decider(ONE, values, min_enrichment={"0": 0.95})
    expected = share(lambda row: 0.95 * by_name(row)["min_enrichment"] <= 1)
    assert robustness(given).tolist() == [1, expected, 1]


# ---------------------------------------------------------------------- against the oracle


def _expected(case: dict[str, Any], names: list[str]) -> list[float]:
    """Count by the oracle how often each cluster keeps its label; ``names`` of the knobs."""
    oracle = Deciding(case)
    kept = dict.fromkeys(case["values"], 0)
    for row in factors(len(names)):
        turned = {}
        for name, factor in zip(names, row, strict=True):
            low, high = range_of(name)
            value = number(case, name) * factor
            if low == 0:
                value = max(value, 0.0)
            if high == 1:
                value = min(value, 1.0)
            turned[name] = value
        changed = oracle.with_numbers(turned)
        for cluster in kept:
            kept[cluster] += changed.ends(cluster)[0] == oracle.ends(cluster)[0]
    return [count / 100 for count in kept.values()]


@pytest.mark.parametrize("seed", SEEDS)
def test_robustness_of_drawn_cases_is_counted_by_the_oracle(seed: int):
    case = Drawn(seed).case()
    given = decider_of(case)
    assert robustness(given).tolist() == _expected(case, [knob.name for knob in given.knobs])


def test_drawn_cases_have_robust_labels_and_others():
    found = np.concatenate([robustness(decider_of(Drawn(seed).case())) for seed in SEEDS])
    assert (found == 1).sum() >= 8
    assert (found < 1).sum() >= 8
    assert found.min() > 0


# ---------------------------------------------------------------------- properties


def _by_id(case: dict[str, Any]) -> dict[str, float]:
    given = decider_of(case)
    return dict(zip(given.cluster_ids, robustness(given).tolist(), strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_names_order_and_company_of_a_cluster_do_not_matter(seed: int):
    case = Drawn(seed).case()
    first = _by_id(case)
    names = {"0": "12", "1": "3", "2": "7"}
    assert _by_id(with_clusters(case, names)) == {names[name]: v for name, v in first.items()}
    for name, value in first.items():
        assert _by_id(with_clusters(case, {name: name})) == {name: value}


def test_robustness_is_the_same_each_time_and_leaves_other_random_numbers_alone():
    given = decider_of(Drawn(301).case())
    np.random.seed(3)  # noqa: NPY002
    first = robustness(given).tolist()
    after = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    assert after == np.random.random()  # noqa: NPY002
    assert robustness(given).tolist() == first


def test_parts_of_seven_rows_give_the_same_robustness(monkeypatch):
    cases = [Drawn(seed).case() for seed in SEEDS]
    whole = [_by_id(case) for case in cases]
    monkeypatch.setattr(decider_module, "_ROWS_AT_ONCE", 7)
    assert [_by_id(case) for case in cases] == whole
