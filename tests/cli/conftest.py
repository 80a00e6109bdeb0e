"""What the tests of stored runs share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.stored_runs import made, quick, write_inputs


@pytest.fixture(scope="module")
def quickly() -> Iterator[None]:
    """Leave out the checks of tables and the waits for the disk, which have tests of their own."""
    with quick():
        yield


@pytest.fixture(scope="module")
def finished(quickly, tmp_path_factory) -> Path:
    """Folder with sample, map and a finished run in ``out``."""
    folder = write_inputs(tmp_path_factory.mktemp("finished"))
    made(folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path: Path) -> Path:
    """A copy of it that may be changed; times of the files are kept."""
    shutil.copytree(finished, tmp_path / "work")
    return tmp_path / "work"
