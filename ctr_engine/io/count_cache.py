"""Mismatches of aligned sequences on disk, by the hash of what was aligned."""

import hashlib
import io
from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from ctr_engine.io.atomic import whole_file

_SUFFIX = ".counts"
_HASH_BYTES = hashlib.sha256().digest_size


class CountFolder:
    """A folder with one file for each alignment; what is not as it was written is made again.

    A file is the SHA-256 of the rest, and a NumPy array of the pairs above the diagonal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, n: int) -> npt.NDArray[np.int32] | None:
        """Mismatches under a key, shape ``(n, n)``; None where there are none."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        mark, array = content[:_HASH_BYTES], content[_HASH_BYTES:]
        if hashlib.sha256(array).digest() != mark:
            return None
        try:
            found = np.load(io.BytesIO(array), allow_pickle=False)
        except (ValueError, EOFError, SyntaxError, TokenError):
            return None  # NumPy reads the header as Python text
        if found.shape != (n * (n - 1) // 2,) or found.dtype != np.int16:
            return None
        counts = np.zeros((n, n), dtype=np.int32)
        counts[np.triu_indices(n, k=1)] = found
        return counts + counts.T

    def put(self, key: str, counts: npt.NDArray[np.int32]) -> None:
        """Keep the mismatches of each pair once."""
        pairs = counts[np.triu_indices(len(counts), k=1)]
        if pairs.size and pairs.max() > np.iinfo(np.int16).max:
            return  # sequences of more than 32,767 differences: nothing that is a barcode
        array = io.BytesIO()
        np.save(array, pairs.astype(np.int16), allow_pickle=False)
        with whole_file(self._path(key)) as temporary:
            content = array.getvalue()
            temporary.write_bytes(hashlib.sha256(content).digest() + content)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"
