"""A file that says which cell type each known label is."""

import json

import pytest

from ctr_engine.documents import parse_document
from ctr_engine.errors import ConfigError
from ctr_engine.truth_map import truth_paths
from tests.builders import marker_map

MAP = marker_map(
    {
        "Immune": {
            "markers": ["A"],
            "subtypes": {"T Cells": {"markers": ["B"]}, "Other": {"markers": ["C"]}},
        },
        "Stroma": {"markers": ["D"], "subtypes": {"Other": {"markers": ["E"]}}},
    }
)


def read(content, labels=()):
    return truth_paths(parse_document(json.dumps(content, indent=1), "gold.json"), labels, MAP)


def test_labels_paths_lists_and_null_are_read():
    content = {
        "t": "T Cells",
        "T": "Immune / T Cells",
        "x": ["Stroma", "Other"],
        "i": ["Immune"],
        "?": None,
    }
    assert read(content, ["t", "T"]) == {
        "t": "Immune / T Cells",
        "T": "Immune / T Cells",
        "x": "Stroma / Other",
        "i": "Immune",
        "?": "",
    }


def test_every_fault_is_told_at_once_with_its_line():
    content = {"a": "T Cell", "b": "Other", "c": 3, "d": "Immune"}
    with pytest.raises(ConfigError) as raised:
        read(content, ["d", "e", "f"])
    lines = str(raised.value).splitlines()
    assert lines[0] == "gold.json: 4 faults"
    assert lines[1] == (
        "  2 labels of the sample are not in the file: 'e', 'f'. Name the cell type of each, or "
        "null to leave its cells out"
    )
    assert lines[2].startswith(
        "  line 2, a: the marker map has no cell type 'T Cell'; nearest: T Cells"
    )
    assert lines[3] == (
        "  line 3, b: 'Other' is several cell types; write the path of one: Immune / Other, "
        "Stroma / Other"
    )
    assert lines[4] == (
        "  line 4, c: 3 is no cell type: write a label, a path, a list of labels, or null"
    )


def test_something_else_than_an_object_is_refused():
    with pytest.raises(ConfigError, match="is no object; write"):
        read(["T Cells"])
