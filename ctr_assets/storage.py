"""Where results lie: a folder, or an object store that fsspec reaches. The engine sees local files.

What is read from a store is kept under the project's ``.cache`` until the store has another one.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from upath import UPath

from ctr_engine.errors import OutputError, ParameterError
from ctr_engine.io.atomic import whole_file

STORES = ("s3", "gs", "az", "memory")
"""Schemes of object stores, in which a file appears whole or not at all; the extra is named so."""


def checked_place(text: str) -> str:
    """Refuse a storage that is neither a folder nor a URL of a store that is known.

    Raises
    ------
    ValueError
        With what would do.
    """
    scheme, found, rest = text.partition("://")
    if found and (scheme not in (*STORES, "file") or not rest.strip("/")):
        known = ", ".join(f"{name}://" for name in ("file", *STORES))
        msg = f"should be a folder, or a URL with a place in it that begins with {known}"
        raise ValueError(msg)
    return text


@dataclass(frozen=True)
class Storage:
    """Root of the stored results, and the folder for copies of what lies elsewhere."""

    root: UPath
    cache: Path

    @contextmanager
    def writing(self, place: UPath) -> Iterator[Path]:
        """Give a local path for a writer that writes whole files; its file is then at ``place``.

        Raises
        ------
        OutputError
            If the store does not take it; what was there before is still there.
        """
        if isinstance(place, Path):
            yield place
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.cache) as folder:
            file = Path(folder) / place.name
            yield file
            try:
                place.fs.put_file(str(file), place.path)
            except OSError as error:
                msg = f"cannot write {place}: {error}. Are the place and the credentials right?"
                raise OutputError(msg) from error
            self._keep(file, place)

    def local(self, place: UPath) -> Path:
        """Give a local path with the content of ``place``; it leads nowhere where there is none."""
        if isinstance(place, Path):
            return place
        copy = self._copy(place)
        if copy is None:
            return self.cache / "missing" / place.name
        if not copy.exists():
            with whole_file(copy) as file:
                place.fs.get_file(place.path, str(file))
            self._drop_others(copy)
        return copy

    def _copy(self, place: UPath) -> Path | None:
        """Name of the copy of what lies at a place now; None where nothing does."""
        with suppress(FileNotFoundError):
            version = hashlib.sha256(str(place.fs.ukey(place.path)).encode()).hexdigest()[:16]
            return self.cache / place.parent.name / f"{place.stem}.{version}{place.suffix}"
        return None

    def _keep(self, file: Path, place: UPath) -> None:
        """Make what was just stored the copy, so that the next step need not fetch it."""
        copy = self._copy(place)
        if copy is not None:
            copy.parent.mkdir(parents=True, exist_ok=True)
            file.replace(copy)
            self._drop_others(copy)

    @staticmethod
    def _drop_others(copy: Path) -> None:
        """Delete copies of what the place held before."""
        name = copy.stem.rpartition(".")[0]
        for other in copy.parent.glob(f"{name}.*{copy.suffix}"):
            if other != copy and other.stem.rpartition(".")[0] == name:
                other.unlink(missing_ok=True)


def storage_at(root: Path, text: str) -> Storage:
    """Open the storage that ``ctr.yaml`` names; a folder is relative to the project.

    Raises
    ------
    ParameterError
        If the driver of a store is not installed.
    """
    cache = root / ".cache"
    scheme, found, rest = text.partition("://")
    if not found or scheme == "file":
        return Storage(UPath(root / (rest if found else text)), cache)
    try:
        # another process may have stored a file that was not there when this one looked
        place = UPath(text, use_listings_cache=False)
        place.fs  # noqa: B018  (imports the driver)
    except ImportError as missing:
        msg = (
            f"storage {text} needs a driver that is not installed ({missing}); "
            f"run: pip install 'ctr[{scheme}]'"
        )
        raise ParameterError(msg) from missing
    return Storage(place, cache)
