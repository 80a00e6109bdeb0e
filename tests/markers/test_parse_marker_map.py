import json

import pytest

from ctr_engine.errors import MarkerMapError
from ctr_engine.markers.gating_params import GatingParams, RootVeto
from ctr_engine.markers.parse import parse_marker_map

# Lines are counted in this file: "A" stands on line 2, its markers on line 3.
WHOLE = """{
 "Immune Cells": {
  "markers": ["CD45"],
  "subtypes": {
   "T Cells": {
    "markers": ["CD3", "CD2"],
    "Anti_markers": ["CD20"],
    "ontology_id": "CL:0000084",
    "description": "Lymphocytes.",
    "gating_overrides": {"min_coverage": 0.9, "require_anti_markers_off": true},
    "children": {"CD4": {"markers": ["CD4"]}}
   }
  }
 },
 "Stroma": {"markers": ["VIM"], "anti_markers": ["CD45"], "subtypes": {}}
}"""


def read(raw, source="map.json"):
    return parse_marker_map(raw if isinstance(raw, str) else json.dumps(raw), source)


def faults(raw, source="map.json"):
    """Each fault as it is printed."""
    with pytest.raises(MarkerMapError) as caught:
        read(raw, source)
    first, *rest = str(caught.value).split("\n")
    count = "1 fault" if len(rest) == 1 else f"{len(rest)} faults"
    assert first == f"{source}: {count}"
    return [line.removeprefix("  ") for line in rest]


def node(**parts):
    return {"markers": ["CD45"], **parts}


def inside(text):
    """A map of which line 4 is ``text``, in the node A / B."""
    return '{"A": {"markers": ["CD45"],\n"subtypes": {\n"B": {\n' + text + "\n}}}}"


@pytest.mark.smoke
def test_a_map_becomes_a_tree_in_the_order_of_the_file():
    tree = read(WHOLE)
    assert [(n.path, n.level, n.label) for n in tree.nodes] == [
        ("Immune Cells", 0, "Immune Cells"),
        ("Immune Cells / T Cells", 1, "T Cells"),
        ("Immune Cells / T Cells / CD4", 2, "CD4"),
        ("Stroma", 0, "Stroma"),
    ]
    t_cells = tree.nodes[1]
    assert t_cells.markers == ("CD3", "CD2")
    assert t_cells.anti_markers == ("CD20",)
    assert t_cells.ontology_id == "CL:0000084"
    assert t_cells.description == "Lymphocytes."
    assert t_cells.overrides.min_coverage == 0.9
    assert t_cells.overrides.require_anti_markers_off is True
    assert tree.nodes[2].overrides.min_coverage is None
    assert tree.nodes[3].anti_markers == ("CD45",)


@pytest.mark.parametrize("anti", ["anti_markers", "Anti_markers"])
@pytest.mark.parametrize("below", ["subtypes", "children"])
def test_both_spellings_of_a_key_are_read(anti, below):
    tree = read({"A": node(**{anti: ["VIM"], below: {"B": node()}})})
    assert tree.nodes[0].anti_markers == ("VIM",)
    assert [n.path for n in tree.nodes] == ["A", "A / B"]


def test_two_spellings_of_one_key_are_an_error():
    text = '"markers": ["CD3"], "anti_markers": [],\n"Anti_markers": []'
    assert faults(inside(text)) == [
        "line 5, A / B: 'anti_markers' and 'Anti_markers' are two spellings of one key"
    ]
    text = '"markers": ["CD3"], "children": {},\n"subtypes": {}'
    assert faults(inside(text)) == [
        "line 4, A / B: 'subtypes' and 'children' are two spellings of one key"
    ]


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("subtype", "did you mean 'subtypes'?"),
        ("Markers", "did you mean 'markers'?"),
        ("antimarkers", "did you mean 'anti_markers'?"),
        ("gating_override", "did you mean 'gating_overrides'?"),
        ("ontology", "did you mean 'ontology_id'?"),
        (
            "zzz",
            (
                "known keys are markers, anti_markers, Anti_markers, subtypes, children, "
                "gating_overrides, ontology_id, description"
            ),
        ),
    ],
)
def test_an_unknown_key_gets_the_nearest_valid_one(key, hint):
    text = f'"markers": ["CD3"],\n"{key}": []'
    assert faults(inside(text)) == [f"line 5, A / B: unknown key {key!r}; {hint}"]


