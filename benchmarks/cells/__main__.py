"""Make consensus clusters and two-pass refinements of labelled cells, and print how right they are.

python -m benchmarks.cells DIRECTORY [--only consensus two-pass] [--sets NAME ...] [--runs N]
                           [--seeds N ...] [--resolutions R ...] [--out DIR]

A folder of the directory with data.h5ad is a set, in the form that docs/accuracy.md describes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.accuracy.labelled import Labelled, labelled_folders
from benchmarks.cells import consensus, two_pass
from benchmarks.orchestration.figures import machine
from ctr_engine.splitmerge.cells.params import ConsensusParams

PARTS = ("consensus", "two-pass")
MIXED = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5)
"""Resolutions that runs take in turn, where they do not only differ by their seed."""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.cells")
    parser.add_argument("directory", type=Path, help="folder of labelled folders")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--sets", nargs="+", help="names of some of the folders")
    parser.add_argument("--runs", type=int, default=10, help="runs of a consensus")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of Leiden")
    parser.add_argument(
        "--resolutions", nargs="+", type=float, default=[0.3, 0.6, 1.5], help="of two-pass"
    )
    parser.add_argument("--out", type=Path, help="folder for the tables as CSV")
    return parser.parse_args(given)


def of_consensus(sets: Sequence[Labelled], seeds: Sequence[int], n_runs: int) -> pd.DataFrame:
    """One row per set: the first seed at one resolution, then at mixed ones."""
    params = ConsensusParams(n_runs=n_runs)
    rows = []
    for one in sets:
        for seed in seeds:
            for resolutions in ((0.6,), MIXED):
                row = consensus.measure(one, 1_000 * seed, resolutions, params)
                rows.append({"first_seed": 1_000 * seed} | row)
    return pd.DataFrame(rows)


def gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over the seeds, by set, resolution and policy, and over all sets."""
    columns = ["clusters", "exact_clusters", "exact_cells", "seconds"]
    by_set = rows.groupby(["set", "resolution", "policy"])[columns].mean()
    everywhere = by_set.groupby(["resolution", "policy"]).mean()
    everywhere.index = pd.MultiIndex.from_tuples(
        [("all", *index) for index in everywhere.index], names=by_set.index.names
    )
    return pd.concat([by_set, everywhere])


def main(given: Sequence[str] | None = None) -> dict[str, pd.DataFrame]:
    """Run the parts; give the tables too."""
    args = arguments(given)
    sets = labelled_folders(args.directory, args.sets)
    found: dict[str, pd.DataFrame] = {}
    print(machine(), flush=True)
    if "consensus" in args.only:
        found["consensus"] = of_consensus(sets, args.seeds, args.runs)
    if "two-pass" in args.only:
        rows = [
            row
            for one in sets
            for resolution in args.resolutions
            for seed in args.seeds
            for row in two_pass.measure(one, seed, resolution)
        ]
        found["two_pass_runs"] = pd.DataFrame(rows)
        found["two_pass"] = gains(found["two_pass_runs"]).reset_index()
    for name, table in found.items():
        if name != "two_pass_runs":
            print(f"\n## {name}\n\n{table.round(4).to_string(index=False)}", flush=True)
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            table.to_csv(args.out / f"cells_{name}.csv", index=False)
    return found


if __name__ == "__main__":
    main()
