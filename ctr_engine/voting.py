"""What single cells say: votes among tied siblings, and how many cells agree with the walk.

Both are evidence; neither changes a label. Cells are compared on the scaled matrix (zero mean, unit
sample SD, clipped at +-10), of which only the cells and markers in question are made.
"""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.cluster_statistics import Statistics
from ctr_engine.expression import ExpressionView, scaled
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.descend import Walk, assignment
from ctr_engine.gating.robustness import robustness
from ctr_engine.keys import UNCERTAIN
from ctr_engine.markers.gating_params import EQUAL, GatingParams
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.tables import ClusterAnnotations, from_rows

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


def scaled_block(
    view: ExpressionView, reference: pd.DataFrame, rows: Rows | slice, columns: Sequence[int]
) -> Float64:
    """Scaled values of some cells and markers, shape ``(n_rows, n_columns)``, float64.

    ``reference`` is the table ``reference_values`` of all cells.
    """
    used = reference.iloc[list(columns)]
    n = view.n_cells
    mean = used["mean"].to_numpy(dtype=np.float64)
    sample_std = used["std"].to_numpy(dtype=np.float64) * np.sqrt(n / (n - 1))
    return scaled(view.block(rows, columns), mean, sample_std)


def cluster_annotations(
    walks: Sequence[Walk],
    decider: Decider,
    statistics: Statistics,
    view: ExpressionView,
    clusters: Sequence[str],
    stable: Float64,
    mixed: Iterable[Mapping[str, object]],
) -> pd.DataFrame:
    """Label every cluster, with the votes and the agreement of its cells.

    Parameters
    ----------
    walks, decider
        Of the same clusters, in natural order.
    view, clusters
        Expression and cluster id of the cells.
    stable
        What :func:`~ctr_engine.gating.stability.stability` returned for the clusters.
    mixed
        Columns of :func:`~ctr_engine.mixed_lineage.as_columns` for each cluster.

    Returns
    -------
    A :class:`~ctr_engine.tables.ClusterAnnotations` table, clusters in natural order.
    """
    codes = pd.Index(statistics.cluster_ids).get_indexer(pd.Index(list(clusters)))
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(statistics.n_cells)
    kept, resolved = robustness(decider), decider.resolved
    reference = statistics.reference
    rows = []
    for walk, lineages in zip(walks, mixed, strict=True):
        end = ends[walk.cluster]
        cells = order[end - statistics.n_cells[walk.cluster] : end]
        agreement = _agreement(walk, resolved, reference, view, cells)
        votes = _votes(walk, resolved, decider.gating, reference, view, cells)
        rows.append(
            {
                "cluster_id": statistics.cluster_ids[walk.cluster],
                **assignment(walk, resolved, decider.results),
                "confidence": walk.confidence,
                "stop_reason": walk.stop_reason,
                "n_cells": int(statistics.n_cells[walk.cluster]),
                "is_ambiguous_root": walk.stop_reason == "ambiguous_root",
                "composition": votes,
                "margin_is_infinite": walk.stop_reason != "no_root_passed"
                and walk.confidence >= 1e6,
                "agreement": agreement,
                "robustness": float(kept[walk.cluster]),
                "stability": float(stable[walk.cluster]),
                "support": float(stable[walk.cluster]) * agreement,
                **lineages,
            }
        )
    return from_rows(ClusterAnnotations, rows)


def vote_shares(cell_scores: Float64, gap: float) -> Float64:
    """Share of cells for each candidate, and last that of the uncertain ones.

    Parameters
    ----------
    cell_scores
        Shape ``(n_cells, n_candidates)``, two candidates or more.
    gap
        A cell whose best candidate leads by less is uncertain. SD units.
    """
    ordered = np.sort(cell_scores, axis=1)
    certain = ordered[:, -1] - ordered[:, -2] >= gap
    votes = np.bincount(cell_scores.argmax(axis=1)[certain], minlength=cell_scores.shape[1])
    return np.append(votes, (~certain).sum()) / len(cell_scores)


def node_means(
    view: ExpressionView,
    reference: pd.DataFrame,
    resolved: ResolvedMap,
    cells: Rows,
    nodes: Sequence[int],
) -> Float64:
    """Mean scaled value of the markers of some cell types, shape ``(len(cells), len(nodes))``."""
    positions = [resolved.nodes[row].positions for row in nodes]
    columns = sorted({p for group in positions for p in group})
    weights = np.array([[(p in group) / len(group) for group in positions] for p in columns])
    return np.asarray(scaled_block(view, reference, cells, columns) @ weights)


def _votes(
    walk: Walk,
    resolved: ResolvedMap,
    gating: GatingParams,
    reference: pd.DataFrame,
    view: ExpressionView,
    cells: Rows,
) -> str | None:
    """Composition of an ambiguous cluster as a JSON object; null anywhere else."""
    if walk.stop_reason != "ambiguous_siblings":
        return None
    cell_scores = node_means(view, reference, resolved, cells, walk.candidates)
    shares = vote_shares(cell_scores, gating.per_cell_gap_threshold)
    labels = [resolved.nodes[row].node.label for row in walk.candidates]
    composition: dict[str, object] = dict(
        zip([*labels, UNCERTAIN], map(float, shares), strict=True)
    )
    composition |= {
        "_evidence_only": True,
        "_top_by_score": labels[0],
        "_runner_up_by_score": labels[1],
    }
    return json.dumps(composition, ensure_ascii=False, sort_keys=True)


def _agreement(
    walk: Walk, resolved: ResolvedMap, reference: pd.DataFrame, view: ExpressionView, cells: Rows
) -> float:
    """Smallest share, over the steps of the path, of cells that prefer the node that was chosen."""
    if not walk.path:
        return 0.0
    shares = [1.0]
    for step, chosen in zip(walk.steps, walk.path, strict=False):
        rivals = [row for row in step.tried if resolved.nodes[row].positions]
        if len(rivals) < 2:
            continue
        scores = cell_scores(view, reference, resolved, cells, rivals)
        preferred = scores[:, rivals.index(chosen)] >= scores.max(axis=1) - EQUAL
        shares.append(float(preferred.mean()))
    return min(shares)


def cell_scores(
    view: ExpressionView,
    reference: pd.DataFrame,
    resolved: ResolvedMap,
    cells: Rows | slice,
    nodes: Sequence[int],
) -> Float64:
    """Score some cell types in single cells, shape ``(n_cells, n_nodes)``. SD units.

    The mean scaled value of the markers; the largest one for an inner node, whose markers may be
    alternatives. Each of the ``nodes``, rows of the map, has a marker on the panel.
    """
    columns = sorted({p for row in nodes for p in resolved.nodes[row].positions})
    values = scaled_block(view, reference, cells, columns)
    place = {position: i for i, position in enumerate(columns)}
    scores = np.empty((len(values), len(nodes)))
    for index, row in enumerate(nodes):
        node = resolved.nodes[row]
        own = values[:, [place[position] for position in node.positions]]
        scores[:, index] = own.mean(axis=1) if node.node.is_leaf else own.max(axis=1)
    return scores
