"""Runs of both passes over items whose distances are all known."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ctr_engine.splitmerge.distances import MatrixDistances
from ctr_engine.splitmerge.params import TwoPassParams
from ctr_engine.splitmerge.refiner import Refiner
from ctr_engine.splitmerge.two_pass import TwoPass, two_pass

_OF_THE_RUN = ("passes", "n_jobs", "progress")


def run(distances: np.ndarray, clusters: Mapping[str, Sequence[int]], **options: Any) -> TwoPass:
    """Both passes; ``options`` are those of the run, and parameters."""
    own = {name: options.pop(name) for name in _OF_THE_RUN if name in options}
    refiner = Refiner(MatrixDistances(distances), TwoPassParams(**options))
    return two_pass(clusters, refiner, **own)


def contents(found: TwoPass) -> list[tuple[int, ...]]:
    """Items of each cluster, ordered by the smallest."""
    return sorted(found.clusters.values())
