"""Picks the values of a sample that everything is computed on, and says what it left out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from pydantic import Field

from ctr_engine.errors import Fault, InputError, PanelError
from ctr_engine.keys import LAYER_PRIORITY, X_LAYER
from ctr_engine.markers.panel import Panel, Resolver
from ctr_engine.params import Params, Real
from ctr_engine.positions import Positions, positions

if TYPE_CHECKING:
    from anndata import AnnData

Float32 = npt.NDArray[np.float32]
Matrix: TypeAlias = Any
"""Dense float32 array or CSC matrix; scipy publishes no types."""

MIN_CELLS, MIN_MARKERS, MIN_STD = 3, 2, 1e-3
SCALE_LIMIT = 10.0
_RAW_COUNT_MAXIMUM = 30
_TRANSFORMED_MAXIMUM = 100
_CP10K = 1e4


class ExpressionParams(Params):
    """Which values of a sample are used, and how they are transformed."""

    layer: str = Field(
        "auto", description="Layer of the AnnData; auto takes batchcorr, else aligned, else X."
    )
    normalize: Literal["none", "log1p_cp10k", "arcsinh"] = Field(
        "none",
        description="Transformation: log1p of counts per 10,000, arcsinh(x / arcsinh_cofactor), "
        "or none.",
    )
    arcsinh_cofactor: Annotated[Real, Field(gt=0)] = Field(
        5.0, description="Divisor before arcsinh; about 5 for CyTOF."
    )
    technical_markers: tuple[str, ...] = Field(
        ("DAPI", "Collagen IV", "Beta-actin"),
        description="Markers that are kept as obs columns and used for nothing else.",
    )


@dataclass(frozen=True)
class ExpressionView:
    """Transformed expression of the panel.

    Attributes
    ----------
    values
        Shape ``(n_cells, n_markers)``, float32, finite; dense, or CSC when the sample was sparse.
    cell_ids
        Name of each cell.
    panel
        ``panel.markers`` names the columns of ``values``.
    layer
        Name of the source layer; ``"X"`` for ``adata.X``.
    technical
        One column ``<marker>_intensity`` for each technical marker, untransformed; index
        ``cell_ids``.
    warnings
        What a reader of the result should know.
    coordinates
        Places of the cells in the tissue, shape ``(n_cells, 2)``, NaN where a cell has none; None
        where the sample has no coordinates.
    """

    values: Matrix
    cell_ids: npt.NDArray[np.str_]
    panel: Panel
    layer: str
    technical: pd.DataFrame
    warnings: tuple[str, ...] = ()
    coordinates: Positions | None = None

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.values.shape[0])

    @property
    def n_markers(self) -> int:
        """Number of usable markers."""
        return int(self.values.shape[1])

    @cached_property
    def is_sparse(self) -> bool:
        """Whether the values are stored sparse."""
        return bool(sp.issparse(self.values))

    def column(self, position: int) -> Float32:
        """Values of one marker, dense, length ``n_cells``."""
        if self.is_sparse:
            return np.asarray(self.values[:, [position]].toarray()).ravel()
        return np.ascontiguousarray(self.values[:, position])

    def block(self, rows: npt.NDArray[np.intp] | slice, columns: Sequence[int]) -> Float32:
        """Dense values of some cells and markers; nothing else is made dense."""
        chosen = np.asarray(columns, dtype=np.intp)
        if self.is_sparse:
            return np.asarray(self.values[:, chosen][rows].toarray())
        if isinstance(rows, slice):
            return np.asarray(self.values[rows][:, chosen])
        return np.asarray(self.values[np.ix_(rows, chosen)])


def read_expression(
    adata: "AnnData", params: ExpressionParams, source: str = "sample"
) -> ExpressionView:
    """Take the expression that Stage H works on out of an AnnData.

    Parameters
    ----------
    adata
        Cells by markers; dense or sparse.
    params
        Layer, transformation and technical markers.
    source
        Name of the sample, for errors.

    Raises
    ------
    InputError
        If the sample cannot be annotated; every fault that can be seen is in the message.
    """
    adata = adata.to_memory() if adata.isbacked else adata
    layer, raw, faults = _layer_values(adata, params.layer)
    columns = np.asarray(adata.var_names, dtype=str)
    _refuse(source, [*_shape_faults(adata), *faults, *_finite_faults(raw, columns, layer)])
    warnings = _raw_count_warning(raw, layer) if params.normalize == "none" else ()
    warnings += _idle_technical(columns, params)
    technical, features, technical_columns = _split_technical(raw, columns, params, source)
    technical.index = pd.Index(np.asarray(adata.obs_names, dtype=str))
    clash = [name for name in technical.columns if name in adata.obs.columns]
    _refuse(source, [Fault(f"obs already has the column {name!r}; rename it") for name in clash])
    values = _transform(raw[:, features], params, source)
    spread = column_std(values) >= MIN_STD
    kept = columns[features][spread]
    if len(kept) < MIN_MARKERS:
        dropped = len(columns) - len(kept)
        _refuse(
            source,
            [
                Fault(
                    f"{len(kept)} usable markers are left of {len(columns)} ({dropped} are "
                    "technical or do not "
                    f"vary); at least {MIN_MARKERS} are needed. Check the layer {layer!r}."
                )
            ],
        )
    places = positions(adata)
    panel = Panel(
        tuple(kept.tolist()), technical_columns, tuple(columns[features][~spread].tolist())
    )
    return ExpressionView(
        values=values if spread.all() else values[:, np.flatnonzero(spread)],
        cell_ids=np.asarray(adata.obs_names, dtype=str),
        panel=panel,
        layer=layer,
        technical=technical,
        warnings=warnings,
        coordinates=places["spatial"] if "spatial" in places else None,
    )


def column_std(values: Matrix) -> npt.NDArray[np.float64]:
    """Population standard deviation of each column, accumulated in float64."""
    n = values.shape[0]
    std = np.empty(values.shape[1])
    for j in range(values.shape[1]):
        if sp.issparse(values):
            stored = values.data[values.indptr[j] : values.indptr[j + 1]].astype(np.float64)
            mean = stored.sum() / n
            square = ((stored - mean) ** 2).sum() + (n - len(stored)) * mean**2
        else:
            column = values[:, j].astype(np.float64)
            square = ((column - column.mean()) ** 2).sum()
        std[j] = np.sqrt(square / n)
    return std


def scaled(values: Any, mean: Any, std: Any) -> npt.NDArray[np.float64]:
    """Bring values to zero mean and unit sample SD, clipped at +-10; float64."""
    centred = (np.asarray(values, dtype=np.float64) - mean) / std
    return np.asarray(np.clip(centred, -SCALE_LIMIT, SCALE_LIMIT))


def _refuse(source: str, faults: Sequence[Fault]) -> None:
    if faults:
        raise InputError(source, faults)


def _shape_faults(adata: "AnnData") -> list[Fault]:
    faults = []
    if adata.n_obs < MIN_CELLS:
        faults.append(Fault(f"{adata.n_obs} cells; at least {MIN_CELLS} are needed"))
    for what, index, call in (
        ("obs_names", adata.obs_names, "adata.obs_names_make_unique()"),
        ("var_names", adata.var_names, "adata.var_names_make_unique()"),
    ):
        twice = index[index.duplicated()].unique()
        if len(twice):
            shown = ", ".join(repr(str(name)) for name in twice[:5])
            faults.append(
                Fault(
                    f"{len(twice)} names stand more than once in {what}: {shown}. "
                    f"Rename them, or call {call}."
                )
            )
    return faults


def _layer_values(adata: "AnnData", wanted: str) -> tuple[str, Matrix, list[Fault]]:
    """Name and float32 values of the layer; no values beside a fault."""
    layers = [name for name in adata.layers if name is not None]  # None is X, from anndata 0.13 on
    known = [*layers, *([] if adata.X is None else [X_LAYER])]
    if wanted == "auto":
        found = [layer for layer in (*LAYER_PRIORITY, X_LAYER) if layer in known]
        wanted = found[0] if found else "auto"
    if wanted not in known:
        listed = ", ".join(map(repr, known)) or "none"
        fault = f"there is no layer {wanted!r}; the layers are {listed}. Name one with --layer."
        return wanted, None, [Fault(fault)]
    values = adata.X if wanted == X_LAYER else adata.layers[wanted]
    dtype = np.dtype(getattr(values, "dtype", object))
    if dtype.kind not in "fiub":
        return wanted, None, [Fault(f"the layer {wanted!r} holds {dtype}, not numbers")]
    return wanted, _as_float32(values), []


def _as_float32(values: Any) -> Matrix:
    with np.errstate(over="ignore"):  # what does not fit float32 becomes infinite and is refused
        if sp.issparse(values):
            matrix = sp.csc_matrix(values, dtype=np.float32, copy=True)
            matrix.sum_duplicates()
            return matrix
        return np.asarray(values, dtype=np.float32)


def _finite_faults(values: Matrix, columns: npt.NDArray[np.str_], layer: str) -> list[Fault]:
    if values is None:
        return []
    if sp.issparse(values):
        owner = np.repeat(np.arange(values.shape[1]), np.diff(values.indptr))
        counts = np.bincount(owner[~np.isfinite(values.data)], minlength=values.shape[1])
    else:
        counts = (~np.isfinite(values)).sum(axis=0)
    bad = np.flatnonzero(counts)
    if not len(bad):
        return []
    shown = ", ".join(f"{columns[j]} ({counts[j]} cells)" for j in bad[:10])
    more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
    return [
        Fault(
            f"the layer {layer!r} holds NaN or infinite values in {len(bad)} markers: "
            f"{shown}{more}. "
            "Drop these cells or markers, or fill the values."
        )
    ]


def _raw_count_warning(values: Matrix, layer: str) -> tuple[str, ...]:
    stored = values.data if sp.issparse(values) else values
    if stored.size == 0 or stored.max() <= _RAW_COUNT_MAXIMUM:
        return ()
    if stored.min() < 0:
        return _untransformed_warning(stored, layer)
    if not np.array_equal(stored, np.rint(stored)):
        return _untransformed_warning(stored, layer)
    warning = (
        f"The layer {layer!r} looks like raw counts (whole numbers up to {stored.max():.0f}). "
        'Set normalize="log1p_cp10k" for RNA, or normalize="arcsinh" for CyTOF.'
    )
    return (warning,)


def _idle_technical(columns: npt.NDArray[np.str_], params: ExpressionParams) -> tuple[str, ...]:
    """Name technical markers that somebody asked for and that no column has."""
    if "technical_markers" not in params.model_fields_set:
        return ()
    resolver = Resolver(Panel(tuple(columns.tolist())), {})
    known = set(ExpressionParams().technical_markers)
    return tuple(
        f"The technical marker {name!r} is not among the columns; nothing was set aside for it."
        for name in params.technical_markers
        if name not in known and resolver.resolve(name).status == "missing"
    )


def _untransformed_warning(stored: Any, layer: str) -> tuple[str, ...]:
    if stored.max() <= _TRANSFORMED_MAXIMUM:
        return ()
    warning = (
        f"The layer {layer!r} has values up to {stored.max():.0f} and looks untransformed. Name a "
        'transformed layer, or set normalize="arcsinh".'
    )
    return (warning,)


def _split_technical(
    values: Matrix, columns: npt.NDArray[np.str_], params: ExpressionParams, source: str
) -> tuple[pd.DataFrame, npt.NDArray[np.intp], tuple[str, ...]]:
    """Take the technical markers out: their intensities, the other columns, and their names."""
    resolver = Resolver(Panel(tuple(columns.tolist())), {})
    try:
        found = [(name, resolver.resolve(name)) for name in params.technical_markers]
    except PanelError as error:
        raise InputError(source, [Fault(f"technical marker {f}") for f in error.faults]) from None
    hits = {name: hit.position for name, hit in found if hit.position is not None}
    columns_of = {name: re.sub(r"\W+", "_", name) + "_intensity" for name in hits}
    if len(set(columns_of.values())) < len(hits):
        both = ", ".join(map(repr, hits))
        _refuse(source, [Fault(f"technical markers would share an obs column: {both}; drop one")])
    if len(set(hits.values())) < len(hits):
        _refuse(source, [Fault(f"two technical markers are one column: {', '.join(hits)}")])
    data = {}
    for name, position in hits.items():
        intensity = values[:, [position]]
        dense = intensity.toarray() if sp.issparse(intensity) else intensity
        data[columns_of[name]] = np.asarray(dense).ravel()
    features = np.setdiff1d(np.arange(len(columns)), list(hits.values()))
    taken = tuple(str(columns[position]) for position in hits.values())
    return pd.DataFrame(data), features, taken


def _transform(values: Matrix, params: ExpressionParams, source: str) -> Matrix:
    if params.normalize == "none":
        return values
    if params.normalize == "arcsinh":
        return _elementwise(values, lambda x: np.arcsinh(x / params.arcsinh_cofactor))
    stored = values.data if sp.issparse(values) else values
    if stored.size and stored.min() < 0:
        _refuse(
            source,
            [
                Fault(
                    "normalize='log1p_cp10k' needs counts, but there are negative values. "
                    "Choose another layer, or normalize='none'."
                )
            ],
        )
    totals = np.asarray(values.sum(axis=1, dtype=np.float64)).ravel()
    factors = np.divide(_CP10K, totals, out=np.zeros_like(totals), where=totals > 0)
    scaled = (
        sp.csc_matrix(sp.diags(factors) @ values)
        if sp.issparse(values)
        else values * factors[:, None]
    )
    return _elementwise(scaled, np.log1p)


def _elementwise(values: Any, function: Any) -> Matrix:
    """Apply a function that keeps zero, in float64, and store float32."""
    if sp.issparse(values):
        out = values.copy()
        out.data = function(values.data.astype(np.float64)).astype(np.float32)
        return sp.csc_matrix(out, dtype=np.float32)
    return np.asarray(function(np.asarray(values, dtype=np.float64)), dtype=np.float32)
