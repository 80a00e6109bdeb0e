"""Samples and marker maps as files."""

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ctr_engine.errors import Fault, InputError, MarkerMapError
from ctr_engine.io.atomic import whole_file
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.parse import parse_marker_map

if TYPE_CHECKING:
    from anndata import AnnData

SUFFIXES = (".h5ad", ".zarr")
_CHUNK = 1 << 20


def read_sample(path: Path, *, values: bool = True) -> "AnnData":
    """Read a sample.

    Parameters
    ----------
    path
        An ``.h5ad`` file or a ``.zarr`` folder.
    values
        Whether to read more of an ``.h5ad`` file than ``obs`` and ``uns``.

    Raises
    ------
    InputError
        If there is nothing there, or it is not an AnnData.
    """
    import anndata
    from anndata._io.specs.registry import IORegistryError  # not public, and no child of ValueError

    if not path.exists():
        message = f"there is no such file. {_neighbours(path)}"
        raise InputError(str(path), [Fault(message)])
    if path.suffix not in SUFFIXES:
        message = f"is neither {' nor '.join(SUFFIXES)}; save the sample with adata.write_h5ad(...)"
        raise InputError(str(path), [Fault(message)])
    if path.suffix == ".zarr":
        _refuse_pickle(path)
    try:
        with warnings.catch_warnings():
            # duplicate names are an error of ours, with the names in it
            warnings.filterwarnings("ignore", "(Observation|Variable) names are not unique")
            adata = _read_h5ad(path, values) if path.suffix == ".h5ad" else anndata.read_zarr(path)
    except (
        OSError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        IORegistryError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        message = f"is not an AnnData file ({reason}); save the sample with adata.write_h5ad(...)"
        raise InputError(str(path), [Fault(message)]) from None
    if not isinstance(adata, anndata.AnnData):
        raise InputError(str(path), [Fault(f"holds a {type(adata).__name__}, not an AnnData")])
    return adata


def _refuse_pickle(path: Path) -> None:
    """Refuse a zarr with objects in it before anything of it is decoded."""
    for name in ("zarr.json", ".zarray", ".zmetadata"):
        for metadata in path.rglob(name):
            if '"pickle"' in metadata.read_text(encoding="utf-8", errors="replace"):
                fault = Fault(f"{metadata} holds pickled objects, which are never read; store text")
                raise InputError(str(path), [fault])


def _read_h5ad(path: Path, values: bool) -> "AnnData":
    import anndata
    import h5py

    with h5py.File(path) as file:
        missing = {"obs", "var"} - set(file)
    if missing:
        msg = f"it is HDF5, but has no {' and no '.join(sorted(missing))}"
        raise ValueError(msg)
    if values:
        return anndata.read_h5ad(path)
    with h5py.File(path) as file:
        parts = {name: anndata.io.read_elem(file[name]) for name in ("obs", "uns") if name in file}
    return anndata.AnnData(**parts)


def write_h5ad(adata: "AnnData", path: Path) -> None:
    """Write an AnnData whole, compressed with lzf, which every HDF5 of Python reads."""
    with whole_file(path) as temporary:
        adata.write_h5ad(temporary, compression="lzf")


def read_marker_map(path: Path) -> MarkerMap:
    """Read a marker map, JSON or YAML.

    Raises
    ------
    MarkerMapError
        If the file is missing, is not UTF-8 text, or breaks a rule of the format.
    """
    if not path.is_file():
        raise MarkerMapError(str(path), [Fault(f"there is no such file. {_neighbours(path)}")])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        fault = Fault(f"is not UTF-8 text (byte {error.start}); save it as UTF-8")
        raise MarkerMapError(str(path), [fault]) from None
    return parse_marker_map(text, str(path))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names; hexadecimal."""
    digest = hashlib.sha256()
    for part in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if part != path:
            digest.update(part.relative_to(path).as_posix().encode() + b"\0")
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _neighbours(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist either."
    names = sorted(p.name for p in folder.iterdir() if p.suffix == path.suffix)[:8]
    return (
        f"{folder} has: {', '.join(names)}."
        if names
        else f"{folder} has no {path.suffix or 'such'} file."
    )
