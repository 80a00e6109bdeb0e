"""What is to be done to clusters: operations as data, in the order of their execution."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ctr_engine.params import Count, Params, Real
from ctr_engine.refinement.partition import Source
from ctr_engine.tables import natural_key


def is_day(text: str) -> bool:
    """Whether a text is a day in the form of ISO 8601, such as 2026-01-31."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


class _Operation(Params):
    source: Source = Field(description="Who proposed it.")
    reason: str | None = Field(None, description="Why, in words.")
    author: str | None = Field(None, description="Person who decided.")
    date: str | None = Field(None, description="Day on which they did, YYYY-MM-DD.")


class Override(_Operation):
    """Give a cluster a label that later iterations keep; ``path`` is null for a new label."""

    op: Literal["override"] = "override"
    cluster: str = Field(description="The cluster.")
    label: str = Field(description="Its label.")
    path: str | None = Field(description="Path of the label; null for one that the map lacks.")


class Merge(_Operation):
    """Make one cluster of several, under the lowest id; without ``label`` it is scored."""

    op: Literal["merge"] = "merge"
    clusters: Annotated[tuple[str, ...], Field(min_length=2)] = Field(description="The clusters.")
    label: str | None = Field(None, description="Label of the merged cluster.")
    path: str | None = Field(None, description="Path of the label.")


class Regroup(_Operation):
    """Divide clusters and join their parts anew, as two passes over their microclusters say."""

    op: Literal["regroup"] = "regroup"
    clusters: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="The clusters.")
    sizes: Annotated[tuple[Annotated[Count, Field(ge=1)], ...], Field(min_length=1)] = Field(
        description="Cells of each cluster that they become, the largest first."
    )


class Subcluster(_Operation):
    """Divide a cluster by its own cells."""

    op: Literal["subcluster"] = "subcluster"
    cluster: str = Field(description="The cluster.")
    resolution: Annotated[Real, Field(gt=0)] = Field(description="Resolution of Leiden.")


class Relabel(_Operation):
    """Move the label of a cluster to another cell type of the map."""

    op: Literal["relabel"] = "relabel"
    cluster: str = Field(description="The cluster.")
    label: str = Field(description="The cell type.")
    path: str = Field(description="Its path.")


AnyOperation = Override | Merge | Regroup | Subcluster | Relabel
Operation = Annotated[AnyOperation, Field(discriminator="op")]
ORDER = ("override", "merge", "regroup", "subcluster", "relabel")
"""Order in which operations are carried out; rescoring follows."""


def clusters_of(operation: AnyOperation) -> tuple[str, ...]:
    """Clusters that an operation changes, in natural order."""
    if isinstance(operation, Merge | Regroup):
        return tuple(sorted(operation.clusters, key=natural_key))
    return (operation.cluster,)


def describe(operation: AnyOperation) -> str:
    """Write an operation as one line."""
    text = f"{operation.op} {', '.join(clusters_of(operation))} ({operation.source})"
    if isinstance(operation, Subcluster):
        return f"{text} at resolution {operation.resolution:g}"
    if isinstance(operation, Regroup):
        return f"{text} into {' + '.join(map(str, operation.sizes))} cells"
    return text if operation.label is None else f"{text} -> {operation.label}"


class Plan(Params):
    """Operations in the order in which they are carried out, and the clusters that are in focus."""

    operations: tuple[Operation, ...] = Field((), description="What is done.")
    focus: tuple[str, ...] = Field(description="Clusters that may be changed.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        """Refuse a plan that names a cluster twice: what would come of it depends on the order."""
        named = Counter(cluster for op in self.operations for cluster in clusters_of(op))
        twice = sorted((name for name, times in named.items() if times > 1), key=natural_key)
        if twice:
            msg = f"a plan names each cluster once; named twice: {', '.join(map(repr, twice))}"
            raise ValueError(msg)
        return self

    @property
    def touched(self) -> set[str]:
        """Clusters that any operation changes."""
        return {cluster for op in self.operations for cluster in clusters_of(op)}

    def counts(self) -> dict[str, int]:
        """Number of operations of each kind."""
        kinds: list[str] = [operation.op for operation in self.operations]
        return {kind: kinds.count(kind) for kind in ORDER}

    def changes_from(self, earlier: "Plan") -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Say which operations an earlier plan lacks, and which of its own are gone."""
        ours, theirs = ([describe(op) for op in plan.operations] for plan in (self, earlier))
        added = tuple(text for text in ours if text not in theirs)
        return added, tuple(text for text in theirs if text not in ours)

    def as_rows(self) -> list[dict[str, Any]]:
        """Operations as flat rows of ``op, clusters, label, path, resolution, source``."""
        return [
            {
                "op": operation.op,
                "clusters": list(clusters_of(operation)),
                "label": getattr(operation, "label", None),
                "path": getattr(operation, "path", None),
                "resolution": getattr(operation, "resolution", None),
                "source": operation.source,
            }
            for operation in self.operations
        ]


def plan_of(operations: Iterable[AnyOperation], focus: Sequence[str]) -> Plan:
    """Put operations into the order in which they are carried out: by kind, then by lowest id."""
    ordered = sorted(
        operations, key=lambda op: (ORDER.index(op.op), natural_key(clusters_of(op)[0]))
    )
    return Plan(operations=tuple(ordered), focus=tuple(sorted(focus, key=natural_key)))
