"""The JSON Schema of a marker map, so that an editor checks it while it is typed."""

from typing import Any

from ctr_engine.markers.gating_params import PER_LEVEL, GatingParams
from ctr_engine.markers.hierarchy import GatingOverrides
from ctr_engine.markers.parse import ALIASES, GATING, METADATA

_CONTROL = r"\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
_NAME = rf"^(?!\s*$)[^{_CONTROL}]+$"
_NAMES = {"type": "array", "items": {"type": "string", "pattern": _NAME}, "uniqueItems": True}
_LABEL = (
    r"^(?!_)(?!\s)(?!.*\s$)(?!Unassigned$)(?!Uncertain$)(?!.* / )(?!/ )(?!.* /$)(?!/$)"
    rf"[^~,{_CONTROL}]+$"
)
_ROOT_LABEL = _LABEL.replace("^", r"^(?!\$schema$)", 1)
_LEVEL = "^(0|[1-9][0-9]*)$"


def marker_map_schema() -> dict[str, Any]:
    """Build the schema (draft 2020-12) from the models that the parser itself uses."""
    gating = GatingParams.model_json_schema(ref_template="#/$defs/{model}")
    overrides = GatingOverrides.model_json_schema(ref_template="#/$defs/{model}")
    definitions = gating.pop("$defs")
    by_level = {name: _level_value(gating["properties"][name]) for name in PER_LEVEL}
    gating["properties"]["level_defaults"] = {
        "description": "The same thresholds, written level by level.",
        "type": "object",
        "propertyNames": {"pattern": _LEVEL},
        "additionalProperties": {
            "type": "object",
            "properties": by_level,
            "additionalProperties": False,
        },
    }
    for name in PER_LEVEL:
        gating["properties"][name]["propertyNames"] = {"pattern": _LEVEL}
    node = {"$ref": "#/$defs/CellType"}
    subtypes = {
        "type": "object",
        "propertyNames": {"pattern": _LABEL},
        "additionalProperties": node,
    }
    definitions["HardRequirement"]["anyOf"] = [
        {"required": [name], "properties": {name: {"type": "number"}}}
        for name in ("min_pos_frac", "min_enrichment")
    ]
    definitions |= {
        "GatingParams": gating,
        "GatingOverrides": overrides,
        "CellType": _cell_type(subtypes),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "CTR marker map",
        "description": "Cell types of one tissue with their markers. Keys that start with _ are "
        "settings.",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            METADATA: {"type": "object", "description": "Anything that people want to note."},
            GATING: {"$ref": "#/$defs/GatingParams"},
            ALIASES: {
                "type": "object",
                "additionalProperties": _NAMES,
                "description": "Other names of a marker.",
            },
        },
        "patternProperties": {_ROOT_LABEL: node},
        "additionalProperties": False,
        "$defs": definitions,
    }


def _level_value(declared: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = declared["additionalProperties"]
    return value


def _cell_type(subtypes: dict[str, Any]) -> dict[str, Any]:
    anti = {**_NAMES, "description": "Markers that speak against this cell type."}
    return {
        "type": "object",
        "required": ["markers"],
        "additionalProperties": False,
        "properties": {
            "markers": {**_NAMES, "minItems": 1, "description": "Markers of this cell type."},
            "anti_markers": anti,
            "Anti_markers": anti,
            "subtypes": subtypes,
            "children": subtypes,
            "gating_overrides": {"$ref": "#/$defs/GatingOverrides"},
            "ontology_id": {
                "type": ["string", "null"],
                "pattern": "^CL:[0-9]{7}$",
                "description": "Term of the Cell Ontology.",
            },
            "description": {"type": ["string", "null"]},
        },
        "allOf": [
            {"not": {"required": ["anti_markers", "Anti_markers"]}},
            {"not": {"required": ["subtypes", "children"]}},
        ],
    }
