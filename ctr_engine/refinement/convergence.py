"""Iterations until nothing moves, and why they ended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ctr_engine.refinement.engine import Iteration, Sample, Scored, execute
from ctr_engine.refinement.plan import Plan

NO_CANDIDATES = "no_candidates"
SET_EQUIVALENCE = "set_equivalence"
SCORE_PLATEAU = "score_plateau"
ITERATION_LIMIT = "iteration_limit"
STOPS = (NO_CANDIDATES, SET_EQUIVALENCE, SCORE_PLATEAU, ITERATION_LIMIT)
"""Why iterations end, in the order in which they are looked at."""

Propose = Callable[[Scored], Plan]


@dataclass(frozen=True)
class Round:
    """One iteration with its number, from 1, and why it is the last; None when it is not."""

    number: int
    iteration: Iteration
    stop: str | None


def iterate(sample: Sample, start: Scored, propose: Propose, first: int = 1) -> Iterator[Round]:
    """Yield iterations until one of them is the last.

    Parameters
    ----------
    propose
        Makes a plan for a scored partition.
    first
        Number of the first iteration; higher where earlier ones were made before.
    """
    before, number = start, first
    while True:
        iteration = execute(sample, before, propose(before), number)
        stop = stop_of(sample, before, iteration, number)
        yield Round(number, iteration, stop)
        if stop is not None:
            return
        before, number = iteration.after, number + 1


def stop_of(sample: Sample, before: Scored, iteration: Iteration, number: int) -> str | None:
    """Say why an iteration is the last; None when another one may bring something."""
    after, params = iteration.after, sample.refinement
    if not iteration.plan.operations:
        return NO_CANDIDATES
    if clusters_as_sets(before) == clusters_as_sets(after):
        return SET_EQUIVALENCE
    moved = abs(mean_score(after) - mean_score(before))
    fewer = unassigned_cells(after) < unassigned_cells(before)
    if number > 1 and moved < params.score_plateau and not fewer:
        return SCORE_PLATEAU
    return ITERATION_LIMIT if number >= params.max_iterations else None


def clusters_as_sets(scored: Scored) -> frozenset[tuple[frozenset[int], str, str]]:
    """Clusters as sets of cells with their labels, whatever they are called."""
    labels = {state.cluster_id: (state.label, state.path) for state in scored.states}
    return frozenset(
        (frozenset(scored.partition.cells_of(cluster).tolist()), *labels[cluster])
        for cluster in scored.partition.ids
    )


def mean_score(scored: Scored) -> float:
    """Mean assigned score over the cells; a null score counts 0."""
    total = sum((state.score or 0.0) * state.n_cells for state in scored.states)
    return total / len(scored.partition.cell_ids)


def unassigned_cells(scored: Scored) -> int:
    """Cells of clusters without a label."""
    lost = [s for s in scored.states if s.stop_reason == "no_root_passed" and not s.held]
    return sum(state.n_cells for state in lost)
