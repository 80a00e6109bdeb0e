"""Barcodes on disk: what is read of every kind of file, and every fault with its place."""

import gzip
import os
from pathlib import Path

import pytest

from ctr_engine.errors import CtrError, InputError, OutputError
from ctr_engine.io.barcodes import (
    fasta_text,
    read_cluster_folder,
    read_clusters,
    read_fasta,
    read_many,
    require_new,
    write_fasta_per_cluster,
)
from ctr_engine.splitmerge.barcodes.sequences import Barcode

RECORD = b">a first\nACGT\n"
ABC = [Barcode("a", "AC"), Barcode("b", "AC"), Barcode("c d", "AC")]


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def told(call, *given) -> list[str]:
    """Lines of the error, without the folder of the test."""
    with pytest.raises(CtrError) as raised:
        call(*given)
    folder = Path(given[0][0] if isinstance(given[0], list) else given[0])
    folder = folder if folder.is_dir() else folder.parent
    return str(raised.value).replace(f"{folder}{os.sep}", "").splitlines()


# --------------------------------------------------------------------------------- FASTA files


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["a.fasta", "a.fasta.gz", "anything"])
def test_a_compressed_file_is_known_by_its_content(name, tmp_path):
    expected = [Barcode("a", "ACGT", "first")]
    for content in (RECORD, gzip.compress(RECORD), b"\xef\xbb\xbf" + RECORD):
        assert read_fasta(written(tmp_path / name, content)) == expected
    assert read_fasta(written(tmp_path / name, gzip.compress(b"\xef\xbb\xbf" + RECORD))) == expected


