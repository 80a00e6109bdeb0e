"""Loops that NumPy cannot say: compiled once, kept on disk, and free of the interpreter's lock."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(function: Loop) -> Loop:
    """Compile a function with Numba when it is first called.

    The machine code is cached beside the module, or in the user's cache folder where that cannot
    be written. Numba looks only at the file of a function to see whether its cache is stale, so a
    compiled function may call only those of its own module.
    """
    import numba

    return cast("Loop", numba.njit(cache=True, nogil=True)(function))
