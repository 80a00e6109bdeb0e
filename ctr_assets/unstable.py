"""Interfaces of Dagster that are not declared stable, and that this project builds on knowingly.

The pinned release makes them safe; a test of each fails when an upgrade changes one.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def accepted() -> Iterator[None]:
    """Silence the notice that an interface is in beta or preview, for what is made inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield
