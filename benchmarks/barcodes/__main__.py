"""Cluster barcodes of known species, and print how right and how fast it was.

python -m benchmarks.barcodes DIRECTORY [--only quality simulated searches speed] [--sets NAME ...]
                              [--seeds N] [--out DIR]

A FASTA file of the directory is a set; its headers name the species (name="SPECIES").
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.barcodes import speed
from benchmarks.barcodes.data import Labelled, labelled_sets
from benchmarks.barcodes.quality import ENDED, on_sets, on_simulated, searches_agree
from benchmarks.orchestration.figures import machine
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from tests.oracles import gaphack as plain

PARTS = ("quality", "simulated", "searches", "speed")
UPSTREAM_CORE = {300: 59.0, 500: 212.0}
"""Seconds of the public tool for its core, on another machine (docs/barcodes.md)."""
MOST_FOR_PLAIN = 100
"""Sequences that the core in plain Python clusters in a minute or two."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.barcodes")
    parser.add_argument("directory", type=Path, help="folder of FASTA files")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--sets", nargs="+", help="names of some of the files")
    parser.add_argument("--seeds", type=int, default=50, help="simulated sets")
    parser.add_argument("--out", type=Path, help="folder for the tables as CSV")
    return parser.parse_args(given)


def of_speed(sets: Sequence[Labelled]) -> dict[str, pd.DataFrame]:
    """Scoring, and the core as one matrix."""
    scoring = [speed.of_scoring(known, plain.mismatches) for known in sets]
    core = []
    for known in sets:
        n = len(known.barcodes)
        slow = None if n > MOST_FOR_PLAIN else _plain_core
        row = speed.of_core(known, slow)
        core.append(row | {"public_tool_s": UPSTREAM_CORE[n] if n in UPSTREAM_CORE else None})
    return {"scoring": pd.DataFrame(scoring), "core": pd.DataFrame(core)}


def _plain_core(matrix: np.ndarray) -> list[list[int]]:
    return plain.gap_clusters(matrix.tolist(), plain.Setting()).partition


def main(given: Sequence[str] | None = None) -> dict[str, pd.DataFrame]:
    """Run the parts; give the tables too."""
    args = arguments(given)
    sets = labelled_sets(args.directory, args.sets)
    params = BarcodeParams()
    found: dict[str, pd.DataFrame] = {}
    print(machine(), flush=True)
    if "quality" in args.only:
        found["quality"] = on_sets(sets, params)
    if "simulated" in args.only:
        found["simulated"] = on_simulated(range(args.seeds), params)
    if "searches" in args.only:
        tools = {"kmer": "python3", "vsearch": "vsearch", "blast": "blastn"}
        names = [name for name, program in tools.items() if shutil.which(program)]
        found["searches"] = searches_agree(sets, names)
    if "speed" in args.only:
        found |= of_speed(sets)
    for name, table in found.items():
        print(f"\n## {name}\n\n{table.round(4).to_string(index=False)}", flush=True)
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            table.to_csv(args.out / f"barcodes_{name}.csv", index=False)
    if "simulated" in found:
        ended = found["simulated"]["stop"].isin(ENDED)
        print(f"\nended within the iterations: {ended.mean():.0%} of {len(ended)} simulated sets")
    return found


if __name__ == "__main__":
    main()
