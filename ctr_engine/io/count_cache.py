"""Mismatches of aligned sequences on disk, by the hash of what was aligned."""

from pathlib import Path
from tokenize import TokenError

import numpy as np
import numpy.typing as npt

from ctr_engine.io.atomic import whole_file

_SUFFIX = ".counts.npy"


class CountFolder:
    """A folder with one file for each alignment; files that cannot be read are made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, n: int) -> npt.NDArray[np.int32] | None:
        """Mismatches under a key, shape ``(n, n)``; None where there are none."""
        path = self._path(key)
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, TokenError):
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
        with whole_file(self._path(key)) as temporary, temporary.open("wb") as file:
            np.save(file, pairs.astype(np.int16), allow_pickle=False)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"
