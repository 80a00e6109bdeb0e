"""The five tables of one case, computed marker by marker and cell by cell."""

import json
import re

from .assignment import annotation, candidates, gate_rows, step_rows, walk
from .cells import path_of_cell, rivals
from .gates import admission, node_gates
from .gating_params import merge_gating
from .names import alias_groups, resolve
from .scores import score_node
from .statistics import DEFAULT_SCORING, cluster_value, reference_value
from .sure_cells import taught
from .tree import Node, build_nodes
from .votes import agreement, composition, scale
from .wilcoxon import rank_lookup, wilcoxon_scores

ADAPTIVE_SCORING = {"positive_threshold": "otsu", "parent_markers": "alternatives"}
PROFILES = ("reference", "adaptive")
TABLES = (
    "cells",
    "let_in",
    "reference_values",
    "marker_scores",
    "decision_steps",
    "gating_details",
    "cluster_annotations",
)


def natural_key(cluster: str) -> list[tuple[int, int, str]]:
    """Sort key: ``2`` before ``10``, ``3:1`` after ``3``."""
    parts = re.findall(r"\d+|\D+", cluster)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def merge_scoring(profile: str, explicit: dict, of_map: dict, gating: dict) -> dict:
    """Defaults < profile < explicit; ``anti_agg`` of the gating unless scoring gives one."""
    if profile not in PROFILES:
        msg = f"Profile {profile!r} is not one of {PROFILES}."
        raise ValueError(msg)
    merged = dict(DEFAULT_SCORING)
    if profile == "adaptive":
        merged.update(ADAPTIVE_SCORING)
    if "anti_agg" in of_map or "anti_agg" in gating:
        merged["anti_agg"] = gating["anti_agg"] if "anti_agg" in gating else of_map["anti_agg"]
    for name, value in explicit.items():
        if name not in DEFAULT_SCORING:
            msg = f"Unknown scoring parameter {name!r}."
            raise ValueError(msg)
        merged[name] = value
    return merged


def run_cluster(cells: list[int], lookup: dict, shared: dict) -> dict:
    """Rows of one cluster, still without its id and size."""
    nodes: dict[str, Node] = shared["nodes"]
    gating, scaled, columns = shared["gating"], shared["scaled"], shared["columns"]
    values = {}
    for marker, column in columns.items():
        values[marker] = cluster_value([column[i] for i in cells], shared["references"][marker])
    scores, gates = {}, {}
    for path, node in nodes.items():
        scores[path] = score_node(node, nodes, values, lookup, shared["scoring"])
        gates[path] = node_gates(node, scores[path], values, gating, shared["column_of"])
    trace = walk(nodes, scores, gates, gating)
    row = annotation(trace, nodes, scores)
    row["composition"] = None
    if trace["stop"] == "ambiguous_siblings":
        voted = candidates(trace["steps"][-1], scores, gating)
        gap = gating["per_cell_gap_threshold"]
        votes = composition(cells, voted, nodes, scaled, gap)
        row["composition"] = json.dumps(votes, sort_keys=True)
    row["agreement"] = agreement(cells, trace["walked"], nodes, scaled)
    among = rivals(trace, nodes, scores, gates, gating)
    gap, assigned = gating["per_cell_gap_threshold"], row["assigned_path"]
    return {
        "cells": [
            {
                "cell": i,
                "path": path_of_cell(i, assigned, among, nodes, scaled, gap),
                "cluster_path": assigned,
                "at_leaf": trace["stop"] == "leaf_reached",
                "learnt": False,
            }
            for i in cells
        ],
        "let_in": [
            {"path": path}
            for path, node in nodes.items()
            if admission(node, nodes, gates, scores, gating)["passed"]
        ],
        "marker_scores": list(scores.values()),
        "decision_steps": step_rows(trace, nodes, scores, gates),
        "gating_details": gate_rows(trace, nodes, gates),
        "cluster_annotations": [row],
    }


def prepare(
    columns: dict[str, list[float]], marker_map: dict, scoring: dict, gating: dict, profile: str
) -> dict:
    """Everything that is computed once for the whole partition."""
    of_map = marker_map["_gating_params"] if "_gating_params" in marker_map else {}
    groups = alias_groups(marker_map)
    merged = merge_scoring(profile, scoring, of_map, gating)
    return {
        "columns": columns,
        "nodes": build_nodes(marker_map, list(columns)),
        "column_of": lambda name: resolve(name, list(columns), groups),
        "scoring": merged,
        "gating": merge_gating(profile, of_map, gating),
        "references": {m: reference_value(column, merged) for m, column in columns.items()},
        "scaled": {m: scale(column) for m, column in columns.items()},
    }


def run_case(
    expression: list[list[float]],
    markers: list[str],
    clusters: list[str],
    marker_map: dict,
    scoring: dict,
    gating: dict,
    profile: str,
    de: dict[str, dict[str, float]] | None,
    coordinates: list[list[float]] | None = None,
) -> dict[str, list[dict]]:
    """Annotate every cluster. ``de`` is ``{cluster: {marker: score}}``; None: computed here.

    With ``coordinates``, principal components cell by cell, cells learn from each other too where
    the parameters say so.
    """
    columns = {m: [float(cell[j]) for cell in expression] for j, m in enumerate(markers)}
    shared = prepare(columns, marker_map, scoring, gating, profile)
    tests = wilcoxon_scores(columns, clusters) if de is None else de
    tables: dict[str, list[dict]] = {name: [] for name in TABLES}
    for marker, reference in shared["references"].items():
        tables["reference_values"].append({"marker": marker, **reference})
    for cluster in sorted(set(clusters), key=natural_key):
        cells = [i for i, name in enumerate(clusters) if name == cluster]
        found = tests[cluster] if cluster in tests else {}
        lookup = rank_lookup(found, markers, shared["scoring"])
        for name, rows in run_cluster(cells, lookup, shared).items():
            for row in rows:
                sized = name in ("marker_scores", "cluster_annotations")
                size = {"n_cells": len(cells)} if sized else {}
                tables[name].append({"cluster_id": cluster, **row, **size})
    gating = shared["gating"]
    if coordinates is not None and gating["per_cell_learning"]:
        let_in = {row["path"] for row in tables["let_in"]}
        gap = gating["per_cell_sure_gap"]
        cells, nodes, scaled = tables["cells"], shared["nodes"], shared["scaled"]
        answers = taught(cells, nodes, scaled, let_in, gap, coordinates)
        for row in cells:
            if row["cell"] in answers and answers[row["cell"]] != row["path"]:
                row["path"], row["learnt"] = answers[row["cell"]], True
    return tables
