"""The rules of single roots, with their markers looked up on the panel."""

from dataclasses import dataclass

from ctr_engine.errors import Fault, PanelError
from ctr_engine.markers.gating_params import GatingParams, HardRequirement
from ctr_engine.markers.panel import ResolvedMap


@dataclass(frozen=True)
class ResolvedRequirement:
    """A hard requirement; ``position`` is None when the panel lacks the marker."""

    rule: HardRequirement
    position: int | None


@dataclass(frozen=True)
class ResolvedVeto:
    """A veto; absent markers are left out of ``markers`` (name, panel position)."""

    markers: tuple[tuple[str, int], ...]
    max_pos_frac: float


@dataclass(frozen=True)
class RootRules:
    """Rules by the row of their root in ``marker_map.nodes``; ``warnings`` name absent markers."""

    requirements: dict[int, ResolvedRequirement]
    vetoes: dict[int, ResolvedVeto]
    warnings: tuple[str, ...]


def resolve_root_rules(resolved: ResolvedMap, gating: GatingParams) -> RootRules:
    """Look the markers of the root rules up.

    Raises
    ------
    PanelError
        If a rule stands on a label that is no root of the map, or a name fits two columns.
    """
    rows = _root_rows(resolved, gating)
    requirements, vetoes, warnings = {}, {}, []
    for label, rule in gating.root_hard_requirements.items():
        found = resolved.resolver.resolve(rule.marker)
        requirements[rows[label]] = ResolvedRequirement(rule, found.position)
        if found.position is None:
            warnings.append(
                f"Root {label!r} requires the marker {rule.marker!r}, which is {found.status} on "
                "this "
                "panel: every cluster is refused there. Drop the requirement or add an alias."
            )
    for label, veto in gating.root_veto_markers.items():
        hits = [(name, resolved.resolver.resolve(name)) for name in veto.markers]
        present = tuple((name, hit.position) for name, hit in hits if hit.position is not None)
        vetoes[rows[label]] = ResolvedVeto(present, veto.max_pos_frac)
        warnings.extend(
            f"Root {label!r}: the veto marker {name!r} is {hit.status} on this panel and cannot "
            "veto."
            for name, hit in hits
            if hit.position is None
        )
    return RootRules(requirements, vetoes, tuple(warnings))


def _root_rows(resolved: ResolvedMap, gating: GatingParams) -> dict[str, int]:
    rows = {root.label: resolved.marker_map.row_of[root.path] for root in resolved.marker_map.roots}
    given = {*gating.root_hard_requirements, *gating.root_veto_markers}
    known = ", ".join(rows)
    faults = [
        Fault(f"{label!r} is not a root; the roots are {known}", "root rules")
        for label in sorted(given - set(rows))
    ]
    if faults:
        raise PanelError("gating parameters", faults)
    return rows
