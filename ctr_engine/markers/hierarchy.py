"""The tree of cell types.

A cell type is known by its path from the root, for the same label may stand in two branches.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import Field

from ctr_engine.errors import ParameterError
from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.params import Fraction, Params, Real, Switch


class GatingOverrides(Params):
    """Thresholds of one cell type, in place of those of its level; children do not inherit them."""

    min_coverage: Fraction | None = Field(None, description="Least share of markers on the panel.")
    min_pos_frac: Fraction | None = Field(None, description="Least mean positive fraction.")
    min_enrichment: Real | None = Field(None, description="Least mean enrichment, in SD units.")
    min_frac_markers_on: Fraction | None = Field(None, description="Least share of markers on.")
    min_gap: Real | None = Field(None, ge=0, description="Least lead over the runner-up.")
    require_anti_markers_off: Switch = Field(
        False, description="Refuse when the anti-markers are positive in too many cells."
    )


@dataclass(frozen=True)
class CellType:
    """One node of the tree; ``children`` in the order of the file."""

    label: str
    path: str
    level: int
    markers: tuple[str, ...]
    anti_markers: tuple[str, ...] = ()
    overrides: GatingOverrides = field(default_factory=GatingOverrides)
    ontology_id: str | None = None
    description: str | None = None
    children: tuple["CellType", ...] = ()

    @property
    def is_leaf(self) -> bool:
        """Whether no cell type stands below this one."""
        return not self.children

    @property
    def parent_path(self) -> str | None:
        """Path of the cell type above, None for a root."""
        head, separator, _ = self.path.rpartition(PATH_SEPARATOR)
        return head if separator else None


@dataclass(frozen=True)
class MarkerMap:
    """Cell types, gating parameters and aliases of one tissue."""

    source: str
    roots: tuple[CellType, ...]
    gating: GatingParams
    aliases: Mapping[str, tuple[str, ...]]
    metadata: Mapping[str, Any]

    @cached_property
    def nodes(self) -> tuple[CellType, ...]:
        """All cell types, each parent before its children, siblings in the order of the file."""
        return tuple(_preorder(self.roots))

    @cached_property
    def by_path(self) -> Mapping[str, CellType]:
        """Cell types by their path."""
        return {node.path: node for node in self.nodes}

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Position of each path in ``nodes``."""
        return {node.path: row for row, node in enumerate(self.nodes)}

    @cached_property
    def child_rows(self) -> tuple[tuple[int, ...], ...]:
        """Positions in ``nodes`` of the children of each node."""
        return tuple(tuple(self.row_of[c.path] for c in node.children) for node in self.nodes)

    @cached_property
    def root_rows(self) -> tuple[int, ...]:
        """Positions in ``nodes`` of the roots."""
        return tuple(self.row_of[root.path] for root in self.roots)

    def find(self, name: str) -> CellType:
        """Find a cell type by its label or its path.

        Raises
        ------
        ParameterError
            If nothing has this name, or if two cell types share the label.
        """
        if name in self.by_path:
            return self.by_path[name]
        fits = [node for node in self.nodes if node.label == name]
        if len(fits) == 1:
            return fits[0]
        if fits:
            paths = "; ".join(repr(node.path) for node in fits)
            msg = f"The label {name!r} stands for {len(fits)} cell types: {paths}. Give the path."
        else:
            labels = ", ".join(sorted({node.label for node in self.nodes}))
            msg = f"{self.source} has no cell type {name!r}. It has: {labels}."
        raise ParameterError(msg)

    def canonical(self) -> dict[str, Any]:
        """Give what the map means, without metadata, descriptions and the order of keys."""
        return {
            "cell_types": {node.path: _meaning(node) for node in self.nodes},
            "gating": self.gating.model_dump(mode="json", exclude_unset=True),
            "aliases": {key: sorted(names) for key, names in self.aliases.items()},
        }

    def as_source(self) -> dict[str, Any]:
        """Give the map in the format of its file, in its order; it parses to the same map."""
        settings: dict[str, Any] = {
            "_marker_map_metadata": dict(self.metadata),
            "_gating_params": self.gating.model_dump(mode="json", exclude_unset=True),
            "_aliases": {key: list(names) for key, names in self.aliases.items()},
        }
        given = {key: value for key, value in settings.items() if value}
        return given | {root.label: _source(root) for root in self.roots}

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the canonical content, hexadecimal."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def threshold_of(node: CellType, gating: GatingParams, name: str) -> float:
    """Threshold ``name`` of a cell type: its own override, else that of its level."""
    own: float | None = getattr(node.overrides, name)
    return gating.at_level(name, node.level) if own is None else own


def _preorder(nodes: Iterable[CellType]) -> Iterable[CellType]:
    for node in nodes:
        yield node
        yield from _preorder(node.children)


def _source(node: CellType) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "markers": list(node.markers),
        "anti_markers": list(node.anti_markers),
        "gating_overrides": node.overrides.model_dump(mode="json", exclude_unset=True),
        "ontology_id": node.ontology_id,
        "description": node.description,
        "subtypes": {child.label: _source(child) for child in node.children},
    }
    return {key: value for key, value in parts.items() if value}


def _meaning(node: CellType) -> dict[str, Any]:
    return {
        "markers": list(node.markers),
        "anti_markers": list(node.anti_markers),
        "overrides": node.overrides.model_dump(mode="json"),
        "ontology_id": node.ontology_id,
    }
