"""Names single cells with Astir (Geuens et al. 2021); run by the interpreter that has it.

python astir_worker.py FOLDER: ``values.npy`` (cells by markers) and ``cell_types.json`` (seed, and
columns of the markers of each cell type) are read, ``labels.json`` is written: the place of the
most probable cell type of each cell, -1 for Astir's "Other".
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from astir import Astir


def main(folder: Path) -> None:
    """Fit with Astir's defaults, and write the labels."""
    values = np.load(folder / "values.npy", allow_pickle=False)
    asked = json.loads((folder / "cell_types.json").read_text(encoding="utf-8"))
    names = [f"m{i}" for i in range(values.shape[1])]
    # its own normalisation takes counts; these are transformed, and only its clipping is left
    values = np.minimum(values, np.percentile(values, 99.9, axis=0))
    frame = pd.DataFrame(values, columns=names, index=[f"c{i}" for i in range(len(values))])
    types = {f"t{i}": [names[j] for j in own] for i, own in enumerate(asked["markers"])}
    model = Astir(frame, {"cell_type": types}, random_seed=asked["seed"])
    model.fit_type()
    found = model.get_celltype_probabilities()
    best = found.columns[found.to_numpy().argmax(axis=1)]
    labels = [-1 if name == "Other" else int(name.removeprefix("t")) for name in best]
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
