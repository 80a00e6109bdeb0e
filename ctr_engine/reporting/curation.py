"""The sheet that a curator fills in: one row per cluster, with what speaks for its label."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ctr_engine.refinement.lineage import Lineage, overrides_in
from ctr_engine.refinement.plan import Override
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
    given, who = overrides_in(opened.lineage), _who_decided(opened.lineage)
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
                "cell_type_confidence": state.confidence,
                "runner_up": rival,
                "margin_to_runner_up": margin,
                "reason": why[name],
                "decided_by": who[name] if name in who else "stage_h",
                **_by_hand(given[name] if name in given else None),
                "source_file": source,
                "source_sha256": opened.lineage.content_sha256,
            }
        )
    rows.sort(key=lambda row: row["cell_type_confidence"])
    return from_rows(ReviewSheet, rows)


def _who_decided(lineage: Lineage) -> Mapping[str, str]:
    if not lineage.records:
        return {}
    return {one.cluster_id: one.decided_by for one in lineage.records[-1].clusters}


def _by_hand(given: Override | None) -> dict[str, Any]:
    """Columns of the curator."""
    return {
        "curated_label": None if given is None else given.label,
        "curator": None if given is None else given.author,
        "curated_on": None if given is None else given.date,
        "curated_reason": None if given is None else given.reason,
    }


def _runners_up(steps: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Path of the closest rival of each cluster on its way, and the lead over it."""
    close = steps.dropna(subset=["runner_up_path", "margin_to_runner_up"])
    close = close.sort_values("margin_to_runner_up", kind="stable").drop_duplicates("cluster_id")
    return {
        row["cluster_id"]: (row["runner_up_path"], float(row["margin_to_runner_up"]))
        for row in close.to_dict("records")
    }
