"""One call of ``ctr gaphack`` on files."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctr_engine.splitmerge.barcodes.aligned import CountCache
    from ctr_engine.splitmerge.barcodes.refine import RefinedBarcodes
    from ctr_engine.splitmerge.barcodes.sequences import Barcode
    from ctr_engine.splitmerge.distances import Floats

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ClusterRequest:
    """What ``ctr gaphack cluster`` is to do; ``given`` are the parameters that somebody set."""

    inputs: tuple[Path, ...]
    output_dir: Path
    given: Mapping[str, Any]
    fasta: bool
    distance_matrix: Path | None
    cache_dir: Path | None
    n_jobs: int


@dataclass(frozen=True)
class GaphackRefineRequest:
    """What ``ctr gaphack refine`` is to do."""

    source: Path
    clusters: Path | None
    output_dir: Path
    given: Mapping[str, Any]
    passes: tuple[int, ...]
    search: Any
    fasta: bool
    cache_dir: Path | None
    n_jobs: int


def run_cluster(request: ClusterRequest) -> list[str]:
    """Cluster the sequences of some files, and write the folder.

    Raises
    ------
    CtrError
        If the files, the parameters or the folder cannot be used; nothing is written then.
    """
    from ctr_engine.cli.options import validated
    from ctr_engine.documents import Document
    from ctr_engine.io.barcodes import (
        read_many,
        require_new,
        require_new_file,
        write_fasta_per_cluster,
    )
    from ctr_engine.io.tables import write_csv
    from ctr_engine.splitmerge.barcodes.refine import cluster_barcodes, clusters_table, one_scope
    from ctr_engine.splitmerge.core import pooled_gaps
    from ctr_engine.splitmerge.params import GapParams
    from ctr_engine.splitmerge.report import sizes
    from ctr_engine.tables import SequenceClusters

    params = validated(GapParams, Document("command line"), request.given)
    require_new(request.output_dir)
    barcodes = read_many(request.inputs)
    if request.distance_matrix is not None:
        require_new_file(request.distance_matrix, request.output_dir)
    began = time.perf_counter()
    distances = one_scope(barcodes, cache=_cache(request.cache_dir), n_jobs=request.n_jobs)
    clusters, found = cluster_barcodes(barcodes, params, distances=distances)
    seconds = time.perf_counter() - began
    matrix = distances.matrix(range(len(barcodes)))
    folder = request.output_dir
    numbers = {
        "n_items": len(barcodes),
        "n_clusters": len(clusters),
        "n_singletons": sum(len(ids) == 1 for ids in clusters.values()),
        "gap": found.gap,
        "merge_distance": found.merge_distance,
        "merges": [vars(merge) for merge in found.history],
        "pooled_gaps": [vars(gap) for gap in pooled_gaps(matrix, found.clusters)],
        "sizes": sizes([len(ids) for ids in clusters.values()]),
        "params": params.model_dump(),
        "seconds": round(seconds, 3),
    }
    if request.distance_matrix is not None:  # first, for its place is checked by writing to it
        ids = [barcode.id for barcode in barcodes]
        _write_distances(request.distance_matrix, ids, matrix)
    write_csv(SequenceClusters, clusters_table(clusters), folder / "clusters.tsv", separator="\t")
    if request.fasta:
        write_fasta_per_cluster(folder / "clusters", clusters, barcodes)
    _write_json(folder / "cluster_summary.json", numbers)
    gap = "none, for there is one cluster" if found.gap is None else f"{found.gap:.6f}"
    return [
        (
            f"{len(barcodes):,} sequences in {len(clusters):,} clusters, "
            f"{numbers['n_singletons']:,} of them alone; score of the gap: {gap}"
        ),
        f"Results: {folder}",
    ]


def run_gaphack_refine(request: GaphackRefineRequest, progress: Progress) -> list[str]:
    """Refine clusters of sequences, and write the folder.

    Raises
    ------
    CtrError
        If the files, the parameters or the folder cannot be used; nothing is written then.
    """
    from ctr_engine.cli.options import validated
    from ctr_engine.documents import Document
    from ctr_engine.io.barcodes import require_new
    from ctr_engine.io.sequence_search import choose_search
    from ctr_engine.splitmerge.barcodes.params import BarcodeParams
    from ctr_engine.splitmerge.barcodes.refine import refine_barcodes
    from ctr_engine.splitmerge.report import lines, summary

    params = validated(BarcodeParams, Document("command line"), request.given)
    require_new(request.output_dir)
    barcodes, given, unassigned = _inputs(request.source, request.clusters)
    context = params.context_of(len(barcodes))
    searched, search = choose_search(
        request.search, dataset=context == "dataset", n_jobs=request.n_jobs
    )
    began = time.perf_counter()
    found = refine_barcodes(
        barcodes, given, params, passes=request.passes, search=search,
        cache=_cache(request.cache_dir), n_jobs=request.n_jobs, progress=progress,
    )  # fmt: skip
    numbers = summary(found.result, given, time.perf_counter() - began)
    numbers |= {
        "n_unassigned": len(unassigned),
        "n_without_a_cluster": len(barcodes) - len({i for ids in given.values() for i in ids}),
        "distance_context": context,
        "search": searched,
        "params": params.model_dump(),
    }
    text = [*lines(numbers, "sequences"), *_notes(numbers)]
    _write_refined(request, found, barcodes, given, unassigned)
    _write_summary(request.output_dir, numbers, text)
    return [*text, f"Results: {request.output_dir}"]


def _notes(numbers: Mapping[str, Any]) -> list[str]:
    context = "of all sequences" if numbers["distance_context"] == "dataset" else "for each scope"
    found = [f"Distances in one alignment {context}; neighbours searched with: {numbers['search']}"]
    if numbers["n_without_a_cluster"]:
        found.append(
            f"{numbers['n_without_a_cluster']:,} sequences were in no cluster and began alone"
        )
    if numbers["n_unassigned"]:
        found.append(f"{numbers['n_unassigned']:,} unassigned sequences were passed on as they are")
    return found


def _inputs(
    source: Path, clusters: Path | None
) -> tuple[list["Barcode"], dict[str, list[str]], list["Barcode"]]:
    """Sequences, clusters, and sequences that take no part.

    Raises
    ------
    ParameterError
        If the source and the table of clusters do not go together.
    """
    from ctr_engine.errors import ParameterError
    from ctr_engine.io.barcodes import read_cluster_folder, read_clusters, read_fasta

    if source.is_dir():
        if clusters is not None:
            msg = (
                f"{source} is a folder, whose files are the clusters, so that --clusters "
                f"{clusters} would have no effect; drop it, or name one FASTA file"
            )
            raise ParameterError(msg)
        return read_cluster_folder(source)
    barcodes = read_fasta(source)
    if clusters is None:
        msg = (
            f"{source} holds sequences without clusters; name them with --clusters TSV, or make "
            f"some: ctr gaphack cluster {source} --output-dir DIR"
        )
        raise ParameterError(msg)
    return barcodes, read_clusters(clusters, barcodes), []


def _cache(folder: Path | None) -> "CountCache | None":
    from ctr_engine.io.count_cache import CountFolder

    return None if folder is None else CountFolder(folder)


def _write_refined(
    request: GaphackRefineRequest,
    found: "RefinedBarcodes",
    barcodes: list["Barcode"],
    given: Mapping[str, list[str]],
    unassigned: list["Barcode"],
) -> None:
    from ctr_engine.io.atomic import write_text
    from ctr_engine.io.barcodes import fasta_text, write_fasta_per_cluster
    from ctr_engine.io.tables import write_csv, write_parquet
    from ctr_engine.tables import ClusterMapping, SequenceClusters, TwoPassHistory

    folder = request.output_dir
    write_csv(SequenceClusters, found.table(), folder / "clusters.tsv", separator="\t")
    mapping = found.mapping(given)
    write_csv(ClusterMapping, mapping, folder / "cluster_mapping.tsv", separator="\t")
    write_parquet(TwoPassHistory, found.history(), folder / "history.parquet")
    if request.fasta:
        write_fasta_per_cluster(folder / "clusters", found.clusters, barcodes)
    if unassigned:
        write_text(folder / "unassigned.fasta", fasta_text(unassigned))


def _write_summary(folder: Path, numbers: Mapping[str, Any], text: list[str]) -> None:
    """Write the summary last: a folder without one is not whole."""
    from ctr_engine.io.atomic import write_text

    write_text(folder / "refine_summary.txt", "\n".join(text) + "\n")
    _write_json(folder / "refine_summary.json", numbers)


def _write_json(path: Path, content: Any) -> None:
    from ctr_engine.io.atomic import write_text

    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_distances(path: Path, ids: list[str], distances: "Floats") -> None:
    import pandas as pd

    from ctr_engine.io.atomic import whole_file

    table = pd.DataFrame(distances, index=ids, columns=ids)
    with whole_file(path) as temporary:
        table.to_csv(temporary, index_label="sequence_id")
