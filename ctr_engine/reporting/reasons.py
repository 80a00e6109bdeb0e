"""One sentence for each cluster: why it has its label, or why it has none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ctr_engine.keys import PATH_SEPARATOR

_MOST_MARKERS = 4

STOPS = {
    "leaf_reached": "no cell type stands below",
    "no_child_passed": "no cell type below passed its gates",
    "ambiguous_siblings": "the cell types below are too close",
    "ambiguous_root": "the best two roots are too close",
    "no_root_passed": "no root passed its gates",
}


def reasons(tables: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Put the decision of each cluster into words.

    Parameters
    ----------
    tables
        ``cluster_annotations``, ``decision_steps`` and ``marker_evidence`` of one run.

    Returns
    -------
    Sentences, indexed by ``cluster_id``.
    """
    annotated = tables["cluster_annotations"]
    steps = {str(name): rows for name, rows in tables["decision_steps"].groupby("cluster_id")}
    evidence = {str(name): rows for name, rows in tables["marker_evidence"].groupby("cluster_id")}
    sentences = {
        row["cluster_id"]: _sentence(
            row,
            steps[row["cluster_id"]],
            evidence[row["cluster_id"]] if row["cluster_id"] in evidence else None,
        )
        for _, row in annotated.iterrows()
    }
    return pd.Series(sentences, name="reason", dtype=object)


def _sentence(row: pd.Series, steps: pd.DataFrame, evidence: pd.DataFrame | None) -> str:
    if row["stop_reason"] == "no_root_passed":
        return _refused(steps)
    if row["stop_reason"] == "ambiguous_root":
        return f"{STOPS['ambiguous_root']} (lead {row['confidence']:.2f})"
    parts = [_markers(row["assigned_path"], evidence), _lead(row["assigned_path"], steps)]
    if row["stop_reason"] != "leaf_reached":
        parts.append(STOPS[row["stop_reason"]])
    return "; ".join(part for part in parts if part)


def _markers(path: str, evidence: pd.DataFrame | None) -> str:
    if evidence is None:
        return ""
    own = evidence[(evidence["path"] == path) & (evidence["role"] == "marker")]
    on = own[own["on"]].sort_values("enrichment", ascending=False)
    if on.empty:
        return f"none of its {len(own)} markers is on"
    names = ", ".join(
        f"{r.marker} {r.enrichment:+.1f}" for r in on.head(_MOST_MARKERS).itertuples()
    )
    return f"{len(on)} of {len(own)} markers on: {names}"


def _lead(path: str, steps: pd.DataFrame) -> str:
    """Lead at the step that chose this cell type, and over whom."""
    chosen = steps[steps["child_path"] == path].iloc[0]
    if pd.isna(chosen["runner_up_path"]):
        return "no other candidate passed"
    runner_up = chosen["runner_up_path"].rpartition(PATH_SEPARATOR)[2]
    return f"leads {runner_up} by {chosen['margin_to_runner_up']:.2f}"


def _refused(steps: pd.DataFrame) -> str:
    """Name the best-scored root and the gate that it failed."""
    roots = steps.sort_values("child_score", ascending=False, kind="stable")
    best = roots.iloc[0]
    marker = f" of {best['fail_marker']}" if isinstance(best["fail_marker"], str) else ""
    value = "absent" if pd.isna(best["fail_value"]) else f"{best['fail_value']:.2f}"
    limit = f"{best['fail_threshold']:.2f}"
    label = best["child_path"].rpartition(PATH_SEPARATOR)[2]
    text = f"nearest root {label} fails {best['fail_reason']}{marker}: {value} against {limit}"
    lost = [name for name in out_of_reach(steps) if name != label]
    return f"{text}; out of reach on this panel: {', '.join(lost)}" if lost else text


def mixed_sentence(row: Mapping[Any, Any]) -> str | None:
    """Say which two lineages a cluster shows, from its row of ``cluster_annotations``."""
    if pd.isna(row["mixed_lineage"]):
        return None
    first, second = row["mixed_lineage_markers"]
    text = (
        f"{row['mixed_lineage_share']:.0%} of its cells are positive for {first} and {second}, "
        f"which exclude each other ({row['mixed_lineage']})"
    )
    if pd.isna(row["mixed_lineage_explained"]):
        return text
    return f"{text}; {row['mixed_lineage_explained']:.0%} of these have a neighbour of the second"


@dataclass(frozen=True)
class Refusal:
    """A gate that left cells Unassigned: the nearest root, its gate, and the weakest marker."""

    root: str
    gate: str
    marker: str
    n_cells: int


def refusals(tables: Mapping[str, pd.DataFrame]) -> list[Refusal]:
    """Say which gates left cells Unassigned, the one with the most cells first.

    Of every cluster without a label the root with the best score counts, with the first gate that
    it failed. The marker is that of the root rule, else the root's own with the least enrichment,
    or at ``anti_conflict`` its anti-marker with the most.

    Parameters
    ----------
    tables
        ``cluster_annotations``, ``decision_steps`` and ``marker_evidence`` of one run.
    """
    annotated = tables["cluster_annotations"]
    lost = annotated[annotated["stop_reason"] == "no_root_passed"]
    counts: dict[tuple[str, str, str], int] = {}
    for cluster, n_cells in zip(lost["cluster_id"], lost["n_cells"], strict=True):
        steps = tables["decision_steps"]
        roots = steps[(steps["cluster_id"] == cluster) & (steps["step_idx"] == 0)]
        best = roots.sort_values("child_score", ascending=False, kind="stable").iloc[0]
        marker = best["fail_marker"]
        if not isinstance(marker, str):
            marker = _weakest(tables["marker_evidence"], cluster, best)
        key = (str(best["child_label"]), str(best["fail_reason"]), marker)
        counts[key] = counts.setdefault(key, 0) + int(n_cells)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [Refusal(*key, n_cells) for key, n_cells in ordered]


def _weakest(evidence: pd.DataFrame, cluster: str, root: pd.Series) -> str:
    """Marker of a root that fails it most; empty where it has none on the panel."""
    against = root["fail_reason"] == "anti_conflict"
    own = evidence[
        (evidence["cluster_id"] == cluster)
        & (evidence["path"] == root["child_path"])
        & (evidence["role"] == ("anti_marker" if against else "marker"))
    ]
    if own.empty:
        return ""
    ordered = own.sort_values("enrichment", ascending=not against, kind="stable")
    return str(ordered["marker"].iloc[0])


def out_of_reach(steps: pd.DataFrame) -> list[str]:
    """Roots that no cluster can be given, because the panel lacks their markers."""
    roots = steps[steps["step_idx"] == 0]
    absent = (roots["fail_reason"] == "root_hard_requirement") & roots["fail_value"].isna()
    lacks = absent | (roots["fail_reason"] == "low_coverage")
    return list(dict.fromkeys(roots.loc[lacks, "child_label"]))
