"""Sets of DNA barcodes in the project folder: their partition key and their files."""

import re
from pathlib import Path

import dagster as dg

from ctr_assets.project import Project
from ctr_engine.errors import Fault, InputError, ParameterError
from ctr_engine.io.barcodes import fasta_name
from ctr_engine.io.samples import sha256_of

BARCODE_SETS = dg.DynamicPartitionsDefinition(name="barcode_set")
CLUSTERS_SUFFIX = ".clusters.tsv"
NO_CLUSTERS = "none"
"""Version of the table of clusters of a set that has none."""

_KEY = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*\Z")


def require_key(key: str) -> str:
    """Check the name of a set, which becomes part of paths.

    Raises
    ------
    ParameterError
        If it is no proper name.
    """
    if _KEY.match(key) is None:
        msg = (
            f"{key!r} is no name of a set of barcodes. Write letters and digits with single . _ - "
            "between them, such as russula_2026"
        )
        raise ParameterError(msg)
    return key


def set_files(project: Project) -> dict[str, list[Path]]:
    """FASTA files in the folder of barcodes, by the name of their set, proper or not."""
    folder = project.root / project.config.barcodes_dir
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = fasta_name(path)
        if name is not None and not path.name.startswith("."):
            found.setdefault(name, []).append(path)
    return found


def sequences_path(project: Project, key: str) -> Path:
    """FASTA file of a set.

    Raises
    ------
    InputError
        If there is none, or more than one.
    """
    files = set_files(project)
    found = files[key] if require_key(key) in files else []
    if len(found) != 1:
        folder = project.root / project.config.barcodes_dir
        names = " and ".join(path.name for path in found)
        state = f"holds {names}; keep one" if found else f"holds no {key}.fasta"
        raise InputError(key, [Fault(f"{folder} {state}")])
    return found[0]


def clusters_path(project: Project, key: str) -> Path:
    """Table of clusters of a set, which need not be there."""
    return project.root / project.config.barcodes_dir / f"{require_key(key)}{CLUSTERS_SUFFIX}"


def clusters_version(project: Project, key: str) -> str:
    """Hash of the table of clusters."""
    path = clusters_path(project, key)
    return sha256_of(path) if path.is_file() else NO_CLUSTERS
