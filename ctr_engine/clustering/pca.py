"""Principal components of the scaled matrix, without ever storing that matrix.

The scaled matrix has zero mean and unit sample standard deviation per marker, clipped at +-10. Its
Gram matrix is summed in float64 over blocks of cells and solved exactly; with many markers arpack
works on the same matrix as an operator. A sparse sample stays sparse: scaled values are a sparse
part plus one row of offsets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from ctr_engine.expression import ExpressionView, column_std, scaled

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_BLOCK_CELLS = 16_384
_MOST_MARKERS_FOR_GRAM = 2_000


@dataclass(frozen=True)
class _Scaled:
    """Scaled values as ``part + offset``; ``part`` is sparse or computed block by block."""

    view: ExpressionView
    mean: Float64
    std: Float64
    part: sp.csr_matrix | None
    offset: Float64

    def blocks(self) -> Any:
        """Yield dense or sparse blocks of rows, without the offset."""
        for start in range(0, self.view.n_cells, _BLOCK_CELLS):
            rows = slice(start, start + _BLOCK_CELLS)
            if self.part is not None:
                yield rows, self.part[rows]
            else:
                yield rows, scaled(self.view.values[rows], self.mean, self.std)


def pca(view: ExpressionView, n_pcs: int) -> Float32:
    """Project the cells on the first principal components of their scaled expression.

    Parameters
    ----------
    view
        Transformed expression.
    n_pcs
        Components wanted; at most ``n_markers - 1`` and ``n_cells - 1`` are given.

    Returns
    -------
    Shape ``(n_cells, n)``, float32, largest variance first. The entry of a component with the
    largest absolute value, the first of them in panel order, is positive.
    """
    n = min(n_pcs, view.n_markers - 1, view.n_cells - 1)
    scaled = _scale(view)
    centre = _column_means(scaled)
    with threadpool_limits(
        limits=1, user_api="blas"
    ):  # the matrices are small, and sums must not depend on threads
        if view.n_markers <= _MOST_MARKERS_FOR_GRAM:
            components = _from_gram(scaled, centre, n)
        else:
            components = _from_arpack(scaled, centre, n)
        largest = np.abs(components).argmax(axis=0)
        components = components * np.sign(components[largest, np.arange(n)])
        scores = np.empty((view.n_cells, n), dtype=np.float32)
        shift = (scaled.offset - centre) @ components
        for rows, block in scaled.blocks():
            scores[rows] = block @ components + shift
    return scores


def _scale(view: ExpressionView) -> _Scaled:
    n = view.n_cells
    std = column_std(view.values) * np.sqrt(n / (n - 1))
    if not view.is_sparse:
        mean = np.array([view.column(j).mean(dtype=np.float64) for j in range(view.n_markers)])
        return _Scaled(view, mean, std, None, np.zeros(view.n_markers))
    values = sp.csc_matrix(view.values, dtype=np.float64)
    mean = np.asarray(values.sum(axis=0)).ravel() / n
    offset = scaled(0.0, mean, std)
    owner = np.repeat(np.arange(view.n_markers), np.diff(values.indptr))
    values.data = scaled(values.data, mean[owner], std[owner]) - offset[owner]
    return _Scaled(view, mean, std, values.tocsr(), offset)


def _column_means(scaled: _Scaled) -> Float64:
    total = np.zeros(scaled.view.n_markers)
    for _, block in scaled.blocks():
        total += np.asarray(block.sum(axis=0)).ravel()
    return np.asarray(total / scaled.view.n_cells + scaled.offset)


def _from_gram(scaled: _Scaled, centre: Float64, n: int) -> Float64:
    from scipy.linalg import eigh

    m = scaled.view.n_markers
    gram = np.zeros((m, m))
    for _, block in scaled.blocks():
        product = block.T @ block
        gram += product.toarray() if sp.issparse(product) else product
    part_mean = centre - scaled.offset
    gram -= scaled.view.n_cells * np.outer(part_mean, part_mean)
    _, vectors = eigh(gram, subset_by_index=[m - n, m - 1])
    return np.asarray(vectors[:, ::-1])


def _from_arpack(scaled: _Scaled, centre: Float64, n: int) -> Float64:
    from scipy.sparse.linalg import LinearOperator, svds

    shape = (scaled.view.n_cells, scaled.view.n_markers)
    shift = scaled.offset - centre

    def times(vector: Float64) -> Float64:
        vector = vector.ravel()
        return np.concatenate([block @ vector for _, block in scaled.blocks()]) + shift @ vector

    def transposed(vector: Float64) -> Float64:
        vector = vector.ravel()
        total = shift * vector.sum()
        for rows, block in scaled.blocks():
            total = total + block.T @ vector[rows]
        return np.asarray(total)

    operator = LinearOperator(shape, matvec=times, rmatvec=transposed, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(min(shape))
    _, values, rows = svds(operator, k=n, v0=start, solver="arpack")
    return np.asarray(rows[np.argsort(-values, kind="stable")].T)
