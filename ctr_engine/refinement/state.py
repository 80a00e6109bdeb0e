"""What refinement starts from: each cluster with the label that it holds, and who gave it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ctr_engine.gating.decider import Decider


@dataclass(frozen=True)
class ClusterState:
    """One cluster. ``path`` is empty when unassigned or of a label that the map does not have.

    ``confidence`` is the smallest lead on the way to the label that scoring gives, ``support`` how
    far that label can be trusted; None where an operation gave another one.

    ``held`` says that an override, a relabelling or a merge gave the label, which rescoring keeps;
    ``overridden`` that it was an override, ``by_hand`` that a person asked for it.
    ``unsplittable``: an earlier iteration tried to divide the same cells with the same parameters.
    """

    cluster_id: str
    n_cells: int
    label: str
    path: str
    score: float | None
    stop_reason: str
    confidence: float = 0.0
    support: float | None = None
    held: bool = False
    overridden: bool = False
    by_hand: bool = False
    unsplittable: bool = False


def states_of(
    annotated: pd.DataFrame,
    *,
    unsplittable: Collection[str] = (),
    overridden: Collection[str] = (),
) -> tuple[ClusterState, ...]:
    """Take the clusters of Stage H, in their order, from ``cluster_annotations``."""
    return tuple(
        ClusterState(
            cluster_id=row["cluster_id"],
            n_cells=int(row["n_cells"]),
            label=row["assigned_label"],
            path=row["assigned_path"],
            score=None if np.isnan(row["assigned_score"]) else float(row["assigned_score"]),
            stop_reason=row["stop_reason"],
            confidence=float(row["confidence"]),
            support=float(row["support"]),
            held=row["cluster_id"] in overridden,
            overridden=row["cluster_id"] in overridden,
            unsplittable=row["cluster_id"] in unsplittable,
        )
        for row in annotated.to_dict("records")
    )


def require_same_clusters(states: Sequence[ClusterState], decider: Decider) -> None:
    """Refuse states and scores of different clusters.

    Raises
    ------
    ValueError
        If they are not of the same clusters in the same order.
    """
    if tuple(state.cluster_id for state in states) != decider.cluster_ids:
        msg = "states and scores are not of the same clusters"
        raise ValueError(msg)
