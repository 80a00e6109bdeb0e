"""Grids by brute force: a whole run of Stage H for every setting."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from ctr_engine.gating.compete import path_of
from ctr_engine.profiles import AnalysisParams
from ctr_engine.stored import StoredRun
from ctr_engine.tuning.grid import Axis, parse_axis
from ctr_engine.tuning.tune import Tuning, tune
from tests.comparison.runs import Cells, counted, stored

MAP = {
    "_gating_params": {
        "min_gap": {"1": 0.2},
        "root_hard_requirements": {"R": {"marker": "A", "min_pos_frac": 0.3}},
    },
    "R": {
        "markers": ["A", "B", "Absent"],
        "anti_markers": ["E", "F", "G"],
        "gating_overrides": {"require_anti_markers_off": True},
        "subtypes": {
            "X": {"markers": ["A"], "subtypes": {"P": {"markers": ["C"]}, "Q": {"markers": ["D"]}}},
            "Y": {"markers": ["B", "D"], "gating_overrides": {"min_enrichment": -0.2}},
        },
    },
    "S": {"markers": ["C", "D"], "anti_markers": ["A"]},
    "T": {"markers": ["E"], "subtypes": {"U": {"markers": ["F"]}, "V": {"markers": ["G"]}}},
}
RULES = {
    "root_hard_requirements": {"R": {"marker": "A", "min_pos_frac": 0.3, "min_enrichment": 0.1}},
    "root_veto_markers": {"S": {"markers": ["B", "A"], "max_pos_frac": 0.5}},
}
COUNTS = {
    "A": {"0": 9, "1": 4, "2": 3},
    "B": {"0": 7, "1": 5, "3": 5},
    "C": {"0": 2, "2": 7, "3": 6},
    "D": {"1": 3, "2": 6, "3": 6, "4": 2},
    "E": {"0": 1, "4": 6, "5": 7, "6": 2},
    "F": {"1": 1, "4": 6, "5": 3, "6": 5},
    "G": {"0": 1, "1": 2, "5": 5, "6": 5},
}


def run_of(cells: Cells | None = None, **raw: Any) -> StoredRun:
    """Run on ten clusters of ten cells."""
    return stored(counted(COUNTS) if cells is None else cells, MAP, "run", **raw)


def axes_of(*texts: str) -> list[Axis]:
    """Axes from ``gating NAME=...`` or ``scoring NAME=...``."""
    found = []
    for text in texts:
        section, _, rest = text.partition(" ")
        found.append(parse_axis("scoring" if section == "scoring" else "gating", rest))
    return found


def tuned(run: StoredRun, *texts: str) -> Tuning:
    return tune(run, axes_of(*texts))


def paths_of(tuning: Tuning) -> list[list[str]]:
    """Path of the label of each cluster under each setting."""
    marker_map = tuning.decider.resolved.marker_map
    return [[path_of(place, marker_map) for place in row] for row in tuning.places.tolist()]


def placed(axis: Axis, value: Any, run: StoredRun) -> dict[str, Any]:
    """What ``--gating-params`` or ``--scoring-params`` would set."""
    name, _, rest = axis.name.partition(".")
    if axis.section == "scoring" or not rest:
        return {axis.section: {axis.name: value}}
    if not name.startswith("root_"):
        return {"gating": {name: {rest: value}}}
    root, _, field = rest.rpartition(".")
    rule = getattr(run.gating, name)[root].model_dump(exclude_none=True)
    return {"gating": {name: {root: rule | {field: value}}}}


def parameters(run: StoredRun, axes: Sequence[Axis], setting: Sequence[Any]) -> dict[str, Any]:
    """Parameters of the run with those of a setting over them."""
    rules, merged = {}, run.params.model_dump(mode="json", exclude_unset=True)
    for axis, value in zip(axes, setting, strict=True):
        raw = placed(axis, value, run)
        if axis.name.startswith("root_"):  # two numbers of one rule
            (name,) = raw["gating"]
            if "." in axis.name[len(name) :]:
                for root, rule in raw["gating"][name].items():
                    field = axis.name.rpartition(".")[2]
                    known = rules.setdefault(name, {}).setdefault(root, dict(rule))
                    known[field] = value
                raw = {"gating": {name: rules[name]}}
        for section, given in raw.items():
            for key, value_ in given.items():
                known = merged.setdefault(section, {})
                both = isinstance(value_, dict) and key in known
                known[key] = {**known[key], **value_} if both else value_
    return AnalysisParams.model_validate(merged).model_dump(mode="json", exclude_unset=True)


def brute_force(
    cells: Cells, run: StoredRun, axes: Sequence[Axis], settings: Sequence[Sequence[Any]]
) -> tuple[list[list[str]], list[list[bool]]]:
    """Paths of all clusters and whether they are ambiguous, from a whole run for each setting."""
    source = run.marker_map.as_source()
    paths, ambiguous = [], []
    for setting in settings:
        raw = parameters(run, axes, setting)
        table = stored(cells, source, "again", **raw).tables["cluster_annotations"]
        paths.append(table["assigned_path"].tolist())
        ambiguous.append(table["stop_reason"].str.startswith("ambiguous").tolist())
    return paths, ambiguous


@cache
def base(**raw: Any) -> StoredRun:
    """The run without parameters of its own, made once."""
    return run_of(**raw)


def values_of(setting: Sequence[Any], axes: Sequence[Axis]) -> Mapping[str, Any]:
    """Values of a setting by name."""
    return {axis.name: value for axis, value in zip(axes, setting, strict=True)}
