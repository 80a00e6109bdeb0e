import json

import pytest

from ctr_engine.errors import ParameterError
from ctr_engine.markers.parse import parse_marker_map


def tree(nested):
    """A map from nested labels; every cell type has one marker."""

    def node(below):
        return {"markers": ["CD45"], "subtypes": {label: node(b) for label, b in below.items()}}

    text = json.dumps({label: node(below) for label, below in nested.items()})
    return parse_marker_map(text, "map.json")


TREE = tree({"A": {"X": {"Z": {}}, "Y": {}}, "B": {"X": {}}})


@pytest.mark.smoke
def test_nodes_stand_parents_first_and_siblings_in_the_order_of_the_file():
    assert [node.path for node in TREE.nodes] == [
        "A",
        "A / X",
        "A / X / Z",
        "A / Y",
        "B",
        "B / X",
    ]
    assert [node.level for node in TREE.nodes] == [0, 1, 2, 1, 0, 1]


def test_a_node_knows_its_parent_and_its_children():
    assert [node.parent_path for node in TREE.nodes] == [None, "A", "A / X", "A", None, "B"]
    assert [node.is_leaf for node in TREE.nodes] == [False, False, True, True, False, True]
    assert TREE.root_rows == (0, 4)
    assert TREE.child_rows == ((1, 3), (2,), (), (), (5,), ())
    assert TREE.row_of["A / Y"] == 3


def test_a_slash_without_spaces_is_part_of_a_label():
    nodes = tree({"A": {"L2/3": {"X": {}}}}).nodes
    assert [(n.path, n.level, n.parent_path) for n in nodes] == [
        ("A", 0, None),
        ("A / L2/3", 1, "A"),
        ("A / L2/3 / X", 2, "A / L2/3"),
    ]


@pytest.mark.parametrize(
    ("name", "path"), [("B / X", "B / X"), ("A / X", "A / X"), ("Y", "A / Y"), ("A", "A")]
)
def test_a_cell_type_is_found_by_its_path_or_by_a_label_that_is_its_own(name, path):
    assert TREE.find(name).path == path


def test_a_label_of_two_cell_types_is_an_error_that_lists_them():
    with pytest.raises(
        ParameterError,
        match=r"^The label 'X' stands for 2 cell types: 'A / X'; 'B / X'\. Give the path\.$",
    ):
        TREE.find("X")


@pytest.mark.parametrize("name", ["C", "X / Z", "A/X", "a", ""])
def test_a_name_of_nothing_is_an_error_that_lists_the_labels(name):
    with pytest.raises(
        ParameterError, match=rf"^map\.json has no cell type '{name}'\. It has: A, B, X, Y, Z\.$"
    ):
        TREE.find(name)


def test_a_map_written_out_parses_to_the_same_map_in_the_same_order():
    content = {
        "_marker_map_metadata": {"version": "1"},
        "_gating_params": {"min_gap": {"0": 0.4}, "root_veto_markers": {
            "B": {"markers": ["x"], "max_pos_frac": 0.1}}},
        "_aliases": {"x": ["ex"]},
        "B": {"markers": ["m"], "gating_overrides": {"min_gap": 0.3}, "subtypes": {
            "Z": {"markers": ["z"]}, "A": {"markers": ["a"], "Anti_markers": ["b"]}}},
        "A": {"markers": ["q"], "ontology_id": "CL:0000084", "description": "Text."},
    }  # fmt: skip
    first = parse_marker_map(json.dumps(content), "m.json")
    again = parse_marker_map(json.dumps(first.as_source()), "m.json")
    assert again.content_hash == first.content_hash
    assert again.nodes == first.nodes
    assert again.metadata == first.metadata
