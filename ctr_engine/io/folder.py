"""The output folder of ``ctr annotate``: what is written, in which order, and what is cleared."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pandera.pandas import DataFrameModel

from ctr_engine.errors import OutputError
from ctr_engine.io.atomic import whole_file, write_text
from ctr_engine.io.runs import COARSE_CLUSTERS, MARKER_MAP
from ctr_engine.io.samples import sha256_of, write_h5ad
from ctr_engine.io.tables import write_csv
from ctr_engine.manifest import MANIFEST, Manifest
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.reporting.report import FIGURES
from ctr_engine.tables import STAGE_H_TABLES, Clusters, Preflight

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure
    from pandas import DataFrame

AUDIT_CARDS, REVIEW_CHECKLIST = "audit_cards.html", "review_checklist.html"
TABLES: dict[str, type[DataFrameModel]] = {
    **STAGE_H_TABLES,
    "clusters": Clusters,
    "preflight": Preflight,
}
OUTPUTS = frozenset(
    [COARSE_CLUSTERS, MARKER_MAP, AUDIT_CARDS, REVIEW_CHECKLIST]
    + [f"{name}.csv" for name in TABLES]
    + [f"figures/{name}.png" for name in FIGURES]
)
UNFINISHED = ".ctr-unfinished"
REFINEMENT = "refinement"
"""Folder, within that of a run, of the refinement that follows it."""
REFINED = "refined.h5ad"
_FIRST_OF_REFINEMENT = "diagnostic_report.csv"
"""Written by every refinement before anything else."""
REFINEMENT_OUTPUTS = (
    REFINED,
    "curation_log.json",
    "decision_summary.json",
    _FIRST_OF_REFINEMENT,
    "final_annotations.csv",
    "plan.json",
    "refinement_log.csv",
    "score_distribution.png",
)
_RESOLUTION = 150


def require_usable(folder: Path) -> None:
    """Find out before the work whether the folder can be written to.

    Raises
    ------
    OutputError
        If it is a file, cannot be written to, or has the manifest of something else.
    """
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder with --output-dir"
        raise OutputError(msg)
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        msg = f"{nearest} cannot be written to; name another folder with --output-dir"
        raise OutputError(msg)
    _earlier_files(folder)


def require_no_run(folder: Path) -> None:
    """Refuse a folder that holds the results of ``ctr annotate``, for results of other commands.

    Raises
    ------
    OutputError
        If it has a manifest.
    """
    require_usable(folder)
    if (folder / MANIFEST).exists():
        msg = f"{folder} holds the results of a run; name another folder with --output-dir"
        raise OutputError(msg)


def clear(folder: Path) -> None:
    """Remove what an earlier run of ours wrote, the manifest first; other files stay."""
    names = _earlier_files(folder)
    if (folder / UNFINISHED).exists():  # a run of ours stopped while it wrote
        names = [*names, *OUTPUTS]
    write_text(folder / UNFINISHED, "A run of ctr writes here, or was stopped while it did.\n")
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in names:
        if name in OUTPUTS:
            (folder / name).unlink(missing_ok=True)
    clear_refinement(folder / REFINEMENT)


def clear_refinement(folder: Path) -> None:
    """Remove what an earlier refinement wrote, which new results would contradict."""
    if not (folder / _FIRST_OF_REFINEMENT).is_file():
        return  # what lies there is not ours
    for name in sorted(REFINEMENT_OUTPUTS, key=_FIRST_OF_REFINEMENT.__eq__):
        (folder / name).unlink(missing_ok=True)  # what says that they are ours goes last
    if not any(folder.iterdir()):
        folder.rmdir()


def require_refinable(folder: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse a folder in which a refinement would replace what it did not write.

    Raises
    ------
    OutputError
        If it is a file, holds a file of ours' name that is not ours, or one of the inputs.
    """
    require_usable(folder)
    ours = {(folder / name).resolve() for name in REFINEMENT_OUTPUTS}
    for path in inputs:
        if path.resolve() in ours:
            msg = f"{path}: the results would replace this file; name another --output-dir"
            raise OutputError(msg)
    there = [name for name in REFINEMENT_OUTPUTS if (folder / name).exists()]
    if there and not (folder / _FIRST_OF_REFINEMENT).is_file():
        msg = f"{folder} holds {', '.join(there)} of something else; name another --output-dir"
        raise OutputError(msg)


def _earlier_files(folder: Path) -> list[str]:
    """Files that the manifest of a folder names; none without a manifest."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return []
    try:
        return list(json.loads(manifest.read_text(encoding="utf-8"))["files"])
    except (ValueError, KeyError, TypeError):
        msg = f"{manifest} is not a manifest of ctr; name another folder with --output-dir"
        raise OutputError(msg) from None


class FolderWriter:
    """Writes files into a folder and keeps their names for the manifest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: list[str] = []

    def sample(self, adata: "AnnData") -> None:
        """Write the annotated sample."""
        write_h5ad(adata, self._path(COARSE_CLUSTERS))

    def marker_map(self, marker_map: MarkerMap) -> None:
        """Write the map that was used, so that the folder explains itself."""
        text = json.dumps(marker_map.as_source(), indent=2, ensure_ascii=False)
        write_text(self._path(MARKER_MAP), text + "\n")

    def tables(self, tables: Mapping[str, "DataFrame"]) -> None:
        """Write tables as CSV."""
        for name, table in tables.items():
            write_csv(TABLES[name], table, self._path(f"{name}.csv"))

    def figures(self, figures: Mapping[str, Callable[[], "Figure"]]) -> None:
        """Draw figures as PNG."""
        for name, draw in figures.items():
            with whole_file(self._path(f"figures/{name}.png")) as temporary:
                draw().savefig(temporary, format="png", dpi=_RESOLUTION)

    def copy(self, file: Path, name: str) -> None:
        """Take over a file that was written before."""
        with whole_file(self._path(name)) as temporary:
            shutil.copyfile(file, temporary)

    def page(self, name: str, html: str) -> None:
        """Write a page."""
        write_text(self._path(name), html)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that was written."""
        return {name: sha256_of(self.folder / name) for name in sorted(self._names)}

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, after which the folder counts as whole."""
        content = manifest.model_dump(mode="json")
        write_text(self.folder / MANIFEST, json.dumps(content, indent=2, sort_keys=True) + "\n")
        (self.folder / UNFINISHED).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        self._names.append(name)
        return self.folder / name
