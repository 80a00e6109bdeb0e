"""A file is there whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ctr_engine.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path that is synced and takes the place of ``path`` on success.

    After an error the temporary file is gone and ``path`` is as it was.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        msg = (
            f"cannot write {path}: {error.strerror or error}. Free space there, or choose "
            "another folder."
        )
        raise OutputError(msg) from error
    finally:
        with suppress(NotADirectoryError):  # a parent is a file, of which the error above tells
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
