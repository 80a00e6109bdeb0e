"""How often a cluster keeps its label when everything that decides is moved a little."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ctr_engine.cluster_statistics import POSITIVE_SHIFTS
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.gate import measured
from ctr_engine.scoring import Bools, Evidence, ScoringParams, markers_on, node_scores

Float64 = npt.NDArray[np.float64]

N_DECISIONS, SPREAD, LEFT_OUT, SEED = 40, 0.2, 0.2, 20_240
"""Decisions, how far each number moves in them, how often a marker is left out, and the seed."""
_VALUES_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Settings:
    """What is moved in each decision; the first axis of every array has one entry for each.

    ``knobs`` has shape ``(n, n_knobs)``; ``shift`` and ``left_out`` have ``(n, n_markers)``, the
    former as places in :data:`~ctr_engine.cluster_statistics.POSITIVE_SHIFTS`; ``anti_factor`` and
    ``bonus_factor`` have ``(n,)``.
    """

    knobs: Float64
    shift: npt.NDArray[np.intp]
    left_out: Bools
    anti_factor: Float64
    bonus_factor: Float64

    def __len__(self) -> int:
        return len(self.knobs)

    def part(self, start: int, stop: int) -> "Settings":
        """Some of the decisions."""
        some = slice(start, stop)
        return Settings(
            self.knobs[some],
            self.shift[some],
            self.left_out[some],
            self.anti_factor[some],
            self.bonus_factor[some],
        )


def moved_settings(decider: Decider, n_markers: int) -> Settings:
    """Draw the decisions; they depend on the map and the panel, not on the clusters."""
    random, shape = np.random.default_rng(SEED), (N_DECISIONS, n_markers)
    low = np.array([knob.low for knob in decider.knobs])
    high = np.array([knob.high for knob in decider.knobs])
    factors = random.uniform(1 - SPREAD, 1 + SPREAD, (N_DECISIONS, len(decider.knobs)))
    weights = random.uniform(1 - SPREAD, 1 + SPREAD, (2, N_DECISIONS))
    return Settings(
        np.clip(decider.settings * factors, low, high),
        random.integers(len(POSITIVE_SHIFTS), size=shape),
        random.random(shape) < LEFT_OUT,
        weights[0],
        weights[1],
    )


def stability(found: Evidence, scoring: ScoringParams, decider: Decider) -> Float64:
    """Share of decisions that give each cluster the same place on the map.

    In each of :data:`N_DECISIONS` decisions every threshold of a gate, every gap, ``anti_weight``
    and ``de_bonus`` is multiplied by its own factor from U(0.8, 1.2), the threshold above which a
    cell is positive is moved by one of -0.2 to 0.2 SD for every marker, and every marker is left
    out with probability 0.2; a cell type never loses all of its markers.

    Returns
    -------
    Shape ``(n_clusters,)``, 0 to 1.
    """
    settings = moved_settings(decider, found.on.shape[1])
    kept = np.zeros(decider.n_clusters)
    for part in _parts(settings, found.on.size):
        place = _places(found, scoring, decider, part).reshape(len(part), -1)
        kept += (place == decider.outcomes.place).sum(axis=0)
    return kept / len(settings)


def _parts(settings: Settings, size: int) -> Iterator[Settings]:
    """Cut the decisions so that memory stays bounded; ``size`` is that of the evidence."""
    step = max(1, _VALUES_AT_ONCE // size)
    for start in range(0, len(settings), step):
        yield settings.part(start, start + step)


def _places(
    found: Evidence, scoring: ScoringParams, decider: Decider, settings: Settings
) -> npt.NDArray[np.intp]:
    """Place of every cluster in every decision, decision after decision."""
    n, n_clusters = len(settings), decider.n_clusters
    shares = np.stack([found.statistics.matrix(name) for name in POSITIVE_SHIFTS])
    markers = np.arange(found.on.shape[1])
    positive = np.concatenate([shares[shift, :, markers].T for shift in settings.shift])
    enrichment = np.tile(found.enrichment, (n, 1))
    rows = replace(
        found,
        enrichment=enrichment,
        positive_fraction=positive,
        bonus=np.tile(found.bonus, (n, 1)) * np.repeat(settings.bonus_factor, n_clusters)[:, None],
        on=markers_on(enrichment, positive, scoring),
        left_out=np.repeat(settings.left_out, n_clusters, axis=0),
        anti_factor=np.repeat(settings.anti_factor, n_clusters),
    )
    scores = node_scores(rows, decider.resolved, scoring)
    moved = replace(decider, values=measured(rows, scores, decider.rules))
    every = np.arange(n * n_clusters, dtype=np.intp)
    return moved.under(every, np.repeat(settings.knobs, n_clusters, axis=0)).place
