"""The letters of a sequence as sets of bases: A 1, C 2, G 4, T 8, and what stands for several."""

from typing import Final

import numpy as np
import numpy.typing as npt

Bases = npt.NDArray[np.uint8]

IUPAC: Final = {
    "A": 1, "C": 2, "M": 3, "G": 4, "R": 5, "S": 6, "V": 7, "T": 8,
    "W": 9, "Y": 10, "H": 11, "K": 12, "D": 13, "B": 14, "N": 15,
}  # fmt: skip
"""Bases that a letter stands for, as bits (IUPAC nomenclature, Cornish-Bowden 1985)."""

GAP: Final = 0
MISSING: Final = 16
"""A column before the first or after the last residue of a row: nothing is known there."""

_OF_LETTER = np.full(256, 255, dtype=np.uint8)
for _letter, _bits in {**IUPAC, "-": GAP, ".": MISSING}.items():
    _OF_LETTER[[ord(_letter), ord(_letter.lower())]] = _bits


def bases(text: str) -> Bases:
    """Read aligned letters, ``-`` and ``.``; case does not matter."""
    return _OF_LETTER[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]


def unknown_letters(text: str) -> list[str]:
    """Letters that stand for no base, each once, in their order."""
    return list(dict.fromkeys(c for c in text if not c.isascii() or c.upper() not in IUPAC))
