"""The page of a comparison of two runs."""

from collections.abc import Mapping
from typing import Any

from ctr_engine.comparison.compare import Comparison
from ctr_engine.reporting.flow_figure import flow
from ctr_engine.reporting.pages import data_uri, page

_MOST_CLUSTERS = 200


def comparison_page(result: Comparison) -> str:
    """Give a page with the flow of the labels, what differs, and each changed cluster."""
    flows = result.tables["label_flow"][["path_a", "path_b", "n_cells"]]
    flows = flows.set_axis(["from_label", "to_label", "n_cells"], axis=1)
    flows = flows.replace({"from_label": {"": "Unassigned"}, "to_label": {"": "Unassigned"}})
    changes = result.tables["cluster_changes"]
    changed = changes[changes["changed"]].sort_values("n_cells", ascending=False, kind="stable")
    return page(
        "compare.html.j2",
        {"because": because},
        title="Comparison of two runs",
        result=result,
        agreement=result.agreement,
        sankey=data_uri(flow(flows, ("run A", "run B"))),
        flows=_rows(result, "label_flow", changed_only=True),
        overlaps=_rows(result, "label_overlap"),
        differences=_rows(result, "differences"),
        clusters=changed.head(_MOST_CLUSTERS).to_dict("records"),
        n_clusters=len(changes),
    )


def _rows(result: Comparison, name: str, *, changed_only: bool = False) -> list[dict[Any, Any]]:
    table = result.tables[name]
    if changed_only:
        table = table[table["changed"]]
    return table.astype(object).where(table.notna(), None).to_dict("records")


def because(row: Mapping[Any, Any]) -> str:
    """Say what is behind a changed label, a row of ``cluster_changes``, in words."""
    names = list(row["causes"])
    if row["causes_are"] == "clusters":
        return "other clusters; what differs: " + ("; ".join(names) or "nothing that is recorded")
    if not names:
        return "nothing that is recorded"
    joint = " or, each alone, " if row["causes_are"] == "each alone" else " together with "
    return joint.join(names)
