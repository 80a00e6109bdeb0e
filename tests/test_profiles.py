"""Which value holds: that of the profile, of the marker map, or of the user."""

import pytest
from pydantic import ValidationError

from ctr_engine.expression import ExpressionParams
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.profiles import PROFILES, AnalysisParams, Profile
from ctr_engine.scoring import ScoringParams
from tests.builders import marker_map

BARE = {"R": {"markers": ["A"]}}


def with_gating(**gating):
    return marker_map(BARE | {"_gating_params": gating})


def test_the_reference_profile_has_the_values_of_the_reference():
    scoring = AnalysisParams().effective_scoring
    assert scoring.model_dump() == {
        "de_top_frac": 0.2,
        "de_min_k": 3,
        "de_max_k": 12,
        "enrichment_statistic": "auto",
        "positive_quantile": 0.75,
        "positive_reference": "auto",
        "positive_threshold": "quantile",
        "on_min_positive_fraction": 0.15,
        "de_bonus": 0.6,
        "de_commonness_alpha": 0.5,
        "anti_weight": 0.8,
        "anti_agg": "top2mean",
        "parent_markers": "all",
    }
    gating = AnalysisParams().gating_for(marker_map(BARE))
    assert gating.min_coverage == {0: 0.5, 1: 0.4, 2: 0.3, 3: 0.3}
    assert gating.min_pos_frac == {0: 0.3, 1: 0.2, 2: 0.15, 3: 0.15}
    assert gating.min_enrichment == {0: 0, 1: -0.5, 2: -1, 3: -1}
    assert gating.min_frac_markers_on == {0: 0.4, 1: 0.3, 2: 0.25, 3: 0.25}
    assert [gating.at_level("min_gap", level) for level in (1, 2, 3)] == [0.3, 0.2, 0.2]
    assert (gating.root_gap, gating.anti_penalty_hard_gate) == (0.25, 1)
    assert (gating.per_cell_gap_threshold, gating.max_ambiguity) == (0.1, 3)
    assert gating.anti_off_max_positive_fraction == 0.2
    assert not gating.gate_inheritance
    assert (gating.per_cell_learning, gating.per_cell_sure_gap) == (False, 0.5)


def test_the_adaptive_profile_differs_from_it_in_its_rules_only():
    reference, adaptive = AnalysisParams(), AnalysisParams(profile="adaptive")
    changed = {"positive_threshold": "otsu", "parent_markers": "alternatives"}
    assert adaptive.effective_scoring == reference.effective_scoring.model_copy(update=changed)
    gating = adaptive.gating_for(marker_map(BARE))
    assert gating.gate_inheritance
    assert gating.root_gap == 0.125
    assert [gating.at_level("min_gap", level) for level in (1, 2, 3, 4)] == [0.15, 0.1, 0.1, 0.1]
    assert (gating.per_cell_learning, gating.per_cell_sure_gap) == (True, 0.5)
    rest = {"gate_inheritance", "root_gap_threshold", "min_gap", "per_cell_learning"}
    plain = reference.gating_for(marker_map(BARE))
    assert gating.model_dump(exclude=rest) == plain.model_dump(exclude=rest)


def test_a_profile_sets_only_what_it_changes():
    assert PROFILES["reference"].scoring.model_fields_set == set()
    adaptive = PROFILES["adaptive"]
    assert adaptive.scoring.model_fields_set == {"positive_threshold", "parent_markers"}
    own = {"gate_inheritance", "root_gap_threshold", "min_gap", "per_cell_learning"}
    assert adaptive.gating.model_fields_set == own
    assert Profile() == PROFILES["reference"]


def test_what_the_user_sets_beats_the_profile_even_where_it_is_the_default():
    params = AnalysisParams(profile="adaptive", scoring={"positive_threshold": "quantile"})
    assert params.effective_scoring.positive_threshold == "quantile"
    assert params.effective_scoring.parent_markers == "alternatives"
    gating = AnalysisParams(profile="adaptive", gating={"root_gap_threshold": 0.25})
    assert gating.gating_for(marker_map(BARE)).root_gap == 0.25


def test_the_map_beats_the_profile_and_the_user_beats_the_map_per_level():
    of_map = with_gating(min_gap={"1": 0.7, "2": 0.6}, max_ambiguity=5)
    params = AnalysisParams(profile="adaptive", gating={"min_gap": {"2": 0.5}})
    gating = params.gating_for(of_map)
    assert gating.min_gap == {1: 0.7, 2: 0.5, 3: 0.1}
    assert gating.max_ambiguity == 5
    assert AnalysisParams().gating_for(of_map).min_gap == {1: 0.7, 2: 0.6, 3: 0.2}


def test_both_forms_of_thresholds_per_level_mean_the_same():
    flat = AnalysisParams(gating={"min_gap": {"1": 0.7}, "min_coverage": {"0": 0.1}})
    nested = AnalysisParams(
        gating={"level_defaults": {"1": {"min_gap": 0.7}, "0": {"min_coverage": 0.1}}}
    )
    assert flat == nested
    assert flat.gating.model_fields_set == nested.gating.model_fields_set


def test_a_level_0_min_gap_beats_the_root_gap_wherever_it_comes_from():
    of_map = with_gating(min_gap={"0": 0.5})
    for profile in PROFILES:
        assert AnalysisParams(profile=profile).gating_for(of_map).root_gap == 0.5
        explicit = AnalysisParams(profile=profile, gating={"min_gap": {0: 0.4}})
        assert explicit.gating_for(of_map).root_gap == 0.4
        threshold = AnalysisParams(profile=profile, gating={"root_gap_threshold": 0.1})
        assert threshold.gating_for(of_map).root_gap == 0.5
        assert threshold.gating_for(marker_map(BARE)).root_gap == 0.1


def test_root_rules_are_merged_per_root():
    def rule(limit):
        return {"markers": ["A"], "max_pos_frac": limit}

    content = {"R": {"markers": ["A"]}, "S": {"markers": ["B"]}}
    content["_gating_params"] = {"root_veto_markers": {"R": rule(0.1), "S": rule(0.2)}}
    params = AnalysisParams(gating={"root_veto_markers": {"S": rule(0.9)}})
    found = params.gating_for(marker_map(content)).root_veto_markers
    assert {label: veto.max_pos_frac for label, veto in found.items()} == {"R": 0.1, "S": 0.9}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"profile": "sparse"}, "'reference' or 'adaptive'"),
        ({"scorring": {}}, "Extra inputs are not permitted"),
        ({"scoring": {"de_bonuss": 1.0}}, "Extra inputs are not permitted"),
        ({"scoring": {"de_min_k": 20}}, "de_min_k 20 is above de_max_k 12"),
        ({"gating": {"max_ambiguity": 1}}, "greater than or equal to 2"),
        ({"gating": {"min_gap": 0.3}}, "is given per level"),
        ({"gating": {"min_gap": {"root": 0.3}}}, "'root' is no level"),
        ({"gating": {"min_gap": {"0": -0.1}}}, "greater than or equal to 0"),
        ({"gating": {"min_coverage": {"0": 1.1}}}, "less than or equal to 1"),
        (
            {"gating": {"min_gap": {"0": 0.3}, "level_defaults": {"0": {"min_gap": 0.4}}}},
            "min_gap of level 0 is given twice, as 0.3 and as 0.4",
        ),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        AnalysisParams.model_validate(params)


def test_parameters_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        AnalysisParams().profile = "adaptive"


def test_defaults_are_those_of_the_parts():
    params = AnalysisParams()
    assert params.scoring == ScoringParams()
    assert params.gating == GatingParams()
    assert params.expression == ExpressionParams()
