"""Mismatches between aligned sequences, as a taxonomist counts them.

A run of columns that do not match is one event or several: lengths of homopolymers cost nothing,
a gap costs one whatever its length, ambiguous letters match what they may stand for. The rules
are those of ``adjusted-identity`` 0.2 (MycoBLAST; Russell 2023), written anew.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ctr_engine.jit import compiled
from ctr_engine.splitmerge.barcodes.alphabet import GAP, MISSING

Bases = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

NOT_COMPARABLE = -1
"""Stands for a pair that overlaps in less than half of the shorter sequence."""

MIN_OVERLAP = 0.5

_TASKS_PER_JOB = 8
_WORD = 8  # columns in a word


@compiled
def core_bounds(
    row: Bases, start: int, end: int, left: int, right: int, out: Bases
) -> tuple[int, int]:
    """Write the residues of a row between two columns, and give the bounds of their core.

    The core is what is left after residues that extend the left or the right context.
    """
    n = 0
    for column in range(start, end):
        if row[column]:
            out[n] = row[column]
            n += 1
    first = 0
    while first < n and out[first] & left:
        first += 1
    while n > first and out[n - 1] & right:
        n -= 1
    return first, n


@compiled
def edits(
    a: Bases, b: Bases, start: int, end: int, left: int, right: int, spare: tuple[Bases, Bases]
) -> int:
    """Edits in one variant range."""
    a_first, a_end = core_bounds(a, start, end, left, right, spare[0])
    b_first, b_end = core_bounds(b, start, end, left, right, spare[1])
    n_a, n_b = a_end - a_first, b_end - b_first
    if n_a == 0 or n_b == 0:
        return 1 if n_a or n_b else 0
    found = 1 if n_a != n_b else 0
    for x in range(min(n_a, n_b)):
        if not spare[0][a_first + x] & spare[1][b_first + x]:
            found += 1
    return found


@compiled
def mismatches(
    a: Bases,
    b: Bases,
    eight: tuple[Words, Words],
    bounds: tuple[int, int],
    spare: tuple[Bases, Bases],
) -> int:
    """Mismatches of two aligned rows.

    Parameters
    ----------
    a, b
        Rows of an alignment, of equal length.
    eight
        The same rows, eight columns to a word: equal words hold nothing to count.
    bounds
        Columns that both rows reach.
    spare
        Two rows to work in.
    """
    first, last = bounds[0], bounds[1] - 1
    while first <= last and not (a[first] and b[first]):
        first += 1
    while last > first and not (a[last] and b[last]):
        last -= 1
    total, column = 0, first
    while column <= last:
        word = column >> 3
        if column & 7 == 0 and column + 7 <= last and eight[0][word] == eight[1][word]:
            column += 8
            continue
        if a[column] & b[column] or not a[column] | b[column]:
            column += 1
            continue
        start, before = column, column - 1
        while before >= first and not a[before] | b[before]:
            before -= 1  # both skip it, so that it is no column of the two
        left = a[before] if before >= first and a[before] == b[before] else 0
        while column <= last and not a[column] & b[column]:
            column += 1
        right = a[column] if column <= last and a[column] == b[column] else 0
        total += edits(a, b, start, column, left, right, spare)
    return total


@compiled
def count_overlap(a: Bases, b: Bases, begin: int, end: int) -> int:
    """Columns that not both rows skip."""
    n = 0
    for column in range(begin, end):
        n += (a[column] | b[column]) != 0
    return n


@compiled
def score_rows(
    rows: Bases, words: Words, residues: Counts, bounds: Counts, first: int, last: int, out: Counts
) -> None:
    """Fill rows ``first`` to ``last`` of the matrix of mismatches, right of the diagonal.

    ``residues[i, c]`` counts those of row ``i`` before column ``c``.
    """
    n, width = rows.shape
    spare = np.empty(width, np.uint8), np.empty(width, np.uint8)
    for i in range(first, last):
        for j in range(i + 1, n):
            begin, end = max(bounds[i, 0], bounds[j, 0]), min(bounds[i, 1], bounds[j, 1])
            found = NOT_COMPARABLE
            if begin < end:
                shorter = min(residues[i, -1], residues[j, -1])
                # each row alone has no more columns there than the two have together
                a_overlap = residues[i, end] - residues[i, begin]
                b_overlap = residues[j, end] - residues[j, begin]
                overlap = max(a_overlap, b_overlap)
                if overlap < MIN_OVERLAP * shorter:
                    overlap = count_overlap(rows[i], rows[j], begin, end)
                if overlap > 0 and overlap >= MIN_OVERLAP * shorter:
                    eight = words[i], words[j]
                    found = mismatches(rows[i], rows[j], eight, (begin, end), spare)
            out[i, j] = out[j, i] = found


def mismatch_counts(rows: Bases, *, n_jobs: int = 1) -> Counts:
    """Count the mismatches of every pair of rows.

    Parameters
    ----------
    rows
        Aligned bases, shape ``(n_sequences, n_columns)``, ends missing.
    n_jobs
        Threads.

    Returns
    -------
    Symmetric, shape ``(n_sequences, n_sequences)``; -1 where two cannot be compared.
    """
    n, width = rows.shape
    rows = np.pad(rows, ((0, 0), (0, -width % _WORD)), constant_values=MISSING)
    known = rows != MISSING
    residues = np.zeros((n, rows.shape[1] + 1), dtype=np.int32)
    np.cumsum((rows != GAP) & known, axis=1, out=residues[:, 1:])
    ends = known.argmax(axis=1), rows.shape[1] - known[:, ::-1].argmax(axis=1)
    bounds = np.where(known.any(axis=1), ends, 0).T.astype(np.int32)
    out = np.zeros((n, n), dtype=np.int32)
    tasks = min(n, n_jobs * _TASKS_PER_JOB) if n_jobs > 1 else 1
    # a row has one pair fewer than the row above it, so equal shares of pairs grow like this
    share = np.linspace(0, 1, tasks + 1)
    edges = np.rint(n * (1 - np.sqrt(1 - share))).astype(int)
    with ThreadPoolExecutor(max_workers=n_jobs) as pool:
        jobs = [
            pool.submit(score_rows, rows, rows.view(np.uint64), residues, bounds, first, last, out)
            for first, last in pairwise(edges)
        ]
        for job in jobs:
            job.result()
    return out
