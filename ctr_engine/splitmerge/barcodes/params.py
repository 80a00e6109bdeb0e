"""Parameters of the refinement of barcodes."""

from typing import Literal

from pydantic import Field

from ctr_engine.splitmerge.params import TwoPassParams

DistanceContext = Literal["auto", "dataset", "scope"]

MOST_IN_ONE_CONTEXT = 2_000


class BarcodeParams(TwoPassParams):
    """How clusters of barcodes are refined."""

    distance_context: DistanceContext = Field(
        "auto",
        description=(
            "dataset: one alignment for all, so that a distance never depends on the scope; "
            "scope: one for each scope; auto: dataset up to 2,000 sequences."
        ),
    )

    def context_of(self, n_sequences: int) -> DistanceContext:
        """Context that holds for this many sequences."""
        if self.distance_context != "auto":
            return self.distance_context
        return "dataset" if n_sequences <= MOST_IN_ONE_CONTEXT else "scope"
