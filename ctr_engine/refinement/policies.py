"""Who proposes: the criteria, a person, or both; a person wins on a cluster that both name."""

from collections.abc import Sequence

import pandas as pd

from ctr_engine.errors import ParameterError
from ctr_engine.refinement.criteria import RELABEL, SUBCLUSTER
from ctr_engine.refinement.manual import ManualPlan
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.plan import (
    AnyOperation,
    Plan,
    Relabel,
    Subcluster,
    clusters_of,
    plan_of,
)


def auto_operations(report: pd.DataFrame, params: RefinementParams) -> list[AnyOperation]:
    """Make an operation of each recommendation of a diagnostic report."""
    found: list[AnyOperation] = []
    for row in report.to_dict("records"):
        cluster, reason = row["cluster_id"], row["criterion"]
        if row["recommendation"] == SUBCLUSTER:
            found.append(
                Subcluster(
                    source="auto", reason=reason, cluster=cluster, resolution=params.resolution
                )
            )
        elif row["recommendation"] == RELABEL:
            label, path = row["target_label"], row["target_path"]
            found.append(
                Relabel(source="auto", reason=reason, cluster=cluster, label=label, path=path)
            )
    return found


def merged_plan(auto: Sequence[AnyOperation], manual: ManualPlan, focus: Sequence[str]) -> Plan:
    """Put both together, in the order in which they are carried out.

    Raises
    ------
    ParameterError
        If a manual operation lies outside the focus, wholly or partly.
    """
    outside = sorted({c for op in manual.operations for c in clusters_of(op) if c not in focus})
    if outside:
        msg = (
            f"The manual file changes {', '.join(map(repr, outside))}, which is not in focus. "
            "Widen the focus, or take it out of the file."
        )
        raise ParameterError(msg)
    kept = [op for op in auto if not set(manual.claimed) & set(clusters_of(op))]
    return plan_of([*manual.operations, *kept], focus)
