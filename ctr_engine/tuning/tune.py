"""Scores and decides again over a grid, from what a run stored."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ctr_engine.errors import ParameterError
from ctr_engine.gating.compete import AMBIGUOUS_ROOT, AMBIGUOUS_SIBLINGS
from ctr_engine.gating.decider import Decider
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.scoring import ScoringParams
from ctr_engine.stored import StoredRun
from ctr_engine.tuning.grid import (
    Axis,
    current_value,
    gating_layer,
    names_of,
    scoring_with,
    settings_of,
)

Places = npt.NDArray[np.intp]
_SWITCHES = ("gate_inheritance", "anti_agg")
"""Gating parameters that are no threshold and may give another label all the same."""


@dataclass(frozen=True)
class Tuning:
    """Labels of all clusters under all settings.

    ``places`` and ``ambiguous`` have shape ``(n_settings, n_clusters)``; a place tells labels
    apart (:class:`~ctr_engine.gating.compete.Outcomes`). ``current`` has the values of the run,
    ``idle`` names the axes that turn nothing on this map.
    """

    axes: tuple[Axis, ...]
    settings: list[tuple[Any, ...]]
    places: Places
    ambiguous: npt.NDArray[np.bool_]
    decider: Decider
    current: tuple[Any, ...]
    idle: tuple[str, ...] = ()

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether a setting keeps the label of a cluster."""
        return np.asarray(self.places == self.decider.outcomes.place)


def tune(
    run: StoredRun, axes: Sequence[Axis], progress: Callable[[int], None] = lambda _: None
) -> Tuning:
    """Decide about all clusters under every setting of a grid.

    Settings that differ in thresholds only are decided in one go; scores are computed once for each
    combination of the other parameters.

    Parameters
    ----------
    progress
        Called with the number of settings that were just done.

    Raises
    ------
    ParameterError
        If the grid is empty or too large, or a parameter or a value of it is not allowed.
    """
    settings = settings_of(axes)
    n_clusters = run.decider.n_clusters
    places = np.empty((len(settings), n_clusters), dtype=np.intp)
    stops = np.empty((len(settings), n_clusters), dtype=np.intp)
    turned = [axis.section == "gating" and _is_knob(run.decider, axis.name) for axis in axes]
    for axis, knob in zip(axes, turned, strict=True):
        if axis.section == "gating":
            for value in axis.values:  # every fault of the grid before the work
                _require_allowed(run, axis, value, knob)
    groups = [
        (_layers(run, [pair for pair, knob in _paired(axes, setting, turned) if not knob]), rows)
        for setting, rows in _groups(settings, turned)
    ]
    lost = {axis for axis in axes if axis.section == "gating" and axis.name not in _SWITCHES}
    for (scoring, gating), rows in groups:
        decider = run.evidences.decider(run.resolved, scoring, gating)
        lost = {axis for axis in lost if not _is_knob(decider, axis.name)}
        knobs = [axis.name for axis, knob in zip(axes, turned, strict=True) if knob]
        values = [[v for v, knob in zip(settings[r], turned, strict=True) if knob] for r in rows]
        places[rows], stops[rows] = _under(decider, knobs, values)
        progress(len(rows))
    ambiguous = np.isin(stops, (AMBIGUOUS_ROOT, AMBIGUOUS_SIBLINGS))
    current = tuple(_current(run, axis) for axis in axes)
    idle = tuple(name for name, axis in zip(names_of(axes), axes, strict=True) if axis in lost)
    return Tuning(tuple(axes), settings, places, ambiguous, run.decider, current, idle)


def _is_knob(decider: Decider, name: str) -> bool:
    return any(knob.name == name for knob in decider.knobs)


def _require_allowed(run: StoredRun, axis: Axis, value: Any, knob: bool) -> None:
    """Refuse a value out of its range; thresholds of single cell types stand in the map."""
    if not axis.name.startswith("gating_overrides."):
        gating_layer([(axis.name, value)], run.gating)
        return
    names = [one.name for one in run.decider.knobs if one.name.startswith("gating_overrides.")]
    if not knob:
        msg = f"--gating {axis.name}: the map has no such threshold; it has: {', '.join(names)}"
        raise ParameterError(msg)
    (found,) = [one for one in run.decider.knobs if one.name == axis.name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not found.low <= value <= found.high:
        msg = f"--gating {axis.name}: {value!r} is not between {found.low:g} and {found.high:g}"
        raise ParameterError(msg)


def _current(run: StoredRun, axis: Axis) -> Any:
    for knob in run.decider.knobs:
        if axis.section == "gating" and knob.name == axis.name:
            return knob.value
    return current_value(axis, run.scoring, run.gating)


def _groups(
    settings: Sequence[tuple[Any, ...]], turned: Sequence[bool]
) -> Iterator[tuple[tuple[Any, ...], list[int]]]:
    """Yield the rows of the settings that differ in knobs only, and one of these settings."""

    def rest(row: int) -> str:
        return repr([v for v, knob in zip(settings[row], turned, strict=True) if not knob])

    for _, rows in itertools.groupby(sorted(range(len(settings)), key=rest), key=rest):
        group = list(rows)
        yield settings[group[0]], group


def _paired(
    axes: Sequence[Axis], setting: Sequence[Any], turned: Sequence[bool]
) -> Iterator[tuple[tuple[Axis, Any], bool]]:
    """Yield each axis with its value, and whether it is a knob."""
    return zip(zip(axes, setting, strict=True), turned, strict=True)


def _layers(
    run: StoredRun, named: Sequence[tuple[Axis, Any]]
) -> tuple[ScoringParams, GatingParams]:
    """Parameters of a run in which the named values are set.

    As in a run, ``anti_agg`` among the gating counts where nobody gave one for scoring.
    """
    scoring = [(axis.name, value) for axis, value in named if axis.section == "scoring"]
    gating = [(axis.name, value) for axis, value in named if axis.section == "gating"]
    given = {*run.params.given.scoring.model_fields_set, *(name for name, _ in scoring)}
    if "anti_agg" not in given:
        scoring += [pair for pair in gating if pair[0] == "anti_agg"]
    return (
        scoring_with(run.scoring, scoring),
        run.gating.merged_with(gating_layer(gating, run.gating)),
    )


def _under(
    decider: Decider, names: Sequence[str], values: Sequence[Sequence[float]]
) -> tuple[Places, Places]:
    """Places and stops of all clusters with the named knobs set to each row of ``values``."""
    index = {knob.name: i for i, knob in enumerate(decider.knobs)}
    settings = np.tile(decider.settings, (len(values), 1))
    for column, name in enumerate(names):
        if name in index:  # else another parameter of the setting has taken its place
            settings[:, index[name]] = [row[column] for row in values]
    found = decider.under_all(settings)
    return found.place, found.stop
