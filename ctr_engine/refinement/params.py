"""Parameters of refinement, and of the whole chain that ends with it."""

from typing import Annotated, Literal

from pydantic import Field

from ctr_engine.clustering.pipeline import ClusteringParams
from ctr_engine.params import Count, Real, Switch
from ctr_engine.profiles import AnalysisParams
from ctr_engine.splitmerge.cells.params import CellParams, ConsensusParams


class RefinementParams(ClusteringParams):
    """Which clusters are refined, and how a cluster is divided."""

    score_threshold: Real = Field(
        1.0, description="Clusters with a smaller score are divided; higher is more eager."
    )
    min_cells: Annotated[Count, Field(ge=1)] = Field(
        500, description="Smaller clusters are not divided."
    )
    heterogeneity_gap: Annotated[Real, Field(ge=0)] = Field(
        0.3, description="Children closer than this divide a cluster; higher divides more often."
    )
    subtype_signal_threshold: Real = Field(
        0.5, description="A child with a higher score signals that its cells may be there."
    )
    mixed_parent_threshold: Real = Field(
        1.0, description="A parent with this score and no signalling child is divided."
    )
    weak_leaf_score: Real = Field(1.5, description="A leaf with a smaller score is weak.")
    weak_leaf_heterogeneity: Annotated[Real, Field(ge=0, le=0.25)] = Field(
        0.12, description="A weak leaf that is more heterogeneous than this is divided."
    )
    relabel_requires_pass: Switch = Field(
        False, description="Move a label only to a child that passes its gates."
    )
    resolution: Annotated[Real, Field(gt=0)] = Field(
        0.4, description="Resolution of Leiden within a cluster."
    )
    min_subcluster_cells: Annotated[Count, Field(ge=1)] = Field(
        20, description="A smaller part joins the nearest of its siblings."
    )
    max_iterations: Annotated[Count, Field(ge=1)] = Field(3, description="Most iterations.")
    score_plateau: Annotated[Real, Field(ge=0)] = Field(
        0.05, description="An iteration that moves the mean score by less is the last."
    )
    two_pass: CellParams = Field(
        CellParams(), description="How the policy two-pass divides and joins clusters."
    )


PolicyName = Literal["auto", "two-pass", "manual"]
RefinementPresetName = Literal["conservative", "aggressive"]
REFINEMENT_PROFILES: dict[str, RefinementParams] = {
    "reference": RefinementParams(),
    "adaptive": RefinementParams(min_cells=100, relabel_requires_pass=True),
}
"""Base by the profile of the annotation."""
REFINEMENT_PRESETS: dict[str, RefinementParams] = {
    "conservative": RefinementParams(
        score_threshold=1.5, min_cells=1000, heterogeneity_gap=0.4, max_iterations=2
    ),
    "aggressive": RefinementParams(
        score_threshold=0.7, min_cells=300, heterogeneity_gap=0.2, max_iterations=5
    ),
}
"""Combinations that a user asks for by name."""


def refinement_params(
    profile: str, preset: RefinementPresetName | None, given: RefinementParams
) -> RefinementParams:
    """Parameters of a refinement: those of the profile, then the preset, then what was given."""
    layers = [REFINEMENT_PROFILES[profile]]
    layers += [] if preset is None else [REFINEMENT_PRESETS[preset]]
    return RefinementParams().over(*layers, given)


class PipelineParams(AnalysisParams):
    """Everything that a laboratory can set: the annotation, and the refinement after it."""

    refinement_preset: RefinementPresetName | None = Field(
        None, description="Named set of refinement parameters, under your own."
    )
    refinement_policy: PolicyName = Field(
        "auto",
        description="Who refines in the graph, beside the manual plan: the criteria (auto), the "
        "two passes (two-pass), or nobody (manual).",
    )
    refinement: RefinementParams = Field(
        RefinementParams(), description="What differs from the profile's refinement."
    )
    consensus: ConsensusParams = Field(
        ConsensusParams(), description="How several clusterings become one."
    )

    @property
    def analysis(self) -> AnalysisParams:
        """Parameters of the annotation alone, as far as somebody set them."""
        names = self.model_fields_set & set(AnalysisParams.model_fields)
        return AnalysisParams.model_validate({name: getattr(self, name) for name in names})

    @property
    def chosen_refinement_preset(self) -> RefinementPresetName | None:
        """Preset of refinement; the conservative preset of the annotation brings its own."""
        if self.refinement_preset is None and self.preset == "conservative":
            return "conservative"
        return self.refinement_preset

    @property
    def effective_refinement(self) -> RefinementParams:
        """Refinement parameters over those of the preset and the profile."""
        return refinement_params(self.profile, self.chosen_refinement_preset, self.refinement)
