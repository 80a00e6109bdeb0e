import json
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ctr_engine.errors import MarkerMapError
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.hierarchy import GatingOverrides
from ctr_engine.markers.parse import NODE_KEYS, parse_marker_map
from ctr_engine.markers.schema import marker_map_schema

SCHEMA = marker_map_schema()
VALIDATOR = Draft202012Validator(SCHEMA)

shared = os.environ.get("CTR_SHARED")
DEMO_MAPS = Path(__file__).parents[2] / "ctr_assets" / "demo_maps"
MAPS = [DEMO_MAPS / f"{tissue}.json" for tissue in ("blood", "fallopian-tube", "uterus")]
if shared is not None:
    MAPS += sorted(Path(shared, "data").glob("*/marker_map.json"))


@pytest.fixture(params=MAPS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def map_text(request):
    return request.param.read_text(encoding="utf-8")


def node(**parts):
    return {"markers": ["CD45"], **parts}


def gating(**params):
    return {"A": node(), "_gating_params": params}


def parser_accepts(raw):
    try:
        parse_marker_map(json.dumps(raw), "map.json")
    except MarkerMapError:
        return False
    return True


def schema_accepts(raw):
    return VALIDATOR.is_valid(raw)


@pytest.mark.smoke
def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


def test_every_map_at_hand_is_checked():
    assert len(MAPS) == (3 if shared is None else 8)


def test_our_maps_and_those_of_the_data_sets_are_valid(map_text):
    assert [error.message for error in VALIDATOR.iter_errors(json.loads(map_text))] == []
    assert parse_marker_map(map_text, "map.json").nodes


VALID = {
    "the least": {"A": node()},
    "all keys": {
        "_marker_map_metadata": {"tissue": "uterus", "sources": ["x"]},
        "_aliases": {"Pan-CK": ["PanCK"], "X": []},
        "A": {
            "markers": ["CD3", "γδ"],
            "anti_markers": [],
            "subtypes": {"B": node()},
            "gating_overrides": {
                "min_coverage": 0.1,
                "min_pos_frac": None,
                "min_enrichment": -2,
                "min_frac_markers_on": 1,
                "min_gap": 0,
                "require_anti_markers_off": True,
            },
            "ontology_id": "CL:0000084",
            "description": "x",
        },
    },
    "other spellings": {"A": node(Anti_markers=["VIM"], children={"B": node()})},
    "nulls": {"A": node(ontology_id=None, description=None)},
    "one label in two branches": {"A": node(subtypes={"X": node()}), "B": node(), "X": node()},
    "a label with a slash": {"A": node(subtypes={"Pyr L2/3": node(), "γδ T+": node()})},
    "thresholds by name": gating(min_coverage={"0": 0.5}, min_gap={"12": 3}, anti_agg="max"),
    "thresholds by level": gating(level_defaults={"0": {"min_coverage": 0.5, "min_gap": 2}}),
    "thresholds for all": gating(
        anti_penalty_hard_gate=1,
        anti_off_max_positive_fraction=0.2,
        per_cell_gap_threshold=0,
        root_gap_threshold=0.3,
        max_ambiguity=2,
        gate_inheritance=True,
    ),
    "root rules": gating(
        root_hard_requirements={"A": {"marker": "CD45", "min_pos_frac": 0.3}},
        root_veto_markers={"A": {"markers": ["VIM"], "max_pos_frac": 0.2}},
    ),
}
BROKEN = {
    "no table": [],
    "an unknown setting": {"A": node(), "_notes": {}},
    "a comment in a node": {"A": node(_note="x")},
    "an unknown key": {"A": node(marker=["CD3"])},
    "an unknown key further down": {"A": node(subtypes={"B": node(subtype={})})},
    "no markers": {"A": {"description": "x"}},
    "an empty list of markers": {"A": {"markers": []}},
    "markers as text": {"A": {"markers": "CD3"}},
    "a marker that is no text": {"A": {"markers": ["CD3", 5]}},
    "a marker without a name": {"A": {"markers": [""]}},
    "a marker twice": {"A": {"markers": ["CD3", "CD3"]}},
    "an anti-marker twice": {"A": node(anti_markers=["CD3", "CD3"])},
    "an anti-marker twice, other spelling": {"A": node(Anti_markers=["CD3", "CD3"])},
    "both spellings of anti-markers": {"A": node(anti_markers=[], Anti_markers=[])},
    "both spellings of subtypes": {"A": node(subtypes={}, children={})},
    "a node that is no table": {"A": ["CD3"]},
    "subtypes that are no table": {"A": node(subtypes=["B"])},
    "a description that is no text": {"A": node(description=5)},
    "a term that is no text": {"A": node(ontology_id=84)},
    "a term that is no term": {"A": node(ontology_id="CL:84")},
    "metadata that are no table": {"A": node(), "_marker_map_metadata": "v1"},
    "aliases that are no table": {"A": node(), "_aliases": ["CD3"]},
    "an alias that is no list": {"A": node(), "_aliases": {"CD3": "Leu4"}},
    "an alias twice": {"A": node(), "_aliases": {"CD3": ["Leu4", "Leu4"]}},
    "an alias that is no text": {"A": node(), "_aliases": {"CD3": [4]}},
    "overrides that are no table": {"A": node(gating_overrides=0.5)},
    "an unknown override": {"A": node(gating_overrides={"min_covrage": 0.5})},
    "an override per level": {"A": node(gating_overrides={"min_coverage": {"0": 0.5}})},
    "an override as text": {"A": node(gating_overrides={"min_coverage": "0.5"})},
    "an override above 1": {"A": node(gating_overrides={"min_coverage": 1.5})},
    "an override below 0": {"A": node(gating_overrides={"min_gap": -0.1})},
    "a truth value as number": {"A": node(gating_overrides={"min_coverage": True})},
    "gating parameters that are no table": {"A": node(), "_gating_params": []},
    "an unknown gating parameter": gating(min_covrage={"0": 0.5}),
    "a bare number per level": gating(min_coverage=0.5),
    "a threshold above 1": gating(min_coverage={"0": 1.5}),
    "a threshold below 0": gating(min_gap={"0": -1}),
    "a threshold as text": gating(min_enrichment={"0": "0"}),
    "a level that is no number": gating(min_coverage={"root": 0.5}),
    "a level below 0": gating(min_coverage={"-1": 0.5}),
    "level_defaults that are no table": gating(level_defaults=0.5),
    "level_defaults with a bare number": gating(level_defaults={"0": 0.5}),
    "level_defaults above 1": gating(level_defaults={"0": {"min_coverage": 1.5}}),
    "level_defaults with a threshold for all": gating(level_defaults={"0": {"max_ambiguity": 2}}),
    "level_defaults of no level": gating(level_defaults={"root": {"min_coverage": 0.5}}),
    "an unknown way to aggregate": gating(anti_agg="sum"),
    "an ambiguity of one": gating(max_ambiguity=1),
    "an ambiguity of a half": gating(max_ambiguity=2.5),
    "a negative gate": gating(anti_penalty_hard_gate=-1),
    "a switch that is no switch": gating(gate_inheritance="maybe"),
    "a requirement without a marker": gating(root_hard_requirements={"A": {"min_pos_frac": 0.3}}),
    "a requirement of a nameless marker": gating(
        root_hard_requirements={"A": {"marker": "", "min_pos_frac": 0.3}}
    ),
    "a requirement out of range": gating(
        root_hard_requirements={"A": {"marker": "CD3", "min_pos_frac": 3}}
    ),
    "an unknown key of a requirement": gating(
        root_hard_requirements={"A": {"marker": "CD3", "min_pos_frac": 0.3, "level": 0}}
    ),
    "a veto without markers": gating(root_veto_markers={"A": {"max_pos_frac": 0.3}}),
    "a veto with an empty list": gating(
        root_veto_markers={"A": {"markers": [], "max_pos_frac": 0}}
    ),
    "a veto without a limit": gating(root_veto_markers={"A": {"markers": ["CD3"]}}),
    "a veto out of range": gating(root_veto_markers={"A": {"markers": ["CD3"], "max_pos_frac": 2}}),
}
BAD_LABELS = [
    "",
    " ",
    " T",
    "T ",
    "_T",
    "T / B",
    "T~B",
    "T, B",
    "T\tB",
    "T\nB",
    "T\n",
    "T\x00",
    "T\x7fB",
    "Unassigned",
    "Uncertain",
]
# Equal parts in two places and references to a key are beyond a schema.
BEYOND_A_SCHEMA = {
    "a marker that is an anti-marker too": {"A": node(anti_markers=["CD45"])},
    "one threshold given twice": gating(
        min_coverage={"0": 0.5}, level_defaults={"0": {"min_coverage": 0.4}}
    ),
    "a requirement of what is no root": gating(
        root_hard_requirements={"B": {"marker": "CD3", "min_pos_frac": 0.3}}
    ),
    "a veto of what is no root": gating(
        root_veto_markers={"B": {"markers": ["CD3"], "max_pos_frac": 0.3}}
    ),
}


@pytest.mark.parametrize("raw", VALID.values(), ids=VALID)
def test_parser_and_schema_accept_a_sound_map(raw):
    assert [error.message for error in VALIDATOR.iter_errors(raw)] == []
    assert parser_accepts(raw)


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_parser_and_schema_refuse_a_broken_map(raw):
    assert not parser_accepts(raw)
    assert not schema_accepts(raw)


@pytest.mark.parametrize("label", BAD_LABELS, ids=repr)
def test_parser_and_schema_refuse_a_bad_label(label):
    for raw in ({"A": node(), label: node()}, {"A": node(subtypes={"B": node(), label: node()})}):
        assert not parser_accepts(raw)
        assert not schema_accepts(raw)


@pytest.mark.parametrize("raw", BEYOND_A_SCHEMA.values(), ids=BEYOND_A_SCHEMA)
def test_what_a_schema_cannot_express_is_left_to_the_parser(raw):
    assert not parser_accepts(raw)
    assert schema_accepts(raw)


def test_the_schema_offers_every_key_that_the_parser_reads():
    definitions = SCHEMA["$defs"]
    assert set(definitions["CellType"]["properties"]) == set(NODE_KEYS)
    assert set(definitions["GatingParams"]["properties"]) == {
        *GatingParams.model_fields,
        "level_defaults",
    }
    assert set(definitions["GatingOverrides"]["properties"]) == set(GatingOverrides.model_fields)


def test_every_gating_parameter_is_described_for_the_editor():
    properties = SCHEMA["$defs"]["GatingParams"]["properties"]
    assert [name for name, shape in properties.items() if not shape.get("description")] == []
