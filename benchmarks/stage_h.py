"""Seconds of ``ctr annotate`` on labelled folders, each in a fresh process, imports included.

    python -m benchmarks.stage_h DATA_DIR

A folder has ``data.h5ad``, ``marker_map.json`` and a ``SOURCE.md`` that says ``Layer to use``.
"""

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

REPEATS = 3


def layer_of(folder: Path) -> str:
    """Layer that ``SOURCE.md`` names."""
    text = (folder / "SOURCE.md").read_text(encoding="utf-8")
    found = re.search(r"Layer to use: `(?:layers\[\"(\w+)\"\]|(X))`", text)
    if found is None:
        sys.exit(f"{folder / 'SOURCE.md'} does not say which layer to use")
    return found.group(1) or found.group(2)


def measure(folder: Path) -> dict[str, object]:
    """Annotate one folder a few times; the median of the seconds."""
    seconds = []
    with tempfile.TemporaryDirectory() as out:
        files = [folder / "data.h5ad", "--marker-map", folder / "marker_map.json"]
        flags = ["--output-dir", out, "--layer", layer_of(folder)]
        command = [sys.executable, "-m", "ctr_assets", "annotate", *files, *flags]
        for _ in range(REPEATS):
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
        annotated = pd.read_csv(Path(out) / "cluster_annotations.csv")
    stops = annotated["stop_reason"].value_counts()
    return {
        "folder": folder.name,
        "cells": int(annotated["n_cells"].sum()),
        "clusters": len(annotated),
        "stop reasons": ", ".join(f"{name} {n}" for name, n in stops.items()),
        "seconds": round(statistics.median(seconds), 2),
    }


def main() -> None:
    """Print one row per folder."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folders = sorted(path.parent for path in Path(sys.argv[1]).glob("*/data.h5ad"))
    if not folders:
        sys.exit(f"no */data.h5ad in {sys.argv[1]}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(pd.DataFrame([measure(folder) for folder in folders]).to_string(index=False))


if __name__ == "__main__":
    main()
