"""Folders of results: what they say about themselves, and their tables."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from ctr_engine import ALGORITHM_VERSION
from ctr_engine.errors import CtrError, OutputError, TableError
from ctr_engine.io.samples import read_marker_map, sha256_of
from ctr_engine.io.tables import read_csv
from ctr_engine.manifest import MANIFEST, Manifest
from ctr_engine.profiles import AnalysisParams
from ctr_engine.stored import StoredRun
from ctr_engine.tables import STAGE_H_TABLES

COARSE_CLUSTERS = "coarse_clusters.h5ad"
MARKER_MAP = "marker_map.json"


class StoredTables(Mapping[str, pd.DataFrame]):
    """Tables of a folder, each read and checked when it is asked for."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._manifest = folder, manifest
        self._read: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Read a table, once.

        Raises
        ------
        TableError
            If the file is missing or was changed since the run.
        """
        if name not in self._read:
            path = self._folder / f"{name}.csv"
            require_unchanged(path, self._manifest)
            self._read[name] = read_csv(STAGE_H_TABLES[name], path)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the tables that the run wrote."""
        return (name for name in STAGE_H_TABLES if f"{name}.csv" in self._manifest.files)

    def __len__(self) -> int:
        """Count them."""
        return sum(1 for _ in self)


def require_unchanged(path: Path, manifest: Manifest) -> None:
    """Refuse a file that is not what the run wrote.

    Raises
    ------
    TableError
        If it is missing or has another content.
    """
    if path.name not in manifest.files or not path.is_file():
        msg = f"{path} is missing; annotate the sample again"
        raise TableError(msg)
    if sha256_of(path) != manifest.files[path.name]:
        msg = f"{path} was changed since the run; annotate the sample again"
        raise TableError(msg)


def read_manifest(folder: Path) -> Manifest | None:
    """Read what a folder says about itself; None without a manifest.

    Raises
    ------
    OutputError
        If its ``run.json`` is of something else.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError):
        raise _foreign(path) from None


def _params(folder: Path, manifest: Manifest) -> AnalysisParams:
    try:
        return AnalysisParams.model_validate(manifest.given)
    except ValidationError:
        raise _foreign(folder / MANIFEST) from None


def _foreign(path: Path) -> OutputError:
    msg = f"{path} is not a manifest of ctr, or of another version of it; name another folder"
    return OutputError(msg)


def is_whole(folder: Path, manifest: Manifest) -> bool:
    """Whether every file of a run is there, with the content that the run wrote."""
    return all(
        (folder / name).is_file() and sha256_of(folder / name) == digest
        for name, digest in manifest.files.items()
    )


def read_run(folder: Path) -> StoredRun:
    """Open the results of ``ctr annotate``.

    Raises
    ------
    CtrError
        If there are none, they are not whole, hold no labels, or were made by another version.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        what = "does not exist" if not folder.exists() else f"has no {MANIFEST}, so it is not whole"
        msg = f"{folder} {what}; name a folder that ctr annotate wrote"
        raise CtrError(msg)
    if manifest.marker_map is None:
        msg = f"{folder} holds clusters without labels; annotate it with a marker map first"
        raise CtrError(msg)
    if manifest.algorithm_version != ALGORITHM_VERSION:
        msg = (
            f"{folder} was made by version {manifest.algorithm_version} of the algorithm, this is "
            f"{ALGORITHM_VERSION}; annotate the sample again"
        )
        raise CtrError(msg)
    require_unchanged(folder / MARKER_MAP, manifest)
    params = _params(folder, manifest)
    marker_map = read_marker_map(folder / MARKER_MAP)
    return StoredRun(str(folder), manifest, params, marker_map, StoredTables(folder, manifest))
