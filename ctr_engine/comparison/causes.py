"""Which edit is behind a changed label: found by making the edits and deciding again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ctr_engine.comparison.differences import Difference
from ctr_engine.comparison.state import Edit, Labels, State
from ctr_engine.stored import StoredRun


@dataclass(frozen=True)
class Cause:
    """Names of the differences behind a changed label, and how they act."""

    names: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class Attribution:
    """Explains labels by edits of a state: from run A forwards, or from run B back.

    Forwards needs the clusters of run A in both runs; backwards needs none but those of run B.
    """

    start: State
    edits: Mapping[str, Edit]
    labels: Labels

    @classmethod
    def forwards(
        cls, run: StoredRun, differences: Sequence[Difference], labels: Labels
    ) -> "Attribution":
        """Make the edits of run B on run A."""
        edits = {one.name: one.edit for one in differences if one.edit is not None}
        return cls(State.of(run), edits, labels)

    @classmethod
    def backwards(
        cls, run: StoredRun, differences: Sequence[Difference], labels: Labels
    ) -> "Attribution":
        """Take the edits of run B back, on the clusters of run B."""
        edits = {one.name: one.undo for one in differences if one.undo is not None}
        return cls(State.of(run), edits, labels)

    def cause_of(self, cluster_id: str, wanted: str) -> Cause:
        """Find what gives a cluster the label ``wanted``.

        Edits that do so alone are named each; otherwise a set of which none can be left out.
        """
        alone = [name for name in self.edits if self._gives([name], cluster_id, wanted)]
        if alone:
            return Cause(tuple(alone), "each alone")
        needed = list(self.edits)
        if not self._gives(needed, cluster_id, wanted):
            return Cause((), "unknown")
        fewer: list[str] | None = needed
        while fewer is not None:  # an edit may be free to go only once another has gone
            needed = fewer
            fewer = next(
                (
                    rest
                    for name in needed
                    if self._gives(rest := [x for x in needed if x != name], cluster_id, wanted)
                ),
                None,
            )
        return Cause(tuple(needed), "together")

    def explained_alone(self, name: str, wanted: Mapping[str, str]) -> list[str]:
        """Clusters, of those in ``wanted``, to which one edit alone gives their label."""
        return [c for c, path in wanted.items() if self._gives([name], c, path)]

    def _gives(self, names: Sequence[str], cluster_id: str, wanted: str) -> bool:
        if not names:
            return False
        state = self.start
        for name in names:
            state = self.edits[name](state)
        labels = self.labels.of(state)
        return labels is not None and labels[cluster_id] == wanted
