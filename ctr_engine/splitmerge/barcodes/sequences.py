"""FASTA in, with every fault of a file reported together."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ctr_engine.errors import Fault, InputError
from ctr_engine.splitmerge.barcodes.alphabet import unknown_letters

SHOWN = 20


@dataclass(frozen=True)
class Barcode:
    """One sequence as it stands in its file.

    Attributes
    ----------
    id
        First word of the header.
    residues
        Letters as they were written; a ``-`` is none.
    description
        What follows the id in the header.
    """

    id: str
    residues: str
    description: str = ""

    @property
    def header(self) -> str:
        """Header without its ``>``."""
        return f"{self.id} {self.description}".rstrip()


def parse_fasta(text: str, source: str) -> list[Barcode]:
    """Read the records of a FASTA file.

    Letters are those of IUPAC for DNA, in either case, ``-`` for a gap, which is dropped.

    Raises
    ------
    InputError
        With the line of every record that is empty, has no id, has an id twice or holds other
        letters, and of text before the first record.
    """
    found: list[Barcode] = []
    faults: list[Fault] = []
    lines: dict[str, int] = {}
    for number, header, body in _records(text):
        if header is None:
            faults.append(Fault("text before the first header; a header begins with >", "", number))
            continue
        name, description = (*header.split(maxsplit=1), "", "")[:2]
        faults += _faults(name, body, number, lines)
        lines.setdefault(name, number)
        residues = "".join(letters for _, letters in body).replace("-", "")
        found.append(Barcode(name, residues, description.strip()))
    if not found and not faults:
        faults.append(Fault("holds no sequence; a record is a line >ID and lines of letters"))
    if faults:
        raise InputError(source, some_of(faults))
    return found


def some_of(faults: list[Fault]) -> list[Fault]:
    """The first faults of many, and how many more there are."""
    shown, rest = faults[:SHOWN], faults[SHOWN:]
    # an error puts its faults in the order of their lines
    more = [Fault(f"and {len(rest)} more", rest[0].where, rest[0].line)] if rest else []
    return shown + more


Lines = list[tuple[int, str]]


def _records(text: str) -> Iterator[tuple[int, str | None, Lines]]:
    """Line, header and numbered lines of each record; None for text before the first."""
    number, header, body = 1, None, Lines()
    for at, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line.startswith(">"):
            if header is not None or body:
                yield (number if header is not None else body[0][0]), header, body
            number, header, body = at, line[1:], []
        elif line.strip():
            body.append((at, "".join(line.split())))
    if header is not None or body:
        yield (number if header is not None else body[0][0]), header, body


def _faults(name: str, body: Lines, number: int, lines: dict[str, int]) -> list[Fault]:
    found = []
    if not name:
        found.append(Fault("a record without an id; write >ID", "", number))
    elif name in lines:
        found.append(Fault(f"{name!r} is there twice, first in line {lines[name]}", "", number))
    if not any(letters.strip("-") for _, letters in body):
        found.append(Fault(f"{name!r} has no letters", "", number))
    for at, letters in body:
        bad = unknown_letters(letters.replace("-", ""))
        if bad:
            what = ", ".join(map(repr, bad))
            hint = "; RNA is written with T here" if set(bad) <= {"U", "u"} else ""
            found.append(Fault(f"{name!r} has {what}, which is no IUPAC letter{hint}", "", at))
    return found
