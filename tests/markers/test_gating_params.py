import pytest
from pydantic import ValidationError

from ctr_engine.markers.gating_params import (
    PER_LEVEL,
    GatingParams,
    HardRequirement,
    RootVeto,
    flatten_levels,
)
from ctr_engine.markers.hierarchy import CellType, GatingOverrides, threshold_of
from ctr_engine.params import faults_of

BASE = GatingParams()


def words(raw, model=GatingParams):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(raw)
    return [f"{fault.where}: {fault.message}" for fault in faults_of(caught.value, model)]


def merged(*layers):
    return BASE.merged_with(*(GatingParams.model_validate(layer) for layer in layers))


def node(level, **overrides):
    return CellType("A", "A", level, ("CD3",), overrides=GatingOverrides(**overrides))


@pytest.mark.smoke
def test_a_layer_is_merged_level_by_level():
    # base 0.5, 0.4, 0.3, 0.3; the map sets level 1, the override levels 1 and 3
    after_map = merged({"min_coverage": {"1": 0.45}})
    assert after_map.min_coverage == {0: 0.5, 1: 0.45, 2: 0.3, 3: 0.3}
    after_both = merged({"min_coverage": {"1": 0.45}}, {"min_coverage": {"1": 0.2, "3": 0.9}})
    assert after_both.min_coverage == {0: 0.5, 1: 0.2, 2: 0.3, 3: 0.9}


def test_the_base_is_that_of_the_reference():
    assert BASE.min_coverage == {0: 0.5, 1: 0.4, 2: 0.3, 3: 0.3}
    assert BASE.min_pos_frac == {0: 0.3, 1: 0.2, 2: 0.15, 3: 0.15}
    assert BASE.min_enrichment == {0: 0.0, 1: -0.5, 2: -1.0, 3: -1.0}
    assert BASE.min_frac_markers_on == {0: 0.4, 1: 0.3, 2: 0.25, 3: 0.25}
    # level 0 is left to root_gap_threshold unless somebody gives it
    assert BASE.min_gap == {1: 0.3, 2: 0.2, 3: 0.2}
    assert BASE.root_gap_threshold == 0.25
    assert BASE.anti_penalty_hard_gate == 1.0
    assert BASE.per_cell_gap_threshold == 0.1
    assert BASE.anti_off_max_positive_fraction == 0.2
    assert BASE.max_ambiguity == 3
    assert BASE.gate_inheritance is False
    assert BASE.anti_agg is None


def test_a_scalar_of_a_later_layer_wins():
    low, high = {"anti_penalty_hard_gate": 0.5}, {"anti_penalty_hard_gate": 1.5}
    assert merged(low, high).anti_penalty_hard_gate == 1.5
    assert merged(high, low).anti_penalty_hard_gate == 0.5
    assert merged(low, {"max_ambiguity": 2}).anti_penalty_hard_gate == 0.5


def test_a_layer_that_repeats_the_default_beats_an_earlier_one():
    assert merged({"root_gap_threshold": 0.9}, {"root_gap_threshold": 0.25}).root_gap == 0.25


def test_root_rules_are_merged_root_by_root():
    result = merged(
        {
            "root_veto_markers": {
                "Immune Cells": {"markers": ["Pan-CK"], "max_pos_frac": 0.2},
                "Stroma": {"markers": ["CD45"], "max_pos_frac": 0.3},
            }
        },
        {"root_veto_markers": {"Stroma": {"markers": ["CD31"], "max_pos_frac": 0.1}}},
    )
    assert result.root_veto_markers == {
        "Immune Cells": RootVeto(markers=("Pan-CK",), max_pos_frac=0.2),
        "Stroma": RootVeto(markers=("CD31",), max_pos_frac=0.1),
    }


def test_a_root_rule_is_replaced_whole():
    result = merged(
        {"root_hard_requirements": {"A": {"marker": "CD45", "min_pos_frac": 0.3}}},
        {"root_hard_requirements": {"A": {"marker": "CD45", "min_enrichment": 0.5}}},
    )
    rule = result.root_hard_requirements["A"]
    assert (rule.min_pos_frac, rule.min_enrichment) == (None, 0.5)


def test_merging_leaves_the_base_as_it_is():
    merged({"min_coverage": {"0": 0.9}, "max_ambiguity": 5})
    assert GatingParams().min_coverage[0] == BASE.min_coverage[0] == 0.5
    assert BASE.max_ambiguity == 3


@pytest.mark.parametrize(("level", "expected"), [(0, 0.5), (1, 0.5), (2, 0.2), (3, 0.2), (9, 0.2)])
def test_a_level_that_is_not_given_takes_the_nearest_shallower_one(level, expected):
    gating = GatingParams(min_coverage={0: 0.5, 2: 0.2, 12: 0.9})
    assert gating.at_level("min_coverage", level) == expected


