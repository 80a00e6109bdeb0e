"""The label of each cell alone, after an iteration."""

from collections.abc import Sequence

from ctr_engine.cell_labels import (
    CellLabels,
    Choice,
    choices_of,
    passed_siblings,
    rivals_of_leaf,
)
from ctr_engine.refinement.engine import Sample, Scored
from ctr_engine.refinement.state import ClusterState
from ctr_engine.sure_cells import own_labels


def labels_of_cells(sample: Sample, scored: Scored) -> CellLabels:
    """Let each cell choose as in :func:`~ctr_engine.sure_cells.own_labels`.

    A label that a person gave is not asked about; one that an automatic operation gave has rivals
    like that of a leaf.
    """
    tables, decider = scored.annotation.tables, scored.decider
    passed = passed_siblings(tables["decision_steps"])
    held = {
        state.cluster_id: _choice(state, scored, passed[state.cluster_id])
        for state in scored.states
        if state.held
    }
    return own_labels(
        sample.view,
        scored.partition.clusters,
        choices_of(tables["cluster_annotations"], tables["decision_steps"]) | held,
        tables["reference_values"],
        decider,
        lambda: sample.coordinates,
    )


def _choice(state: ClusterState, scored: Scored, passed: Sequence[str]) -> Choice:
    """What the cells of a cluster may be whose label an operation gave."""
    marker_map = scored.decider.resolved.marker_map
    known = state.path in marker_map.row_of
    if state.by_hand or not known or not marker_map.nodes[marker_map.row_of[state.path]].is_leaf:
        return Choice(state.label, state.path, ())
    return Choice(state.label, state.path, rivals_of_leaf(state.path, passed))
