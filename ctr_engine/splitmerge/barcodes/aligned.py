"""Distances of sequences in the context of an alignment."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ctr_engine.splitmerge.barcodes.alignment import align, aligner_version
from ctr_engine.splitmerge.barcodes.scoring import NOT_COMPARABLE, Counts, mismatch_counts

Floats = npt.NDArray[np.float64]

DISTANCE_VERSION = "1"
"""Changes whenever a distance can differ for equal sequences."""

_CONTEXTS_IN_MEMORY = 512


class CountCache(Protocol):
    """Keeps the mismatches of a context, so that it is aligned once in its life."""

    def get(self, key: str, n: int) -> Counts | None:
        """Mismatches under a key, shape ``(n, n)``; None where there are none."""

    def put(self, key: str, counts: Counts) -> None:
        """Keep them."""


class NoCache:
    """Forgets everything."""

    def get(self, key: str, n: int) -> None:
        """Know nothing."""

    def put(self, key: str, counts: Counts) -> None:
        """Keep nothing."""


@dataclass
class AlignedDistances:
    """Distances of barcodes: mismatches over one length, both of an alignment.

    Attributes
    ----------
    sequences
        Letters of each item, in the order of their ids, so that no result depends on the order of
        a file.
    dataset
        Align all sequences once, those of typical length first. Otherwise each scope is aligned for
        itself, in the order of its ids, and a pair can be a little nearer in one than in another.
    n_jobs
        Threads; they change nothing in the result.
    """

    sequences: Sequence[str]
    dataset: bool
    cache: CountCache = field(default_factory=NoCache)
    n_jobs: int = 1
    _values: Floats | None = None
    _known: OrderedDict[tuple[int, ...], Floats] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.sequences)

    def matrix(self, items: Sequence[int]) -> Floats:
        """Distances within a scope."""
        index = np.asarray(items, dtype=np.int64)
        if self.dataset:
            if self._values is None:
                self._values = self._of_all()
            return self._values[np.ix_(index, index)]
        order = np.argsort(index, kind="stable")
        back = np.argsort(order, kind="stable")
        return self._of(tuple(map(int, index[order])))[np.ix_(back, back)]

    def _of_all(self) -> Floats:
        order = typical_order(self.sequences)
        back = np.argsort(order, kind="stable")
        found = self._distances([self.sequences[x] for x in order])
        return found[np.ix_(back, back)]

    def _of(self, scope: tuple[int, ...]) -> Floats:
        with self._lock:
            if scope in self._known:
                self._known.move_to_end(scope)
                return self._known[scope]
        found = self._distances([self.sequences[x] for x in scope])
        with self._lock:
            self._known[scope] = found
            if len(self._known) > _CONTEXTS_IN_MEMORY:
                self._known.popitem(last=False)
        return found

    def _distances(self, sequences: Sequence[str]) -> Floats:
        """Align sequences in their order, unless that was done before."""
        upper = [sequence.upper() for sequence in sequences]
        if len(upper) == 1:
            return np.zeros((1, 1))
        key = context_key(upper)
        counts = self.cache.get(key, len(upper))
        length = int(np.median([len(sequence) for sequence in upper]))
        if counts is None:
            alignment = align(upper)
            counts = mismatch_counts(alignment.rows, n_jobs=self.n_jobs)
            self.cache.put(key, counts)
        return np.where(counts == NOT_COMPARABLE, np.nan, counts / length)


def typical_order(sequences: Sequence[str]) -> npt.NDArray[np.int64]:
    """Put sequences of typical length first, equal ones by their letters.

    An alignment grows from whole reads outwards, fragments and chimeras come last, and the order
    in which the sequences were given does not count.
    """
    length = np.array([len(sequence) for sequence in sequences])
    letters = np.array([sequence.upper() for sequence in sequences])
    rank = np.unique(letters, return_inverse=True)[1]
    return np.lexsort((rank, np.abs(length - np.median(length))))


def context_key(sequences: Sequence[str]) -> str:
    """Hash of all that a distance depends on: the aligned sequences, in order, and the aligner."""
    about = f"{DISTANCE_VERSION} pyspoa {aligner_version()}"
    return hashlib.sha256("\n".join([about, *sequences]).encode()).hexdigest()