def test_levels_below_the_base_take_its_deepest_one():
    assert [BASE.at_level("min_enrichment", level) for level in (3, 4, 20)] == [-1.0, -1.0, -1.0]


def test_a_minimum_gap_of_level_0_replaces_the_root_gap():
    assert BASE.root_gap == 0.25
    assert merged({"root_gap_threshold": 0.125}).root_gap == 0.125
    assert merged({"min_gap": {"0": 0.7}}).root_gap == 0.7
    assert merged({"min_gap": {"0": 0.7}}, {"root_gap_threshold": 0.125}).root_gap == 0.7
    assert merged({"min_gap": {"0": 0.7}}, {"min_gap": {"0": 0.0}}).root_gap == 0.0
    assert merged({"min_gap": {"1": 0.7}}).root_gap == 0.25


def test_both_forms_of_thresholds_mean_the_same():
    flat = {"min_coverage": {"0": 0.5, "1": 0.2}, "min_gap": {"1": 0.4}, "max_ambiguity": 4}
    by_level = {
        "level_defaults": {
            "0": {"min_coverage": 0.5},
            "1": {"min_coverage": 0.2, "min_gap": 0.4},
        },
        "max_ambiguity": 4,
    }
    first, second = GatingParams.model_validate(flat), GatingParams.model_validate(by_level)
    assert first == second
    assert first.model_fields_set == second.model_fields_set == set(flat)


def test_the_two_forms_may_share_a_table():
    flat, faults = flatten_levels(
        {"min_gap": {"1": 0.4}, "level_defaults": {"2": {"min_gap": 0.3}, "1": {"min_gap": 0.4}}}
    )
    assert faults == []
    assert flat == {"min_gap": {"1": 0.4, "2": 0.3}}


def test_levels_may_be_numbers():
    flat, faults = flatten_levels({"min_gap": {1: 0.4}, "level_defaults": {2: {"min_gap": 0.3}}})
    assert faults == []
    assert GatingParams.model_validate(flat).min_gap == {1: 0.4, 2: 0.3}


def test_flattening_leaves_its_input_as_it_is():
    raw = {"min_gap": {"1": 0.4}, "level_defaults": {"2": {"min_gap": 0.3}}}
    flatten_levels(raw)
    assert raw == {"min_gap": {"1": 0.4}, "level_defaults": {"2": {"min_gap": 0.3}}}


def test_a_threshold_that_both_forms_give_differently_is_an_error():
    raw = {"min_gap": {"1": 0.4}, "level_defaults": {"1": {"min_gap": 0.3}}}
    _, faults = flatten_levels(raw)
    assert faults == [
        ("level_defaults.1.min_gap", "min_gap of level 1 is given twice, as 0.4 and as 0.3")
    ]
    assert words(raw) == [
        ": level_defaults.1.min_gap: min_gap of level 1 is given twice, as 0.4 and as 0.3"
    ]


def test_all_faults_of_level_defaults_are_reported_together():
    _, faults = flatten_levels(
        {
            "min_gap": {"1": 0.4},
            "level_defaults": {
                "0": 0.5,
                "1": {"min_gap": 0.3, "max_ambiguity": 2},
                "2": {"min_gap": 0.2},
            },
        }
    )
    assert faults == [
        ("level_defaults.0", "is a table of thresholds"),
        ("level_defaults.1.min_gap", "min_gap of level 1 is given twice, as 0.4 and as 0.3"),
        (
            "level_defaults.1.max_ambiguity",
            (
                "is not a threshold per level; those are min_coverage, min_pos_frac, "
                "min_enrichment, min_gap, min_frac_markers_on"
            ),
        ),
    ]


def test_level_defaults_is_a_table():
    _, faults = flatten_levels({"level_defaults": 0.5})
    assert faults == [("level_defaults", 'is a table of levels, such as {"0": {"min_gap": 0.3}}')]


def test_a_bare_number_beside_level_defaults_is_still_reported():
    raw = {"min_gap": 0.4, "level_defaults": {"1": {"min_gap": 0.3}}}
    assert words(raw) == ['min_gap: is given per level, such as {"0": 0.4}, not as one value']


@pytest.mark.parametrize("name", PER_LEVEL)
def test_a_bare_number_for_a_threshold_per_level_is_an_error(name):
    assert words({name: 0.5}) == [
        f'{name}: is given per level, such as {{"0": 0.5}}, not as one value'
    ]


