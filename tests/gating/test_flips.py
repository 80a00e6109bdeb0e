"""The nearest setting of one number that gives a cluster another label.

Counted by hand: a cell type of one marker has the score enrichment + positive fraction, and less
0.8 * (enrichment above 0 + positive fraction) of its one anti-marker.
"""

from typing import Any

import numpy as np
import pytest

from ctr_engine.gating import decider as decider_module
from ctr_engine.gating import flips as flips_module
from ctr_engine.gating.compete import AMBIGUOUS_SIBLINGS, NO_CHILD, path_of
from ctr_engine.gating.flips import flips
from tests.gating.deciders import (
    Drawn,
    decider,
    decider_of,
    decider_of_cells,
    ends,
    found_flips,
    own_flips,
    with_clusters,
)
from tests.oracles import thresholds as slow
from tests.oracles.thresholds import Deciding, nearest, number, places
from tests.test_oracle_cases import Generator

ONE = {"R": {"markers": ["A"]}}
TWO = {"R": {"markers": ["A"]}, "S": {"markers": ["B"]}}
CHILDREN = {"R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}, "Y": {"markers": ["C"]}}}}


def label(given):
    return ends(given)[0][0]


def flips_at(given, name):
    return [(value, path) for knob, value, path in own_flips(given) if knob == name]


# ---------------------------------------------------------------------- gates of every cell type


def test_too_few_markers_on_the_panel():
    given = decider({"R": {"markers": ["A", "Absent 1", "Absent 2"]}}, [(1, 0.5)])
    assert label(given) == ""
    assert own_flips(given) == [("min_coverage.0", 0.3333, "R")]


def test_just_enough_markers_on_the_panel():
    given = decider({"R": {"markers": ["A", "B", "Absent"]}}, [(1, 0.5), (1, 0.5)])
    assert own_flips(given) == [("min_coverage.0", 0.6667, ""), ("min_enrichment.0", 1.0001, "")]


def test_a_value_at_its_threshold_flips_one_step_above_it():
    given = decider({"R": {"markers": ["A", "Absent"]}}, [(1, 0.5)])
    assert own_flips(given)[0] == ("min_coverage.0", 0.5001, "")


PAIR = {"R": {"markers": ["A", "B"]}}
# A is on, B is not: half of the markers are on, and the mean enrichment is 0.25


@pytest.mark.parametrize(
    ("fractions", "min_on", "here", "expected"),
    [
        ((0.5, 0.25), 0.4, "R", []),  # both pass, neither alone decides
        ((0.5, 0.25), 0.6, "R", [("min_pos_frac.0", 0.3751, "")]),
        ((0.25, 0.125), 0.4, "R", [("min_frac_markers_on.0", 0.5001, "")]),
        (
            (0.25, 0.125),
            0.6,
            "",
            [("min_frac_markers_on.0", 0.5, "R"), ("min_pos_frac.0", 0.1875, "R")],
        ),
    ],
)
def test_positive_cells_and_markers_on_stand_in_for_each_other(fractions, min_on, here, expected):
    values = list(zip((1, -0.5), fractions, strict=True))
    given = decider(PAIR, values, min_frac_markers_on={"0": min_on})
    assert label(given) == here
    assert [flip for flip in own_flips(given) if flip[0] != "min_enrichment.0"] == expected


def test_a_mean_enrichment_below_and_above_its_threshold():
    below = decider(ONE, [(-0.25, 0.5)])
    assert (label(below), own_flips(below)) == ("", [("min_enrichment.0", -0.25, "R")])
    above = decider(ONE, [(0.25, 0.5)])
    assert (label(above), own_flips(above)) == ("R", [("min_enrichment.0", 0.2501, "")])


def test_settings_lie_on_the_grid_wherever_the_threshold_lies():
    options = {"min_enrichment": {"0": 0.12345}}
    passes = decider(ONE, [(0.12345, 0.5)], **options)
    assert own_flips(passes) == [("min_enrichment.0", 0.1235, "")]
    fails = decider(ONE, [(0.12344, 0.5)], **options)
    assert own_flips(fails) == [("min_enrichment.0", 0.1234, "R")]
    (flip,) = flips(fails)
    assert flip.change == pytest.approx(-0.00005)


def test_the_gates_of_a_child():
    content = {"R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B", "Absent"]}}}}
    given = decider(content, [(1, 0.5), (-0.75, 0.5)])
    assert label(given) == "R"
    assert own_flips(given) == [
        ("min_enrichment.1", -0.75, "R / X"),
        ("min_enrichment.0", 1.0001, ""),
    ]


