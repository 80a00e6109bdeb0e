"""The sheet that a curator fills in: one row per cluster, with what speaks for its label."""

from collections.abc import Mapping

import pandas as pd

from ctr_engine.gating.compete import ALONE
from ctr_engine.refinement.curation import decided_before, filled_in
from ctr_engine.refinement.lineage import Lineage
from ctr_engine.refinement.sample import Opened
from ctr_engine.reporting.reasons import reasons
from ctr_engine.tables import ReviewSheet, from_rows


def review_sheet(opened: Opened, source: str) -> pd.DataFrame:
    """List the clusters of a sample as they are now, the least certain first.

    Columns of the curator are empty, but for labels that a person gave before.

    Parameters
    ----------
    source
        The file that the clusters come from.

    Returns
    -------
    A :class:`~ctr_engine.tables.ReviewSheet` table.
    """
    tables = opened.scored.annotation.tables
    why, rivals = reasons(tables), _runners_up(tables["decision_steps"])
    decided = decided_before(opened.lineage, opened.sample.marker_map)
    given = {one.cluster: filled_in(one) for one in decided}
    who = _who_decided(opened.lineage)
    rows = []
    for state in opened.scored.states:
        name = state.cluster_id
        rival, margin = rivals[name] if name in rivals else (None, None)
        rows.append(
            {
                "cluster_id": name,
                "n_cells": state.n_cells,
                "cell_type": state.label,
                "cell_type_path": state.path,
                "cell_type_confidence": _lead(state.confidence),
                "runner_up": rival,
                "margin_to_runner_up": margin,
                "reason": why[name],
                "decided_by": who[name] if name in who else "stage_h",
                **_by_hand(given[name] if name in given else {}),
                "source_file": source,
                "source_sha256": opened.lineage.content_sha256,
            }
        )
    rows.sort(key=lambda row: (row["cell_type_confidence"] is None, row["cell_type_confidence"]))
    return from_rows(ReviewSheet, rows)


def _who_decided(lineage: Lineage) -> Mapping[str, str]:
    if not lineage.records:
        return {}
    return {one.cluster_id: one.decided_by for one in lineage.records[-1].clusters}


def _lead(confidence: float) -> float | None:
    """Lead over the closest rival; None where there was none."""
    return None if confidence >= ALONE else confidence


def _by_hand(given: Mapping[str, str]) -> dict[str, str | None]:
    """Columns of the curator; empty, or as they were filled in before."""
    columns = ("curated_label", "curator", "curated_on", "curated_reason")
    return {name: given[name] or None if name in given else None for name in columns}


def _runners_up(steps: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Path of the closest rival of each cluster on its way, and the lead over it."""
    close = steps.dropna(subset=["runner_up_path", "margin_to_runner_up"])
    close = close.sort_values("margin_to_runner_up", kind="stable").drop_duplicates("cluster_id")
    return {
        row["cluster_id"]: (row["runner_up_path"], float(row["margin_to_runner_up"]))
        for row in close.to_dict("records")
    }
