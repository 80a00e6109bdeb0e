"""Finds the markers of a map among the columns of a sample.

A name is tried in four tiers; the first with a hit wins, and two hits in one tier are an error,
because a guess there would be a silent one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rapidfuzz import fuzz, process

from ctr_engine.errors import Fault, PanelError
from ctr_engine.markers.aliases import AliasGroups, builtin_aliases, normalise
from ctr_engine.markers.hierarchy import CellType, MarkerMap

Status = Literal["resolved", "missing", "technical", "dropped"]
Tier = Literal["exact", "normalised", "map_alias", "builtin_alias"]


@dataclass(frozen=True)
class Panel:
    """Columns of a sample: the usable markers, the technical ones, and those without variation."""

    markers: tuple[str, ...]
    technical: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resolution:
    """What became of one name of the map; ``position`` counts within the panel's markers."""

    name: str
    status: Status
    column: str | None = None
    position: int | None = None
    tier: Tier | None = None


@dataclass(frozen=True)
class ResolvedNode:
    """A cell type whose names have been looked up."""

    node: CellType
    markers: tuple[Resolution, ...]
    anti_markers: tuple[Resolution, ...]

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Panel positions of the resolved markers, in the order of the map."""
        return tuple(r.position for r in self.markers if r.position is not None)

    @cached_property
    def anti_positions(self) -> tuple[int, ...]:
        """Panel positions of the resolved anti-markers."""
        return tuple(r.position for r in self.anti_markers if r.position is not None)

    @property
    def coverage(self) -> float:
        """Resolved markers / defined markers."""
        return len(self.positions) / len(self.markers)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the markers that the panel does not have, as the map spells them."""
        return tuple(r.name for r in self.markers if r.position is None)


@dataclass(frozen=True)
class ResolvedMap:
    """A marker map on a panel; ``nodes`` in the order of ``marker_map.nodes``."""

    marker_map: MarkerMap
    panel: Panel
    nodes: tuple[ResolvedNode, ...]

    @cached_property
    def resolver(self) -> "Resolver":
        """Looks further names up, such as those of the root rules."""
        return Resolver(self.panel, self.marker_map.aliases)


class Resolver:
    """Looks names up among the columns of one panel."""

    def __init__(self, panel: Panel, aliases: Mapping[str, tuple[str, ...]]) -> None:
        self._status: dict[str, Status] = {
            **dict.fromkeys(panel.technical, "technical"),
            **dict.fromkeys(panel.dropped, "dropped"),
            **dict.fromkeys(panel.markers, "resolved"),
        }
        self._position = {column: i for i, column in enumerate(panel.markers)}
        self._columns: dict[str, list[str]] = {}
        for column in self._status:
            self._columns.setdefault(normalise(column), []).append(column)
        self._groups = (
            ("map_alias", AliasGroups.of_map(aliases)),
            ("builtin_alias", builtin_aliases()),
        )

    def resolve(self, name: str) -> Resolution:
        """Look a name up.

        Raises
        ------
        PanelError
            If two columns of the panel fit in the tier that decides.
        """
        for tier, columns in self._tiers(name):
            on_panel = [column for column in columns if self._status[column] == "resolved"]
            if len(on_panel) > 1:
                both = " and ".join(repr(column) for column in on_panel)
                message = (
                    f"{name!r} fits {both} of the panel equally well ({tier}); write the "
                    "column's name"
                )
                raise PanelError("marker map on the panel", [Fault(message)])
            if on_panel:
                return Resolution(name, "resolved", on_panel[0], self._position[on_panel[0]], tier)
            if columns:
                return Resolution(name, self._status[columns[0]], columns[0], None, tier)
        return Resolution(name, "missing")

    def suggest(self, name: str, limit: int = 3) -> tuple[str, ...]:
        """Closest names of the panel, best first; none when nothing is near.

        Names that begin with this one come first: a clone or a conjugate often follows.
        """
        wanted, known = normalise(name), {column: normalise(column) for column in self._position}
        longer = [column for column, text in known.items() if wanted and text.startswith(wanted)]
        hits = process.extract(wanted, known, scorer=fuzz.ratio, limit=limit, score_cutoff=60)
        return tuple(dict.fromkeys([*longer, *(column for _, _, column in hits)]))[:limit]

    def _tiers(self, name: str) -> list[tuple[Tier, list[str]]]:
        tiers: list[tuple[Tier, list[str]]] = [
            ("exact", [name] if name in self._status else []),
            ("normalised", self._with(normalise(name))),
        ]
        for tier, groups in self._groups:
            hits = [c for partner in sorted(groups.partners(name)) for c in self._with(partner)]
            tiers.append((tier, hits))  # type: ignore[arg-type]
        return tiers

    def _with(self, normalised: str) -> list[str]:
        return self._columns[normalised] if normalised in self._columns else []


def resolve_map(marker_map: MarkerMap, panel: Panel) -> ResolvedMap:
    """Look up every marker and anti-marker of a map.

    Raises
    ------
    PanelError
        With all faults together: a name that fits two columns, two markers of a cell type on one
        column.
    """
    resolver = Resolver(panel, marker_map.aliases)
    faults: list[Fault] = []
    nodes = tuple(_resolve_node(node, resolver, faults) for node in marker_map.nodes)
    if faults:
        raise PanelError(f"{marker_map.source} on the panel", faults)
    return ResolvedMap(marker_map, panel, nodes)


def _resolve_node(node: CellType, resolver: Resolver, faults: list[Fault]) -> ResolvedNode:
    markers = _resolve_names(node.markers, node.path, resolver, faults)
    anti = _resolve_names(node.anti_markers, node.path, resolver, faults)
    users: dict[str, list[str]] = {}
    for resolution in markers + anti:
        if resolution.status == "resolved" and resolution.column is not None:
            users.setdefault(resolution.column, []).append(resolution.name)
    for column, names in users.items():
        if len(names) > 1:
            both = " and ".join(map(repr, names))
            faults.append(
                Fault(f"{both} are the same column {column!r} of the panel; keep one", node.path)
            )
    return ResolvedNode(node, markers, anti)


def _resolve_names(
    names: tuple[str, ...], path: str, resolver: Resolver, faults: list[Fault]
) -> tuple[Resolution, ...]:
    found = []
    for name in names:
        try:
            found.append(resolver.resolve(name))
        except PanelError as error:
            faults.extend(Fault(fault.message, path) for fault in error.faults)
    return tuple(found)
