"""Inputs that must be refused, and the words of the error; for the command and the graph."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

GOOD_MAP = """{
  "Epithelium": {"markers": ["Pan-CK", "E-cadherin"], "anti_markers": ["CD45"]},
  "Immune Cells": {
    "markers": ["CD45"],
    "subtypes": {"T Cells": {"markers": ["CD3"]}, "B Cells": {"markers": ["CD20"]}}
  }
}
"""
MARKERS = ["Pan-CK", "E-cadherin", "CD45", "CD3", "CD20", "DAPI"]


def good_sample(n_cells: int = 120, seed: int = 0) -> anndata.AnnData:
    """Three groups: epithelium, T cells and B cells."""
    rng = np.random.default_rng(seed)
    profiles = np.array([[3, 3, 0, 0, 0, 2], [0, 0, 3, 3, 0, 2], [0, 0, 3, 0, 3, 2]], dtype=float)
    values = profiles[np.arange(n_cells) % 3] + rng.normal(0.5, 0.4, (n_cells, 6))
    obs = pd.DataFrame(index=[f"cell_{i}" for i in range(n_cells)])
    return anndata.AnnData(values.astype(np.float32), obs=obs, var=pd.DataFrame(index=MARKERS))


def write_labelled(
    folder: Path, adata: anndata.AnnData, gold: Mapping[str, list[str] | None]
) -> None:
    """Write a labelled folder, as the benchmarks read it, with the good marker map."""
    folder.mkdir()
    adata.write_h5ad(folder / "data.h5ad")
    (folder / "marker_map.json").write_text(GOOD_MAP)
    (folder / "gold_to_path.json").write_text(json.dumps(gold))
    (folder / "SOURCE.md").write_text("# made\n\nLayer to use: `X`.\n")


@dataclass(frozen=True)
class BadInput:
    """A fault: how to write it, and what the error says."""

    name: str
    words: tuple[str, ...]
    sample: Callable[[Path], None] | None = None
    marker_map: str = GOOD_MAP


def _write(change: Callable[[anndata.AnnData], anndata.AnnData | None]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        adata = good_sample()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* names are not unique")
            changed = change(adata)
            (adata if changed is None else changed).write_h5ad(path)

    return write


def _nan(adata: anndata.AnnData) -> None:
    adata.X[4, 2] = np.nan
    adata.X[7, 2] = np.inf
    adata.X[9, 3] = np.nan


def _same_names(adata: anndata.AnnData) -> None:
    adata.obs_names = ["cell_0", *adata.obs_names[:-1]]
    adata.var_names = [*MARKERS[:-1], "CD3"]


def _flat(adata: anndata.AnnData) -> None:
    adata.X[:, 1:] = 1.0


SAMPLES = [
    BadInput(
        "NaN and infinite values",
        ("NaN or infinite values in 2 markers: CD45 (2 cells), CD3 (1 cells)", "fill the values"),
        _write(_nan),
    ),
    BadInput(
        "two cells", ("2 cells; at least 3 are needed",), _write(lambda adata: adata[:2].copy())
    ),
    BadInput(
        "duplicate names",
        ("2 faults", "more than once in obs_names: 'cell_0'", "more than once in var_names: 'CD3'"),
        _write(_same_names),
    ),
    BadInput(
        "too few usable markers",
        ("1 usable markers are left of 6", "at least 2 are needed"),
        _write(_flat),
    ),
    BadInput(
        "not AnnData",
        ("is not an AnnData file",),
        lambda path: path.write_bytes(b"cell,CD45\n1,2\n") and None,
    ),
]
MAPS = [
    BadInput(
        "unknown key",
        (
            "line 2",
            "Epithelium",
            "unknown key 'marker'",
            "did you mean 'markers'",
            "has no markers",
        ),
        marker_map='{\n  "Epithelium": {"marker": ["CD45"]}\n}\n',
    ),
    BadInput(
        "not JSON", ("line 1", "is not valid JSON"), marker_map='{"Epithelium": {"markers": ["CD45"'
    ),
    BadInput(
        "two markers on one column",
        ("'CD3' and 'CD3E' are the same column 'CD3' of the panel", "Immune"),
        marker_map='{"Immune": {"markers": ["CD3", "CD3E"]}}',
    ),
    BadInput(
        "a rule on what is no root",
        ("'T Cells' is not a root; the roots are Immune",),
        marker_map='{"_gating_params": {"root_veto_markers": {"T Cells": '
        '{"markers": ["CD20"], "max_pos_frac": 0.2}}}, "Immune": {"markers": ["CD45"]}}',
    ),
]
