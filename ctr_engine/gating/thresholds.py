"""The thresholds of all gates on one map, and the knobs that turn them.

A *knob* is one number that somebody can set: a threshold of a level, of one cell type or of a root
rule. A threshold of a level turns it for every cell type of that level that has none of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from ctr_engine.markers.gating_params import PER_LEVEL, GatingParams
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.markers.root_rules import RootRules

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

_FRACTIONS = ("min_coverage", "min_pos_frac", "min_frac_markers_on")


@dataclass(frozen=True)
class Knob:
    """One number that can be set; ``nodes`` are the rows of the cell types that it decides.

    ``name`` is its place in the gating parameters, such as ``min_coverage.0``, or in the marker map
    (``gating_overrides.<path>.min_gap``); ``low`` and ``high`` are the limits of its range.
    """

    name: str
    field: str
    value: float
    nodes: tuple[int, ...]
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True)
class Thresholds:
    """Thresholds per cell type, shape ``(n_nodes,)``, or one set per row, ``(n_rows, n_nodes)``.

    NaN stands where a gate does not exist for a cell type.
    """

    min_coverage: Float64
    min_pos_frac: Float64
    min_frac_markers_on: Float64
    min_enrichment: Float64
    min_gap: Float64
    anti_penalty_hard_gate: Float64
    anti_off_max_positive_fraction: Float64
    required_pos_frac: Float64
    required_enrichment: Float64
    veto_max_pos_frac: Float64

    @classmethod
    def of(cls, knobs: Sequence[Knob], n_nodes: int, values: Float64 | None = None) -> Self:
        """Thresholds as the knobs stand, or one row for each row of ``values``.

        Parameters
        ----------
        values
            Shape ``(n_rows, n_knobs)``; what each knob is set to in each row.
        """
        shape = (n_nodes,) if values is None else (len(values), n_nodes)
        arrays = {field.name: np.full(shape, np.nan) for field in fields(cls)}
        for index, knob in enumerate(knobs):
            value = knob.value if values is None else values[:, index, None]
            arrays[knob.field][..., list(knob.nodes)] = value
        return cls(**arrays)

    def take(self, rows: Rows) -> Self:
        """Thresholds of the given rows, in their order."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def knobs(resolved: ResolvedMap, gating: GatingParams, rules: RootRules) -> tuple[Knob, ...]:
    """Every number that decides about a gate or a gap on this map, in a fixed order."""
    every = tuple(range(len(resolved.nodes)))
    asked = tuple(
        row for row in every if resolved.nodes[row].node.overrides.require_anti_markers_off
    )
    found = [knob for name in PER_LEVEL for knob in _per_level(name, resolved, gating)]
    name = "anti_penalty_hard_gate"
    found.append(Knob(name, name, gating.anti_penalty_hard_gate, every, 0.0))
    if asked:
        name = "anti_off_max_positive_fraction"
        found.append(Knob(name, name, gating.anti_off_max_positive_fraction, asked, 0.0, 1.0))
    return (*found, *_root_rules(resolved, rules))


def _per_level(name: str, resolved: ResolvedMap, gating: GatingParams) -> list[Knob]:
    """One knob per level that is given, and one per cell type with a threshold of its own."""
    high = 1.0 if name in _FRACTIONS else np.inf
    low = -np.inf if name == "min_enrichment" else 0.0
    levels: dict[int, float] = dict(getattr(gating, name))
    if name == "min_gap":
        levels[0] = gating.root_gap
    shared: dict[int, list[int]] = {}
    own: list[Knob] = []
    for row, node in enumerate(resolved.nodes):
        override: float | None = getattr(node.node.overrides, name)
        if override is None:
            level = max(given for given in levels if given <= node.node.level)
            shared.setdefault(level, []).append(row)
        else:
            address = f"gating_overrides.{node.node.path}.{name}"
            own.append(Knob(address, name, override, (row,), low, high))
    by_level = [
        Knob(_level_name(name, level, gating), name, levels[level], tuple(rows), low, high)
        for level, rows in sorted(shared.items())
    ]
    return by_level + own


def _level_name(name: str, level: int, gating: GatingParams) -> str:
    if name == "min_gap" and level == 0 and 0 not in gating.min_gap:
        return "root_gap_threshold"
    return f"{name}.{level}"


def _root_rules(resolved: ResolvedMap, rules: RootRules) -> list[Knob]:
    found = []
    for row, requirement in sorted(rules.requirements.items()):
        address = f"root_hard_requirements.{resolved.nodes[row].node.label}"
        rule = requirement.rule
        if rule.min_pos_frac is not None:
            name = f"{address}.min_pos_frac"
            found.append(Knob(name, "required_pos_frac", rule.min_pos_frac, (row,), 0.0, 1.0))
        if rule.min_enrichment is not None:
            name = f"{address}.min_enrichment"
            found.append(Knob(name, "required_enrichment", rule.min_enrichment, (row,)))
    for row, veto in sorted(rules.vetoes.items()):
        name = f"root_veto_markers.{resolved.nodes[row].node.label}.max_pos_frac"
        found.append(Knob(name, "veto_max_pos_frac", veto.max_pos_frac, (row,), 0.0, 1.0))
    return found
