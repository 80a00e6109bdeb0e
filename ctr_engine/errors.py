"""Errors for people: each says what was found, where, and what would do."""

from collections.abc import Sequence
from dataclasses import dataclass


class CtrError(Exception):
    """Base of every error that the user can mend; its text is shown without a traceback."""


class ParameterError(CtrError):
    """A parameter is unknown, out of range or contradicts another."""


class TableError(CtrError):
    """A table does not have its declared schema."""


class CellMismatchError(CtrError):
    """Two inputs do not name the same cells in the same order."""


class OutputError(CtrError):
    """The place for the results cannot be used."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a file.

    ``where`` is a place inside the file (a path of a cell type, a key), ``line`` counts from 1.
    """

    message: str
    where: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Give the place, then the message."""
        places = [f"line {self.line}" if self.line is not None else "", self.where]
        place = ", ".join(p for p in places if p)
        return f"{place}: {self.message}" if place else self.message


class FaultsError(CtrError):
    """All faults of one file, raised together."""

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(sorted(faults, key=lambda f: (f.line or 0, f.where)))
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {f}" for f in self.faults)]))


class InputError(FaultsError):
    """The sample cannot be annotated as it is."""


class MarkerMapError(FaultsError):
    """The marker map breaks a rule of its format."""


class PanelError(FaultsError):
    """The marker map and the panel of a sample do not fit together."""


class ConfigError(FaultsError):
    """A file of parameters holds something that is unknown or out of range."""
