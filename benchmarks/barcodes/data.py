"""Labelled sets of barcodes, and clusters to begin with."""

import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn.metrics import adjusted_rand_score, completeness_score, homogeneity_score

from ctr_engine.io.barcodes import read_fasta
from ctr_engine.splitmerge.barcodes.sequences import Barcode

Clusters = dict[str, list[str]]
TRIPLET = 3


@dataclass(frozen=True)
class Labelled:
    """Sequences in the order of their file, and the species of each."""

    name: str
    barcodes: tuple[Barcode, ...]
    species: Mapping[str, str]
    path: Path | None = None

    @property
    def n_species(self) -> int:
        return len(set(self.species.values()))


def labelled_sets(directory: Path, names: Sequence[str] | None = None) -> list[Labelled]:
    """Every FASTA file of a folder, the smallest first; a header has name="SPECIES"."""
    files = sorted(directory.glob("*.fasta"), key=lambda path: path.stat().st_size)
    found = []
    for path in files:
        if names is None or path.stem in names:
            barcodes = tuple(read_fasta(path))
            found.append(
                Labelled(path.stem, barcodes, {b.id: species_of(b) for b in barcodes}, path)
            )
    return found


def species_of(barcode: Barcode) -> str:
    """Name in the description, else what follows the first ``_`` of the id."""
    named = re.search(r'name="([^"]*)"', barcode.description)
    return named.group(1) if named else barcode.id.partition("_")[2]


def triplets(barcodes: Sequence[Barcode]) -> Clusters:
    """Cut a file into threes, blindly: as bad a start as there is."""
    ids = [barcode.id for barcode in barcodes]
    return {str(x): ids[x : x + TRIPLET] for x in range(0, len(ids), TRIPLET)}


def vsearch_clusters(path: Path, identity: float = 0.97) -> Clusters | None:
    """Clusters of ``vsearch --cluster_fast``; None where it is not installed."""
    program = shutil.which("vsearch")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "clusters.uc"
        command = [program, "--cluster_fast", str(path), "--id", str(identity), "--threads", "1"]
        subprocess.run([*command, "--uc", str(table), "--quiet"], check=True)
        found: dict[str, list[str]] = defaultdict(list)
        for line in table.read_text().splitlines():
            kind, cluster, *rest = line.split("\t")
            if kind in "SH":
                found[cluster].append(rest[6].split()[0])
    return dict(found)


def scores(clusters: Mapping[str, Sequence[str]], species: Mapping[str, str]) -> dict[str, float]:
    """Adjusted Rand index, homogeneity and completeness against the species."""
    of = {i: name for name, ids in clusters.items() for i in ids}
    true, found = zip(*[(species[i], of[i]) for i in sorted(species)], strict=True)
    return {
        "ari": float(adjusted_rand_score(true, found)),
        "homogeneity": float(homogeneity_score(true, found)),
        "completeness": float(completeness_score(true, found)),
    }
