"""A label for each cell: its cluster's, or that of a rival which its own markers prefer.

Only siblings that passed as well can take a cell from the label of its cluster: the clusters
decide what is there, the cells which of the few that fit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.expression import ExpressionView
from ctr_engine.keys import OF_CLUSTER, OWN_MARKERS, PATH_SEPARATOR, UNCERTAIN
from ctr_engine.markers.panel import ResolvedMap
from ctr_engine.voting import node_means

Ids = npt.NDArray[Any]


@dataclass(frozen=True)
class CellLabels:
    """Label of each cell, its path and what gave it, in the order of the sample."""

    labels: Ids
    paths: Ids
    given_by: Ids

    @classmethod
    def of_clusters(
        cls, clusters: Ids, labels: Mapping[str, str], paths: Mapping[str, str]
    ) -> "CellLabels":
        """Give each cell the label of its cluster."""
        return cls(
            np.array([labels[cluster] for cluster in clusters], dtype=object),
            np.array([paths[cluster] for cluster in clusters], dtype=object),
            np.full(len(clusters), OF_CLUSTER, dtype=object),
        )

    def same_as(self, other: "CellLabels") -> bool:
        """Whether every cell has the same label and path, for the same reason."""
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name))
            for field in fields(self)
        )


@dataclass(frozen=True)
class Choice:
    """What a cell of a cluster may be: the label of the cluster, or one of ``rivals`` (paths)."""

    label: str
    path: str
    rivals: tuple[str, ...]

    @property
    def at_leaf(self) -> bool:
        """Whether the label is a leaf that its cells may leave."""
        return self.path in self.rivals


def choices_of(annotated: pd.DataFrame, steps: pd.DataFrame) -> dict[str, Choice]:
    """Give what the cells of each cluster may be, by cluster.

    At a leaf these are the label and its siblings that passed, at ambiguous siblings the
    candidates of the vote; elsewhere only the label.

    Parameters
    ----------
    annotated, steps
        Tables ``cluster_annotations`` and ``decision_steps``.
    """
    passed = passed_siblings(steps)
    found = {}
    for row in annotated.to_dict("records"):
        cluster, path = row["cluster_id"], row["assigned_path"]
        rivals: tuple[str, ...] = ()
        if row["stop_reason"] == "leaf_reached":
            rivals = rivals_of_leaf(path, passed[cluster])
        elif row["stop_reason"] == "ambiguous_siblings":
            rivals = tuple(
                PATH_SEPARATOR.join((path, label))
                for label in composition_labels(row["composition"])
            )
        found[cluster] = Choice(row["assigned_label"], path, rivals)
    return found


def passed_siblings(steps: pd.DataFrame) -> dict[str, list[str]]:
    """Paths of the cell types that passed all gates, of those that were tried, by cluster."""
    found: dict[str, list[str]] = {cluster: [] for cluster in steps["cluster_id"].unique()}
    let_in = steps[steps["child_passed_gate"]]
    for cluster, path in zip(let_in["cluster_id"], let_in["child_path"], strict=True):
        found[cluster].append(path)
    return found


def rivals_of_leaf(path: str, passed: Sequence[str]) -> tuple[str, ...]:
    """A cell type and its siblings that passed, as paths."""
    parent, _, _ = path.rpartition(PATH_SEPARATOR)
    siblings = [one for one in passed if one.rpartition(PATH_SEPARATOR)[0] == parent]
    return (path, *(one for one in siblings if one != path))


def composition_labels(composition: str) -> list[str]:
    """Candidates of a vote from its record, best first."""
    record = json.loads(composition)
    labels = [name for name in record if name != UNCERTAIN and not name.startswith("_")]
    first = [record["_top_by_score"], record["_runner_up_by_score"]]
    return first + [name for name in labels if name not in first]


def label_cells(
    view: ExpressionView,
    clusters: Ids,
    choices: Mapping[str, Choice],
    reference: pd.DataFrame,
    resolved: ResolvedMap,
    gap: float,
) -> CellLabels:
    """Let each cell choose.

    A cell takes the rival whose markers have the best mean on the scaled matrix when it leads by
    ``gap``, and the label of its cluster otherwise.

    Parameters
    ----------
    view, clusters
        Expression and cluster of each cell.
    choices
        By cluster.
    reference
        Table ``reference_values`` of all cells.
    gap
        Least lead of the best rival. SD units.
    """
    codes, names = pd.factorize(clusters)
    order = np.argsort(codes, kind="stable")
    by_cluster = np.split(order, np.cumsum(np.bincount(codes))[:-1])
    found = CellLabels.of_clusters(
        clusters,
        {cluster: choice.label for cluster, choice in choices.items()},
        {cluster: choice.path for cluster, choice in choices.items()},
    )
    for cluster, cells in zip(names, by_cluster, strict=True):
        choice = choices[str(cluster)]
        if len(choice.rivals) < 2:
            continue
        rows = [resolved.marker_map.row_of[path] for path in choice.rivals]
        means = node_means(view, reference, resolved, cells, rows)
        ordered = np.sort(means, axis=1)
        certain = ordered[:, -1] - ordered[:, -2] >= gap
        chosen = means.argmax(axis=1)
        for index, row in enumerate(rows):
            taken = cells[certain & (chosen == index)]
            node = resolved.nodes[row].node
            if node.path != choice.path:
                found.labels[taken], found.paths[taken] = node.label, node.path
                found.given_by[taken] = OWN_MARKERS
    return found