def test_a_comment_in_a_node_is_an_unknown_key():
    text = '"markers": ["CD3"], "_note": "x"'
    assert faults(inside(text)) == [
        (
            "line 4, A / B: unknown key '_note'; known keys are markers, anti_markers, "
            "Anti_markers, subtypes, children, gating_overrides, ontology_id, description"
        )
    ]


@pytest.mark.parametrize("text", ['"markers": []', '"description": "x"', ""])
def test_a_node_without_markers_is_an_error(text):
    (fault,) = faults(inside(text))
    assert fault.endswith(", A / B: has no markers")
    assert fault.startswith("line 3")


@pytest.mark.parametrize("raw", ["[]", "5", '"CD3"', "null"])
def test_a_node_is_a_table(raw):
    assert faults(f'{{"A": {{"markers": ["CD3"], "subtypes": {{\n"B": {raw}}}}}}}') == [
        'line 2, A / B: is not a cell type; write {"markers": [...]}'
    ]


@pytest.mark.parametrize("raw", ["[]", '["B"]', "null"])
def test_subtypes_are_a_table(raw):
    text = f'"markers": ["CD3"],\n"children": {raw}'
    assert faults(inside(text)) == ["line 5, A / B: is not a table of cell types"]


@pytest.mark.parametrize("key", ["markers", "anti_markers", "Anti_markers"])
@pytest.mark.parametrize("raw", ['"CD3"', '{"CD3": 1}', "null"])
def test_markers_are_a_list(key, raw):
    other = "" if key == "markers" else ',\n"markers": ["CD8"]'
    assert faults(inside(f'"{key}": {raw}{other}')) == [
        f"line 4, A / B: {key!r} is not a list of names"
    ]


@pytest.mark.parametrize("raw", ['""', '"  "', "5", "null", "true", '["CD4"]', r'"CD\n4"'])
def test_a_marker_is_a_name(raw):
    found = json.loads(raw)
    assert faults(inside(f'"markers": ["CD3",\n{raw}]')) == [
        f"line 5, A / B: {found!r} is not the name of a marker"
    ]


@pytest.mark.parametrize("key", ["markers", "anti_markers"])
def test_a_marker_twice_in_one_list_is_an_error(key):
    other = "" if key == "markers" else '"markers": ["CD8"],'
    assert faults(inside(f'{other} "{key}": ["CD3", "CD4",\n"CD3"]')) == [
        "line 5, A / B: 'CD3' is listed twice"
    ]


def test_a_marker_that_is_an_anti_marker_too_is_an_error():
    text = '"markers": ["CD3", "CD4", "CD8"],\n"Anti_markers": ["CD8", "CD20", "CD3"]'
    assert faults(inside(text)) == [
        "line 3, A / B: 'CD3' is both a marker and an anti-marker",
        "line 3, A / B: 'CD8' is both a marker and an anti-marker",
    ]


def test_a_marker_may_speak_for_one_node_and_against_another():
    tree = read({"A": node(subtypes={"B": {"markers": ["CD3"], "anti_markers": ["CD45"]}})})
    assert tree.nodes[1].anti_markers == tree.nodes[0].markers


def test_a_label_twice_among_siblings_is_an_error():
    text = (
        '{"A": {"markers": ["CD45"], "subtypes": {\n'
        '"T Cells": {"markers": ["CD3"]},\n'
        '"T Cells": {"markers": ["CD2"]}}},\n'
        '"B": {"markers": ["VIM"]},\n'
        '"B": {"markers": ["DES"]}}'
    )
    assert faults(text) == [
        "line 3, A: label 'T Cells' is given twice in the same table",
        "line 5: label 'B' is given twice in the same table",
    ]