def test_a_cell_type_without_a_marker_never_flips():
    given = decider({"R": {"markers": ["Absent"]}}, [])
    assert own_flips(given) == []


# ---------------------------------------------------------------------- overrides


def test_the_own_threshold_of_a_cell_type():
    content = {"R": {"markers": ["A"], "gating_overrides": {"min_enrichment": 0.75}}}
    given = decider(content, [(0.5, 0.5)])
    assert label(given) == ""
    assert own_flips(given) == [("gating_overrides.R.min_enrichment", 0.5, "R")]


def test_the_threshold_of_the_level_moves_only_cell_types_without_their_own():
    own = {"min_enrichment": 0.0}
    content = {"R": {"markers": ["A"], "gating_overrides": own}, "S": {"markers": ["B"]}}
    given = decider(content, [(0.5, 0.5), (2, 0.5)])
    assert label(given) == "S"
    assert own_flips(given) == [
        ("root_gap_threshold", 1.5001, "S~R"),
        ("min_enrichment.0", 2.0001, "R"),
    ]


# ---------------------------------------------------------------------- gaps


def test_roots_that_are_too_close():
    given = decider(TWO, [(1, 0.5), (0.9, 0.5)])
    assert label(given) == "R~S"
    assert own_flips(given) == [
        ("root_gap_threshold", 0.1, "R"),
        ("min_enrichment.0", 0.9001, "R"),
        ("min_enrichment.0", 1.0001, ""),
    ]
    given = decider(TWO, [(1, 0.5), (0.9, 0.5)], min_gap={"0": 0.4})
    assert own_flips(given)[0] == ("min_gap.0", 0.1, "R")


def test_roots_that_are_just_far_enough():
    given = decider(TWO, [(1, 0.5), (0.75, 0.5)])
    assert label(given) == "R"
    assert own_flips(given) == [
        ("root_gap_threshold", 0.2501, "R~S"),
        ("min_enrichment.0", 1.0001, ""),
    ]


def test_equal_roots_are_told_apart_by_no_gap_at_all():
    given = decider(TWO, [(1, 0.5), (1, 0.5)])
    assert flips_at(given, "root_gap_threshold") == [(0, "R")]


def test_siblings_that_are_too_close():
    given = decider(CHILDREN, [(1, 0.5), (0.6, 0.5), (0.4, 0.5)])
    assert ends(given) == [("R", "ambiguous_siblings")]
    assert own_flips(given) == [
        ("min_gap.1", 0.2, "R / X"),
        ("min_enrichment.1", 0.4001, "R / X"),
        ("min_enrichment.0", 1.0001, ""),
    ]


def test_the_own_gap_of_the_winner_counts_and_not_that_of_the_runner_up():
    content = {
        "R": {
            "markers": ["A"],
            "subtypes": {
                "X": {"markers": ["B"], "gating_overrides": {"min_gap": 0.3}},
                "Y": {"markers": ["C"], "gating_overrides": {"min_gap": 0.1}},
                "Z": {"markers": ["D"]},
            },
        }
    }
    given = decider(content, [(1, 0.5), (0.6, 0.5), (0.4, 0.5), (-0.4, 0.5)])
    assert label(given) == "R"
    gaps = [flip for flip in own_flips(given) if "gap" in flip[0]]
    assert gaps == [("gating_overrides.R / X.min_gap", 0.2, "R / X")]


def test_one_gap_that_holds_for_two_levels():
    last = {"U": {"markers": ["D"], "subtypes": {"W": {"markers": ["F"]}, "Z": {"markers": ["G"]}}}}
    below = {"T": {"markers": ["C"], "subtypes": {**last, "V": {"markers": ["E"]}}}}
    content = {"R": {"markers": ["A"], "subtypes": {"S": {"markers": ["B"], "subtypes": below}}}}
    enrichment = (1, 1, 1, 1, 0.5, 1, 0.9)  # U leads by 0.5 at level 3, W by 0.1 at level 4
    given = decider(content, [(e, 0.5) for e in enrichment])
    assert label(given) == "R / S / T / U"
    assert flips_at(given, "min_gap.3") == [(0.1, "R / S / T / U / W"), (0.5001, "R / S / T")]


def test_the_gap_of_a_race_that_is_not_run_yet_moves_nothing():
    content = {"S": {"markers": ["D"]}, **CHILDREN}
    given = decider(content, [(1, 0.5), (0.6, 0.5), (0.4, 0.5), (2, 0.5)])
    assert label(given) == "S"
    assert flips_at(given, "min_gap.1") == []
    assert flips_at(given, "root_gap_threshold") == [(1.0001, "S~R")]


