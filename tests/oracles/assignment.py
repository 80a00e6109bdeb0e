"""The walk from the roots to a label, and the rows that record it.

Source: stage-h.md, "Assignment", "Tables" and "Fine points"; reference, section 5.
"""

from .gates import TIE, admission, best_of
from .gating_params import threshold_of
from .tree import Node, root_paths

NO_RIVAL = 1e6


def rank(paths: list[str], scores: dict[str, dict]) -> list[str]:
    """Best first: again and again the best of what is left, ties by the order of the map."""
    left, ordered = list(paths), []
    while left:
        best = best_of(left, scores)
        ordered.append(best)
        left.remove(best)
    return ordered


def lead_of(ranked: list[str], scores: dict[str, dict]) -> float:
    """Score of the first less that of the second; a tie is 0, no rival 1e6."""
    if len(ranked) == 1:
        return NO_RIVAL
    lead = scores[ranked[0]]["score"] - scores[ranked[1]]["score"]
    return 0.0 if lead <= TIE else lead


def compete(paths: list[str], nodes: dict, scores: dict, gates: dict, gating: dict) -> dict:
    """One competition among siblings: who passes, in which order, and who wins if anybody."""
    admitted = {p: admission(nodes[p], nodes, gates, scores, gating) for p in paths}
    ranked = rank([path for path in paths if admitted[path]["passed"]], scores)
    result = {"paths": paths, "admitted": admitted, "ranked": ranked, "winner": None}
    if ranked:
        result["lead"] = lead_of(ranked, scores)
        result["gap"] = threshold_of("min_gap", nodes[ranked[0]], gating)
        if len(ranked) == 1 or result["lead"] >= result["gap"]:
            result["winner"] = ranked[0]
    return result


def walk(nodes: dict[str, Node], scores: dict, gates: dict, gating: dict) -> dict:
    """Competitions from the roots down, the nodes chosen, the margins met and the stop."""
    steps: list[dict] = []
    walked: list[str] = []
    margins: list[float] = []
    paths = root_paths(nodes)
    while True:
        step = compete(paths, nodes, scores, gates, gating)
        steps.append(step)
        if not step["ranked"]:
            stop = "no_child_passed" if walked else "no_root_passed"
            break
        margins.append(step["lead"])
        if step["winner"] is None:
            stop = "ambiguous_siblings" if walked else "ambiguous_root"
            break
        walked.append(step["winner"])
        paths = nodes[step["winner"]].children
        if not paths:
            stop = "leaf_reached"
            break
    return {"steps": steps, "walked": walked, "margins": margins, "stop": stop}


def candidates(step: dict, scores: dict, gating: dict) -> list[str]:
    """Those less than the effective gap behind the best, best first, ``max_ambiguity`` at most."""
    best = scores[step["ranked"][0]]["score"]
    near = [path for path in step["ranked"] if best - scores[path]["score"] < step["gap"]]
    return near[: gating["max_ambiguity"]]


def step_row(index: int, step: dict, node: Node, scores: dict, gates: dict) -> dict:
    """One row of ``decision_steps`` without the cluster."""
    score, admitted = scores[node.path], step["admitted"][node.path]
    failed = [gate for gate in gates[node.path] if not gate["passed"]]
    first = None if admitted["passed"] else failed[0]
    best = bool(step["ranked"]) and step["ranked"][0] == node.path
    return {
        "step_idx": index,
        "parent_label": None if node.parent is None else node.parent.split(" / ")[-1],
        "child_label": node.label,
        "child_passed_gate": admitted["passed"],
        "child_score": score["score"],
        "child_coverage": score["coverage"],
        "child_pos_frac": score["mean_positive_fraction"],
        "child_enrichment": score["mean_enrichment"],
        "child_anti_penalty": score["anti_penalty"],
        "selected": step["winner"] == node.path,
        "margin_to_runner_up": step["lead"] if best else None,
        "fail_reason": None if first is None else first["gate"],
        "parent_path": node.parent,
        "child_path": node.path,
        "child_level": node.level,
        "fail_marker": None if first is None else first["marker"],
        "fail_value": None if first is None else first["value"],
        "fail_threshold": None if first is None else first["threshold"],
        "passed_through": admitted["through"],
    }


def step_rows(trace: dict, nodes: dict[str, Node], scores: dict, gates: dict) -> list[dict]:
    """``decision_steps`` of one cluster: every candidate of every competition."""
    rows = []
    for index, step in enumerate(trace["steps"]):
        rows += [step_row(index, step, nodes[path], scores, gates) for path in step["paths"]]
    return rows


def gate_rows(trace: dict, nodes: dict[str, Node], gates: dict) -> list[dict]:
    """``gating_details`` of one cluster: every gate of every candidate of the walk."""
    rows = []
    for step in trace["steps"]:
        for path in step["paths"]:
            place = {"path": path, "label": nodes[path].label, "level": nodes[path].level}
            rows += [{**place, **gate} for gate in gates[path]]
    return rows


def annotation(trace: dict, nodes: dict[str, Node], scores: dict) -> dict:
    """``cluster_annotations`` of one cluster without cells, votes and agreement."""
    label, path, root, level = "Unassigned", "", "Unassigned", -1
    described: Node | None = None
    if trace["stop"] == "ambiguous_root":
        label = path = root = "~".join(trace["steps"][0]["ranked"][:2])
        level, described = 0, nodes[trace["steps"][0]["ranked"][0]]
    elif trace["walked"]:
        described = nodes[trace["walked"][-1]]
        label, path, level = described.label, described.path, described.level
        root = trace["walked"][0]
    confidence = min(trace["margins"]) if trace["margins"] else 0.0
    return {
        "assigned_label": label,
        "assigned_path": path,
        "assigned_level": level,
        "assigned_score": None if described is None else scores[described.path]["score"],
        "root_label": root,
        "confidence": confidence,
        "stop_reason": trace["stop"],
        "coverage": None if described is None else scores[described.path]["coverage"],
        "resolved_markers": [] if described is None else list(described.resolved),
        "is_ambiguous_root": trace["stop"] == "ambiguous_root",
        "margin_is_infinite": confidence == NO_RIVAL,
    }