def test_a_label_twice_among_siblings_is_an_error_in_yaml():
    text = "A:\n  markers: [CD45]\nB:\n  markers: [CD3]\nA:\n  markers: [CD2]\n"
    assert faults(text, "map.yaml") == ["line 5: label 'A' is given twice in the same table"]


def test_a_key_twice_in_one_node_is_an_error():
    assert faults(inside('"markers": ["CD3"],\n"markers": ["CD4"]')) == [
        "line 5, A / B: key 'markers' is given twice in the same table"
    ]


def test_a_key_twice_in_the_settings_is_an_error():
    text = (
        '{"A": {"markers": ["CD3"]},\n"_gating_params": {"max_ambiguity": 2,\n"max_ambiguity": 3}}'
    )
    assert faults(text) == [
        "line 3, _gating_params: key 'max_ambiguity' is given twice in the same table"
    ]


def test_one_label_may_stand_in_two_branches():
    tree = read({"A": node(subtypes={"X": node()}), "B": node(subtypes={"X": node()})})
    assert [n.path for n in tree.nodes] == ["A", "A / X", "B", "B / X"]


BAD_LABELS = [
    ("", ["the label is empty"]),
    (" ", ["the label is empty", "the label starts or ends with a space"]),
    (" T Cells", ["the label starts or ends with a space"]),
    ("T Cells ", ["the label starts or ends with a space"]),
    ("_T Cells", ["the label starts with '_', which is kept for settings"]),
    ("T / B", ["the label holds ' / ', which separates a path"]),
    ("T~B", ["the label holds '~', which joins ambiguous roots"]),
    ("T, B", ["the label holds ',', which separates labels in a flag"]),
    ("T\tB", ["the label holds a control or an invisible character"]),
    ("T\nB", ["the label holds a control or an invisible character"]),
    ("T\x00B", ["the label holds a control or an invisible character"]),
    ("T\x7fB", ["the label holds a control or an invisible character"]),
    ("T\u0085B", ["the label holds a control or an invisible character"]),
    ("T\u2028B", ["the label holds a control or an invisible character"]),
    ("Unassigned", ["'Unassigned' is taken: it means that there is no label"]),
    ("Uncertain", ["'Uncertain' is taken: it means that there is no label"]),
    (
        "A~B, C",
        [
            "the label holds '~', which joins ambiguous roots",
            "the label holds ',', which separates labels in a flag",
        ],
    ),
]


@pytest.mark.parametrize(("label", "messages"), BAD_LABELS)
def test_a_bad_label_is_an_error(label, messages):
    below = json.dumps(label) + ': {"markers": ["CD3"]}'
    text = '{"A": {"markers": ["CD45"], "subtypes": {\n' + below + "}}}"
    with pytest.raises(MarkerMapError) as caught:
        read(text)
    assert [(f.line, f.where, f.message) for f in caught.value.faults] == [
        (2, f"A / {label}", message) for message in messages
    ]


@pytest.mark.parametrize(
    ("label", "messages"), [row for row in BAD_LABELS if not row[0].startswith("_")]
)
def test_a_bad_label_of_a_root_is_an_error(label, messages):
    with pytest.raises(MarkerMapError) as caught:
        read({"A": node(), label: node()})
    assert [(f.where, f.message) for f in caught.value.faults] == [(label, m) for m in messages]


@pytest.mark.parametrize(
    "label", ["CD4/CD8", "Pyr L2/3", "γδ T", "A_B", "unassigned", "T-Cells (CD3+)", "A; B", "1"]
)
def test_a_label_may_hold_what_is_not_forbidden(label):
    assert read({"A": node(subtypes={label: node()})}).nodes[1].path == f"A / {label}"


def test_an_unknown_key_that_starts_with_an_underscore_is_an_error():
    text = '{"A": {"markers": ["CD3"]},\n"_gating_parms": {},\n"_zzz": {}}'
    assert faults(text) == [
        "line 2, _gating_parms: unknown key; did you mean '_gating_params'?",
        "line 3, _zzz: unknown key; known keys are _marker_map_metadata, _gating_params, _aliases",
    ]


