"""Names the cells of a sample from a marker map: a library that needs no orchestrator.

The package imports nothing heavy by itself, so that ``ctr --help`` answers at once; import the
module that you need (``from ctr_engine.analysis import annotate``).
"""

ALGORITHM_VERSION = "4"
"""Raised by every change that moves labels or scores, or the columns of a table.

It is part of each asset's code version.
"""
