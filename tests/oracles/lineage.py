"""Where a cell has been and who gave its label, followed cell by cell.

Source: stage-i.md, "Operations, always in this order" and "Out".
"""

from typing import Any

Row = dict[str, Any]
OF_STAGE_H = {
    "cell_type": "cell_type_auto",
    "cell_type_path": "cell_type_auto_path",
    "cell_type_root": "cell_type_auto_root",
    "cell_type_confidence": "cell_type_auto_conf",
}


def named_in(operation: Row) -> list[str]:
    """Clusters of an operation."""
    if operation["op"] == "merge":
        return list(operation["clusters"])
    return [operation["cluster"]]


def who_decided(operation: Row, before: str, after: str) -> str | None:
    """What gave the label of a cell whose cluster an operation names; None: as it was."""
    if operation["op"] in ("override", "relabel"):
        return str(operation["op"])
    if operation["op"] == "merge":
        return "rescored" if operation["label"] is None else "merge"
    return None if before == after else "rescored"


def label_of(records: list[Row], step: int, cluster: str) -> Row:
    """Label of a cluster after an iteration."""
    for one in records[step - 1]["clusters"]:
        if one["cluster_id"] == cluster:
            return {
                "cell_type": one["label"],
                "cell_type_path": one["path"],
                "cell_type_root": one["root"],
                "cell_type_confidence": one["confidence"],
            }
    msg = f"iteration {step} left no cluster {cluster!r}"
    raise LookupError(msg)


def steps_of(cell: str, way: list[str], records: list[Row], stage_h: Row) -> list[Row]:
    """Rows of the history of a cell; ``way`` has its cluster after each step."""
    rows = [
        {
            "cell_id": cell,
            "iteration": 0,
            "cluster_id": way[0],
            **{name: stage_h[source] for name, source in OF_STAGE_H.items()},
            "decided_by": "stage_h",
            "decided_in": 0,
            "operation": None,
            "source": None,
            "reason": None,
            "author": None,
            "date": None,
        }
    ]
    for step in range(1, len(way)):
        before, after = way[step - 1], way[step]
        row = {
            **rows[-1],
            "iteration": step,
            "cluster_id": after,
            **label_of(records, step, after),
            **dict.fromkeys(("operation", "source", "reason", "author", "date")),
        }
        for operation in records[step - 1]["plan"]["operations"]:
            if before not in named_in(operation):
                continue
            row["operation"] = operation["op"]
            for name in ("source", "reason", "author", "date"):
                row[name] = operation[name]
            decided = who_decided(operation, before, after)
            if decided is not None:
                row["decided_by"], row["decided_in"] = decided, step
        rows.append(row)
    return rows


def final_label(
    cell: str, way: list[str], records: list[Row], stage_h: Row, own: tuple[str, str, str]
) -> Row:
    """Row of the final annotations of a cell; ``own``: its own label, the path, who gave it."""
    last = steps_of(cell, way, records, stage_h)[-1]
    names = ("cell_id", *OF_STAGE_H, "decided_by", "decided_in")
    support = stage_h["cell_type_auto_support"]
    for one in records[-1]["clusters"] if records else ():
        if one["cluster_id"] == way[-1]:
            support = one["support"]
    return {
        "clusters": list(way),
        "cell_type_support": support,
        "cell_type_cell": own[0],
        "cell_type_cell_path": own[1],
        "cell_type_cell_by": own[2],
        **{name: last[name] for name in names},
    }
