"""Grids as a user types them: exact decimals, and an error for everything else."""

import pytest

from ctr_engine.errors import ParameterError
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.scoring import ScoringParams
from ctr_engine.stored import NEEDS_CELLS
from ctr_engine.tuning.grid import Axis, gating_layer, parse_axis, scoring_with, settings_of

FORM = "write NAME=FROM:TO:STEP or NAME=VALUE,VALUE, such as min_coverage.0=0.2:0.6:0.05"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("0.1:0.3:0.1", (0.1, 0.2, 0.3)),
        ("0:1:0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("0.2:0.6:0.05", (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)),
        ("-1:-0.5:0.25", (-1.0, -0.75, -0.5)),
        ("0.1:0.35:0.1", (0.1, 0.2, 0.3)),
        ("0.5:0.5:0.1", (0.5,)),
        (" 0.1 : 0.2 : 0.1 ", (0.1, 0.2)),
        (".1:.2:.1", (0.1, 0.2)),
        ("0.0001:0.0003:1e-4", (0.0001, 0.0002, 0.0003)),
        ("0.3,0.1", (0.3, 0.1)),
        ("0.25", (0.25,)),
        (" 0.1 , 0.2 ", (0.1, 0.2)),
        ("1,2", (1, 2)),
        ("-0.5,0", (-0.5, 0)),
        (".1,.2", (0.1, 0.2)),
    ],
)
def test_values_of_a_range(values, expected):
    axis = parse_axis("gating", f"min_enrichment.0={values}")
    assert axis == Axis("gating", "min_enrichment.0", expected)
    assert repr(axis.values) == repr(expected) or "." in values


def test_whole_numbers_stay_whole_and_words_stay_words():
    assert repr(parse_axis("gating", "max_ambiguity=2:4:1").values) == "(2, 3, 4)"
    assert repr(parse_axis("scoring", "de_min_k=1,5").values) == "(1, 5)"
    assert parse_axis("gating", "gate_inheritance=true,false").values == (True, False)
    assert parse_axis("scoring", "anti_agg=max, mean").values == ("max", "mean")
    assert parse_axis("scoring", 'anti_agg="max"').values == ("max",)


def test_a_name_may_hold_what_separates():
    axis = parse_axis("gating", "root_veto_markers.A = B. C.max_pos_frac=0.1,0.2")
    assert axis == Axis("gating", "root_veto_markers.A = B. C.max_pos_frac", (0.1, 0.2))


@pytest.mark.parametrize(
    "text",
    ["", "=", "min_gap.0", "min_gap.0=", "=0.1,0.2", "min_gap.0= ", "min_gap.0=a:b:c",
     "min_gap.0=0:1", "min_gap.0=0:1:0.1:2", "min_gap.0=::", "min_gap.0=0:1:"],
)  # fmt: skip
def test_what_is_no_range(text):
    with pytest.raises(ParameterError) as error:
        parse_axis("gating", text)
    assert str(error.value) == f"--gating {text!r} is not a range; {FORM}"


@pytest.mark.parametrize(
    "values", ["0:1:0", "0:1:-0.1", "1:0:0.1", "nan:1:1", "0:inf:1", "0:1:nan"]
)
def test_a_range_that_leads_nowhere(values):
    expected = "the step is above 0 and the end is not below the start$"
    with pytest.raises(ParameterError, match=f"^--scoring 'anti_weight={values}': {expected}"):
        parse_axis("scoring", f"anti_weight={values}")


@pytest.mark.parametrize("values", ["1,1", "0.1,0.10", "max,max", "1,1.0", "0,0.0,-0.0"])
def test_a_value_twice(values):
    with pytest.raises(ParameterError, match=f"^--gating 'min_gap.0={values}' gives a value twice"):
        parse_axis("gating", f"min_gap.0={values}")


def test_true_is_not_the_number_1():
    """It is refused where a number is asked for, but not as a value that stands twice."""
    assert parse_axis("gating", "gate_inheritance=true,1").values == (True, 1)


def test_a_range_that_is_too_long_is_counted_and_not_made():
    with pytest.raises(
        ParameterError,
        match=r"^--gating 'min_gap.0=0:1:0.000001' has 1,000,001 values; at most 200,000 are tri",
    ):
        parse_axis("gating", "min_gap.0=0:1:0.000001")
    assert len(parse_axis("gating", "min_gap.0=1:200000:1").values) == 200_000
    with pytest.raises(ParameterError, match="has 200,001 values"):
        parse_axis("gating", "min_gap.0=0:200000:1")


@pytest.mark.parametrize("values", ["0:1e5000:1", "0:1e999999:1e-10", "0:1:1e-30000"])
def test_numbers_beyond_all_measure_are_refused_too(values):
    with pytest.raises(ParameterError, match=r"at most 200,000 are tried|is not a range"):
        parse_axis("gating", f"min_gap.0={values}")


@pytest.mark.parametrize("name", NEEDS_CELLS)
def test_what_needs_the_cells_says_how_to_do_it(name):
    with pytest.raises(ParameterError) as error:
        parse_axis("scoring", f"{name}=0.1,0.2")
    assert str(error.value) == (
        f"--scoring {name} needs the cells, which tuning never touches; annotate again with: ctr "
        "annotate RUN/coarse_clusters.h5ad --annotation-only --scoring-params "
        f"'{{\"{name}\": ...}}'"
    )


# ---------------------------------------------------------------------- settings


