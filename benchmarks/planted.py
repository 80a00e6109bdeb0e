"""Labels after refinement beside those of Stage H, where mixtures were planted: macro-F1.

Last come the shares of cells that Stage H names exactly: by their clusters, and each for itself
without and with ``per_cell_learning``.

python -m benchmarks.planted [N_SEEDS] [reference|adaptive]

Simulated tissue of the demo, 4,000 cells. Clusters are the true types, of which two pairs of
siblings and one pair of any types were made one cluster each, and 3 % of the cells were exchanged
between clusters.
"""

import json
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.refinement import macro_f1, paths, refined
from ctr_assets.demo import MAPS
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.io.samples import read_marker_map
from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.params import layered
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.engine import Sample, Scored, score_partition
from ctr_engine.refinement.params import RefinementParams, refinement_params
from ctr_engine.refinement.partition import Partition
from ctr_engine.simulate import TRUTH, CellProfile, SimulationParams, simulate_sample

N_CELLS, SIBLING_PAIRS, EXCHANGED = 4_000, 2, 0.03


def planted_clusters(truth: list[str], seed: int) -> np.ndarray:
    """Cluster of each cell, with the planted mixtures."""
    random = np.random.default_rng(seed)
    kinds = sorted(set(truth))
    siblings = defaultdict(list)
    for kind in kinds:
        siblings[kind.rpartition(PATH_SEPARATOR)[0]].append(kind)
    families = [family for family in siblings.values() if len(family) > 1]
    joined = {kind: kind for kind in kinds}
    chosen = [families[i] for i in random.permutation(len(families))[:SIBLING_PAIRS]]
    for family in [*chosen, kinds]:
        first, second = (family[i] for i in random.permutation(len(family))[:2])
        joined[second] = joined[first]
    number = {kind: str(i) for i, kind in enumerate(sorted(set(joined.values())))}
    clusters = np.array([number[joined[kind]] for kind in truth], dtype=object)
    exchanged = random.random(len(clusters)) < EXCHANGED
    clusters[exchanged] = random.permutation(clusters[exchanged])
    return clusters


def measure(seed: int, profile: str) -> dict[str, object]:
    """Macro-F1 of one simulated sample before and after."""
    cohort = json.loads((MAPS / "codex_profiles.json").read_text(encoding="utf-8"))
    tissue = sorted(cohort["tissues"])[seed % 2]
    types = cohort["tissues"][tissue]
    profiles = {path: CellProfile.model_validate(types[path]) for path in types}
    settings = SimulationParams(n_cells=N_CELLS, random_state=seed)
    adata = simulate_sample(tuple(cohort["panel"]), profiles, settings)
    view = read_expression(adata, ExpressionParams())
    truth = adata.obs[TRUTH].astype(str).tolist()
    partition = Partition(view.cell_ids.astype(object), planted_clusters(truth, seed), {})
    sample = Sample(
        view,
        read_marker_map(Path(str(MAPS / f"{tissue}.json"))),
        AnalysisParams(profile=profile),
        refinement_params(profile, None, RefinementParams(min_cells=100)),
    )
    start = score_partition(sample, partition, {})
    after, stop, _ = refined(sample, start)
    before, then = macro_f1(paths(start), truth), macro_f1(paths(after), truth)
    row = {"seed": seed, "tissue": tissue, "Stage H": before, "refined": then, "stop": stop}
    return row | {"clusters": share_right(paths(start), truth)} | own_labels(sample, start, truth)


def share_right(found: list[str], truth: list[str]) -> float:
    """Share of cells with exactly the right label."""
    return float(np.mean([one == other for one, other in zip(found, truth, strict=True)]))


def own_labels(sample: Sample, start: Scored, truth: list[str]) -> dict[str, object]:
    """Share of cells whose own label is right, without and with learning."""
    found: dict[str, object] = {}
    for name, learning in (("cells", False), ("cells, learnt", True)):
        gating = layered(sample.params.gating, GatingParams(per_cell_learning=learning))
        params = sample.params.model_copy(update={"gating": gating})
        asked = replace(sample, params=params)
        scored = score_partition(asked, start.partition, {})
        found[name] = share_right(labels_of_cells(asked, scored).paths.tolist(), truth)
    return found


def main() -> None:
    """Print one row per seed, and the means."""
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    profile = sys.argv[2] if len(sys.argv) > 2 else "adaptive"
    table = pd.DataFrame([measure(seed, profile) for seed in range(n_seeds)])
    print(table.round(3).to_string(index=False))
    worse = int((table["refined"] < table["Stage H"] - 1e-9).sum())
    means = table[["Stage H", "refined"]].mean().round(3).tolist()
    print(f"mean {means[0]} -> {means[1]}; worse on {worse} of {n_seeds} seeds")
    exact = table[["clusters", "cells", "cells, learnt"]]
    fewer = int((exact["cells, learnt"] < exact["cells"] - 1e-9).sum())
    print(
        f"exact {exact.mean().round(3).to_dict()}; learning is worse on {fewer} of {n_seeds} seeds"
    )


if __name__ == "__main__":
    main()
