"""One call of ``ctr consensus`` on files."""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ctr_engine import keys
from ctr_engine.clustering.pca import pca
from ctr_engine.clustering.pipeline import knn_graph
from ctr_engine.errors import Fault, InputError, OutputError
from ctr_engine.expression import read_expression
from ctr_engine.io.atomic import whole_file, write_text
from ctr_engine.io.folder import require_no_run
from ctr_engine.io.results import sample_in
from ctr_engine.io.samples import read_sample, sha256_of, write_h5ad
from ctr_engine.io.tables import write_csv
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.consensus import consensus_labels
from ctr_engine.refinement.sample import annotated_with
from ctr_engine.splitmerge.cells.consensus import Consensus, consensus
from ctr_engine.splitmerge.cells.params import ConsensusParams
from ctr_engine.splitmerge.cells.runs import leiden_runs, run_params
from ctr_engine.tables import ConsensusClusters, ConsensusLabels, ConsensusSummary

if TYPE_CHECKING:
    from anndata import AnnData

SAMPLE, SUMMARY = "consensus.h5ad", "consensus.json"
_MANY_TIES, _MANY_CLUSTERS = 0.2, 1.5


@dataclass(frozen=True)
class ConsensusRequest:
    """What to do; ``columns`` are clusterings that are there, None where Leiden is run."""

    results: Path
    output_dir: Path | None
    columns: tuple[str, ...] | None
    params: ConsensusParams
    with_labels: bool
    n_jobs: int

    @property
    def n_runs(self) -> int:
        """Clusterings that the consensus is made of."""
        return self.params.n_runs if self.columns is None else len(self.columns)

    @property
    def n_steps(self) -> int:
        """Steps that the progress bar will see."""
        own = 1 + self.n_runs if self.columns is None else 0
        return 4 + own + (1 + self.n_runs if self.with_labels else 0)


@dataclass(frozen=True)
class ConsensusResult:
    """What there is to say.

    Attributes
    ----------
    shown
        One row per cluster, with its label where there is one.
    numbers
        What ``consensus.json`` holds.
    """

    shown: pd.DataFrame
    numbers: dict[str, Any]
    next_command: str
    warnings: tuple[str, ...]


def run_consensus(request: ConsensusRequest, progress: Callable[[str], None]) -> ConsensusResult:
    """Make the consensus of a sample; writes the output folder where there is one.

    Raises
    ------
    CtrError
        If the sample or the folder cannot be used; nothing is written then.
    """
    path = sample_in(request.results)
    if request.output_dir is not None:
        require_no_run(request.output_dir)
        if path.resolve().parent == request.output_dir.resolve():
            msg = f"{request.output_dir} holds the input; name another --output-dir"
            raise OutputError(msg)
    progress("reading")
    adata = read_sample(path)
    params, marker_map = annotated_with(adata, str(path))
    view = read_expression(adata, params.expression, str(path))
    progress("pca")
    coordinates = pca(view, params.clustering.n_pcs)
    runs, told = _runs(request, adata, coordinates, params, progress, str(path))
    progress("consensus")
    found = consensus(runs, coordinates, view.cell_ids.tolist(), request.params)
    labels = None
    if request.with_labels:
        labels = consensus_labels(
            found, runs, view, marker_map, params, n_jobs=request.n_jobs,
            progress=lambda done, total: progress(f"labels {done + 1} of {total}"),
        )  # fmt: skip
    progress("writing")
    numbers = _numbers(request, path, found, runs, told, labels)
    if request.output_dir is not None:
        _write(request.output_dir, adata, found, labels, numbers)
    sample = shlex.quote(str((request.output_dir or Path()) / SAMPLE))
    command = (
        f"ctr annotate {sample} --layer {keys.STAGE_H_LAYER} --annotation-only "
        f"--cluster-key {keys.CONSENSUS_CLUSTER} --profile {params.profile} --output-dir DIR"
    )
    return ConsensusResult(_shown(found, labels), numbers, command, _warnings(runs, found))


