from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.markers.aliases import AliasGroups, builtin_aliases, builtin_rows, normalise
from ctr_engine.markers.panel import Panel, Resolver

QUICK = settings(max_examples=50, deadline=None, derandomize=True)
NAMES = st.text("aAbB3-_ ./ß", max_size=4)
GROUPS = st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=5)

# the pairs that the specification names
SAME = [
    ("CD45", "PTPRC"),
    ("Pan-CK", "Pan-Cytokeratin", "PanKRT"),
    ("E-cadherin", "CDH1"),
    ("CD31", "PECAM1"),
    ("CD3", "CD3E"),
    ("CD8", "CD8A"),
    ("HLA-DR", "HLA-DRA"),
    ("CD20", "MS4A1"),
]


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Pan-CK", "panck"),
        ("HLA_DR", "hladr"),
        ("Na/K-ATPase", "nakatpase"),
        ("Beta actin", "betaactin"),
        ("PGP9.5", "pgp95"),
        ("Straße", "strasse"),
        ("γδ", "γδ"),
        ("CD3+", "cd3+"),
        ("- _./", ""),
    ],
)
def test_case_and_punctuation_of_a_name_are_dropped(name, normal):
    assert normalise(name) == normal


@given(st.text(max_size=12))
@QUICK
def test_normalising_twice_changes_nothing(name):
    assert normalise(normalise(name)) == normalise(name)


@given(GROUPS, NAMES, NAMES)
@QUICK
def test_two_names_are_partners_of_each_other_or_not_at_all(groups, first, second):
    known = AliasGroups(groups)
    assert (normalise(first) in known.partners(second)) == (
        normalise(second) in known.partners(first)
    )


@given(GROUPS)
@QUICK
def test_all_names_of_a_group_are_partners_and_no_name_is_its_own(groups):
    known = AliasGroups(groups)
    for group in groups:
        for first, second in permutations(group, 2):
            same = normalise(first) == normalise(second)
            assert (normalise(second) in known.partners(first)) is not same


def test_groups_that_share_a_name_are_not_joined():
    known = AliasGroups([["A", "B"], ["B", "C"]])
    assert known.partners("B") == {"a", "c"}
    assert known.partners("A") == {"b"}


def test_a_name_in_no_group_has_no_partners():
    assert AliasGroups([["A", "B"]]).partners("C") == frozenset()
    assert AliasGroups([]).partners("") == frozenset()


def test_a_key_of_the_map_and_its_aliases_are_one_group():
    known = AliasGroups.of_map({"Pan-CK": ("AE1/AE3", "KRT mix"), "X": ()})
    assert known.partners("PAN CK") == {"ae1ae3", "krtmix"}
    assert known.partners("ae1-ae3") == {"panck", "krtmix"}
    assert known.partners("X") == frozenset()


def test_no_name_stands_in_two_rows_of_the_built_in_table():
    names = [
        {normalise(name) for name in [row["canonical"], *row["aliases"].split(";")]}
        for row in builtin_rows()
    ]
    counts = Counter(name for row in names for name in row)
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_row_of_the_built_in_table_is_well_formed():
    for row in builtin_rows():
        names = [row["canonical"], *row["aliases"].split(";")]
        assert set(row) == {"canonical", "aliases", "note"}
        assert len(names) >= 2
        assert all(name and name == name.strip() for name in names)
        assert len({normalise(name) for name in names}) == len(names), f"twice in {names}"


@pytest.mark.parametrize(
    ("name", "column"), [pair for names in SAME for pair in permutations(names, 2)]
)
def test_protein_and_gene_symbol_reach_each_other(name, column):
    found = Resolver(Panel((column,)), {}).resolve(name)
    assert (found.status, found.column, found.tier) == ("resolved", column, "builtin_alias")


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("CD45RA", "CD45"),
        ("CD45RO", "PTPRC"),
        ("CD3D", "CD3"),
        ("CD3G", "CD3E"),
        ("CD8B", "CD8"),
        ("CD16b", "CD16"),
        ("HLA-DRB1", "HLA-DR"),
        ("KRT8", "Pan-CK"),
        ("TTF1", "NKX2-1"),
    ],
)
def test_markers_that_only_resemble_each_other_do_not_match(name, column):
    assert Resolver(Panel((column,)), {}).resolve(name).status == "missing"
    assert Resolver(Panel((name,)), {}).resolve(column).status == "missing"


def test_the_built_in_table_is_compared_without_case_and_punctuation():
    assert "ptprc" in builtin_aliases().partners("cd-45")
    assert Resolver(Panel(("pan_keratin",)), {}).resolve("PANCK").column == "pan_keratin"
