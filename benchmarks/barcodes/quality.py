"""Two passes on labelled sets: how right, how many iterations, how long."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmarks.barcodes.data import Clusters, Labelled, scores, triplets, vsearch_clusters
from benchmarks.barcodes.simulate import simulated
from ctr_engine.io.sequence_search import choose_search
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from ctr_engine.splitmerge.barcodes.refine import RefinedBarcodes, refine_barcodes

ENDED = ("no_changes", "set_equivalence", "oscillation")


def refined(
    known: Labelled, given: Clusters, params: BarcodeParams, search: str
) -> tuple[RefinedBarcodes, float]:
    """Refine and give the processor seconds, on one thread and without a cache."""
    dataset = params.context_of(len(known.barcodes)) == "dataset"
    _, tool = choose_search(search, dataset=dataset, n_jobs=1)  # type: ignore[arg-type]
    began = time.process_time()
    found = refine_barcodes(known.barcodes, given, params, search=tool)
    return found, time.process_time() - began


def row(
    known: Labelled, start: str, given: Clusters, params: BarcodeParams, search: str = "auto"
) -> dict[str, Any]:
    """One refinement beside its start."""
    found, seconds = refined(known, given, params, search)
    before, after = (
        scores(_complete(given, known), known.species),
        scores(found.clusters, known.species),
    )
    result = found.result
    rounds = [i for i in result.iterations if i.stage == "pass_2"]
    return {
        "set": known.name,
        "sequences": len(known.barcodes),
        "species": known.n_species,
        "start": start,
        "ari_start": before["ari"],
        **after,
        "clusters": len(found.clusters),
        "iterations": len(rounds),
        "stop": result.stop_reason,
        "kept": "the start"
        if result.kept == 0
        else "the last"
        if result.kept == rounds[-1].number
        else result.kept,
        "largest_scope": result.largest_scope,
        "cpu_s": seconds,
    }


def _complete(given: Mapping[str, Sequence[str]], known: Labelled) -> Clusters:
    """Clusters with each sequence in the first that names it, to score a start with conflicts."""
    seen: set[str] = set()
    found: Clusters = {}
    for name, ids in given.items():
        found[name] = [i for i in ids if i not in seen]
        seen.update(ids)
    return found | {f"alone {i}": [i] for i in known.species if i not in seen}


def on_sets(sets: Sequence[Labelled], params: BarcodeParams) -> pd.DataFrame:
    """Both starts of every set."""
    rows = []
    for known in sets:
        starts = {"vsearch 0.97": None if known.path is None else vsearch_clusters(known.path)}
        starts["triplets"] = triplets(known.barcodes)
        rows += [row(known, name, given, params) for name, given in starts.items() if given]
    return pd.DataFrame(rows)


def on_simulated(seeds: Sequence[int], params: BarcodeParams) -> pd.DataFrame:
    """Sets of known species."""
    return pd.DataFrame([row(*_named(seed), params) for seed in seeds])


def _named(seed: int) -> tuple[Labelled, str, Clusters]:
    known, given = simulated(seed)
    return known, "hasty", given


def searches_agree(sets: Sequence[Labelled], names: Sequence[str]) -> pd.DataFrame:
    """Partitions with the neighbours of each search, against those with all pairs.

    Each scope is aligned for itself, for with one alignment nothing is searched.
    """
    params = BarcodeParams(distance_context="scope")
    rows = []
    for known in sets:
        given = (None if known.path is None else vsearch_clusters(known.path)) or triplets(
            known.barcodes
        )
        reference = None
        for name in ("all", *names):
            found, seconds = refined(known, given, params, name)
            parts = sorted(found.clusters.values())
            reference = parts if reference is None else reference
            rows.append(
                {"set": known.name, "search": name, "same": parts == reference, "cpu_s": seconds}
            )
    return pd.DataFrame(rows)
