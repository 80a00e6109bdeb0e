"""Simulated tissue with known truth: intensities, coordinates and spill-over.

Each cell type expresses its positive markers around 3, its weak ones around 1.5 and any other
around 0.6, in arcsinh units. Cells of a type lie in a few patches; a share of each cell's signal is
replaced by that of its nearest neighbours, as touching membranes do in segmented images. Each
sample has its own gain per marker.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ctr_engine.keys import SPATIAL
from ctr_engine.params import Count, Fraction, Params, Real

if TYPE_CHECKING:
    from anndata import AnnData

TRUTH = "cell_type"
_POSITIVE, _WEAK, _NEGATIVE = 3.0, 1.5, 0.6
_FIELD = 1_000.0
_PATCHES, _PATCH_SPREAD = 4, 70.0
_NEIGHBOURS = 4


class CellProfile(Params):
    """What cells of one type express."""

    fraction: Fraction = Field(description="Share of the cells. 0 to 1.")
    positive: tuple[str, ...] = Field(description="Markers that they express.")
    weak: tuple[str, ...] = Field((), description="Markers that they express weakly.")


class SimulationParams(Params):
    """Size and difficulty of a simulated sample."""

    n_cells: Annotated[Count, Field(ge=3)] = Field(2_000, description="Cells.")
    noise: Annotated[Real, Field(ge=0)] = Field(
        0.9, description="SD of an intensity within a type. Arcsinh units."
    )
    spill_over: Fraction = Field(
        0.25, description="Share of a cell's signal that comes from its neighbours."
    )
    gain_sd: Annotated[Real, Field(ge=0)] = Field(
        0.15, description="SD of the gain of a marker between samples."
    )
    random_state: Annotated[Count, Field(ge=0)] = Field(0, description="Seed.")


def simulate_sample(
    panel: tuple[str, ...],
    profiles: Mapping[str, CellProfile],
    params: SimulationParams,
    *,
    everywhere: tuple[str, ...] = ("DAPI",),
) -> "AnnData":
    """Make one sample.

    Parameters
    ----------
    panel
        Names of the markers.
    profiles
        By the path of the cell type. Fractions are brought to a sum of 1.
    params
        Size and difficulty.
    everywhere
        Markers that every cell expresses.

    Returns
    -------
    AnnData with ``X`` in arcsinh units, float32, not negative; ``obs["cell_type"]`` holds the true
    path, ``obsm["spatial"]`` the position in micrometres.
    """
    import anndata
    import pandas as pd

    rng = np.random.default_rng(params.random_state)
    paths = sorted(profiles)
    shares = np.array([profiles[path].fraction for path in paths])
    if not shares.sum() > 0:
        msg = "no cell type has a fraction above 0"
        raise ValueError(msg)
    types = rng.choice(len(paths), size=params.n_cells, p=shares / shares.sum())
    expected = np.array([_levels(panel, profiles[path], everywhere) for path in paths])
    position = _positions(rng, types, len(paths))
    intensity = expected[types] + rng.normal(0, params.noise, (params.n_cells, len(panel)))
    intensity = np.clip(intensity * np.exp(rng.normal(0, params.gain_sd, len(panel))), 0, None)
    blurred = (1 - params.spill_over) * intensity + params.spill_over * _neighbour_mean(
        intensity, position
    )
    names = [f"cell_{i:05d}" for i in range(params.n_cells)]
    return anndata.AnnData(
        X=blurred.astype(np.float32),
        obs=pd.DataFrame({TRUTH: pd.Categorical([paths[t] for t in types])}, index=names),
        var=pd.DataFrame(index=list(panel)),
        obsm={SPATIAL: position},
    )


def _levels(
    panel: tuple[str, ...], profile: CellProfile, everywhere: tuple[str, ...]
) -> list[float]:
    unknown = sorted({*profile.positive, *profile.weak} - set(panel))
    if unknown:
        msg = f"markers that are not on the panel: {unknown}"
        raise ValueError(msg)
    strong = {*profile.positive, *everywhere}
    return [_POSITIVE if m in strong else _WEAK if m in profile.weak else _NEGATIVE for m in panel]


def _positions(
    rng: np.random.Generator, types: npt.NDArray[np.intp], n_types: int
) -> npt.NDArray[np.float64]:
    centres = rng.uniform(0, _FIELD, (n_types, _PATCHES, 2))
    own = centres[types, rng.integers(0, _PATCHES, len(types))]
    return np.clip(own + rng.normal(0, _PATCH_SPREAD, own.shape), 0, _FIELD)


def _neighbour_mean(
    intensity: npt.NDArray[np.float64], position: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    from scipy.spatial import KDTree

    k = min(_NEIGHBOURS + 1, len(position))
    _, neighbours = KDTree(position).query(position, k=list(range(2, k + 1)))
    return np.asarray(intensity[neighbours].mean(axis=1))
