"""How right a consensus is beside the runs that it is made of, and what its stability tells."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.labelled import Labelled
from benchmarks.accuracy.measure import accuracy
from ctr_engine.analysis import annotate
from ctr_engine.clustering.pca import pca
from ctr_engine.clustering.pipeline import knn_graph
from ctr_engine.keys import CELL_TYPE_CELL_PATH, CELL_TYPE_PATH
from ctr_engine.profiles import AnalysisParams
from ctr_engine.splitmerge.cells.consensus import consensus, share_of_runs
from ctr_engine.splitmerge.cells.params import ConsensusParams
from ctr_engine.splitmerge.cells.runs import leiden_runs

Row = dict[str, Any]
Labels = dict[str, list[str]]

KINDS = {"clusters": CELL_TYPE_PATH, "cells": CELL_TYPE_CELL_PATH}
"""Label of a cell: that of its cluster, or the one that its own markers prefer."""


def measure(
    one: Labelled, first_seed: int, resolutions: Sequence[float], params: ConsensusParams
) -> Row:
    """Figures of one set; several resolutions are taken in turn by the runs."""
    analysis = one.params("adaptive", first_seed, resolutions[0])
    params = params.model_copy(update={"resolutions": tuple(resolutions)})
    coordinates = pca(one.view, analysis.clustering.n_pcs)
    started = time.perf_counter()
    graph = knn_graph(coordinates, analysis.clustering, n_jobs=2)
    runs = leiden_runs(graph, analysis.clustering, params)
    clustered = time.perf_counter()
    found = consensus(runs, coordinates, one.view.cell_ids.tolist(), params)
    ended = time.perf_counter()
    labels = labels_of(one, analysis, found.clusters)
    singles = [labels_of(one, analysis, run) for run in runs]
    each = [len(set(run.tolist())) for run in runs]
    row = {
        "set": one.name,
        "resolutions": " ".join(map(str, resolutions)),
        "clusters_of_runs": f"{min(each)}-{max(each)}",
        "clusters": len(found.jaccard),
        "conflicts": float(found.conflict.mean()),
        "ties": float(found.tie.mean()),
    }
    for kind in KINDS:
        exact = [accuracy(single[kind], one.truth)["exact"] for single in singles]
        row[f"{kind}_median_run"] = float(np.median(exact))
        row[f"{kind}_consensus"] = accuracy(labels[kind], one.truth)["exact"]
        right = [a == b for a, b in zip(labels[kind], one.truth, strict=True)]
        firm = share_of_runs([single[kind] for single in singles], labels[kind])
        row[f"{kind}_auroc_stability"] = auroc(found.stability, right, one.truth)
        row[f"{kind}_auroc_label_stability"] = auroc(firm, right, one.truth)
    seconds = {"graph_and_runs_s": clustered - started, "consensus_s": ended - clustered}
    return row | seconds


def labels_of(one: Labelled, params: AnalysisParams, clusters: npt.NDArray[Any]) -> Labels:
    """Paths of the labels of all cells under one clustering."""
    ids = [str(cluster) for cluster in clusters.tolist()]
    result = annotate(one.view, one.marker_map, params, clusters=ids, n_jobs=2)
    table = result.tables["annotations"]
    return {kind: table[column].tolist() for kind, column in KINDS.items()}


def auroc(
    value: npt.NDArray[np.float64], right: Sequence[bool], truth: Sequence[str]
) -> float | None:
    """Chance that a right cell has a higher value than a wrong one; None without both."""
    from sklearn.metrics import roc_auc_score

    known = np.array([bool(label) for label in truth])
    wanted = np.asarray(right)[known]
    if wanted.all() or not wanted.any():
        return None
    return float(roc_auc_score(wanted, value[known]))
