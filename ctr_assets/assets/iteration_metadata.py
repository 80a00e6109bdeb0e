"""What an iteration of refinement says about itself: its plan, its numbers, a picture."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from ctr_engine.refinement.convergence import Round, summary
from ctr_engine.refinement.engine import Sample, Scored
from ctr_engine.refinement.plan import Plan, clusters_of
from ctr_engine.reporting.refinement_figures import score_distribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLAN = "plan_as_json"
_MOST_OPERATIONS = 200


def told(one: Round, before: Scored) -> dict[str, Any]:
    """What an iteration did, for people: its plan, its counts, why it was the last."""
    numbers = summary(before, one)
    rows = [
        dg.TableRecord(
            {
                "operation": operation.op,
                "clusters": ", ".join(clusters_of(operation)),
                "label": getattr(operation, "label", None) or "",
                "proposed by": operation.source,
                "reason": operation.reason or "",
                "author": operation.author or "",
            }
        )
        for operation in one.iteration.plan.operations[:_MOST_OPERATIONS]
    ]
    names = ("operation", "clusters", "label", "proposed by", "reason", "author")
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in names])
    pairs = {
        f"{name}_{when}": numbers[name][i]
        for name in ("clusters", "mean_score", "unassigned_cells")
        for i, when in enumerate(("before", "after"))
    }
    return {
        "plan": dg.MetadataValue.table(rows, schema),
        "operations": dg.MetadataValue.json(numbers["operations"]),
        "stop_reason": one.stop_reason or "goes on",
        "waiting": dg.MetadataValue.json(numbers["waiting"]),
        **pairs,
        PLAN: dg.MetadataValue.json(one.iteration.plan.model_dump(mode="json")),
    }


def plan_changes(context: dg.AssetExecutionContext, plan: Plan) -> dict[str, list[str]]:
    """Say what this plan has that the one of the last time had not, and the other way round."""
    wanted = dg.AssetRecordsFilter(
        asset_key=context.asset_key, asset_partitions=[context.partition_key]
    )
    records = context.instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    if event is None or PLAN not in event.metadata:
        return {}
    value = event.metadata[PLAN].value
    added, gone = plan.changes_from(Plan.model_validate(value))
    return {"new": list(added), "gone": list(gone)}


def before_and_after(before: Scored, one: Round, sample: Sample) -> "Figure":
    """Scores of all cells before and after."""
    pairs = (
        [(state.score, state.n_cells) for state in scored.states]
        for scored in (before, one.iteration.after)
    )
    return score_distribution(*pairs, sample.refinement.score_threshold)
