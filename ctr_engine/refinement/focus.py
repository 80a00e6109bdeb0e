"""Which clusters may be changed: those of some labels, those of some ids, or both at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from ctr_engine.errors import ParameterError
from ctr_engine.keys import PATH_SEPARATOR, ROOT_SEPARATOR, UNASSIGNED
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.refinement.state import ClusterState

CHILD_SEPARATOR = ":"


@dataclass(frozen=True)
class Focus:
    """Ids of the clusters that may be changed, and what to look at."""

    clusters: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def focus_of(
    states: Sequence[ClusterState],
    marker_map: MarkerMap,
    labels: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
) -> Focus:
    """Choose clusters by label and by id; without either all are chosen.

    Parameters
    ----------
    labels
        A cluster is in when one of them is a component of its path, or the start of it; an
        ambiguous label ``A~B`` has both components.
    clusters
        Ids; the descendants of a cluster are in with it.

    Raises
    ------
    ParameterError
        If a label is unknown, or nothing is chosen.
    """
    warnings = []
    if labels is not None:
        _require_known(labels, states, marker_map)
    if clusters is not None:
        ids = [state.cluster_id for state in states]
        lost = [name for name in clusters if not any(_descends(one, name) for one in ids)]
        if lost:
            warnings.append(f"There is no cluster {', '.join(map(repr, lost))}; it is left out.")
    chosen = in_focus(states, labels, clusters)
    if not chosen:
        msg = "No cluster is in focus. Widen --focus-labels or --focus-clusters, or drop one."
        raise ParameterError(msg)
    return Focus(chosen, tuple(warnings))


def in_focus(
    states: Sequence[ClusterState],
    labels: Sequence[str] | None = None,
    clusters: Sequence[str] | None = None,
) -> tuple[str, ...]:
    """Ids of the clusters of some labels, of some ids, or of both at once; there may be none."""
    chosen = list(states)
    if labels is not None:
        chosen = [state for state in chosen if any(_in_label(state, label) for label in labels)]
    if clusters is not None:
        chosen = [s for s in chosen if any(_descends(s.cluster_id, name) for name in clusters)]
    return tuple(state.cluster_id for state in chosen)


def _require_known(
    labels: Sequence[str], states: Sequence[ClusterState], marker_map: MarkerMap
) -> None:
    known = {node.label for node in marker_map.nodes} | {node.path for node in marker_map.nodes}
    known |= {UNASSIGNED} | {state.label for state in states}
    unknown = [label for label in labels if label not in known]
    if unknown:
        shown = ", ".join(sorted({node.label for node in marker_map.nodes}))
        msg = f"--focus-labels: no cell type {', '.join(map(repr, unknown))}; there are: {shown}"
        raise ParameterError(msg)


def _in_label(state: ClusterState, label: str) -> bool:
    """Whether a label, or a path, is among the components of a cluster's label."""
    path = state.path or state.label
    if path == label or path.startswith(label + PATH_SEPARATOR):
        return True
    return label in path.split(PATH_SEPARATOR) or label in path.split(ROOT_SEPARATOR)


def _descends(cluster: str, ancestor: str) -> bool:
    return cluster == ancestor or cluster.startswith(ancestor + CHILD_SEPARATOR)
