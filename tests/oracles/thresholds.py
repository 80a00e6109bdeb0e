"""What a cluster is called when numbers are set otherwise: set them, decide anew, look.

Source: stage-h.md, "Gates, in the order of the reference" and "Assignment". Nothing here knows
where a label may change: every setting of a grid is tried.
"""

import copy
from itertools import pairwise

from .assignment import annotation, walk
from .gates import node_gates
from .gating_params import LEVELLED, ROOT_RULES, merge_gating, one_form, threshold_of
from .names import alias_groups, resolve
from .run import merge_scoring, run_case
from .scores import score_node
from .statistics import cluster_value
from .tree import Node, build_nodes

OVERRIDES = "gating_overrides"
OFF = "anti_off_max_positive_fraction"
RANGES = {
    "min_enrichment": (-4.0, 4.0),
    "min_gap": (0.0, 7.0),
    "root_gap_threshold": (0.0, 7.0),
    "anti_penalty_hard_gate": (0.0, 4.0),
}
NO_HITS = {"K": 1, "rank_map": {}}

Scanned = dict[float, dict[str, tuple[str, str]]]
"""By setting, then by cluster: path and stop reason."""


def grid(low: float, high: float, decimals: int) -> list[float]:
    """Every number of so many decimals from ``low`` to ``high``."""
    scale = 10**decimals
    return [whole / scale for whole in range(round(low * scale), round(high * scale) + 1)]


def range_of(name: str) -> tuple[float, float]:
    """Range of a number; where it has no end, beyond all that the cases measure."""
    for ending, limits in RANGES.items():
        if name.endswith(ending) or name.startswith(f"{ending}."):
            return limits
    return 0.0, 1.0


def of_map(marker_map: dict) -> dict:
    """Gating parameters that the map gives."""
    return marker_map["_gating_params"] if "_gating_params" in marker_map else {}


def body_of(marker_map: dict, path: str) -> dict:
    """Node of the raw map under a path."""
    root, *below = path.split(" / ")
    body = marker_map[root]
    for label in below:
        body = body["subtypes" if "subtypes" in body else "children"][label]
    return body


def set_number(case: dict, name: str, value: float) -> dict:
    """Return a copy of the case in which one number is set; all others stay.

    ``name`` is a place: ``min_coverage.0``, ``root_gap_threshold``,
    ``gating_overrides.<path>.min_gap``, ``root_veto_markers.<root>.max_pos_frac``, ...
    """
    kind, _, rest = name.partition(".")
    explicit = copy.deepcopy(one_form(case["gating"]))
    changed = {**case, "gating": explicit}
    if kind == OVERRIDES:
        path, _, field = rest.rpartition(".")
        changed["marker_map"] = copy.deepcopy(case["marker_map"])
        body_of(changed["marker_map"], path)[OVERRIDES][field] = value
    elif kind in ROOT_RULES:
        label, _, field = rest.rpartition(".")
        rules = merge_gating(case["profile"], of_map(case["marker_map"]), case["gating"])[kind]
        if kind not in explicit:
            explicit[kind] = {}
        explicit[kind][label] = {**rules[label], field: value}
    elif kind in LEVELLED:
        if kind not in explicit:
            explicit[kind] = {}
        explicit[kind][int(rest)] = value
    else:
        explicit[kind] = value
    return changed


def number(case: dict, name: str) -> float:
    """Value of a number that somebody, or the base, has given."""
    kind, _, rest = name.partition(".")
    gating = merge_gating(case["profile"], of_map(case["marker_map"]), case["gating"])
    if kind == OVERRIDES:
        path, _, field = rest.rpartition(".")
        return body_of(case["marker_map"], path)[OVERRIDES][field]
    if kind in ROOT_RULES:
        label, _, field = rest.rpartition(".")
        return gating[kind][label][field]
    if name == "min_gap.0":
        return gating["root_gap"]
    return gating[kind][int(rest)] if kind in LEVELLED else gating[kind]


def places(case: dict) -> list[str]:
    """Names of all numbers of a case, whether they decide about anything or not."""
    gating = merge_gating(case["profile"], of_map(case["marker_map"]), case["gating"])
    layers = [one_form(of_map(case["marker_map"])), one_form(case["gating"])]
    given = any("min_gap" in layer and 0 in layer["min_gap"] for layer in layers)
    found = [f"{name}.{level}" for name in LEVELLED for level in gating[name] if level > 0]
    found += [f"{name}.0" for name in LEVELLED if name != "min_gap" or given]
    found += ["root_gap_threshold", "anti_penalty_hard_gate", OFF]
    for path, node in build_nodes(case["marker_map"], case["panel"]).items():
        fields = [field for field in node.overrides if field in LEVELLED]
        found += [f"{OVERRIDES}.{path}.{field}" for field in fields]
    for kind in ROOT_RULES:
        for label, rule in gating[kind].items():
            fields = [field for field in rule if field not in ("marker", "markers")]
            found += [f"{kind}.{label}.{field}" for field in fields]
    return found