def _runs(
    request: ConsensusRequest,
    adata: "AnnData",
    coordinates: np.ndarray,
    params: AnalysisParams,
    progress: Callable[[str], None],
    source: str,
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Clusterings, and where each is from."""
    if request.columns is not None:
        return _given(adata, request.columns, source), [{"key": n} for n in request.columns]
    progress("knn_graph")
    graph = knn_graph(coordinates, params.clustering, n_jobs=request.n_jobs)
    runs = leiden_runs(
        graph, params.clustering, request.params,
        lambda done, total: progress(f"run {done + 1} of {total}"),
    )  # fmt: skip
    told = run_params(params.clustering, request.params)
    return runs, [one.model_dump(include={"random_state", "resolution"}) for one in told]


def _given(adata: "AnnData", columns: tuple[str, ...], source: str) -> list[Any]:
    """Read clusterings that are there.

    Raises
    ------
    InputError
        If a column is missing, or holds no cluster for some cell.
    """
    faults = []
    for name in columns:
        if name not in adata.obs.columns:
            known = ", ".join(map(str, adata.obs.columns))
            faults.append(Fault(f"obs has no column {name!r}; it has: {known}"))
        elif adata.obs[name].isna().any():
            n = int(adata.obs[name].isna().sum())
            faults.append(Fault(f"obs[{name!r}] has no cluster for {n:,} cells"))
    if faults:
        raise InputError(source, faults)
    return [adata.obs[name].astype(str).to_numpy() for name in columns]


def _warnings(runs: list[Any], found: Consensus) -> tuple[str, ...]:
    """Say where a consensus is not worth its name."""
    most = max(len(set(run.tolist())) for run in runs)
    if not found.conflict.any() and found.stability.min() == found.jaccard.min() == 1:
        return ("All runs are the same clustering, so that their stability says nothing.",)
    n_clusters, ties = len(found.jaccard), float(found.tie.mean())
    if ties > _MANY_TIES or n_clusters > _MANY_CLUSTERS * most:
        msg = (
            f"The runs have little in common: for {ties:.0%} of the cells as many speak for one "
            f"cluster as for another, and {n_clusters} clusters came of runs of {most} at most. "
            "Take runs at one resolution, or a larger max_lump."
        )
        return (msg,)
    return ()


def _numbers(
    request: ConsensusRequest,
    path: Path,
    found: Consensus,
    runs: list[Any],
    told: list[dict[str, Any]],
    labels: pd.DataFrame | None,
) -> dict[str, Any]:
    firm = None if labels is None else float(labels[keys.LABEL_STABILITY].mean())
    each = [len(set(run.tolist())) for run in runs]
    return {
        "source": str(path.resolve()),
        "source_sha256": sha256_of(path),
        "parameters": request.params.model_dump(mode="json"),
        "runs": [one | {"n_clusters": n} for one, n in zip(told, each, strict=True)],
        "clusters_of_runs": each,
        "n_cells": len(found.clusters),
        "n_groups": found.n_groups,
        "n_clusters": len(found.jaccard),
        "n_conflicts": int(found.conflict.sum()),
        "n_ties": int(found.tie.sum()),
        "mean_stability": float(found.stability.mean()),
        "mean_label_stability": firm,
    }


def _shown(found: Consensus, labels: pd.DataFrame | None) -> pd.DataFrame:
    rows = found.summary()
    if labels is None:
        return rows
    of_cluster = labels.groupby(found.clusters)
    names = of_cluster[keys.CELL_TYPE_CONSENSUS].first()
    firm = of_cluster[keys.LABEL_STABILITY].mean()
    ids = rows["cluster_id"]
    return rows.assign(label=ids.map(names), label_stability=ids.map(firm))


def _write(
    folder: Path,
    adata: "AnnData",
    found: Consensus,
    labels: pd.DataFrame | None,
    numbers: dict[str, Any],
) -> None:
    from ctr_engine.reporting.consensus_figure import runs_that_found

    (folder / SUMMARY).unlink(missing_ok=True)
    cells = np.asarray(adata.obs_names, dtype=object)
    summary = found.summary()
    write_csv(ConsensusClusters, found.table(cells.tolist()), folder / "consensus_clusters.csv")
    write_csv(ConsensusSummary, summary, folder / "consensus_summary.csv")
    (folder / "consensus_labels.csv").unlink(missing_ok=True)
    result = adata.copy()
    result.obs[keys.CONSENSUS_CLUSTER] = pd.Categorical(
        found.clusters, categories=summary["cluster_id"].tolist()
    )
    result.obs[keys.CONSENSUS_STABILITY] = found.stability
    if labels is not None:
        write_csv(ConsensusLabels, labels, folder / "consensus_labels.csv")
        result.obs[keys.CELL_TYPE_CONSENSUS] = pd.Categorical(labels[keys.CELL_TYPE_CONSENSUS])
        result.obs[keys.LABEL_STABILITY] = labels[keys.LABEL_STABILITY].to_numpy(float)
    with whole_file(folder / "consensus.png") as temporary:
        figure = runs_that_found(found.jaccard, summary["n_cells"].tolist())
        figure.savefig(temporary, format="png", dpi=150)
    write_h5ad(result, folder / SAMPLE)
    write_text(folder / SUMMARY, json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
