import json

import pytest

from ctr_engine.errors import PanelError
from ctr_engine.markers.panel import Panel, Resolution, Resolver, resolve_map
from ctr_engine.markers.parse import parse_marker_map


def look_up(name, *markers, technical=(), dropped=(), aliases=None):
    known = {} if aliases is None else aliases
    return Resolver(Panel(tuple(markers), tuple(technical), tuple(dropped)), known).resolve(name)


def on_panel(raw, *markers, **others):
    tree = parse_marker_map(json.dumps(raw), "map.json")
    return resolve_map(tree, Panel(tuple(markers), **others))


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("name", "column", "tier"),
    [
        ("CD3", "CD3", "exact"),
        ("cd-3", "CD3", "normalised"),
        ("C.D_3 ", "CD3", "normalised"),
        ("Leu4", "CD3", "map_alias"),
        ("CD3E", "CD3", "builtin_alias"),
    ],
)
def test_each_tier_finds_a_column(name, column, tier):
    found = look_up(name, "VIM", column, aliases={"CD3": ("Leu-4",)})
    assert found == Resolution(name, "resolved", column, 1, tier)


@pytest.mark.parametrize(
    ("columns", "column", "tier"),
    [
        (("CD3E", "Leu4", "cd3", "CD3"), "CD3", "exact"),
        (("CD3E", "Leu4", "cd3"), "cd3", "normalised"),
        (("CD3E", "Leu4"), "Leu4", "map_alias"),
        (("CD3E",), "CD3E", "builtin_alias"),
    ],
)
def test_the_first_tier_with_a_hit_wins(columns, column, tier):
    found = look_up("CD3", *columns, aliases={"CD3": ("Leu4",)})
    assert (found.column, found.tier) == (column, tier)
    assert found.position == columns.index(column)


def test_case_is_exact_only_in_the_first_tier():
    assert look_up("Cd3", "CD3", "Cd3").tier == "exact"
    assert look_up("Cd3", "CD3").tier == "normalised"


def test_aliases_of_the_map_work_in_both_directions():
    aliases = {"Pan-X": ("KRT mix", "Clone 7")}
    assert look_up("Pan-X", "KRT mix", aliases=aliases).column == "KRT mix"
    assert look_up("KRT mix", "Pan-X", aliases=aliases).column == "Pan-X"


def test_two_aliases_of_one_key_reach_each_other():
    aliases = {"Pan-X": ("KRT mix", "Clone 7")}
    found = look_up("KRT mix", "Clone 7", aliases=aliases)
    assert (found.column, found.tier) == ("Clone 7", "map_alias")


def test_aliases_of_the_map_are_compared_without_case_and_punctuation():
    aliases = {"Pan-X": ("KRT mix", "Clone 7")}
    assert look_up("krt_MIX", "CLONE-7", aliases=aliases).column == "CLONE-7"
    assert look_up("PANX", "krt.mix", aliases=aliases).column == "krt.mix"


def test_aliases_of_two_keys_do_not_reach_each_other():
    aliases = {"A": ("B",), "C": ("D",)}
    assert look_up("B", "D", aliases=aliases).status == "missing"


@pytest.mark.parametrize(
    ("name", "columns", "aliases", "tier"),
    [
        ("CD3", ("cd-3", "CD 3"), None, "normalised"),
        ("X", ("Y", "Z"), {"X": ("Y", "Z")}, "map_alias"),
        ("CD45", ("LCA", "PTPRC"), None, "builtin_alias"),
    ],
)
def test_two_columns_in_one_tier_are_an_error_that_names_both(name, columns, aliases, tier):
    first, second = columns
    with pytest.raises(
        PanelError,
        match=rf"'{name}' fits '{first}' and '{second}' of the panel equally well \({tier}\); "
        "write the column's name",
    ):
        look_up(name, *columns, aliases=aliases)


def test_two_columns_in_a_later_tier_do_not_matter():
    assert look_up("CD45", "LCA", "cd45", "PTPRC").column == "cd45"


def test_names_of_technical_and_dropped_columns_have_their_own_status():
    others = {"technical": ("DAPI",), "dropped": ("CD19",)}
    assert look_up("dapi", "CD3", **others) == Resolution(
        "dapi", "technical", "DAPI", None, "normalised"
    )
    assert look_up("CD19", "CD3", **others) == Resolution("CD19", "dropped", "CD19", None, "exact")
    assert look_up("CD4", "CD3", **others) == Resolution("CD4", "missing", None, None, None)


@pytest.mark.parametrize("status", ["technical", "dropped"])
def test_an_exact_hit_on_a_column_that_left_wins_over_an_alias_on_the_panel(status):
    found = look_up("CD45", "PTPRC", "LCA", **{status: ("CD45",)})
    assert (found.status, found.column, found.position) == (status, "CD45", None)


