import json

import pytest

from ctr_engine.errors import PanelError
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.panel import Panel, resolve_map
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.markers.preflight import preflight
from ctr_engine.tables import Preflight, column_names

MAP = {
    "Immune Cells": {
        "markers": ["CD45", "CD3", "DAPI", "CD19", "CD44"],
        "anti_markers": ["VIM", "KRT8", "DAPI."],
        "subtypes": {"T Cells": {"markers": ["CD4"]}},
    },
    "Stroma": {"markers": ["VIM"]},
}
PANEL = Panel(("PTPRC", "CD3", "CD4", "VIM"), technical=("DAPI",), dropped=("CD19",))
ABOVE = "a cell type above it cannot be reached"


def report(raw, panel=PANEL, **gating):
    tree = parse_marker_map(json.dumps(raw), "map.json")
    layer = GatingParams.model_validate(gating)
    merged = GatingParams().merged_with(tree.gating, layer)
    return preflight(resolve_map(tree, panel), merged)


def obstacles(raw, panel=PANEL, **gating):
    table = report(raw, panel, **gating).table
    assert list(table["reachable"]) == list(table["obstacle"].isna())
    return {
        path: None if reachable else obstacle
        for path, reachable, obstacle in zip(
            table["path"], table["reachable"], table["obstacle"], strict=True
        )
    }


def chain(*markers):
    """A map of one branch; each level has one list of markers."""
    raw = {}
    for level in reversed(range(len(markers))):
        raw = {f"L{level}": {"markers": markers[level], "subtypes": raw}}
    return raw


@pytest.mark.smoke
def test_a_row_says_what_became_of_every_marker():
    table = report(MAP).table
    assert list(table.columns) == column_names(Preflight)
    row = table.iloc[0].to_dict()
    # 2 of 5 markers are on the panel; the nearest name of CD44 is CD4 (6 of 7 letters)
    expected = {
        "path": "Immune Cells",
        "level": 0,
        "n_markers": 5,
        "coverage": 0.4,
        "min_coverage": 0.5,
        "reachable": False,
        "obstacle": "coverage 0.40 is below min_coverage 0.50",
        "resolved": ["CD45 = PTPRC", "CD3 = CD3"],
        "missing": ["CD44"],
        "technical": ["DAPI"],
        "dropped": ["CD19"],
        "suggestions": ["CD44: CD4"],
        "anti_missing": ["KRT8", "DAPI."],
    }
    assert row == expected


def test_every_cell_type_has_a_row_in_the_order_of_the_map():
    found = report(MAP)
    assert list(found.table["path"]) == ["Immune Cells", "Immune Cells / T Cells", "Stroma"]
    assert list(found.table["level"]) == [0, 1, 0]
    assert list(found.table["coverage"]) == [0.4, 1.0, 1.0]
    assert list(found.table["min_coverage"]) == [0.5, 0.4, 0.5]
    assert found.unreachable == ["Immune Cells", "Immune Cells / T Cells"]
    assert found.warnings == ()


def test_nothing_below_an_unreachable_cell_type_can_be_reached():
    assert obstacles(MAP) == {
        "Immune Cells": "coverage 0.40 is below min_coverage 0.50",
        "Immune Cells / T Cells": ABOVE,
        "Stroma": None,
    }
    four = chain(["CD3"], ["CD99"], ["CD4"], ["VIM"])
    assert obstacles(four) == {
        "L0": None,
        "L0 / L1": "coverage 0.00 is below min_coverage 0.40",
        "L0 / L1 / L2": ABOVE,
        "L0 / L1 / L2 / L3": ABOVE,
    }


def test_coverage_at_its_threshold_is_enough():
    assert obstacles(MAP, min_coverage={"0": 0.4})["Immune Cells"] is None
    assert obstacles(MAP, min_coverage={"0": 0.41})["Immune Cells"] is not None


