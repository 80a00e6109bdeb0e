"""Releases of the packages that can change a result; recorded with it."""

from functools import cache
from importlib.metadata import version

DECIDING = ("anndata", "igraph", "numba", "numpy", "pandas", "scikit-learn", "scipy")


def versions() -> dict[str, str]:
    """Release of each deciding package, by its name."""
    return dict(_releases())


@cache
def _releases() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in DECIDING)
