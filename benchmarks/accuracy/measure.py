"""All labels of one sample under one seed, and how they compare with the known ones."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.accuracy.baselines import METHODS, baseline_paths, cluster_means
from benchmarks.accuracy.labelled import Labelled
from benchmarks.refinement import paths, refined
from ctr_engine.analysis import annotate
from ctr_engine.evaluation import ceiling, compare_with_truth, majorities
from ctr_engine.keys import CELL_TYPE_CELL_PATH, CELL_TYPE_PATH
from ctr_engine.markers.panel import resolve_map
from ctr_engine.profiles import ProfileName
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.engine import Sample, score_partition
from ctr_engine.refinement.params import RefinementParams, refinement_params
from ctr_engine.refinement.partition import Partition

PROFILES: tuple[ProfileName, ...] = ("reference", "adaptive")
Row = dict[str, Any]


def accuracy(found: list[str], truth: list[str]) -> Row:
    """Shares of cells, by the names of the table."""
    seen = compare_with_truth(found, truth)
    return {
        "exact": seen.exact,
        "macro_f1": seen.macro_f1,
        "hierarchical_precision": seen.hierarchical_precision,
        "hierarchical_recall": seen.hierarchical_recall,
        "hierarchical_f": seen.hierarchical_f,
        "unassigned": seen.unassigned,
        "n_cells": seen.n_cells,
    }


def measure(one: Labelled, seed: int, resolution: float) -> tuple[list[Row], list[Row]]:
    """Rows of the labels of all methods, and one row per cluster of both profiles."""
    clusters = one.clusters(seed, resolution)
    common = {"set": one.name, "seed": seed}
    labels, supports = [], []
    for method, found, seconds in _baselines(one, clusters):
        row = {"method": method, "stage": "clusters", "seconds": seconds}
        labels.append(common | row | accuracy(found, one.truth))
    for profile in PROFILES:
        rows, judged = _profile(one, clusters, profile, (seed, resolution))
        labels += [common | row for row in rows]
        supports += [common | row for row in judged]
    return labels, supports


def _baselines(
    one: Labelled, clusters: npt.NDArray[Any]
) -> Iterator[tuple[str, list[str], float | None]]:
    yield "best that clusters allow", ceiling(clusters.tolist(), one.truth), None
    resolved = resolve_map(one.marker_map, one.view.panel)
    started = time.perf_counter()
    means = cluster_means(one.view, clusters)
    shared = time.perf_counter() - started
    for name, method in METHODS.items():
        started = time.perf_counter()
        found = baseline_paths(method, means, clusters, resolved)
        yield name, found, shared + time.perf_counter() - started


def _profile(
    one: Labelled, clusters: npt.NDArray[Any], profile: ProfileName, how: tuple[int, float]
) -> tuple[list[Row], list[Row]]:
    params = one.params(profile, *how)
    started = time.perf_counter()
    result = annotate(one.view, one.marker_map, params, clusters=clusters.tolist(), n_jobs=2)
    seconds = time.perf_counter() - started
    cells = result.tables["annotations"]
    found: dict[tuple[str, str], tuple[list[str], float]] = {
        ("Stage H", "clusters"): (cells[CELL_TYPE_PATH].tolist(), seconds),
        ("Stage H", "cells"): (cells[CELL_TYPE_CELL_PATH].tolist(), seconds),
    }
    started = time.perf_counter()
    settings = refinement_params(profile, None, RefinementParams())
    sample = Sample(one.view, one.marker_map, params, settings, n_jobs=2)
    partition = Partition(one.view.cell_ids.astype(object), clusters, {})
    after, _, _ = refined(sample, score_partition(sample, partition, {}))
    own = labels_of_cells(sample, after)
    seconds += time.perf_counter() - started
    found["refined", "clusters"] = (paths(after), seconds)
    found["refined", "cells"] = (own.paths.tolist(), seconds)
    rows = [
        {"method": f"{profile}, {step}", "stage": stage, "seconds": spent}
        | accuracy(label, one.truth)
        for (step, stage), (label, spent) in found.items()
    ]
    judged = list(judge(result.tables["cluster_annotations"], clusters, one.truth))
    return rows, [{"profile": profile, **row} for row in judged]


def judge(
    annotated: pd.DataFrame, clusters: npt.NDArray[Any], truth: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Support of each cluster that has a scored cell, and whether its label is right."""
    best = majorities(clusters.tolist(), truth)
    known = np.array(truth, dtype=object)
    for row in annotated.to_dict("records"):
        cluster, path = row["cluster_id"], row["assigned_path"]
        if cluster not in best:
            continue
        cells = known[(clusters == cluster) & (known != "")]
        yield {
            "cluster_id": cluster,
            "support": row["support"],
            "stability": row["stability"],
            "agreement": row["agreement"],
            "right": best[cluster] == path,
            "share_right": float((cells == path).mean()),
            "n_cells": len(cells),
        }
