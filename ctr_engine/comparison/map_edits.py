"""What was edited in a marker map, cell type by cell type."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ctr_engine.comparison.state import Edit, State
from ctr_engine.keys import PATH_SEPARATOR

MapEdit = tuple[str, Any, Any, Edit, Edit]
"""Name, value before, value after, the edit, and the edit back."""
Node = dict[str, Any]

_ROOTS = "the roots"
_PARTS = {
    "markers": "markers of",
    "anti_markers": "anti_markers of",
    "gating_overrides": "gating_overrides of",
    "ontology_id": "ontology_id of",
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
    original = {new: old for old, new in renamed.items()}
    # both names of a renamed one, for its sibling may be put back before it is renamed
    orders = [_with_both_names(before, renamed), _with_both_names(after, original)]
    for old, new in renamed.items():
        name = f"{_path(place, old)} renamed"
        edit, undo = _rename(place, old, new, after[new]), _rename(place, new, old, before[old])
        yield name, old, new, edit, undo
    for label in [x for x in before if x not in after and x not in renamed]:
        name = f"{_path(place, label)} removed"
        put = _put(place, label, before[label], orders[0])
        yield name, _summary(before[label]), None, _remove(place, label), put
    for label in [x for x in after if x not in before and x not in renamed.values()]:
        name = f"{_path(place, label)} added"
        put = _put(place, label, after[label], orders[1])
        yield name, None, _summary(after[label]), put, _remove(place, label)
    kept = [label for label in before if label in after or label in renamed]
    now = [original[x] if x in original else x for x in after if x in before or x in original]
    if kept != now:
        below = PATH_SEPARATOR.join(place)
        name = f"order of {below!r}" if below == _ROOTS else f"order of {below or _ROOTS}"
        edit, undo = _reorder(place, orders[1]), _reorder(place, orders[0])
        yield name, list(before), list(after), edit, undo
    for label in [label for label in before if label in after]:
        yield from _node((*place, label), before[label], after[label])


def _with_both_names(labels: Iterable[str], other: Mapping[str, str]) -> list[str]:
    """Labels in their order, each followed by its other name where it has one."""
    return [name for x in labels for name in ([x, other[x]] if x in other else [x])]


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


def _remove(place: tuple[str, ...], label: str) -> Edit:
    return _edited(place, lambda nodes: {k: v for k, v in nodes.items() if k != label})


def _put(place: tuple[str, ...], label: str, node: Node, order: Sequence[str]) -> Edit:
    """Put a cell type behind the nearest sibling that stands before it in ``order``."""

    def change(nodes: dict[str, Node]) -> dict[str, Node]:
        before = [x for x in order[: order.index(label)] if x in nodes]
        known = [x for x in nodes if x != label]
        at = known.index(before[-1]) + 1 if before else 0
        return {x: node if x == label else nodes[x] for x in [*known[:at], label, *known[at:]]}

    return _edited(place, change)


def _rename(place: tuple[str, ...], old: str, new: str, node: Node) -> Edit:
    """Put a cell type in the place of another one."""

    def change(nodes: dict[str, Node]) -> dict[str, Node]:
        return {(new if x == old else x): (node if x == old else nodes[x]) for x in nodes}

    return _edited(place, change)


def _reorder(place: tuple[str, ...], order: Sequence[str]) -> Edit:
    """Sort the siblings that ``order`` names among the places that they have."""

    def change(nodes: dict[str, Node]) -> dict[str, Node]:
        named = iter(sorted((x for x in nodes if x in order), key=order.index))
        return {x: nodes[x] for x in (next(named) if y in order else y for y in nodes)}

    return _edited(place, change)


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
