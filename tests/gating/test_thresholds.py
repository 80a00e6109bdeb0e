"""Which numbers decide about a map, and the thresholds that they give its cell types."""

from dataclasses import fields

import numpy as np
import pytest

from ctr_engine.gating.thresholds import Knob, Thresholds
from tests.gating.deciders import Drawn, decider, decider_of
from tests.oracles.thresholds import Deciding, cell_types_of, number, places

INF = np.inf
SEEDS = range(30)
ALONE = {"R": {"markers": ["A"]}}
TREE = {
    "R": {
        "markers": ["A"],
        "subtypes": {"X": {"markers": ["C"]}, "Y": {"markers": ["D"]}},
    },
    "S": {"markers": ["B"]},
}
ROWS = {"R": 0, "X": 1, "Y": 2, "S": 3}


def knobs(content, **options):
    return {knob.name: knob for knob in decider(content, [], **options).knobs}


def chain(*markers):
    """Map in which each cell type has one child."""
    label, *below = markers
    body = {"markers": [label]}
    return {label: body | ({"subtypes": chain(*below)} if below else {})}


# ---------------------------------------------------------------------- knobs


def test_each_level_of_the_map_has_one_knob_for_each_threshold():
    found = decider(TREE, []).knobs
    roots, children = (0, 3), (1, 2)
    assert found == (
        Knob("min_coverage.0", "min_coverage", 0.5, roots, 0, 1),
        Knob("min_coverage.1", "min_coverage", 0.4, children, 0, 1),
        Knob("min_pos_frac.0", "min_pos_frac", 0.3, roots, 0, 1),
        Knob("min_pos_frac.1", "min_pos_frac", 0.2, children, 0, 1),
        Knob("min_enrichment.0", "min_enrichment", 0, roots, -INF, INF),
        Knob("min_enrichment.1", "min_enrichment", -0.5, children, -INF, INF),
        Knob("root_gap_threshold", "min_gap", 0.25, roots, 0, INF),
        Knob("min_gap.1", "min_gap", 0.3, children, 0, INF),
        Knob("min_frac_markers_on.0", "min_frac_markers_on", 0.4, roots, 0, 1),
        Knob("min_frac_markers_on.1", "min_frac_markers_on", 0.3, children, 0, 1),
        Knob("anti_penalty_hard_gate", "anti_penalty_hard_gate", 1, (0, 1, 2, 3), 0, INF),
    )


def test_a_level_without_a_cell_type_has_no_knob():
    assert [name for name in knobs(ALONE) if "." in name] == [
        "min_coverage.0",
        "min_pos_frac.0",
        "min_enrichment.0",
        "min_frac_markers_on.0",
    ]


def test_deeper_levels_belong_to_the_nearest_shallower_one_that_is_given():
    content = chain(*"ABCDEF")
    found = knobs(content)
    assert {name: found[f"min_gap.{name}"].nodes for name in (1, 2, 3)} == {
        1: (1,),
        2: (2,),
        3: (3, 4, 5),
    }
    more = knobs(content, min_gap={"4": 0.7})
    assert (more["min_gap.3"].nodes, more["min_gap.4"].nodes) == ((3,), (4, 5))
    assert more["min_gap.4"].value == 0.7
    assert more["min_coverage.3"].nodes == (3, 4, 5)


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({}, "root_gap_threshold", 0.25),
        ({"profile": "adaptive"}, "root_gap_threshold", 0.125),
        ({"root_gap_threshold": 0.6}, "root_gap_threshold", 0.6),
        ({"min_gap": {"0": 0.7}}, "min_gap.0", 0.7),
        ({"min_gap": {"0": 0.7}, "root_gap_threshold": 0.6}, "min_gap.0", 0.7),
        ({"level_defaults": {"0": {"min_gap": 0.8}}}, "min_gap.0", 0.8),
    ],
)
def test_the_gap_of_the_roots_is_one_knob_under_the_name_that_decides(options, name, value):
    found = {knob.name: knob for knob in decider(TREE, [], **options).knobs}
    given = [found[gap] for gap in ("root_gap_threshold", "min_gap.0") if gap in found]
    assert [(knob.name, knob.value, knob.nodes) for knob in given] == [(name, value, (0, 3))]


def test_an_override_is_a_knob_of_its_own_and_leaves_that_of_the_level():
    own = {"min_gap": 0.7, "min_enrichment": -2.0}
    content = {"R": {"markers": ["A"], "gating_overrides": own}, "S": {"markers": ["B"]}}
    found = knobs(content)
    address = "gating_overrides.R.min_gap"
    assert found[address] == Knob(address, "min_gap", 0.7, (0,), 0, INF)
    address = "gating_overrides.R.min_enrichment"
    assert found[address] == Knob(address, "min_enrichment", -2, (0,), -INF, INF)
    assert found["root_gap_threshold"].nodes == found["min_enrichment.0"].nodes == (1,)
    assert found["min_coverage.0"].nodes == (0, 1)


def test_a_level_whose_cell_types_all_have_their_own_threshold_has_no_knob():
    found = knobs({"R": {"markers": ["A"], "gating_overrides": {"min_gap": 0.7}}})
    assert "root_gap_threshold" not in found
    assert found["gating_overrides.R.min_gap"].value == 0.7


def test_the_override_of_a_child_is_known_by_its_path():
    body = {"markers": ["B"], "gating_overrides": {"min_pos_frac": 0.6}}
    found = knobs({"R": {"markers": ["A"], "subtypes": {"X": body}}})
    assert found["gating_overrides.R / X.min_pos_frac"].nodes == (1,)
    assert "min_pos_frac.1" not in found


