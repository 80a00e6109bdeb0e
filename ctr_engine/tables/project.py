"""Tables about the samples of a project."""

from ctr_engine.tables.base import Table, col


class RejectedSamples(Table):
    """Per file: why it was not taken as a sample."""

    file: str = col("File, relative to the folder of samples.", unique=True)
    reason: str = col("What is wrong with it, and what would do.")
    rejected_at: str = col("When it was looked at, UTC.")
