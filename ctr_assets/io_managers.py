"""Where assets are stored: ``<storage>/<asset>/<partition>.<suffix>``, whole or not at all.

Downstream assets of a matrix are given a handle, not the matrix.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from pydantic import Field
from upath import UPath

from ctr_assets.project import project_at
from ctr_engine.errors import CtrError
from ctr_engine.expression import ExpressionView
from ctr_engine.io.atomic import whole_file, write_text
from ctr_engine.io.expression import ExpressionFile, write_expression
from ctr_engine.io.samples import sha256_of, write_h5ad
from ctr_engine.io.tables import read_parquet, write_parquet
from ctr_engine.tables import STAGE_H_TABLES, Clusters, FinalAnnotations

TABLES = {
    **STAGE_H_TABLES,
    "leiden_clusters": Clusters,
    "final_annotations": FinalAnnotations,
}


class StoredFiles(dg.UPathIOManager):
    """Adds the hash of the file to the metadata, and words to a file that is missing."""

    def load_input(self, context: dg.InputContext) -> Any:
        try:
            return super().load_input(context)
        except FileNotFoundError as missing:
            name = context.asset_key.to_user_string()
            msg = (
                f"{name} of {context.asset_partition_key} is not stored ({missing.filename}). "
                f"Materialize {name} first."
            )
            raise dg.Failure(msg, allow_retries=False) from missing
        except CtrError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    def record(self, context: dg.OutputContext, path: Path) -> None:
        """Note the hash and the size of what was written."""
        size = path.stat().st_size
        context.add_output_metadata({"file_sha256": sha256_of(path), "file_bytes": size})


class TableFiles(StoredFiles):
    """Tables as parquet, checked against their schema on the way out and in."""

    extension = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: pd.DataFrame, path: UPath) -> None:
        write_parquet(TABLES[context.asset_key.path[-1]], obj, Path(path))
        self.record(context, Path(path))

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pd.DataFrame:
        require_file(path)
        return read_parquet(TABLES[context.asset_key.path[-1]], Path(path))


class ExpressionFiles(StoredFiles):
    """The input of Stage H as h5ad; loading gives a handle."""

    extension = ".h5ad"

    def dump_to_path(self, context: dg.OutputContext, obj: ExpressionView, path: UPath) -> None:
        write_expression(obj, Path(path))
        self.record(context, Path(path))

    def load_from_path(self, context: dg.InputContext, path: UPath) -> ExpressionFile:
        require_file(path)
        return ExpressionFile(Path(path))


class AnnDataFiles(StoredFiles):
    """A finished AnnData as h5ad; loading gives its path."""

    extension = ".h5ad"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        write_h5ad(obj, Path(path))
        self.record(context, Path(path))

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Path:
        require_file(path)
        return Path(path)


class PageFiles(StoredFiles):
    """Pages as HTML; loading gives the path. The place stands in the metadata, to be opened."""

    extension = ".html"

    def dump_to_path(self, context: dg.OutputContext, obj: str, path: UPath) -> None:
        write_text(Path(path), obj)
        self.record(context, Path(path))
        context.add_output_metadata({"page": dg.MetadataValue.path(str(path))})

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Path:
        require_file(path)
        return Path(path)


@dataclass(frozen=True)
class ArrayFile:
    """Stored coordinates or graph, read when needed; nothing in it is unpickled."""

    path: Path

    def read(self) -> npt.NDArray[np.float32]:
        """Read a dense array."""
        with np.load(self.path, allow_pickle=False) as stored:
            return np.asarray(stored["values"])

    def read_graph(self) -> sp.csr_matrix:
        """Read a sparse graph."""
        with np.load(self.path, allow_pickle=False) as stored:
            parts = (stored["data"], stored["indices"], stored["indptr"])
            return sp.csr_matrix(parts, shape=tuple(stored["shape"]))


class ArrayFiles(StoredFiles):
    """Dense arrays and CSR graphs as npz; loading gives a handle."""

    extension = ".npz"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        parts = {"values": obj}
        if sp.issparse(obj):
            parts = {"data": obj.data, "indices": obj.indices, "indptr": obj.indptr}
            parts["shape"] = np.array(obj.shape)
        with whole_file(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(file, **parts)
        self.record(context, Path(path))

    def load_from_path(self, context: dg.InputContext, path: UPath) -> ArrayFile:
        require_file(path)
        return ArrayFile(Path(path))


def require_file(path: UPath) -> None:
    """Refuse a file that is not there, in the words of the operating system."""
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))


class StoredInProject(dg.ConfigurableIOManagerFactory):
    """Opens the storage of a project when it is needed."""

    folder: str | None = Field(
        None, description="Project folder; by default CTR_PROJECT, else the current folder."
    )

    def storage(self) -> UPath:
        """Folder of the stored assets."""
        return UPath(project_at(self.folder).storage)


class StoredTables(StoredInProject):
    """Parquet tables in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> TableFiles:
        return TableFiles(self.storage())


class StoredExpression(StoredInProject):
    """The input of Stage H in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> ExpressionFiles:
        return ExpressionFiles(self.storage())


class StoredAnnData(StoredInProject):
    """Finished AnnData files in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> AnnDataFiles:
        return AnnDataFiles(self.storage())


class StoredPages(StoredInProject):
    """Pages in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> PageFiles:
        return PageFiles(self.storage())


class StoredArrays(StoredInProject):
    """Arrays and graphs in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> ArrayFiles:
        return ArrayFiles(self.storage())
