import json
from copy import deepcopy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.markers.schema import marker_map_schema

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
VALIDATOR = Draft202012Validator(marker_map_schema())

MAP = {
    "_marker_map_metadata": {"version": "1.0"},
    "_gating_params": {
        "min_coverage": {"0": 0.5, "1": 0.25},
        "root_gap_threshold": 0.3,
        "root_veto_markers": {"A": {"markers": ["KRT8"], "max_pos_frac": 0.2}},
    },
    "_aliases": {"Pan-X": ["mix", "AE1"]},
    "A": {
        "markers": ["CD45", "CD3"],
        "anti_markers": ["VIM"],
        "ontology_id": "CL:0000084",
        "description": "Cells.",
        "subtypes": {"B": {"markers": ["CD4"], "gating_overrides": {"min_gap": 0.5}}},
    },
    "C": {"markers": ["VIM"]},
}

LABELS = st.sampled_from(["A", "B c", "D/E", "no", "0", "γδ", "T+"])
MARKERS = st.lists(st.sampled_from(["CD3", "CD4", "VIM", "HLA-DR", "3:0", "on"]), unique=True)
FRACTIONS = st.sampled_from([0, 0.25, 0.5, 1, 1e-05])
LEVELS = st.dictionaries(st.sampled_from(["0", "1", "2"]), FRACTIONS, max_size=3)


@st.composite
def cell_types(draw, depth=2):
    names = draw(MARKERS.filter(bool))
    split = draw(st.integers(1, len(names)))
    raw = {"markers": names[:split]}
    if draw(st.booleans()):
        raw["anti_markers"] = names[split:]
    if depth and draw(st.booleans()):
        below = st.dictionaries(LABELS, cell_types(depth=depth - 1), max_size=2)
        raw["subtypes"] = draw(below)
    optional = {
        "gating_overrides": st.fixed_dictionaries({}, optional={"min_gap": FRACTIONS}),
        "ontology_id": st.sampled_from(["CL:0000084", None]),
        "description": st.sampled_from(["Cells.", "3:0", None]),
    }
    return raw | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def marker_maps(draw):
    gating = st.fixed_dictionaries(
        {}, optional={"min_coverage": LEVELS, "min_gap": LEVELS, "root_gap_threshold": FRACTIONS}
    )
    settings_of = {
        "_marker_map_metadata": st.just({"version": "1.0"}),
        "_gating_params": gating,
        "_aliases": st.dictionaries(st.sampled_from(["X", "Y"]), MARKERS, max_size=2),
    }
    raw = draw(st.fixed_dictionaries({}, optional=settings_of))
    return raw | draw(st.dictionaries(LABELS, cell_types(), min_size=1, max_size=3))


def content_hash(raw, source="map.json"):
    return parse_marker_map(raw if isinstance(raw, str) else json.dumps(raw), source).content_hash


