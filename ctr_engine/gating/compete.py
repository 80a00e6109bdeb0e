"""Who wins among siblings, and where that leads: one kernel for one cluster or for many settings.

A *row* is a cluster, or a cluster under one of many settings of the thresholds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ctr_engine.keys import ROOT_SEPARATOR
from ctr_engine.markers.gating_params import EQUAL
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.tables import STOP_REASONS

Float64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

ALONE = 1e6
"""Margin of a candidate that nobody competed with."""
UNASSIGNED_PLACE = -1
LEAF, NO_ROOT, NO_CHILD, AMBIGUOUS_ROOT, AMBIGUOUS_SIBLINGS = range(len(STOP_REASONS))


@dataclass(frozen=True)
class Round:
    """One competition: children of ``parent``, in all rows that came there.

    ``winner`` and ``runner_up`` are rows of the map's nodes, -1 where nobody passed.
    """

    parent: int | None
    tried: tuple[int, ...]
    rows: Rows
    winner: Rows
    runner_up: Rows
    margin: Float64
    ambiguous: Bools


@dataclass(frozen=True)
class Outcomes:
    """Where each row ends; ``place`` tells labels apart, ``stop`` counts in ``STOP_REASONS``.

    A place is a row of the map's nodes, :data:`UNASSIGNED_PLACE`, or a pair of ambiguous roots.
    """

    place: Rows
    stop: Rows


def best_of(scores: Float64, allowed: Bools) -> Rows:
    """Column of the best allowed score of each row, among equals the first; -1 without any."""
    shown = np.where(allowed, scores, -np.inf)
    best = shown.max(axis=1, keepdims=True, initial=-np.inf)
    first = (allowed & (shown >= best - EQUAL)).argmax(axis=1)
    return np.where(allowed.any(axis=1), first, -1)


def ranked(scores: Float64, allowed: Bools) -> list[int]:
    """Allowed columns of one row, best first; among equals the order of the columns decides."""
    left, order = allowed.copy()[None, :], []
    while (best := int(best_of(scores[None, :], left)[0])) >= 0:
        order.append(best)
        left[0, best] = False
    return order


def lead(best: Float64, other: Float64) -> Float64:
    """Lead of one score over another; 0 where they are equal but for rounding."""
    difference = best - other
    return np.where(np.abs(difference) <= EQUAL, 0.0, difference)


def compete(
    scores: Float64,
    passed: Bools,
    gaps: Float64,
    parent: int | None,
    tried: Sequence[int],
    rows: Rows,
) -> Round:
    """Let siblings compete in the given rows.

    Parameters
    ----------
    scores, passed
        Shape ``(n_rows, n_nodes)``.
    gaps
        Least lead of each cell type as the winner, ``(n_nodes,)`` or ``(n_rows, n_nodes)``.
    tried
        The siblings, in the order of the map.
    """
    columns, every = np.asarray(tried, dtype=np.intp), np.arange(len(rows))
    own, allowed = scores[np.ix_(rows, columns)], passed[np.ix_(rows, columns)]
    first = best_of(own, allowed)
    others = allowed.copy()
    others[every, first] = False
    second = best_of(own, others)
    margin = np.where(second < 0, ALONE, lead(own[every, first], own[every, second]))
    limits = np.broadcast_to(gaps, scores.shape)[rows, columns[first]]
    ambiguous = (second >= 0) & (margin < limits - EQUAL)
    winner = np.where(first < 0, -1, columns[first])
    return Round(
        parent,
        tuple(tried),
        rows,
        winner,
        np.where(second < 0, -1, columns[second]),
        margin,
        ambiguous,
    )


def descend(
    scores: Float64, passed: Bools, gaps: Float64, marker_map: MarkerMap
) -> Iterator[Round]:
    """Yield every competition on the way of each row from the roots down, parents first."""
    arrived: dict[int, Rows] = {}
    start = compete(
        scores, passed, gaps, None, marker_map.root_rows, np.arange(len(scores), dtype=np.intp)
    )
    yield start
    _send_on(start, arrived)
    for parent, children in enumerate(marker_map.child_rows):
        if children and parent in arrived:
            step = compete(scores, passed, gaps, parent, children, arrived[parent])
            yield step
            _send_on(step, arrived)


def _send_on(step: Round, arrived: dict[int, Rows]) -> None:
    going = (step.winner >= 0) & ~step.ambiguous
    for child in np.unique(step.winner[going]).tolist():
        arrived[child] = step.rows[going & (step.winner == child)]


def outcomes(scores: Float64, passed: Bools, gaps: Float64, marker_map: MarkerMap) -> Outcomes:
    """Label and stop of each row, without its history."""
    n_nodes = len(marker_map.nodes)
    place = np.full(len(scores), UNASSIGNED_PLACE, dtype=np.intp)
    stop = np.full(len(scores), NO_ROOT, dtype=np.intp)
    for step in descend(scores, passed, gaps, marker_map):
        at_root = step.parent is None
        going = (step.winner >= 0) & ~step.ambiguous
        place[step.rows[going]] = step.winner[going]
        stop[step.rows[going]] = LEAF
        stop[step.rows[step.winner < 0]] = NO_ROOT if at_root else NO_CHILD
        tied = step.rows[step.ambiguous]
        stop[tied] = AMBIGUOUS_ROOT if at_root else AMBIGUOUS_SIBLINGS
        if at_root:
            pair = n_nodes * (1 + step.winner) + step.runner_up
            place[tied] = pair[step.ambiguous]
    return Outcomes(place, stop)


def path_of(place: int, marker_map: MarkerMap) -> str:
    """Path that a place stands for, as in ``assigned_path``; empty when unassigned."""
    if place == UNASSIGNED_PLACE:
        return ""
    n_nodes = len(marker_map.nodes)
    if place < n_nodes:
        return marker_map.nodes[place].path
    first, second = divmod(place - n_nodes, n_nodes)
    return f"{marker_map.nodes[first].label}{ROOT_SEPARATOR}{marker_map.nodes[second].label}"
