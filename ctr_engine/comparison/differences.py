"""Everything that two runs set or read differently, each as an edit that can be made alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ctr_engine.comparison.map_edits import map_edits
from ctr_engine.comparison.state import Edit, State
from ctr_engine.markers.gating_params import PER_LEVEL, PER_ROOT
from ctr_engine.profiles import PRESETS, PROFILES, Profile
from ctr_engine.stored import NEEDS_CELLS, StoredRun

_ELSEWHERE = ("anti_agg",)
"""Gating parameters whose effect stands among the scoring."""


@dataclass(frozen=True)
class Difference:
    """One thing that differs; ``edit`` brings it from run A's to run B's, ``undo`` back.

    Both are None where it acts through the clusters or only describes the input. ``set_in`` says
    what gave run B its value.
    """

    kind: str
    name: str
    value_a: Any
    value_b: Any
    edit: Edit | None = None
    undo: Edit | None = None
    set_in: str | None = None


def differences(a: StoredRun, b: StoredRun, *, same_clusters: bool) -> list[Difference]:
    """List what differs between two runs, in the order of the steps of Stage H.

    Parameters
    ----------
    same_clusters
        Whether the runs put the same cells together; if not, what differs in the cells cannot be
        told apart from what the clusters do.
    """
    found = [_with_origin(one, b) for one in _inputs(a, b)]
    if same_clusters:
        found = _same_clusters(a, b, found)
    found += [_with_origin(one, b) for one in _scoring(State.of(a), State.of(b))]
    found += [_with_origin(one, b) for one in _gating(State.of(a), State.of(b))]
    found += [
        Difference("marker map", name, before, after, edit, undo)
        for name, before, after, edit, undo in map_edits(State.of(a), State.of(b))
    ]
    return found


def _same_clusters(a: StoredRun, b: StoredRun, inputs: Sequence[Difference]) -> list[Difference]:
    """Put all that changed what was measured into one edit; the rest moved nothing.

    Where the values of the cells are the same, whatever file or layer they came from, only the
    parameters of the statistics can have changed what was measured.
    """
    cells = same_cells(a, b)
    tables = ("reference_values", "cluster_statistics")
    moved = not all(a.tables[name].equals(b.tables[name]) for name in tables)
    behind, idle = [], []
    for one in inputs:
        statistic = one.name.startswith("scoring.")
        if moved and one.kind != "clusters" and (statistic or not cells):
            behind.append(one)
        elif statistic or one.kind == "clusters":
            idle.append(one)
    return [*([_values(a, b, behind)] if moved else []), *idle]


def _inputs(a: StoredRun, b: StoredRun) -> Iterator[Difference]:
    """What may give other clusters or other values in them."""
    if a.manifest.sample.sha256 != b.manifest.sample.sha256:
        yield Difference("sample", "sample", a.manifest.sample.path, b.manifest.sample.path)
    if a.manifest.cluster_key != b.manifest.cluster_key:
        ours, theirs = (run.manifest.cluster_key or "clustered anew" for run in (a, b))
        yield Difference("clusters", "cluster_key", ours, theirs)
    for section in ("expression", "clustering"):
        ours, theirs = a.manifest.parameters[section], b.manifest.parameters[section]
        kind = "values" if section == "expression" else "clusters"
        for name in ours:
            if ours[name] != theirs[name]:
                yield Difference(kind, f"{section}.{name}", ours[name], theirs[name])
    for name in NEEDS_CELLS:
        ours, theirs = getattr(a.scoring, name), getattr(b.scoring, name)
        if ours != theirs:
            yield Difference("values", f"scoring.{name}", ours, theirs)


def _values(a: StoredRun, b: StoredRun, parts: Sequence[Difference]) -> Difference:
    """All that was measured in the same clusters, as one edit: it cannot be done in parts."""
    origins = list(dict.fromkeys(part.set_in for part in parts if part.set_in is not None))
    return Difference(
        "values",
        ", ".join(part.name for part in parts) or "values of the cells",
        "; ".join(as_text(part.value_a) or "-" for part in parts),
        "; ".join(as_text(part.value_b) or "-" for part in parts),
        lambda state: replace(state, values_of=b),
        lambda state: replace(state, values_of=a),
        ", ".join(origins) or None,
    )


def same_cells(a: StoredRun, b: StoredRun) -> bool:
    """Whether every marker has the same distribution, whatever file or layer it came from."""
    columns = ["marker", "mean", "std", "n_cells", "tie_sum"]
    tables = [run.tables["reference_values"][columns] for run in (a, b)]
    return bool(tables[0].equals(tables[1]))


def _scoring(a: State, b: State) -> Iterator[Difference]:
    for name, before in a.scoring.items():
        after = b.scoring[name]
        if name in NEEDS_CELLS or before == after:
            continue
        edit, undo = (_set_scoring(name, value) for value in (after, before))
        yield Difference("scoring", name, before, after, edit, undo)


def _set_scoring(name: str, value: Any) -> Edit:
    return lambda state: replace(state, scoring={**state.scoring, name: value})


def _gating(a: State, b: State) -> Iterator[Difference]:
    for name in a.gating:
        if name in _ELSEWHERE:
            continue
        before, after = a.gating[name], b.gating[name]
        if name in PER_LEVEL + PER_ROOT:
            for key in [*before, *(key for key in after if key not in before)]:
                old, new = (side[key] if key in side else None for side in (before, after))
                if old != new:
                    edit, undo = _set_gating(name, key, new), _set_gating(name, key, old)
                    yield Difference("gating", f"{name}.{key}", old, new, edit, undo)
        elif before != after:
            edit, undo = (_set_gating(name, None, value) for value in (after, before))
            yield Difference("gating", name, before, after, edit, undo)


def _set_gating(name: str, key: str | None, value: Any) -> Edit:
    """Set a gating parameter, or one level or root of it; None takes it away."""

    def edited(gating: dict[str, Any]) -> None:
        if key is None:
            gating[name] = value
        elif value is None:
            gating[name].pop(key, None)
        else:
            gating[name][key] = value

    return lambda state: state.with_gating(edited)


def _with_origin(one: Difference, run: StoredRun) -> Difference:
    """Say what gave a run its value: somebody, a preset, its marker map, its profile."""
    section, _, name = one.name.partition(".")
    if one.kind == "sample" or (section in ("expression", "clustering") and name):
        by_hand = bool(name) and name in getattr(run.params, section).model_fields_set
        return replace(one, set_in="parameters" if by_hand else None)
    if one.kind == "clusters":
        return one
    if one.kind == "values":
        return replace(one, set_in=_origin(run, "scoring", name))
    if one.name == "anti_agg" and not _set_in(run, "scoring", "anti_agg"):
        return replace(one, set_in=_origin(run, "gating", "anti_agg"))
    return replace(one, set_in=_origin(run, one.kind, one.name))


def _origin(run: StoredRun, section: str, name: str) -> str:
    return next(iter(_set_in(run, section, name)), "default")


def _set_in(run: StoredRun, section: str, name: str) -> list[str]:
    """Everything that gives a parameter, or one level or root of it, a value; what wins first."""
    params = run.params
    preset = {} if params.preset is None else {f"preset {params.preset}": PRESETS[params.preset]}
    sources: dict[str, Profile] = {
        "parameters": Profile(scoring=params.scoring, gating=params.gating),
        **preset,
        "marker map": Profile(gating=run.marker_map.gating),
        f"profile {params.profile}": PROFILES[params.profile],
    }
    first, _, key = name.partition(".")
    found = []
    for source, given in sources.items():
        layer = getattr(given, section)
        if first in layer.model_fields_set:
            value = getattr(layer, first)
            if not key or key in map(str, value):
                found.append(source)
    return found


def as_text(value: Any) -> str | None:
    """Value of a difference for people: text as it is, numbers and tables as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping | list | tuple | bool):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:.15g}"