class Deciding:
    """A case with its numbers as given; ``case`` has the marker map, the explicit gating and
    scoring, the profile, the panel, and the values of each marker in each cluster.
    """

    def __init__(self, case: dict, scores: dict | None = None, nodes: dict | None = None) -> None:
        self.case = case
        self.gating = merge_gating(case["profile"], of_map(case["marker_map"]), case["gating"])
        self.nodes = build_nodes(case["marker_map"], case["panel"]) if nodes is None else nodes
        self.scores = self.scored() if scores is None else scores
        groups = alias_groups(case["marker_map"])
        rules = [*self.gating[ROOT_RULES[0]].values(), *self.gating[ROOT_RULES[1]].values()]
        names = [n for r in rules for n in (r["markers"] if "markers" in r else [r["marker"]])]
        self.columns = {name: resolve(name, case["panel"], groups) for name in names}

    def scored(self) -> dict[str, dict[str, dict]]:
        """Scores by cluster and path, without differential expression."""
        case = self.case
        params = merge_scoring(
            case["profile"], case["scoring"], of_map(case["marker_map"]), case["gating"]
        )
        return {
            cluster: {
                path: score_node(node, self.nodes, values, NO_HITS, params)
                for path, node in self.nodes.items()
            }
            for cluster, values in case["values"].items()
        }

    def ends(self, cluster: str) -> tuple[str, str]:
        """Path and stop reason of a cluster."""
        values, scores = self.case["values"][cluster], self.scores[cluster]
        gates = {
            path: node_gates(node, scores[path], values, self.gating, self.columns.__getitem__)
            for path, node in self.nodes.items()
        }
        trace = walk(self.nodes, scores, gates, self.gating)
        end = annotation(trace, self.nodes, scores)
        return end["assigned_path"], end["stop_reason"]

    def with_numbers(self, numbers: dict[str, float]) -> "Deciding":
        """The same with several numbers set; no score depends on one."""
        case = self.case
        for name, value in numbers.items():
            case = set_number(case, name, value)
        same_map = case["marker_map"] is self.case["marker_map"]
        return Deciding(case, self.scores, self.nodes if same_map else None)

    def thresholds(self) -> dict[tuple[str, str], float]:
        """Every threshold by the path of its cell type and its kind."""
        found = {}
        for path, node in self.nodes.items():
            for name in LEVELLED:
                found[path, name] = threshold_of(name, node, self.gating)
            found[path, "anti_penalty_hard_gate"] = self.gating["anti_penalty_hard_gate"]
            if _must_be_off(node):
                found[path, OFF] = self.gating[OFF]
            for kind in ROOT_RULES:
                if node.level == 0 and node.label in self.gating[kind]:
                    rule = self.gating[kind][node.label]
                    for field in rule.keys() - {"marker", "markers"}:
                        found[path, f"{kind} {field}"] = rule[field]
        return found


def deciding_of_cells(case: dict) -> Deciding:
    """A case that comes as cells, with the statistics and scores of the oracle.

    Measured values are rounded to nine decimals: a value within a billionth of a threshold is at
    it.
    """
    tables = run_case(**case, de=None)
    scores: dict[str, dict] = {}
    for row in tables["marker_scores"]:
        rounded = {k: round(v, 9) if isinstance(v, float) else v for k, v in row.items()}
        scores.setdefault(row["cluster_id"], {})[row["path"]] = rounded
    values: dict = {cluster: {} for cluster in scores}
    for position, reference in enumerate(tables["reference_values"]):
        for cluster in scores:
            pairs = zip(case["expression"], case["clusters"], strict=True)
            column = [cell[position] for cell, name in pairs if name == cluster]
            measured = cluster_value(column, reference)
            values[cluster][reference["marker"]] = {k: round(v, 9) for k, v in measured.items()}
    return Deciding({**case, "panel": case["markers"], "values": values}, scores)


def _must_be_off(node: Node) -> bool:
    return "require_anti_markers_off" in node.overrides and bool(
        node.overrides["require_anti_markers_off"]
    )


def cell_types_of(given: Deciding, name: str) -> list[str]:
    """Cell types of which some threshold moves when the number does."""
    before = given.thresholds()
    after = given.with_numbers({name: number(given.case, name) + 0.015625}).thresholds()
    return [
        path for path in given.nodes if any(before[k] != after[k] for k in before if k[0] == path)
    ]


def scan(given: Deciding, name: str, settings: list[float]) -> Scanned:
    """Ends of all clusters under every setting of one number."""
    found = {}
    for setting in settings:
        changed = given.with_numbers({name: setting})
        found[setting] = {cluster: changed.ends(cluster) for cluster in given.case["values"]}
    return found


def scan_closely(given: Deciding, name: str, decimals: int) -> Scanned:
    """Scan with one decimal; between neighbours that differ, with one more, and so on."""
    low, high = range_of(name)
    found = scan(given, name, grid(low, high, 1))
    for more in range(2, decimals + 1):
        settings = sorted(found)
        for left, right in pairwise(settings):
            if found[left] != found[right]:
                found |= scan(given, name, grid(left, right, more)[1:-1])
    return found


def nearest(given: Deciding, name: str, found: Scanned) -> dict[tuple[str, str, str], float]:
    """How far the number must be turned at least, by cluster, number and other label scanned."""
    current = number(given.case, name)
    changes: dict[tuple[str, str, str], float] = {}
    for cluster in given.case["values"]:
        here = given.ends(cluster)[0]
        for setting, ends in found.items():
            key = cluster, name, ends[cluster][0]
            if key[2] != here and (key not in changes or abs(setting - current) < changes[key]):
                changes[key] = abs(setting - current)
    return {key: round(change, 9) for key, change in changes.items()}
