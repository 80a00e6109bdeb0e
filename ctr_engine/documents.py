"""Reads JSON and YAML with the line of every value, and sees keys that are given twice.

The parsers of the standard library and of PyYAML keep the last of two equal keys and forget where a
value stood; an error for a person needs both. Types follow YAML 1.2: ``no``, ``on`` and ``3:0`` are
text.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from ctr_engine.errors import ConfigError, Fault

Place = tuple[str | int, ...]
_MAX_VALUES = 1_000_000


@dataclass
class Document:
    """The content of a file and where each part of it stands.

    ``texts`` has every number and truth value as it is written: ``1.10`` may be a name.
    """

    source: str
    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    texts: dict[Place, str] = field(default_factory=dict)
    duplicates: list[tuple[Place, int]] = field(default_factory=list)

    def line(self, place: Place) -> int | None:
        """Line of a value, else of the nearest one around it."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return None


def parse_document(text: str, source: str) -> Document:
    """Parse the text of a JSON or YAML file.

    Parameters
    ----------
    text
        Content of the file.
    source
        Its name, for errors; one that ends in ``.yaml`` or ``.yml`` is YAML, any other JSON.

    Raises
    ------
    ConfigError
        If the text is not well formed; with the line.
    """
    document = Document(source)
    try:
        if source.lower().endswith((".yaml", ".yml")):
            _read_yaml(text, document)
        else:
            _read_json(text, document)
    except RecursionError:
        raise ConfigError(source, [Fault("is nested too deeply to be read")]) from None
    return document


class _Yaml12Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  PyYAML's own class attribute


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", [*"-+0123456789"]),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", [*"-+.0123456789"]),
):
    _Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def _read_yaml(text: str, document: Document) -> None:
    loader = None
    try:
        loader = _Yaml12Loader(text)
        node = loader.get_single_node()
        budget = iter(range(_MAX_VALUES))
        document.value = None if node is None else _yaml_value(node, (), document, loader, budget)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        fault = Fault(f"is not valid YAML: {error.problem}", line=line)
        raise ConfigError(document.source, [fault]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(document.source, [Fault(f"is not valid YAML: {error}")]) from None
    finally:
        if loader is not None:
            loader.dispose()


def _yaml_value(
    node: yaml.Node, place: Place, document: Document, loader: _Yaml12Loader, budget: Iterator[int]
) -> Any:
    if next(budget, None) is None:
        fault = Fault(f"holds more than {_MAX_VALUES:,} values (anchors that refer to each other?)")
        raise ConfigError(document.source, [fault])
    document.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                fault = Fault("a key is a list or a table", line=key_node.start_mark.line + 1)
                raise ConfigError(document.source, [fault])
            key = str(key_node.value)
            inner = (*place, key)
            _note_key(document, mapping, inner, key_node.start_mark.line + 1)
            mapping[key] = _yaml_value(value_node, inner, document, loader, budget)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [
            _yaml_value(item, (*place, i), document, loader, budget)
            for i, item in enumerate(node.value)
        ]
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    implied = loader.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]
    if node.tag not in (implied, "tag:yaml.org,2002:str"):
        fault = Fault(f"the tag {node.tag!r} is not read", line=node.start_mark.line + 1)
        raise ConfigError(document.source, [fault])
    value = loader.construct_object(node)
    if not isinstance(value, str):
        document.texts[place] = str(node.value)
    return value


def _note_key(document: Document, mapping: dict[str, Any], place: Place, line: int) -> None:
    if place[-1] in mapping:
        document.duplicates.append((place, line))
    else:
        document.lines[place] = line


def _read_json(text: str, document: Document) -> None:
    def refuse(name: str) -> None:
        msg = f"{name} is not a number of JSON"
        raise ValueError(msg)

    try:
        json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        fault = Fault(f"is not valid JSON: {error.msg} (column {error.colno})", line=error.lineno)
        raise ConfigError(document.source, [fault]) from None
    except ValueError as error:
        raise ConfigError(document.source, [Fault(f"is not valid JSON: {error}")]) from None
    document.value = _JsonWalk(text, document).value(())


class _JsonWalk:
    """Second walk over text that is known to be valid JSON: notes lines and repeated keys."""

    _space = re.compile(r"[ \t\n\r]*")
    _atom = re.compile(r"[^\s,\]}]+")

    def __init__(self, text: str, document: Document) -> None:
        self.text, self.document, self.at = text, document, 0
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def _next(self) -> str:
        match = self._space.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at]

    def _line(self) -> int:
        return bisect_right(self.starts, self.at)

    def _string(self) -> str:
        value, self.at = json.decoder.scanstring(self.text, self.at + 1, True)  # type: ignore[attr-defined]
        return str(value)

    def value(self, place: Place) -> Any:
        char = self._next()
        self.document.lines.setdefault(place, self._line())
        if char == "{":
            return self._object(place)
        if char == "[":
            return self._array(place)
        if char == '"':
            return self._string()
        match = self._atom.match(self.text, self.at)
        atom = match.group() if match else ""
        self.at += len(atom)
        self.document.texts[place] = atom
        return json.loads(atom)

    def _object(self, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        self.at += 1
        while self._next() != "}":
            if self.text[self.at] == ",":
                self.at += 1
                self._next()
            line = self._line()
            key = self._string()
            self._next()
            self.at += 1
            _note_key(self.document, mapping, (*place, key), line)
            mapping[key] = self.value((*place, key))
        self.at += 1
        return mapping

    def _array(self, place: Place) -> list[Any]:
        items: list[Any] = []
        self.at += 1
        while self._next() != "]":
            if self.text[self.at] == ",":
                self.at += 1
            items.append(self.value((*place, len(items))))
        self.at += 1
        return items