def shuffled(value, random):
    """The same content with the keys of every table in another order; lists stay."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


def nodes_of(raw):
    """Every (table, label) of a map."""
    for label, part in raw.items():
        if not label.startswith("_"):
            yield raw, label
            if "subtypes" in part:
                yield from nodes_of(part["subtypes"])


def part(raw, name):
    return raw.setdefault(name, {})


def add_marker(raw, table, label):
    table[label]["markers"].append("CD99")


def drop_or_swap_a_marker(raw, table, label):
    markers = table[label]["markers"]
    markers[:] = markers[1:] if len(markers) > 1 else ["CD99"]


def add_anti_marker(raw, table, label):
    table[label].setdefault("anti_markers", []).append("CD99")


def rename(raw, table, label):
    table["Renamed"] = table.pop(label)


def add_child(raw, table, label):
    part(table[label], "subtypes")["New"] = {"markers": ["CD3"]}


def change_override(raw, table, label):
    part(table[label], "gating_overrides")["min_gap"] = 0.75


def ask_for_anti_markers_off(raw, table, label):
    part(table[label], "gating_overrides")["require_anti_markers_off"] = True


def change_term(raw, table, label):
    table[label]["ontology_id"] = "CL:0000625"


def add_alias(raw, table, label):
    part(raw, "_aliases")["Z"] = ["Z2"]


def extend_alias(raw, table, label):
    part(raw, "_aliases").setdefault("X", []).append("X2")


def change_level(raw, table, label):
    part(part(raw, "_gating_params"), "min_coverage")["1"] = 0.75


def change_gate(raw, table, label):
    part(raw, "_gating_params")["root_gap_threshold"] = 0.75


CHANGES = [
    add_marker,
    drop_or_swap_a_marker,
    add_anti_marker,
    rename,
    add_child,
    change_override,
    ask_for_anti_markers_off,
    change_term,
    add_alias,
    extend_alias,
    change_level,
    change_gate,
]


@pytest.mark.smoke
def test_the_hash_is_64_hexadecimal_digits_and_always_the_same():
    found = content_hash(MAP)
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")
    assert content_hash(deepcopy(MAP)) == found


def test_the_canonical_content_is_what_the_map_means():
    unset = dict.fromkeys(
        ("min_coverage", "min_pos_frac", "min_enrichment", "min_frac_markers_on", "min_gap")
    )
    own = {**unset, "require_anti_markers_off": False}
    assert json.loads(json.dumps(parse_marker_map(json.dumps(MAP), "map.json").canonical())) == {
        "cell_types": {
            "A": {
                "markers": ["CD45", "CD3"],
                "anti_markers": ["VIM"],
                "overrides": own,
                "ontology_id": "CL:0000084",
            },
            "A / B": {
                "markers": ["CD4"],
                "anti_markers": [],
                "overrides": {**own, "min_gap": 0.5},
                "ontology_id": None,
            },
            "C": {"markers": ["VIM"], "anti_markers": [], "overrides": own, "ontology_id": None},
        },
        "gating": {
            "min_coverage": {"0": 0.5, "1": 0.25},
            "root_gap_threshold": 0.3,
            "root_veto_markers": {"A": {"markers": ["KRT8"], "max_pos_frac": 0.2}},
        },
        "aliases": {"Pan-X": ["AE1", "mix"]},
    }


@given(raw=marker_maps())
@QUICK
def test_every_sound_map_passes_parser_and_schema(raw):
    parse_marker_map(json.dumps(raw), "map.json")
    assert [error.message for error in VALIDATOR.iter_errors(raw)] == []


@given(raw=marker_maps(), random=st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_keys_does_not_change_the_hash(raw, random):
    assert content_hash(shuffled(raw, random)) == content_hash(raw)


@given(raw=marker_maps(), indent=st.sampled_from([0, 2, "\t"]))
@QUICK
def test_white_space_does_not_change_the_hash(raw, indent):
    text = json.dumps(raw, indent=indent, separators=(" ,\n", "  :\t"))
    assert content_hash("\n " + text + "\n\n") == content_hash(raw)


@given(raw=marker_maps())
@QUICK
def test_descriptions_and_metadata_do_not_change_the_hash(raw):
    other = deepcopy(raw)
    other["_marker_map_metadata"] = {"version": "2.0", "tissue": "other"}
    for table, label in nodes_of(other):
        table[label]["description"] = "Another text."
    assert content_hash(other) == content_hash(raw)


@given(raw=marker_maps())
@QUICK
def test_json_and_yaml_of_one_map_have_the_same_hash(raw):
    blocks = yaml.safe_dump(raw, allow_unicode=True, sort_keys=False)
    flow = yaml.safe_dump(raw, default_flow_style=True)
    assert content_hash(blocks, "map.yaml") == content_hash(raw)
    assert content_hash(flow, "map.yml") == content_hash(raw)


@pytest.mark.parametrize("change", CHANGES)
@given(raw=marker_maps(), data=st.data())
@settings(QUICK, max_examples=12)
def test_a_change_of_what_the_map_means_changes_the_hash(change, raw, data):
    other = deepcopy(raw)
    table, label = data.draw(st.sampled_from(list(nodes_of(other))))
    change(other, table, label)
    assert content_hash(other) != content_hash(raw)


def test_both_spellings_of_a_key_have_the_same_hash():
    other = deepcopy(MAP)
    other["A"]["Anti_markers"] = other["A"].pop("anti_markers")
    other["A"]["children"] = other["A"].pop("subtypes")
    assert content_hash(other) == content_hash(MAP)


def test_both_forms_of_thresholds_have_the_same_hash():
    other = deepcopy(MAP)
    del other["_gating_params"]["min_coverage"]
    other["_gating_params"]["level_defaults"] = {
        "0": {"min_coverage": 0.5},
        "1": {"min_coverage": 0.25},
    }
    assert content_hash(other) == content_hash(MAP)


def test_what_is_left_out_and_what_is_empty_have_the_same_hash():
    other = deepcopy(MAP)
    other["C"] |= {"anti_markers": [], "subtypes": {}, "gating_overrides": {}, "ontology_id": None}
    assert content_hash(other) == content_hash(MAP)
    assert content_hash({"A": {"markers": ["CD3"]}, "_gating_params": {}, "_aliases": {}}) == (
        content_hash({"A": {"markers": ["CD3"]}})
    )


def test_a_default_that_the_map_gives_is_part_of_its_hash():
    # it beats an earlier layer, so it means something
    plain = {"A": {"markers": ["CD3"]}}
    assert content_hash({**plain, "_gating_params": {"max_ambiguity": 3}}) != content_hash(plain)


def test_the_key_for_the_schema_of_an_editor_does_not_change_the_hash():
    assert content_hash({"$schema": "marker-map.schema.json", **MAP}) == content_hash(MAP)


def test_the_name_of_the_file_does_not_change_the_hash():
    assert content_hash(MAP, "one.json") == content_hash(MAP, "two.json")


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("root_veto_markers", {"A": {"markers": ["KRT8"], "max_pos_frac": 0.3}}),
        ("root_veto_markers", {"A": {"markers": ["KRT8", "KRT7"], "max_pos_frac": 0.2}}),
        ("root_veto_markers", {"C": {"markers": ["KRT8"], "max_pos_frac": 0.2}}),
        ("root_hard_requirements", {"A": {"marker": "CD45", "min_pos_frac": 0.2}}),
        ("anti_agg", "max"),
        ("gate_inheritance", True),
    ],
)
def test_a_change_of_a_rule_changes_the_hash(rule, value):
    other = deepcopy(MAP)
    other["_gating_params"][rule] = value
    assert content_hash(other) != content_hash(MAP)


def test_a_subtype_that_moves_to_another_parent_changes_the_hash():
    other = deepcopy(MAP)
    other["C"]["subtypes"] = other["A"].pop("subtypes")
    assert content_hash(other) != content_hash(MAP)
