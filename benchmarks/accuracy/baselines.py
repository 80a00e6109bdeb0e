"""Other ways to name clusters with the same map: the cell type with the best score wins.

Every leaf of the map competes with every other; anti-markers count where the method knows them.
"""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.cluster_statistics import StatisticsParams, cluster_statistics
from ctr_engine.expression import ExpressionView
from ctr_engine.markers.panel import ResolvedMap, ResolvedNode
from ctr_engine.voting import scaled_block

Float64 = npt.NDArray[np.float64]
Method = Callable[[Float64, list[ResolvedNode]], Float64]


def leaves(resolved: ResolvedMap) -> list[ResolvedNode]:
    """Leaves of the map with a marker on the panel."""
    return [node for node in resolved.nodes if node.node.is_leaf and node.positions]


def mean_z(values: Float64, nodes: list[ResolvedNode]) -> Float64:
    """Mean scaled value of the markers."""
    return np.column_stack([values[:, list(node.positions)].mean(axis=1) for node in nodes])


def sctype_like(values: Float64, nodes: list[ResolvedNode]) -> Float64:
    """Sum of the markers by how few cell types have them, less anti-markers, each over sqrt(n).

    After Ianevski et al. 2022 (scType).
    """
    frequency = np.zeros(values.shape[1])
    for node in nodes:
        frequency[list(node.positions)] += 1
    weight = 1 - (np.maximum(frequency, 1) - 1) / max(len(nodes) - 1, 1)
    scores = []
    for node in nodes:
        own, anti = list(node.positions), list(node.anti_positions)
        score = (values[:, own] * weight[own]).sum(axis=1) / np.sqrt(len(own))
        if anti:
            score = score - values[:, anti].sum(axis=1) / np.sqrt(len(anti))
        scores.append(score)
    return np.column_stack(scores)


def ulm(values: Float64, nodes: list[ResolvedNode]) -> Float64:
    """t value of a univariate linear model for each cell type (decoupler)."""
    import decoupler as dc

    columns = [f"m{i}" for i in range(values.shape[1])]
    net = pd.DataFrame(
        [(node.node.path, columns[p], 1.0) for node in nodes for p in node.positions],
        columns=["source", "target", "weight"],
    )
    rows = [f"c{i}" for i in range(len(values))]
    found, _ = dc.mt.ulm(pd.DataFrame(values, index=rows, columns=columns), net, tmin=1)
    return np.asarray(found[[node.node.path for node in nodes]])


METHODS: Mapping[str, Method] = {"mean z": mean_z, "scType-like": sctype_like} | (
    {"ULM (decoupler)": ulm} if find_spec("decoupler") else {}
)
"""By name; ULM where decoupler is installed."""


def scaled_cells(view: ExpressionView, clusters: npt.NDArray[Any]) -> Float64:
    """Scaled value of every marker in every cell."""
    reference = cluster_statistics(view, clusters.tolist(), StatisticsParams()).reference
    return scaled_block(view, reference, np.arange(view.n_cells), range(view.n_markers))


def cluster_means(scaled: Float64, clusters: npt.NDArray[Any]) -> Float64:
    """Mean of the cluster of each cell, cell by cell."""
    codes, _ = pd.factorize(clusters)
    return pd.DataFrame(scaled).groupby(codes).mean().to_numpy(np.float64)[codes]


def baseline_paths(method: Method, values: Float64, resolved: ResolvedMap) -> list[str]:
    """Path of the best leaf of each row of values."""
    nodes = leaves(resolved)
    unique, rows = np.unique(values, axis=0, return_inverse=True)
    best = method(unique, nodes).argmax(axis=1)
    return [nodes[i].node.path for i in best[rows.ravel()]]
