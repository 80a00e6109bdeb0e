"""Cells that contradict their label take that of the sure cells which they resemble.

A cluster has one label, so a cell type that is few everywhere has none. Cells whose own markers
settle the matter are examples, whichever cluster they are in; a linear discriminant learns from
them what a cell of each type looks like, and answers for the cells that contradict their label.
Seeds from markers and a classifier beyond them are the way of Garnett (Pliner et al. 2019).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from ctr_engine.cell_labels import CellLabels, Choice, Ids, label_cells
from ctr_engine.expression import ExpressionView
from ctr_engine.gating.decider import Decider
from ctr_engine.keys import SURE_CELLS
from ctr_engine.markers.gating_params import EQUAL
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.voting import cell_scores

Bools = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

LEAST_EXAMPLES = 5
"""A cell type with fewer sure cells cannot be learnt."""
NOWHERE = -1
"""Row of a label that is no cell type of the map."""
_CELLS_AT_ONCE = 65_536


def own_labels(
    view: ExpressionView,
    clusters: Ids,
    choices: Mapping[str, Choice],
    reference: pd.DataFrame,
    decider: Decider,
    coordinates: Callable[[], Float32],
) -> CellLabels:
    """Give each cell a label of its own: by its markers, then by the sure cells it resembles.

    Parameters
    ----------
    view, clusters
        Expression and cluster of each cell.
    choices
        By cluster.
    reference
        Table ``reference_values`` of all cells.
    decider
        Of the same clusters.
    coordinates
        Gives the principal components, shape ``(n_cells, n_pcs)``; called only with
        ``per_cell_learning``.
    """
    resolved, gating = decider.resolved, decider.gating
    gap = gating.per_cell_gap_threshold
    labels = label_cells(view, clusters, choices, reference, resolved, gap)
    if not gating.per_cell_learning or view.n_markers < 2:
        return labels
    evidence = _evidence(view, reference, resolved, _rows(labels.paths, resolved))
    let_in = np.asarray(decider.results.passed.any(axis=0))
    lesson = _lesson(evidence, clusters, choices, resolved, let_in, gating.per_cell_sure_gap)
    return _taught(labels, lesson, coordinates(), resolved)


@dataclass(frozen=True)
class _Evidence:
    """What the markers of each cell say; all of length ``n_cells``.

    ``label``: its label as a row of the map, :data:`NOWHERE` for one that is not on it.
    ``agrees``: whether each cell type on the path of its label scores best among its siblings.
    ``leaf`` and ``lead``: the leaf that scores best of all, as a row, and by how much.
    """

    label: Rows
    agrees: Bools
    leaf: Rows
    lead: Float64


@dataclass(frozen=True)
class _Lesson:
    """Row of the map that each cell is an example of, :data:`NOWHERE` for none; who is asked."""

    example_of: Rows
    asked: Bools


def _rows(paths: Ids, resolved: ResolvedMap) -> Rows:
    """Row of each path on the map; :data:`NOWHERE` for one that is not on it."""
    codes, unique = pd.factorize(paths)
    known = resolved.marker_map.row_of
    rows = [known[path] if path in known else NOWHERE for path in unique]
    return np.array(rows, dtype=np.intp)[codes]


def _evidence(
    view: ExpressionView, reference: pd.DataFrame, resolved: ResolvedMap, rows: Rows
) -> _Evidence:
    """Hold the markers of each cell against its label, and against all leaves."""
    scored = [row for row, node in enumerate(resolved.nodes) if node.positions]
    leaves = [row for row in scored if resolved.nodes[row].node.is_leaf]
    agrees = np.zeros(len(rows), dtype=bool)
    leaf, lead = np.full(len(rows), NOWHERE, dtype=np.intp), np.zeros(len(rows))
    for start in range(0, len(rows), _CELLS_AT_ONCE):
        part = slice(start, start + _CELLS_AT_ONCE)
        scores = np.full((len(rows[part]), len(resolved.nodes)), -np.inf)
        scores[:, scored] = cell_scores(view, reference, resolved, part, scored)
        on_path = _preferred(scores, resolved)
        agrees[part] = on_path[np.arange(len(scores)), rows[part]] & (rows[part] != NOWHERE)
        if len(leaves) > 1:
            own = scores[:, leaves]
            leaf[part] = np.array(leaves, dtype=np.intp)[own.argmax(axis=1)]
            two = np.partition(own, -2, axis=1)[:, -2:]
            lead[part] = two[:, 1] - two[:, 0]
    return _Evidence(rows, agrees, leaf, lead)


def _preferred(scores: Float64, resolved: ResolvedMap) -> Bools:
    """Whether each cell type and all above it score best of their siblings, in each cell.

    One without a marker on the panel, which scores ``-inf``, never does where a sibling has one.
    """
    marker_map = resolved.marker_map
    preferred = np.ones(scores.shape, dtype=bool)
    for siblings in (marker_map.root_rows, *marker_map.child_rows):
        columns = list(siblings)
        if len(columns) > 1:
            own = scores[:, columns]
            preferred[:, columns] = own >= own.max(axis=1, keepdims=True) - EQUAL
    for parent, children in enumerate(marker_map.child_rows):  # parents stand before children
        preferred[:, list(children)] &= preferred[:, [parent]]
    return preferred


def _lesson(
    evidence: _Evidence,
    clusters: Ids,
    choices: Mapping[str, Choice],
    resolved: ResolvedMap,
    let_in: Bools,
    gap: float,
) -> _Lesson:
    """Choose the examples, and the cells that are asked.

    Examples are cells that agree with their label, and cells that do not but whose markers favour
    another leaf over all leaves; some cluster must let that leaf in. Asked are cells that
    contradict a leaf: a cluster that stopped above the leaves, or whose label a person gave, keeps
    its cells.
    """
    codes, names = pd.factorize(clusters)
    of_cluster = [choices[str(name)] for name in names]
    at_leaf = np.array([choice.at_leaf for choice in of_cluster])[codes]
    home = _rows(np.array([choice.path for choice in of_cluster], dtype=object), resolved)[codes]
    is_leaf = np.array([node.node.is_leaf for node in resolved.nodes])
    # an inner cell type that took a cell from its cluster says too little about it
    agrees = evidence.agrees & (is_leaf[evidence.label] | (evidence.label == home))
    elsewhere = ~agrees & (evidence.lead >= gap - EQUAL) & let_in[evidence.leaf]
    example_of = np.where(agrees, evidence.label, np.where(elsewhere, evidence.leaf, NOWHERE))
    return _Lesson(np.where(home == NOWHERE, NOWHERE, example_of), at_leaf & ~agrees)


def _taught(
    labels: CellLabels, lesson: _Lesson, coordinates: Float32, resolved: ResolvedMap
) -> CellLabels:
    """Learn from the examples, and answer for the cells that are asked."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    kinds, counts = np.unique(lesson.example_of, return_counts=True)
    learnt = kinds[(counts >= LEAST_EXAMPLES) & (kinds != NOWHERE)]
    asked = np.flatnonzero(lesson.asked)
    if len(learnt) < 2 or not len(asked):
        return labels
    examples = np.isin(lesson.example_of, learnt)
    # shrunk covariances (Ledoit & Wolf 2004) hold where a cell type has few examples
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    with threadpool_limits(limits=1, user_api="blas"):  # sums must not depend on threads
        model.fit(coordinates[examples].astype(np.float64), lesson.example_of[examples])
        parts = [
            model.predict(coordinates[asked[start : start + _CELLS_AT_ONCE]].astype(np.float64))
            for start in range(0, len(asked), _CELLS_AT_ONCE)
        ]
    answers = np.concatenate(parts)
    found = CellLabels(labels.labels.copy(), labels.paths.copy(), labels.given_by.copy())
    for row in learnt:
        node = resolved.nodes[row].node
        taken = asked[answers == row]
        taken = taken[found.paths[taken] != node.path]
        found.labels[taken], found.paths[taken] = node.label, node.path
        found.given_by[taken] = SURE_CELLS
    return found
