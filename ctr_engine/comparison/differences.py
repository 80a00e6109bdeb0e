"""Everything that two runs set or read differently, each as an edit that can be made alone."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ctr_engine.comparison.map_edits import map_edits
from ctr_engine.comparison.state import Edit, State
from ctr_engine.markers.gating_params import PER_LEVEL, PER_ROOT
from ctr_engine.profiles import PRESETS, PROFILES, Profile
from ctr_engine.stored import NEEDS_CELLS, StoredRun

_NO_LABEL = ("per_cell_gap_threshold", "max_ambiguity", "anti_agg")
"""Gating parameters that give no label; the anti_agg that is used stands among the scoring."""


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
        values = _values(a, b)
        found = [values] if values is not None else []
    found += [_with_origin(one, b) for one in _scoring(State.of(a), State.of(b))]
    found += [_with_origin(one, b) for one in _gating(State.of(a), State.of(b))]
    found += [
        Difference("marker map", name, before, after, edit, undo)
        for name, before, after, edit, undo in map_edits(State.of(a), State.of(b))
    ]
    return found


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


def _values(a: StoredRun, b: StoredRun) -> Difference | None:
    """All that was measured in the same clusters, as one edit: it cannot be done in parts."""
    tables = ("reference_values", "cluster_statistics")
    if all(a.tables[name].equals(b.tables[name]) for name in tables):
        return None
    parts = [d for d in _inputs(a, b) if d.kind != "clusters"]
    if _same_cells(a, b):
        parts = [part for part in parts if part.name.startswith("scoring.")]
    name = ", ".join(part.name for part in parts) or "values of the cells"
    before = "; ".join(f"{part.value_a}" for part in parts)
    after = "; ".join(f"{part.value_b}" for part in parts)
    return Difference(
        "values",
        name,
        before,
        after,
        lambda state: replace(state, values_of=b),
        lambda state: replace(state, values_of=a),
    )


def _same_cells(a: StoredRun, b: StoredRun) -> bool:
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
        if name in _NO_LABEL:
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
    name, _, key = one.name.partition(".")
    params = run.params
    if one.kind in ("sample", "clusters", "values"):
        by_hand = bool(key) and key in getattr(params, name).model_fields_set
        return replace(one, set_in="parameters" if by_hand else None)
    preset = {} if params.preset is None else {f"preset {params.preset}": PRESETS[params.preset]}
    sources: dict[str, Profile] = {
        "parameters": Profile(scoring=params.scoring, gating=params.gating),
        **preset,
        "marker map": Profile(gating=run.marker_map.gating),
        f"profile {params.profile}": PROFILES[params.profile],
    }
    for source, given in sources.items():
        layer = getattr(given, one.kind)
        if name in layer.model_fields_set:
            value = getattr(layer, name)
            if not key or key in map(str, value):
                return replace(one, set_in=source)
    from_map = name == "anti_agg" and run.marker_map.gating.anti_agg is not None
    return replace(one, set_in="marker map" if from_map else "default")


def as_text(value: Any) -> str | None:
    """Value of a difference for people: text as it is, numbers and tables as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping | list | tuple | bool):
        return json.dumps(value, ensure_ascii=False)
    return f"{value:g}"
