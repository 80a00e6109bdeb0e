"""The base of all parameter models, and their errors in words."""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from ctr_engine.errors import Fault

Real = Annotated[float, Strict()]
"""A number. Text and truth values are refused, so that ``"0.5"`` is not read as 0.5 by accident."""

Switch = Annotated[bool, Strict()]
"""True or false. ``"no"`` is refused, for it is text in JSON and in YAML 1.2."""

Count = Annotated[int, Strict()]
Fraction = Annotated[float, Strict(), Field(ge=0, le=1)]


_LEVEL = re.compile("0|[1-9][0-9]*")


def _levels(value: object) -> object:
    """Turn the text keys of JSON into levels."""
    if not isinstance(value, Mapping):
        msg = f'is given per level, such as {{"0": {value}}}, not as one value'
        raise ValueError(msg)
    bad = [key for key in value if not (isinstance(key, int) or _LEVEL.fullmatch(str(key)))]
    if bad:
        msg = f"{bad[0]!r} is no level; levels are whole numbers, 0 for the roots"
        raise ValueError(msg)
    return {int(key): number for key, number in value.items()}


LevelFractions = Annotated[Mapping[int, Fraction], BeforeValidator(_levels)]
LevelGaps = Annotated[Mapping[int, Annotated[Real, Field(ge=0)]], BeforeValidator(_levels)]
LevelReals = Annotated[Mapping[int, Real], BeforeValidator(_levels)]


class Params(BaseModel):
    """Frozen parameters: unknown names are refused, so are NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def over(self, *layers: Self) -> Self:
        """Copy in which each field that a layer sets replaces ours; the last layer wins."""
        merged = {name: getattr(self, name) for name in type(self).model_fields}
        for layer in layers:
            merged |= {name: getattr(layer, name) for name in layer.model_fields_set}
        return type(self).model_validate(merged)


AnyParams = TypeVar("AnyParams", bound=Params)


def layered(below: AnyParams, above: AnyParams) -> AnyParams:
    """Put what ``above`` sets over what ``below`` sets; the rest stays unset.

    Parameters inside parameters are layered in turn, tables key by key (a threshold per level, a
    rule per root, which is replaced whole).
    """
    merged: dict[str, Any] = {name: getattr(below, name) for name in below.model_fields_set}
    for name in above.model_fields_set:
        upper = getattr(above, name)
        lower = merged[name] if name in merged else None
        if isinstance(lower, Params) and isinstance(upper, Params):
            upper = layered(lower, upper)
        elif isinstance(lower, Mapping) and isinstance(upper, Mapping):
            upper = {**lower, **upper}
        merged[name] = upper
    return type(below).model_validate(merged)


def faults_of(
    error: ValidationError,
    model: type[BaseModel],
    locate: Callable[[tuple[str | int, ...]], int | None] = lambda _: None,
) -> list[Fault]:
    """Put a pydantic error into words, one fault for each field.

    Parameters
    ----------
    error
        What pydantic raised.
    model
        The model that was validated; its fields are offered for a misspelt name.
    locate
        Gives the line of a place in the file, or None.
    """
    faults = []
    for detail in error.errors(include_url=False):
        loc = tuple(detail["loc"])
        place = tuple(part for part in loc if part != "[key]")
        faults.append(Fault(_words(detail, model, loc), ".".join(map(str, place)), locate(place)))
    return faults


def _words(detail: Any, model: type[BaseModel], loc: tuple[str | int, ...]) -> str:
    if detail["type"] == "extra_forbidden":
        name, known = str(loc[-1]), sorted(_fields_at(model, loc[:-1]))
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
        return f"unknown key {name!r}. {hint}"
    text = detail["msg"].removeprefix("Value error, ")
    text = text[0].lower() + text[1:]
    return f"{text}; got {detail['input']!r}" if detail["type"] != "value_error" else text


def _fields_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> set[str]:
    """Names of the fields of the model that ``loc`` leads to, seen from ``model``."""
    for part in loc:
        if part not in model.model_fields:
            continue
        inner = _model_in(model.model_fields[str(part)].annotation)
        if inner is None:
            return set()
        model = inner
    return set(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
