"""The marker map as a flat list of nodes, in the order of the map (depth first).

Source: stage-h.md, "Marker map". Faults of the map are not the business of this oracle.
"""

from dataclasses import dataclass, field

from .names import alias_groups, resolve


@dataclass
class Node:
    """One cell type. ``markers`` and ``anti`` are spelt as in the map, the rest are columns."""

    label: str
    path: str
    level: int
    parent: str | None
    markers: list[str]
    resolved: list[str]
    missing: list[str]
    anti_resolved: list[str]
    overrides: dict
    children: list[str] = field(default_factory=list)


def one_of(body: dict, first: str, second: str) -> list | dict | None:
    """Return the value under either spelling of a key, None where neither stands."""
    if first in body:
        return body[first]
    if second in body:
        return body[second]
    return None


def split_names(
    names: list[str], panel: list[str], groups: list[set[str]]
) -> tuple[list[str], list[str]]:
    """Columns of the names that resolve, and the names that do not, each in order."""
    found, missing = [], []
    for name in names:
        column = resolve(name, panel, groups)
        if column is None:
            missing.append(name)
        else:
            found.append(column)
    return found, missing


def build_nodes(marker_map: dict, panel: list[str]) -> dict[str, Node]:
    """All nodes by path, in the order of the map; keys with a leading ``_`` are no nodes."""
    groups = alias_groups(marker_map)
    nodes: dict[str, Node] = {}

    def visit(label: str, body: dict, parent: Node | None) -> None:
        path = label if parent is None else f"{parent.path} / {label}"
        anti = one_of(body, "anti_markers", "Anti_markers")
        resolved, missing = split_names(body["markers"], panel, groups)
        anti_resolved, _ = split_names(anti if anti is not None else [], panel, groups)
        node = Node(
            label=label,
            path=path,
            level=0 if parent is None else parent.level + 1,
            parent=None if parent is None else parent.path,
            markers=body["markers"],
            resolved=resolved,
            missing=missing,
            anti_resolved=anti_resolved,
            overrides=body["gating_overrides"] if "gating_overrides" in body else {},
        )
        nodes[path] = node
        if parent is not None:
            parent.children.append(path)
        below = one_of(body, "subtypes", "children")
        for child_label, child_body in (below if below is not None else {}).items():
            visit(child_label, child_body, node)

    for label, body in marker_map.items():
        if not label.startswith("_"):
            visit(label, body, None)
    return nodes


def root_paths(nodes: dict[str, Node]) -> list[str]:
    """Paths of level 0, in the order of the map."""
    return [path for path, node in nodes.items() if node.parent is None]


def subtree_columns(nodes: dict[str, Node], path: str) -> set[str]:
    """Panel columns of the markers of a node and of everything below it."""
    columns = set(nodes[path].resolved)
    for child in nodes[path].children:
        columns = columns | subtree_columns(nodes, child)
    return columns
