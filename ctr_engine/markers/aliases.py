"""Other names of a marker: those of the map, and a table of proteins and gene symbols."""

import csv
import io
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

_DROPPED = str.maketrans("", "", " -_./")
_TABLE = "aliases.csv"


def normalise(name: str) -> str:
    """Fold case and drop spaces, hyphens, underscores, dots and slashes."""
    return name.casefold().translate(_DROPPED)


class AliasGroups:
    """Groups of names that mean one marker, compared after :func:`normalise`."""

    def __init__(self, groups: Iterable[Iterable[str]]) -> None:
        self._partners: dict[str, set[str]] = {}
        for group in groups:
            names = {normalise(name) for name in group}
            for name in names:
                self._partners.setdefault(name, set()).update(names)

    @classmethod
    def of_map(cls, aliases: Mapping[str, Iterable[str]]) -> "AliasGroups":
        """Groups of the ``_aliases`` of a marker map: a key together with all its names."""
        return cls([key, *names] for key, names in aliases.items())

    def partners(self, name: str) -> frozenset[str]:
        """Normalised names that mean the same as ``name``, itself left out."""
        own = normalise(name)
        return frozenset(self._partners[own] - {own}) if own in self._partners else frozenset()


def builtin_rows() -> list[dict[str, str]]:
    """Rows of the built-in table: ``canonical``, ``aliases`` (``;``-joined), ``note``."""
    text = files("ctr_engine.markers").joinpath(_TABLE).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


@cache
def builtin_aliases() -> AliasGroups:
    """Give the built-in alias table (protein name <-> gene symbol)."""
    return AliasGroups([row["canonical"], *row["aliases"].split(";")] for row in builtin_rows())
