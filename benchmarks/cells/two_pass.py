"""Labels after the two policies of refinement, beside those of the clusters as they were."""

import time
from typing import Any

from benchmarks.accuracy.labelled import Labelled
from benchmarks.accuracy.measure import accuracy
from benchmarks.refinement import paths
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.convergence import iterate
from ctr_engine.refinement.engine import Sample, Scored, score_partition
from ctr_engine.refinement.params import RefinementParams, refinement_params
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.proposals import Policy

Row = dict[str, Any]
POLICIES = {"auto": Policy(), "two-pass": Policy(two_pass=True)}


def measure(one: Labelled, seed: int, resolution: float) -> list[Row]:
    """One row for the clusters as they were, and one for each policy."""
    params = one.params("adaptive", seed, resolution)
    settings = refinement_params("adaptive", None, RefinementParams())
    sample = Sample(one.view, one.marker_map, params, settings, n_jobs=2)
    clusters = one.clusters(seed, resolution)
    partition = Partition(one.view.cell_ids.astype(object), clusters, {})
    before = score_partition(sample, partition, {})
    common = {"set": one.name, "resolution": resolution, "seed": seed}
    rows = [common | {"policy": "none", "stop": "", "seconds": 0.0} | _figures(one, sample, before)]
    for name, policy in POLICIES.items():
        started = time.perf_counter()
        rounds = list(iterate(sample, before, policy))
        seconds = time.perf_counter() - started
        after = rounds[-1].iteration.after
        how = {"policy": name, "stop": rounds[-1].stop_reason, "seconds": seconds}
        rows.append(common | how | _figures(one, sample, after))
    return rows


def _figures(one: Labelled, sample: Sample, scored: Scored) -> Row:
    own = labels_of_cells(sample, scored)
    return {
        "clusters": len(scored.states),
        "exact_clusters": accuracy(paths(scored), one.truth)["exact"],
        "exact_cells": accuracy(own.paths.tolist(), one.truth)["exact"],
    }