def test_the_key_for_the_schema_of_an_editor_is_allowed():
    tree = read({"$schema": "https://example.org/marker-map.json", "A": node()})
    assert [n.path for n in tree.nodes] == ["A"]


def test_metadata_are_kept():
    assert read({"_marker_map_metadata": {"tissue": "uterus"}, "A": node()}).metadata == {
        "tissue": "uterus"
    }


def test_metadata_are_a_table():
    assert faults('{"A": {"markers": ["CD3"]},\n"_marker_map_metadata": "v1"}') == [
        "line 2, _marker_map_metadata: is not a table"
    ]


@pytest.mark.parametrize("raw", ["[]", '"A"', "5", "null"])
def test_a_map_is_a_table(raw):
    assert faults(raw) == ["line 1: is not a table of cell types"]


def test_an_empty_yaml_file_is_no_map():
    assert faults("", "map.yaml") == ["is not a table of cell types"]


@pytest.mark.parametrize("raw", ["{}", '{"_gating_params": {}, "$schema": "x"}'])
def test_a_map_without_a_cell_type_is_an_error(raw):
    assert faults(raw) == ["line 1: holds no cell type"]


def test_a_fault_of_syntax_is_a_fault_of_the_map():
    assert faults('{\n"A": }') == ["line 2: is not valid JSON: Expecting value (column 6)"]
    (fault,) = faults("A: [", "map.yaml")
    assert fault.startswith("line 1: is not valid YAML: ")
    assert faults("[" * 100_000) == ["is nested too deeply to be read"]


@pytest.mark.parametrize("term", ["CL:0000084", "CL:0002419"])
def test_an_ontology_term_is_kept(term):
    assert read({"A": node(ontology_id=term)}).nodes[0].ontology_id == term


@pytest.mark.parametrize("term", ["CL:84", "CL0000084", "cl:0000084", "UBERON:0000084", "", "T"])
def test_what_is_no_ontology_term_is_an_error(term):
    assert faults(inside(f'"markers": ["CD3"],\n"ontology_id": "{term}"')) == [
        f"line 5, A / B: {term!r} is no Cell Ontology term, such as 'CL:0000084'"
    ]


@pytest.mark.parametrize("key", ["ontology_id", "description"])
def test_ontology_term_and_description_are_text_or_null(key):
    assert faults(inside(f'"markers": ["CD3"],\n"{key}": 84')) == [
        f"line 5, A / B: {key!r} is not text"
    ]
    assert getattr(read(inside(f'"markers": ["CD3"], "{key}": null')).nodes[1], key) is None


def test_a_fault_of_an_override_has_its_line_and_its_place():
    text = '"markers": ["CD3"], "gating_overrides": {\n"min_coverage": 2,\n"min_gapp": 0.1}'
    assert faults(inside(text)) == [
        (
            "line 5, A / B, gating_overrides, min_coverage: input should be less than or equal "
            "to 1; got 2"
        ),
        (
            "line 6, A / B, gating_overrides, min_gapp: unknown key 'min_gapp'. "
            "Did you mean 'min_gap'?"
        ),
    ]


def test_overrides_are_a_table():
    (fault,) = faults(inside('"markers": ["CD3"],\n"gating_overrides": 0.5'))
    assert fault.startswith("line 5, A / B, gating_overrides: input should be a valid dictionary")
    assert fault.endswith("; got 0.5")


def gating(text):
    """A map of which line 2 is ``text``, among the gating parameters."""
    return (
        '{"A": {"markers": ["CD45"], "subtypes": {"B": {"markers": ["CD3"]}}}, '
        '"_gating_params": {\n' + text + "\n}}"
    )


def test_gating_parameters_count_only_where_they_are_given():
    found = read(gating('"min_coverage": {"1": 0.2}, "anti_agg": "max"')).gating
    assert found.model_fields_set == {"min_coverage", "anti_agg"}
    assert found.min_coverage == {1: 0.2}
    assert GatingParams().merged_with(found).min_coverage == {0: 0.5, 1: 0.2, 2: 0.3, 3: 0.3}


