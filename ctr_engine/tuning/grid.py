"""The grid of parameters that ``ctr tune`` tries."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from pydantic import ValidationError

from ctr_engine.errors import ParameterError
from ctr_engine.markers.gating_params import PER_LEVEL, PER_ROOT, GatingParams
from ctr_engine.params import Params, faults_of
from ctr_engine.scoring import ScoringParams
from ctr_engine.stored import NEEDS_CELLS

Section = Literal["scoring", "gating"]
MOST_SETTINGS = 200_000
_FORM = "write NAME=FROM:TO:STEP or NAME=VALUE,VALUE, such as min_coverage.0=0.2:0.6:0.05"


@dataclass(frozen=True)
class Axis:
    """One parameter of the grid and its values, in the order in which they were given.

    ``name`` is its place: ``anti_weight``, ``min_coverage.0``,
    ``root_veto_markers.<root>.max_pos_frac``.
    """

    section: Section
    name: str
    values: tuple[Any, ...]


def parse_axis(section: Section, text: str) -> Axis:
    """Read one ``--scoring`` or ``--gating`` of the command line.

    Raises
    ------
    ParameterError
        If it has no such form, or names a parameter that a stored run cannot tell about.
    """
    name, equals, values = text.rpartition("=")
    name = name.strip()
    if not equals or not name or not values.strip():
        msg = f"--{section} {text!r} is not a range; {_FORM}"
        raise ParameterError(msg)
    if section == "scoring" and name in NEEDS_CELLS:
        msg = (
            f"--scoring {name} needs the cells, which tuning never touches; annotate again with: "
            f"ctr annotate RUN/coarse_clusters.h5ad --annotation-only --scoring-params "
            f"'{{\"{name}\": ...}}'"
        )
        raise ParameterError(msg)
    parts = values.split(":")
    found = _range(section, text, parts) if len(parts) > 1 else _listed(values)
    if len({(isinstance(value, bool), value) for value in found}) != len(found):
        msg = f"--{section} {text!r} gives a value twice"
        raise ParameterError(msg)
    return Axis(section, name, found)


def _range(section: Section, text: str, parts: Sequence[str]) -> tuple[float, ...]:
    """Values from start to end, the end included; counted in decimals, so that 0.3 is 0.3."""
    try:
        start, end, step = (Decimal(part.strip()) for part in parts)
    except (InvalidOperation, ValueError):
        msg = f"--{section} {text!r} is not a range; {_FORM}"
        raise ParameterError(msg) from None
    if not all(number.is_finite() for number in (start, end, step)) or step <= 0 or end < start:
        msg = f"--{section} {text!r}: the step is above 0 and the end is not below the start"
        raise ParameterError(msg)
    try:
        steps = (end - start) / step
    except ArithmeticError:
        steps = Decimal("Infinity")
    if steps >= MOST_SETTINGS:
        has = f"has {int(steps) + 1:,} values" if steps < 10**9 else "has too many values"
        msg = f"--{section} {text!r} {has}; at most {MOST_SETTINGS:,} are tried"
        raise ParameterError(msg)
    values = (start + i * step for i in range(int(steps) + 1))
    return tuple(
        int(v) if v == v.to_integral_value() and "." not in text else float(v) for v in values
    )


def _listed(values: str) -> tuple[Any, ...]:
    """Values between commas: numbers, true and false, or words."""
    return tuple(_value(text.strip()) for text in values.split(","))


def _value(text: str) -> Any:
    """Read a whole number, another number, true or false, else a word."""
    if text in ("true", "false"):
        return text == "true"
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def names_of(axes: Sequence[Axis]) -> list[str]:
    """Name of each axis; with its section where both sections have one of this name."""
    names = [axis.name for axis in axes]
    return [
        axis.name if names.count(axis.name) == 1 else f"{axis.section}.{axis.name}" for axis in axes
    ]


def settings_of(axes: Sequence[Axis]) -> list[tuple[Any, ...]]:
    """Every combination of the values, the last axis fastest.

    Raises
    ------
    ParameterError
        If there is no axis, one stands twice, or there are too many combinations.
    """
    if not axes:
        msg = "nothing to tune; give at least one --gating or --scoring range"
        raise ParameterError(msg)
    names = [(axis.section, axis.name) for axis in axes]
    twice = sorted({name for section, name in names if names.count((section, name)) > 1})
    if twice:
        msg = f"{', '.join(twice)}: given twice; put all values into one range"
        raise ParameterError(msg)
    n = 1
    for axis in axes:
        n *= len(axis.values)
    if n > MOST_SETTINGS:
        msg = f"the grid has {n:,} settings; at most {MOST_SETTINGS:,} are tried. Use larger steps."
        raise ParameterError(msg)
    return list(itertools.product(*(axis.values for axis in axes)))


def current_value(axis: Axis, scoring: ScoringParams, gating: GatingParams) -> Any:
    """Value that the parameter of an axis has; None where nobody gave it."""
    first, _, rest = axis.name.partition(".")
    if axis.section == "scoring":
        return getattr(scoring, first)
    value = getattr(gating, first)
    if first in PER_LEVEL:
        return value[int(rest)] if int(rest) in value else None
    if first in PER_ROOT:
        root, _, field = rest.rpartition(".")
        return getattr(value[root], field)
    return value


def gating_layer(named: Sequence[tuple[str, Any]], base: GatingParams) -> GatingParams:
    """Gating parameters in which the named values are set.

    Parameters
    ----------
    base
        The parameters below, whose root rules a single number of a rule replaces.

    Raises
    ------
    ParameterError
        If a name is unknown or a value out of its range.
    """
    raw: dict[str, Any] = {}
    for name, value in named:
        first, _, rest = name.partition(".")
        if first in PER_LEVEL and rest:
            raw.setdefault(first, {})[rest] = value
        elif first in PER_ROOT and "." in rest:
            root, _, field = rest.rpartition(".")
            rules = getattr(base, first)
            if root not in rules:
                known_roots = ", ".join(rules) or "none"
                msg = f"--gating {name}: the run has no such rule; it has: {known_roots}"
                raise ParameterError(msg)
            known = rules[root].model_dump(exclude_none=True)
            raw.setdefault(first, {}).setdefault(root, known)[field] = value
        else:
            raw[name] = value
    _validate(GatingParams, raw, "gating")
    return GatingParams.model_validate(raw)


def scoring_with(base: ScoringParams, named: Sequence[tuple[str, Any]]) -> ScoringParams:
    """Scoring parameters ``base`` in which the named values are set.

    Raises
    ------
    ParameterError
        If a name is unknown, a value out of its range, or two values contradict each other.
    """
    raw = base.model_dump() | dict(named)
    _validate(ScoringParams, raw, "scoring")
    return ScoringParams.model_validate(raw)


def _validate(model: type[Params], raw: dict[str, Any], section: Section) -> None:
    try:
        model.model_validate(raw)
    except ValidationError as error:
        faults = "; ".join(str(fault) for fault in faults_of(error, model))
        msg = f"--{section}: {faults}"
        raise ParameterError(msg) from None
