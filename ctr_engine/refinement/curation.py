"""Decisions of a curator, made on a sheet or on cells, as overrides of a manual file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pandas as pd

from ctr_engine.documents import Document
from ctr_engine.errors import Fault, InputError, ParameterError
from ctr_engine.keys import UNASSIGNED
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.refinement.focus import CHILD_SEPARATOR
from ctr_engine.refinement.lineage import Lineage, overrides_in
from ctr_engine.refinement.manual import CELLS, kept_entries
from ctr_engine.refinement.naming import STILL_TOGETHER
from ctr_engine.refinement.plan import is_day
from ctr_engine.tables import ReviewSheet, column_names

NOT_LOOKED_AT = frozenset({"", "nan", "none", "unassigned", "undefined"})
"""What cellxgene and spreadsheets write where nobody said anything."""


_MOST_FAULTS = 20


@dataclass(frozen=True)
class Decision:
    """A label that a person gives to a cluster; ``is_new`` for one that the map does not have."""

    cluster: str
    label: str
    is_new: bool
    author: str
    date: str
    reason: str | None


@dataclass(frozen=True)
class Curator:
    """Who decides where the sheet does not say so."""

    author: str | None
    date: str
    reason: str | None = None
    allow_new: bool = False


@dataclass(frozen=True)
class Curation:
    """Decisions, what could not become one, and earlier ones that were taken back."""

    decisions: tuple[Decision, ...]
    conflicts: tuple[str, ...] = ()
    withdrawn: tuple[Decision, ...] = ()


def decisions_of_sheet(
    rows: Sequence[dict[str, str]],
    lineage: Lineage,
    marker_map: MarkerMap,
    curator: Curator,
    source: str,
) -> Curation:
    """Take the filled-in rows of a review sheet.

    Parameters
    ----------
    rows
        Rows of the sheet as text, an empty one for an empty cell; the first is line 2.
    lineage, marker_map
        Of the file that the sheet was made from.

    Raises
    ------
    InputError
        With every fault: a column that is missing, a cluster or a label that does not exist, a row
        without a curator.
    """
    needed = ("cluster_id", "curated_label", "curator", "curated_on", "curated_reason")
    missing = [name for name in needed if rows and name not in rows[0]]
    if missing:
        known = ", ".join(column_names(ReviewSheet))
        fault = Fault(f"has no column {', '.join(missing)}; a review sheet has {known}")
        raise InputError(source, [fault])
    faults: list[Fault] = []
    found: dict[str, Decision] = {}
    kept = {one.cluster: one for one in decided_before(lineage, marker_map)}
    for line, row in enumerate(rows, start=2):
        name = row["cluster_id"]
        if name in kept and all(row[key] == text for key, text in filled_in(kept[name]).items()):
            found[name] = kept[name]
            continue
        problems = _problems_of_row(row, lineage, curator, found, kept)
        text = row["curated_label"].strip()
        label, is_new = _label(text, marker_map, curator, problems) if text else ("", False)
        faults += [Fault(problem, line=line) for problem in problems]
        if text and not problems:
            found[name] = _decision_of_row(row, label, is_new, curator)
    if faults:
        raise InputError(source, faults)
    names = {row["cluster_id"] for row in rows}
    withdrawn = [one for name, one in kept.items() if name in names and name not in found]
    return Curation(tuple(found.values()), (), tuple(withdrawn))


def _decision_of_row(
    row: Mapping[str, str], label: str, is_new: bool, curator: Curator
) -> Decision:
    return Decision(
        row["cluster_id"],
        label,
        is_new,
        row["curator"].strip() or curator.author or "",
        row["curated_on"].strip() or curator.date,
        row["curated_reason"].strip() or curator.reason,
    )


def filled_in(decision: Decision) -> dict[str, str]:
    """Columns of the curator, as a sheet has them for an earlier decision."""
    return {
        "curated_label": decision.label,
        "curator": decision.author,
        "curated_on": decision.date,
        "curated_reason": decision.reason or "",
    }


def _problems_of_row(
    row: Mapping[str, str],
    lineage: Lineage,
    curator: Curator,
    found: Mapping[str, Decision],
    kept: Mapping[str, Decision],
) -> list[str]:
    """Say what is wrong with a row, but for its label."""
    name, day = row["cluster_id"], row["curated_on"].strip()
    others = [key for key in ("curator", "curated_on", "curated_reason") if row[key].strip()]
    if not row["curated_label"].strip():
        if not others or name in kept:  # an earlier decision may be taken back
            return []
        return [f"cluster {name!r} has {' and '.join(others)}, and no curated_label; fill it in"]
    problems = []
    if not (row["curator"].strip() or curator.author):
        problems.append("nobody is named as curator; fill the column in, or add --author NAME")
    if day and not is_day(day):
        problems.append(f"curated_on is a day such as 2026-01-31; got {day!r}")
    if name not in lineage.partition.ids:
        has_parts = any(CHILD_SEPARATOR in one for one in lineage.partition.ids)
        hint = " A spreadsheet turns 3:0 into a time; use xlsx." if has_parts else ""
        problems.append(f"there is no cluster {name!r}.{hint}")
    if name in found:
        problems.append(f"cluster {name!r} stands twice in the sheet")
    return problems


def _label(
    text: str, marker_map: MarkerMap, curator: Curator, problems: list[str]
) -> tuple[str, bool]:
    """Cell type that a text names, by its path where its label would not do."""
    try:
        node = marker_map.find(text)
    except ParameterError as error:
        labels = {one.label for one in marker_map.nodes}
        if text == UNASSIGNED or (curator.allow_new and text not in labels):
            return text, True
        near = get_close_matches(text, sorted(labels), n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near and text not in labels else ""
        remedy = "" if text in labels else " --allow-new makes a new label of it."
        problems.append(f"{error}{hint}{remedy}")
        return text, False
    return (node.path if _is_shared(node.label, marker_map) else node.label), False


def decisions_of_cells(
    labels: Sequence[object],
    annotations: pd.DataFrame,
    lineage: Lineage,
    marker_map: MarkerMap,
    curator: Curator,
    source: str,
) -> Curation:
    """Take the labels that a person gave to cells, as far as they are those of whole clusters.

    Parameters
    ----------
    labels
        Label of each cell, in the order of the lineage; empty or ``unassigned`` where nobody
        looked.
    annotations
        Their labels as they are, a :class:`~ctr_engine.tables.FinalAnnotations` table.

    Returns
    -------
    A decision for each cluster of which at least 80 % of the cells got one label that is not its
    own, and for those that a person decided before. Other changes are conflicts.

    Raises
    ------
    InputError
        If a label does not exist.
    """
    clusters = lineage.clusters[-1].astype(str).tolist()
    pairs = zip(annotations["cell_type"], annotations["cell_type_path"], strict=True)
    current = dict(zip(clusters, ({label, path} for label, path in pairs), strict=True))
    changed = [
        text if text.lower() not in NOT_LOOKED_AT and text not in current[name] else None
        for text, name in zip((str(one).strip() for one in labels), clusters, strict=True)
    ]
    problems: list[str] = []
    names = {
        text: _label(text, marker_map, curator, problems)
        for text in dict.fromkeys(one for one in changed if one is not None)
    }
    if problems:
        more = [f"and {len(problems) - _MOST_FAULTS} more"] if len(problems) > _MOST_FAULTS else []
        shown = [*problems[:_MOST_FAULTS], *more]
        raise InputError(source, [Fault(text) for text in shown])
    sizes = Counter(clusters)
    by_pair = Counter(
        (name, names[text])
        for name, text in zip(clusters, changed, strict=True)
        if text is not None
    )
    decided: dict[str, Decision] = {}
    conflicts = []
    for (name, label), count in sorted(by_pair.items()):
        if count >= STILL_TOGETHER * sizes[name]:
            decided[name] = _decision(name, label, curator)
        else:
            conflicts.append(
                f"{count:,} of the {sizes[name]:,} cells of cluster {name!r} are called "
                f"{label[0]!r}; "
                f"the label of a cluster needs {float(STILL_TOGETHER):.0%}, so divide it first"
            )
    kept = [one for one in decided_before(lineage, marker_map) if one.cluster not in decided]
    return Curation((*decided.values(), *kept), tuple(conflicts))


def decided_before(lineage: Lineage, marker_map: MarkerMap) -> list[Decision]:
    """Decisions that a person made before, and that hold."""
    return [
        Decision(
            name,
            one.path if one.path is not None and _is_shared(one.label, marker_map) else one.label,
            one.path is None,
            one.author or "",
            one.date or "",
            one.reason,
        )
        for name, one in overrides_in(lineage).items()
    ]


def _is_shared(label: str, marker_map: MarkerMap) -> bool:
    """Whether several cell types have a label, so that only the path tells them apart."""
    return sum(node.label == label for node in marker_map.nodes) > 1


def _decision(name: str, label: tuple[str, bool], curator: Curator) -> Decision:
    return Decision(name, label[0], label[1], curator.author or "", curator.date, curator.reason)


def manual_content(
    curation: Curation, lineage: Lineage, older: Document | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Content of a manual file with these decisions, each with the cells that it was made on.

    Parameters
    ----------
    older
        Manual file whose other entries are kept.

    Returns
    -------
    The content, and the names of the clusters whose older entries gave way.
    """
    partition = lineage.partition
    overrides, cells = [], {}
    for one in curation.decisions:
        entry: dict[str, Any] = {"cluster_id": one.cluster, "cell_type": one.label}
        entry |= {"new": True} if one.is_new else {}
        given = {"author": one.author, "date": one.date, "reason": one.reason}
        overrides.append(entry | {name: text for name, text in given.items() if text})
        own = partition.cell_ids[partition.cells_of(one.cluster)]
        cells[one.cluster] = "\n".join(map(str, own.tolist())) + "\n"
    decided = {one.cluster for one in (*curation.decisions, *curation.withdrawn)}
    kept, replaced = kept_entries(older, decided) if older is not None else ({}, ())
    sections = {name: entries for name, entries in kept.items() if name not in ("overrides", CELLS)}
    ours = [*overrides, *(kept["overrides"] if "overrides" in kept else ())]
    older_cells = kept[CELLS] if CELLS in kept else {}
    content = {"version": "1.0", "overrides": ours, **sections, CELLS: older_cells | cells}
    return content, replaced
