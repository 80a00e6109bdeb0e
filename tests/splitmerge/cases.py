"""Which shared cases there are, and how they become the arguments of the engine."""

import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

NO_FOLDER = "CTR_SHARED is not set"


@cache
def names(kind: str) -> list[str]:
    """Names of the cases of one kind; without the shared files one, whose test skips."""
    if "CTR_SHARED" not in os.environ:
        return [NO_FOLDER]
    file = Path(os.environ["CTR_SHARED"]) / "oracle" / "gaphack.json"
    return [case["name"] for case in json.loads(file.read_text())[kind]]


def case(cases: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    """One case."""
    (found,) = (case for case in cases[kind] if case["name"] == name)
    return found


def matrix(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Distances; None is not comparable."""
    return np.array(rows, dtype=np.float64)


def of_triangle(upper: Sequence[Sequence[int]]) -> np.ndarray:
    """Symmetric counts from the rows right of the diagonal."""
    n = len(upper)
    full = np.zeros((n, n), dtype=int)
    for i, row in enumerate(upper):
        full[i, i + 1 :] = row
    return full + full.T


def line(*places: float) -> np.ndarray:
    """Distances of items on a line."""
    at = np.array(places, dtype=np.float64)
    return np.abs(at[:, None] - at[None, :])
