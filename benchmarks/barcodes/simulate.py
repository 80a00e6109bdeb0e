"""Barcodes of known species, with the clusters that a hasty first pass would give."""

import numpy as np

from benchmarks.barcodes.data import Clusters, Labelled
from ctr_engine.splitmerge.barcodes.sequences import Barcode

LETTERS = np.array(list("ACGT"))
LENGTH = 600
SMALLEST, LARGEST = 50, 1_000


def simulated(seed: int, n: int | None = None) -> tuple[Labelled, Clusters]:
    """Make a set of 50 to 1,000 sequences (log-uniform), and clusters with every kind of fault.

    Species differ by 3 to 12 % from their common ancestor, sequences of one by up to 0.4 %, with
    homopolymers of uneven length; 3 % are cut short. Of the clusters given some are halves of a
    species, some two species, one sequence in twenty is in two clusters and one in none.
    """
    rng = np.random.default_rng(seed)
    if n is None:
        n = int(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))).round())
    sizes = _sizes(rng, n)
    ancestor = rng.integers(4, size=LENGTH)
    barcodes, species = [], {}
    for number, size in enumerate(sizes):
        founder = _mutated(rng, ancestor, rng.uniform(0.03, 0.12))
        rate = rng.uniform(0, 0.004)
        for _ in range(size):
            letters = "".join(LETTERS[_mutated(rng, founder, rate)])
            name = f"s{len(barcodes):04d}"
            barcodes.append(Barcode(name, _sequenced(rng, letters), f'name="species {number}"'))
            species[name] = f"species {number}"
    known = Labelled(f"simulated_{seed}", tuple(barcodes), species)
    return known, _hasty(rng, known)


def _sizes(rng: np.random.Generator, n: int) -> list[int]:
    sizes: list[int] = []
    while sum(sizes) < n:
        sizes.append(min(int(rng.geometric(0.08)), n - sum(sizes)))
    return sizes


def _mutated(rng: np.random.Generator, letters: np.ndarray, rate: float) -> np.ndarray:
    hit = rng.random(len(letters)) < rate
    return np.where(hit, (letters + rng.integers(1, 4, size=len(letters))) % 4, letters)


def _sequenced(rng: np.random.Generator, letters: str) -> str:
    """Read a molecule: a homopolymer may gain a letter, and a read may end early."""
    runs = [x for x in range(2, len(letters)) if len(set(letters[x - 2 : x + 1])) == 1]
    if runs and rng.random() < 0.3:
        at = int(rng.choice(runs))
        letters = letters[:at] + letters[at] + letters[at:]
    return letters[: int(0.75 * len(letters))] if rng.random() < 0.03 else letters


def _hasty(rng: np.random.Generator, known: Labelled) -> Clusters:
    groups: dict[str, list[str]] = {}
    for name, species in known.species.items():
        groups.setdefault(species, []).append(name)
    parts = []
    for ids in groups.values():
        if len(ids) > 3 and rng.random() < 0.4:
            cut = int(rng.integers(1, len(ids)))
            parts += [ids[:cut], ids[cut:]]
        else:
            parts.append(list(ids))
    while len(parts) > 2 and rng.random() < 0.7:
        one, other = rng.choice(len(parts), size=2, replace=False)
        parts[one] = parts[one] + parts[other]
        del parts[other]
    for x, part in enumerate(parts):
        for name in list(part):
            if rng.random() < 0.05:
                other = int(rng.integers(len(parts)))
                if other != x and name not in parts[other]:
                    parts[other].append(name)
            elif rng.random() < 0.05 and len(part) > 1:
                part.remove(name)
    return {f"c{x}": part for x, part in enumerate(parts)}
