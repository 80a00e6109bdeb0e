"""Where iterations of refinement are stored: a lineage, or a pointer to that of an earlier one."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from upath import UPath

from ctr_assets.io_managers import StoredFiles, StoredInProject
from ctr_assets.storage import Storage
from ctr_engine.errors import CtrError
from ctr_engine.io.lineage import CONTENT, read_lineage, write_lineage
from ctr_engine.io.tables import read_notes, write_parquet
from ctr_engine.refinement.lineage import Lineage
from ctr_engine.tables import RefinedClusters, from_rows

_ASSET, _WANTED = "ctr_passthrough_of", "ctr_passthrough_sha256"


class PassedOnError(CtrError):
    """An iteration that only passes another one on no longer finds what it passed on."""


@dataclass(frozen=True)
class IterationFile:
    """A stored iteration, read when needed.

    ``asset`` is the iteration that made the content; another one where ``path`` only points to it.
    """

    asset: str
    path: Path
    content_sha256: str

    def read(self) -> Lineage:
        """Read where the cells have been."""
        return read_lineage(self.path)


@dataclass(frozen=True)
class PassedOn:
    """Says that an iteration has nothing to add to an earlier one."""

    source: IterationFile


class IterationFiles(StoredFiles):
    """Iterations as parquet; loading gives a handle."""

    extension = ".parquet"

    def dump_to_path(self, context: dg.OutputContext, obj: Lineage | PassedOn, path: UPath) -> None:
        if isinstance(obj, PassedOn):
            notes = {_ASSET: obj.source.asset, _WANTED: obj.source.content_sha256}
            with self.writing(context, path) as file:
                write_parquet(RefinedClusters, from_rows(RefinedClusters, ()), file, notes)
            return
        with self.writing(context, path) as file:
            write_lineage(obj, file)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> IterationFile:
        self.local(path)
        return resolved(self.files, path)


def resolved(files: Storage, path: UPath) -> IterationFile:
    """Follow a stored iteration to the one that made its content.

    Raises
    ------
    PassedOnError
        If that one was made again with another result.
    """
    file = files.local(path)
    notes = read_notes(file)
    if _ASSET not in notes:
        return IterationFile(path.parent.name, file, notes[CONTENT])
    target = files.local(path.parent.parent / notes[_ASSET] / path.name)
    found = read_notes(target)
    if CONTENT not in found or found[CONTENT] != notes[_WANTED]:
        name = path.parent.name
        msg = f"{name} passes {notes[_ASSET]} on, which was made again; materialize {name}"
        raise PassedOnError(msg)
    return IterationFile(notes[_ASSET], target, found[CONTENT])


class StoredIterations(StoredInProject):
    """Iterations in the project's storage."""

    def create_io_manager(self, context: dg.InitResourceContext) -> IterationFiles:
        return IterationFiles(self.files())
