"""A map of the cells in two dimensions, for the eye only; nothing is computed from it."""

import warnings

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp


def umap(
    coordinates: npt.NDArray[np.float32], graph: sp.csr_matrix, random_state: int
) -> npt.NDArray[np.float32]:
    """Lay the neighbour graph out in two dimensions (McInnes, Healy & Melville 2018).

    Parameters
    ----------
    coordinates
        Principal components, shape ``(n_cells, n_pcs)``.
    graph
        UMAP connectivities, shape ``(n_cells, n_cells)``.
    random_state
        Seed; the same seed gives the same map on one machine.

    Returns
    -------
    Shape ``(n_cells, 2)``. scanpy and umap-learn do the work, with scanpy's defaults.
    """
    import anndata
    import scanpy as sc

    adata = anndata.AnnData(obsm={"X_pca": coordinates}, shape=(len(coordinates), 0))
    adata.obsp["connectivities"] = graph
    adata.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "params": {"method": "umap", "use_rep": "X_pca"},
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_jobs value")  # umap-learn, on every seeded call
        warnings.filterwarnings("ignore", category=FutureWarning)  # of its own dependencies
        sc.tl.umap(adata, random_state=random_state)
    return np.asarray(adata.obsm["X_umap"], dtype=np.float32)
