"""What was edited in a marker map, cell type by cell type."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ctr_engine.comparison.state import Edit, State
from ctr_engine.keys import PATH_SEPARATOR

MapEdit = tuple[str, Any, Any, Edit, Edit]
"""Name, value before, value after, the edit, and the edit back."""
Node = dict[str, Any]

_PARTS = {
    "markers": "markers of",
    "anti_markers": "anti_markers of",
    "gating_overrides": "gating_overrides of",
}


def map_edits(a: State, b: State) -> Iterator[MapEdit]:
    """Yield every edit that leads from the map of ``a`` to that of ``b``.

    A cell type that was added or removed comes with all below it; one that stands under another
    label with the same markers beside the same siblings was renamed.
    """
    before, after = a.marker_map, b.marker_map
    yield from _level((), _cell_types(before), _cell_types(after))
    aliases = [side["_aliases"] if "_aliases" in side else {} for side in (before, after)]
    if aliases[0] != aliases[1]:
        edit, undo = _set_aliases(aliases[1]), _set_aliases(aliases[0])
        yield ("_aliases", *aliases, edit, undo)


def _level(
    place: tuple[str, ...], before: Mapping[str, Node], after: Mapping[str, Node]
) -> Iterator[MapEdit]:
    renamed = _renamed(before, after)
    for old, new in renamed.items():
        name = f"{_path(place, old)} renamed"
        order, back = list(after), list(before)
        yield (
            name,
            old,
            new,
            _replace(place, old, new, after[new], order),
            _replace(place, new, old, before[old], back),
        )
    for label in [x for x in before if x not in after and x not in renamed]:
        name = f"{_path(place, label)} removed"
        put = _put(place, label, before[label], list(before))
        yield name, _summary(before[label]), None, _remove(place, label), put
    for label in [x for x in after if x not in before and x not in renamed.values()]:
        name = f"{_path(place, label)} added"
        put = _put(place, label, after[label], list(after))
        yield name, None, _summary(after[label]), put, _remove(place, label)
    both = [label for label in before if label in after]
    if both != [label for label in after if label in before]:
        name = f"order of {_path(place, '').removesuffix(PATH_SEPARATOR) or 'the roots'}"
        lists = (list(before), list(after))
        yield (name, *lists, _reorder(place, lists[1]), _reorder(place, lists[0]))
    for label in both:
        yield from _node((*place, label), before[label], after[label])


def _node(place: tuple[str, ...], before: Node, after: Node) -> Iterator[MapEdit]:
    for part, words in _PARTS.items():
        old, new = (side[part] if part in side else None for side in (before, after))
        if old != new:
            name = f"{words} {PATH_SEPARATOR.join(place)}"
            yield name, old, new, _set_part(place, part, new), _set_part(place, part, old)
    yield from _level(place, _children(before), _children(after))


def _renamed(before: Mapping[str, Node], after: Mapping[str, Node]) -> dict[str, str]:
    """Labels that only the first has, with those that only the second has and that equal them."""
    pairs: dict[str, str] = {}
    for old in [label for label in before if label not in after]:
        twins = [
            new
            for new in after
            if new not in before
            and new not in pairs.values()
            and _meaning(after[new]) == _meaning(before[old])
        ]
        if twins:
            pairs[old] = twins[0]
    return pairs


def _meaning(node: Node) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in ("description", "ontology_id")}


def _summary(node: Node) -> str:
    below = len(_children(node))
    markers = ", ".join(node["markers"])
    return f"{markers} ({below} below)" if below else markers


def _cell_types(content: Mapping[str, Any]) -> dict[str, Node]:
    return {label: node for label, node in content.items() if not label.startswith("_")}


def _children(node: Node) -> dict[str, Node]:
    return node["subtypes"] if "subtypes" in node else {}


def _path(place: Sequence[str], label: str) -> str:
    return PATH_SEPARATOR.join([*place, label])


def _edited(place: tuple[str, ...], change: Any) -> Edit:
    """Edit the siblings at a place; where the place is gone, there is nothing to edit."""

    def edit(content: dict[str, Any]) -> dict[str, Any]:
        siblings: dict[str, Any] | None = content
        for label in place:
            if siblings is None or label not in siblings:
                return content
            node = siblings[label]
            siblings = node.setdefault("subtypes", {})
        assert siblings is not None
        special = {key: value for key, value in siblings.items() if key.startswith("_")}
        changed = special | change(_cell_types(siblings))
        siblings.clear()
        siblings.update(changed)
        return _without_empty(content)

    return lambda state: state.with_map(edit)


def _without_empty(content: dict[str, Any]) -> dict[str, Any]:
    """Drop tables of children that have become empty."""
    for node in _cell_types(content).values():
        if "subtypes" in node:
            _without_empty(node["subtypes"])
            if not node["subtypes"]:
                del node["subtypes"]
    return content


def _sorted(siblings: Mapping[str, Node], order: Sequence[str]) -> dict[str, Node]:
    """Siblings in an order; those that it does not name keep their place at the end."""
    known = [label for label in order if label in siblings]
    return {label: siblings[label] for label in [*known, *(x for x in siblings if x not in known)]}


def _remove(place: tuple[str, ...], label: str) -> Edit:
    return _edited(place, lambda nodes: {k: v for k, v in nodes.items() if k != label})


def _put(place: tuple[str, ...], label: str, node: Node, order: Sequence[str]) -> Edit:
    return _edited(place, lambda nodes: _sorted({**nodes, label: node}, order))


def _replace(place: tuple[str, ...], old: str, new: str, node: Node, order: Sequence[str]) -> Edit:
    def change(nodes: dict[str, Node]) -> dict[str, Node]:
        rest = {k: v for k, v in nodes.items() if k != old}
        return _sorted({**rest, new: node}, order)

    return _edited(place, change)


def _reorder(place: tuple[str, ...], order: Sequence[str]) -> Edit:
    return _edited(place, lambda nodes: _sorted(nodes, order))


def _set_part(place: tuple[str, ...], part: str, value: Any) -> Edit:
    *above, label = place

    def change(nodes: dict[str, Node]) -> dict[str, Node]:
        if label in nodes:
            rest = {k: v for k, v in nodes[label].items() if k != part}
            nodes[label] = rest if value is None else {**rest, part: value}
        return nodes

    return _edited(tuple(above), change)


def _set_aliases(aliases: Mapping[str, Any]) -> Edit:
    def edit(content: dict[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in content.items() if key != "_aliases"}
        return {"_aliases": dict(aliases), **rest} if aliases else rest

    return lambda state: state.with_map(edit)