def test_gating_parameters_of_both_forms_are_read():
    by_level = gating('"level_defaults": {"1": {"min_coverage": 0.2}}, "max_ambiguity": 4')
    assert (
        read(by_level).gating
        == read(gating('"min_coverage": {"1": 0.2}, "max_ambiguity": 4')).gating
    )
    assert read(by_level).gating.min_coverage == {1: 0.2}


def test_root_rules_are_read():
    found = read(gating('"root_veto_markers": {"A": {"markers": ["KRT"], "max_pos_frac": 0.2}}'))
    assert found.gating.root_veto_markers == {"A": RootVeto(markers=("KRT",), max_pos_frac=0.2)}


GATING_FAULTS = [
    (
        '"min_gap": {"1": 0.4}, "level_defaults": {"1": {\n"min_gap": 0.3}}',
        (
            "line 3, _gating_params, level_defaults.1.min_gap: "
            "min_gap of level 1 is given twice, as 0.4 and as 0.3"
        ),
    ),
    (
        '"max_ambiguity": 2,\n"min_gap": 0.4',
        'line 3, _gating_params, min_gap: is given per level, such as {"0": 0.4}, not as one value',
    ),
    (
        '"min_gap": {"0": 0.4,\n"one": 0.2}',
        (
            "line 2, _gating_params, min_gap: "
            "'one' is no level; levels are whole numbers, 0 for the roots"
        ),
    ),
    (
        '"min_coverage": {"0": 0.4,\n"1": 40}',
        "line 3, _gating_params, min_coverage.1: input should be less than or equal to 1; got 40",
    ),
    (
        '"level_defaults": {"0": {"min_coverage": 0.5}, "1": {\n"min_coverage": 40}}',
        "line 3, _gating_params, min_coverage.1: input should be less than or equal to 1; got 40",
    ),
    (
        '"level_defaults": {\n"1": 0.5}',
        "line 3, _gating_params, level_defaults.1: is a table of thresholds",
    ),
    (
        '"level_defaults": 0.5',
        (
            "line 2, _gating_params, level_defaults: "
            'is a table of levels, such as {"0": {"min_gap": 0.3}}'
        ),
    ),
    (
        '"level_defaults": {"1": {\n"max_ambiguity": 2}}',
        (
            "line 3, _gating_params, level_defaults.1.max_ambiguity: is not a threshold per level; "
            "those are min_coverage, min_pos_frac, min_enrichment, min_gap, min_frac_markers_on"
        ),
    ),
    (
        '"max_ambiguity": 2,\n"min_covrage": {}',
        (
            "line 3, _gating_params, min_covrage: "
            "unknown key 'min_covrage'. Did you mean 'min_coverage'?"
        ),
    ),
    (
        '"root_hard_requirements": {\n"B": {"marker": "CD3", "min_pos_frac": 0.3}}',
        "line 3, _gating_params, root_hard_requirements: 'B' is not a root; the roots are A",
    ),
    (
        '"root_veto_markers": {\n"A / B": {"markers": ["CD3"], "max_pos_frac": 0.3}}',
        "line 3, _gating_params, root_veto_markers: 'A / B' is not a root; the roots are A",
    ),
    (
        '"root_hard_requirements": {\n"A": {"marker": "CD3"}}',
        (
            "line 3, _gating_params, root_hard_requirements.A: "
            "asks for nothing; give min_pos_frac, min_enrichment or both"
        ),
    ),
    (
        '"root_veto_markers": {"A": {"markers": ["CD3"],\n"max_pos_frac": 3}}',
        (
            "line 3, _gating_params, root_veto_markers.A.max_pos_frac: "
            "input should be less than or equal to 1; got 3"
        ),
    ),
    (
        '"root_veto_markers": ["CD3"]',
        (
            "line 2, _gating_params, root_veto_markers: input should be a valid dictionary; "
            "got ['CD3']"
        ),
    ),
]


