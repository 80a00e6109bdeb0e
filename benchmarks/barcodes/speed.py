"""Processor seconds of the parts, against plain Python that says the same."""

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.barcodes.data import Labelled
from ctr_engine.splitmerge.barcodes.aligned import AlignedDistances
from ctr_engine.splitmerge.barcodes.alignment import align
from ctr_engine.splitmerge.barcodes.scoring import mismatch_counts
from ctr_engine.splitmerge.core import gap_clusters
from ctr_engine.splitmerge.params import GapParams

PAIRS = 400
"""Pairs that plain Python scores; all would take minutes."""


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of the second call: the first one compiles."""
    call()
    began = time.process_time()
    found = call()
    return time.process_time() - began, found


def of_scoring(known: Labelled, plain: Callable[[str, str], Any]) -> dict[str, Any]:
    """Scoring all pairs; ``plain`` scores two aligned rows in plain Python."""
    letters = [barcode.residues for barcode in known.barcodes]
    rows = align(letters).rows
    ours, _ = seconds(lambda: mismatch_counts(rows))
    text = [as_text(row) for row in rows]
    rng = np.random.default_rng(0)
    pairs = rng.integers(len(rows), size=(PAIRS, 2))
    began = time.process_time()
    for i, j in pairs:
        plain(text[i], text[j])
    theirs = (time.process_time() - began) / PAIRS
    n = len(rows) * (len(rows) - 1) // 2
    return {
        "set": known.name, "pairs": n, "us_per_pair": ours / n * 1e6,
        "plain_us_per_pair": theirs * 1e6, "ratio": theirs / (ours / n),
    }  # fmt: skip


def as_text(row: np.ndarray) -> str:
    """Letters of an aligned row."""
    letters = np.array(list("-AMCR_GVTWYHKDBN."), dtype="<U1")
    letters[[2, 3, 5, 6, 7, 8]] = ["C", "M", "R", "S", "V", "T"]
    letters[4] = "G"
    return "".join(letters[row])


def of_core(known: Labelled, plain: Callable[[np.ndarray], Any] | None) -> dict[str, Any]:
    """Clustering one matrix; ``plain`` does it in plain Python."""
    letters = [barcode.residues for barcode in known.barcodes]
    matrix = AlignedDistances(letters, dataset=False).matrix(range(len(letters)))
    ours, found = seconds(lambda: gap_clusters(matrix, GapParams()))
    row = {
        "set": known.name,
        "sequences": len(letters),
        "cpu_s": ours,
        "clusters": len(found.clusters),
    }
    if plain is not None:
        began = time.process_time()
        same = plain(matrix) == [list(items) for items in found.clusters]
        theirs = time.process_time() - began
        row |= {"plain_cpu_s": theirs, "ratio": theirs / ours, "same": same}
    row["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return row


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows)
