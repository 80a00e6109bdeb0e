"""One alignment of many sequences, and the part of it that is compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import numpy.typing as npt

from ctr_engine.errors import CtrError, Fault, InputError
from ctr_engine.splitmerge.barcodes.alphabet import GAP, MISSING, bases

MIN_COVERAGE = 0.5
"""Share of the rows that have to reach a column at either end of the alignment."""


_MISSING_ALIGNER = (
    "barcodes are aligned with pyspoa, which is not here; run: pip install 'ctr[barcodes]'"
)


class AlignerMissingError(CtrError):
    """The aligner is not installed."""


@dataclass(frozen=True)
class Alignment:
    """Sequences in columns.

    Attributes
    ----------
    rows
        Bases, shape ``(n_sequences, n_columns)``: bits of
        :data:`~ctr_engine.splitmerge.barcodes.alphabet.IUPAC`, a gap, or missing.
    length
        Residues that a distance is divided by: median length of the sequences, rounded down.
    """

    rows: npt.NDArray[np.uint8]
    length: int


def align(sequences: Sequence[str]) -> Alignment:
    """Align sequences with SPOA's defaults, in their order (Vaser et al. 2017).

    Partial order alignment, local, convex gaps: match 5, mismatch -4, gaps -8/-6 or -10/-4.

    Raises
    ------
    AlignerMissingError
        If ``pyspoa`` is not installed.
    InputError
        If no column is covered by half of the sequences.
    """
    try:
        from spoa import poa
    except ModuleNotFoundError as error:
        if error.name != "spoa":
            raise
        raise AlignerMissingError(_MISSING_ALIGNER) from None
    upper = [sequence.upper() for sequence in sequences]
    _, rows = poa(upper, algorithm=0, genmsa=True)
    aligned = np.stack([bases(row) for row in rows])
    length = int(np.median([len(sequence) for sequence in upper]))
    return Alignment(trimmed(without_ends(aligned)), length)


def aligner_version() -> str:
    """Release of the aligner, on which distances depend.

    Raises
    ------
    AlignerMissingError
        If it is not installed.
    """
    try:
        return version("pyspoa")
    except PackageNotFoundError:
        raise AlignerMissingError(_MISSING_ALIGNER) from None


def without_ends(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Mark the gaps before the first and after the last residue of each row as missing."""
    residue = (rows != GAP) & (rows != MISSING)
    inside = np.logical_or.accumulate(residue, axis=1)
    inside &= np.logical_or.accumulate(residue[:, ::-1], axis=1)[:, ::-1]
    return np.where(inside, rows, MISSING).astype(np.uint8)


def trimmed(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Keep the columns from the first to the last that half of the rows reach.

    Raises
    ------
    InputError
        If there is no such column.
    """
    needed = int(MIN_COVERAGE * len(rows))
    covered = np.flatnonzero((rows != MISSING).sum(axis=0) >= needed)
    if len(covered) == 0:
        fault = Fault(
            f"no position is covered by {needed} of {len(rows)} sequences; they do not align. "
            "Check that all are of one marker, and of one strand"
        )
        raise InputError("alignment", [fault])
    return np.ascontiguousarray(rows[:, covered[0] : covered[-1] + 1])
