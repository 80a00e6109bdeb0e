"""Compare labels with known ones, and print, write and draw what came out.

python -m benchmarks.accuracy DATA_DIR [--seeds 1 2 3] [--sets NAME ...] [--out DIR]
    [--astir PYTHON] [--no-open-set]

A folder has ``data.h5ad`` with the known labels in ``obs["cell_type"]``, ``marker_map.json``,
``gold_to_path.json`` (known label -> list of labels from the root; null: not scored) and a
``SOURCE.md`` with a line such as ``Layer to use: `X```.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.accuracy.figure import draw
from benchmarks.accuracy.labelled import labelled_folders
from benchmarks.accuracy.measure import measure
from benchmarks.accuracy.openset import open_set
from benchmarks.orchestration.figures import machine
from ctr_engine.evaluation import calibration_error, check_support

SHARES = (
    "exact",
    "macro_f1",
    "hierarchical_precision",
    "hierarchical_recall",
    "hierarchical_f",
    "unassigned",
    "seconds",
)

N_DRAWS = 200


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.accuracy")
    add = parser.add_argument
    add("directory", type=Path, help="folder of labelled folders")
    add("--sets", nargs="+", help="names of some of them")
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of Leiden")
    add("--resolution", type=float, default=0.6, help="resolution of Leiden")
    add("--out", type=Path, help="folder for CSV, tables and figure")
    add(
        "--astir", type=Path, metavar="PYTHON", help="interpreter that has Astir, to measure it too"
    )
    add("--no-open-set", action="store_true", help="leave the removed types out")
    return parser.parse_args(given)


def by_method(labels: pd.DataFrame) -> pd.DataFrame:
    """Mean over the sets of the means over the seeds, and the exact share of each set."""
    of_set = labels.groupby(["method", "stage", "set"], sort=False)[list(SHARES)].mean()
    mean = of_set.groupby(level=["method", "stage"], sort=False).mean()
    exact = labels.pivot_table(index=["method", "stage"], columns="set", values="exact", sort=False)
    return mean.join(exact.add_prefix("exact: "))


def of_support(supports: pd.DataFrame) -> pd.DataFrame:
    """AUROC and calibration error over the pooled clusters of each profile and step.

    ``calibration_error`` holds support against the share of right cells of the cluster,
    ``calibration_error_clusters`` against whether the label is the commonest true one, and
    ``least_error`` is what the latter would be by chance alone if support were exactly right.
    """
    rows = []
    for (profile, step), table in supports.groupby(["profile", "step"], sort=False):
        seen = check_support(table["support"].tolist(), table["right"].tolist())
        of_cells = calibration_error(table["support"].to_numpy(), table["share_right"].to_numpy())
        rows.append(
            {
                "profile": profile,
                "step": step,
                "clusters": seen.n_clusters,
                "right": table["right"].mean(),
                "mean support": table["support"].mean(),
                "auroc": seen.auroc,
                "calibration_error": of_cells,
                "calibration_error_clusters": seen.calibration_error,
                "least_error": by_chance(table["support"].to_numpy()),
            }
        )
    return pd.DataFrame(rows)


def by_chance(support: np.ndarray) -> float:
    """Mean calibration error of clusters that are right as often as their support says."""
    random = np.random.default_rng(0)
    drawn = random.random((N_DRAWS, len(support))) < support
    return float(np.mean([calibration_error(support, right) for right in drawn]))


def of_open_set(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over the removed types of the means over the seeds; the median of the AUROC."""
    of_type = rows.groupby(["profile", "set", "removed"])[
        [
            "coverage",
            "refused_by_label",
            "refused_by_own_label",
            "refused_by_support",
            "auroc",
        ]
    ].mean()
    found = of_type.groupby("profile").mean()
    found["auroc"] = of_type["auroc"].groupby("profile").median()
    return found


def main(given: Sequence[str] | None = None) -> dict[str, pd.DataFrame]:
    """Measure, print, write and draw."""
    warnings.simplefilter("ignore")
    chosen = arguments(given)
    folders = labelled_folders(chosen.directory, chosen.sets)
    labels, supports, removed = [], [], []
    for one in folders:
        for seed in chosen.seeds:
            found = measure(one, seed, chosen.resolution, chosen.astir)
            labels += found[0]
            supports += found[1]
            print(f"  {one.name}, seed {seed}: measured", flush=True)
            if not chosen.no_open_set:
                removed += open_set(one, seed, chosen.resolution)
    tables = {"labels": pd.DataFrame(labels), "supports": pd.DataFrame(supports)}
    summaries = {
        "by_method": by_method(tables["labels"]),
        "support": of_support(tables["supports"]),
    }
    if removed:
        tables["open_set"] = pd.DataFrame(removed)
        summaries["unknown_types"] = of_open_set(tables["open_set"])
    print(machine())
    for name, table in summaries.items():
        print(f"\n{name}\n{table.round(3).to_string()}")
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(chosen.out / f"{name}.csv", index=False)
        for name, table in summaries.items():
            table.round(4).to_csv(chosen.out / f"{name}.csv")
        draw(tables["labels"], tables["supports"], chosen.out / "accuracy.png")
    return tables | summaries


if __name__ == "__main__":
    main()