# ---------------------------------------------------------------------- root rules

HARD = "root_hard_requirements.R"


@pytest.mark.parametrize(
    ("rule", "measured", "here", "expected"),
    [
        ((0.3, 0.2), (0.4, 0.25), "", [("min_pos_frac", 0.25, "R")]),
        ((0.3, 0.2), (0.1, 0.5), "", [("min_enrichment", 0.1, "R")]),
        ((0.3, 0.2), (0.1, 0.25), "", []),  # both fail, neither alone decides
        (
            (0.3, 0.2),
            (0.4, 0.5),
            "R",
            [("min_enrichment", 0.4001, ""), ("min_pos_frac", 0.5001, "")],
        ),
        ((None, 0.2), (0.1, 0.0), "", [("min_enrichment", 0.1, "R")]),
        ((0.3, None), (-9, 0.2), "", [("min_pos_frac", 0.2, "R")]),
        ((0.3, None), (0, 1), "R", []),  # no fraction is above 1
    ],
)
def test_the_fraction_and_the_enrichment_of_a_hard_requirement(rule, measured, here, expected):
    asked = dict(zip(("min_pos_frac", "min_enrichment"), rule, strict=True))
    requirement = {"marker": "B", **{k: v for k, v in asked.items() if v is not None}}
    given = decider(ONE, [(1, 0.5), measured], root_hard_requirements={"R": requirement})
    assert label(given) == here
    found = [flip for flip in own_flips(given) if flip[0] != "min_enrichment.0"]
    assert found == [(f"{HARD}.{name}", value, path) for name, value, path in expected]


def test_a_required_marker_that_the_panel_lacks_is_served_by_no_setting():
    rule = {"marker": "Absent", "min_pos_frac": 0.3, "min_enrichment": 0.2}
    given = decider(ONE, [(1, 0.5)], root_hard_requirements={"R": rule})
    assert (label(given), own_flips(given)) == ("", [])


VETO = "root_veto_markers.R.max_pos_frac"


@pytest.mark.parametrize(
    ("fractions", "here", "expected"),
    [
        ((0.4, 0.6), "", [(0.6, "R")]),  # both must be let in
        ((0.2, 0.1), "R", [(0.1999, "")]),  # one that is not suffices
        ((0.0, 0.0), "R", []),  # none is below 0
        ((0.0, 1.0), "", [(1.0, "R")]),
    ],
)
def test_the_limit_of_a_veto(fractions, here, expected):
    rule = {"R": {"markers": ["B", "Absent", "C"], "max_pos_frac": 0.3}}
    values = [(1, 0.5), *[(0, fraction) for fraction in fractions]]
    given = decider(ONE, values, root_veto_markers=rule)
    assert label(given) == here
    assert flips_at(given, VETO) == expected


def test_a_veto_whose_markers_the_panel_lacks_never_flips():
    rule = {"R": {"markers": ["Absent"], "max_pos_frac": 0.3}}
    given = decider(ONE, [(1, 0.5)], root_veto_markers=rule)
    assert flips_at(given, VETO) == []


# ---------------------------------------------------------------------- anti-markers

ANTI = {"R": {"markers": ["A"], "anti_markers": ["B"]}}
OFF = {"R": {**ANTI["R"], "gating_overrides": {"require_anti_markers_off": True}}}


def test_the_largest_penalty():
    passes = decider(ANTI, [(1, 0.5), (0.5, 0.5)])
    assert own_flips(passes) == [
        ("anti_penalty_hard_gate", 0.7999, ""),
        ("min_enrichment.0", 1.0001, ""),
    ]
    fails = decider(ANTI, [(1, 0.5), (1, 0.5)])
    assert (label(fails), own_flips(fails)) == ("", [("anti_penalty_hard_gate", 1.2, "R")])


def test_anti_markers_that_must_be_off():
    fails = decider(OFF, [(1, 0.5), (-1, 0.3)])
    assert (label(fails), own_flips(fails)) == ("", [("anti_off_max_positive_fraction", 0.3, "R")])
    passes = decider(OFF, [(1, 0.5), (-1, 0.1)])
    assert own_flips(passes) == [
        ("anti_off_max_positive_fraction", 0.0999, ""),
        ("anti_penalty_hard_gate", 0.0799, ""),
        ("min_enrichment.0", 1.0001, ""),
    ]


# ---------------------------------------------------------------------- gate inheritance

INNER = {
    "R": {"markers": ["A", "Absent 1", "Absent 2"], "subtypes": {"X": {"markers": ["B"]}}},
}


