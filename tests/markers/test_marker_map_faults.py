"""Faults that a marker map can hide from a parser that looks less closely."""

import json
import sys

import pytest
from jsonschema import Draft202012Validator

from ctr_engine.documents import parse_document
from ctr_engine.errors import ConfigError, MarkerMapError
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.panel import Panel, resolve_map
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.markers.preflight import preflight
from ctr_engine.markers.schema import marker_map_schema

VALIDATOR = Draft202012Validator(marker_map_schema())


def node(**parts):
    return {"markers": ["CD45"], **parts}


def faults(text, source="map.json"):
    with pytest.raises(MarkerMapError) as caught:
        parse_marker_map(text, source)
    return [line.removeprefix("  ") for line in str(caught.value).split("\n")[1:]]


def test_the_schema_allows_the_key_for_the_schema_of_an_editor():  # 1
    assert VALIDATOR.is_valid({"$schema": "marker-map.schema.json", "A": node()})
    assert not VALIDATOR.is_valid({"$schema": node(), "A": node()})


def test_a_character_that_yaml_forbids_is_refused():  # 2
    with pytest.raises(ConfigError, match="is not valid YAML: unacceptable character #x0000"):
        parse_document("a: \x00", "map.yaml")


@pytest.mark.parametrize(
    "scalar", ["!!timestamp x", "!!float ''", "!!bool maybe", "!!int x", "!!binary x"]
)
def test_a_yaml_tag_that_changes_a_value_is_refused_with_its_line(scalar):  # 3
    with pytest.raises(ConfigError, match=r"line 2: the tag 'tag:yaml.org,2002:.*' is not read"):
        parse_document(f"a: 1\nb: {scalar}\n", "map.yaml")


def test_the_yaml_tag_of_text_is_read():
    assert parse_document("a: !!str 5\nb: !!int 5\n", "map.yaml").value == {"a": "5", "b": 5}


@pytest.mark.parametrize("key", ["{a: b}", "[a, b]"])
def test_a_yaml_key_that_is_a_list_or_a_table_is_refused(key):  # 4
    with pytest.raises(ConfigError, match="line 2: a key is a list or a table"):
        parse_document(f"a: 1\n? {key}\n: c\n", "map.yaml")


@pytest.mark.parametrize("label", ["/", "/ B", "B /"])
def test_a_label_that_would_add_a_separator_to_its_path_is_an_error(label):  # 5
    raw = {"A": node(subtypes={label: node()})}
    assert faults(json.dumps(raw)) == [
        f"line 1, A / {label}: the label holds ' / ', which separates a path"
    ]
    assert not VALIDATOR.is_valid(raw)
    assert not VALIDATOR.is_valid({label: node()})


@pytest.mark.parametrize("term", ["CL:0000084\n", "CL:٠٠٠٠٠٨٤"])
def test_an_ontology_term_is_seven_plain_digits(term):  # 6
    (fault,) = faults(json.dumps({"A": node(ontology_id=term)}))
    assert fault.endswith("is no Cell Ontology term, such as 'CL:0000084'")


@pytest.mark.parametrize("level", ["00", "01", "٠"])
def test_a_level_has_one_spelling(level):  # 7
    raw = {"A": node(), "_gating_params": {"min_coverage": {"0": 0.5, level: 0.4}}}
    (fault,) = faults(json.dumps(raw))
    assert "is no level; levels are whole numbers" in fault
    assert not VALIDATOR.is_valid(raw)


def test_a_fault_inside_a_root_rule_has_its_own_line():  # 8
    text = """{"A": {"markers": ["CD45"]},
"_gating_params": {
"root_hard_requirements": {
"A": {"min_pos_frac": 0.3}},
"root_veto_markers": {"A": {"max_pos_frac": 0.2, "markers": ["CD3",
5]}}}}"""
    assert faults(text) == [
        (
            "line 4, _gating_params, root_hard_requirements.A.marker: "
            "field required; got {'min_pos_frac': 0.3}"
        ),
        (
            "line 6, _gating_params, root_veto_markers.A.markers.1: "
            "input should be a valid string; got 5"
        ),
    ]


def test_a_cell_type_without_a_marker_on_the_panel_says_so():  # 9
    tree = parse_marker_map('{"A": {"markers": ["CD99"]}}', "map.json")
    gating = GatingParams().merged_with(GatingParams(min_coverage={0: 0.0}))
    table = preflight(resolve_map(tree, Panel(("CD3",))), gating).table
    assert table["obstacle"][0] == "none of its markers is on the panel"


def test_a_key_twice_that_is_no_label_is_called_a_key():  # 10
    text = '{"A": {"markers": ["X"], "gating_overrides": {"min_gap": 1, "min_gap": 2}}}'
    assert faults(text) == ["line 1, A: key 'min_gap' is given twice in the same table"]
    text = '{"A": {"markers": ["X"], "children": {"markers": {"markers": ["X"]}, "markers": {}}}}'
    assert "label 'markers' is given twice" in faults(text)[0] + faults(text)[-1]


@pytest.mark.parametrize(
    "raw",
    [
        {"A": {"markers": [" "]}},
        {"A": {"markers": ["CD\n4"]}},
        {"A": {"markers": ["CD\u20284"]}},
        {"A": node(), "_aliases": {"CD3": [" "]}},
        {"A\u0085B": node()},
        {"A\u2028B": node()},
        {"A": node(), "_gating_params": {"root_hard_requirements": {"A": {"marker": "CD3"}}}},
        {
            "A": node(),
            "_gating_params": {
                "root_hard_requirements": {"A": {"marker": "CD3", "min_pos_frac": None}}
            },
        },
    ],
)
def test_parser_and_schema_refuse_the_same_names_and_rules(raw):  # 11
    faults(json.dumps(raw))
    assert not VALIDATOR.is_valid(raw)


@pytest.mark.parametrize("value", ["no", "on", 1, 0])
def test_a_switch_is_true_or_false(value):  # 12
    for raw in (
        {"A": node(), "_gating_params": {"gate_inheritance": value}},
        {"A": node(gating_overrides={"require_anti_markers_off": value})},
    ):
        (fault,) = faults(json.dumps(raw))
        assert fault.endswith(f"input should be a valid boolean; got {value!r}")
        assert not VALIDATOR.is_valid(raw)


def test_a_map_that_anchors_nest_too_deeply_is_refused():  # 13
    levels = [f"  l{i}: &l{i} {{markers: [X], subtypes: {{L: *l{i - 1}}}}}" for i in range(1, 360)]
    head = ["_marker_map_metadata:", "  l0: &l0 {markers: [X]}"]
    text = "\n".join([*head, *levels, "A: *l359"])
    if sys.version_info >= (3, 12):  # comprehensions need no frame there, and all is read
        assert len(parse_marker_map(text, "map.yaml").nodes) == 360
    else:
        assert faults(text, "map.yaml") == ["is nested too deeply to be read"]


@pytest.mark.parametrize("label", ["T\u200bcells", "T\ufeff", "T\u202ecells", "T\u00adcells"])
def test_characters_that_nobody_can_see_are_refused_in_labels(label):
    text = json.dumps({label: {"markers": ["X"]}})
    with pytest.raises(MarkerMapError, match="an invisible character"):
        parse_marker_map(text, "m.json")
    assert not VALIDATOR.is_valid(json.loads(text))


def test_an_alias_needs_a_name():
    with pytest.raises(MarkerMapError, match="'' is not the name of a marker"):
        parse_marker_map('{"_aliases": {"": ["x"]}, "A": {"markers": ["x"]}}', "m.json")
