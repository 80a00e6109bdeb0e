"""The two passes: to MECE and through every cluster once, then on until nothing changes."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ctr_engine.errors import ParameterError
from ctr_engine.splitmerge.clusters import (
    Clusters,
    Items,
    Names,
    content,
    find_conflicts,
    partition_hash,
    require_mece,
)
from ctr_engine.splitmerge.conflicts import Resolved, resolve_conflicts
from ctr_engine.splitmerge.graph import MedoidGraph
from ctr_engine.splitmerge.operations import Operation, execute
from ctr_engine.splitmerge.refiner import Refiner
from ctr_engine.splitmerge.scope import Scope

GIVEN = "given"
PASS_1 = "pass_1"  # noqa: S105  a stage, no password
PASS_2 = "pass_2"  # noqa: S105

NO_CHANGES = "no_changes"
SET_EQUIVALENCE = "set_equivalence"
OSCILLATION = "oscillation"
ITERATION_LIMIT = "iteration_limit"

Progress = Callable[[str, int, int], None]
"""Told of a step by its name, how much of it is done, and of how much."""


def quiet(step: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Iteration:
    """One round: pass 1 is one, pass 2 has several; the first is what was given, if a partition.

    Attributes
    ----------
    n_scopes
        Scopes that were clustered; ``n_skipped`` had converged.
    n_applied
        Scopes whose clusters changed; ``n_dropped`` came too late, after one that they share
        clusters with.
    gap
        Mean local gap of the clusters afterwards, in units of distance.
    partition
        Hash of the partition, whatever its clusters are called.
    """

    number: int
    stage: str
    n_before: int
    n_after: int
    n_scopes: int
    n_skipped: int
    n_applied: int
    n_dropped: int
    gap: float
    partition: str


@dataclass(frozen=True)
class TwoPass:
    """A partition of all items, and how it came about.

    Attributes
    ----------
    kept
        Number of the iteration whose partition has the widest gap, which is the result; after pass
        1 alone, its number.
    stop_reason
        None where pass 2 was not asked for.
    cycle
        Iterations after which an oscillation repeats.
    n_cut_scopes
        Scopes that a near cluster did not fit into, each content once.
    restless
        Contents of the clusters that an oscillation makes and unmakes.
    resolved
        None without pass 1.
    """

    clusters: Clusters
    iterations: tuple[Iteration, ...]
    kept: int
    stop_reason: str | None
    cycle: int | None
    restless: tuple[Items, ...]
    n_converged_scopes: int
    n_cut_scopes: int
    resolved: Resolved | None
    sampled: tuple[Items, ...]
    largest_scope: int


def two_pass(
    given: Mapping[str, Sequence[int]],
    refiner: Refiner,
    *,
    passes: tuple[int, ...] = (1, 2),
    n_jobs: int = 1,
    progress: Progress = quiet,
) -> TwoPass:
    """Refine clusters.

    Pass 1 resolves conflicts and refines every cluster once; pass 2 refines neighbourhoods until
    nothing changes. The heuristics of a scope can also widen one gap at the cost of another, so
    the partition with the widest mean gap is the result: a refinement is never worse, by its own
    measure, than what it was given.

    Parameters
    ----------
    given
        Items of each cluster. Clusters may share items and may be empty; an item that is in none
        becomes a cluster of its own.
    refiner
        Distances and parameters.
    passes
        Without 1, the clusters must be a partition already.
    n_jobs
        Threads; they change nothing in the result.

    Raises
    ------
    ParameterError
        If a cluster holds an item that there is not.
    NotMeceError
        If pass 1 is left out and the clusters share items.
    """
    _require_items(given, len(refiner.distances))
    run = _Run(refiner, n_jobs, progress)
    # the prefix keeps names of others apart from those that are given here
    start = {f"given {name}": tuple(sorted(items)) for name, items in given.items() if len(items)}
    seen = {item for items in start.values() for item in items}
    alone = [(item,) for item in range(len(refiner.distances)) if item not in seen]
    whole = {**start, **run.names.named(alone)}
    resolved = None
    if not find_conflicts(whole):
        run.begin(whole)
    elif 1 not in passes:
        require_mece(whole, len(refiner.distances))
    if 1 in passes:
        resolved = resolve_conflicts(whole, refiner, run.names)
        run.pass_one(len(whole), resolved)
    stop_reason = run.pass_two() if 2 in passes else None
    best = run.best() if 2 in passes else run.states[-1]
    require_mece(best.clusters, len(refiner.distances))
    return TwoPass(
        clusters=best.clusters,
        iterations=tuple(state.iteration for state in run.states),
        kept=best.iteration.number,
        stop_reason=stop_reason,
        cycle=run.cycle,
        restless=run.restless(),
        n_converged_scopes=len(run.converged),
        n_cut_scopes=len(run.cut),
        resolved=resolved,
        sampled=tuple(sorted(refiner.sampled)),
        largest_scope=refiner.largest,
    )


def _require_items(given: Mapping[str, Sequence[int]], n_items: int) -> None:
    for name, items in given.items():
        outside = sorted({item for item in items if not 0 <= item < n_items})
        if outside:
            msg = f"cluster {name!r} holds items {outside[:5]}; there are 0 to {n_items - 1}"
            raise ParameterError(msg)


@dataclass(frozen=True)
class _State:
    iteration: Iteration
    clusters: Clusters
    graph: MedoidGraph


Signature = tuple[frozenset[Items], frozenset[Items]]
"""A scope by its content: what is clustered, and what is around it."""


class _Run:
    """The states that a refinement passes."""

    def __init__(self, refiner: Refiner, n_jobs: int, progress: Progress) -> None:
        self.refiner, self.n_jobs, self.progress = refiner, n_jobs, progress
        self.names = Names()
        self.states: list[_State] = []
        self.converged: set[Signature] = set()
        self.cut: set[Signature] = set()
        self.cycle: int | None = None

    def _reach(
        self, clusters: Clusters, stage: str, n_before: int, *,
        scopes: int = 0, skipped: int = 0, applied: int = 0, dropped: int = 0,
    ) -> None:  # fmt: skip
        graph = self.refiner.graph(clusters)
        iteration = Iteration(
            number=len(self.states),
            stage=stage,
            n_before=n_before,
            n_after=len(clusters),
            n_scopes=scopes,
            n_skipped=skipped,
            n_applied=applied,
            n_dropped=dropped,
            gap=self.refiner.gap(clusters, graph),
            partition=partition_hash(clusters),
        )
        self.states.append(_State(iteration, clusters, graph))

    def begin(self, clusters: Clusters) -> None:
        """Take what was given as the first state."""
        self._reach(self.names.named(clusters.values()), GIVEN, len(clusters))

    def pass_one(self, n_given: int, resolved: Resolved) -> None:
        """Refine every cluster once; those that conflict resolution made have been."""
        now = dict(resolved.clusters)
        graph = self.refiner.graph(now)
        seeds = sorted(now.keys() - resolved.new)
        refined: set[str] = set()
        n_scopes = applied = 0
        for done, seed in enumerate(seeds):
            self.progress("pass 1", done, len(seeds))
            if seed in refined or seed not in now:
                continue
            scope = self._scope(seed, now, graph, self.refiner.params.max_lump)
            around = [now[name] for name in scope.context]
            inputs = [now.pop(name) for name in scope.core]
            outputs = self.refiner.split(inputs, around)
            now |= self._renamed(outputs, scope.core, graph)
            refined.update(scope.core)
            n_scopes += 1
            applied += set(outputs) != set(inputs)
        self.progress("pass 1", len(seeds), len(seeds))
        n_scopes += resolved.n_components
        now = self.names.named(now.values())  # ids that sort by their smallest item again
        self._reach(now, PASS_1, n_given, scopes=n_scopes, applied=applied)

    def _scope(self, seed: str, now: Clusters, graph: MedoidGraph, close: float) -> Scope:
        scope = self.refiner.scope(seed, now, graph, close)
        if scope.is_cut:
            self.cut.add(_signature(scope, now))
        return scope

    def _renamed(
        self, outputs: Sequence[Items], core: Sequence[str], graph: MedoidGraph
    ) -> Clusters:
        """Name clusters after those whose medoid they hold, by which the graph knows them."""
        of_medoid = {graph.medoids[name]: name for name in reversed(core)}
        found: Clusters = {}
        for items in outputs:
            old = [of_medoid[item] for item in items if item in of_medoid]
            found[min(old) if old else self.names.name(items)] = items
        return found

    def pass_two(self) -> str:
        """Refine the neighbourhood of every cluster, again and again; say why it ended."""
        limit = self.refiner.params.max_iterations
        first = len(self.states) - 1  # what pass 2 begins with; before it nothing can come back
        for number in range(1, limit + 1):
            self.progress("pass 2", number - 1, limit)
            before = self.states[-1]
            after = self._iteration(before)
            if not after.n_applied:
                return NO_CHANGES
            if after.partition == before.iteration.partition:
                return SET_EQUIVALENCE
            for state in self.states[first:-1]:
                if state.iteration.partition == after.partition:
                    self.cycle = after.number - state.iteration.number
                    return OSCILLATION
        return ITERATION_LIMIT

    def _iteration(self, before: _State) -> Iteration:
        now = before.clusters
        scopes, n_skipped = self._scopes(now, before.graph)
        done = execute(now, self._operations(scopes, now))
        unchanged = {operation.seed for operation in done.unchanged}
        self.converged |= {_signature(s, now) for s in scopes if s.core[0] in unchanged}
        self._reach(
            done.clusters, PASS_2, len(now),
            scopes=len(scopes), skipped=n_skipped,
            applied=len(done.applied), dropped=len(done.dropped),
        )  # fmt: skip
        return self.states[-1].iteration

    def _scopes(self, now: Clusters, graph: MedoidGraph) -> tuple[list[Scope], int]:
        """Scopes of an iteration: a cluster is a seed unless it is in the core of one before."""
        processed: set[str] = set()
        found, n_skipped = [], 0
        for seed in sorted(now):
            if seed in processed:
                continue
            scope = self._scope(seed, now, graph, self.refiner.params.close)
            processed.update(scope.core)
            if _signature(scope, now) in self.converged:
                n_skipped += 1
            else:
                found.append(scope)
        return found, n_skipped

    def _operations(self, scopes: Sequence[Scope], now: Clusters) -> list[Operation]:
        def refined(scope: Scope) -> list[Items]:
            core, context = ([now[n] for n in part] for part in (scope.core, scope.context))
            return self.refiner.split(core, context)

        with ThreadPoolExecutor(max_workers=self.n_jobs) as pool:
            parts = list(pool.map(refined, scopes))
        return [
            Operation(scope.core[0], scope.core, self.names.named(outputs))
            for scope, outputs in zip(scopes, parts, strict=True)
        ]

    def best(self) -> _State:
        """State with the widest gap; of equal ones the last, which refinement leaves alone.

        What was given is one of them only if it keeps the thresholds, as every other does.
        """
        first = self.states[0]
        fair = first.iteration.stage != GIVEN or self.refiner.keeps_thresholds(
            first.clusters, first.graph
        )
        states = self.states if fair else self.states[1:]
        return max(states, key=lambda s: (_width(s.iteration.gap), s.iteration.number))

    def restless(self) -> tuple[Items, ...]:
        """Clusters that are not in all states of the cycle."""
        if self.cycle is None:
            return ()
        contents = [frozenset(state.clusters.values()) for state in self.states[-self.cycle :]]
        everywhere = frozenset[Items].intersection(*contents)
        return tuple(sorted(frozenset[Items].union(*contents) - everywhere))


def _signature(scope: Scope, now: Clusters) -> Signature:
    return content(now, scope.core), content(now, scope.context)


def _width(gap: float) -> float:
    """A partition of one cluster has no gap: it counts as 0, as in the score of a scope."""
    return 0.0 if math.isnan(gap) else round(gap, 12)