def test_a_cell_type_s_own_threshold_stands_in_place_of_its_level():
    raw = {"A": {"markers": ["CD3", "CD99"], "gating_overrides": {"min_coverage": 0.6}}}
    assert obstacles(raw) == {"A": "coverage 0.50 is below min_coverage 0.60"}
    raw["A"]["gating_overrides"]["min_coverage"] = 0.5
    assert obstacles(raw) == {"A": None}


def test_a_cell_type_without_a_resolved_marker_is_never_reachable():
    raw = {"A": {"markers": ["CD99"]}}
    for inherit in (False, True):
        found = report(raw, min_coverage={"0": 0.0}, gate_inheritance=inherit)
        assert found.unreachable == ["A"]


def test_with_gate_inheritance_a_child_opens_the_way_to_its_parent():
    low = ["CD45", "CD98", "CD99"]  # coverage 1/3
    raw = chain(low, low, ["CD4"])
    assert obstacles(raw) == {
        "L0": "coverage 0.33 is below min_coverage 0.50",
        "L0 / L1": ABOVE,
        "L0 / L1 / L2": ABOVE,
    }
    assert list(obstacles(raw, gate_inheritance=True).values()) == [None, None, None]


def test_with_gate_inheritance_one_child_is_enough():
    low = ["CD45", "CD98", "CD99"]  # coverage 1/3
    below = {"X": {"markers": ["CD99"]}, "Y": {"markers": ["CD4"]}, "Z": {"markers": ["CD98"]}}
    found = report({"A": {"markers": low, "subtypes": below}}, gate_inheritance=True)
    assert found.unreachable == ["A / X", "A / Z"]


def test_gate_inheritance_does_not_help_a_child():
    raw = chain(["CD45"], ["CD97", "CD98", "CD99"])
    assert obstacles(raw, gate_inheritance=True) == {
        "L0": None,
        "L0 / L1": "coverage 0.00 is below min_coverage 0.40",
    }


def test_gate_inheritance_needs_one_resolved_marker_at_each_step():
    raw = chain(["CD45", "CD98", "CD99"], ["CD97"], ["CD4"])
    assert report(raw, gate_inheritance=True).unreachable == [
        "L0",
        "L0 / L1",
        "L0 / L1 / L2",
    ]


def test_a_required_marker_that_the_panel_lacks_bars_the_root():
    rule = {"Stroma": {"marker": "CD10", "min_pos_frac": 0.3}}
    for inherit in (False, True):
        found = obstacles(MAP, root_hard_requirements=rule, gate_inheritance=inherit)
        assert found["Stroma"] == "the panel lacks the required marker 'CD10'"
    (warning,) = report(MAP, root_hard_requirements=rule).warnings
    assert warning.startswith("Root 'Stroma' requires the marker 'CD10', which is missing on this")


def test_a_required_marker_that_is_absent_bars_the_root_in_spite_of_its_children():
    raw = chain(["CD45"], ["CD4"])
    rule = {"L0": {"marker": "DAPI", "min_enrichment": 0.0}}
    assert obstacles(raw, root_hard_requirements=rule, gate_inheritance=True) == {
        "L0": "the panel lacks the required marker 'DAPI'",
        "L0 / L1": ABOVE,
    }


def test_a_required_marker_on_the_panel_bars_nothing():
    found = report(MAP, root_hard_requirements={"Stroma": {"marker": "VIM", "min_pos_frac": 0.3}})
    assert "Stroma" not in found.unreachable
    assert found.warnings == ()


def test_an_absent_veto_marker_is_a_warning_and_bars_nothing():
    raw = {
        "_gating_params": {
            "root_veto_markers": {"Stroma": {"markers": ["CD10", "CD3"], "max_pos_frac": 0.2}}
        },
        **MAP,
    }
    found = report(raw)
    assert found.warnings == (
        "Root 'Stroma': the veto marker 'CD10' is missing on this panel and cannot veto.",
    )
    assert "Stroma" not in found.unreachable


def test_a_root_rule_on_what_is_no_root_is_an_error():
    with pytest.raises(PanelError, match="'T Cells' is not a root; the roots are Immune Cells, St"):
        report(MAP, root_veto_markers={"T Cells": {"markers": ["CD3"], "max_pos_frac": 0.2}})