def test_the_anti_markers_off_have_a_knob_where_they_are_asked_for():
    name = "anti_off_max_positive_fraction"
    assert name not in knobs(TREE)
    off = {"gating_overrides": {"require_anti_markers_off": True}}
    found = knobs({"R": {"markers": ["A"]}, "S": {"markers": ["B"], **off}})
    assert found[name] == Knob(name, name, 0.2, (1,), 0, 1)


def test_each_number_of_a_root_rule_is_a_knob():
    found = knobs(
        TREE,
        root_hard_requirements={
            "S": {"marker": "E", "min_enrichment": 0.1},
            "R": {"marker": "E", "min_pos_frac": 0.2, "min_enrichment": 0.3},
        },
        root_veto_markers={"S": {"markers": ["F", "G"], "max_pos_frac": 0.4}},
    )
    hard, veto = "root_hard_requirements", "root_veto_markers"
    expected = [
        (f"{hard}.R.min_pos_frac", "required_pos_frac", 0.2, (0,), 0, 1),
        (f"{hard}.R.min_enrichment", "required_enrichment", 0.3, (0,), -INF, INF),
        (f"{hard}.S.min_enrichment", "required_enrichment", 0.1, (3,), -INF, INF),
        (f"{veto}.S.max_pos_frac", "veto_max_pos_frac", 0.4, (3,), 0, 1),
    ]
    rules = [knob for name, knob in found.items() if name.startswith("root_") and "." in name]
    assert rules == [Knob(*values) for values in expected]


# ---------------------------------------------------------------------- thresholds

COVERAGE = Knob("min_coverage.0", "min_coverage", 0.5, (0, 2))
OWN = Knob("gating_overrides.X.min_coverage", "min_coverage", 0.25, (1,))
GAP = Knob("min_gap.0", "min_gap", 2.0, (0, 1, 2))
VETO = Knob("root_veto_markers.X.max_pos_frac", "veto_max_pos_frac", 0.75, (1,))
KNOBS = (COVERAGE, OWN, GAP, VETO)


def test_each_knob_sets_its_field_of_its_cell_types_and_the_rest_is_nan():
    found = Thresholds.of(KNOBS, 3)
    assert found.min_coverage.tolist() == [0.5, 0.25, 0.5]
    assert found.min_gap.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(found.veto_max_pos_frac, [np.nan, 0.75, np.nan])
    assert np.isnan(found.min_enrichment).all()


def test_each_row_of_values_is_a_set_of_thresholds():
    values = np.array([[1, 2, 3, 4], [5, 6, 7, 8.0]])
    found = Thresholds.of(KNOBS, 3, values)
    assert found.min_coverage.tolist() == [[1, 2, 1], [5, 6, 5]]
    assert found.min_gap.tolist() == [[3, 3, 3], [7, 7, 7]]
    np.testing.assert_array_equal(
        found.veto_max_pos_frac, [[np.nan, 4, np.nan], [np.nan, 8, np.nan]]
    )
    assert all(getattr(found, field.name).shape == (2, 3) for field in fields(found))


def test_the_values_of_the_knobs_as_one_row_are_the_thresholds_as_they_stand():
    given = decider(TREE, [])
    one_row = Thresholds.of(given.knobs, 4, given.settings[None, :])
    for field in fields(one_row):
        np.testing.assert_array_equal(
            getattr(one_row, field.name)[0], getattr(given.limits, field.name)
        )


def test_rows_are_taken_in_the_order_given_and_as_often_as_given():
    values = np.array([[1, 2, 3, 4], [5, 6, 7, 8.0]])
    found = Thresholds.of(KNOBS, 3, values).take(np.array([1, 0, 1]))
    assert found.min_coverage.tolist() == [[5, 6, 5], [1, 2, 1], [5, 6, 5]]
    assert found.min_gap[:, 0].tolist() == [7, 3, 7]


# ---------------------------------------------------------------------- against the oracle

FIELD_OF_RULE = {
    "root_hard_requirements min_pos_frac": "required_pos_frac",
    "root_hard_requirements min_enrichment": "required_enrichment",
    "root_veto_markers max_pos_frac": "veto_max_pos_frac",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_knobs_are_all_numbers_that_decide_and_no_others(seed: int):
    case = Drawn(seed).case()
    given, engine = Deciding(case), decider_of(case)
    paths = [node.path for node in engine.resolved.marker_map.nodes]
    expected = {}
    for name in places(case):
        of = cell_types_of(given, name)
        if of:
            expected[name] = number(case, name), of
    found = {k.name: (k.value, [paths[row] for row in k.nodes]) for k in engine.knobs}
    assert found == expected
    assert len(found) == len(engine.knobs)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_thresholds_of_every_cell_type_are_those_of_the_oracle(seed: int):
    case = Drawn(seed).case()
    engine = decider_of(case)
    row_of = engine.resolved.marker_map.row_of
    arrays = {f.name: np.full(len(row_of), np.nan) for f in fields(engine.limits)}
    for (path, kind), value in Deciding(case).thresholds().items():
        field = FIELD_OF_RULE[kind] if kind in FIELD_OF_RULE else kind
        arrays[field][row_of[path]] = value
    for name, expected in arrays.items():
        np.testing.assert_array_equal(getattr(engine.limits, name), expected, name)
