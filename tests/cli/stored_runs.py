"""Folders of results for the commands that work on them, and what became of a folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from ctr_engine.io.samples import sha256_of
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.test_annotate import ctr, words

STRICT_T = GOOD_MAP.replace('"markers": ["CD3"]', '"markers": ["CD3", "CD20"]')
"""The map with a T cell that needs CD20 as well."""


@contextmanager
def quick() -> Iterator[None]:
    """Neither check schemas nor wait for the disk, two thirds of a small run; both have tests."""
    unchecked = {"checked": lambda _, table: table}
    with (
        patch("ctr_engine.io.atomic._sync", lambda _: None),
        patch.multiple("ctr_engine.tables", **unchecked),
        patch.multiple("ctr_engine.io.tables", **unchecked),
    ):
        yield


def write_inputs(folder: Path, marker_map: str = GOOD_MAP) -> Path:
    """Sample and map in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    good_sample().write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(marker_map)
    return folder


def annotate(folder: Path, *flags: object, out: str = "out", sample: str = "sample.h5ad") -> Any:
    """Run ``ctr annotate`` on what a folder holds."""
    base = ("annotate", folder / sample, "--marker-map", folder / "map.json")
    return ctr(*base, "--output-dir", folder / out, *flags)


def made(folder: Path, *flags: object, **where: str) -> Path:
    """Folder of a run that must succeed."""
    with quick():
        result = annotate(folder, *flags, **where)
    assert result.exit_code == 0, words(result)
    return folder / (where["out"] if "out" in where else "out")


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Time and content of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, sha256_of(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(folder: Path) -> set[str]:
    """Files below a folder."""
    return set(snapshot(folder))


def record(folder: Path) -> dict[str, Any]:
    """What the run in ``out`` says about itself."""
    return json.loads((folder / "out" / "run.json").read_text())


def interrupt(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *flags: object,
    by: BaseException | None = None,
    at: str = "attach",
) -> Any:
    """Run until the clusters are known and the results are about to be written."""

    def stop(*_: Any, **__: Any) -> None:
        raise by or KeyboardInterrupt

    with monkeypatch.context() as patch_:
        patch_.setattr(f"ctr_engine.cli.run.{at}", stop)
        return annotate(folder, *flags)
