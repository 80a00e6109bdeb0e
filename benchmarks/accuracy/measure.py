"""All labels of one sample under one seed, and how they compare with the known ones."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.accuracy.astir_labels import astir_paths
from benchmarks.accuracy.baselines import (
    METHODS,
    baseline_paths,
    cluster_means,
    scaled_cells,
)
from benchmarks.accuracy.labelled import Labelled
from benchmarks.refinement import paths, refined
from ctr_engine.analysis import annotate
from ctr_engine.evaluation import ceiling, compare_with_truth, majorities
from ctr_engine.keys import CELL_TYPE_CELL_PATH, CELL_TYPE_PATH
from ctr_engine.markers.panel import resolve_map
from ctr_engine.profiles import ProfileName
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.engine import Sample, Scored, score_partition
from ctr_engine.refinement.params import RefinementParams, refinement_params
from ctr_engine.refinement.partition import Partition

PROFILES: tuple[ProfileName, ...] = ("reference", "adaptive")
Row = dict[str, Any]
Supported = tuple[str, float]
"""Path of a label, and its support."""


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


def measure(
    one: Labelled, seed: int, resolution: float, astir: Path | None = None
) -> tuple[list[Row], list[Row]]:
    """Rows of the labels of all methods, and one row per cluster of both profiles.

    ``astir`` is an interpreter that has Astir; without one it is left out.
    """
    clusters = one.clusters(seed, resolution)
    common = {"set": one.name, "seed": seed}
    labels, supports = [], []
    for method, stage, found, seconds in _baselines(one, clusters):
        row = {"method": method, "stage": stage, "seconds": seconds}
        labels.append(common | row | accuracy(found, one.truth))
    if astir is not None:
        started = time.perf_counter()
        found = astir_paths(one, seed, astir)
        spent = {"seconds": time.perf_counter() - started}
        row = {"method": "Astir", "stage": "cells"}
        labels.append(common | row | spent | accuracy(found, one.truth))
    for profile in PROFILES:
        rows, judged = _profile(one, clusters, profile, (seed, resolution))
        labels += [common | row for row in rows]
        supports += [common | row for row in judged]
    return labels, supports


def _baselines(
    one: Labelled, clusters: npt.NDArray[Any]
) -> Iterator[tuple[str, str, list[str], float | None]]:
    allowed = ceiling(clusters.tolist(), one.truth)
    yield "best that clusters allow", "clusters", allowed, None
    resolved = resolve_map(one.marker_map, one.view.panel)
    started = time.perf_counter()
    of_cells = scaled_cells(one.view, clusters)
    values = {"clusters": cluster_means(of_cells, clusters), "cells": of_cells}
    shared = time.perf_counter() - started
    for name, method in METHODS.items():
        for stage, block in values.items():
            started = time.perf_counter()
            found = baseline_paths(method, block, resolved)
            yield name, stage, found, shared + time.perf_counter() - started


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
    judged = [
        {"profile": profile, "step": step, **row}
        for step, given, ids in (
            ("Stage H", of_stage_h(result.tables["cluster_annotations"]), clusters),
            ("refined", of_refinement(after), after.partition.clusters),
        )
        for row in judge(given, ids, one.truth)
    ]
    return rows, judged


def of_stage_h(annotated: pd.DataFrame) -> dict[str, Supported]:
    """Label and support of each cluster of Stage H."""
    names = ("cluster_id", "assigned_path", "support")
    rows = zip(*(annotated[name] for name in names), strict=True)
    return {cluster: (path, support) for cluster, path, support in rows}


def of_refinement(scored: Scored) -> dict[str, Supported]:
    """Label and support of each refined cluster but those whose label an operation gave."""
    return {s.cluster_id: (s.path, s.support) for s in scored.states if s.support is not None}


def judge(
    given: Mapping[str, Supported], clusters: npt.NDArray[Any], truth: list[str]
) -> Iterator[Mapping[str, Any]]:
    """Support of each cluster that has a scored cell, and whether its label is right."""
    best = majorities(clusters.tolist(), truth)
    known = np.array(truth, dtype=object)
    for cluster, (path, support) in given.items():
        if cluster not in best:
            continue
        cells = known[(clusters == cluster) & (known != "")]
        yield {
            "cluster_id": cluster,
            "support": support,
            "right": best[cluster] == path,
            "share_right": float((cells == path).mean()),
            "n_cells": len(cells),
        }
