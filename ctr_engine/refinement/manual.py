"""The plan that a person writes: both forms of the file, every fault with its line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ctr_engine.documents import Document
from ctr_engine.errors import ConfigError, Fault, ParameterError
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.refinement.plan import Merge, Override, Relabel, Subcluster

AnyOperation = Override | Merge | Subcluster | Relabel
Place = tuple[str | int, ...]

SECTIONS = {
    "overrides": "override",
    "merge": "merge",
    "subcluster": "subcluster",
    "relabel": "relabel",
    "skip": "skip",
}
"""Sections of the file, and the action of each entry in it."""
_NAMES = {
    "cluster_id": "cluster",
    "source_clusters": "clusters",
    "cell_type": "label",
    "target_label": "label",
    "new_label": "label",
}
"""Names of the sectioned form, and those of the other one."""
_KEYS = {
    "override": {"cluster", "label", "new", "reason"},
    "merge": {"clusters", "label", "new", "reason"},
    "subcluster": {"cluster", "resolution", "reason"},
    "relabel": {"cluster", "label", "reason"},
    "skip": {"cluster", "reason"},
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
    """Operations of the file, and the clusters that it leaves alone."""

    operations: tuple[AnyOperation, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass
class _Reader:
    """Reads one file and gathers its faults."""

    document: Document
    marker_map: MarkerMap
    clusters: Sequence[str]
    resolution: float
    faults: list[Fault] = field(default_factory=list)
    named: dict[str, Place] = field(default_factory=dict)

    def fault(self, place: Place, message: str) -> None:
        """Note a fault with its place and line."""
        where = ".".join(map(str, place))
        self.faults.append(Fault(message, where, self.document.line(place)))


def read_manual(
    document: Document, marker_map: MarkerMap, clusters: Sequence[str], resolution: float
) -> ManualPlan:
    """Read the content of a manual file.

    Parameters
    ----------
    clusters
        Ids that exist.
    resolution
        Resolution of a subclustering that names none.

    Raises
    ------
    ConfigError
        With every fault: an unknown key or action, a cluster that does not exist or is named
        twice, a label that is neither in the map nor marked ``new: true``.
    """
    reader = _Reader(document, marker_map, clusters, resolution)
    operations: list[AnyOperation] = []
    skipped: list[str] = []
    for place, action, entry in _entries(reader):
        ids = _clusters(reader, place, action, entry)
        operation = _operation(reader, place, action, entry, ids)
        if operation is not None:
            operations.append(operation)
        elif action == "skip":
            skipped.extend(ids)
    if reader.faults:
        raise ConfigError(document.source, reader.faults)
    return ManualPlan(tuple(operations), tuple(skipped))


def _entries(reader: _Reader) -> Iterator[tuple[Place, str, dict[str, Any]]]:
    """Yield every entry of both forms with its place and action, names brought to one form."""
    content = reader.document.value
    if not isinstance(content, dict):
        if content is not None:
            reader.fault((), f"is a table of {', '.join(SECTIONS)} or refinements")
        return
    for key, entries in content.items():
        if key == "version":
            continue
        if key not in SECTIONS and key != "refinements":
            known = [*SECTIONS, "refinements", "version"]
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
        entry = {_NAMES[name] if name in _NAMES else name: value for name, value in raw.items()}
        if key in SECTIONS:
            action = SECTIONS[key]
        else:
            action = entry.pop("action", None)
            if action not in _KEYS:
                reader.fault(place, f"unknown action {action!r}. {_hint(str(action), list(_KEYS))}")
                continue
        unknown = [name for name in raw if _brought(name) not in {*_KEYS[action], "action"}]
        for name in unknown:
            known = sorted(_KEYS[action])
            reader.fault((*place, name), f"unknown key {name!r}. {_hint(name, known)}")
        missing = [name for name in _NEEDED[action] if name not in entry]
        for name in missing:
            reader.fault(place, f"a {action} needs {name!r}")
        if not unknown and not missing:
            yield place, action, entry


def _brought(name: str) -> str:
    return _NAMES[name] if name in _NAMES else name


def _hint(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def _clusters(reader: _Reader, place: Place, action: str, entry: dict[str, Any]) -> tuple[str, ...]:
    """Ids of an entry as text; each exists and is named once in the file."""
    raw = entry["clusters"] if action == "merge" else [entry["cluster"]]
    if not isinstance(raw, list) or (action == "merge" and len(raw) < 2):
        reader.fault(place, "clusters is a list of two or more")
        return ()
    ids = tuple(_text(value) for value in raw)
    for name in ids:
        if name not in reader.clusters:
            some = ", ".join(reader.clusters[:12]) + (", ..." if len(reader.clusters) > 12 else "")
            reader.fault(place, f"there is no cluster {name!r}; there are: {some}")
        elif name in reader.named:
            line = reader.document.line(reader.named[name])
            reader.fault(place, f"cluster {name!r} is named twice, first in line {line}")
        else:
            reader.named[name] = place
    return ids


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _operation(
    reader: _Reader, place: Place, action: str, entry: dict[str, Any], ids: tuple[str, ...]
) -> AnyOperation | None:
    """Make the operation of an entry; None for a skip, and where there is a fault."""
    if action == "skip" or not ids:
        return None
    reason = None if "reason" not in entry or entry["reason"] is None else str(entry["reason"])
    given: dict[str, Any] = {"source": "manual", "reason": reason}
    if action == "subcluster":
        resolution = _resolution(reader, place, entry)
        if resolution is None:
            return None
        return Subcluster(**given, cluster=ids[0], resolution=resolution)
    scored = action == "merge" and ("label" not in entry or entry["label"] is None)
    found = (None, None) if scored else _label(reader, place, action, entry)
    if found is None:
        return None
    if action == "merge":
        return Merge(**given, clusters=ids, label=found[0], path=found[1])
    make = Override if action == "override" else Relabel
    return make(**given, cluster=ids[0], label=found[0], path=found[1])


def _resolution(reader: _Reader, place: Place, entry: dict[str, Any]) -> float | None:
    value = entry["resolution"] if "resolution" in entry else reader.resolution
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        reader.fault((*place, "resolution"), f"is a number above 0; got {value!r}")
        return None
    return float(value)


def _label(
    reader: _Reader, place: Place, action: str, entry: dict[str, Any]
) -> tuple[str, str | None] | None:
    """Label and path of an entry; a new label has no path."""
    label, is_new = entry["label"], "new" in entry and entry["new"] is True
    if "new" in entry and not isinstance(entry["new"], bool):
        reader.fault((*place, "new"), f"is true or false; got {entry['new']!r}")
        return None
    if not isinstance(label, str) or not label.strip():
        reader.fault(place, f"the label is text; got {label!r}")
        return None
    try:
        node = reader.marker_map.find(label)
    except ParameterError as error:
        if is_new and label not in {node.label for node in reader.marker_map.nodes}:
            return label, None
        more = " Add new: true to make one." if action in ("override", "merge") else ""
        reader.fault(place, f"{error}{more}")
        return None
    return node.label, node.path
