"""Words of sequences: against a plain loop over letters, and counted by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.barcodes.simulate import simulated
from ctr_engine.splitmerge.barcodes.aligned import AlignedDistances
from ctr_engine.splitmerge.barcodes.kmers import (
    MIN_SHARED,
    kmer_candidates,
    word_matrix,
    words,
)
from tests.splitmerge.test_aligned import backbone, changed

TEXTS = st.text("ACGTacgtNRy", max_size=30)


def plain_words(sequence: str, k: int) -> set[str]:
    """Each window without an ambiguous letter."""
    found = {sequence[x : x + k].upper() for x in range(len(sequence) - k + 1)}
    return {word for word in found if set(word) <= set("ACGT")}


def as_number(word: str) -> int:
    number = 0
    for letter in word:
        number = 4 * number + "ACGT".index(letter)
    return number


@pytest.mark.smoke
@settings(max_examples=100)
@given(TEXTS, st.sampled_from([1, 3, 6]))
def test_words_are_those_of_a_plain_loop(sequence, k):
    expected = sorted(map(as_number, plain_words(sequence, k)))
    assert words(sequence, k).tolist() == expected


def test_words_by_hand():
    assert words("ACG", 2).tolist() == [1, 6], "AC is 0 * 4 + 1, CG 1 * 4 + 2"
    assert words("ACNGT", 2).tolist() == [1, 11]
    assert words("AAAA", 2).tolist() == [0]
    assert words("A", 2).tolist() == []


@settings(max_examples=30)
@given(st.lists(TEXTS, max_size=6))
def test_a_row_of_the_matrix_has_the_words_of_a_sequence(sequences):
    found = word_matrix(sequences, 3)
    assert found.shape == (len(sequences), 64)
    for row, sequence in zip(found.toarray(), sequences, strict=True):
        assert np.flatnonzero(row).tolist() == sorted(map(as_number, plain_words(sequence, 3)))
        assert set(row.tolist()) <= {0, 1}


def plain_candidates(sequences: list[str]) -> list[list[bool]]:
    """Pairs that share a twentieth of the words of the one with fewer."""
    found = [plain_words(sequence, 8) for sequence in sequences]
    return [
        [
            i != j and len(a & b) > 0 and 20 * len(a & b) >= min(len(a), len(b))
            for j, b in enumerate(found)
        ]
        for i, a in enumerate(found)
    ]


def test_candidates_are_those_of_a_plain_loop():
    far = [backbone(seed, 80) for seed in range(4)]
    parts = [far[0][:40] + far[1][40:], far[2][70:] + far[3][:70], "ACGTACG", "", "N" * 20]
    sequences = [*far, *parts, changed(far[0], *range(6, 78, 6)), far[1].lower()]
    found = kmer_candidates(sequences)
    assert sp.issparse(found)
    assert found.toarray().tolist() == plain_candidates(sequences)
    assert 0 < found.nnz < len(sequences) ** 2 - len(sequences)


def test_a_twentieth_of_the_words_is_enough():
    """The shorter one has 47 - 7 = 40 words; two of them are enough, one is too few."""
    assert MIN_SHARED == 0.05
    one, other = backbone(1, 47), backbone(2, 60)
    assert len(plain_words(one, 8)) == 40
    assert not plain_words(one, 8) & plain_words(other, 8)
    for n_letters, n_shared, is_near in ((9, 2, True), (8, 1, False)):
        joined = other + one[:n_letters]
        assert len(plain_words(one, 8) & plain_words(joined, 8)) == n_shared
        assert bool(kmer_candidates([one, joined])[0, 1]) is is_near
        assert bool(kmer_candidates([joined, one])[0, 1]) is is_near


@pytest.mark.parametrize("seed", range(2))
def test_no_near_pair_is_left_out(seed):
    known, _ = simulated(seed, 40)
    sequences = [barcode.residues for barcode in known.barcodes]
    near = AlignedDistances(sequences, dataset=True).matrix(range(40)) <= 0.04
    np.fill_diagonal(near, val=False)
    assert near.sum() > 40
    assert (kmer_candidates(sequences).toarray() | ~near).all()
