"""Barcodes on disk: FASTA files, a table of clusters, and the folder of results."""

import gzip
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ctr_engine.errors import Fault, InputError, OutputError
from ctr_engine.io.atomic import write_text
from ctr_engine.splitmerge.barcodes.sequences import Barcode, parse_fasta, some_of

SUFFIXES = (".fasta", ".fa", ".fna", ".fas")
UNASSIGNED = "unassigned"
_COLUMNS = ["sequence_id", "cluster_id"]

Clusters = dict[str, list[str]]


def read_fasta(path: Path) -> list[Barcode]:
    """Read a FASTA file, gzip-compressed where its content is.

    Raises
    ------
    InputError
        If it cannot be read, or with every fault in it.
    """
    return parse_fasta(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except (EOFError, zlib.error, gzip.BadGzipFile):  # the last one is an OSError too
        raise InputError(str(path), [Fault("is a damaged gzip file; copy it again")]) from None
    except OSError as error:
        raise InputError(str(path), [Fault(f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError:
        raise InputError(str(path), [Fault("is not text; a FASTA file is needed")]) from None


def read_many(paths: Sequence[Path]) -> list[Barcode]:
    """Read FASTA files one after the other.

    Raises
    ------
    InputError
        If a sequence is in two of them.
    """
    found: list[Barcode] = []
    file_of: dict[str, Path] = {}
    faults = []
    for path in paths:
        for barcode in read_fasta(path):
            if barcode.id in file_of:
                faults.append(Fault(f"{barcode.id!r} is also in {file_of[barcode.id]}", str(path)))
            file_of[barcode.id] = path
            found.append(barcode)
    if faults:
        raise InputError("sequences", some_of(faults))
    return found


def read_clusters(path: Path, barcodes: Iterable[Barcode]) -> Clusters:
    """Read a table of clusters: tab-separated, ``sequence_id`` and ``cluster_id``.

    A sequence may be in several clusters, which refinement resolves; equal rows count once.

    Raises
    ------
    InputError
        With the line of every row that is not two names, or names a sequence that there is not.
    """
    known = {barcode.id for barcode in barcodes}
    lines = re.split(r"\r\n|\n|\r", _text(path))
    if lines[0].split("\t") != _COLUMNS:
        fault = Fault(
            f"the first line is {lines[0]!r}; it has to be sequence_id, a tab, cluster_id"
            if any(lines)
            else "is empty; its first line is sequence_id, a tab, cluster_id",
            line=1,
        )
        raise InputError(str(path), [fault])
    found: Clusters = {}
    faults = []
    for number, line in enumerate(lines[1:], start=2):
        parts = line.split("\t")
        if not line.strip():
            continue
        if len(parts) != len(_COLUMNS) or not all(part.strip() for part in parts):
            faults.append(Fault(f"{line!r} is not sequence_id, a tab, cluster_id", "", number))
        elif parts[0] not in known:
            faults.append(Fault(f"names {parts[0]!r}, which is no sequence", "", number))
        else:
            members = found.setdefault(parts[1], [])
            if parts[0] not in members:
                members.append(parts[0])
    if faults:
        raise InputError(str(path), some_of(faults))
    return found


def read_cluster_folder(folder: Path) -> tuple[list[Barcode], Clusters, list[Barcode]]:
    """Read a folder with one FASTA file per cluster, its name that of the cluster.

    Returns
    -------
    The sequences, those of each cluster, and those of ``unassigned.fasta``.

    Raises
    ------
    InputError
        If there is no FASTA file, or a sequence has other letters in another file.
    """
    files = sorted(path for path in folder.iterdir() if fasta_name(path) is not None)
    if not files:
        fault = Fault(f"holds no {', '.join(SUFFIXES)} file; name a FASTA file, or such a folder")
        raise InputError(str(folder), [fault])
    known: dict[str, Barcode] = {}
    clusters: Clusters = {}
    faults, unassigned = [], []
    places: dict[str, str] = {}
    for path in files:
        name = str(fasta_name(path))
        if re.search(r"[\t\r\n]", name):
            faults.append(Fault(f"{path.name!r} has a tab or a line end in its name; rename it"))
            continue
        if name == UNASSIGNED:
            records = [] if not _text(path).strip() else read_fasta(path)
            unassigned += records
            places |= {barcode.id: path.name for barcode in records}
            continue
        records = read_fasta(path)
        if name in clusters:
            faults.append(Fault(f"is there twice, with other endings, as {path.name}", name))
        clusters[name] = [barcode.id for barcode in records]
        for barcode in records:
            other = known.setdefault(barcode.id, barcode)
            if other.residues.upper() != barcode.residues.upper():
                faults.append(Fault(f"{barcode.id!r} has other letters elsewhere", path.name))
    faults += [
        Fault(f"{b.id!r} is also in a cluster", places[b.id]) for b in unassigned if b.id in known
    ]
    if not clusters:
        faults.append(Fault(f"holds {UNASSIGNED}.fasta alone; there is no cluster to refine"))
    if faults:
        raise InputError(str(folder), some_of(faults))
    return list(known.values()), clusters, unassigned


def fasta_name(path: Path) -> str | None:
    """Name of a FASTA file without its ending; None for a file of another kind."""
    name = path.name.removesuffix(".gz")
    if name.startswith("."):
        return None  # some systems put such a file beside each
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix) and path.is_file():
            return name[: -len(suffix)]
    return None


def fasta_text(barcodes: Iterable[Barcode]) -> str:
    """Write records with two lines each, descriptions kept."""
    return "".join(f">{barcode.header}\n{barcode.residues}\n" for barcode in barcodes)


def write_fasta_per_cluster(
    folder: Path, clusters: Mapping[str, Sequence[str]], barcodes: Iterable[Barcode]
) -> None:
    """Write one FASTA file for each cluster, under our own name for it."""
    by_id = {barcode.id: barcode for barcode in barcodes}
    for name, ids in clusters.items():
        write_text(folder / f"{name}.fasta", fasta_text(by_id[i] for i in ids))


def require_new_file(path: Path, folder: Path) -> None:
    """Refuse a file that would replace another, or lie among results that a folder holds.

    Raises
    ------
    OutputError
        If it is there already, or is in the folder.
    """
    if path.exists():
        msg = f"{path} is there already, and would be replaced; name a new file"
        raise OutputError(msg)
    if folder.resolve() in path.resolve().parents:
        msg = f"{path} is in {folder}, which holds other results; name a file outside of it"
        raise OutputError(msg)


def require_new(folder: Path) -> None:
    """Refuse a folder with anything in it, which results could be taken for.

    Raises
    ------
    OutputError
        If it is a file or is not empty.
    """
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder with --output-dir"
        raise OutputError(msg)
    if folder.is_dir() and any(folder.iterdir()):
        msg = f"{folder} is not empty; name a new folder with --output-dir"
        raise OutputError(msg)
