"""Thresholds of the gates, and how the marker map and the user change them.

A *layer* is a :class:`GatingParams` of which only the fields that somebody set count
(``model_fields_set``); layers are merged over the base, per level and per root.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ctr_engine.errors import ParameterError
from ctr_engine.params import (
    Count,
    Fraction,
    LevelFractions,
    LevelGaps,
    LevelReals,
    Params,
    Real,
    Switch,
)

AntiAgg = Literal["max", "top2mean", "mean"]

EQUAL = 1e-9
"""Values that differ by no more are equal, so that rounding decides nothing."""
PER_LEVEL = ("min_coverage", "min_pos_frac", "min_enrichment", "min_gap", "min_frac_markers_on")
PER_ROOT = ("root_hard_requirements", "root_veto_markers")


class HardRequirement(Params):
    """A marker without which a root is refused."""

    marker: str = Field(min_length=1, description="The marker.")
    min_pos_frac: Fraction | None = Field(None, description="Least positive fraction, 0 to 1.")
    min_enrichment: Real | None = Field(None, description="Least enrichment, in SD units.")

    @model_validator(mode="after")
    def _requires_something(self) -> "HardRequirement":
        if self.min_pos_frac is None and self.min_enrichment is None:
            msg = "asks for nothing; give min_pos_frac, min_enrichment or both"
            raise ValueError(msg)
        return self


class RootVeto(Params):
    """Markers that refuse a root when too many cells have them."""

    markers: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="The markers; the first that is positive in too many cells is reported."
    )
    max_pos_frac: Fraction = Field(description="Largest positive fraction allowed, 0 to 1.")


class GatingParams(Params):
    """When a cell type passes, and when two are too close to choose.

    Thresholds per level count 0 for the roots; a level that is not given takes the nearest
    shallower one.
    """

    min_coverage: LevelFractions = Field(
        {0: 0.5, 1: 0.4, 2: 0.3, 3: 0.3},
        description="Least share of a cell type's markers that the panel has, per level. 0 to 1.",
    )
    min_pos_frac: LevelFractions = Field(
        {0: 0.3, 1: 0.2, 2: 0.15, 3: 0.15},
        description="Least mean positive fraction, per level; or enough markers on. 0 to 1.",
    )
    min_enrichment: LevelReals = Field(
        {0: 0.0, 1: -0.5, 2: -1.0, 3: -1.0},
        description="Least mean enrichment, per level. SD units.",
    )
    min_gap: LevelGaps = Field(
        {1: 0.3, 2: 0.2, 3: 0.2},
        description="Least lead of the best sibling, per level. A level 0 here replaces "
        "root_gap_threshold.",
    )
    min_frac_markers_on: LevelFractions = Field(
        {0: 0.4, 1: 0.3, 2: 0.25, 3: 0.25},
        description="Share of markers on that passes in place of min_pos_frac, per level. 0 to 1.",
    )
    anti_penalty_hard_gate: Real = Field(
        1.0, ge=0, description="A cell type whose anti_penalty is above it is refused."
    )
    anti_off_max_positive_fraction: Fraction = Field(
        0.2, description="Largest anti-marker signal with require_anti_markers_off. 0 to 1."
    )
    per_cell_gap_threshold: Real = Field(
        0.1,
        ge=0,
        description="A cell whose best candidate leads by less votes Uncertain. SD units.",
    )
    per_cell_learning: Switch = Field(
        False,
        description="Let cells whose markers contradict their label take that of the sure cells "
        "they resemble (cell_type_cell only).",
    )
    per_cell_sure_gap: Real = Field(
        0.5,
        ge=0,
        description="A cell is sure of another leaf that leads all others by this. SD units.",
    )
    root_gap_threshold: Real = Field(
        0.25, ge=0, description="Roots that are closer than this are ambiguous."
    )
    max_ambiguity: Annotated[Count, Field(ge=2)] = Field(
        3, description="Most candidates of a vote among tied siblings."
    )
    gate_inheritance: Switch = Field(
        False,
        description="Let a cell type pass when one of its children passes and nothing forbids it.",
    )
    anti_agg: AntiAgg | None = Field(
        None,
        description="How anti-markers are aggregated; the scoring parameter wins over this one.",
    )
    root_hard_requirements: Mapping[str, HardRequirement] = Field(
        {}, description="Per root: a marker that it must have."
    )
    root_veto_markers: Mapping[str, RootVeto] = Field(
        {}, description="Per root: markers that it must not have."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, raw: Any) -> Any:
        """Read both forms of thresholds per level."""
        if not isinstance(raw, Mapping) or "level_defaults" not in raw:
            return raw
        flat, faults = flatten_levels(raw)
        if faults:
            raise ValueError("; ".join(f"{key}: {message}" for key, message in faults))
        return flat

    def at_level(self, name: str, level: int) -> float:
        """Threshold of a level, or of the nearest shallower level that has one."""
        thresholds: Mapping[int, float] = getattr(self, name)
        known = [given for given in thresholds if given <= level]
        if not known:
            msg = (
                f"{name} has no value for level {level}; merge this layer over GatingParams() first"
            )
            raise ParameterError(msg)
        return thresholds[max(known)]

    @property
    def root_gap(self) -> float:
        """Least lead of the best root: ``min_gap`` of level 0 where somebody gave it."""
        return self.min_gap[0] if 0 in self.min_gap else self.root_gap_threshold

    def merged_with(self, *layers: "GatingParams") -> "GatingParams":
        """Put layers over these parameters, per level and per root; the last wins."""
        merged: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        for layer in layers:
            for name in layer.model_fields_set:
                value = getattr(layer, name)
                both = name in PER_LEVEL + PER_ROOT
                merged[name] = {**merged[name], **value} if both else value
        return type(self).model_validate(merged)


def flatten_levels(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Bring ``{"level_defaults": {"0": {"min_gap": 1}}}`` to ``{"min_gap": {"0": 1}}``.

    Returns
    -------
    The parameters in the one form, and ``(key, message)`` for each threshold that both forms give
    with different values or that cannot stand per level.
    """
    flat: dict[str, Any] = {k: v for k, v in raw.items() if k != "level_defaults"}
    faults: list[tuple[str, str]] = []
    by_level = raw["level_defaults"] if "level_defaults" in raw else {}
    if not isinstance(by_level, Mapping):
        return flat, [("level_defaults", 'is a table of levels, such as {"0": {"min_gap": 0.3}}')]
    for level, thresholds in by_level.items():
        if not isinstance(thresholds, Mapping):
            faults.append((f"level_defaults.{level}", "is a table of thresholds"))
            continue
        for name, value in thresholds.items():
            fault = _set_level(flat, name, str(level), value)
            if fault:
                faults.append((f"level_defaults.{level}.{name}", fault))
    return flat, faults


def _set_level(flat: dict[str, Any], name: str, level: str, value: object) -> str | None:
    if name not in PER_LEVEL:
        return f"is not a threshold per level; those are {', '.join(PER_LEVEL)}"
    known = flat[name] if name in flat else {}
    if not isinstance(known, Mapping):
        return None  # the bare number beside it is reported by the model
    same = {str(key): number for key, number in known.items()}
    if level in same and same[level] != value:
        return f"{name} of level {level} is given twice, as {same[level]} and as {value}"
    flat[name] = {**same, level: value}
    return None
