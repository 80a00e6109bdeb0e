"""One iteration: a plan is carried out and what it made is scored; nothing else is touched."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.analysis import Annotation, annotate
from ctr_engine.clustering.pca import pca
from ctr_engine.clustering.pipeline import ClusteringParams
from ctr_engine.errors import CellMismatchError, ParameterError
from ctr_engine.expression import ExpressionView
from ctr_engine.gating.decider import Decider
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.profiles import AnalysisParams, ReportParams
from ctr_engine.refinement.operations import Applied, merge, override, relabel, subcluster
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Held, Partition
from ctr_engine.refinement.plan import (
    AnyOperation,
    Merge,
    Override,
    Plan,
    Regroup,
    Relabel,
    Subcluster,
    clusters_of,
)
from ctr_engine.refinement.regrouping import Regrouping, carry_out
from ctr_engine.refinement.state import ClusterState, states_of
from ctr_engine.tables import RefinementLog, from_rows

Float64 = npt.NDArray[np.float64]

_DIVIDING = (*ClusteringParams.model_fields, "min_subcluster_cells")
"""Parameters that decide whether a cluster comes apart."""


class Rules(Protocol):
    """What a plan can be read with, before any cell is."""

    @property
    def marker_map(self) -> MarkerMap:
        """Cell types that a label may name."""

    @property
    def refinement(self) -> RefinementParams:
        """Parameters of refinement."""


@dataclass(frozen=True)
class Sample:
    """What stays the same over all iterations."""

    view: ExpressionView
    marker_map: MarkerMap
    params: AnalysisParams
    refinement: RefinementParams
    n_jobs: int = 1

    @cached_property
    def coordinates(self) -> npt.NDArray[np.float32]:
        """Principal components of all cells, which the two passes measure in."""
        return pca(self.view, self.refinement.n_pcs)


@dataclass(frozen=True)
class Scored:
    """A partition with the scores of its clusters, and the state of each.

    ``unsplittable`` has, by cluster, the hash of the cells and parameters with which an iteration
    found that it does not come apart.
    """

    partition: Partition
    annotation: Annotation
    states: tuple[ClusterState, ...]
    unsplittable: Mapping[str, str]

    @property
    def decider(self) -> Decider:
        """Everything that decides about these clusters.

        Raises
        ------
        ParameterError
            If the clusters were not scored against a marker map.
        """
        if self.annotation.decider is None:
            msg = "the clusters were not scored against a marker map"
            raise ParameterError(msg)
        return self.annotation.decider

    @property
    def positive_fraction(self) -> Float64:
        """Positive fractions, shape ``(n_clusters, n_markers)``."""
        table = self.annotation.tables["cluster_statistics"]
        return table["positive_fraction"].to_numpy(np.float64).reshape(len(self.states), -1)


@dataclass(frozen=True)
class Iteration:
    """What one iteration made: the scored partition after it, its plan and its log."""

    plan: Plan
    after: Scored
    log: pd.DataFrame


def score_partition(
    sample: Sample, partition: Partition, unsplittable: Mapping[str, str]
) -> Scored:
    """Score every cluster against the reference values of the whole partition.

    A label that an override, a relabelling or a merge gave stays; its score is that of its node.

    Raises
    ------
    CellMismatchError
        If the partition is not of the cells of the sample, in their order.
    """
    if partition.cell_ids.tolist() != sample.view.cell_ids.tolist():
        msg = "the clusters are of other cells than the values, or of the same in another order"
        raise CellMismatchError(msg)
    result = annotate(
        sample.view,
        sample.marker_map,
        sample.params.model_copy(update={"report": ReportParams()}),  # nobody looks at these
        clusters=partition.clusters.tolist(),
        n_jobs=sample.n_jobs,
    )
    known = {
        cluster: digest
        for cluster, digest in unsplittable.items()
        if cluster in partition.ids
        and digest == digest_of(sample, partition, cluster, sample.refinement.resolution)
    }
    scored = states_of(result.tables["cluster_annotations"], unsplittable=known)
    states = tuple(
        _as_held(index, state, partition.held[state.cluster_id], result)
        if state.cluster_id in partition.held
        else state
        for index, state in enumerate(scored)
    )
    return Scored(partition, result, states, known)


def _as_held(index: int, state: ClusterState, held: Held, result: Annotation) -> ClusterState:
    """State of a cluster whose label somebody gave."""
    return replace(
        state,
        label=held.label,
        path=held.path or "",
        score=_score_of(index, held, result),
        support=None,
        held=True,
        overridden=held.by == "override",
        by_hand=held.source == "manual",
    )


def _score_of(index: int, held: Held, result: Annotation) -> float | None:
    """Score of the cell type that a cluster holds; None for one that the map does not have."""
    decider = result.decider
    if decider is None or held.path not in decider.resolved.marker_map.row_of:
        return None
    score = decider.values.score[index, decider.resolved.marker_map.row_of[held.path or ""]]
    return None if np.isnan(score) else float(score)


def digest_of(sample: Sample, partition: Partition, cluster: str, resolution: float) -> str:
    """Hash of the cells of a cluster and of the parameters that divide it."""
    cells = sorted(partition.cell_ids[partition.cells_of(cluster)].tolist())
    params = sample.refinement.model_dump(mode="json", include=set(_DIVIDING))
    text = json.dumps([cells, params | {"resolution": resolution}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def execute(
    sample: Sample,
    before: Scored,
    plan: Plan,
    number: int = 1,
    regrouping: Regrouping | None = None,
) -> Iteration:
    """Carry a plan out: override, merge, regroup, subcluster, relabel, then score what is new.

    Parameters
    ----------
    number
        Number of the iteration, for its log.
    regrouping
        Where the cells of a regrouping go.

    Raises
    ------
    CellMismatchError
        If a cluster of the plan does not exist, or ``regrouping`` is of other clusters.
    ParameterError
        If the plan regroups clusters and ``regrouping`` is None. Nothing is changed then.
    """
    partition, unsplittable = before.partition, dict(before.unsplittable)
    made: list[tuple[str, ...]] = []
    for operation in plan.operations:
        applied = _apply(sample, partition, operation, regrouping)
        partition = applied.partition
        made.append(applied.new_clusters)
        if isinstance(operation, Subcluster) and not applied.new_clusters:
            _note_unsplittable(sample, partition, operation, unsplittable)
    after = score_partition(sample, partition, unsplittable)
    return Iteration(plan, after, _log(before, after, plan, made, number))


def _note_unsplittable(
    sample: Sample, partition: Partition, tried: Subcluster, known: dict[str, str]
) -> None:
    """Note that a cluster does not come apart; a try at another resolution says nothing of it."""
    if tried.resolution == sample.refinement.resolution:
        known[tried.cluster] = digest_of(sample, partition, tried.cluster, tried.resolution)


def _apply(
    sample: Sample, partition: Partition, operation: AnyOperation, regrouping: Regrouping | None
) -> Applied:
    if isinstance(operation, Override):
        return override(partition, operation)
    if isinstance(operation, Merge):
        return merge(partition, operation)
    if isinstance(operation, Relabel):
        return relabel(partition, operation)
    if isinstance(operation, Regroup):
        if regrouping is None:
            msg = "a plan that regroups clusters needs to know where their cells go"
            raise ParameterError(msg)
        return carry_out(partition, operation, regrouping)
    return subcluster(partition, operation, sample.view, sample.refinement, n_jobs=sample.n_jobs)


def _log(
    before: Scored, after: Scored, plan: Plan, made: Sequence[tuple[str, ...]], number: int
) -> pd.DataFrame:
    """One row per operation: labels and scores before and after."""
    old = {state.cluster_id: state for state in before.states}
    new = {state.cluster_id: state for state in after.states}
    rows = []
    for operation, children in zip(plan.operations, made, strict=True):
        touched = clusters_of(operation)
        results = [new[name] for name in (children or touched) if name in new]
        rows.append(
            {
                "iteration": number,
                "op": operation.op,
                "source": operation.source,
                "reason": operation.reason,
                "author": operation.author,
                "date": operation.date,
                "clusters": list(touched),
                "new_clusters": list(children),
                "n_cells": sum(old[name].n_cells for name in touched),
                "labels_before": [old[name].label for name in touched],
                "labels_after": [state.label for state in results],
                "score_before": _mean_score([old[name] for name in touched]),
                "score_after": _mean_score(results),
                "confidence_before": min(old[name].confidence for name in touched),
                "confidence_after": min(state.confidence for state in results),
                "outcome": "done" if children else "unsplittable",
            }
        )
    return from_rows(RefinementLog, rows)


def _mean_score(states: Sequence[ClusterState]) -> float | None:
    """Mean score of clusters, weighted by their cells; a null score counts 0."""
    cells = sum(state.n_cells for state in states)
    if not cells:
        return None
    return sum((state.score or 0.0) * state.n_cells for state in states) / cells
