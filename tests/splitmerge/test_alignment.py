"""One alignment of many sequences: rows, trimming and mismatches of the shared cases."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ctr_engine.errors import CtrError, InputError
from ctr_engine.splitmerge.barcodes.alignment import (
    AlignerMissingError,
    Alignment,
    align,
    trimmed,
    without_ends,
)
from ctr_engine.splitmerge.barcodes.alphabet import bases
from ctr_engine.splitmerge.barcodes.scoring import mismatch_counts
from tests.oracles import gaphack as slow
from tests.splitmerge.cases import case, matrix, names, of_triangle


def read(*rows: str) -> np.ndarray:
    return np.stack([bases(row) for row in rows])


def sequences_of(fasta: Path) -> dict[str, str]:
    """Sequences by id, in the order of the file."""
    found: dict[str, str] = {}
    for line in fasta.read_text().splitlines():
        if line.startswith(">"):
            name = line[1:].split()[0]
            found[name] = ""
        else:
            found[name] += line.strip()
    return found


@pytest.mark.smoke
@pytest.mark.parametrize("name", names("provider_spoa"))
def test_a_shared_alignment_has_the_expected_rows_and_distances(gaphack, name):
    expected = case(gaphack, "provider_spoa", name)
    alignment = align(expected["sequences"])
    assert alignment.length == expected["normalization_length"]
    assert alignment.rows.tolist() == read(*expected["msa_rows"]).tolist()
    counts = mismatch_counts(alignment.rows).astype(float)
    distances = np.where(counts < 0, np.nan, counts) / alignment.length
    assert np.array_equal(distances, matrix(expected["distance_matrix"]), equal_nan=True)


@pytest.mark.parametrize("name", names("real_data_cases"))
def test_real_barcodes_have_the_expected_mismatches(shared, gaphack, name):
    expected = case(gaphack, "real_data_cases", name)
    sequences = sequences_of(shared / "data" / "barcodes" / f"{name}.fasta")
    assert list(sequences) == expected["ids"]
    alignment = align(list(sequences.values()))
    assert alignment.length == expected["length_L"]
    counts = of_triangle(expected["mismatch_upper_triangle"])
    for n_jobs in (1, 4):
        assert (mismatch_counts(alignment.rows, n_jobs=n_jobs) == counts).all()


BARCODE = "GGATCACAGTCTACACTGCTCACTCCAACCCCGGCCCCTGAGTCCGAGGAGAGGGTGCTT"


def test_small_letters_are_aligned_as_large_ones():
    sequences = [BARCODE, BARCODE[5:50], BARCODE[:30] + "T" + BARCODE[31:]]
    large = align(sequences)
    small = align([sequences[0], *(sequence.lower() for sequence in sequences[1:])])
    assert small.rows.tolist() == large.rows.tolist()
    assert small.length == large.length == 60


def test_the_length_is_the_median_rounded_down():
    assert align([BARCODE[:40], BARCODE[:45]]).length == 42
    assert align([BARCODE[:40], BARCODE[:45], BARCODE]).length == 45
    assert align([BARCODE]).length == 60


def test_one_sequence_is_an_alignment_of_its_own():
    alone = align([BARCODE])
    assert isinstance(alone, Alignment)
    assert alone.rows.tolist() == read(BARCODE).tolist()


def test_half_of_the_rows_is_rounded_down():
    """Of five rows two have to reach a column, of four also two; columns inside are kept."""
    five = ["ACGT....", ".CGT....", "....ACG.", ".....CGT", "A......."]
    assert trimmed(read(*five)).tolist() == read(*[row[:7] for row in five]).tolist()
    assert slow.trimmed(five) == [row[:7] for row in five], "columns 0 to 6"
    four = five[:4]
    assert trimmed(read(*four)).tolist() == read(*[row[1:7] for row in four]).tolist()


def test_a_row_without_a_residue_is_missing_as_a_whole():
    assert without_ends(read("----", "-AC-")).tolist() == read("....", ".AC.").tolist()


def test_sequences_that_do_not_overlap_are_refused():
    rows = read("AC......", "..GT....", "....AC..", "......GT")
    text = (
        r"no position is covered by 2 of 4 sequences; they do not align\. "
        r"Check that all are of one marker, and of one strand"
    )
    with pytest.raises(InputError, match=text):
        trimmed(rows)
    with pytest.raises(InputError, match=text):
        align(["A" * 20, "C" * 20, "G" * 20, "T" * 20])


def test_without_the_aligner_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "spoa", None)
    text = (
        r"barcodes are aligned with pyspoa, which is not here; run: pip install 'ctr\[barcodes\]'"
    )
    with pytest.raises(AlignerMissingError, match=text) as raised:
        align([BARCODE])
    assert isinstance(raised.value, CtrError), "shown without a traceback"


def test_an_aligner_that_lacks_something_itself_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "spoa.py").write_text("import what_spoa_needs\n")
    monkeypatch.delitem(sys.modules, "spoa", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="what_spoa_needs"):
        align([BARCODE])
