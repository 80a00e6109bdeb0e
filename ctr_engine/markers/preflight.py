"""What a marker map and a panel have to say to each other before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ctr_engine.markers.gating_params import EQUAL, GatingParams
from ctr_engine.markers.hierarchy import threshold_of
from ctr_engine.markers.panel import Resolution, ResolvedMap, ResolvedNode
from ctr_engine.markers.root_rules import RootRules, resolve_root_rules
from ctr_engine.tables import Preflight, from_rows


@dataclass(frozen=True)
class PreflightReport:
    """A :class:`~ctr_engine.tables.Preflight` table and the warnings about root rules."""

    table: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def unreachable(self) -> list[str]:
        """Paths of the cell types that no cluster can be given."""
        return list(self.table.loc[~self.table["reachable"], "path"])

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence about cell types that cannot be reached; none when all can."""
        lost = self.unreachable
        if not lost:
            return ()
        shown = ", ".join(repr(path) for path in lost[:5]) + (", ..." if len(lost) > 5 else "")
        every = "No cell type" if len(lost) == len(self.table) else "Not every cell type"
        what = "can be reached on this panel; out of reach:"
        return (f"{every} of the marker map {what} {shown}.",)


def preflight(resolved: ResolvedMap, gating: GatingParams) -> PreflightReport:
    """Report which markers the panel has and which cell types can be reached at all.

    Parameters
    ----------
    resolved
        The map on the panel.
    gating
        The gating parameters as they will be used.

    Raises
    ------
    PanelError
        If a root rule stands on a label that is no root.
    """
    rules = resolve_root_rules(resolved, gating)
    passable = _passable(resolved, gating, rules)
    reachable: list[bool] = []
    rows = []
    for row, node in enumerate(resolved.nodes):
        parent = node.node.parent_path
        above = parent is None or reachable[resolved.marker_map.row_of[parent]]
        reachable.append(above and passable[row])
        obstacle = None if reachable[row] else _obstacle(node, row, gating, rules, above)
        rows.append(_row(resolved, node, gating, obstacle))
    return PreflightReport(from_rows(Preflight, rows), rules.warnings)


def _passable(resolved: ResolvedMap, gating: GatingParams, rules: RootRules) -> list[bool]:
    """Whether each cell type can pass on this panel; through a child, where that is the rule."""
    passable = [False] * len(resolved.nodes)
    for row in reversed(range(len(resolved.nodes))):
        node = resolved.nodes[row]
        is_open = bool(node.positions) and not _lacks_requirement(row, rules)
        own = is_open and node.coverage >= threshold_of(node.node, gating, "min_coverage") - EQUAL
        inherits = gating.gate_inheritance and is_open
        children = resolved.marker_map.child_rows[row]
        passable[row] = own or (inherits and any(passable[child] for child in children))
    return passable


def _lacks_requirement(row: int, rules: RootRules) -> bool:
    return row in rules.requirements and rules.requirements[row].position is None


def _obstacle(
    node: ResolvedNode, row: int, gating: GatingParams, rules: RootRules, above: bool
) -> str:
    if not above:
        return "a cell type above it cannot be reached"
    if _lacks_requirement(row, rules):
        return f"the panel lacks the required marker {rules.requirements[row].rule.marker!r}"
    minimum = threshold_of(node.node, gating, "min_coverage")
    if node.coverage >= minimum:
        return "none of its markers is on the panel"
    return f"coverage {node.coverage:.2f} is below min_coverage {minimum:.2f}"


def _row(
    resolved: ResolvedMap, node: ResolvedNode, gating: GatingParams, obstacle: str | None
) -> dict[str, Any]:
    missing = _with_status(node.markers, "missing")
    return {
        "path": node.node.path,
        "level": node.node.level,
        "n_markers": len(node.markers),
        "coverage": node.coverage,
        "min_coverage": threshold_of(node.node, gating, "min_coverage"),
        "reachable": obstacle is None,
        "obstacle": obstacle,
        "resolved": [f"{r.name} = {r.column}" for r in node.markers if r.status == "resolved"],
        "missing": missing,
        "technical": _with_status(node.markers, "technical"),
        "dropped": _with_status(node.markers, "dropped"),
        "suggestions": _suggestions(resolved, missing),
        "anti_missing": [r.name for r in node.anti_markers if r.status != "resolved"],
    }


def _with_status(resolutions: Sequence[Resolution], status: str) -> list[str]:
    return [r.name for r in resolutions if r.status == status]


def _suggestions(resolved: ResolvedMap, missing: Sequence[str]) -> list[str]:
    near = {name: resolved.resolver.suggest(name) for name in missing}
    return [f"{name}: {', '.join(columns)}" for name, columns in near.items() if columns]
