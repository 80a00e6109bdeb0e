"""The smallest change of one threshold that gives a cluster another label."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctr_engine.gating.compete import ALONE, compete
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.thresholds import Knob
from ctr_engine.markers.gating_params import EQUAL

Float64 = npt.NDArray[np.float64]

DECIMALS = 4
"""Thresholds are set to this many decimals, as a person would type them."""
AT_LEAST = {
    "min_coverage": "coverage",
    "min_pos_frac": "mean_positive_fraction",
    "min_frac_markers_on": "frac_markers_on",
    "min_enrichment": "mean_enrichment",
    "required_pos_frac": "required_pos_frac",
    "required_enrichment": "required_enrichment",
}
AT_MOST = {
    "anti_penalty_hard_gate": "anti_penalty",
    "anti_off_max_positive_fraction": "anti_positive",
}


@dataclass(frozen=True)
class Flip:
    """A knob set to ``value`` gives ``cluster``, a position, the label that is ``place``."""

    cluster: int
    knob: Knob
    value: float
    place: int
    stop: int

    @property
    def change(self) -> float:
        """How far the knob is turned; below 0 when it is lowered."""
        return self.value - self.knob.value


def flips(
    decider: Decider, clusters: Sequence[int] | None = None, *, within: float = np.inf
) -> list[Flip]:
    """Find, per cluster, knob and other label, the nearest setting that gives this label.

    Labels change only where a threshold passes a measured value, so trying the first setting beyond
    each measured value is enough.

    Parameters
    ----------
    clusters
        Positions of the clusters; all when None.
    within
        Largest change that counts.

    Returns
    -------
    By cluster, the smallest change first.
    """
    chosen = range(decider.n_clusters) if clusters is None else clusters
    trials = list(_trials(decider, chosen, within))
    if not trials:
        return []
    rows = np.array([cluster for cluster, _, _ in trials], dtype=np.intp)
    settings = np.tile(decider.settings, (len(trials), 1))
    settings[np.arange(len(trials)), [index for _, index, _ in trials]] = [t for _, _, t in trials]
    found = decider.under(rows, settings)
    nearest: dict[tuple[int, int, int], Flip] = {}
    for row, (cluster, index, value) in enumerate(trials):
        place = int(found.place[row])
        if place == decider.outcomes.place[cluster]:
            continue
        flip = Flip(cluster, decider.knobs[index], value, place, int(found.stop[row]))
        key = (cluster, index, place)
        if key not in nearest or abs(flip.change) < abs(nearest[key].change):
            nearest[key] = flip
    return sorted(nearest.values(), key=lambda f: (f.cluster, round(abs(f.change), 9), f.knob.name))


def _trials(
    decider: Decider, clusters: Sequence[int], within: float
) -> Iterator[tuple[int, int, float]]:
    """Yield cluster, knob and setting: the first setting beyond each measured value."""
    leads = _leads(decider)
    for index, knob in enumerate(decider.knobs):
        values, sign = _looked_at(decider, knob, leads)
        for cluster in clusters:
            own = values[cluster, list(knob.nodes)]
            tried = {_beyond(float(value), knob.value, sign) for value in own[~np.isnan(own)]}
            for setting in sorted(tried):
                if knob.low <= setting <= knob.high and abs(setting - knob.value) <= within + EQUAL:
                    yield cluster, index, setting


def _looked_at(decider: Decider, knob: Knob, leads: Float64) -> tuple[Float64, int]:
    """What a knob is held against, and +1 where a value passes at or above it, -1 at or below."""
    if knob.field == "min_gap":
        return leads, 1
    if knob.field in AT_LEAST:
        return getattr(decider.values, AT_LEAST[knob.field]), 1
    if knob.field in AT_MOST:
        return getattr(decider.values, AT_MOST[knob.field]), -1
    most = np.full(decider.values.score.shape, np.nan)
    for row, fractions in decider.values.veto_fractions.items():
        if fractions.shape[1]:
            most[:, row] = fractions.max(axis=1)
    return most, -1


def _beyond(value: float, current: float, sign: int) -> float:
    """Nearest setting on the other side of a measured value, seen from the current one."""
    unit = 10.0**-DECIMALS
    value, current = sign * value, sign * current
    steps = np.floor((value + EQUAL) / unit)
    if value >= current - EQUAL:  # passes now
        steps += 1
    return round(sign * float(steps) * unit, DECIMALS) + 0.0  # no -0


def _leads(decider: Decider) -> Float64:
    """Lead of the winner of every competition of the map, at the winner; NaN elsewhere."""
    results, children = decider.results, decider.resolved.marker_map.child_rows
    leads = np.full(results.scores.shape, np.nan)
    rows = np.arange(decider.n_clusters, dtype=np.intp)
    for tried in (decider.resolved.marker_map.root_rows, *children):
        if not tried:
            continue
        step = compete(results.scores, results.passed, decider.limits.min_gap, None, tried, rows)
        met = (step.winner >= 0) & (step.margin < ALONE)
        leads[rows[met], step.winner[met]] = step.margin[met]
    return leads
