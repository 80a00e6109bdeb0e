"""Edits of a marker map: all of them lead to the other map, and all undone lead back."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.comparison.map_edits import map_edits
from ctr_engine.comparison.state import State
from tests.builders import marker_map

MARKERS = "ABCDE"
LABELS = ("P", "Q", "R", "S")
OVERRIDES = ("min_coverage", "min_gap")


def state(content: dict[str, Any]) -> State:
    """State of a map; nothing else of it is looked at."""
    source = marker_map(content).as_source()
    return State(source, {}, {}, None)


def edits_of(before: dict[str, Any], after: dict[str, Any]):
    return list(map_edits(state(before), state(after)))


def shown(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Names and values of the edits."""
    return [(name, old, new) for name, old, new, _, _ in edits_of(before, after)]


def applied(content: dict[str, Any], edits: list[Any]) -> dict[str, Any]:
    """Content of the map after some edits, in their order."""
    current = state(content)
    for edit in edits:
        current = edit(current)
    return dict(current.marker_map)


def same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Both mean the same, with their cell types in the same order."""
    maps = [marker_map(content) for content in (first, second)]
    assert maps[0].content_hash == maps[1].content_hash
    assert [node.path for node in maps[0].nodes] == [node.path for node in maps[1].nodes]


def node(*markers: str, **more: Any) -> dict[str, Any]:
    return {"markers": list(markers), **more}


# ---------------------------------------------------------------------- each kind by itself

BASE = {
    "R": node("A", "B", subtypes={"X": node("C"), "Y": node("D", subtypes={"Z": node("E")})}),
    "S": node("B", anti_markers=["A"]),
}


def changed(path: str, **parts: Any) -> dict[str, Any]:
    """The base with parts of one cell type replaced, or taken away where None."""
    content = json.loads(json.dumps(BASE))
    level, place = content, None
    for label in path.split(" / "):
        place = level[label]
        level = place["subtypes"] if "subtypes" in place else {}
    for name, value in parts.items():
        if value is None:
            del place[name]
        else:
            place[name] = value
    return content


KINDS = [
    ("a marker more", changed("R / X", markers=["C", "A"]),
     ("markers of R / X", ["C"], ["C", "A"])),
    ("a marker less", changed("R", markers=["A"]), ("markers of R", ["A", "B"], ["A"])),
    ("markers reordered", changed("R", markers=["B", "A"]),
     ("markers of R", ["A", "B"], ["B", "A"])),
    ("an anti-marker", changed("R / Y / Z", anti_markers=["A"]),
     ("anti_markers of R / Y / Z", None, ["A"])),
    ("no anti-marker", changed("S", anti_markers=None), ("anti_markers of S", ["A"], None)),
    ("an override", changed("S", gating_overrides={"min_gap": 0.5}),
     ("gating_overrides of S", None, {"min_gap": 0.5})),
    ("a root more", BASE | {"T": node("E", subtypes={"U": node("A")})},
     ("T added", None, "E (1 below)")),
    ("a root less", {"R": BASE["R"]}, ("S removed", "B", None)),
    ("a child more", changed("R / X", subtypes={"V": node("A", "B")}),
     ("R / X / V added", None, "A, B")),
    ("children less", changed("R", subtypes={"X": node("C")}),
     ("R / Y removed", "D (1 below)", None)),
    ("a root renamed", {"R2": BASE["R"], "S": BASE["S"]}, ("R renamed", "R", "R2")),
    ("a child renamed", changed("R / Y", subtypes={"Z 2": node("E")}),
     ("R / Y / Z renamed", "Z", "Z 2")),
    ("roots in another order", {"S": BASE["S"], "R": BASE["R"]},
     ("order of the roots", ["R", "S"], ["S", "R"])),
    ("children in another order",
     changed("R", subtypes={"Y": BASE["R"]["subtypes"]["Y"], "X": node("C")}),
     ("order of R", ["X", "Y"], ["Y", "X"])),
    ("an alias", {"_aliases": {"A": ["A1"]}, **BASE}, ("_aliases", {}, {"A": ["A1"]})),
]  # fmt: skip


@pytest.mark.parametrize(("after", "expected"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_one_edit_is_named_and_leads_there_and_back(after, expected):
    assert shown(BASE, after) == [expected]
    (_, _, _, edit, undo) = edits_of(BASE, after)[0]
    same(applied(BASE, [edit]), after)
    same(applied(BASE, [edit, undo]), BASE)
    same(applied(after, [undo]), BASE)


def test_equal_maps_need_no_edit():
    assert shown(BASE, BASE) == []
    described = changed("R", description="something", ontology_id="CL:0000084")
    described["_marker_map_metadata"] = {"by": "me"}
    described["_gating_params"] = {"min_gap": {"1": 0.5}}
    assert [name for name, _, _ in shown(BASE, described) if "ontology" not in name] == []


def test_an_ontology_term_is_part_of_what_a_map_means():
    """The content hash of the map sees it."""
    after = changed("S", ontology_id="CL:0000084")
    assert len(shown(BASE, after)) == 1
    same(applied(BASE, [edit for _, _, _, edit, _ in edits_of(BASE, after)]), after)


def test_a_renamed_cell_type_whose_markers_changed_as_well_is_another_one():
    after = {"R": BASE["R"], "S 2": node("B", "C")}
    assert shown(BASE, after) == [("S removed", "B", None), ("S 2 added", None, "B, C")]


def test_the_same_label_in_two_branches_is_told_apart_by_its_path():
    before = {p: node("A", subtypes={"X": node("B")}) for p in ("P", "Q")}
    after = {**before, "Q": node("A", subtypes={"X": node("B", "C")})}
    assert shown(before, after) == [("markers of Q / X", ["B"], ["B", "C"])]


def test_twins_are_renamed_one_to_one():
    before = {"P": node("A"), "Q": node("A"), "R": node("B")}
    after = {"U": node("A"), "V": node("A"), "W": node("A"), "R": node("B")}
    assert shown(before, after) == [
        ("P renamed", "P", "U"),
        ("Q renamed", "Q", "V"),
        ("W added", None, "A"),
    ]


@pytest.mark.parametrize(
    ("after", "other"),
    [
        ({"Q": node("B"), "P": node("A"), "R": node("C")}, "R added"),
        ({"S": node("C"), "Q": node("B"), "P": node("A")}, "S added"),
        ({"Q": node("B"), "P": node("A"), "T": node("D")}, "T added"),
    ],
)
def test_adding_a_cell_type_does_not_reorder_its_siblings(after, other):
    """Else it would be named as the cause of what the order does."""
    before = {"P": node("A"), "Q": node("B")}
    edits = {name: edit for name, _, _, edit, _ in edits_of(before, after)}
    assert set(edits) == {other, "order of the roots"}
    kept = [label for label in applied(before, [edits[other]]) if label in before]
    assert kept == ["P", "Q"]


def test_renaming_and_putting_back_do_not_reorder_the_siblings():
    before = {"P": node("A"), "Q": node("B"), "Z": node("D")}
    after = {"Q": node("B"), "P": node("A"), "Y": node("D")}
    edits = {name: (edit, undo) for name, _, _, edit, undo in edits_of(before, after)}
    assert set(edits) == {"Z renamed", "order of the roots"}
    assert list(applied(before, [edits["Z renamed"][0]])) == ["P", "Q", "Y"]
    assert list(applied(after, [edits["Z renamed"][1]])) == ["Q", "P", "Z"]


def test_a_label_may_be_called_the_roots():
    """The names of the differences of two runs are unique."""
    children = {"X": node("B"), "Y": node("C")}
    before = {"the roots": node("A", subtypes=children), "S": node("D")}
    turned = {"Y": node("C"), "X": node("B")}
    after = {"S": node("D"), "the roots": node("A", subtypes=turned)}
    found = [name for name, _, _ in shown(before, after)]
    assert len(set(found)) == len(found) == 2


def test_an_edit_of_what_another_edit_took_away_changes_nothing():
    before = {"R": node("A", subtypes={"X": node("B")}), "S": node("C")}
    after = {"R": node("A", subtypes={"X": node("B", "D")}), "S": node("C")}
    edit = edits_of(before, after)[0][3]
    without = {"S": node("C")}
    same(applied(without, [edit]), without)
    no_child = {"R": node("A"), "S": node("C")}
    same(applied(no_child, [edit]), no_child)


def test_the_map_that_is_edited_stays_as_it_was():
    start = state(BASE)
    text = json.dumps(start.marker_map)
    for _, _, _, edit, undo in edits_of(BASE, {"S": node("B", "C"), "T": node("D")}):
        undo(edit(start))
    assert json.dumps(start.marker_map) == text


# ---------------------------------------------------------------------- any two maps


@st.composite
def nodes(draw, depth: int) -> dict[str, Any]:
    """A cell type of few kinds, so that renamed ones are frequent."""
    markers = draw(st.lists(st.sampled_from(MARKERS[:3]), min_size=1, max_size=2, unique=True))
    content: dict[str, Any] = {"markers": markers}
    if draw(st.booleans()):
        content["anti_markers"] = draw(st.lists(st.sampled_from("DE"), max_size=1))
    if draw(st.integers(0, 3)) == 0:
        content["gating_overrides"] = {draw(st.sampled_from(OVERRIDES)): 0.5}
    if depth and draw(st.booleans()):
        content["subtypes"] = draw(siblings(depth - 1))
    return content


@st.composite
def siblings(draw, depth: int, least: int = 0) -> dict[str, Any]:
    labels = draw(st.lists(st.sampled_from(LABELS), min_size=least, max_size=4, unique=True))
    return {label: draw(nodes(depth)) for label in labels}


@st.composite
def maps(draw) -> dict[str, Any]:
    content = draw(siblings(2, least=1))
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(["A1", "A2"]), min_size=1, max_size=2, unique=True))
        content = {"_aliases": {draw(st.sampled_from("AB")): names}, **content}
    return content


@st.composite
def pairs(draw) -> tuple[dict[str, Any], dict[str, Any]]:
    """A map, and another one, or the same after a few changes."""
    before = draw(maps())
    if draw(st.booleans()):
        return before, draw(maps())
    after = json.loads(json.dumps(before))
    for _ in range(draw(st.integers(0, 3))):
        after = draw(mutated(after))
    return before, after


@st.composite
def mutated(draw, content: dict[str, Any]) -> dict[str, Any]:
    """Add, remove, rename, reorder or replace one of the siblings, here or below."""
    labels = [label for label in content if not label.startswith("_")]
    label = draw(st.sampled_from(labels))
    below = content[label]["subtypes"] if "subtypes" in content[label] else {}
    if below and draw(st.booleans()):
        parts = {**content[label], "subtypes": draw(mutated(below))}
        return {**content, label: parts}
    kind = draw(st.sampled_from(["add", "remove", "rename", "reorder", "replace"]))
    free = [name for name in LABELS if name not in content]
    if kind == "add" and free:
        added = [(draw(st.sampled_from(free)), draw(nodes(1)))]
        place = draw(st.integers(0, len(content)))
        items = list(content.items())
        return dict(items[:place] + added + items[place:])
    if kind == "remove" and len(labels) > 1:
        return {name: part for name, part in content.items() if name != label}
    if kind == "rename" and free:
        new = draw(st.sampled_from(free))
        return {new if name == label else name: part for name, part in content.items()}
    if kind == "reorder":
        return dict(draw(st.permutations(list(content.items()))))
    return {**content, label: draw(nodes(1))}


@given(pairs())
@settings(max_examples=100)
def test_all_edits_lead_to_the_other_map_and_all_undone_lead_back(pair):
    before, after = pair
    found = edits_of(before, after)
    same(applied(before, [edit for _, _, _, edit, _ in found]), after)
    same(applied(after, [undo for _, _, _, _, undo in reversed(found)]), before)


@given(pairs(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_in_which_edits_are_made_does_not_matter(pair, random):
    before, after = pair
    found = edits_of(before, after)
    random.shuffle(found)
    same(applied(before, [edit for _, _, _, edit, _ in found]), after)
    same(applied(after, [undo for _, _, _, _, undo in found]), before)


@given(pairs())
@settings(max_examples=40)
def test_each_edit_undone_leaves_the_map_as_it_was(pair):
    before, after = pair
    for _, _, _, edit, undo in edits_of(before, after):
        same(applied(before, [edit, undo]), before)


@given(pairs())
@settings(max_examples=40)
def test_there_are_edits_only_where_the_maps_differ_and_each_has_its_name(pair):
    before, after = pair
    found = [name for name, _, _ in shown(before, after)]
    assert len(set(found)) == len(found)
    maps_ = [marker_map(content) for content in pair]
    equal = maps_[0].content_hash == maps_[1].content_hash
    equal = equal and [n.path for n in maps_[0].nodes] == [n.path for n in maps_[1].nodes]
    assert (found == []) == equal
    assert shown(before, before) == []