@pytest.mark.parametrize(("text", "expected"), GATING_FAULTS)
def test_a_fault_of_the_gating_parameters_has_its_line_and_its_place(text, expected):
    assert faults(gating(text)) == [expected]


def test_gating_parameters_are_a_table():
    assert faults('{"A": {"markers": ["CD3"]},\n"_gating_params": [0.5]}') == [
        "line 2, _gating_params: is not a table of parameters"
    ]


def test_the_same_threshold_in_both_forms_is_allowed_when_it_is_equal():
    text = '"min_gap": {"1": 0.4}, "level_defaults": {"1": {"min_gap": 0.4}}'
    assert read(gating(text)).gating.min_gap == {1: 0.4}


def test_aliases_are_read():
    found = read({"_aliases": {"Pan-CK": ["PanCK", "AE1"], "X": []}, "A": node()}).aliases
    assert found == {"Pan-CK": ("PanCK", "AE1"), "X": ()}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('["Pan-CK"]', "line 2, _aliases: is not a table of names"),
        ('{"Pan-CK": "PanCK"}', "line 2, _aliases, Pan-CK: 'Pan-CK' is not a list of names"),
        ('{"Pan-CK": ["A",\n"A"]}', "line 3, _aliases, Pan-CK: 'A' is listed twice"),
        ('{"Pan-CK": ["A",\n7]}', "line 3, _aliases, Pan-CK: 7 is not the name of a marker"),
    ],
)
def test_aliases_are_lists_of_names(raw, expected):
    assert faults('{"A": {"markers": ["CD3"]},\n"_aliases": ' + raw + "}") == [expected]


def test_all_faults_of_a_file_are_raised_together():
    text = """{
"_gating_params": {"min_gap": 0.4,
  "root_veto_markers": {"Z": {"markers": ["CD3"], "max_pos_frac": 0.3}}},
"A": {"markers": ["CD45", "CD45"],
  "subtypes": {
    "T~B": {"markers": []},
    "C": {"marker": ["CD3"], "markers": ["CD3"], "ontology_id": "CL:1"}}},
"_aliases": 5,
"D": {"markers": ["VIM"], "anti_markers": ["VIM"]},
"E": {"markers": ["DES"]},
"E": {"markers": ["DES"]}
}"""
    assert faults(text) == [
        'line 2, _gating_params, min_gap: is given per level, such as {"0": 0.4}, not as one value',
        "line 3, _gating_params, root_veto_markers: 'Z' is not a root; the roots are A, D, E",
        "line 4, A: 'CD45' is listed twice",
        "line 6, A / T~B: the label holds '~', which joins ambiguous roots",
        "line 6, A / T~B: has no markers",
        "line 7, A / C: unknown key 'marker'; did you mean 'markers'?",
        "line 7, A / C: 'CL:1' is no Cell Ontology term, such as 'CL:0000084'",
        "line 8, _aliases: is not a table of names",
        "line 9, D: 'VIM' is both a marker and an anti-marker",
        "line 11: label 'E' is given twice in the same table",
    ]


def test_a_map_in_yaml_has_the_same_faults():
    text = "A:\n  markers: [CD45]\n  subtypes:\n    B:\n      marker: [CD3]\n"
    assert faults(text, "map.yaml") == [
        "line 4, A / B: has no markers",
        "line 5, A / B: unknown key 'marker'; did you mean 'markers'?",
    ]


def test_words_that_old_yaml_takes_for_truth_values_are_markers_and_labels():
    tree = read("on:\n  markers: [NO, 3:0, y]\noff:\n  markers: [CD3]\n", "map.yaml")
    assert [(n.label, n.markers) for n in tree.nodes] == [
        ("on", ("NO", "3:0", "y")),
        ("off", ("CD3",)),
    ]


def test_levels_in_yaml_may_be_numbers():
    text = "_gating_params:\n  min_coverage:\n    0: 0.6\nA:\n  markers: [CD3]\n"
    assert read(text, "map.yml").gating.min_coverage == {0: 0.6}
