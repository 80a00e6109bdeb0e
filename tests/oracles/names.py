"""Resolve a marker name of the map against the columns of the panel.

Source: stage-h.md, "Marker map" (tiers) and "Fine points" (aliases compared like tier two).
The built-in alias table is left out on purpose: cases for this oracle use made-up names.
"""

DROPPED = " -_./"


def normalise(name: str) -> str:
    """Casefold and drop spaces, hyphens, underscores, dots and slashes."""
    return "".join(letter for letter in name.casefold() if letter not in DROPPED)


def alias_groups(marker_map: dict) -> list[set[str]]:
    """One set of normalised, interchangeable names per key of ``_aliases``."""
    if "_aliases" not in marker_map:
        return []
    groups = []
    for key, others in marker_map["_aliases"].items():
        groups.append({normalise(name) for name in [key, *others]})
    return groups


def only(name: str, hits: list[str]) -> str:
    """Return the single hit of a tier, or refuse two columns for one name."""
    if len(hits) > 1:
        msg = f"Marker {name!r} fits several panel columns: {hits}."
        raise ValueError(msg)
    return hits[0]


def resolve(name: str, panel: list[str], groups: list[set[str]]) -> str | None:
    """Return the panel column of ``name``; the first tier with a hit wins. None: missing."""
    if name in panel:
        return name
    wanted = normalise(name)
    hits = [column for column in panel if normalise(column) == wanted]
    if hits:
        return only(name, hits)
    reach: set[str] = set()
    for group in groups:
        if wanted in group:
            reach = reach | group
    hits = [column for column in panel if normalise(column) in reach]
    if hits:
        return only(name, hits)
    return None