def test_within_one_tier_the_panel_wins_over_a_column_that_left():
    found = look_up("CD3", "cd3", dropped=("CD-3",))
    assert (found.status, found.column) == ("resolved", "cd3")


def test_suggestions_are_the_closest_names_best_first():
    # shared letters in order, twice, over both lengths: cd3d 6/8... cd3: 6/7, cd3e: 6/8, cd4: 4/7
    resolver = Resolver(Panel(("CD4", "CD-3E", "VIM", "CD3")), {})
    assert resolver.suggest("CD3D") == ("CD3", "CD-3E")
    assert resolver.suggest("CD3D", limit=1) == ("CD3",)
    assert resolver.suggest("Podoplanin") == ()


def test_only_panel_names_are_suggested():
    resolver = Resolver(Panel(("VIM",), technical=("CD3",), dropped=("CD3E",)), {})
    assert resolver.suggest("CD3D") == ()


def test_a_map_is_resolved_node_by_node():
    raw = {
        "A": {
            "markers": ["CD45", "DAPI", "CD99", "CD19"],
            "anti_markers": ["Vim", "KRT8"],
            "subtypes": {"B": {"markers": ["CD3"]}},
        }
    }
    resolved = on_panel(raw, "CD3", "VIM", "PTPRC", technical=("DAPI",), dropped=("CD19",))
    a, b = resolved.nodes
    assert [(r.name, r.status, r.column) for r in a.markers] == [
        ("CD45", "resolved", "PTPRC"),
        ("DAPI", "technical", "DAPI"),
        ("CD99", "missing", None),
        ("CD19", "dropped", "CD19"),
    ]
    assert a.positions == (2,)
    assert a.anti_positions == (1,)
    assert a.coverage == 0.25
    assert a.missing == ("DAPI", "CD99", "CD19")
    assert (b.positions, b.coverage, b.missing) == ((0,), 1.0, ())


def test_the_aliases_of_the_map_are_used():
    raw = {"_aliases": {"Pan-X": ["mix"]}, "A": {"markers": ["mix"]}}
    resolved = on_panel(raw, "panx")
    assert resolved.nodes[0].markers[0].column == "panx"
    assert resolved.resolver.resolve("MIX").column == "panx"


def test_two_markers_of_one_node_on_one_column_are_an_error():
    with pytest.raises(
        PanelError,
        match=r"^map\.json on the panel: 1 fault\n"
        r"  A / B: 'CD45' and 'PTPRC' are the same column 'CD45' of the panel; keep one$",
    ):
        on_panel(
            {"A": {"markers": ["VIM"], "subtypes": {"B": {"markers": ["CD45", "PTPRC"]}}}},
            "CD45",
            "VIM",
        )


def test_a_marker_and_an_anti_marker_on_one_column_are_an_error():
    with pytest.raises(
        PanelError, match=r"A: 'CD3' and 'cd-3' are the same column 'CD3' of the panel; keep one"
    ):
        on_panel({"A": {"markers": ["CD3"], "anti_markers": ["cd-3"]}}, "CD3")


def test_one_column_may_serve_two_nodes():
    raw = {"A": {"markers": ["CD45"]}, "B": {"markers": ["PTPRC"]}}
    assert [n.positions for n in on_panel(raw, "CD45").nodes] == [(0,), (0,)]


def test_two_names_of_one_column_that_left_are_no_error():
    raw = {"A": {"markers": ["CD45", "PTPRC", "VIM"]}}
    resolved = on_panel(raw, "VIM", dropped=("CD45",))
    assert [r.status for r in resolved.nodes[0].markers] == ["dropped", "dropped", "resolved"]


def test_all_faults_of_a_map_on_a_panel_are_raised_together():
    raw = {
        "A": {"markers": ["CD45"], "anti_markers": ["VIM", "vim."]},
        "B": {"markers": ["VIM"], "subtypes": {"C": {"markers": ["VIM", "CD-45"]}}},
    }
    # CD45 and CD-45 reach PTPRC and LCA in the last tier
    with pytest.raises(PanelError) as caught:
        on_panel(raw, "VIM", "LCA", "PTPRC")
    assert str(caught.value).split("\n") == [
        "map.json on the panel: 3 faults",
        (
            "  A: 'CD45' fits 'LCA' and 'PTPRC' of the panel equally well (builtin_alias); "
            "write the column's name"
        ),
        "  A: 'VIM' and 'vim.' are the same column 'VIM' of the panel; keep one",
        (
            "  B / C: 'CD-45' fits 'LCA' and 'PTPRC' of the panel equally well (builtin_alias); "
            "write the column's name"
        ),
    ]
