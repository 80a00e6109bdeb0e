"""The steps of a set of barcodes as tables, for the asset graph."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ctr_engine.errors import Fault, InputError
from ctr_engine.splitmerge.barcodes.aligned import AlignedDistances, CountCache, Floats
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from ctr_engine.splitmerge.barcodes.refine import (
    RefinedBarcodes,
    Search,
    numbered,
    refine_barcodes,
)
from ctr_engine.splitmerge.barcodes.sequences import Barcode
from ctr_engine.splitmerge.core import gap_clusters
from ctr_engine.splitmerge.distances import MatrixDistances
from ctr_engine.splitmerge.params import GapParams
from ctr_engine.tables import BarcodeSequences, GivenClusters, from_rows


def sequences_table(barcodes: Sequence[Barcode]) -> pd.DataFrame:
    """One row per sequence, in the order of their ids."""
    rows = [
        {"sequence_id": b.id, "description": b.description, "residues": b.residues}
        for b in sorted(barcodes, key=lambda barcode: barcode.id)
    ]
    return from_rows(BarcodeSequences, rows)


def barcodes_of(table: pd.DataFrame) -> list[Barcode]:
    """Sequences of a table, in its order."""
    return [
        Barcode(row["sequence_id"], row["residues"], row["description"])
        for row in table.to_dict("records")
    ]


def given_table(clusters: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """One row per sequence and cluster."""
    rows = [{"sequence_id": i, "cluster_id": name} for name, ids in clusters.items() for i in ids]
    return from_rows(GivenClusters, rows)


def clusters_given(table: pd.DataFrame) -> dict[str, list[str]]:
    """Ids of the sequences of each cluster of a table."""
    groups = table.groupby("cluster_id", sort=False)["sequence_id"]
    return {str(name): ids.tolist() for name, ids in groups}


def pairwise_distances(
    barcodes: Sequence[Barcode], params: BarcodeParams, *, cache: CountCache, n_jobs: int
) -> Floats:
    """All distances in one alignment; empty where each scope is aligned for itself."""
    if params.context_of(len(barcodes)) != "dataset":
        return np.zeros((0, 0))
    letters = [barcode.residues for barcode in barcodes]
    distances = AlignedDistances(letters, dataset=True, cache=cache, n_jobs=n_jobs)
    return distances.matrix(range(len(letters)))


def first_clusters(
    barcodes: Sequence[Barcode], distances: Floats, params: BarcodeParams, *, hint: str
) -> dict[str, tuple[str, ...]]:
    """Cluster a set as one scope, to have something to refine.

    Raises
    ------
    InputError
        If the set is too large for one scope; ``hint`` is the file that would do.
    """
    if len(distances) != len(barcodes):
        fault = Fault(
            f"has {len(barcodes):,} sequences, too many to be clustered at once; write clusters "
            f"to begin with into {hint}: sequence_id, a tab, cluster_id"
        )
        raise InputError("barcodes", [fault])
    own = GapParams(**{name: getattr(params, name) for name in ("min_split", "max_lump")})
    found = gap_clusters(distances, own)
    return numbered([[barcodes[x].id for x in items] for items in found.clusters])


def refined_set(
    barcodes: Sequence[Barcode],
    given: Mapping[str, Sequence[str]],
    distances: Floats,
    params: BarcodeParams,
    *,
    search: Search | None,
    cache: CountCache,
    n_jobs: int,
) -> RefinedBarcodes:
    """Refine with the distances that are there; they are in the order of the ids."""
    known = MatrixDistances(distances) if len(distances) else None
    return refine_barcodes(
        barcodes, given, params, distances=known, search=search, cache=cache, n_jobs=n_jobs
    )