def test_the_last_axis_is_the_fastest():
    axes = [Axis("gating", "min_gap.0", (0.1, 0.2)), Axis("scoring", "anti_agg", ("max", "mean"))]
    assert settings_of(axes) == [(0.1, "max"), (0.1, "mean"), (0.2, "max"), (0.2, "mean")]


def test_a_grid_needs_an_axis_and_each_only_once():
    with pytest.raises(
        ParameterError, match=r"^nothing to tune; give at least one --gating or --sc"
    ):
        settings_of([])
    twice = [Axis("gating", "b", (1,)), Axis("gating", "a", (1,))] * 2
    expected = r"^a, b: given twice; put all values into one range$"
    with pytest.raises(ParameterError, match=expected):
        settings_of(twice)


def test_a_grid_that_is_too_large_is_not_made():
    axis = [Axis("gating", name, tuple(range(1000))) for name in ("a", "b", "c")]
    expected = (
        r"^the grid has 1,000,000,000 settings; at most 200,000 are tried. Use larger steps.$"
    )
    with pytest.raises(ParameterError, match=expected):
        settings_of(axis)


# ---------------------------------------------------------------------- layers

RULES = GatingParams.model_validate(
    {
        "root_hard_requirements": {
            "R": {"marker": "CD3", "min_pos_frac": 0.3, "min_enrichment": 0.5},
            "A.B": {"marker": "CD4", "min_pos_frac": 0.1},
        },
        "root_veto_markers": {"R": {"markers": ["CD20", "CD19"], "max_pos_frac": 0.2}},
    }
)


def test_named_values_are_put_in_their_places():
    named = [
        ("min_gap.0", 0.1),
        ("min_gap.2", 0.4),
        ("gate_inheritance", True),
        ("max_ambiguity", 2),
    ]
    layer = gating_layer(named, RULES)
    assert layer.model_dump(exclude_unset=True) == {
        "min_gap": {0: 0.1, 2: 0.4},
        "gate_inheritance": True,
        "max_ambiguity": 2,
    }


def test_a_number_of_a_rule_leaves_the_rest_of_the_rule():
    named = [
        ("root_hard_requirements.R.min_pos_frac", 0.6),
        ("root_hard_requirements.R.min_enrichment", 0.7),
        ("root_hard_requirements.A.B.min_pos_frac", 0.2),
        ("root_veto_markers.R.max_pos_frac", 0.9),
    ]
    assert gating_layer(named, RULES).model_dump(exclude_unset=True) == {
        "root_hard_requirements": {
            "R": {"marker": "CD3", "min_pos_frac": 0.6, "min_enrichment": 0.7},
            "A.B": {"marker": "CD4", "min_pos_frac": 0.2},
        },
        "root_veto_markers": {"R": {"markers": ("CD20", "CD19"), "max_pos_frac": 0.9}},
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("min_gap", 0.1, r'min_gap: is given per level, such as {"0": 0.1}, not as one value'),
        ("min_gap.x", 0.1, "min_gap: 'x' is no level; levels are whole numbers, 0 for the roots"),
        ("min_gap.0", -1, "min_gap.0: input should be greater than or equal to 0; got -1"),
        ("min_gap.0", True, "min_gap.0: input should be a valid number; got True"),
        ("min_gap.0", "max", "min_gap.0: input should be a valid number; got 'max'"),
        ("min_coverage.1", 1.5, "min_coverage.1: input should be less than or equal to 1; got 1.5"),
        ("gate_inheritance", 1, "gate_inheritance: input should be a valid boolean; got 1"),
        ("max_ambiguity", 2.5, "max_ambiguity: input should be a valid integer; got 2.5"),
        ("min_coverge.0", 0.1, "unknown key 'min_coverge.0'. Did you mean 'min_coverage'?"),
        ("root_veto_markers.R", 0.1, "unknown key 'root_veto_markers.R'. Did you mean"),
        ("root_veto_markers.S.max_pos_frac", 0.1,
         "root_veto_markers.S.max_pos_frac: the run has no such rule; it has: R"),
        ("root_hard_requirements.S.min_pos_frac", 0.1, "it has: R, A.B"),
        ("root_veto_markers.R.min_pos_frac", 0.1, "unknown key 'min_pos_frac'. Did you mean 'max_"),
        ("root_veto_markers.R.max_pos_frac", 2, "max_pos_frac: input should be less than or equal"),
    ],
)  # fmt: skip
def test_a_gating_parameter_that_is_none(name, value, words):
    with pytest.raises(ParameterError) as error:
        gating_layer([(name, value)], RULES)
    assert str(error.value).startswith("--gating")
    assert words in str(error.value)


def test_a_run_without_rules_says_so():
    with pytest.raises(ParameterError, match=r"the run has no such rule; it has: none$"):
        gating_layer([("root_veto_markers.R.max_pos_frac", 0.1)], GatingParams())


def test_scoring_parameters():
    base = ScoringParams(de_bonus=0.2)
    expected = ScoringParams(de_bonus=0.2, anti_weight=0.1)
    assert scoring_with(base, [("anti_weight", 0.1)]) == expected
    with pytest.raises(
        ParameterError, match=r"^--scoring: foo: unknown key 'foo'. Known: anti_agg"
    ):
        scoring_with(ScoringParams(), [("foo", 1)])
    with pytest.raises(ParameterError, match=r"anti_weight: input should be greater than or equal"):
        scoring_with(ScoringParams(), [("anti_weight", -1)])
    with pytest.raises(
        ParameterError, match=r"input should be 'max', 'top2mean' or 'mean'; got 'x'"
    ):
        scoring_with(ScoringParams(), [("anti_agg", "x")])
