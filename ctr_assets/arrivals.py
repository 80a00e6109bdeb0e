"""Samples that lie in the folder: which are whole, which are new, and which cannot be used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ctr_assets.partitions import Partition, parse_key
from ctr_assets.project import Project
from ctr_engine.errors import CtrError, ParameterError
from ctr_engine.io.samples import SUFFIXES, read_sample

DONE = ".done"


@dataclass(frozen=True)
class Arrival:
    """A sample that is whole and was not seen with this content before."""

    partition: Partition
    path: Path
    signature: str


@dataclass(frozen=True)
class Scan:
    """What a look into the folder found.

    Attributes
    ----------
    ready
        New or replaced samples that are whole.
    rejected
        Reason by file, of what can never be used as it is.
    growing
        Files that may still be copied.
    signatures
        Size and time of every file, for the next look.
    """

    ready: tuple[Arrival, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    growing: tuple[str, ...] = ()
    signatures: Mapping[str, str] = field(default_factory=dict)


def scan(project: Project, before: Mapping[str, str], taken: Mapping[str, str], most: int) -> Scan:
    """Look into the folder of samples.

    Parameters
    ----------
    before
        Signatures of the last look: a single file is whole when its own has not moved since, or
        when ``<sample>.done`` lies beside it; a zarr needs that.
    taken
        Signatures with which files were taken or rejected before.
    most
        Samples that are taken in one look; the others wait.
    """
    root = project.root / project.config.samples_dir
    signatures, growing, ready = {}, [], []
    rejected: dict[str, str] = {}
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        signatures[name] = signature_of(path)
        if name in taken and taken[name] == signatures[name]:
            continue
        if not _is_whole(path, signatures[name], before[name] if name in before else None):
            growing.append(name)
        elif len(ready) + len(rejected) < most:
            one = _looked_at(path, signatures[name])
            if isinstance(one, Arrival):
                ready.append(one)
            else:
                rejected[name] = one
    return Scan(tuple(ready), rejected, tuple(growing), signatures)


def _files(root: Path) -> Iterator[Path]:
    """Files and folders that end like a sample, in order."""
    yield from sorted(path for suffix in SUFFIXES for path in root.glob(f"*/*{suffix}"))


def signature_of(path: Path) -> str:
    """Size and time of a file, or of all files of a folder together."""
    parts = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    sizes = [part.stat() for part in parts]
    newest = max((one.st_mtime_ns for one in sizes), default=0)
    return f"{sum(one.st_size for one in sizes)}:{newest}:{len(parts)}"


def _is_whole(path: Path, signature: str, before: str | None) -> bool:
    if path.with_suffix(DONE).exists():
        return True
    return path.is_file() and signature == before


def _looked_at(path: Path, signature: str) -> Arrival | str:
    """Give the sample, or say why it cannot be used."""
    try:
        partition = parse_key(f"{path.parent.name}__{path.stem}")
    except ParameterError as error:
        return str(error)
    twins = [path.with_suffix(suffix) for suffix in SUFFIXES]
    if all(twin.exists() for twin in twins):
        return f"{' and '.join(twin.name for twin in twins)} both exist; keep one"
    try:
        read_sample(path, values=False)
    except CtrError as error:
        return str(error)
    return Arrival(partition, path, signature)
