"""Where assets are stored: ``<storage>/<asset>/<partition>.<suffix>``, whole or not at all.

Downstream assets of a matrix are given a handle, not the matrix.
"""

from collections.abc import Iterator
from contextlib import contextmanager
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
from ctr_assets.storage import Storage
from ctr_engine.errors import CtrError
from ctr_engine.expression import ExpressionView
from ctr_engine.io.atomic import whole_file, write_text
from ctr_engine.io.expression import ExpressionFile, write_expression
from ctr_engine.io.samples import sha256_of, write_h5ad
from ctr_engine.io.tables import read_parquet, write_parquet
from ctr_engine.tables import (
    STAGE_H_TABLES,
    BarcodeSequences,
    Clusters,
    CohortSummary,
    ConsensusClusters,
    ConsensusSummary,
    FinalAnnotations,
    GivenClusters,
    SequenceClusters,
)

TABLES = {
    **STAGE_H_TABLES,
    "leiden_clusters": Clusters,
    "final_annotations": FinalAnnotations,
    "cohort_summary": CohortSummary,
    "consensus_clusters": ConsensusClusters,
    "consensus_summary": ConsensusSummary,
    "barcode_sequences": BarcodeSequences,
    "initial_clusters": GivenClusters,
    "two_pass_clusters": SequenceClusters,
}


class StoredFiles(dg.UPathIOManager):
    """Adds the hash of the file to the metadata, and words to a file that is missing."""

    def __init__(self, files: Storage) -> None:
        super().__init__(files.root)
        self.files = files

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

    @contextmanager
    def writing(self, context: dg.OutputContext, path: UPath) -> Iterator[Path]:
        """Give a local path to write to; notes the hash and the size of what was written."""
        with self.files.writing(path) as file:
            yield file
            size = file.stat().st_size
            context.add_output_metadata({"file_sha256": sha256_of(file), "file_bytes": size})

    def local(self, path: UPath) -> Path:
        """Local path of what is stored.

        Raises
        ------
        FileNotFoundError
            In the words of the operating system.
        """
        file = self.files.local(path)
        if not file.exists():
            raise FileNotFoundError(2, "no such file", str(path))
        return file


class TableFiles(StoredFiles):
    """Tables as parquet, checked against their schema on the way out and in."""

    extension = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: pd.DataFrame, path: UPath) -> None:
        with self.writing(context, path) as file:
            write_parquet(TABLES[context.asset_key.path[-1]], obj, file)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> pd.DataFrame:
        return read_parquet(TABLES[context.asset_key.path[-1]], self.local(path))


class ExpressionFiles(StoredFiles):
    """The input of Stage H as h5ad; loading gives a handle."""

    extension = ".h5ad"

    def dump_to_path(self, context: dg.OutputContext, obj: ExpressionView, path: UPath) -> None:
        with self.writing(context, path) as file:
            write_expression(obj, file)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> ExpressionFile:
        return ExpressionFile(self.local(path))


class AnnDataFiles(StoredFiles):
    """A finished AnnData as h5ad; loading gives its path."""

    extension = ".h5ad"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        with self.writing(context, path) as file:
            write_h5ad(obj, file)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Path:
        return self.local(path)


class PageFiles(StoredFiles):
    """Pages as HTML; loading gives the path. The place stands in the metadata, to be opened."""

    extension = ".html"

    def dump_to_path(self, context: dg.OutputContext, obj: str, path: UPath) -> None:
        with self.writing(context, path) as file:
            write_text(file, obj)
        context.add_output_metadata({"page": dg.MetadataValue.path(str(path))})

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Path:
        return self.local(path)


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
        with (
            self.writing(context, path) as file,
            whole_file(file) as temporary,
            temporary.open("wb") as opened,
        ):
            np.savez(opened, **parts)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> ArrayFile:
        return ArrayFile(self.local(path))


class StoredInProject(dg.ConfigurableIOManagerFactory):
    """Opens the storage of a project when it is needed."""

    folder: str | None = Field(
        None, description="Project folder; by default CTR_PROJECT, else the current folder."
    )

    def files(self) -> Storage:
        """The stored assets."""
        return project_at(self.folder).files


class StoredTables(StoredInProject):
    """Parquet tables in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> TableFiles:
        return TableFiles(self.files())


class StoredExpression(StoredInProject):
    """The input of Stage H in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> ExpressionFiles:
        return ExpressionFiles(self.files())


class StoredAnnData(StoredInProject):
    """Finished AnnData files in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> AnnDataFiles:
        return AnnDataFiles(self.files())


class StoredPages(StoredInProject):
    """Pages in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> PageFiles:
        return PageFiles(self.files())


class StoredArrays(StoredInProject):
    """Arrays and graphs in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> ArrayFiles:
        return ArrayFiles(self.files())
