"""Mismatches of aligned rows: the shared cases, the slow oracle, and what must not matter."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.splitmerge.barcodes.alignment import trimmed, without_ends
from ctr_engine.splitmerge.barcodes.alphabet import bases, unknown_letters
from ctr_engine.splitmerge.barcodes.scoring import NOT_COMPARABLE, mismatch_counts
from tests.oracles import gaphack as slow
from tests.splitmerge.cases import case, names


def read(*rows: str) -> np.ndarray:
    return np.stack([bases(row) for row in rows])


def counts(*rows: str, n_jobs: int = 1) -> list[list[int]]:
    return mismatch_counts(read(*rows), n_jobs=n_jobs).tolist()


def expected_counts(*rows: str) -> list[list[int]]:
    """By the slow loop; a row does not differ from itself."""
    full = [[slow.mismatches(a, b) for b in rows] for a in rows]
    return [
        [0 if i == j else NOT_COMPARABLE if found is None else found for j, found in enumerate(row)]
        for i, row in enumerate(full)
    ]


# ---------------------------------------------------------------------- the shared cases


@pytest.mark.smoke
@pytest.mark.parametrize("name", names("alignment_scoring"))
def test_a_shared_pair_of_rows_gives_the_expected_mismatches(gaphack, name):
    expected = case(gaphack, "alignment_scoring", name)
    found = counts(expected["aligned_a"], expected["aligned_b"])[0][1]
    assert found == (expected["mismatches"] if expected["valid"] else NOT_COMPARABLE)


@pytest.mark.smoke
def test_the_ends_of_a_shared_alignment_become_missing_and_are_trimmed(gaphack):
    expected = gaphack["terminal_trim"]
    marked = without_ends(read(*expected["aligned"]))
    assert marked.tolist() == read(*expected["terminal_gaps_replaced"]).tolist()
    assert trimmed(marked).tolist() == read(*expected["trimmed"]).tolist()


# ----------------------------------------------------------------------- the slow oracle

LETTERS = "".join(slow.IUPAC)


@st.composite
def alignments(draw, *, rows_at_most: int = 5) -> list[str]:
    """Rows that are alike, of a width around the multiples of 8.

    Residues are drawn from few letters, so that there are runs; a column may be a gap in all.
    """
    width = draw(st.one_of(st.sampled_from([7, 8, 9, 15, 16, 17, 23, 24, 25]), st.integers(1, 40)))
    column = st.sampled_from("AAAACCGT-")
    template = draw(st.lists(column, min_size=width, max_size=width))
    rows = []
    for _ in range(draw(st.integers(2, rows_at_most))):
        letter = st.sampled_from(["=", "=", "=", "=", "=", "=", "-", "-", "A", "C", "T", *LETTERS])
        changes = draw(st.lists(letter, min_size=width, max_size=width))
        pairs = zip(template, changes, strict=True)
        row = "".join(
            old if new == "=" or (old == "-" and new not in "ACT") else new for old, new in pairs
        )
        begin, end = draw(st.integers(0, width // 2)), draw(st.integers(0, width // 2))
        row = "-" * begin + row[begin : width - end] + "-" * end
        rows.append(slow.without_ends(row) if draw(st.integers(0, 4)) else row)
    return rows


@settings(max_examples=400)
@given(alignments())
def test_random_rows_give_the_counts_of_the_slow_loop(rows):
    assert counts(*rows) == expected_counts(*rows)


@settings(max_examples=60)
@given(alignments(), st.integers(0, 8))
def test_columns_that_all_rows_skip_or_none_reaches_change_nothing(rows, at):
    at = min(at, len(rows[0]))
    plain = [row.replace(".", "-") for row in rows]
    inside = [slow.without_ends(f"{row[:at]}-{row[at:]}") for row in plain]
    plain = [slow.without_ends(row) for row in plain]
    assert counts(*inside) == counts(*plain)
    assert counts(*[f"..{row}......." for row in rows]) == counts(*rows)


@settings(max_examples=60)
@given(alignments())
def test_the_ends_are_marked_and_trimmed_as_by_the_slow_loop(rows):
    plain = [row.replace(".", "-") for row in rows]
    marked = without_ends(read(*plain))
    expected = [slow.without_ends(row) for row in plain]
    assert marked.tolist() == read(*expected).tolist()
    left = slow.trimmed(expected)
    if left is not None:
        assert trimmed(marked).tolist() == read(*left).tolist()


# ------------------------------------------------------------- what must not matter


def many(n: int, width: int) -> list[str]:
    random = np.random.default_rng(n)
    template = random.choice(list("AACGT"), width)
    rows = []
    for _ in range(n):
        changed = random.random(width) < 0.2
        row = np.where(changed, random.choice(list("ACGT--RN"), width), template)
        rows.append(slow.without_ends("".join(row)))
    return rows


@pytest.mark.parametrize("n", [1, 2, 3, 9, 40])
def test_the_number_of_threads_does_not_matter(n):
    rows = many(n, 30)
    alone = counts(*rows, n_jobs=1)
    assert alone == expected_counts(*rows)
    for n_jobs in (2, 4):
        assert counts(*rows, n_jobs=n_jobs) == alone


@given(alignments())
def test_small_letters_are_large_ones(rows):
    small = [row.lower() for row in rows]
    assert [bases(row).tolist() for row in small] == [bases(row).tolist() for row in rows]
    assert counts(*small) == counts(*rows)


@settings(max_examples=60)
@given(alignments(), st.randoms(use_true_random=False))
def test_counts_are_symmetric_and_do_not_depend_on_the_order_of_rows(rows, random):
    found = np.array(counts(*rows))
    assert (found == found.T).all()
    assert (np.diag(found) == 0).all()
    order = list(range(len(rows)))
    random.shuffle(order)
    moved = np.array(counts(*[rows[x] for x in order]))
    assert (moved == found[np.ix_(order, order)]).all()


# ------------------------------------------------------------------------------ by hand


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # one gap, whatever its length; two of them with a match between
        ("ACGTCGCACGTA", "ACGT---ACGTA", 1),
        ("ACGTCACGTGACGT", "ACGT-ACGT-ACGT", 2),
        # the column of two gaps is not between T and its run
        ("CCAT-TGCA", "CCA--TGCA", 0),
        # no context across an ambiguous match: R is no run of A, so the A that is added counts
        ("CCRAGTCC", "CCA-GTCC", 1),
        ("CCAAGTCC", "CCA-GTCC", 0),
        # the same ambiguous letter in both is a context: A may be R
        ("CCRAGTCC", "CCR-GTCC", 0),
        # both are extensions of their neighbours
        ("CCAAGTTCAG", "CCAGGTTCAG", 0),
        # one range: A extends the run before it, so it is CGT against T: a base and a length
        ("AACGTAAC", "AAAT-AAC", 2),
        # overlap 3 of 7 is too little, 3 of 6 is not
        ("ACGTTAC....", "....TACGTAC", NOT_COMPARABLE),
        ("ACGTAC...", "...TACGTA", 0),
        # 4 columns in which some row has a residue are enough for 8, though each row has 3 there
        ("ACGTAC--C-C.....", ".....CA---CTACGT", 1),
        # overlap without a residue in both
        ("A-A-A", "-C-C-", 0),
    ],
)
def test_mismatches_counted_by_hand(a, b, expected):
    assert counts(a, b) == [[0, expected], [expected, 0]]


def test_letters_match_where_their_bases_intersect():
    for a, b in itertools.product(LETTERS, repeat=2):
        assert bool(bases(a)[0] & bases(b)[0]) == slow.compatible(a, b), (a, b)
    assert not any(bases(gap)[0] & bases(letter)[0] for gap in "-." for letter in LETTERS)


def test_letters_that_stand_for_no_base_are_named_once_in_their_order():
    assert unknown_letters("ACUGT-XnUx*") == ["U", "-", "X", "x", "*"]
    assert unknown_letters(LETTERS + LETTERS.lower()) == []