@pytest.mark.parametrize(
    ("inherits", "child", "here", "expected"),
    [
        (True, 1, "R / X", [("min_enrichment.1", 1.0001, "")]),  # R falls with X
        (False, 1, "", [("min_coverage.0", 0.3333, "R / X")]),
        (True, -0.75, "", [("min_coverage.0", 0.3333, "R"), ("min_enrichment.1", -0.75, "R / X")]),
        (False, -0.75, "", [("min_coverage.0", 0.3333, "R")]),
    ],
)
def test_a_parent_that_lacks_markers_hangs_on_its_child(inherits, child, here, expected):
    given = decider(INNER, [(1, 0.5), (child, 0.5)], gate_inheritance=inherits)
    assert label(given) == here
    assert own_flips(given) == expected


# ---------------------------------------------------------------------- several labels at one knob


def test_each_other_label_of_a_knob_has_its_nearest_setting():
    content = {**TWO, "T": {"markers": ["C"]}}
    given = decider(content, [(0.5, 0.5), (0.4, 0.5), (-0.05, 1)])  # scores 1, 0.9, 0.95
    assert label(given) == "R~S"
    assert own_flips(given) == [
        ("min_enrichment.0", -0.05, "R~T"),
        ("root_gap_threshold", 0.1, "R"),
        ("min_enrichment.0", 0.4001, "R"),
        ("min_enrichment.0", 0.5001, ""),
    ]


@pytest.mark.parametrize(
    ("x", "y", "setting", "stop"),
    [
        ((-0.3, 0.9), (-0.55, 1), -0.55, AMBIGUOUS_SIBLINGS),  # 0.05 down; 0.2001 up
        ((-0.3, 0.4), (-0.9, 1), -0.2999, NO_CHILD),  # 0.4 down; 0.2001 up
    ],
)
def test_of_two_ways_to_a_label_the_shorter_is_given(x, y, setting, stop):
    given = decider(CHILDREN, [(1, 0.5), x, y])
    assert label(given) == "R / X"
    assert flips_at(given, "min_enrichment.1") == [(setting, "R")]
    assert flips(given)[0].stop == stop


def test_a_knob_that_only_moves_the_reason_of_a_stop_is_no_flip():
    given = decider(CHILDREN, [(1, 0.5), (0.6, 0.5), (0.4, 0.5)])
    no_child = given.settings.copy()
    no_child[[knob.name == "min_enrichment.1" for knob in given.knobs]] = 9
    assert given.under(np.array([0]), no_child[None, :]).stop.tolist() == [NO_CHILD]
    assert ("min_enrichment.1", 0.6001, "R") not in own_flips(given)


THREE_CLUSTERS = {
    "0": [(1, 0.5), (0, 0.5)],
    "2": [(-1, 0), (-1, 0)],  # two gates of each root fail
    "10": [(1, 0.5), (0.9, 0.5)],
}


def test_flips_of_all_clusters_come_in_their_order_with_the_smallest_change_first():
    given = decider(TWO, THREE_CLUSTERS)
    assert found_flips(given) == [
        ("0", "root_gap_threshold", 1.0001, "R~S"),
        ("0", "min_enrichment.0", 1.0001, ""),
        ("10", "root_gap_threshold", 0.1, "R"),
        ("10", "min_enrichment.0", 0.9001, "R"),
        ("10", "min_enrichment.0", 1.0001, ""),
    ]


def test_only_the_clusters_and_changes_asked_for():
    given = decider(TWO, THREE_CLUSTERS)
    assert [flip[0] for flip in found_flips(given, clusters=[2])] == ["10", "10", "10"]
    assert found_flips(given, clusters=[1]) == []
    assert found_flips(given, clusters=[]) == []
    assert found_flips(given, within=0.7) == [("10", "root_gap_threshold", 0.1, "R")]
    assert found_flips(given, within=0.1) == []


# ---------------------------------------------------------------------- against brute force


def _engine(given: Any) -> dict[tuple[str, str, str], float]:
    """Settings found, by cluster, knob and path."""
    found = found_flips(given)
    by_label = {(cluster, knob, path): value for cluster, knob, value, path in found}
    assert len(by_label) == len(found), "a label of a knob is given twice"
    return by_label


def _changes(oracle: Deciding, found: dict[tuple[str, str, str], float]) -> dict[Any, float]:
    return {key: round(abs(v - number(oracle.case, key[1])), 9) for key, v in found.items()}


