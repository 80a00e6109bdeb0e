"""From the text of a marker map to a :class:`MarkerMap`; all faults are raised together."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from ctr_engine.documents import Document, Place, parse_document
from ctr_engine.errors import ConfigError, Fault, MarkerMapError
from ctr_engine.keys import PATH_SEPARATOR, ROOT_SEPARATOR, UNASSIGNED, UNCERTAIN
from ctr_engine.markers.gating_params import PER_LEVEL, PER_ROOT, GatingParams, flatten_levels
from ctr_engine.markers.hierarchy import CellType, GatingOverrides, MarkerMap
from ctr_engine.params import faults_of

METADATA, GATING, ALIASES = "_marker_map_metadata", "_gating_params", "_aliases"
SPECIAL_KEYS = (METADATA, GATING, ALIASES)
EDITOR_KEY = "$schema"
SPELLINGS = {
    "markers": ("markers",),
    "anti_markers": ("anti_markers", "Anti_markers"),
    "subtypes": ("subtypes", "children"),
    "gating_overrides": ("gating_overrides",),
    "ontology_id": ("ontology_id",),
    "description": ("description",),
}
NODE_KEYS = tuple(name for names in SPELLINGS.values() for name in names)
ONTOLOGY_ID = re.compile(r"CL:[0-9]{7}")
_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode categories that nobody can see in a name: controls, formats, surrogates, breaks."""


def parse_marker_map(text: str, source: str) -> MarkerMap:
    """Read a marker map.

    Parameters
    ----------
    text
        Content of the file.
    source
        Its name, for errors; ``.yaml`` and ``.yml`` are read as YAML, anything else as JSON.

    Raises
    ------
    MarkerMapError
        With every fault of the file, each with its line and the path of its cell type.
    """
    try:
        document = parse_document(text, source)
    except ConfigError as error:
        raise MarkerMapError(error.source, error.faults) from None
    try:
        return _Parser(document).marker_map()
    except RecursionError:
        raise MarkerMapError(source, [Fault("is nested too deeply to be read")]) from None


