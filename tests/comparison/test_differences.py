"""What two runs set or read differently: every thing by its name, and who set it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ctr_engine.comparison.differences import Difference, as_text, differences
from ctr_engine.comparison.state import State
from tests.comparison.planted import EVERY, RS, Planted, R, gating, scoring
from tests.comparison.runs import Cells, counted, stored

COUNTS = {"A": {"0": 10, "1": 6}, "B": {"1": 8}}


def run(name: str = "a", content: Any = R, cells: Cells | None = None, **raw: Any):
    return stored(counted(COUNTS) if cells is None else cells, content, name, **raw)


def between(a: Any, b: Any, *, same_clusters: bool = True) -> dict[str, Difference]:
    """Differences by name; no name stands twice."""
    found = differences(a, b, same_clusters=same_clusters)
    by_name = {one.name: one for one in found}
    assert len(by_name) == len(found)
    return by_name


# ---------------------------------------------------------------------- edits


@pytest.mark.parametrize("case", EVERY, ids=lambda case: f"{case.kind}: {case.id}")
def test_an_edit_leads_to_the_state_of_the_other_run_and_back(case: Planted):
    runs = []
    for name in ("a", "b"):
        content, raw = case.side(name)
        runs.append(stored(case.cells(), content, name, **raw))
    a, b = map(State.of, runs)
    (one,) = between(*runs).values()
    there, back = one.edit(a), one.undo(b)
    if case.kind == "values":
        assert (there.values_of, back.values_of) == (runs[1], runs[0])
        return
    for part in ("marker_map", "scoring", "gating"):
        for found, wanted in ((there, b), (back, a)):
            assert json.dumps(getattr(found, part)) == json.dumps(getattr(wanted, part)), part


def test_equal_runs_differ_in_nothing():
    assert between(run("a"), run("b")) == {}


def test_differences_stand_in_the_order_of_the_steps():
    after = {"_aliases": {"Foo": ["A"]}} | RS
    raw = scoring(anti_weight=0.5, positive_quantile=0.9) | gating(root_gap_threshold=0.1)
    found = between(run("a"), run("b", after, **raw))
    assert [(one.kind, name) for name, one in found.items()] == [
        ("values", "scoring.positive_quantile"),
        ("scoring", "anti_weight"),
        ("gating", "root_gap_threshold"),
        ("marker map", "S added"),
        ("marker map", "_aliases"),
    ]


def test_each_level_and_each_root_is_a_difference_of_its_own():
    rule = {"markers": ["B"], "max_pos_frac": 0.9}
    a = run("a", RS, **gating(root_veto_markers={"R": rule, "S": rule}))
    b = run(
        "b", RS, **gating(min_gap={"0": 0.3, "1": 0.4, "5": 0.1}, root_veto_markers={"R": rule})
    )
    found = between(a, b)
    assert [(name, one.value_a, one.value_b) for name, one in found.items()] == [
        ("min_gap.1", 0.3, 0.4),
        ("min_gap.0", None, 0.3),
        ("min_gap.5", None, 0.1),
        ("root_veto_markers.S", rule, None),
    ]


# ---------------------------------------------------------------------- who set it

STRICT = {"_gating_params": {"min_gap": {"0": 0.6}, "anti_agg": "max"}} | R


@pytest.mark.parametrize(
    ("content", "raw", "name", "origin"),
    [
        (R, gating(min_gap={"0": 0.7}), "min_gap.0", "parameters"),
        (R, scoring(de_bonus=0.1), "de_bonus", "parameters"),
        (R, gating(gate_inheritance=True), "gate_inheritance", "parameters"),
        (R, {"preset": "deep"}, "min_gap.1", "preset deep"),
        (R, {"preset": "deep"}, "de_bonus", "preset deep"),
        (STRICT, {}, "min_gap.0", "marker map"),
        (STRICT, {}, "anti_agg", "marker map"),
        (STRICT, scoring(anti_agg="mean"), "anti_agg", "parameters"),
        (STRICT, {"preset": "deep"}, "min_gap.0", "preset deep"),
        (STRICT, {"preset": "deep"} | gating(min_gap={"0": 0.7}), "min_gap.0", "parameters"),
        (STRICT, {"preset": "deep"} | gating(min_gap={"0": 0.7}), "min_gap.1", "preset deep"),
        (STRICT, {"preset": "conservative"}, "anti_agg", "preset conservative"),
        (R, {"profile": "adaptive"}, "root_gap_threshold", "profile adaptive"),
        (R, {"profile": "adaptive"}, "min_gap.2", "profile adaptive"),
        (R, {"profile": "adaptive"}, "parent_markers", "profile adaptive"),
        (STRICT, {"profile": "adaptive"}, "min_gap.0", "marker map"),
        (R, gating(anti_agg="max"), "anti_agg", "parameters"),
        (STRICT, gating(anti_agg="mean"), "anti_agg", "parameters"),
    ],
)
def test_what_gave_the_later_run_its_value(content, raw, name, origin):
    assert between(run("a"), run("b", content, **raw))[name].set_in == origin


def test_a_value_that_was_taken_back_is_the_default():
    found = between(run("a", STRICT, **gating(gate_inheritance=True)), run("b"))
    assert {name: one.set_in for name, one in found.items()} == {
        "anti_agg": "default",
        "min_gap.0": "default",
        "gate_inheritance": "default",
    }


# ---------------------------------------------------------------------- values and clusters


def shifted(cells: Cells) -> Cells:
    """The same cells with one value moved."""
    values = [list(row) for row in cells.values]
    values[0][0] += 0.25
    return Cells(values, cells.markers, cells.clusters, cells.names)


def test_another_sample_with_the_same_values_is_no_difference_of_the_values():
    assert between(run("a"), run("b", sample="copy.h5ad")) == {}


def test_another_sample_with_other_values():
    found = between(run("a"), run("b", cells=shifted(counted(COUNTS)), sample="other.h5ad"))
    assert list(found) == ["sample"]
    assert (found["sample"].value_a, found["sample"].value_b) == ("sample.h5ad", "other.h5ad")


def test_other_values_of_the_same_sample_come_from_how_it_is_read():
    cells = counted(COUNTS)
    raw = {"expression": {"normalize": "arcsinh"}}
    found = between(run("a", cells=cells), run("b", cells=shifted(cells), **raw))
    assert list(found) == ["expression.normalize"]
    assert found["expression.normalize"].value_b == "arcsinh"


def test_values_that_differ_for_no_known_reason_are_said_to_differ():
    found = between(run("a"), run("b", cells=shifted(counted(COUNTS))))
    assert list(found) == ["values of the cells"]


def test_all_that_is_behind_the_values_is_one_difference():
    raw = scoring(positive_quantile=0.9) | {"expression": {"normalize": "arcsinh"}}
    found = between(run("a"), run("b", cells=shifted(counted(COUNTS)), sample="other", **raw))
    (name,) = found
    assert set(name.split(", ")) == {
        "sample", "expression.normalize", "scoring.positive_quantile",
    }  # fmt: skip


def test_a_parameter_of_the_statistics_is_not_blamed_on_the_file():
    found = between(run("a"), run("b", sample="copy.h5ad", **scoring(positive_quantile=0.9)))
    assert list(found) == ["scoring.positive_quantile"]


def test_with_other_clusters_everything_that_may_be_behind_them_is_listed():
    a, b = run("a"), run("b", sample="other.h5ad", cluster_key="mine")
    clustering = {"resolution": 0.9, "n_neighbors": 20}
    parameters = {
        **b.manifest.parameters,
        "clustering": {**b.manifest.parameters["clustering"], **clustering},
        "expression": {**b.manifest.parameters["expression"], "layer": "raw"},
    }
    b = replace(b, manifest=b.manifest.model_copy(update={"parameters": parameters}))
    found = between(a, b, same_clusters=False)
    assert {name: (one.kind, one.value_a, one.value_b) for name, one in found.items()} == {
        "sample": ("sample", "sample.h5ad", "other.h5ad"),
        "cluster_key": ("clusters", "clustered anew", "mine"),
        "expression.layer": ("values", "auto", "raw"),
        "clustering.n_neighbors": ("clusters", 15, 20),
        "clustering.resolution": ("clusters", 0.6, 0.9),
    }
    assert all(one.edit is None for one in found.values())


def test_with_other_clusters_the_statistics_are_listed_parameter_by_parameter():
    b = run("b", **scoring(positive_quantile=0.9, positive_reference="all", de_bonus=0.1))
    found = between(run("a"), b, same_clusters=False)
    assert list(found) == [
        "scoring.positive_quantile",
        "scoring.positive_reference",
        "de_bonus",
    ]


@pytest.mark.parametrize(
    ("raw", "name", "origin"),
    [
        (scoring(positive_quantile=0.9), "scoring.positive_quantile", "parameters"),
        ({"preset": "sparse"}, "scoring.positive_quantile", "preset sparse"),
        ({"profile": "adaptive"}, "scoring.positive_threshold", "profile adaptive"),
    ],
)
@pytest.mark.parametrize("same", [True, False], ids=["same clusters", "other clusters"])
def test_who_set_what_is_measured_in_the_cells(same, raw, name, origin):
    found = between(run("a"), run("b", **raw), same_clusters=same)
    assert found[name].set_in == origin


def test_a_clustering_parameter_was_set_by_somebody():
    b = run("b", clustering={"resolution": 0.9})
    found = between(run("a"), b, same_clusters=False)
    assert found["clustering.resolution"].set_in == "parameters"
    back = between(b, run("a"), same_clusters=False)
    assert back["clustering.resolution"].set_in in (None, "default")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ({"clustering": {"resolution": 0.9}}, "clustering.resolution"),
        (scoring(enrichment_statistic="mean"), "scoring.enrichment_statistic"),
        (gating(per_cell_gap_threshold=0.5), "per_cell_gap_threshold"),
        (gating(max_ambiguity=2), "max_ambiguity"),
    ],
)
def test_a_parameter_that_moved_nothing_is_a_difference_all_the_same(raw, name):
    """Else the runs are said to have had the same parameters."""
    assert list(between(run("a"), run("b", **raw))) == [name]


# ---------------------------------------------------------------------- in words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("max", "max"),
        (0.25, "0.25"),
        (3, "3"),
        (0.1, "0.1"),
        (1.0, "1"),
        (True, "true"),
        (["A", "µ"], '["A", "µ"]'),
        ({"min_gap": 0.5}, '{"min_gap": 0.5}'),
        (0.12345678, "0.12345678"),
        (1234.5678, "1234.5678"),
        (1000000, "1000000"),
    ],
)
def test_values_are_shown_whole(value, text):
    assert as_text(value) == text
