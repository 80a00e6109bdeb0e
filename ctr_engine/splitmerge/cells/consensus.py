"""One partition of several clusterings of the same cells, and how far each cell is sure of it.

Clusters of different runs that hold much the same cells are one *group* (meta-clusters; Strehl &
Ghosh 2002, section 3.3), found by gap-optimised clustering of their overlaps, with the objective of
a refinement scope. A cell whose runs put it into different groups is a conflict; it goes to the
group of most runs, of equally many to that whose cells are nearest.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from ctr_engine.clustering.pipeline import number_by_size
from ctr_engine.errors import CellMismatchError, ParameterError
from ctr_engine.splitmerge.cells.params import ConsensusParams
from ctr_engine.splitmerge.core import gap_clusters
from ctr_engine.splitmerge.params import GapParams
from ctr_engine.tables import ConsensusClusters, ConsensusSummary, frame, natural_key

Bools = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_CLUSTERS = 1_000
"""Clusters of all runs together, which are compared as one matrix."""

_ROWS = 65_536


@dataclass(frozen=True)
class Consensus:
    """A partition of the cells.

    Attributes
    ----------
    clusters
        Of each cell, ``"0"`` the largest.
    stability
        Of each cell: share of the runs whose cluster of the cell is the one that overlaps the
        cell's final cluster best, of equally good ones the largest. 0 to 1.
    conflict
        Whether the runs put the cell into different groups; ``tie`` whether as many into one as
        into another, so that the nearest decided (of equally near ones the group that holds the
        largest cluster of a run).
    jaccard
        Overlap of each final cluster, in the order of their numbers, with the best of each run,
        shape ``(n_clusters, n_runs)``. 0 to 1.
    n_groups
        Groups before the conflicts were resolved; those that no cell went to are gone.
    """

    clusters: npt.NDArray[np.str_]
    stability: Float64
    conflict: Bools
    tie: Bools
    jaccard: Float64
    n_groups: int

    def table(self, cell_ids: Sequence[str]) -> pd.DataFrame:
        """One row per cell."""
        columns = {
            "cell_id": np.asarray(cell_ids, dtype=object),
            "cluster_id": self.clusters.astype(object),
            "consensus_stability": self.stability,
            "is_conflict": self.conflict,
        }
        return frame(ConsensusClusters, columns)

    def summary(self) -> pd.DataFrame:
        """One row per cluster."""
        ids = sorted(set(self.clusters.tolist()), key=natural_key)
        rows = [self.clusters == name for name in ids]
        columns = {
            "cluster_id": ids,
            "n_cells": [int(row.sum()) for row in rows],
            "n_conflicts": [int(self.conflict[row].sum()) for row in rows],
            "mean_stability": [float(self.stability[row].mean()) for row in rows],
            "mean_jaccard": self.jaccard.mean(axis=1),
            "n_runs_found": (self.jaccard > 0.5).sum(axis=1),
        }
        return frame(ConsensusSummary, columns)


def consensus(
    runs: Sequence[Sequence[str]],
    coordinates: npt.NDArray[np.floating],
    cell_ids: Sequence[str],
    params: ConsensusParams,
) -> Consensus:
    """Make one partition of several.

    Neither the order of the cells nor that of the runs nor what their clusters are called changes
    which cells are together. Where nothing else decides, the ids of the cells do.

    Parameters
    ----------
    runs
        Cluster of each cell in each run, at least two runs.
    coordinates
        Principal components, shape ``(n_cells, n_pcs)``, which decide where runs are divided.

    Raises
    ------
    CellMismatchError
        If a run, the coordinates and the ids are of different numbers of cells, there is none, or
        an id comes twice.
    ParameterError
        If there are fewer than two runs, or too many clusters in all, or the coordinates are not
        finite numbers.
    """
    _require_same_cells(runs, coordinates, cell_ids)
    order = np.argsort(np.asarray(cell_ids, dtype=str), kind="stable")
    codes = [np.unique(np.asarray(run, dtype=str)[order], return_inverse=True)[1] for run in runs]
    _require_few(codes)
    items = _canonical(codes)
    atom_of, holds = _atoms(items)
    sizes = np.bincount(atom_of)
    groups = _groups(holds, sizes, params)
    group, conflict, tie = _resolved(holds @ groups, atom_of, coordinates[order])
    stability, jaccard = _stability(items, group)
    back = np.argsort(order, kind="stable")
    names = number_by_size(group[back])
    by_number = [int(group[back][names == str(n)][0]) for n in range(len(set(names.tolist())))]
    return Consensus(
        clusters=names,
        stability=stability[back],
        conflict=conflict[back],
        tie=tie[back],
        jaccard=jaccard[by_number],
        n_groups=groups.shape[1],
    )


def share_of_runs(labels: Sequence[Sequence[str]], final: Sequence[str]) -> Float64:
    """Share of the runs in which each cell has its final label. 0 to 1."""
    same = [[mine == last for mine, last in zip(run, final, strict=True)] for run in labels]
    return np.asarray(np.mean(same, axis=0), dtype=np.float64)


def _require_same_cells(
    runs: Sequence[Sequence[str]], coordinates: npt.NDArray[np.floating], cell_ids: Sequence[str]
) -> None:
    if len(runs) < 2:
        msg = f"a consensus needs two clusterings or more; got {len(runs)}"
        raise ParameterError(msg)
    if not len(cell_ids):
        msg = "there is no cell to make a consensus of"
        raise CellMismatchError(msg)
    if coordinates.ndim != 2 or not coordinates.shape[1] or not np.isfinite(coordinates).all():
        msg = f"coordinates are finite, a row for each cell; got the shape {coordinates.shape}"
        raise ParameterError(msg)
    if len(set(cell_ids)) < len(cell_ids):
        msg = f"{len(cell_ids) - len(set(cell_ids)):,} ids of cells come a second time"
        raise CellMismatchError(msg)
    counts = [len(run) for run in runs]
    if {*counts, len(coordinates)} != {len(cell_ids)}:
        msg = (
            f"clusterings of {sorted(set(counts))} cells and {len(coordinates)} rows of "
            f"coordinates are not of the same {len(cell_ids)} cells"
        )
        raise CellMismatchError(msg)


def _require_few(codes: Sequence[Ints]) -> None:
    total = sum(int(code.max()) + 1 for code in codes)
    if total > MOST_CLUSTERS:
        msg = (
            f"{total:,} clusters in {len(codes)} clusterings are more than {MOST_CLUSTERS:,}; "
            "take fewer runs or a smaller resolution"
        )
        raise ParameterError(msg)


def _canonical(codes: Sequence[Ints]) -> Ints:
    """Number the clusters of all runs by what they hold; shape ``(n_cells, n_runs)``.

    The largest are first, equal ones by their first cell, then by the SHA-256 of their cells.
    """
    found: list[tuple[int, int, str, int, int]] = []
    for run, code in enumerate(codes):
        cells = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
        for cluster, rows in enumerate(cells):
            digest = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
            found.append((-len(rows), int(rows[0]), digest, run, cluster))
    number = {(run, cluster): n for n, (*_, run, cluster) in enumerate(sorted(found))}
    columns = []
    for run, code in enumerate(codes):
        mine = np.array([number[run, cluster] for cluster in range(code.max() + 1)])
        columns.append(mine[code])
    return np.column_stack(columns)


def _atoms(items: Ints) -> tuple[Ints, sp.csr_matrix]:
    """Cells that no run tells apart: the atom of each cell, and which clusters hold each atom."""
    atom_of = np.zeros(len(items), dtype=np.int64)
    for column in items.T:
        pairs = atom_of * (int(column.max()) + 1) + column
        _, first, atom_of = np.unique(pairs, return_index=True, return_inverse=True)
    n_atoms, n_runs = len(first), items.shape[1]
    shape = (n_atoms, int(items.max()) + 1)
    row = np.repeat(np.arange(n_atoms), n_runs)
    ones = np.ones(n_atoms * n_runs)
    return atom_of, sp.csr_matrix((ones, (row, items[first].ravel())), shape=shape)


def _groups(holds: sp.csr_matrix, sizes: Ints, params: ConsensusParams) -> sp.csr_matrix:
    """Clusters that hold much the same cells; shape ``(n_clusters of all runs, n_groups)``."""
    shared = (holds.T @ sp.diags(sizes.astype(np.float64)) @ holds).toarray()
    cells = np.diag(shared)
    union = cells[:, None] + cells[None, :] - shared
    gap = GapParams(
        min_split=params.min_split, max_lump=params.max_lump, alpha=1.0, initial_state_competes=True
    )
    found = gap_clusters((union - shared) / union, gap).clusters
    group = np.empty(len(cells), dtype=np.int64)
    for number, members in enumerate(found):
        group[list(members)] = number
    where = (np.ones(len(cells)), (np.arange(len(cells)), group))
    return sp.csr_matrix(where, shape=(len(cells), len(found)))


def _resolved(
    votes: sp.csr_matrix, atom_of: Ints, coordinates: npt.NDArray[np.floating]
) -> tuple[Ints, Bools, Bools]:
    """Group of each cell, whether its runs differ, and whether equally many spoke for several."""
    counts = votes.toarray()
    best = counts.max(axis=1, keepdims=True)
    among = counts == best
    tied = among.sum(axis=1) > 1
    group = counts.argmax(axis=1)[atom_of]
    tie = tied[atom_of]
    middle = _middles(group, tie, among[atom_of[tie]], coordinates)
    rows = np.flatnonzero(tie)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        group[some] = _nearest(coordinates[some], middle, among[atom_of[some]])
    return group, (best.ravel() < counts.sum(axis=1))[atom_of], tie


def _middles(
    group: Ints, tie: Bools, among: Bools, coordinates: npt.NDArray[np.floating]
) -> Float64:
    """Mean of the cells that are in a group without a tie, or else of those that may join it.

    ``among`` has a row for each cell that is tied: the groups that it may join.
    """
    cells = np.flatnonzero(~tie)
    groups = group[cells]
    empty = np.setdiff1d(np.arange(among.shape[1]), groups)
    row, column = np.nonzero(among[:, empty])
    cells = np.concatenate([cells, np.flatnonzero(tie)[row]])
    groups = np.concatenate([groups, empty[column]])
    shape = (among.shape[1], len(group))
    members = sp.csr_matrix((np.ones(len(cells)), (groups, cells)), shape=shape)
    counts = np.asarray(members.sum(axis=1))
    middles: Float64 = members @ coordinates.astype(np.float64) / np.maximum(counts, 1)
    return middles


def _nearest(points: npt.NDArray[np.floating], middle: Float64, among: Bools) -> Ints:
    """Nearest of the groups that a cell may join."""
    from scipy.spatial.distance import cdist

    away = cdist(points.astype(np.float64), middle)
    nearest: Ints = np.where(among, away, np.inf).argmin(axis=1)
    return nearest


def _stability(items: Ints, group: Ints) -> tuple[Float64, Float64]:
    """Stability of each cell, and overlap of each group with the best cluster of each run."""
    n_groups, n_runs = int(group.max()) + 1, items.shape[1]
    mine = np.bincount(group, minlength=n_groups)
    stable = np.zeros(len(group))
    jaccard = np.zeros((n_groups, n_runs))
    for run in range(n_runs):
        theirs, cluster = np.unique(items[:, run], return_inverse=True)
        shared = np.bincount(group * len(theirs) + cluster, minlength=n_groups * len(theirs))
        shared = shared.reshape(n_groups, len(theirs))
        union = mine[:, None] + shared.sum(axis=0)[None, :] - shared
        overlap = shared / union
        stable += cluster == overlap.argmax(axis=1)[group]
        jaccard[:, run] = overlap.max(axis=1)
    return stable / n_runs, jaccard
