"""What a two-pass refinement did, in numbers and in sentences."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from ctr_engine.splitmerge.two_pass import GIVEN, PASS_1, PASS_2, Iteration, TwoPass

_BINS = ((1, 1), (2, 10), (11, 50), (51, 100), (101, None))

STOP_TEXTS: Mapping[str | None, str] = {
    "no_changes": "converged: an iteration changed nothing",
    "set_equivalence": "converged: an iteration ended with the clusters that it began with",
    "oscillation": "oscillation: a partition came back; the widest gap was kept",
    "iteration_limit": "not converged within the iterations; --max-iterations allows more",
    None: "pass 2 was not asked for",
}


def summary(
    result: TwoPass, given: Mapping[str, Sequence[object]], seconds: float
) -> dict[str, Any]:
    """Put the result into numbers, ready for JSON."""
    first = next((i for i in result.iterations if i.stage == PASS_1), None)
    rounds = [i for i in result.iterations if i.stage == PASS_2]
    return {
        "n_items": sum(map(len, result.clusters.values())),
        "n_clusters_given": len([items for items in given.values() if len(items)]),
        "n_clusters": len(result.clusters),
        "mece": True,  # two_pass gives nothing else
        "pass_1": None if first is None else _pass_one(result, first),
        "pass_2": None if not rounds else _pass_two(result, rounds),
        "stop_reason": result.stop_reason,
        "iterations": [_iteration(iteration) for iteration in result.iterations],
        "kept_iteration": result.kept,
        "kept_stage": result.iterations[result.kept].stage,
        "largest_scope": result.largest_scope,
        "scopes_cut": result.n_cut_scopes,
        "clusters_refined_by_a_sample": len(result.sampled),
        "sizes": sizes([len(items) for items in result.clusters.values()]),
        "seconds": round(seconds, 3),
    }


def _pass_one(result: TwoPass, iteration: Iteration) -> dict[str, Any]:
    resolved = result.resolved
    if resolved is None:
        msg = "pass 1 always resolves conflicts first"
        raise AssertionError(msg)
    return {
        "clusters_before": iteration.n_before,
        "clusters_after": iteration.n_after,
        "conflicts_resolved": resolved.n_conflicts,
        "conflict_components": resolved.n_components,
        "assigned_to_nearest": len(resolved.assigned),
        "individual_refinements": iteration.n_scopes - resolved.n_components,
        "gap": _number(iteration.gap),
    }


def _pass_two(result: TwoPass, rounds: Sequence[Iteration]) -> dict[str, Any]:
    return {
        "clusters_before": rounds[0].n_before,
        "clusters_after": rounds[-1].n_after,
        "iterations": len(rounds),
        "stop_reason": result.stop_reason,
        "cycle": result.cycle,
        "restless_clusters": len(result.restless),
        "converged_scopes": result.n_converged_scopes,
        "gap": _number(rounds[-1].gap),
    }


def _iteration(iteration: Iteration) -> dict[str, Any]:
    return {
        "number": iteration.number,
        "stage": iteration.stage,
        "clusters_before": iteration.n_before,
        "clusters_after": iteration.n_after,
        "changes": iteration.n_applied,
        "gap": _number(iteration.gap),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 9)


def sizes(counts: Sequence[int]) -> dict[str, Any]:
    """Largest, smallest, median and mean size, and how many clusters there are of each size."""
    bins = {}
    for low, high in _BINS:
        name = str(low) if low == high else f"{low}+" if high is None else f"{low}-{high}"
        bins[name] = sum(low <= n and (high is None or n <= high) for n in counts)
    return {
        "largest": max(counts),
        "smallest": min(counts),
        "median": median(counts),
        "mean": round(mean(counts), 3),
        "clusters_by_size": bins,
    }


def lines(numbers: Mapping[str, Any], items: str) -> list[str]:
    """Put the numbers into sentences; ``items`` is what they are called."""
    one, two = numbers["pass_1"], numbers["pass_2"]
    found = [f"{numbers['n_items']:,} {items} in {numbers['n_clusters_given']:,} clusters"]
    if one is not None:
        found += [
            "Pass 1 (conflicts, then every cluster once; tends to split):",
            (
                f"  {one['conflicts_resolved']:,} {items} in several clusters, in "
                f"{one['conflict_components']:,} groups of clusters: resolved"
            ),
            f"  {one['individual_refinements']:,} clusters refined with their neighbours",
            f"  {one['clusters_before']:,} -> {one['clusters_after']:,} clusters",
        ]
        if one["assigned_to_nearest"]:
            found.append(
                f"  {one['assigned_to_nearest']:,} {items} of a group above the scope size went to "
                "the cluster with the nearest medoid"
            )
    if two is not None:
        counted = f"{two['iterations']} iteration" + "s" * (two["iterations"] != 1)
        found += [
            "Pass 2 (neighbourhoods, until nothing changes; tends to merge):",
            f"  {counted}; {STOP_TEXTS[two['stop_reason']]}",
            f"  {two['converged_scopes']:,} converged scopes",
            f"  {two['clusters_before']:,} -> {two['clusters_after']:,} clusters",
        ]
        if two["cycle"] is not None:
            found.append(
                f"  {two['restless_clusters']} clusters come and go every {two['cycle']} iterations"
            )
    found += _steps(numbers)
    found.append(_result(numbers, items))
    if numbers["scopes_cut"]:
        found.append(
            f"{numbers['scopes_cut']:,} scopes left out a near cluster, for there are more "
            f"{items} than a scope takes; a larger one takes longer: --max-scope-size"
        )
    size = numbers["sizes"]
    found.append(
        f"Sizes: largest {size['largest']:,}, median {size['median']:g}, mean {size['mean']:g}, "
        f"smallest {size['smallest']:,}"
    )
    bins = ", ".join(f"{n:,} of {name}" for name, n in size["clusters_by_size"].items())
    found += [f"Clusters by size: {bins}", f"Seconds: {numbers['seconds']:g}"]
    return found


def _steps(numbers: Mapping[str, Any]) -> list[str]:
    """One line for each iteration, with what it changed and how wide the gap is then."""
    found = ["Iterations (number, stage, clusters, scopes that changed, mean gap):"]
    for step in numbers["iterations"]:
        gap = "none" if step["gap"] is None else f"{step['gap']:.5f}"
        kept = "  <- the result" if step["number"] == numbers["kept_iteration"] else ""
        found.append(
            f"  {step['number']:>2}  {step['stage']:<7}{step['clusters_after']:>7,}"
            f"{step['changes']:>7,}  {gap}{kept}"
        )
    return found


def _result(numbers: Mapping[str, Any], items: str) -> str:
    text = f"Result: {numbers['n_clusters']:,} clusters, each of the {items} in exactly one"
    if numbers["kept_stage"] == GIVEN:
        text += ". No iteration widened the gap: the clusters are those that were given"
    if numbers["clusters_refined_by_a_sample"]:
        text += (
            f". {numbers['clusters_refined_by_a_sample']} clusters above the scope size were "
            "refined by a sample"
        )
    return text + "."
