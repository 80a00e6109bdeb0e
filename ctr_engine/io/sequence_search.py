"""Which sequences may be near: vsearch or BLAST+ where they are installed, our k-mers otherwise.

A search only leaves pairs out that cannot be near; what is near has its exact distance in any case.
So its limits are set wide, and its own heuristics are switched off.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp

from ctr_engine.errors import CtrError
from ctr_engine.splitmerge.barcodes.kmers import kmer_candidates
from ctr_engine.splitmerge.barcodes.refine import Search
from ctr_engine.splitmerge.barcodes.sequences import Barcode

_Tool = Callable[[str, Path, int, int], list[str]]

SearchName = Literal["auto", "all", "kmer", "vsearch", "blast"]
_PROGRAMS = {"vsearch": "vsearch", "blast": "blastn"}
_MIN_IDENTITY = 0.5
_E_VALUE = 10


class SearchError(CtrError):
    """A search tool is missing or failed."""


def choose_search(name: SearchName, *, dataset: bool, n_jobs: int) -> tuple[str, Search | None]:
    """Find out what searches, and give its name too.

    With one alignment of the whole data set all distances are there, and nothing has to be left
    out: ``auto`` is ``all`` then.

    Raises
    ------
    SearchError
        If a program that was asked for is not installed.
    """
    if name == "auto":
        installed = [tool for tool, program in _PROGRAMS.items() if shutil.which(program)]
        name = "all" if dataset else installed[0] if installed else "kmer"  # type: ignore[assignment]
    if name == "all":
        return name, None
    if name == "kmer":
        return name, lambda barcodes: kmer_candidates([b.residues for b in barcodes])
    program = shutil.which(_PROGRAMS[name])
    if program is None:
        msg = (
            f"--search {name} needs {_PROGRAMS[name]}, which is not installed; install it, or "
            "leave --search out"
        )
        raise SearchError(msg)
    run = _vsearch if name == "vsearch" else _blast
    return name, lambda barcodes: _searched(run, program, barcodes, n_jobs)


def _searched(run: _Tool, program: str, barcodes: Sequence[Barcode], n_jobs: int) -> sp.csr_matrix:
    """Search every sequence among all; positions stand for ids, which may hold anything."""
    with tempfile.TemporaryDirectory(prefix="ctr-search-") as folder:
        fasta = Path(folder) / "sequences.fasta"
        records = (f">{x}\n{barcode.residues.upper()}\n" for x, barcode in enumerate(barcodes))
        fasta.write_text("".join(records), encoding="ascii")
        text = _output(run(program, fasta, len(barcodes), n_jobs))
    hits = np.array([line.split("\t")[:2] for line in text.splitlines()], dtype=np.int64)
    hits = hits.reshape(-1, 2)
    hits = hits[hits[:, 0] != hits[:, 1]]
    shape = (len(barcodes), len(barcodes))
    found = sp.coo_matrix((np.ones(len(hits), dtype=np.int8), hits.T), shape=shape).tocsr()
    return sp.csr_matrix((found + found.T) > 0)


def _vsearch(program: str, fasta: Path, n: int, n_jobs: int) -> list[str]:
    del n
    return [
        program, "--usearch_global", str(fasta), "--db", str(fasta), "--strand", "plus",
        "--id", str(_MIN_IDENTITY), "--maxaccepts", "0", "--maxrejects", "0", "--self",
        "--qmask", "none", "--dbmask", "none", "--threads", str(n_jobs), "--quiet",
        "--userout", "/dev/stdout", "--userfields", "query+target",
    ]  # fmt: skip


def _blast(program: str, fasta: Path, n: int, n_jobs: int) -> list[str]:
    del n_jobs  # with -subject it has one thread
    return [
        program, "-task", "blastn", "-query", str(fasta), "-subject", str(fasta),
        "-strand", "plus", "-dust", "no", "-evalue", str(_E_VALUE),
        "-max_target_seqs", str(max(n, 5)), "-max_hsps", "1", "-outfmt", "6 qseqid sseqid",
    ]  # fmt: skip


def _output(command: Sequence[str]) -> str:
    """Run a program and give what it prints.

    Raises
    ------
    SearchError
        If it fails, with what it says.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        msg = f"{Path(command[0]).name} failed with status {done.returncode} and said: {last}"
        raise SearchError(msg)
    return done.stdout
