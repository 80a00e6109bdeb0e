"""Labels of a stored run in any state of its map and parameters."""

from dataclasses import replace

import pytest

from ctr_engine.comparison.state import Labels, State
from tests.comparison.planted import R, gating
from tests.comparison.runs import NO_BONUS, cells_of, counted, labels, stored
from tests.test_oracle_cases import Generator

COUNTS = {"A": {"0": 10, "1": 6}, "B": {"1": 8}}


def run(name: str = "a", **raw):
    return stored(counted(COUNTS), R, name, scoring=NO_BONUS, **raw)


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_the_state_of_a_run_gives_its_labels(seed):
    case = Generator(seed).case()
    raw = {name: case[name] for name in ("profile", "scoring", "gating")}
    found = stored(cells_of(case), case["marker_map"], **raw)
    assert Labels().of(State.of(found)) == labels(found)


def test_a_state_is_plain_data_and_edits_leave_it_alone():
    state = State.of(run())
    edited = state.with_map(lambda content: content | {"S": {"markers": ["B"]}})
    assert list(state.marker_map) == ["R"]
    assert list(edited.marker_map) == ["R", "S"]
    lower = state.with_gating(lambda values: values["min_gap"].update({"1": 9.0}))
    assert state.gating["min_gap"]["1"] == 0.3
    assert lower.gating["min_gap"]["1"] == 9.0


def test_settings_of_the_map_are_among_the_gating_and_metadata_is_left_out():
    content = {"_gating_params": {"min_gap": {"0": 0.7}}, "_marker_map_metadata": {"by": "me"}}
    state = State.of(stored(counted(COUNTS), content | R))
    assert list(state.marker_map) == ["R"]
    assert state.gating["min_gap"]["0"] == 0.7


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("marker_map", {"R": {"markers": ["A"], "anti_markers": ["A"]}}),
        ("marker_map", {"R": {"markers": ["A", "a"]}}),
        ("marker_map", {}),
        (
            "gating",
            gating(root_veto_markers={"S": {"markers": ["A"], "max_pos_frac": 1}})["gating"],
        ),
        ("scoring", {"de_min_k": 5, "de_max_k": 2}),
    ],
    ids=["marker twice", "column twice", "no cell type", "no such root", "limits"],
)
def test_what_is_no_setting_has_no_labels(part, value):
    state = State.of(run())
    edited = replace(
        state, **{part: value if part == "marker_map" else getattr(state, part) | value}
    )
    assert Labels().of(edited) is None


def test_values_of_another_run_are_scored_with_the_same_map():
    other = stored(counted({"A": {"0": 2, "2": 10}, "B": {}}), R, "b", scoring=NO_BONUS)
    found = Labels().of(replace(State.of(run()), values_of=other))
    assert {cluster for cluster, path in found.items() if path == "R"} >= {"2"}
    assert found["0"] == ""


def test_each_state_is_decided_about_once(monkeypatch):
    from ctr_engine.comparison import state as module

    calls = []
    decided = module._decided
    monkeypatch.setattr(module, "_decided", lambda state: calls.append(state) or decided(state))
    known, state = Labels(), State.of(run())
    assert known.of(state) == known.of(State.of(run()))
    assert len(calls) == 1
    turned = state.with_map(lambda content: {"S": {"markers": ["B"]}, **content})
    back = state.with_map(lambda content: {**content, "S": {"markers": ["B"]}})
    known.of(turned)
    known.of(back)
    assert len(calls) == 3, "another order of the cell types is another map"