@pytest.mark.parametrize(
    ("decimals", "seed"), [*((1, seed) for seed in range(20)), *((2, seed) for seed in range(2))]
)
def test_flips_are_those_of_a_complete_scan_of_a_coarse_grid(decimals, seed, monkeypatch):
    monkeypatch.setattr(flips_module, "DECIMALS", decimals)
    case = Drawn(seed).case()
    oracle, expected = Deciding(case), {}
    for name in places(case):
        settings = slow.grid(*slow.range_of(name), decimals)
        expected |= nearest(oracle, name, slow.scan(oracle, name, settings))
    assert _changes(oracle, _engine(decider_of(case))) == expected


def _assert_close_scan(given: Any, oracle: Deciding) -> int:
    """Nothing that the scan saw is missing or farther, and what it did not see is true."""
    found, expected = _engine(given), {}
    for name in places(oracle.case):
        expected |= nearest(oracle, name, slow.scan_closely(oracle, name, 4))
    changes = _changes(oracle, found)
    unseen = changes.items() - expected.items()
    assert expected.keys() <= changes.keys()
    assert all(change < expected[key] for key, change in unseen if key in expected)
    for (cluster, name, path), setting in found.items():
        assert oracle.with_numbers({name: setting}).ends(cluster)[0] == path
    return len(found)


@pytest.mark.parametrize("seed", range(100, 108))
def test_flips_of_drawn_cases_are_those_of_a_close_scan(seed: int):
    case = Drawn(seed).case()
    _assert_close_scan(decider_of(case), Deciding(case))


SMALL = (10, 16, 20, 32, 43)
"""Seeds of cases of cells with some flips and at most 25 cell types."""


@pytest.mark.parametrize("seed", SMALL)
def test_flips_of_cases_of_cells_are_those_of_a_close_scan(seed: int):
    case = Generator(seed).case()
    given, oracle = decider_of_cells(case), slow.deciding_of_cells(case)
    assert ends(given) == [oracle.ends(cluster) for cluster in given.cluster_ids]
    assert _assert_close_scan(given, oracle) >= 5


# ---------------------------------------------------------------------- properties

PROPERTY_SEEDS = range(200, 220)


@pytest.mark.parametrize("seed", PROPERTY_SEEDS)
def test_other_names_in_another_order_only_rename_the_flips(seed: int):
    case = Drawn(seed).case()
    names = {"0": "12", "1": "3", "2": "7"}
    first = found_flips(decider_of(case))
    second = found_flips(decider_of(with_clusters(case, names)))
    expected = [(names[cluster], *rest) for cluster, *rest in first]
    assert second == sorted(expected, key=lambda flip: int(flip[0]))  # stable within a cluster


@pytest.mark.parametrize("seed", PROPERTY_SEEDS)
def test_the_flips_of_a_cluster_do_not_depend_on_the_others(seed: int):
    case = Drawn(seed).case()
    together = found_flips(decider_of(case))
    for position, name in enumerate(case["values"]):
        own = [flip for flip in together if flip[0] == name]
        assert found_flips(decider_of(with_clusters(case, {name: name}))) == own
        assert found_flips(decider_of(case), clusters=[position]) == own


def test_parts_of_seven_rows_give_the_same_flips(monkeypatch):
    cases = [Drawn(seed).case() for seed in PROPERTY_SEEDS]
    whole = [found_flips(decider_of(case)) for case in cases]
    monkeypatch.setattr(decider_module, "_ROWS_AT_ONCE", 7)
    assert [found_flips(decider_of(case)) for case in cases] == whole
    assert max(map(len, whole)) > 7


@pytest.mark.parametrize("seed", PROPERTY_SEEDS)
def test_every_flip_is_a_setting_in_range_that_gives_its_label(seed: int):
    given = decider_of(Drawn(seed).case())
    for flip in flips(given):
        assert flip.knob.low <= flip.value <= flip.knob.high
        assert flip.value == round(flip.value, 4)
        assert flip.change == pytest.approx(flip.value - flip.knob.value)
        settings = np.where([k == flip.knob for k in given.knobs], flip.value, given.settings)
        found = given.under(np.array([flip.cluster]), settings[None, :])
        assert (found.place.tolist(), found.stop.tolist()) == ([flip.place], [flip.stop])
        assert path_of(flip.place, given.resolved.marker_map) != ends(given)[flip.cluster][0]


@pytest.mark.parametrize("seed", PROPERTY_SEEDS)
def test_a_smaller_limit_keeps_exactly_the_flips_within_it(seed: int):
    given = decider_of(Drawn(seed).case())
    kept = [flip for flip in flips(given) if abs(flip.change) <= 0.2503]
    assert flips(given, within=0.2503) == kept
