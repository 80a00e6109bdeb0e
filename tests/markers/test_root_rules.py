import json

import pytest

from ctr_engine.errors import PanelError
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.panel import Panel, resolve_map
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.markers.root_rules import ResolvedVeto, resolve_root_rules

MAP = {
    "Immune Cells": {"markers": ["CD45"], "subtypes": {"T Cells": {"markers": ["CD3"]}}},
    "Stroma": {"markers": ["VIM"]},
}
PANEL = Panel(("PTPRC", "CD3", "VIM", "KRT8"), technical=("DAPI",), dropped=("CD19",))


def rules(panel=PANEL, **gating):
    resolved = resolve_map(parse_marker_map(json.dumps(MAP), "map.json"), panel)
    return resolve_root_rules(resolved, GatingParams.model_validate(gating))


@pytest.mark.smoke
def test_rules_stand_at_the_row_of_their_root_with_panel_positions():
    # rows: 0 Immune Cells, 1 its T Cells, 2 Stroma
    found = rules(
        root_hard_requirements={"Immune Cells": {"marker": "CD45", "min_pos_frac": 0.3}},
        root_veto_markers={"Stroma": {"markers": ["KRT8", "CD45"], "max_pos_frac": 0.2}},
    )
    assert {row: rule.position for row, rule in found.requirements.items()} == {0: 0}
    assert found.requirements[0].rule.min_pos_frac == 0.3
    assert found.vetoes == {2: ResolvedVeto((("KRT8", 3), ("CD45", 0)), 0.2)}
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("marker", "status"), [("CD99", "missing"), ("DAPI", "technical"), ("CD19", "dropped")]
)
def test_a_required_marker_that_is_absent_keeps_the_rule_and_is_a_warning(marker, status):
    found = rules(root_hard_requirements={"Stroma": {"marker": marker, "min_enrichment": 0.0}})
    assert found.requirements[2].position is None
    assert found.warnings == (
        (
            f"Root 'Stroma' requires the marker '{marker}', which is {status} on this panel: every "
            "cluster is refused there. Drop the requirement or add an alias."
        ),
    )


@pytest.mark.parametrize(
    ("marker", "status"), [("CD99", "missing"), ("DAPI", "technical"), ("CD19", "dropped")]
)
def test_an_absent_veto_marker_is_left_out_and_is_a_warning(marker, status):
    found = rules(root_veto_markers={"Stroma": {"markers": [marker, "KRT8"], "max_pos_frac": 0.2}})
    assert found.vetoes[2].markers == (("KRT8", 3),)
    assert found.warnings == (
        f"Root 'Stroma': the veto marker '{marker}' is {status} on this panel and cannot veto.",
    )


def test_rules_on_what_is_no_root_are_reported_together():
    with pytest.raises(PanelError) as caught:
        rules(
            root_hard_requirements={"T Cells": {"marker": "CD45", "min_pos_frac": 0.3}},
            root_veto_markers={"Blood": {"markers": ["KRT8"], "max_pos_frac": 0.2}},
        )
    assert str(caught.value).split("\n") == [
        "gating parameters: 2 faults",
        "  root rules: 'Blood' is not a root; the roots are Immune Cells, Stroma",
        "  root rules: 'T Cells' is not a root; the roots are Immune Cells, Stroma",
    ]


@pytest.mark.parametrize(
    "gating",
    [
        {"root_hard_requirements": {"Stroma": {"marker": "CD-8", "min_pos_frac": 0.3}}},
        {"root_veto_markers": {"Stroma": {"markers": ["CD-8"], "max_pos_frac": 0.3}}},
    ],
)
def test_a_marker_of_a_rule_that_fits_two_columns_is_an_error(gating):
    with pytest.raises(PanelError, match=r"'CD-8' fits 'CD8' and 'cd8' of the panel equally well"):
        rules(Panel(("CD45", "CD3", "VIM", "CD8", "cd8")), **gating)
