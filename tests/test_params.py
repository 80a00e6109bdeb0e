from collections.abc import Mapping

import pytest
from pydantic import Field, ValidationError

from ctr_engine.params import (
    Count,
    Fraction,
    LevelFractions,
    LevelGaps,
    LevelReals,
    Params,
    Real,
    faults_of,
)


class Inner(Params):
    weight: Real = 1.0
    share: Fraction = 0.5


class Sample(Params):
    real: Real = 0.0
    count: Count = 1
    share: Fraction = 0.5
    positive: Real = Field(1.0, gt=0)
    coverage: LevelFractions = Field({0: 0.5})
    gap: LevelGaps = Field({0: 0.1})
    enrichment: LevelReals = Field({0: -1.0})
    inner: Inner | None = None
    rules: Mapping[str, Inner] = Field({})


def faults(raw, **how):
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(raw)
    return faults_of(caught.value, Sample, **how)


def words(raw):
    return [f"{fault.where}: {fault.message}" for fault in faults(raw)]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"real": "0.5"}, "real: input should be a valid number; got '0.5'"),
        ({"real": True}, "real: input should be a valid number; got True"),
        ({"real": None}, "real: input should be a valid number; got None"),
        ({"real": float("nan")}, "real: input should be a finite number; got nan"),
        ({"real": float("inf")}, "real: input should be a finite number; got inf"),
        ({"count": 2.0}, "count: input should be a valid integer; got 2.0"),
        ({"count": "2"}, "count: input should be a valid integer; got '2'"),
        ({"count": True}, "count: input should be a valid integer; got True"),
        ({"share": 1.5}, "share: input should be less than or equal to 1; got 1.5"),
        ({"share": -0.1}, "share: input should be greater than or equal to 0; got -0.1"),
        ({"positive": 0}, "positive: input should be greater than 0; got 0"),
        (
            {"coverage": {"1": 2}},
            "coverage.1: input should be less than or equal to 1; got 2",
        ),
        ({"gap": {"0": -1}}, "gap.0: input should be greater than or equal to 0; got -1"),
        ({"enrichment": {"0": "a"}}, "enrichment.0: input should be a valid number; got 'a'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_in_words(raw, expected):
    assert words(raw) == [expected]


def test_a_whole_number_is_a_number():
    assert Sample(real=3, share=1).real == 3.0
    assert Sample(share=0).share == 0.0


@pytest.mark.parametrize("name", ["coverage", "gap", "enrichment"])
def test_one_value_for_a_threshold_per_level_is_refused(name):
    assert words({name: 0.3}) == [
        f'{name}: is given per level, such as {{"0": 0.3}}, not as one value'
    ]


@pytest.mark.parametrize("level", ["x", "-1", "1.5", "", "root"])
def test_a_level_is_a_whole_number(level):
    assert words({"coverage": {level: 0.3}}) == [
        f"coverage: {level!r} is no level; levels are whole numbers, 0 for the roots"
    ]


def test_levels_of_json_and_of_python_are_the_same():
    assert Sample(coverage={"0": 0.5, "2": 0.25}).coverage == {0: 0.5, 2: 0.25}
    assert Sample(coverage={0: 0.5, 2: 0.25}) == Sample(coverage={"0": 0.5, "2": 0.25})


def test_a_negative_enrichment_per_level_is_legal():
    assert Sample(enrichment={"1": -2.5}).enrichment == {1: -2.5}


def test_parameters_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Sample().real = 2.0


def test_an_unknown_name_gets_the_nearest_known_one():
    assert words({"enrichement": 1}) == [
        "enrichement: unknown key 'enrichement'. Did you mean 'enrichment'?"
    ]


def test_an_unknown_name_that_is_near_nothing_gets_all_known_ones():
    assert words({"zzz": 1}) == [
        (
            "zzz: unknown key 'zzz'. Known: count, coverage, enrichment, gap, inner, positive, "
            "real, rules, share."
        )
    ]


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"inner": {"wieght": 1}}, "inner.wieght"),
        ({"rules": {"Immune Cells": {"wieght": 1}}}, "rules.Immune Cells.wieght"),
    ],
)
def test_an_unknown_name_inside_a_part_is_compared_with_the_names_of_that_part(raw, where):
    assert words(raw) == [f"{where}: unknown key 'wieght'. Did you mean 'weight'?"]


def test_all_faults_are_given_each_with_its_line():
    lines = {("share",): 4, ("rules", "A", "share"): 9}
    found = faults(
        {"share": 2, "rules": {"A": {"share": 3}}},
        locate=lambda loc: lines[loc],
    )
    assert [(fault.line, fault.where) for fault in found] == [(4, "share"), (9, "rules.A.share")]


def test_a_fault_of_a_key_stands_at_that_key():
    assert words({"rules": {5: {}}}) == ["rules.5: input should be a valid string; got 5"]


def test_a_fault_without_a_file_has_no_line():
    assert faults({"share": 2})[0].line is None


def test_the_last_layer_that_sets_a_field_wins():
    base, first, second = Sample(real=1, count=5), Sample(real=2, count=6), Sample(real=3)
    merged = base.over(first, second)
    assert (merged.real, merged.count, merged.share) == (3.0, 6, 0.5)


def test_a_layer_that_sets_a_field_to_its_default_counts():
    assert Sample(count=5).over(Sample(count=1)).count == 1
    assert Sample(count=5).over(Sample()).count == 5


def test_merging_leaves_the_layers_as_they_are():
    base = Sample(real=1)
    base.over(Sample(real=2))
    assert base.real == 1.0
