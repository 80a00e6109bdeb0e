"""Which clusters would have another label if one threshold were set a little differently."""

import pandas as pd

from ctr_engine.gating.compete import path_of
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.flips import Flip, flips
from ctr_engine.keys import PATH_SEPARATOR, UNASSIGNED
from ctr_engine.tables import STOP_REASONS, NearMissReport, from_rows


def near_misses(decider: Decider, within: float) -> pd.DataFrame:
    """List the labels that a change of one threshold by at most ``within`` gives.

    Returns
    -------
    A :class:`~ctr_engine.tables.NearMissReport` table, clusters in natural order, the smallest
    change of each first.
    """
    nearest: dict[tuple[int, int], Flip] = {}
    for flip in flips(decider, within=within):
        nearest.setdefault((flip.cluster, flip.place), flip)  # sorted: the first is the smallest
    return from_rows(NearMissReport, [_row(decider, flip) for flip in nearest.values()])


def label_of(path: str) -> str:
    """Label of a path; ``Unassigned`` of an empty one."""
    return path.rpartition(PATH_SEPARATOR)[2] or UNASSIGNED


def _row(decider: Decider, flip: Flip) -> dict[str, object]:
    marker_map, found = decider.resolved.marker_map, decider.outcomes
    path = path_of(int(found.place[flip.cluster]), marker_map)
    other = path_of(flip.place, marker_map)
    return {
        "cluster_id": decider.cluster_ids[flip.cluster],
        "assigned_label": label_of(path),
        "assigned_path": path,
        "stop_reason": STOP_REASONS[found.stop[flip.cluster]],
        "n_cells": int(decider.n_cells[flip.cluster]),
        "threshold": flip.knob.name,
        "current_value": flip.knob.value,
        "needed_value": flip.value,
        "change": flip.change,
        "other_label": label_of(other),
        "other_path": other,
        "other_stop_reason": STOP_REASONS[flip.stop],
    }
