"""Components of the scaled matrix agree with scanpy's arpack, dense and sparse."""

import anndata
import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.clustering import pca as pca_module
from ctr_engine.clustering.pca import pca
from tests.builders import expression


def cells(n: int, m: int, seed: int = 0) -> np.ndarray:
    """Cells around a few centres, with zeros as in counts and one far outlier."""
    rng = np.random.default_rng(seed)
    centres = rng.gamma(1.0, 1.5, (4, m))
    values = centres[rng.integers(0, 4, n)] * rng.gamma(2.0, 0.5, (n, m))
    values[rng.random((n, m)) < 0.3] = 0
    values[0, 0] = 500.0
    return values.astype(np.float32)


def scanpy_components(values: np.ndarray, n_pcs: int) -> np.ndarray:
    adata = anndata.AnnData(values.astype(np.float64))
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=n_pcs, svd_solver="arpack")
    return adata.obsm["X_pca"]


def up_to_sign(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference when each component may be mirrored."""
    signs = np.sign((a * b).sum(axis=0))
    return float(np.abs(a * signs - b).max())


@pytest.mark.smoke
def test_components_are_those_of_scanpys_arpack():
    values = cells(400, 12)
    assert up_to_sign(pca(expression(values), 8), scanpy_components(values, 8)) < 2e-5


def test_sparse_cells_give_the_components_of_dense_ones():
    values = cells(300, 15, seed=1)
    dense = pca(expression(values), 10)
    sparse = pca(expression(values, sparse=sp.csr_matrix), 10)
    np.testing.assert_allclose(sparse, dense, atol=1e-5)


@pytest.mark.parametrize("sparse", [None, sp.csr_matrix])
def test_the_solver_for_many_markers_gives_the_same_components(monkeypatch, sparse):
    values = cells(120, 30, seed=2)
    gram = pca(expression(values, sparse=sparse), 5)
    monkeypatch.setattr(pca_module, "_MOST_MARKERS_FOR_GRAM", 10)
    np.testing.assert_allclose(pca(expression(values, sparse=sparse), 5), gram, atol=1e-4)


def test_blocks_of_cells_do_not_show(monkeypatch):
    values = cells(200, 10, seed=3)
    whole = pca(expression(values), 6)
    monkeypatch.setattr(pca_module, "_BLOCK_CELLS", 37)
    np.testing.assert_allclose(pca(expression(values), 6), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("n", "m", "wanted", "given"), [(50, 4, 30, 3), (3, 9, 30, 2), (50, 9, 2, 2)]
)
def test_there_are_at_most_markers_less_one_and_cells_less_one_components(n, m, wanted, given):
    assert pca(expression(cells(n, m)), wanted).shape == (n, given)


@given(st.integers(0, 10_000))
def test_the_order_of_the_cells_only_reorders_the_rows(seed):
    values = cells(60, 6, seed=4)
    order = np.random.default_rng(seed).permutation(len(values))
    np.testing.assert_allclose(
        pca(expression(values[order]), 3), pca(expression(values), 3)[order], atol=1e-4
    )


def test_the_largest_loading_of_each_component_is_positive():
    rng = np.random.default_rng(5)
    first = rng.normal(0, 1, 500)
    # one strong direction, on which both markers fall as `first` rises
    values = np.column_stack([-first, -first, rng.normal(0, 1, 500)]).astype(np.float32)
    scores = pca(expression(values), 1)[:, 0]
    assert np.corrcoef(scores, values[:, 0])[0, 1] > 0.9


def test_values_are_clipped_at_ten_standard_deviations():
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (400, 3)).astype(np.float32)
    values[0] = [1e6, 0, 0]
    scaled = (values[:, 0] - values[:, 0].mean(dtype=np.float64)) / values[:, 0].std(
        ddof=1, dtype=np.float64
    )
    assert scaled[0] > 10
    scores = pca(expression(values), 2)
    assert np.abs(scores[0]).max() < 10.1
