"""The input of Stage H as a file: the one matrix that is stored, everything after it is a delta."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ctr_engine.expression import ExpressionView
from ctr_engine.io.samples import read_sample, write_h5ad
from ctr_engine.keys import SPATIAL
from ctr_engine.markers.panel import Panel

_RECORD = "expression_view"


@dataclass(frozen=True)
class ExpressionFile:
    """A stored :class:`~ctr_engine.expression.ExpressionView`, read when it is needed."""

    path: Path

    def read(self) -> ExpressionView:
        """Read the values and all that belongs to them."""
        adata = read_sample(self.path)
        record = json.loads(adata.uns[_RECORD])
        values = sp.csc_matrix(adata.X) if sp.issparse(adata.X) else np.asarray(adata.X)
        panel = Panel(tuple(adata.var_names), tuple(record["technical"]), tuple(record["dropped"]))
        return ExpressionView(
            values=values,
            cell_ids=np.asarray(adata.obs_names, dtype=str),
            panel=panel,
            layer=record["layer"],
            technical=pd.DataFrame(adata.obs),
            warnings=tuple(record["warnings"]),
            coordinates=np.asarray(adata.obsm[SPATIAL]) if SPATIAL in adata.obsm else None,
        )

    def cell_ids(self) -> list[str]:
        """Names of the cells, without reading the values."""
        import h5py
        from anndata.io import read_elem

        with h5py.File(self.path) as file:
            return [str(name) for name in read_elem(file["obs"]).index]

    def panel(self) -> Panel:
        """Columns of the sample, without reading the values."""
        import h5py
        from anndata.io import read_elem

        with h5py.File(self.path) as file:
            record = json.loads(read_elem(file["uns"][_RECORD]))
            markers = tuple(str(name) for name in read_elem(file["var"]).index)
        return Panel(markers, tuple(record["technical"]), tuple(record["dropped"]))


def write_expression(view: ExpressionView, path: Path) -> None:
    """Write a view as an h5ad that plain anndata reads."""
    import anndata

    record = {
        "layer": view.layer,
        "technical": view.panel.technical,
        "dropped": view.panel.dropped,
        "warnings": view.warnings,
    }
    adata = anndata.AnnData(
        X=view.values,
        obs=view.technical,
        var=pd.DataFrame(index=list(view.panel.markers)),
        uns={_RECORD: json.dumps(record)},
        obsm={} if view.coordinates is None else {SPATIAL: view.coordinates},
    )
    write_h5ad(adata, path)
