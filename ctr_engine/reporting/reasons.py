"""One sentence for each cluster: why it has its label, or why it has none."""

from collections.abc import Mapping

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


def out_of_reach(steps: pd.DataFrame) -> list[str]:
    """Roots that no cluster can be given, because the panel lacks their markers."""
    roots = steps[steps["step_idx"] == 0]
    absent = (roots["fail_reason"] == "root_hard_requirement") & roots["fail_value"].isna()
    lacks = absent | (roots["fail_reason"] == "low_coverage")
    return list(dict.fromkeys(roots.loc[lacks, "child_label"]))
