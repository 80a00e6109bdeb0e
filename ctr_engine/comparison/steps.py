"""The first competition in which two walks part, in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ctr_engine.gating.compete import ALONE
from ctr_engine.keys import PATH_SEPARATOR

Rows = dict[str, Mapping[Any, Any]]
Gap = Callable[[str], float]


@dataclass(frozen=True)
class Parting:
    """Where two walks part; ``parent_path`` is None at the roots."""

    step_idx: int
    parent_path: str | None
    words: str


def parting(steps_a: pd.DataFrame, steps_b: pd.DataFrame, gaps: tuple[Gap, Gap]) -> Parting | None:
    """Find the first competition that the two walks of one cluster do not end alike.

    Parameters
    ----------
    steps_a, steps_b
        Rows of ``decision_steps`` of the cluster in each run.
    gaps
        Per run: the lead that a cell type, given by its path, needs.
    """
    sides = [_by_step(steps) for steps in (steps_a, steps_b)]
    for index in range(max(map(len, sides))):
        rows = [side[index] if index in side else {} for side in sides]
        ends = [_end(side) for side in rows]
        if ends[0] != ends[1] or not (rows[0] and rows[1]):
            known = next(iter((rows[0] or rows[1]).values()))
            parent = known["parent_path"]
            words = _words(rows[0], rows[1], gaps)
            return Parting(index, None if pd.isna(parent) else parent, words)
    return None


def _by_step(steps: pd.DataFrame) -> dict[int, Rows]:
    return {
        int(str(index)): {row["child_path"]: row for row in rows.to_dict("records")}
        for index, rows in steps.groupby("step_idx")
    }


def _end(rows: Rows) -> tuple[str, ...]:
    """Path that the walk went on to; where roots tied, both; nothing where it ended otherwise."""
    chosen = next((path for path, row in rows.items() if row["selected"]), None)
    if chosen is not None:
        return (chosen,)
    best = [path for path, row in rows.items() if not pd.isna(row["margin_to_runner_up"])]
    if not best or isinstance(rows[best[0]]["parent_path"], str):
        return ()
    return (best[0], str(rows[best[0]]["runner_up_path"]))


def _words(before: Rows, after: Rows, gaps: tuple[Gap, Gap]) -> str:
    """Say how the competition ended in each run, and what changed for whom."""
    ended = f"{_verdict(before, gaps[0])} -> {_verdict(after, gaps[1])}"
    changed = [_change(path, before, after) for path in _deciding(before, after)]
    return "; ".join([ended, *(text for text in changed if text)])


def _verdict(rows: Rows, gap: Gap) -> str:
    if not rows:
        return "not tried"
    best = [row for row in rows.values() if not pd.isna(row["margin_to_runner_up"])]
    if not best:
        return "nobody passed"
    name, lead = best[0]["child_label"], best[0]["margin_to_runner_up"]
    needed = gap(best[0]["child_path"])
    if not best[0]["selected"]:
        return f"a tie ({name} leads by {lead:.3g}, {needed:.3g} is needed)"
    return f"{name}" if lead >= ALONE else f"{name} (leads by {lead:.3g}, {needed:.3g} is needed)"


def _deciding(before: Rows, after: Rows) -> list[str]:
    """Candidates that were best in a run, or that passed in one only; in the order of the map."""
    best = {
        path
        for rows in (before, after)
        for path, row in rows.items()
        if not pd.isna(row["margin_to_runner_up"])
    }
    both = [path for path in before if path in after]
    turned = {
        path
        for path in both
        if before[path]["child_passed_gate"] != after[path]["child_passed_gate"]
    }
    new = {path for path in after if path not in before} | {p for p in before if p not in after}
    every = [*before, *(path for path in after if path not in before)]
    return [path for path in every if path in best | turned | (new if before and after else set())]


def _change(path: str, before: Rows, after: Rows) -> str:
    label = path.rpartition(PATH_SEPARATOR)[2]
    states = [_state(rows[path]) if path in rows else None for rows in (before, after)]
    if not before or not after:
        return f"{label}: {states[0] or states[1]}"
    if states[0] == states[1]:
        return ""
    texts = [text if text is not None else "not in the map" for text in states]
    return f"{label}: {texts[0]} -> {texts[1]}"


def _state(row: Mapping[Any, Any]) -> str:
    if row["child_passed_gate"]:
        return f"passes with {row['child_score']:.2f}"
    marker = "" if pd.isna(row["fail_marker"]) else f" of {row['fail_marker']}"
    value = "absent" if pd.isna(row["fail_value"]) else f"{row['fail_value']:.3g}"
    return f"refused by {row['fail_reason']}{marker} ({value} against {row['fail_threshold']:.3g})"
