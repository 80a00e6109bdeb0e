"""Sets of DNA barcodes: sequences, distances, clusters to begin with, clusters after two passes.

A set is small beside a sample: one run makes all of it, when its files are new or were edited.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from ctr_assets.assets import OWNERS, RETRY
from ctr_assets.barcode_sets import (
    BARCODE_SETS,
    clusters_path,
    clusters_version,
    sequences_path,
)
from ctr_assets.checks import blocking_spec, schema_spec
from ctr_assets.io_managers import ArrayFile
from ctr_assets.machines import CPU_TAGS
from ctr_assets.metadata import step
from ctr_assets.outputs import Basis, Output, materialized, table_output, with_metadata
from ctr_assets.resources import ProjectResource
from ctr_assets.versions import code_version
from ctr_engine.cores import available_cores
from ctr_engine.io.barcodes import read_clusters, read_fasta
from ctr_engine.io.count_cache import CountFolder
from ctr_engine.io.samples import sha256_of
from ctr_engine.io.sequence_search import choose_search
from ctr_engine.reporting.two_pass_figure import two_pass_history
from ctr_engine.splitmerge.barcodes.graph_steps import (
    barcodes_of,
    clusters_given,
    first_clusters,
    given_table,
    pairwise_distances,
    refined_set,
    sequences_table,
)
from ctr_engine.splitmerge.clusters import find_conflicts
from ctr_engine.splitmerge.report import summary
from ctr_engine.tables import BarcodeSequences, GivenClusters, SequenceClusters

BARCODES = "barcodes"
MECE, COVERAGE = "mece", "coverage"
_CHECKS = {
    MECE: "No sequence is in two clusters.",
    COVERAGE: "Every sequence is in a cluster, and nothing else is.",
}
ALIGNMENTS = ".cache/alignments"
"""Where a project keeps what it aligned, whatever became of the results."""


def _settings(kinds: Sequence[str] = ("parquet",)) -> dict[str, Any]:
    return {
        "partitions_def": BARCODE_SETS,
        "group_name": BARCODES,
        "owners": OWNERS,
        "kinds": set(kinds),
        "code_version": code_version(),
        "retry_policy": RETRY,
        "op_tags": CPU_TAGS,
    }


@dg.asset(
    io_manager_key="tables",
    check_specs=[schema_spec("barcode_sequences", BARCODE_SETS)],
    **_settings(),
)
def barcode_sequences(context: dg.AssetExecutionContext, project: ProjectResource):
    """One row per sequence of a FASTA file, in the order of their ids."""
    with step() as measured:
        path = sequences_path(project.open(), context.partition_key)
        # hashed before it is read: an edit in between is then seen as one that is still to come
        basis = Basis({"file_sha256": sha256_of(path)})
        table = sequences_table(read_fasta(path))
    output = table_output("barcode_sequences", BarcodeSequences, table, None, measured)
    return materialized(context, output, basis)


@dg.asset(io_manager_key="arrays", **_settings(("numpy",)))
def barcode_distances(
    context: dg.AssetExecutionContext, barcode_sequences: pd.DataFrame, project: ProjectResource
):
    """Distances in one alignment; none for a large set, of which each scope is aligned."""
    with step("spoa") as measured:
        folder = project.open()
        params = folder.config.barcodes
        cache = CountFolder(folder.root / ALIGNMENTS)
        known = barcodes_of(barcode_sequences)
        values = pairwise_distances(known, params, cache=cache, n_jobs=available_cores())
        context_name = params.context_of(len(known))
    numbers = {"distance_context": context_name, **_spread(values)}
    output = Output(values, None, measured, numbers)
    return materialized(context, output, Basis({"distance_context": context_name}))


@dg.asset(
    io_manager_key="tables",
    check_specs=[schema_spec("initial_clusters", BARCODE_SETS)],
    **_settings(),
)
def initial_clusters(
    context: dg.AssetExecutionContext,
    barcode_sequences: pd.DataFrame,
    barcode_distances: ArrayFile,
    project: ProjectResource,
):
    """Clusters that a table beside the FASTA file gives; without one, those of one scope."""
    with step() as measured:
        folder, key = project.open(), context.partition_key
        known, params = barcodes_of(barcode_sequences), folder.config.barcodes
        path, version = clusters_path(folder, key), clusters_version(folder, key)
        if path.is_file():
            given = read_clusters(path, known)
        else:
            given = first_clusters(known, barcode_distances.read(), params, hint=str(path))
        table = given_table(given)
    output = table_output("initial_clusters", GivenClusters, table, None, measured)
    numbers = {"clusters": len(given), "from": path.name if path.is_file() else "one scope"}
    basis = Basis({"clusters": version, **params.model_dump()})
    return materialized(context, with_metadata(output, numbers), basis)


@dg.asset(
    io_manager_key="tables",
    check_specs=[
        schema_spec("two_pass_clusters", BARCODE_SETS),
        *(
            blocking_spec(name, "two_pass_clusters", text, BARCODE_SETS)
            for name, text in _CHECKS.items()
        ),
    ],
    **_settings(),
)
def two_pass_clusters(
    context: dg.AssetExecutionContext,
    barcode_sequences: pd.DataFrame,
    barcode_distances: ArrayFile,
    initial_clusters: pd.DataFrame,
    project: ProjectResource,
):
    """Clusters after both passes: each sequence in exactly one."""
    with step() as measured:
        folder = project.open()
        params, jobs = folder.config.barcodes, available_cores()
        known, given = barcodes_of(barcode_sequences), clusters_given(initial_clusters)
        dataset = params.context_of(len(known)) == "dataset"
        searched, search = choose_search("auto", dataset=dataset, n_jobs=jobs)
        cache = CountFolder(folder.root / ALIGNMENTS)
        found = refined_set(
            known, given, barcode_distances.read(), params,
            search=search, cache=cache, n_jobs=jobs,
        )  # fmt: skip
        table, history = found.table(), found.history()
    output = table_output("two_pass_clusters", SequenceClusters, table, None, measured)
    checks = [*output.checks, *_mece(table, [b.id for b in known])]
    output = replace(output, draw=lambda: two_pass_history(history), checks=checks)
    numbers = summary(found.result, given, measured.seconds) | {"search": searched}
    about = {
        "clusters": numbers["n_clusters"],
        "stop_reason": numbers["stop_reason"],
        "summary": dg.MetadataValue.json(numbers),
    }
    return materialized(context, with_metadata(output, about), Basis(params.model_dump()))


def _spread(values: np.ndarray) -> dict[str, Any]:
    """How many pairs can be compared, and how far apart they are."""
    pairs = values[np.triu_indices(len(values), k=1)]
    valid = pairs[~np.isnan(pairs)]
    quartiles = [float(q) for q in np.quantile(valid, [0.25, 0.5, 0.75])] if len(valid) else []
    return {"pairs": len(pairs), "not_comparable": len(pairs) - len(valid), "quartiles": quartiles}


def _mece(table: pd.DataFrame, expected: Sequence[str]) -> list[dg.AssetCheckResult]:
    """Check that clusters share nothing and leave nothing out."""
    ids = table["sequence_id"].tolist()
    position = {name: x for x, name in enumerate(dict.fromkeys(ids))}
    clusters: dict[str, list[int]] = {}
    for row in table.to_dict("records"):
        clusters.setdefault(row["cluster_id"], []).append(position[row["sequence_id"]])
    twice = find_conflicts(clusters)
    apart = sorted(set(expected) ^ set(ids))
    faults = {
        MECE: f"{len(twice)} sequences are in several clusters" if twice else None,
        COVERAGE: f"lost or unknown: {apart[:3]} ({len(apart)})" if apart else None,
    }
    return [
        dg.AssetCheckResult(
            asset_key=dg.AssetKey("two_pass_clusters"),
            check_name=name,
            passed=fault is None,
            severity=dg.AssetCheckSeverity.ERROR,
            description=fault,
            metadata={"sequences": len(expected), "clusters": len(clusters)},
        )
        for name, fault in faults.items()
    ]


ASSETS = [barcode_sequences, barcode_distances, initial_clusters, two_pass_clusters]