WHOLE = gzip.compress(RECORD * 20)
DAMAGED = {
    "cut short": WHOLE[:-5],
    "header alone": WHOLE[:8],
    "no such block": WHOLE[:10] + b"\x07" + WHOLE[11:],
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_compressed_file_is_told(how, tmp_path):
    path = written(tmp_path / "a.fasta.gz", DAMAGED[how])
    assert told(read_fasta, path) == [
        "a.fasta.gz: 1 fault",
        "  is a damaged gzip file; copy it again",
    ]


@pytest.mark.parametrize("at", [14, -6])
def test_a_compressed_file_with_another_byte_is_told_as_damaged_too(at, tmp_path):
    content = bytearray(WHOLE)
    content[at] ^= 0xFF
    path = written(tmp_path / "a.fasta.gz", bytes(content))
    assert told(read_fasta, path)[1] == "  is a damaged gzip file; copy it again"


@pytest.mark.parametrize("content", [b">\xe4\nACGT\n", RECORD.decode().encode("utf-16")])
def test_what_is_no_text_is_told(content, tmp_path):
    path = written(tmp_path / "a.fasta", content)
    assert told(read_fasta, path)[1] == "  is not text; a FASTA file is needed"


def test_what_cannot_be_read_is_told(tmp_path):
    missing = tmp_path / "b.fasta"
    assert told(read_fasta, missing) == [
        "b.fasta: 1 fault",
        "  cannot be read: No such file or directory",
    ]
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_fasta(tmp_path)


def test_files_are_read_one_after_the_other(tmp_path):
    paths = [
        written(tmp_path / "1.fasta", ">b\nA\n>a\nC\n"),
        written(tmp_path / "2.fasta", gzip.compress(b">c\nG\n")),
    ]
    assert [barcode.id for barcode in read_many(paths)] == ["b", "a", "c"]
    assert [barcode.id for barcode in read_many(paths[::-1])] == ["c", "b", "a"]


def test_a_sequence_in_two_files_is_told_with_both(tmp_path):
    one = written(tmp_path / "1.fasta", ">a\nA\n>b\nC\n>c\nC\n")
    other = written(tmp_path / "2.fasta", ">c\nC\n>d\nA\n>a\nA\n")
    assert told(read_many, [one, other]) == [
        "sequences: 2 faults",
        "  2.fasta: 'c' is also in 1.fasta",
        "  2.fasta: 'a' is also in 1.fasta",
    ]
    assert told(read_many, [one, one])[1] == "  1.fasta: 'a' is also in 1.fasta"
    many = written(tmp_path / "many.fasta", "".join(f">s{x}\nA\n" for x in range(23)))
    assert told(read_many, [many, many])[-1] == "  many.fasta: and 3 more"


def test_records_are_written_with_what_they_had(tmp_path):
    barcodes = [Barcode("a", "acGT", 'name="X y"  z'), Barcode("b", "NNNN")]
    text = fasta_text(barcodes)
    assert text == '>a name="X y"  z\nacGT\n>b\nNNNN\n'
    assert read_fasta(written(tmp_path / "a.fasta", text)) == barcodes
    write_fasta_per_cluster(tmp_path / "new", {"one": ["b", "a"], "two": []}, barcodes)
    assert (tmp_path / "new" / "one.fasta").read_text() == fasta_text(barcodes[::-1])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["one.fasta", "two.fasta"]


# --------------------------------------------------------------------------- tables of clusters

HEADER = "sequence_id\tcluster_id\n"


def test_a_table_of_clusters_is_read(tmp_path):
    text = HEADER + "b\tx y\na\t1\n\nb\t1\nc d\t../../x\nb\t1\n"
    for content in (text, text.replace("\n", "\r\n"), "\ufeff" + text, text.rstrip("\n")):
        path = written(tmp_path / "c.tsv", content)
        assert read_clusters(path, ABC) == {"x y": ["b"], "1": ["a", "b"], "../../x": ["c d"]}
    assert read_clusters(written(tmp_path / "c.tsv", HEADER), ABC) == {}


@pytest.mark.parametrize(
    "first",
    ["sequence_id,cluster_id", "a\t1", "cluster_id\tsequence_id", "sequence_id\t cluster_id"],
)
def test_another_first_line_is_told(first, tmp_path):
    path = written(tmp_path / "c.tsv", f"{first}\na\t1\n")
    assert told(read_clusters, path, ABC) == [
        "c.tsv: 1 fault",
        f"  line 1: the first line is {first!r}; it has to be sequence_id, a tab, cluster_id",
    ]


def test_an_empty_table_is_told(tmp_path):
    path = written(tmp_path / "c.tsv", "")
    assert told(read_clusters, path, ABC) == [
        "c.tsv: 1 fault",
        "  line 1: is empty; its first line is sequence_id, a tab, cluster_id",
    ]


def test_every_fault_of_a_table_is_told_with_its_line(tmp_path):
    path = written(tmp_path / "c.tsv", HEADER + "a\nz\t1\n\na\t1\na\t \n\t1\na\t1\t2\nA\t1\n")
    row = "is not sequence_id, a tab, cluster_id"
    assert told(read_clusters, path, ABC) == [
        "c.tsv: 6 faults",
        f"  line 2: 'a' {row}",
        "  line 3: names 'z', which is no sequence",
        f"  line 6: 'a\\t ' {row}",
        f"  line 7: '\\t1' {row}",
        f"  line 8: 'a\\t1\\t2' {row}",
        "  line 9: names 'A', which is no sequence",
    ]
    many = written(tmp_path / "many.tsv", HEADER + "z\t1\n" * 25)
    shown = told(read_clusters, many, ABC)
    assert shown[1:-1] == [f"  line {x}: names 'z', which is no sequence" for x in range(2, 22)]
    assert shown[-1] == "  line 22: and 5 more"


# ------------------------------------------------------------------------- folders of clusters


def test_a_folder_has_a_file_per_cluster(tmp_path):
    written(tmp_path / "two.fa", ">c third\nAC\n>a\nacgt\n")
    written(tmp_path / "one.FASTA", RECORD + b">b\nAA\n")
    written(tmp_path / "a.b.fna.gz", gzip.compress(b">d\nA\n"))
    written(tmp_path / "x.fas", ">e\nA\n")
    written(tmp_path / "unassigned.fasta", ">u left over\nAcN\n")
    written(tmp_path / "notes.txt", "no sequence")
    (tmp_path / "folder.fasta").mkdir()
    barcodes, clusters, unassigned = read_cluster_folder(tmp_path)
    assert clusters == {"two": ["c", "a"], "one": ["a", "b"], "a.b": ["d"], "x": ["e"]}
    assert unassigned == [Barcode("u", "AcN", "left over")]
    assert sorted(barcodes, key=lambda barcode: barcode.id) == [
        Barcode("a", "ACGT", "first"),  # of a.b, one, two and x the first that has it
        Barcode("b", "AA"),
        Barcode("c", "AC", "third"),
        Barcode("d", "A"),
        Barcode("e", "A"),
    ]


def test_other_letters_elsewhere_are_told_and_so_is_what_is_unassigned_and_not(tmp_path):
    written(tmp_path / "1.fasta", ">a\nAC\n>b\nAC\n")
    written(tmp_path / "2.fasta", ">a\nAG\n>b\nac\n")
    written(tmp_path / "3.fasta", ">a\nA\n")
    written(tmp_path / "unassigned.fasta", ">b\nAC\n>c\nAC\n")
    assert told(read_cluster_folder, tmp_path)[1:] == [
        "  2.fasta: 'a' has other letters elsewhere",
        "  3.fasta: 'a' has other letters elsewhere",
        "  unassigned.fasta: 'b' is also in a cluster",
    ]


def test_a_cluster_with_two_files_is_told(tmp_path):
    written(tmp_path / "1.fa", ">a\nAC\n")
    written(tmp_path / "1.fasta.gz", ">b\nAC\n")
    assert told(read_cluster_folder, tmp_path)[1:] == [
        "  1: is there twice, with other endings, as 1.fasta.gz"
    ]


def test_a_folder_without_a_cluster_is_told(tmp_path):
    written(tmp_path / "notes.txt", "no sequence")
    text = "holds no .fasta, .fa, .fna, .fas file; name a FASTA file, or such a folder"
    assert told(read_cluster_folder, tmp_path) == [f"{tmp_path}: 1 fault", f"  {text}"]
    written(tmp_path / "unassigned.fasta", ">a\nAC\n")
    assert told(read_cluster_folder, tmp_path) == [
        f"{tmp_path}: 1 fault",
        "  holds unassigned.fasta alone; there is no cluster to refine",
    ]


def test_a_fault_in_a_file_of_a_folder_names_the_file(tmp_path):
    written(tmp_path / "1.fasta", ">a\nAC\n")
    written(tmp_path / "2.fasta", ">b\nAC\n>c\nA!\n")
    assert told(read_cluster_folder, tmp_path) == [
        "2.fasta: 1 fault",
        "  line 4: 'c' has '!', which is no IUPAC letter",
    ]


def test_what_is_unassigned_is_read_of_every_file(tmp_path):
    written(tmp_path / "1.fasta", ">a\nAC\n")
    written(tmp_path / "unassigned.fa", ">b\nAC\n")
    written(tmp_path / "unassigned.fasta", ">c\nAC\n")
    _, _, unassigned = read_cluster_folder(tmp_path)
    assert [barcode.id for barcode in unassigned] == ["b", "c"]


# ------------------------------------------------------------------------- folder for results


def test_results_go_into_a_new_folder(tmp_path):
    require_new(tmp_path / "new" / "folder")
    (tmp_path / "empty").mkdir()
    require_new(tmp_path / "empty")
    assert not (tmp_path / "new").exists(), "nothing is made yet"
    written(tmp_path / "empty" / ".hidden", "")
    with pytest.raises(OutputError, match=r"empty is not empty; name a new folder with --output"):
        require_new(tmp_path / "empty")
    with pytest.raises(OutputError, match=r"\.hidden is a file; name a folder with --output-dir"):
        require_new(tmp_path / "empty" / ".hidden")


def test_an_empty_file_of_unassigned_sequences_holds_none(tmp_path):
    written(tmp_path / "1.fasta", ">a\nAC\n")
    written(tmp_path / "unassigned.fasta", "\n")
    written(tmp_path / "._1.fasta", "what some systems put beside each file")
    barcodes, clusters, unassigned = read_cluster_folder(tmp_path)
    assert ([b.id for b in barcodes], clusters, unassigned) == (["a"], {"1": ["a"]}, [])


def test_a_table_whose_first_line_is_blank_is_not_called_empty(tmp_path):
    table = written(tmp_path / "c.tsv", "\nsequence_id\tcluster_id\na\t1\n")
    with pytest.raises(InputError, match="line 1: the first line is ''; it has to be sequence_id"):
        read_clusters(table, [Barcode("a", "AC")])


def test_a_letter_that_only_looks_like_one_is_refused(tmp_path):
    source = written(tmp_path / "1.fasta", ">a\nAC\u017fT\n")
    with pytest.raises(InputError, match="line 2: 'a' has '\u017f', which is no IUPAC letter"):
        read_fasta(source)