def test_five_thresholds_stand_per_level():
    assert set(PER_LEVEL) == {
        "min_coverage",
        "min_pos_frac",
        "min_enrichment",
        "min_gap",
        "min_frac_markers_on",
    }


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"min_coverage": {"0": 1.1}}, "min_coverage.0: input should be less than or equal to 1"),
        ({"min_pos_frac": {"1": -0.1}}, "min_pos_frac.1: input should be greater than or equal"),
        ({"min_frac_markers_on": {"2": 2}}, "min_frac_markers_on.2: input should be less than"),
        ({"min_gap": {"0": -0.1}}, "min_gap.0: input should be greater than or equal to 0"),
        ({"min_enrichment": {"0": "0"}}, "min_enrichment.0: input should be a valid number"),
        ({"min_enrichment": {"0": float("nan")}}, "min_enrichment.0: input should be a finite"),
        ({"anti_penalty_hard_gate": -1}, "anti_penalty_hard_gate: input should be greater than"),
        ({"anti_off_max_positive_fraction": 1.2}, "anti_off_max_positive_fraction: input should"),
        ({"per_cell_gap_threshold": -1}, "per_cell_gap_threshold: input should be greater than"),
        ({"root_gap_threshold": -0.1}, "root_gap_threshold: input should be greater than"),
        ({"max_ambiguity": 1}, "max_ambiguity: input should be greater than or equal to 2; got 1"),
        ({"max_ambiguity": 2.5}, "max_ambiguity: input should be a valid integer"),
        ({"anti_agg": "sum"}, "anti_agg: input should be 'max', 'top2mean' or 'mean'; got 'sum'"),
        (
            {"min_covrage": {}},
            "min_covrage: unknown key 'min_covrage'. Did you mean 'min_coverage'",
        ),
        (
            {"root_veto_markers": {"A": {"markers": [], "max_pos_frac": 0.2}}},
            "root_veto_markers.A.markers: tuple should have at least 1 item",
        ),
        (
            {"root_veto_markers": {"A": {"markers": ["CD3"]}}},
            "root_veto_markers.A.max_pos_frac: field required",
        ),
        (
            {"root_veto_markers": {"A": {"marker": "CD3", "markers": ["CD3"], "max_pos_frac": 0}}},
            "root_veto_markers.A.marker: unknown key 'marker'. Did you mean 'markers'?",
        ),
        (
            {"root_hard_requirements": {"A": {"marker": "CD3"}}},
            "root_hard_requirements.A: asks for nothing; give min_pos_frac, min_enrichment or both",
        ),
        (
            {"root_hard_requirements": {"A": {"marker": "", "min_pos_frac": 0.2}}},
            "root_hard_requirements.A.marker: string should have at least 1 character",
        ),
        (
            {"root_hard_requirements": {"A": {"marker": "CD3", "min_pos_frac": 20}}},
            "root_hard_requirements.A.min_pos_frac: input should be less than or equal to 1",
        ),
    ],
)
def test_what_is_out_of_range_or_unknown_is_refused(raw, expected):
    (message,) = words(raw)
    assert message.startswith(expected)


@pytest.mark.parametrize("name", ["max", "top2mean", "mean"])
def test_the_way_to_aggregate_anti_markers_may_stand_in_the_map(name):
    assert GatingParams.model_validate({"anti_agg": name}).anti_agg == name


@pytest.mark.parametrize("given", [{"min_pos_frac": 0.3}, {"min_enrichment": -0.5}])
def test_a_hard_requirement_asks_for_one_thing_or_two(given):
    assert HardRequirement(marker="CD45", **given).marker == "CD45"
    assert HardRequirement(marker="CD45", min_pos_frac=0.3, min_enrichment=0.0).min_enrichment == 0


def test_an_override_of_a_cell_type_stands_in_place_of_its_level():
    assert threshold_of(node(1), BASE, "min_coverage") == 0.4
    assert threshold_of(node(1, min_coverage=0.0), BASE, "min_coverage") == 0.0
    assert threshold_of(node(1, min_coverage=0.9), BASE, "min_gap") == 0.3


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"min_coverage": 2}, "min_coverage: input should be less than or equal to 1; got 2"),
        ({"min_pos_frac": -1}, "min_pos_frac: input should be greater than or equal to 0; got -1"),
        ({"min_gap": -1}, "min_gap: input should be greater than or equal to 0; got -1"),
        ({"min_enrichment": "1"}, "min_enrichment: input should be a valid number; got '1'"),
        ({"min_gapp": 1}, "min_gapp: unknown key 'min_gapp'. Did you mean 'min_gap'?"),
        ({"min_coverage": {"0": 0.5}}, "min_coverage: input should be a valid number; got {'0'"),
    ],
)
def test_an_override_out_of_range_or_unknown_is_refused(raw, expected):
    (message,) = words(raw, GatingOverrides)
    assert message.startswith(expected)
