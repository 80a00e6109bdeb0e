"""How often a label survives when thresholds, weights, positive cells and markers are moved."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctr_engine.analysis import AnalysisParams
from ctr_engine.cluster_statistics import POSITIVE_SHIFTS, Statistics
from ctr_engine.gating import stability as module
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.stability import stability
from ctr_engine.scoring import Evidence, ScoringParams, node_scores
from tests.builders import resolved
from tests.gating.deciders import PANEL, Drawn, evidence, with_clusters
from tests.oracles.run import merge_scoring
from tests.oracles.support import Moved, moved_ends
from tests.oracles.thresholds import Deciding, number, of_map, range_of

SEEDS = range(400, 412)
SHIFTS = ("minus_02", "minus_01", "", "plus_01", "plus_02")
N = 40


def drawn(n_knobs: int, n_markers: int) -> dict[str, np.ndarray]:
    """What is moved in each of the forty decisions, drawn here again."""
    random = np.random.default_rng(20_240)
    return {
        "knobs": random.uniform(0.8, 1.2, (N, n_knobs)),
        "weights": random.uniform(0.8, 1.2, (2, N)),
        "shift": random.integers(5, size=(N, n_markers)),
        "left_out": random.random((N, n_markers)) < 0.2,
    }


def shifted(found: Evidence, shares: np.ndarray) -> Evidence:
    """Evidence with these shares of positive cells, shape ``(5, n_clusters, n_markers)``."""
    table = found.statistics.clusters.copy()
    for name, values in zip(POSITIVE_SHIFTS, shares, strict=True):
        table[name] = values.ravel()
    return replace(
        found,
        statistics=Statistics(found.statistics.reference, table),
        positive_fraction=shares[2],
        on=(found.enrichment > 0) & (shares[2] > 0.15),
    )


def given(
    content: dict[str, Any],
    found: Evidence,
    profile: str = "reference",
    scoring: dict[str, Any] | None = None,
    panel: tuple[str, ...] = PANEL,
    **gating: Any,
) -> tuple[Evidence, ScoringParams, Decider]:
    raw = {"profile": profile, "gating": gating, "scoring": scoring or {}}
    params = AnalysisParams.model_validate(raw)
    on_panel = resolved(content, panel)
    chosen = params.scoring_for(on_panel.marker_map)
    scores = node_scores(found, on_panel, chosen)
    limits = params.gating_for(on_panel.marker_map)
    return found, chosen, Decider.of(found, scores, on_panel, limits)


def still(values: dict[str, list[tuple[float, float]]]) -> Evidence:
    """Evidence whose shares do not move with the threshold."""
    found = evidence(values)
    return shifted(found, np.stack([found.positive_fraction] * 5))


ONE = {"R": {"markers": ["A"]}}
TWO = {"R": {"markers": ["A"]}, "S": {"markers": ["B"]}}


# ---------------------------------------------------------------------- counted by hand


def test_a_label_far_from_everything_is_stable_and_so_is_none_at_all():
    found = stability(*given(ONE, still({"0": [(3, 0.9)], "1": [(-3, 0.0)]})))
    assert found.tolist() == [1, 1]


def test_thresholds_are_moved():
    # the knobs of one root are those of test_robustness; min_enrichment is the third
    args = given(ONE, still({"0": [(1, 0.9)]}), min_enrichment={"0": 0.95})
    factors = drawn(len(args[2].knobs), 8)["knobs"][:, 2]
    assert args[2].knobs[2].name == "min_enrichment.0"
    assert stability(*args).tolist() == [(0.95 * factors <= 1).mean()]
    assert 0 < stability(*args)[0] < 1


def test_the_weight_of_anti_markers_is_moved():
    # the penalty 0.8 * (0.5 + 0.5) = 0.8 may be 0.84; with the knob moved as well
    content = {"R": {"markers": ["A"], "anti_markers": ["B"]}}
    args = given(content, still({"0": [(3, 0.9), (0.5, 0.5)]}), anti_penalty_hard_gate=0.84)
    moves = drawn(len(args[2].knobs), 8)
    (knob,) = [i for i, k in enumerate(args[2].knobs) if k.name == "anti_penalty_hard_gate"]
    penalty = np.where(moves["left_out"][:, 1], 0, 0.8 * moves["weights"][0])
    expected = (penalty <= 0.84 * moves["knobs"][:, knob]).mean()
    assert 0.2 < expected < 1
    assert stability(*args).tolist() == [expected]


def test_the_bonus_of_differential_expression_is_moved():
    # R: 1 + 0.5 + 0.6 * 0.5 f; S: 1.295 + 0.5: R leads when f is at least 0.9833
    found = still({"0": [(1, 0.5), (1.295, 0.5)]})
    bonus = np.zeros(found.bonus.shape)
    bonus[0, 0] = 0.5
    args = given(TWO, replace(found, bonus=bonus), root_gap_threshold=0.0)
    factors = drawn(len(args[2].knobs), 8)["weights"][1]
    expected = (1 + 0.3 * factors >= 1.295).mean()
    assert 0.2 < expected < 0.8
    assert stability(*args).tolist() == [expected]


def test_the_threshold_of_positive_cells_is_moved():
    found = evidence({"0": [(1, 0.5)]})
    shares = np.stack([np.full((1, 8), share) for share in (0.9, 0.7, 0.5, 0.1, 0.05)])
    args = given(
        ONE, shifted(found, shares), min_pos_frac={"0": 0.3}, min_frac_markers_on={"0": 1.0}
    )
    moves = drawn(len(args[2].knobs), 8)
    names = [knob.name for knob in args[2].knobs]
    least = 0.3 * moves["knobs"][:, names.index("min_pos_frac.0")]
    most_on = np.minimum(moves["knobs"][:, names.index("min_frac_markers_on.0")], 1)
    positive = np.array([0.9, 0.7, 0.5, 0.1, 0.05])[moves["shift"][:, 0]]
    on = positive > 0.15
    expected = ((positive >= least) | (on >= most_on)).mean()
    assert 0.3 < expected < 0.9
    assert stability(*args).tolist() == [expected]


def test_a_marker_is_left_out_in_a_fifth_and_never_the_last():
    # A carries the node: (3 + -2.2) / 2 is above the threshold, -2.2 alone is not
    content = {"R": {"markers": ["A", "B"]}}
    args = given(content, still({"0": [(3, 0.9), (-2.2, 0.9)]}), min_enrichment={"0": 0.1})
    left = drawn(len(args[2].knobs), 8)["left_out"]
    expected = (~(left[:, 0] & ~left[:, 1])).mean()
    assert 0.7 < expected < 1
    assert stability(*args).tolist() == [expected]
    alone = given({"R": {"markers": ["B"]}}, still({"0": [(0, 0), (1, 0.9)]}))
    assert left[:, 1].any()
    assert stability(*alone).tolist() == [1]


# ---------------------------------------------------------------------- against the oracle


def random_shares(case: dict[str, Any], seed: int) -> np.ndarray:
    """Shares of positive cells that fall as the threshold rises; the middle ones are drawn."""
    middle = np.array(
        [[v["positive_fraction"] for v in row.values()] for row in case["values"].values()]
    )
    step = np.random.default_rng(seed).choice([0.0, 1 / 16, 1 / 8], size=(4, *middle.shape))
    low, high = np.minimum(middle + step[0], 1), np.maximum(middle - step[1], 0)
    return np.stack(
        [np.minimum(low + step[2], 1), low, middle, high, np.maximum(high - step[3], 0)]
    )


def of_case(case: dict[str, Any], shares: np.ndarray) -> tuple[Evidence, ScoringParams, Decider]:
    values = {
        name: [(v["enrichment"], v["positive_fraction"]) for v in row.values()]
        for name, row in case["values"].items()
    }
    found = shifted(evidence(values, case["panel"]), shares)
    return given(
        case["marker_map"], found, case["profile"], case["scoring"], case["panel"], **case["gating"]
    )


def expected_shares(case: dict[str, Any], shares: np.ndarray, names: list[str]) -> list[float]:
    oracle, moves = Deciding(case), drawn(len(names), len(case["panel"]))
    of = (case["profile"], case["scoring"], of_map(case["marker_map"]), case["gating"])
    scoring = merge_scoring(*of)
    kept = dict.fromkeys(case["values"], 0)
    for i in range(N):
        numbers = {}
        for name, factor in zip(names, moves["knobs"][i], strict=True):
            low, high = range_of(name)
            value = number(case, name) * factor
            numbers[name] = min(
                max(value, 0.0) if low == 0 else value, high if high == 1 else value
            )
        positive = {
            cluster: {
                marker: shares[moves["shift"][i, m], c, m] for m, marker in enumerate(case["panel"])
            }
            for c, cluster in enumerate(case["values"])
        }
        left = {m for m, out in zip(case["panel"], moves["left_out"][i], strict=True) if out}
        moved = Moved(numbers, positive, left, moves["weights"][0, i])
        ends = moved_ends(oracle, scoring, moved)
        for cluster in kept:
            kept[cluster] += ends[cluster] == oracle.ends(cluster)[0]
    return [count / N for count in kept.values()]


@pytest.mark.parametrize("seed", SEEDS)
def test_stability_of_drawn_cases_is_counted_by_the_oracle(seed: int):
    case = Drawn(seed).case()
    shares = random_shares(case, seed)
    args = of_case(case, shares)
    expected = expected_shares(case, shares, [knob.name for knob in args[2].knobs])
    assert stability(*args).tolist() == expected


def test_drawn_cases_have_stable_labels_and_others():
    found = []
    for seed in SEEDS:
        case = Drawn(seed).case()
        found += stability(*of_case(case, random_shares(case, seed))).tolist()
    assert (np.array(found) == 1).any()
    assert (np.array(found) < 0.9).sum() > 5


# ---------------------------------------------------------------------- properties


@pytest.mark.parametrize("seed", SEEDS)
def test_names_and_company_of_a_cluster_do_not_matter(seed: int):
    case = Drawn(seed).case()
    shares = random_shares(case, seed)
    first = stability(*of_case(case, shares)).tolist()
    renamed = with_clusters(case, {"0": "3", "1": "7", "2": "12"})
    assert stability(*of_case(renamed, shares)).tolist() == first
    for i, name in enumerate(case["values"]):
        alone = with_clusters(case, {name: name})
        assert stability(*of_case(alone, shares[:, [i]])).tolist() == [first[i]]


def test_parts_of_one_decision_give_the_same(monkeypatch):
    case = Drawn(402).case()
    args = of_case(case, random_shares(case, 402))
    whole = stability(*args).tolist()
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 1)
    assert stability(*args).tolist() == whole
