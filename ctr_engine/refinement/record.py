"""What travels in a refined sample: a record of each iteration, and the clusters of each cell."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from ctr_engine import keys
from ctr_engine.errors import Fault, InputError
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.params import Params
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.convergence import Round
from ctr_engine.refinement.engine import Sample, Scored, score_partition
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Held, Holder, Partition
from ctr_engine.refinement.plan import Plan, Subcluster, clusters_of

if TYPE_CHECKING:
    from anndata import AnnData

NO_ACTION = "none"


class HeldLabel(Params):
    """A label that rescoring keeps."""

    label: str = Field(description="The label.")
    path: str | None = Field(description="Its path; null for one that the map does not have.")
    by: Holder = Field(description="What gave it.")


class IterationRecord(Params):
    """What one iteration did, and what the next one needs to know."""

    parent_stage: str = Field(description="H for the annotation, I for an earlier iteration.")
    parent_file: str = Field(description="File that it read.")
    parent_sha256: str = Field(description="SHA-256 of that file.")
    marker_map_hash: str = Field(description="SHA-256 of what the marker map means.")
    iteration: int = Field(ge=1, description="Number, from 1.")
    plan: Plan = Field(description="What was done.")
    plan_summary: Mapping[str, int] = Field(description="Operations of each kind.")
    clusters_modified: tuple[str, ...] = Field(description="Clusters that were changed.")
    subclusters_created: tuple[str, ...] = Field(description="Parts that were made.")
    n_cells_modified: int = Field(description="Cells of the clusters that were changed.")
    stop_reason: str | None = Field(description="Why it is the last; null when it is not.")
    parameters: RefinementParams = Field(description="Parameters of refinement.")
    held: Mapping[str, HeldLabel] = Field(description="Labels that rescoring keeps.")
    unsplittable: Mapping[str, str] = Field(description="Clusters that do not come apart.")
    timestamp: str = Field(description="When it ended, UTC.")


@dataclass(frozen=True)
class Opened:
    """A sample as refinement takes it up: scored, with the records of earlier iterations."""

    sample: Sample
    scored: Scored
    records: tuple[IterationRecord, ...]

    @property
    def next_number(self) -> int:
        """Number of the next iteration."""
        return len(self.records) + 1


def iteration_key(number: int) -> str:
    """Name of the ``uns`` entry of an iteration."""
    return f"{keys.UNS_ITERATION}{number}"


def open_sample(
    adata: "AnnData", refinement: RefinementParams, source: str, n_jobs: int = 1
) -> Opened:
    """Take up a sample that ``ctr annotate`` or an earlier iteration wrote.

    Raises
    ------
    InputError
        If it was not written by either.
    """
    params, marker_map = _annotated_with(adata, source)
    view = read_expression(adata, params.expression, source)
    records = _records(adata, source)
    column = keys.CLUSTER_LVL1 if records else keys.CLUSTER
    last = records[-1] if records else None
    held = {} if last is None else last.held
    partition = Partition(
        np.asarray(adata.obs_names, dtype=object),
        np.array([str(name) for name in adata.obs[column]], dtype=object),
        {name: Held(one.label, one.path, one.by) for name, one in held.items()},
    )
    sample = Sample(view, marker_map, params, refinement, n_jobs)
    known = {} if last is None else dict(last.unsplittable)
    return Opened(sample, score_partition(sample, partition, known), records)


def profile_of(adata: "AnnData", source: str) -> str:
    """Profile that a sample was annotated with.

    Raises
    ------
    InputError
        If it was not annotated by us.
    """
    return _annotated_with(adata, source)[0].profile


def _annotated_with(adata: "AnnData", source: str) -> tuple[AnalysisParams, MarkerMap]:
    """Parameters and marker map of the annotation, on the values that it stored."""
    needed = {
        f"uns[{keys.UNS_PARAMS!r}]": keys.UNS_PARAMS in adata.uns,
        f"uns[{keys.UNS_MARKER_MAP!r}]": keys.UNS_MARKER_MAP in adata.uns,
        f"layers[{keys.STAGE_H_LAYER!r}]": keys.STAGE_H_LAYER in adata.layers,
        f"obs[{keys.CLUSTER!r}]": keys.CLUSTER in adata.obs.columns,
    }
    missing = [name for name, there in needed.items() if not there]
    if missing:
        message = (
            f"lacks {', '.join(missing)}; refine what ctr annotate wrote "
            "(coarse_clusters.h5ad) or an earlier refined.h5ad"
        )
        raise InputError(source, [Fault(message)])
    try:
        given = json.loads(str(adata.uns[keys.UNS_PARAMS]))["given"]
        params = AnalysisParams.model_validate(given)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        fault = Fault(f"its uns[{keys.UNS_PARAMS!r}] cannot be read ({error}); annotate it again")
        raise InputError(source, [fault]) from None
    stored = ExpressionParams(layer=keys.STAGE_H_LAYER, technical_markers=())
    marker_map = parse_marker_map(str(adata.uns[keys.UNS_MARKER_MAP]), f"{source}.json")
    return params.model_copy(update={"expression": stored}), marker_map


def _records(adata: "AnnData", source: str) -> tuple[IterationRecord, ...]:
    found: list[IterationRecord] = []
    while iteration_key(len(found) + 1) in adata.uns:
        name = iteration_key(len(found) + 1)
        try:
            found.append(IterationRecord.model_validate_json(str(adata.uns[name])))
        except ValidationError:
            fault = Fault(f"its uns[{name!r}] cannot be read; refine from coarse_clusters.h5ad")
            raise InputError(source, [fault]) from None
    return tuple(found)


def record_of(
    opened: Opened, before: Scored, one: Round, origin: Mapping[str, str]
) -> IterationRecord:
    """Write down an iteration.

    Parameters
    ----------
    origin
        ``parent_file``, ``parent_sha256`` and ``timestamp``.
    """
    plan, after = one.iteration.plan, one.iteration.after
    touched = sorted(plan.touched, key=before.partition.ids.index)
    made = [c for cs in one.iteration.log["new_clusters"] for c in cs]
    divided = {op.cluster for op in plan.operations if isinstance(op, Subcluster)}
    parts = tuple(name for name in made if name.rpartition(":")[0] in divided)
    sizes = {state.cluster_id: state.n_cells for state in before.states}
    return IterationRecord(
        parent_stage="H" if one.number == 1 else "I",
        **origin,
        marker_map_hash=opened.sample.marker_map.content_hash,
        iteration=one.number,
        plan=plan,
        plan_summary=plan.counts(),
        clusters_modified=tuple(touched),
        subclusters_created=parts,
        n_cells_modified=sum(sizes[name] for name in touched),
        stop_reason=one.stop,
        parameters=opened.sample.refinement,
        held={
            name: HeldLabel(label=one_.label, path=one_.path, by=one_.by)
            for name, one_ in after.partition.held.items()
        },
        unsplittable=dict(after.unsplittable),
    )


def attach_iteration(
    adata: "AnnData", before: Scored, one: Round, record: IterationRecord
) -> "AnnData":
    """Write an iteration into a copy of the sample, which plain anndata and scanpy can read.

    Returns
    -------
    ``obs`` has ``cluster_lvl0`` and ``cell_type_lvl0`` as they were before the iteration,
    ``cluster_lvl1`` and ``cell_type_lvl1`` after it, what was last done to each cell, and when.
    """
    after = one.iteration.after
    result = adata.copy()
    for level, scored in ((0, before), (1, after)):
        labels = {state.cluster_id: state.label for state in scored.states}
        clusters = scored.partition.clusters
        ids = list(scored.partition.ids)
        name = keys.CLUSTER if level == 0 else keys.CLUSTER_LVL1
        result.obs[name] = pd.Categorical(clusters, categories=ids)
        kinds = [labels[cluster] for cluster in clusters]
        result.obs[f"cell_type_lvl{level}"] = pd.Categorical(kinds)
    actions, numbers = _actions(adata, before, one.iteration.plan, one.number)
    result.obs[keys.REFINEMENT_ACTION] = pd.Categorical(actions)
    result.obs[keys.REFINEMENT_ITERATION] = numbers
    result.uns[iteration_key(one.number)] = record.model_dump_json()
    return result


def _actions(
    adata: "AnnData", before: Scored, plan: Plan, number: int
) -> tuple[Sequence[Any], Sequence[int]]:
    """What was last done to each cell, and in which iteration; 0 where nothing ever was."""
    if keys.REFINEMENT_ACTION in adata.obs.columns:
        actions = np.array([str(name) for name in adata.obs[keys.REFINEMENT_ACTION]], dtype=object)
        numbers = adata.obs[keys.REFINEMENT_ITERATION].to_numpy(dtype=np.int64).copy()
    else:
        actions = np.full(adata.n_obs, NO_ACTION, dtype=object)
        numbers = np.zeros(adata.n_obs, dtype=np.int64)
    for operation in plan.operations:
        rows = np.isin(before.partition.clusters.astype(str), clusters_of(operation))
        actions[rows], numbers[rows] = operation.op, number
    return actions.tolist(), numbers.tolist()
