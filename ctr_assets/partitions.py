"""The partition key, tissue and sample. What may stand in it is decided here, nowhere else."""

import re
from typing import NamedTuple

import dagster as dg

from ctr_engine.errors import ParameterError

PARTITIONS = dg.DynamicPartitionsDefinition(name="tissue__sample")
_KEY = re.compile(
    r"^(?P<tissue>[a-z0-9]+(-[a-z0-9]+)*)__(?P<sample>[A-Za-z0-9]+([._-][A-Za-z0-9]+)*)$"
)


class Partition(NamedTuple):
    """A tissue and a sample."""

    tissue: str
    sample: str

    @property
    def key(self) -> str:
        """The partition key, ``<tissue>__<sample>``."""
        return f"{self.tissue}__{self.sample}"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of every run of this partition."""
        return {"ctr/tissue": self.tissue, "ctr/sample": self.sample}


def is_key(key: str) -> bool:
    """Whether a text is a partition key."""
    return _KEY.match(key) is not None and "\n" not in key


def parse_key(key: str) -> Partition:
    """Split a partition key.

    Raises
    ------
    ParameterError
        If the key is not ``<tissue>__<sample>``; nothing else ever becomes part of a path.
    """
    match = _KEY.match(key)
    if match is None or "\n" in key:
        msg = (
            f"{key!r} is no partition key. Write <tissue>__<sample>: the tissue in small letters, "
            "digits and single hyphens, the sample in letters, digits and single . _ - between "
            "them, such as fallopian-tube__S0001"
        )
        raise ParameterError(msg)
    return Partition(match["tissue"], match["sample"])
