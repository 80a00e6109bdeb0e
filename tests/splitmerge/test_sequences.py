"""FASTA: what is read, and every fault with its line."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.errors import InputError
from ctr_engine.splitmerge.barcodes.sequences import Barcode, parse_fasta
from tests.cli.test_annotate import ctr
from tests.cli.test_gaphack import BARCODES, FILES, MAPPING_TSV, refined, write
from tests.splitmerge.test_aligned import members_in
from tests.splitmerge.test_barcodes_refine import GIVEN

IUPAC = "ACGTRYSWKMBDHVN"


def faults(text: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        parse_fasta(text, "my.fasta")
    return str(raised.value).splitlines()


@pytest.mark.smoke
def test_records_are_read_as_they_stand():
    text = '>a name="Russula sp"  x \nACgt\nRN\n\n>b\nA-C--G\n>c  two\n AC GT\t\n'
    assert parse_fasta(text, "x") == [
        Barcode("a", "ACgtRN", 'name="Russula sp"  x'),
        Barcode("b", "ACG", ""),
        Barcode("c", "ACGT", "two"),
    ]


def test_a_header_is_written_as_it_was():
    for header in ("a", 'a name="Russula sp"', "a|b;size=3 x y"):
        (barcode,) = parse_fasta(f">{header}\nA\n", "x")
        assert barcode.header == header


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_are_those_of_any_system(end):
    text = end.join(["", "> a x ", "AC", "", "GT", ">b", "A"])
    assert parse_fasta(text, "x") == [Barcode("a", "ACGT", "x"), Barcode("b", "A")]
    assert parse_fasta(text + end, "x") == parse_fasta(text, "x")
    assert faults(text.replace("GT", "GX"))[1:] == [
        "  line 5: 'a' has 'X', which is no IUPAC letter"
    ]


def test_every_iupac_letter_is_allowed_in_either_case():
    text = IUPAC + IUPAC.lower()
    assert parse_fasta(f">a\n{text}", "x")[0].residues == text
    others = "".join(map(chr, range(33, 127)))
    refused = [c for c in others if c.upper() not in IUPAC and c not in "->"]
    line = "".join(refused)
    assert faults(f">a\nA{line}")[1] == (
        f"  line 2: 'a' has {', '.join(map(repr, refused))}, which is no IUPAC letter"
    )


def test_a_letter_is_named_once_and_rna_is_explained():
    assert faults(">a\nAXXZX\n") == [
        "my.fasta: 1 fault",
        "  line 2: 'a' has 'X', 'Z', which is no IUPAC letter",
    ]
    hint = "; RNA is written with T here"
    assert faults(">a\nAUUC\n>b\nau\n>c\nUX\n")[1:] == [
        f"  line 2: 'a' has 'U', which is no IUPAC letter{hint}",
        f"  line 4: 'b' has 'u', which is no IUPAC letter{hint}",
        "  line 6: 'c' has 'U', 'X', which is no IUPAC letter",
    ]


def test_all_faults_are_told_together_with_their_lines():
    text = "ACGT\nACGT\n>a\nAC\nA?\n!C\n>\nAC\n>b\n\n>a second\nAC\n>c\n--\n>a third\nA\n> \n"
    assert faults(text) == [
        "my.fasta: 10 faults",
        "  line 1: text before the first header; a header begins with >",
        "  line 5: 'a' has '?', which is no IUPAC letter",
        "  line 6: 'a' has '!', which is no IUPAC letter",
        "  line 7: a record without an id; write >ID",
        "  line 9: 'b' has no letters",
        "  line 11: 'a' is there twice, first in line 3",
        "  line 13: 'c' has no letters",
        "  line 15: 'a' is there twice, first in line 3",
        "  line 17: a record without an id; write >ID",
        "  line 17: '' has no letters",
    ]


@pytest.mark.parametrize("text", ["", "\n", "  \n\t\n"])
def test_an_empty_file_is_told(text):
    assert faults(text) == [
        "my.fasta: 1 fault",
        "  holds no sequence; a record is a line >ID and lines of letters",
    ]


def test_a_file_of_text_without_a_header_is_told():
    assert faults("\n\nACGT\n") == [
        "my.fasta: 1 fault",
        "  line 3: text before the first header; a header begins with >",
    ]


def test_of_many_faults_twenty_are_shown():
    told = faults("".join(f">s{x}\n" for x in range(23)))
    assert told[1:21] == [f"  line {x + 1}: 's{x}' has no letters" for x in range(20)]
    assert told[21:] == ["  line 21: and 3 more"]
    assert "more" not in "".join(faults("".join(f">s{x}\n" for x in range(20))))


def test_a_tab_ends_an_id_as_a_blank_does():
    assert parse_fasta(">a\tfirst\tb\nA\n", "x") == [Barcode("a", "A", "first\tb")]


@pytest.mark.parametrize("letter", ["\x85", "\u2028"])
def test_other_separators_do_not_end_a_header(letter):
    (barcode,) = parse_fasta(f">a found by {letter}X in 2020\nACGT\n", "x")
    assert barcode.residues == "ACGT"


RECORDS = st.lists(
    st.tuples(
        st.text("ab1_|;.", min_size=1, max_size=4),
        st.text('xyz"=', max_size=3),
        st.text(IUPAC + "acgtn", min_size=1, max_size=30),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda record: record[0],
)


@given(RECORDS)
def test_lines_may_be_of_any_length(records):
    text = "".join(
        f">{name} {more}\n" + re.sub(f"(.{{{width}}})", r"\1\n", letters) + "\n"
        for name, more, letters, width in records
    )
    expected = [Barcode(name, letters, more) for name, more, letters, _ in records]
    assert parse_fasta(text, "x") == expected


# -------------------------------------------------------------------------- by the command line


def test_names_that_look_like_paths_or_html_stay_text(tmp_path):
    names = ["../../evil", "/etc/passwd", "<script>alert(1)</script>", "a\\b;c:d"]
    odd = dict(zip(names, GIVEN.values(), strict=True))
    barcodes = [replace(b, id=f"../{b.id}<i>") if b.id[0] == "z" else b for b in BARCODES]
    clusters = {
        name: [f"../{i}<i>" if i[0] == "z" else i for i in ids] for name, ids in odd.items()
    }
    work = tmp_path / "work"
    refined(work, write(work, barcodes, clusters), "--fasta", "--no-cache")
    mapping = (work / "out" / "cluster_mapping.tsv").read_text()
    rows = MAPPING_TSV
    for name, odd_name in zip(GIVEN, names, strict=True):
        rows = rows.replace(f"\n{name}\t", f"\n{odd_name}\t")
    assert mapping == rows.replace("\na\t", f"\n{names[0]}\t")
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    expected = {f"work/out/{name}" for name in FILES} | {"work/set.fasta", "work/clusters.tsv"}
    expected |= {f"work/out/clusters/cluster_0000{number}.fasta" for number in (1, 2, 3)}
    assert made == expected


def test_a_table_that_was_written_is_read_again(tmp_path):
    barcodes = [*BARCODES[:8], replace(BARCODES[8], id='z"3"')]
    given = write(tmp_path, barcodes, {"a": [barcode.id for barcode in barcodes]})
    expected = refined(tmp_path, given, "--no-cache")
    again = [given[0], "--clusters", tmp_path / "out" / "clusters.tsv"]
    assert ctr("gaphack", "refine", *again, "--no-cache", "--out", tmp_path / "2").exit_code == 0
    assert members_in(tmp_path / "2") == expected
