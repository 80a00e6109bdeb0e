"""What one iteration did, written down: enough for the next one, and for the history of a cell."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.params import Params
from ctr_engine.refinement.convergence import Round
from ctr_engine.refinement.engine import Sample, Scored
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Held, Holder, Source
from ctr_engine.refinement.plan import AnyOperation, Plan, Regroup, Subcluster

DecidedBy = Literal["stage_h", "rescored", "relabel", "override", "merge"]
STAGE_H: DecidedBy = "stage_h"
RESCORED: DecidedBy = "rescored"


class HeldLabel(Params):
    """A label that rescoring keeps."""

    label: str = Field(description="The label.")
    path: str | None = Field(description="Its path; null for one that the map does not have.")
    by: Holder = Field(description="What gave it.")
    source: Source = Field(description="Who asked for it.")


class ClusterRecord(Params):
    """A cluster as an iteration left it."""

    cluster_id: str = Field(description="The cluster.")
    n_cells: int = Field(ge=1, description="Its cells.")
    label: str = Field(description="Its label.")
    path: str = Field(description="Path of the label; empty for none, and for one of a person.")
    root: str = Field(description="Root of the label; a label of a person is its own.")
    score: float | None = Field(description="Score of the label; null where it has none.")
    confidence: float = Field(ge=0, description="Smallest lead on the way that scoring goes.")
    support: float | None = Field(
        ge=0, le=1, description="Support of the label; null where an operation gave it."
    )
    decided_by: DecidedBy = Field(description="What gave the label.")
    decided_in: int = Field(ge=0, description="Iteration that gave it; 0 is Stage H.")


class IterationRecord(Params):
    """What one iteration did, and what the next one needs to know."""

    parent_stage: str = Field(description="H for the annotation, I for an earlier iteration.")
    parent_file: str = Field(description="What it read.")
    parent_sha256: str = Field(description="SHA-256 of what it read.")
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
    clusters: tuple[ClusterRecord, ...] = Field(description="The clusters after it.")
    manual_entries: tuple[str, ...] = Field(description="Entries of the manual file, done.")
    waiting: tuple[str, ...] = Field(description="Entries that could not be done, and why.")
    timestamp: str = Field(description="When it ended, UTC.")

    @property
    def labels_held(self) -> dict[str, Held]:
        """Labels that rescoring keeps, by cluster."""
        return {
            name: Held(one.label, one.path, one.by, one.source) for name, one in self.held.items()
        }


def record_of(
    sample: Sample,
    before: Scored,
    one: Round,
    earlier: Sequence[IterationRecord],
    origin: Mapping[str, str],
) -> IterationRecord:
    """Write down an iteration.

    Parameters
    ----------
    earlier
        Records of all iterations before this one.
    origin
        ``parent_file``, ``parent_sha256`` and ``timestamp``.
    """
    plan, after = one.iteration.plan, one.iteration.after
    touched = sorted(_touched(one), key=before.partition.ids.index)
    sizes = {state.cluster_id: state.n_cells for state in before.states}
    return IterationRecord(
        parent_stage="I" if earlier else "H",
        **origin,
        marker_map_hash=sample.marker_map.content_hash,
        iteration=one.number,
        plan=plan,
        plan_summary=plan.counts(),
        clusters_modified=tuple(touched),
        subclusters_created=tuple(sorted(_parts(one), key=after.partition.ids.index)),
        n_cells_modified=sum(sizes[name] for name in touched),
        stop_reason=one.stop_reason,
        parameters=sample.refinement,
        held={
            name: HeldLabel(label=held.label, path=held.path, by=held.by, source=held.source)
            for name, held in after.partition.held.items()
        },
        unsplittable=dict(after.unsplittable),
        clusters=_clusters(one, earlier),
        manual_entries=one.manual_entries,
        waiting=one.proposal.manual.waiting,
    )


def _touched(one: Round) -> set[str]:
    """Clusters that operations changed; one that did not come apart is as it was."""
    log = one.iteration.log
    return {name for names in log.loc[log["outcome"] == "done", "clusters"] for name in names}


def _made(one: Round) -> list[tuple[AnyOperation, list[str]]]:
    """Operations, each with the clusters that it made."""
    made = zip(one.iteration.plan.operations, one.iteration.log["new_clusters"], strict=True)
    return [(operation, list(new)) for operation, new in made]


def _parts(one: Round) -> set[str]:
    """Clusters that are parts of others; those that were only joined are none."""
    return {
        name
        for operation, new in _made(one)
        if isinstance(operation, Subcluster)
        or (isinstance(operation, Regroup) and len(operation.sizes) > 1)
        for name in new
    }


def _clusters(one: Round, earlier: Sequence[IterationRecord]) -> tuple[ClusterRecord, ...]:
    """Clusters after an iteration, each with what gave its label and when."""
    after = one.iteration.after
    known = {c.cluster_id: c for c in earlier[-1].clusters} if earlier else {}
    given = {name for _, new in _made(one) for name in new}
    roots = after.annotation.tables["cluster_annotations"]["root_label"]
    records = []
    for state, root in zip(after.states, roots, strict=True):
        name, held = state.cluster_id, after.partition.held
        by, number = STAGE_H, 0
        if name in given:
            by, number = held[name].by if name in held else RESCORED, one.number
        elif name in known:
            by, number = known[name].decided_by, known[name].decided_in
        records.append(
            ClusterRecord(
                cluster_id=name,
                n_cells=state.n_cells,
                label=state.label,
                path=state.path,
                root=_root(state.label, state.path) if state.held else root,
                score=state.score,
                confidence=state.confidence,
                support=state.support,
                decided_by=by,
                decided_in=number,
            )
        )
    return tuple(records)


def _root(label: str, path: str) -> str:
    return path.split(PATH_SEPARATOR, maxsplit=1)[0] if path else label
