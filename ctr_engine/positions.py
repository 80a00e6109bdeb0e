"""Where the cells of a sample lie: in the tissue, or on a map that somebody made."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ctr_engine import keys

if TYPE_CHECKING:
    from anndata import AnnData

Positions = npt.NDArray[np.float64]
Kind = Literal["spatial", "UMAP"]

SPATIAL_COLUMNS = (("X_centroid", "Y_centroid"), ("x_centroid", "y_centroid"), ("x", "y"))
"""Pairs of ``obs`` columns that hold coordinates in files of scimap, MCMICRO and squidpy."""


def positions(adata: "AnnData") -> dict[Kind, Positions]:
    """Find coordinates by their kind, ``spatial`` and ``UMAP``; each of shape ``(n_cells, 2)``."""
    found: dict[Kind, Positions] = {}
    named: dict[Kind, str] = {"spatial": keys.SPATIAL, "UMAP": keys.UMAP}
    for kind, name in named.items():
        if name in adata.obsm:
            places = _plane(adata.obsm[name])
            if places is not None:
                found[kind] = places
    if "spatial" not in found:
        for pair in SPATIAL_COLUMNS:
            if set(pair) <= set(adata.obs.columns):
                places = _plane(adata.obs[list(pair)])
                if places is not None:
                    found["spatial"] = places
                    break
    return found


def _plane(values: object) -> Positions | None:
    """First two columns as numbers; None when there are no two, or no cell has a place."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if (
        numbers.ndim != 2
        or numbers.shape[1] < 2
        or not np.isfinite(numbers[:, :2]).all(axis=1).any()
    ):
        return None
    return numbers[:, :2]