@dataclass
class _Parser:
    document: Document
    faults: list[Fault] = field(default_factory=list)

    def fault(self, message: str, place: Place, where: str) -> None:
        self.faults.append(Fault(message, where, self.document.line(place)))

    def marker_map(self) -> MarkerMap:
        raw = self.document.value
        if not isinstance(raw, Mapping):
            fault = Fault("is not a table of cell types", line=self.document.line(()))
            raise MarkerMapError(self.document.source, [fault])
        self._duplicates()
        for key in raw:
            if key.startswith("_") and key not in SPECIAL_KEYS:
                self.fault(f"unknown key; {_nearest(key, SPECIAL_KEYS)}", (key,), key)
        labels = {k: v for k, v in raw.items() if not k.startswith("_") and k != EDITOR_KEY}
        roots = self._siblings(labels, (), None)
        if not roots and not self.faults:
            self.fault("holds no cell type", (), "")
        gating = self._gating(raw[GATING] if GATING in raw else {}, roots)
        aliases = self._aliases(raw[ALIASES] if ALIASES in raw else {})
        metadata = raw[METADATA] if METADATA in raw else {}
        if not isinstance(metadata, Mapping):
            self.fault("is not a table", (METADATA,), METADATA)
        if self.faults:
            raise MarkerMapError(self.document.source, self.faults)
        return MarkerMap(self.document.source, roots, gating, aliases, metadata)

    def _duplicates(self) -> None:
        for place, line in self.document.duplicates:
            around = PATH_SEPARATOR.join(str(p) for p in place[:-1] if p not in NODE_KEYS)
            holder = place[-2] if len(place) > 1 else None
            is_label = holder in (None, *SPELLINGS["subtypes"]) and place[-1] != EDITOR_KEY
            in_settings = str(place[0]).startswith("_")
            what = "label" if is_label and not in_settings else "key"
            message = f"{what} {place[-1]!r} is given twice in the same table"
            self.faults.append(Fault(message, around, line))

    def _siblings(self, raw: object, place: Place, parent: str | None) -> tuple[CellType, ...]:
        if not isinstance(raw, Mapping):
            self.fault("is not a table of cell types", place, parent or "")
            return ()
        nodes = [self._node(label, raw[label], (*place, label), parent) for label in raw]
        return tuple(node for node in nodes if node is not None)

    def _node(self, label: str, raw: object, place: Place, parent: str | None) -> CellType | None:
        path = label if parent is None else PATH_SEPARATOR.join([parent, label])
        for message in _label_faults(label):
            self.fault(message, place, path)
        if not isinstance(raw, Mapping):
            self.fault('is not a cell type; write {"markers": [...]}', place, path)
            return None
        parts = self._parts(raw, place, path)
        markers = self._names(parts["markers"], path) if "markers" in parts else ()
        if "markers" not in parts or (not markers and parts["markers"][0] == []):
            self.fault("has no markers", place, path)
        anti = self._names(parts["anti_markers"], path) if "anti_markers" in parts else ()
        for name in sorted(set(markers) & set(anti)):
            self.fault(f"{name!r} is both a marker and an anti-marker", place, path)
        children: tuple[CellType, ...] = ()
        if "subtypes" in parts:
            children = self._siblings(*parts["subtypes"], path)
        return CellType(
            label=label,
            path=path,
            level=0 if parent is None else parent.count(PATH_SEPARATOR) + 1,
            markers=markers,
            anti_markers=anti,
            overrides=self._overrides(parts, path),
            ontology_id=self._text(parts, "ontology_id", path),
            description=self._text(parts, "description", path),
            children=children,
        )

    def _parts(
        self, raw: Mapping[str, Any], place: Place, path: str
    ) -> dict[str, tuple[Any, Place]]:
        """Values of the node by the one name of each key, with their places."""
        for key in raw:
            if key not in NODE_KEYS:
                self.fault(f"unknown key {key!r}; {_nearest(key, NODE_KEYS)}", (*place, key), path)
        parts: dict[str, tuple[Any, Place]] = {}
        for name, spellings in SPELLINGS.items():
            given = [spelling for spelling in spellings if spelling in raw]
            if len(given) > 1:
                both = " and ".join(map(repr, given))
                self.fault(f"{both} are two spellings of one key", (*place, given[1]), path)
            if given:
                parts[name] = (raw[given[0]], (*place, given[0]))
        return parts

    def _names(self, part: tuple[Any, Place], path: str) -> tuple[str, ...]:
        raw, place = part
        if not isinstance(raw, list):
            self.fault(f"{place[-1]!r} is not a list of names", place, path)
            return ()
        seen: list[str] = []
        for i, name in enumerate(raw):
            if not isinstance(name, str) or not name.strip() or has_control(name):
                self.fault(f"{name!r} is not the name of a marker", (*place, i), path)
            elif name in seen:
                self.fault(f"{name!r} is listed twice", (*place, i), path)
            else:
                seen.append(name)
        return tuple(seen)

    def _text(self, parts: Mapping[str, tuple[Any, Place]], name: str, path: str) -> str | None:
        if name not in parts or parts[name][0] is None:
            return None
        value, place = parts[name]
        if not isinstance(value, str):
            self.fault(f"{name!r} is not text", place, path)
            return None
        if name == "ontology_id" and not ONTOLOGY_ID.fullmatch(value):
            self.fault(f"{value!r} is no Cell Ontology term, such as 'CL:0000084'", place, path)
        return value

    def _overrides(self, parts: Mapping[str, tuple[Any, Place]], path: str) -> GatingOverrides:
        if "gating_overrides" not in parts:
            return GatingOverrides()
        raw, place = parts["gating_overrides"]
        try:
            return GatingOverrides.model_validate(raw)
        except ValidationError as error:
            for fault in faults_of(
                error, GatingOverrides, lambda loc: self.document.line(place + loc)
            ):
                where = ", ".join(p for p in (path, "gating_overrides", fault.where) if p)
                self.faults.append(Fault(fault.message, where, fault.line))
            return GatingOverrides()

    def _gating(self, raw: object, roots: tuple[CellType, ...]) -> GatingParams:
        if not isinstance(raw, Mapping):
            self.fault("is not a table of parameters", (GATING,), GATING)
            return GatingParams()
        flat, twice = flatten_levels(raw)
        for key, message in twice:
            self.fault(message, (GATING, *key.split(".")), f"{GATING}, {key}")
        self._root_rules(flat, roots)
        try:
            return GatingParams.model_validate(flat)
        except ValidationError as error:
            for fault in faults_of(error, GatingParams, self._gating_line):
                self.faults.append(Fault(fault.message, f"{GATING}, {fault.where}", fault.line))
            return GatingParams()

    def _gating_line(self, loc: Place) -> int | None:
        if len(loc) > 1 and loc[0] in PER_LEVEL:
            loc = (loc[0], str(loc[1]))
            if (GATING, *loc) not in self.document.lines:
                loc = ("level_defaults", loc[1], loc[0])
        return self.document.line((GATING, *loc))

    def _root_rules(self, flat: Mapping[str, Any], roots: tuple[CellType, ...]) -> None:
        labels = [root.label for root in roots]
        for rule in PER_ROOT:
            given = flat[rule] if rule in flat else {}
            for label in given if isinstance(given, Mapping) else ():
                if label not in labels:
                    message = f"{label!r} is not a root; the roots are {', '.join(labels)}"
                    self.fault(message, (GATING, rule, label), f"{GATING}, {rule}")

    def _aliases(self, raw: object) -> dict[str, tuple[str, ...]]:
        if not isinstance(raw, Mapping):
            self.fault("is not a table of names", (ALIASES,), ALIASES)
            return {}
        for key in raw:
            if not key.strip() or has_control(key):
                self.fault(f"{key!r} is not the name of a marker", (ALIASES, key), ALIASES)
        return {
            key: self._names((names, (ALIASES, key)), f"{ALIASES}, {key}")
            for key, names in raw.items()
        }


def has_control(name: str) -> bool:
    """Whether a name holds a character that cannot be seen."""
    return any(unicodedata.category(character) in _INVISIBLE for character in name)


def _label_faults(label: str) -> list[str]:
    checks = [
        (not label.strip(), "the label is empty"),
        (label != label.strip(), "the label starts or ends with a space"),
        (label.startswith("_"), "the label starts with '_', which is kept for settings"),
        (
            PATH_SEPARATOR in f" {label} ",
            f"the label holds {PATH_SEPARATOR!r}, which separates a path",
        ),
        (ROOT_SEPARATOR in label, "the label holds '~', which joins ambiguous roots"),
        ("," in label, "the label holds ',', which separates labels in a flag"),
        (has_control(label), "the label holds a control or an invisible character"),
        (label in (UNASSIGNED, UNCERTAIN), f"{label!r} is taken: it means that there is no label"),
    ]
    return [message for wrong, message in checks if wrong]


def _nearest(key: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
