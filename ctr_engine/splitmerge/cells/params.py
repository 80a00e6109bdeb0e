"""Parameters of the two passes over cells, and of a consensus of clusterings."""

from typing import Annotated

from pydantic import Field

from ctr_engine.params import Count, Real, Switch
from ctr_engine.splitmerge.params import Distance, Thresholds, TwoPassParams


class CellParams(TwoPassParams):
    """How clusters of cells are divided and merged.

    Distances are between means of microclusters in PCA space; 1 is the 95th percentile of the
    distances between a microcluster and its nearest ones.
    """

    min_split: Distance = Field(
        0.7, description="Groups nearer than this are always one cluster. Distance."
    )
    max_lump: Distance = Field(
        0.7, description="Groups farther apart than this are never one cluster. Distance."
    )
    alone_is_wide: Switch = Field(
        False, description="Whether a microcluster that is alone counts as wide as max_lump."
    )
    n_microclusters: Annotated[Count, Field(ge=1)] = Field(
        100, description="Microclusters of a sample; a cluster has its share, one at least."
    )
    min_microcluster_cells: Annotated[Count, Field(ge=1)] = Field(
        10, description="Small samples have fewer microclusters, of about so many cells."
    )
    scale_neighbors: Annotated[Count, Field(ge=1)] = Field(
        10, description="Nearest microclusters whose distances give the scale."
    )


class ConsensusParams(Thresholds):
    """How several clusterings of the same cells become one.

    Distances are between clusters of the runs: 1 less the share of the cells of either that are in
    both (Jaccard).
    """

    n_runs: Annotated[Count, Field(ge=2, le=100)] = Field(
        10, description="Runs of Leiden, each with a seed of its own."
    )
    resolutions: tuple[Annotated[Real, Field(gt=0)], ...] = Field(
        (), description="Resolutions, taken in turn by the runs; that of the clustering by default."
    )
    min_split: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.5, description="Clusters of runs that differ by less are one cluster."
    )
    max_lump: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.7, description="Clusters of runs that differ by more are never one cluster."
    )
