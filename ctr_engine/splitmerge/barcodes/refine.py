"""Barcodes in, species in: clusters of sequences, refined, with what happened."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import scipy.sparse as sp

from ctr_engine.errors import Fault, InputError
from ctr_engine.splitmerge.barcodes.aligned import AlignedDistances, CountCache, NoCache
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from ctr_engine.splitmerge.barcodes.sequences import Barcode, some_of
from ctr_engine.splitmerge.core import GapClustering, gap_clusters
from ctr_engine.splitmerge.distances import DistanceProvider
from ctr_engine.splitmerge.graph import Candidates, all_pairs
from ctr_engine.splitmerge.params import GapParams
from ctr_engine.splitmerge.refiner import Refiner
from ctr_engine.splitmerge.two_pass import Progress, TwoPass, quiet, two_pass
from ctr_engine.tables import ClusterMapping, SequenceClusters, TwoPassHistory, from_rows

Search = Callable[[Sequence[Barcode]], sp.csr_matrix]
"""Pairs of sequences that may be near: symmetric, shape ``(n_sequences, n_sequences)``."""


@dataclass(frozen=True)
class RefinedBarcodes:
    """What refinement made.

    Attributes
    ----------
    clusters
        Ids of the sequences of each cluster, the largest cluster first, singletons included.
    result
        The run, over indices of ``ids``.
    """

    ids: tuple[str, ...]
    clusters: dict[str, tuple[str, ...]]
    result: TwoPass

    def table(self) -> pd.DataFrame:
        """One row per sequence."""
        return clusters_table(self.clusters)

    def mapping(self, given: Mapping[str, Sequence[str]]) -> pd.DataFrame:
        """One row per old and new cluster that share sequences."""
        new_of = {name: new for new, names in self.clusters.items() for name in names}
        rows: list[dict[str, Any]] = []
        for old, names in given.items():
            shared: dict[str, int] = {}
            for name in dict.fromkeys(names):
                shared[new_of[name]] = shared.get(new_of[name], 0) + 1
            rows += [
                {
                    "old_cluster": old,
                    "new_cluster": new,
                    "n_shared": n,
                    "n_old": len(set(names)),
                    "n_new": len(self.clusters[new]),
                }
                for new, n in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))
            ]
        return from_rows(ClusterMapping, rows)

    def history(self) -> pd.DataFrame:
        """One row per iteration."""
        rows = [dataclasses.asdict(iteration) for iteration in self.result.iterations]
        kept = self.result.kept
        return from_rows(TwoPassHistory, [r | {"kept": r["number"] == kept} for r in rows])


def clusters_table(clusters: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row per sequence, clusters in their order."""
    rows = [{"sequence_id": i, "cluster_id": name} for name, ids in clusters.items() for i in ids]
    return from_rows(SequenceClusters, rows)


def numbered(clusters: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Name clusters ``cluster_00001`` and so on, the largest first, equal ones by their ids."""
    ordered = sorted((tuple(sorted(ids)) for ids in clusters), key=lambda ids: (-len(ids), ids))
    return {f"cluster_{number:05d}": ids for number, ids in enumerate(ordered, start=1)}


def cluster_barcodes(
    barcodes: Sequence[Barcode],
    params: GapParams,
    *,
    distances: DistanceProvider | None = None,
    cache: CountCache | None = None,
    n_jobs: int = 1,
) -> tuple[dict[str, tuple[str, ...]], GapClustering]:
    """Cluster sequences as one scope.

    They are aligned and clustered in the order in which they are given, as the tool does that the
    algorithm comes from; where distances are equal, that order decides.
    """
    known = distances or one_scope(barcodes, cache=cache, n_jobs=n_jobs)
    found = gap_clusters(known.matrix(range(len(barcodes))), params)
    return numbered([[barcodes[x].id for x in items] for items in found.clusters]), found


def one_scope(
    barcodes: Sequence[Barcode], *, cache: CountCache | None = None, n_jobs: int = 1
) -> AlignedDistances:
    """Distances of sequences that are aligned in the order in which they are given."""
    letters = [barcode.residues for barcode in barcodes]
    return AlignedDistances(letters, dataset=False, cache=cache or NoCache(), n_jobs=n_jobs)


def refine_barcodes(
    barcodes: Sequence[Barcode],
    given: Mapping[str, Sequence[str]],
    params: BarcodeParams,
    *,
    passes: tuple[int, ...] = (1, 2),
    distances: DistanceProvider | None = None,
    search: Search | None = None,
    cache: CountCache | None = None,
    n_jobs: int = 1,
    progress: Progress = quiet,
) -> RefinedBarcodes:
    """Refine clusters of sequences.

    Parameters
    ----------
    barcodes
        All sequences; their order changes nothing.
    given
        Ids of the sequences of each cluster. One that is in no cluster is one of its own.
    distances
        Those that are there already, in the order of the ids.
    search
        Names the pairs of medoids that may be near; all by default.
    cache
        Keeps alignments' mismatches between runs.

    Raises
    ------
    InputError
        If a cluster names a sequence that there is not; if pass 1 is left out and clusters share
        sequences, naming them.
    """
    known = sorted(barcodes, key=lambda barcode: barcode.id)
    position = {barcode.id: x for x, barcode in enumerate(known)}
    unknown = {i: name for name, ids in given.items() for i in ids if i not in position}
    if unknown:
        faults = [Fault(f"names {i!r}, which is no sequence", name) for i, name in unknown.items()]
        raise InputError("clusters", some_of(faults))
    own = AlignedDistances(
        [barcode.residues for barcode in known],
        dataset=params.context_of(len(known)) == "dataset",
        cache=cache or NoCache(),
        n_jobs=n_jobs,
    )
    refiner = Refiner(distances or own, params, _candidates(known, search))
    if 1 not in passes:
        _require_partition(given)
    clusters = {name: [position[i] for i in dict.fromkeys(ids)] for name, ids in given.items()}
    result = two_pass(clusters, refiner, passes=passes, n_jobs=n_jobs, progress=progress)
    ids = tuple(barcode.id for barcode in known)
    new = numbered([[ids[x] for x in items] for items in result.clusters.values()])
    return RefinedBarcodes(ids, new, result)


def _require_partition(given: Mapping[str, Sequence[str]]) -> None:
    holders: dict[str, list[str]] = {}
    for name, ids in given.items():
        for i in dict.fromkeys(ids):
            holders.setdefault(i, []).append(name)
    faults = [
        Fault(f"{i!r} is in {', '.join(names)}; pass 1 resolves that, so leave it in")
        for i, names in sorted(holders.items())
        if len(names) > 1
    ]
    if faults:
        raise InputError("clusters", some_of(faults))


def _candidates(barcodes: Sequence[Barcode], search: Search | None) -> Candidates:
    if search is None:
        return all_pairs
    return lambda items: search([barcodes[x] for x in items])
