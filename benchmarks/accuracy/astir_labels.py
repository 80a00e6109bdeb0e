"""Labels of single cells by Astir (Geuens et al. 2021), in an environment of its own.

Astir brings PyTorch, so it is no dependency: make an environment for it with ``pip install astir``,
and name its interpreter with ``--astir``.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.accuracy.baselines import leaves
from benchmarks.accuracy.labelled import Labelled
from ctr_engine.markers.panel import resolve_map

WORKER = Path(__file__).with_name("astir_worker.py")


def astir_paths(one: Labelled, seed: int, python: Path) -> list[str]:
    """Path of the most probable leaf of each cell; empty for Astir's "Other".

    Exits where there is no such interpreter, and with what Astir said when it fails.
    """
    if not python.is_file():
        sys.exit(
            f"--astir: there is no interpreter {python}; name that of an environment with Astir"
        )
    nodes = leaves(resolve_map(one.marker_map, one.view.panel))
    columns = sorted({position for node in nodes for position in node.positions})
    markers = [[columns.index(position) for position in node.positions] for node in nodes]
    with TemporaryDirectory() as name:
        folder = Path(name)
        cells = np.arange(one.view.n_cells)
        np.save(folder / "values.npy", one.view.block(cells, columns).astype(np.float64))
        asked = json.dumps({"seed": seed, "markers": markers})
        (folder / "cell_types.json").write_text(asked, encoding="utf-8")
        done = subprocess.run([python, WORKER, folder], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            sys.exit(f"{python} could not run Astir: {' '.join(last)}; pip install astir there")
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    return ["" if label < 0 else nodes[label].node.path for label in labels]
