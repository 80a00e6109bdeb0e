"""Parameters of gap-optimised clustering and of its two passes."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ctr_engine.params import Count, Params, Real, Switch

GapMethod = Literal["local", "global"]

Distance = Annotated[Real, Field(ge=0)]


class Thresholds(Params):
    """What is always one cluster, and what never is."""

    min_split: Distance = Field(description="Groups nearer than this are always one cluster.")
    max_lump: Distance = Field(description="Groups farther apart than this are never one.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_split > self.max_lump:
            msg = f"min_split {self.min_split} is above max_lump {self.max_lump}"
            raise ValueError(msg)
        return self


class GapParams(Thresholds):
    """How the items of one scope are clustered."""

    min_split: Distance = Field(
        0.005, description="Groups nearer than this are always one cluster. Distance."
    )
    max_lump: Distance = Field(
        0.02, description="Groups farther apart than this are never one cluster. Distance."
    )
    gap_method: GapMethod = Field(
        "local",
        description="local: gap of each cluster to its nearest; global: all distances pooled.",
    )
    target_percentile: Annotated[Real, Field(ge=50, le=100)] = Field(
        95, description="Percentile of a group's distances that has to be small."
    )
    alpha: Annotated[Real, Field(ge=0)] = Field(
        0.0, description="Preference for few clusters: the local gap is divided by n^alpha."
    )
    initial_state_competes: Switch = Field(
        False, description="The state before the first guided merge may be the best one."
    )

    alone_is_wide: Switch = Field(
        False,
        description="In a local gap a group of one counts as wide as max_lump, for its width is "
        "not known; else as 0, which no other group can have.",
    )


class TwoPassParams(GapParams):
    """How clusters are divided and merged, scope by scope."""

    initial_state_competes: Switch = Field(
        True, description="The state before the first guided merge may be the best one."
    )
    alpha: Annotated[Real, Field(ge=0)] = Field(
        1.0, description="Preference for few clusters: the local gap is divided by n^alpha."
    )
    alone_is_wide: Switch = Field(
        True,
        description="In a local gap a group of one counts as wide as max_lump, for its width is "
        "not known; else as 0, which no other group can have.",
    )
    close_threshold: Distance | None = Field(
        None, description="Clusters nearer than this are refined together; max_lump by default."
    )
    context_threshold_multiplier: Annotated[Real, Field(ge=1)] = Field(
        2.0, description="Clusters up to this many times the close threshold are context."
    )
    max_scope_size: Annotated[Count, Field(ge=2)] = Field(
        300, description="Most items that are clustered together."
    )
    max_iterations: Annotated[Count, Field(ge=1)] = Field(
        10, description="Most iterations of the second pass."
    )
    k_neighbors: Annotated[Count, Field(ge=1)] = Field(
        20, description="Neighbours of a cluster that are always known, however far."
    )

    @property
    def close(self) -> float:
        """The close threshold of the second pass."""
        return self.max_lump if self.close_threshold is None else self.close_threshold
