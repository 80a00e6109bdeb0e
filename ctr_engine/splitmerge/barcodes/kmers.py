"""Short words of sequences: which may be near, without an alignment."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ctr_engine.splitmerge.barcodes.alphabet import bases

_LETTER = np.full(17, -1, dtype=np.int64)
_LETTER[[1, 2, 4, 8]] = [0, 1, 2, 3]

_CANDIDATE_K = 8
MIN_SHARED = 0.05
"""Share of the words of the shorter sequence below which two are no candidates.

Unrelated sequences of 700 bases share about 0.01 by chance. In the sets of ``benchmarks.barcodes``
pairs at a distance up to 0.04 share 0.05 or more, but for ones that overlap by little.
"""


def words(sequence: str, k: int) -> npt.NDArray[np.int64]:
    """Distinct words of ``k`` unambiguous letters, as numbers, ascending."""
    letters = _LETTER[bases(sequence)]
    if len(letters) < k:
        return np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(letters, k)
    windows = windows[(windows >= 0).all(axis=1)]
    return np.unique(windows @ (4 ** np.arange(k)[::-1]))


def word_matrix(sequences: Sequence[str], k: int) -> sp.csr_matrix:
    """Which words are in which sequence, shape ``(n_sequences, 4 ** k)``, whole numbers."""
    found = [words(sequence, k) for sequence in sequences]
    bounds = np.cumsum([0, *map(len, found)])
    ones = np.ones(bounds[-1], dtype=np.int32)
    shape = (len(sequences), 4**k)
    return sp.csr_matrix((ones, np.concatenate([*found, []]).astype(np.int64), bounds), shape)


def kmer_candidates(sequences: Sequence[str]) -> sp.csr_matrix:
    """Pairs of sequences that share words: which may be near.

    Returns
    -------
    Symmetric, shape ``(n_sequences, n_sequences)``; true where both share at least
    :data:`MIN_SHARED` of the words of the one with fewer.
    """
    found = word_matrix(sequences, _CANDIDATE_K)
    shared = sp.coo_matrix(found @ found.T)
    size = np.maximum(np.diff(found.indptr), 1)
    needed = MIN_SHARED * np.minimum(size[shared.row], size[shared.col])
    near = (shared.data >= needed) & (shared.row != shared.col)
    pairs = (np.ones(near.sum(), dtype=bool), (shared.row[near], shared.col[near]))
    return sp.csr_matrix(pairs, shape=shared.shape)
