"""Labels after refinement beside those of Stage H, on labelled folders: macro-F1 over the cells.

python -m benchmarks.refinement DATA_DIR [reference|adaptive]

A folder has ``data.h5ad``, ``marker_map.json``, ``gold_to_path.json`` and a ``SOURCE.md``. The
automatic policy with ``min_cells`` 100, until convergence; F1 of each true label by exact path, and
their unweighted mean.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.stage_h import layer_of
from ctr_engine.analysis import annotate
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.io.samples import read_marker_map, read_sample
from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.convergence import iterate
from ctr_engine.refinement.engine import Sample, Scored, score_partition
from ctr_engine.refinement.params import RefinementParams, refinement_params
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.proposals import Policy


def macro_f1(found: list[str], truth: list[str]) -> float:
    """Mean F1 of the true labels; cells without a known label do not count."""
    pairs = pd.DataFrame({"found": found, "truth": truth})
    pairs = pairs[pairs["truth"] != ""]
    scores = []
    for label in sorted(set(pairs["truth"])):
        hit = ((pairs["found"] == label) & (pairs["truth"] == label)).sum()
        named, known = (pairs["found"] == label).sum(), (pairs["truth"] == label).sum()
        scores.append(2 * hit / (named + known))
    return float(np.mean(scores))


def paths(scored: Scored) -> list[str]:
    """Path of each cell's label."""
    labels = {state.cluster_id: state.path for state in scored.states}
    return [labels[cluster] for cluster in scored.partition.clusters]


def refined(sample: Sample, start: Scored) -> tuple[Scored, str, int]:
    """State after the last iteration, why it was the last, and how many there were."""
    rounds = list(iterate(sample, start, Policy()))
    return rounds[-1].iteration.after, str(rounds[-1].stop_reason), len(rounds)


def measure(folder: Path, profile: str) -> dict[str, object]:
    """Macro-F1 of one folder before and after."""
    params = AnalysisParams(profile=profile, expression=ExpressionParams(layer=layer_of(folder)))
    adata = read_sample(folder / "data.h5ad")
    view = read_expression(adata, params.expression)
    marker_map = read_marker_map(folder / "marker_map.json")
    gold = json.loads((folder / "gold_to_path.json").read_text())
    known = {label: path for label, path in gold.items() if path}
    truth = [
        PATH_SEPARATOR.join(known[label]) if label in known else ""
        for label in adata.obs["cell_type"].astype(str)
    ]
    settings = refinement_params(profile, None, RefinementParams(min_cells=100))
    sample = Sample(view, marker_map, params, settings, n_jobs=2)
    clusters = annotate(view, marker_map, params, n_jobs=2).clusters["cluster_id"].to_numpy()
    partition = Partition(view.cell_ids.astype(object), clusters.astype(object), {})
    start = score_partition(sample, partition, {})
    after, stop, rounds = refined(sample, start)
    before, then = macro_f1(paths(start), truth), macro_f1(paths(after), truth)
    return {
        "folder": folder.name,
        "clusters": f"{len(start.states)} -> {len(after.states)}",
        "Stage H": round(before, 4),
        "refined": round(then, 4),
        "change": round(then - before, 4),
        "iterations": rounds,
        "stop": stop,
    }


def main() -> None:
    """Print one row per folder."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    profile = sys.argv[2] if len(sys.argv) > 2 else "adaptive"
    folders = sorted(path.parent for path in Path(sys.argv[1]).glob("*/data.h5ad"))
    print(pd.DataFrame([measure(folder, profile) for folder in folders]).to_string(index=False))


if __name__ == "__main__":
    main()
