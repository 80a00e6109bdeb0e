"""The plan that a person writes: both forms of the file, every fault with its line."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from ctr_engine.documents import Document
from ctr_engine.errors import ConfigError, Fault, ParameterError
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.refinement.naming import Clusters, Unknown, Waiting
from ctr_engine.refinement.plan import (
    AnyOperation,
    Merge,
    Override,
    Relabel,
    Subcluster,
    clusters_of,
    is_day,
)

Place = tuple[str | int, ...]
_VERSIONS = ("1.0", "1")
_HIGHEST = 100
"""No resolution of Leiden is higher; a longer number is a slip."""

SECTIONS = {
    "overrides": "override",
    "merge": "merge",
    "subcluster": "subcluster",
    "relabel": "relabel",
    "skip": "skip",
}
"""Sections of the file, and the action of each entry in it."""
CELLS = "cells"
"""Section with the cells that a cluster had when it was named, one id in each line."""
_NAMES = {
    "cluster_id": "cluster",
    "source_clusters": "clusters",
    "cell_type": "label",
    "target_label": "label",
    "new_label": "label",
}
"""Names of the sectioned form, and those of the other one."""
_WHO = {"reason", "author", "date"}
_KEYS = {
    "override": {"cluster", "label", "new", *_WHO},
    "merge": {"clusters", "label", "new", *_WHO},
    "subcluster": {"cluster", "resolution", *_WHO},
    "relabel": {"cluster", "label", *_WHO},
    "skip": {"cluster", *_WHO},
}
_NEEDED = {
    "override": ("cluster", "label"),
    "merge": ("clusters",),
    "subcluster": ("cluster",),
    "relabel": ("cluster", "label"),
    "skip": ("cluster",),
}


@dataclass(frozen=True)
class ManualPlan:
    """What a file asks for, as far as it can be done now.

    Attributes
    ----------
    operations, entries
        What can be done, and the place in the file of each.
    skipped
        Clusters that are left alone.
    claimed
        Clusters that the file names in any way; nobody else may change them.
    waiting
        Place and reason of each entry that cannot be done, or not yet.
    """

    operations: tuple[AnyOperation, ...] = ()
    entries: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


def within(plan: ManualPlan, focus: Collection[str]) -> ManualPlan:
    """Leave out what would change a cluster outside the focus, and say so."""
    pairs = list(zip(plan.operations, plan.entries, strict=True))
    inside = [pair for pair in pairs if set(clusters_of(pair[0])) <= set(focus)]
    outside = [f"{entry}: its cluster is not in focus" for _, entry in pairs]
    kept = {entry for _, entry in inside}
    return replace(
        plan,
        operations=tuple(operation for operation, _ in inside),
        entries=tuple(entry for _, entry in inside),
        waiting=(
            *plan.waiting,
            *(text for (_, entry), text in zip(pairs, outside, strict=True) if entry not in kept),
        ),
    )


@dataclass(frozen=True)
class _Entry:
    """An entry with its clusters as the file calls them."""

    place: Place
    action: str
    content: dict[str, Any]
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """The place in words, which tells the entries of a file apart."""
        return ".".join(map(str, self.place))


@dataclass
class _Reader:
    """Reads one file and gathers its faults."""

    document: Document
    marker_map: MarkerMap | None
    resolution: float
    faults: list[Fault] = field(default_factory=list)
    named: dict[str, Place] = field(default_factory=dict)

    def fault(self, place: Place, message: str) -> None:
        """Note a fault with its place and line."""
        where = ".".join(map(str, place))
        self.faults.append(Fault(message, where, self.document.line(place)))


def read_manual(
    document: Document,
    marker_map: MarkerMap,
    clusters: Clusters | Sequence[str],
    resolution: float,
    done: Collection[str] = (),
) -> ManualPlan:
    """Read the content of a manual file.

    Parameters
    ----------
    clusters
        What exists.
    resolution
        Resolution of a subclustering that names none.
    done
        Entries that an earlier iteration carried out.

    Raises
    ------
    ConfigError
        With every fault: a key that is given twice, an unknown key or action, a cluster that does
        not exist or is named twice, a label that is neither in the map nor marked ``new: true``.
    """
    reader = _Reader(document, marker_map, resolution)
    for place, line in document.duplicates:
        where = ".".join(map(str, place))
        reader.faults.append(Fault(f"{place[-1]!r} is given twice; keep one", where, line))
    entries = [
        _Entry(place, action, content, _names(reader, place, action, content))
        for place, action, content in _entries(reader)
    ]
    keyed = _keyed(reader)
    known = clusters if isinstance(clusters, Clusters) else Clusters(tuple(clusters))
    open_ = [entry for entry in entries if entry.key not in done]
    found = _found(reader, open_, replace(known, keyed=keyed))
    made = [(entry, _operation(reader, entry, found)) for entry in entries]
    if reader.faults:
        raise ConfigError(document.source, reader.faults)
    return _plan(reader, [pair for pair in made if pair[0] in open_], found)


def _plan(
    reader: _Reader,
    made: Sequence[tuple[_Entry, AnyOperation | None]],
    found: Mapping[str, str | Waiting],
) -> ManualPlan:
    """Put together what can be done, and say what cannot."""
    ready = [
        (entry, operation)
        for entry, operation in made
        if not any(isinstance(found[name], Waiting) for name in entry.names)
    ]
    waiting = []
    for entry, _ in made:
        reasons = [one.message for name in entry.names if isinstance(one := found[name], Waiting)]
        line = reader.document.line(entry.place)
        waiting += [f"line {line}, {entry.key}: {reason}" for reason in reasons]
    skipped = [str(found[entry.names[0]]) for entry, _ in ready if entry.action == "skip"]
    meant = [one for entry, _ in made for one in map(found.__getitem__, entry.names)]
    claimed = [one.cluster if isinstance(one, Waiting) else one for one in meant]
    return ManualPlan(
        tuple(operation for _, operation in ready if operation is not None),
        tuple(entry.key for entry, operation in ready if operation is not None),
        tuple(skipped),
        tuple(dict.fromkeys(one for one in claimed if one is not None)),
        tuple(waiting),
    )


def _found(
    reader: _Reader, entries: Sequence[_Entry], clusters: Clusters
) -> dict[str, str | Waiting]:
    """Cluster of each name; two names that have become one cluster are not carried out."""
    found: dict[str, str | Waiting] = {}
    for entry in entries:
        for name in entry.names:
            one = clusters.find(name)
            if isinstance(one, Unknown):
                reader.fault(entry.place, one.message)
            else:
                found[name] = one
    alike = defaultdict(list)
    for name, one in found.items():
        if isinstance(one, str):
            alike[one].append(name)
    for cluster, names in alike.items():
        if len(names) > 1:
            listed = " and ".join(map(repr, names))
            message = f"{listed} of the file are all cluster {cluster!r} now"
            waiting = Waiting(message, cluster)
            found |= dict.fromkeys(names, waiting)
    return found


def _keyed(reader: _Reader) -> dict[str, tuple[str, ...]]:
    """Cells of the section ``cells``, by the name of their cluster."""
    content = reader.document.value
    if not isinstance(content, dict) or CELLS not in content:
        return {}
    section = content[CELLS]
    if not isinstance(section, dict):
        reader.fault((CELLS,), "is a table: the name of a cluster, and its cells line by line")
        return {}
    keyed = {}
    for name, text in section.items():
        place = (CELLS, name)
        cells = tuple(dict.fromkeys(str(text).split("\n"))) if isinstance(text, str) else ()
        cells = tuple(cell for cell in cells if cell)
        if not cells:
            reader.fault(place, "holds no cells; write one id in each line")
        elif name not in reader.named:
            reader.fault(place, f"no entry of the file names cluster {name!r}")
        keyed[name] = cells
    return keyed


def _entries(reader: _Reader) -> Iterator[tuple[Place, str, dict[str, Any]]]:
    """Yield every entry of both forms with its place and action, names brought to one form."""
    content = reader.document.value
    if not isinstance(content, dict):
        if content is not None:
            reader.fault((), f"is a table of {', '.join(SECTIONS)} or refinements")
        return
    for key, entries in content.items():
        if key == CELLS:
            continue
        if key == "version":
            if _as_written(reader, (key,), entries) not in _VERSIONS:
                reader.fault((key,), f"is {_VERSIONS[0]}; got {entries!r}")
            continue
        if key not in SECTIONS and key != "refinements":
            known = [*SECTIONS, "refinements", CELLS, "version"]
            reader.fault((key,), f"unknown key {key!r}. {_hint(key, known)}")
        elif not isinstance(entries, list):
            reader.fault((key,), "is a list of entries")
        else:
            yield from _section(reader, key, entries)


def _section(
    reader: _Reader, key: str, entries: list[Any]
) -> Iterator[tuple[Place, str, dict[str, Any]]]:
    for index, raw in enumerate(entries):
        place: Place = (key, index)
        if not isinstance(raw, dict):
            reader.fault(place, 'is a table, such as {cluster_id: "3"}')
            continue
        action = SECTIONS[key] if key in SECTIONS else raw["action"] if "action" in raw else None
        if not isinstance(action, str) or action not in _KEYS:
            reader.fault(place, f"unknown action {action!r}. {_hint(str(action), list(_KEYS))}")
            continue
        entry = _content(reader, place, action, raw, allow_action=key not in SECTIONS)
        for name in _NEEDED[action]:
            if name not in entry:
                reader.fault(place, f"a {action} needs {name!r}")
        yield place, action, entry


def _content(
    reader: _Reader, place: Place, action: str, raw: dict[str, Any], *, allow_action: bool
) -> dict[str, Any]:
    """Values of an entry by the names of the short form; an id as it is written."""
    entry: dict[str, Any] = {}
    for name, value in raw.items():
        known = _brought(name)
        if allow_action and name == "action":
            continue
        if known not in _KEYS[action]:
            hint = _hint(name, sorted(_KEYS[action]))
            reader.fault((*place, name), f"unknown key {name!r}. {hint}")
        elif known in entry:
            reader.fault((*place, name), f"{name!r} says {known!r} a second time; keep one")
        elif known == "cluster":
            entry[known] = _as_written(reader, (*place, name), value)
        elif known == "clusters" and isinstance(value, list):
            entry[known] = [
                _as_written(reader, (*place, name, i), one) for i, one in enumerate(value)
            ]
        else:
            entry[known] = value
    return entry


def _brought(name: str) -> str:
    return _NAMES[name] if name in _NAMES else name


def _as_written(reader: _Reader, place: Place, value: Any) -> str:
    """Give an id as text, letter by letter: ``1.10`` and ``03`` are no numbers."""
    texts = reader.document.texts
    return value if isinstance(value, str) else texts[place] if place in texts else str(value)


def _hint(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def _names(reader: _Reader, place: Place, action: str, entry: dict[str, Any]) -> tuple[str, ...]:
    """Clusters of an entry as the file calls them; each is named once in the file."""
    needed = "clusters" if action == "merge" else "cluster"
    if needed not in entry:
        return ()
    raw = entry[needed] if action == "merge" else [entry[needed]]
    if not isinstance(raw, list) or (action == "merge" and len(raw) < 2):
        reader.fault(place, "clusters is a list of two or more")
        return ()
    for name in raw:
        if name in reader.named:
            line = reader.document.line(reader.named[name])
            reader.fault(place, f"cluster {name!r} is named twice, first in line {line}")
        else:
            reader.named[name] = place
    return tuple(raw)


def _operation(
    reader: _Reader, entry: _Entry, found: Mapping[str, str | Waiting]
) -> AnyOperation | None:
    """Make the operation of an entry; None for a skip, and where there is a fault.

    A name without a cluster stays in it; such an operation is never carried out.
    """
    place, action, content = entry.place, entry.action, entry.content
    given = {"source": "manual", **_who(reader, place, content)}
    if action == "skip":
        return None
    ids = tuple(
        one if name in found and isinstance(one := found[name], str) else name
        for name in entry.names
    )
    if action == "subcluster":
        resolution = _resolution(reader, place, content)
        if resolution is None or not ids:
            return None
        return Subcluster(**given, cluster=ids[0], resolution=resolution)
    is_new = _is_new(reader, place, content)
    scored = action == "merge" and ("label" not in content or content["label"] is None)
    label = (None, None) if scored else _label(reader, place, action, content, is_new)
    if label is None or not ids:
        return None
    if action == "merge":
        return Merge(**given, clusters=ids, label=label[0], path=label[1])
    make = Override if action == "override" else Relabel
    return make(**given, cluster=ids[0], label=label[0], path=label[1])


def _who(reader: _Reader, place: Place, content: dict[str, Any]) -> dict[str, str | None]:
    """Reason, author and date of an entry, as far as it has them."""
    given = {
        name: None if name not in content or content[name] is None else str(content[name])
        for name in sorted(_WHO)
    }
    if given["date"] is not None and not is_day(given["date"]):
        reader.fault((*place, "date"), f"is a day such as 2026-01-31; got {given['date']!r}")
    return given


def _resolution(reader: _Reader, place: Place, entry: dict[str, Any]) -> float | None:
    value = entry["resolution"] if "resolution" in entry else reader.resolution
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= _HIGHEST:
        text = repr(value) if len(repr(value)) < 40 else "a number of many digits"
        reader.fault((*place, "resolution"), f"is a number above 0; got {text}")
        return None
    return float(value)


def _is_new(reader: _Reader, place: Place, entry: dict[str, Any]) -> bool:
    """Whether an entry may make a label that the map does not have."""
    if "new" not in entry:
        return False
    if not isinstance(entry["new"], bool):
        reader.fault((*place, "new"), f"is true or false; got {entry['new']!r}")
        return True
    return bool(entry["new"])


def _label(
    reader: _Reader, place: Place, action: str, entry: dict[str, Any], is_new: bool
) -> tuple[str, str | None] | None:
    """Label and path of an entry; a new label has no path."""
    if "label" not in entry or reader.marker_map is None:
        return None
    label = entry["label"]
    if not isinstance(label, str) or not label.strip():
        reader.fault(place, f"the label is text; got {label!r}")
        return None
    try:
        node = reader.marker_map.find(label)
    except ParameterError as error:
        is_known = label in {node.label for node in reader.marker_map.nodes}
        if is_new and not is_known:
            return label, None
        can_be_made = action in ("override", "merge") and not is_known
        more = " Add new: true to make one." if can_be_made else ""
        reader.fault(place, f"{error}{more}")
        return None
    return node.label, node.path


def kept_entries(
    document: Document, decided: Collection[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Give the entries of a manual file that name none of some clusters, ids as they are written.

    Returns
    -------
    Content of the file without the other entries and their cells, and the clusters of those.

    Raises
    ------
    ConfigError
        If the file has faults of its own.
    """
    reader = _Reader(document, None, 1.0)
    named = [
        (place, _names(reader, place, action, content))
        for place, action, content in _entries(reader)
    ]
    if reader.faults:
        raise ConfigError(document.source, reader.faults)
    kept: dict[str, Any] = {}
    gone: list[str] = []
    for (section, index, *_), names in named:
        if set(names) & set(decided):
            gone += names
        else:
            entry = {
                name: _spelt(reader, (section, index, name), value)
                for name, value in document.value[section][index].items()
            }
            kept.setdefault(str(section), []).append(entry)
    left = {name for _, names in named for name in names} - set(gone)
    cells = _keyed(reader)
    if cells:
        kept[CELLS] = {n: "\n".join(ids) + "\n" for n, ids in cells.items() if n in left}
    return kept, tuple(gone)


def _spelt(reader: _Reader, place: Place, value: Any) -> Any:
    """Give a value of an entry; an id, or a list of ids, letter by letter."""
    if _brought(str(place[-1])) == "cluster":
        return _as_written(reader, place, value)
    if _brought(str(place[-1])) == "clusters":
        return [_as_written(reader, (*place, i), one) for i, one in enumerate(value)]
    return value
