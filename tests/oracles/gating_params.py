"""Gating parameters: defaults, merging, and the threshold that holds for a node.

Source: stage-h.md, "Marker map" (merging) and "Fine points"; adaptive.md, rules 1 and 5.
"""

from .tree import Node

LEVELLED = ("min_coverage", "min_pos_frac", "min_enrichment", "min_gap", "min_frac_markers_on")
ROOT_RULES = ("root_hard_requirements", "root_veto_markers")
BASE_GATING = {
    "min_coverage": {0: 0.5, 1: 0.4, 2: 0.3, 3: 0.3},
    "min_pos_frac": {0: 0.3, 1: 0.2, 2: 0.15, 3: 0.15},
    "min_enrichment": {0: 0.0, 1: -0.5, 2: -1.0, 3: -1.0},
    "min_gap": {0: 0.5, 1: 0.3, 2: 0.2, 3: 0.2},
    "min_frac_markers_on": {0: 0.4, 1: 0.3, 2: 0.25, 3: 0.25},
    "anti_penalty_hard_gate": 1.0,
    "per_cell_gap_threshold": 0.1,
    "per_cell_learning": False,
    "per_cell_sure_gap": 0.5,
    "root_gap_threshold": 0.25,
    "anti_agg": "top2mean",
    "anti_off_max_positive_fraction": 0.2,
    "max_ambiguity": 3,
    "gate_inheritance": False,
    "root_hard_requirements": {},
    "root_veto_markers": {},
}
ADAPTIVE_GATING = {
    "gate_inheritance": True,
    "root_gap_threshold": 0.125,
    "min_gap": {1: 0.15, 2: 0.1, 3: 0.1},
    "per_cell_learning": True,
}


def one_form(given: dict) -> dict:
    """Bring both forms of per-level thresholds to ``{name: {level: value}}``."""
    plain = {name: value for name, value in given.items() if name != "level_defaults"}
    for name in LEVELLED:
        if name in plain:
            plain[name] = {int(level): value for level, value in plain[name].items()}
    if "level_defaults" in given:
        for level, values in given["level_defaults"].items():
            for name, value in values.items():
                levels = dict(plain[name]) if name in plain else {}
                if int(level) in levels and levels[int(level)] != value:
                    msg = f"{name} at level {level} is given twice: {levels[int(level)]}, {value}."
                    raise ValueError(msg)
                levels[int(level)] = value
                plain[name] = levels
    return plain


def merge_gating(profile: str, of_map: dict, explicit: dict) -> dict:
    """Base < profile < map < explicit; per level, per root label, else replaced whole.

    ``root_gap`` is the gap that roots need: a level-0 ``min_gap`` of the map or of the
    explicit settings, else ``root_gap_threshold``.
    """
    layers = [BASE_GATING]
    if profile == "adaptive":
        layers.append(ADAPTIVE_GATING)
    user_layers = [one_form(of_map), one_form(explicit)]
    merged: dict = {}
    for layer in layers + user_layers:
        for name, value in layer.items():
            if name not in BASE_GATING:
                msg = f"Unknown gating parameter {name!r}."
                raise ValueError(msg)
            if name in merged and (name in LEVELLED or name in ROOT_RULES):
                merged[name] = {**merged[name], **value}
            else:
                merged[name] = value
    merged["root_gap"] = merged["root_gap_threshold"]
    for layer in user_layers:
        if "min_gap" in layer and 0 in layer["min_gap"]:
            merged["root_gap"] = layer["min_gap"][0]
    return merged


def threshold_of(name: str, node: Node, gating: dict) -> float:
    """Value for a node: its own override, else its level's, else the nearest shallower one's."""
    if name in node.overrides:
        return node.overrides[name]
    if name == "min_gap" and node.level == 0:
        return gating["root_gap"]
    level = node.level
    while level not in gating[name]:
        level -= 1
    return gating[name][level]
