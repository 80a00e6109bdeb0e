"""What refining scopes changes: operations on clusters, carried out in order."""

from collections.abc import Iterable
from dataclasses import dataclass

from ctr_engine.splitmerge.clusters import Clusters, content


@dataclass(frozen=True)
class Operation:
    """One scope: the seed that it was built for, the clusters in it, and what they become."""

    seed: str
    inputs: tuple[str, ...]
    outputs: Clusters


@dataclass(frozen=True)
class Executed:
    """Clusters after some operations, and what became of each operation."""

    clusters: Clusters
    applied: tuple[Operation, ...]
    dropped: tuple[Operation, ...]
    unchanged: tuple[Operation, ...]


def execute(clusters: Clusters, operations: Iterable[Operation]) -> Executed:
    """Carry operations out in order.

    One whose inputs an earlier one has replaced is dropped. One that gives what it was given
    changes nothing, ids included.
    """
    now = dict(clusters)
    applied, dropped, unchanged = [], [], []
    for operation in operations:
        if any(name not in now for name in operation.inputs):
            dropped.append(operation)
        elif content(now, operation.inputs) == frozenset(operation.outputs.values()):
            unchanged.append(operation)
        else:
            for name in operation.inputs:
                del now[name]
            now |= operation.outputs
            applied.append(operation)
    return Executed(now, tuple(applied), tuple(dropped), tuple(unchanged))
