"""Iterations until nothing moves, and why they ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ctr_engine.keys import UNASSIGNED
from ctr_engine.refinement.engine import Iteration, Rules, Sample, Scored, execute
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.proposals import Policy, Proposal, asked_for, propose

NO_CANDIDATES = "no_candidates"
SET_EQUIVALENCE = "set_equivalence"
SCORE_PLATEAU = "score_plateau"
TWO_PASSES = "two_passes"
"""The two passes go on by themselves until nothing changes; another iteration would only draw other
microclusters."""
ITERATION_LIMIT = "iteration_limit"
CONVERGED = frozenset({NO_CANDIDATES, SET_EQUIVALENCE, SCORE_PLATEAU, TWO_PASSES})


class Earlier(Protocol):
    """What an iteration needs to know of an earlier one of the same chain."""

    @property
    def stop_reason(self) -> str | None:
        """Why it was the last; None when it was not."""

    @property
    def manual_entries(self) -> tuple[str, ...]:
        """Entries of the manual file that it carried out."""


@dataclass(frozen=True)
class Round:
    """One iteration with its number, from 1, and why it is the last; None when it is not."""

    number: int
    proposal: Proposal
    iteration: Iteration
    stop_reason: str | None

    @property
    def manual_entries(self) -> tuple[str, ...]:
        """Entries of the manual file that it carried out."""
        return self.proposal.manual.entries


def iterate(sample: Sample, start: Scored, policy: Policy, first: int = 1) -> Iterator[Round]:
    """Yield iterations until one of them is the last.

    Parameters
    ----------
    first
        Number of the first iteration; higher where earlier ones were made before.
    """
    before, made = start, list[Round]()
    while (one := next_round(sample, before, policy, made, first + len(made))) is not None:
        yield one
        made.append(one)
        before = one.iteration.after


def next_round(
    sample: Sample, before: Scored, policy: Policy, earlier: Sequence[Earlier], number: int
) -> Round | None:
    """Make the next iteration; None when the last one of the chain has been made.

    Parameters
    ----------
    earlier
        Iterations of the same chain, with the same manual file.
    number
        Number of this one.
    """
    if is_finished(sample, before.partition, policy, earlier, number):
        return None
    converged = earlier[-1].stop_reason if earlier else None
    asked = policy if converged is None else replace(policy, auto=False)
    proposal = propose(asked, sample, before, _done(earlier), first=not earlier)
    if converged is not None and not proposal.plan.operations:
        return None
    iteration = execute(sample, before, proposal.plan, number, proposal.regrouping)
    stop = stop_of(sample, before, iteration, number) or converged
    if proposal.regrouping is not None and stop not in CONVERGED:
        stop = TWO_PASSES
    return Round(number, proposal, iteration, stop)


def is_finished(
    rules: Rules, partition: Partition, policy: Policy, earlier: Sequence[Earlier], number: int
) -> bool:
    """Whether the last iteration of a chain has been made; the cells are not needed to know.

    A chain that has converged goes on for entries of the manual file that waited for its clusters,
    and for these alone.
    """
    if not earlier or earlier[-1].stop_reason is None:
        return False
    if number > rules.refinement.max_iterations:
        return True
    return not asked_for(policy, rules, partition, _done(earlier), first=False).operations


def _done(earlier: Sequence[Earlier]) -> set[str]:
    return {entry for one in earlier for entry in one.manual_entries}


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
    return sum(state.n_cells for state in scored.states if state.label == UNASSIGNED)


def summary(before: Scored, one: Round) -> dict[str, Any]:
    """Say in numbers what an iteration did, ready for JSON; pairs are before and after."""
    after = one.iteration.after
    return {
        "iteration": one.number,
        "operations": one.iteration.plan.counts(),
        "clusters": [len(before.states), len(after.states)],
        "mean_score": [mean_score(before), mean_score(after)],
        "unassigned_cells": [unassigned_cells(before), unassigned_cells(after)],
        "stop_reason": one.stop_reason,
        "waiting": list(one.proposal.manual.waiting),
    }
