"""Refinement and AnnData: what is taken up from a sample, and what is written into it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from ctr_engine import keys
from ctr_engine.cell_labels import CellLabels
from ctr_engine.errors import Fault, InputError
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.engine import Sample, Scored, score_partition
from ctr_engine.refinement.lineage import Lineage
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.plan import clusters_of
from ctr_engine.refinement.record import IterationRecord
from ctr_engine.tables import Annotations, frame, natural_key

if TYPE_CHECKING:
    from anndata import AnnData

NO_ACTION = "none"


@dataclass(frozen=True)
class Opened:
    """A sample as refinement takes it up: scored, with where its cells have been."""

    sample: Sample
    scored: Scored
    lineage: Lineage


def open_sample(
    adata: "AnnData", refinement: RefinementParams, source: str, n_jobs: int = 1
) -> Opened:
    """Take up a sample that ``ctr annotate`` or an earlier iteration wrote.

    Raises
    ------
    InputError
        If it was not written by either.
    """
    params, marker_map = annotated_with(adata, source)
    view = read_expression(adata, params.expression, source)
    sample = Sample(view, marker_map, params, refinement, n_jobs)
    return opened(sample, lineage_in(adata, source))


def opened(sample: Sample, lineage: Lineage) -> Opened:
    """Score a sample in the clusters that it has now."""
    known = dict(lineage.records[-1].unsplittable) if lineage.records else {}
    return Opened(sample, score_partition(sample, lineage.partition, known), lineage)


def profile_of(adata: "AnnData", source: str) -> str:
    """Profile that a sample was annotated with.

    Raises
    ------
    InputError
        If it was not annotated by us.
    """
    return annotated_with(adata, source)[0].profile


def set_profile(adata: "AnnData", profile: str) -> None:
    """Let a sample that ``ctr annotate`` wrote say that its base is another profile."""
    record = json.loads(str(adata.uns[keys.UNS_PARAMS]))
    record["given"]["profile"] = profile
    adata.uns[keys.UNS_PARAMS] = json.dumps(record, sort_keys=True)


def stored_map(adata: "AnnData", source: str) -> MarkerMap:
    """Marker map that a sample was annotated with.

    Raises
    ------
    InputError
        If it holds none.
    """
    _require(source, [] if keys.UNS_MARKER_MAP in adata.uns else [f"uns[{keys.UNS_MARKER_MAP!r}]"])
    return parse_marker_map(str(adata.uns[keys.UNS_MARKER_MAP]), f"the marker map in {source}")


def annotated_with(adata: "AnnData", source: str) -> tuple[AnalysisParams, MarkerMap]:
    """Parameters and marker map of the annotation, on the values that it stored.

    Raises
    ------
    InputError
        If the sample was not annotated by us.
    """
    needed = {
        f"uns[{keys.UNS_PARAMS!r}]": keys.UNS_PARAMS in adata.uns,
        f"uns[{keys.UNS_MARKER_MAP!r}]": keys.UNS_MARKER_MAP in adata.uns,
        f"layers[{keys.STAGE_H_LAYER!r}]": keys.STAGE_H_LAYER in adata.layers,
        f"obs[{keys.CLUSTER!r}]": keys.CLUSTER in adata.obs.columns,
    }
    _require(source, [name for name, there in needed.items() if not there])
    try:
        given = json.loads(str(adata.uns[keys.UNS_PARAMS]))["given"]
        params = AnalysisParams.model_validate(given)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        fault = Fault(f"its uns[{keys.UNS_PARAMS!r}] cannot be read ({error}); annotate it again")
        raise InputError(source, [fault]) from None
    stored = ExpressionParams(layer=keys.STAGE_H_LAYER, technical_markers=())
    return params.model_copy(update={"expression": stored}), stored_map(adata, source)


def _require(source: str, missing: list[str]) -> None:
    if missing:
        message = (
            f"lacks {', '.join(missing)}; name what ctr annotate wrote "
            "(coarse_clusters.h5ad) or a refined.h5ad"
        )
        raise InputError(source, [Fault(message)])


def lineage_in(adata: "AnnData", source: str) -> Lineage:
    """Where the cells of a sample have been.

    Raises
    ------
    InputError
        If a column or a record is missing or cannot be read.
    """
    records = _records(adata, source)
    columns = [keys.cluster_key(step) for step in range(len(records) + 1)]
    columns = columns if records else [keys.CLUSTER]
    _require(source, [f"obs[{name!r}]" for name in columns if name not in adata.obs.columns])
    clusters = tuple(
        np.array([str(cluster) for cluster in adata.obs[name]], dtype=object) for name in columns
    )
    own = (keys.CELL_TYPE_CELL, keys.CELL_TYPE_CELL_PATH, keys.CELL_TYPE_CELL_BY)
    names = own if records else ()
    _require(source, [f"obs[{name!r}]" for name in names if name not in adata.obs.columns])
    labels = [adata.obs[name].astype(str).to_numpy(object) for name in names]
    cells = CellLabels(*labels) if records else None
    return Lineage(np.asarray(adata.obs_names, dtype=object), clusters, records, cells).checked()


def annotations_in(adata: "AnnData", source: str) -> pd.DataFrame:
    """Labels of Stage H, as they stand in a sample; those of single cells are the newest.

    Raises
    ------
    InputError
        If it has none.
    """
    numbers = (keys.CELL_TYPE_CONFIDENCE, keys.CELL_TYPE_SUPPORT)
    names = (*keys.CATEGORIES_OF_STAGE_H, *numbers)
    _require(source, [f"obs[{name!r}]" for name in names if name not in adata.obs.columns])
    given = {
        name: adata.obs[name].astype(str).to_numpy(object) for name in keys.CATEGORIES_OF_STAGE_H
    } | {name: adata.obs[name].to_numpy(float) for name in numbers}
    first = lineage_in(adata, source).clusters[0]
    columns = {"cell_id": np.asarray(adata.obs_names, dtype=object), keys.CLUSTER: first, **given}
    return frame(Annotations, columns)


def _records(adata: "AnnData", source: str) -> tuple[IterationRecord, ...]:
    found: list[IterationRecord] = []
    while keys.iteration_key(len(found) + 1) in adata.uns:
        name = keys.iteration_key(len(found) + 1)
        try:
            found.append(IterationRecord.model_validate_json(str(adata.uns[name])))
        except ValidationError:
            fault = Fault(f"its uns[{name!r}] cannot be read; refine from coarse_clusters.h5ad")
            raise InputError(source, [fault]) from None
    return tuple(found)


def attach_lineage(adata: "AnnData", lineage: Lineage) -> "AnnData":
    """Write all iterations into a copy of the sample, which plain anndata and scanpy can read.

    Returns
    -------
    ``obs`` has ``cluster_lvl0`` and ``cell_type_lvl0`` as they were before the last iteration,
    ``cluster_lvl1`` and ``cell_type_lvl1`` after it, what was last done to each cell, and when; the
    label of each cell alone, ``cell_type_cell``, as it is now; and the cluster of each cell after
    every iteration.
    """
    result = adata.copy()
    labels = [_labels_of_stage_h(adata, lineage), *(_labels(r) for r in lineage.records)]
    for step, clusters in enumerate(lineage.clusters):
        result.obs[keys.cluster_key(step)] = _categories(clusters)
    last = len(lineage.records)
    for number, step in enumerate((max(last - 1, 0), last)):
        clusters = lineage.clusters[step]
        result.obs[(keys.CLUSTER, keys.CLUSTER_LVL1)[number]] = _categories(clusters)
        kinds = [labels[step][cluster] for cluster in clusters]
        name = (keys.CELL_TYPE_LVL0, keys.CELL_TYPE_LVL1)[number]
        result.obs[name] = pd.Categorical(kinds)
    if lineage.records:
        result.obs[keys.CELL_TYPE_CELL] = pd.Categorical(lineage.cell_labels.labels)
        result.obs[keys.CELL_TYPE_CELL_PATH] = pd.Categorical(lineage.cell_labels.paths)
        result.obs[keys.CELL_TYPE_CELL_BY] = pd.Categorical(lineage.cell_labels.given_by)
    actions, numbers = _actions(lineage)
    result.obs[keys.REFINEMENT_ACTION] = pd.Categorical(actions)
    result.obs[keys.REFINEMENT_ITERATION] = numbers
    for record in lineage.records:
        result.uns[keys.iteration_key(record.iteration)] = record.model_dump_json()
    return result


def _categories(clusters: Any) -> pd.Categorical:
    return pd.Categorical(clusters, categories=sorted(set(clusters.tolist()), key=natural_key))


def _labels(record: IterationRecord) -> Mapping[str, str]:
    return {one.cluster_id: one.label for one in record.clusters}


def _labels_of_stage_h(adata: "AnnData", lineage: Lineage) -> Mapping[str, str]:
    """Label of each cluster of Stage H."""
    labels = adata.obs[keys.CELL_TYPE].astype(str)
    return dict(zip(lineage.clusters[0].tolist(), labels.tolist(), strict=True))


def _actions(lineage: Lineage) -> tuple[list[str], Any]:
    """What was last done to each cell, and in which iteration; 0 where nothing ever was."""
    actions = np.full(len(lineage.cell_ids), NO_ACTION, dtype=object)
    numbers = np.zeros(len(lineage.cell_ids), dtype=np.int64)
    for record, clusters in zip(lineage.records, lineage.clusters, strict=False):
        for operation in record.plan.operations:
            if not set(clusters_of(operation)) <= set(record.clusters_modified):
                continue
            rows = np.isin(clusters.astype(str), clusters_of(operation))
            actions[rows], numbers[rows] = operation.op, record.iteration
    return actions.tolist(), numbers
