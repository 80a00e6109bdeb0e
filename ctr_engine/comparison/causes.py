"""Which edit is behind a changed label: found by making the edits and deciding again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ctr_engine.comparison.differences import Difference
from ctr_engine.comparison.state import Labels, State
from ctr_engine.stored import StoredRun


@dataclass(frozen=True)
class Cause:
    """Names of the differences behind a changed label, and how they act."""

    names: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class Attribution:
    """Explains the changed labels of two runs that have the same clusters."""

    a: StoredRun
    b: StoredRun
    differences: Sequence[Difference]
    labels: Labels

    @cached_property
    def _alone(self) -> list[dict[str, str] | None]:
        """Labels with each difference alone."""
        return [self.labels.of(self._state([one])) for one in self.differences]

    def cause_of(self, cluster_id: str, wanted: str) -> Cause:
        """Find what gives a cluster the label ``wanted`` of run B.

        Edits that do so alone are named each; otherwise a set of which none can be left out.
        """
        alone = [
            one.name
            for one, labels in zip(self.differences, self._alone, strict=True)
            if labels is not None and labels[cluster_id] == wanted
        ]
        if alone:
            return Cause(tuple(alone), "each alone")
        needed = list(self.differences)
        if not self._gives(needed, cluster_id, wanted):
            return Cause((), "unknown")
        for one in self.differences:
            fewer = [other for other in needed if other is not one]
            if self._gives(fewer, cluster_id, wanted):
                needed = fewer
        return Cause(tuple(one.name for one in needed), "together")

    def explained_alone(self, wanted: dict[str, str]) -> list[list[str]]:
        """Clusters, of those in ``wanted``, that each difference gives their label alone."""
        return [
            []
            if labels is None
            else [cluster for cluster, path in wanted.items() if labels[cluster] == path]
            for labels in self._alone
        ]

    def _gives(self, chosen: Sequence[Difference], cluster_id: str, wanted: str) -> bool:
        labels = self.labels.of(self._state(chosen))
        return labels is not None and labels[cluster_id] == wanted

    def _state(self, chosen: Sequence[Difference]) -> State:
        state = State.of(self.a)
        for one in chosen:
            if one.edit is not None:
                state = one.edit(state)
        return state
