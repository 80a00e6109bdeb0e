"""Parameters of a run: a profile, then the marker map, then a preset and what the user sets."""

from typing import Annotated, Literal

from pydantic import Field

from ctr_engine.clustering.pipeline import ClusteringParams
from ctr_engine.expression import ExpressionParams
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.params import Count, Fraction, Params, Real, Switch, layered
from ctr_engine.scoring import ScoringParams

ProfileName = Literal["reference", "adaptive"]
PresetName = Literal["sparse", "deep", "tumor", "conservative"]


class Profile(Params):
    """Base values of scoring and gating; only what it sets differs from the defaults."""

    scoring: ScoringParams = Field(
        ScoringParams(), description="Scoring parameters of the profile."
    )
    gating: GatingParams = Field(GatingParams(), description="Gating parameters of the profile.")


PROFILES: dict[str, Profile] = {
    "reference": Profile(),
    "adaptive": Profile(
        scoring=ScoringParams(positive_threshold="otsu", parent_markers="alternatives"),
        gating=GatingParams(
            gate_inheritance=True,
            root_gap_threshold=0.125,
            min_gap={1: 0.15, 2: 0.1, 3: 0.1},
            per_cell_learning=True,
        ),
    ),
}


PRESETS: dict[str, Profile] = {
    "sparse": Profile(
        scoring=ScoringParams(positive_quantile=0.5),
        gating=GatingParams(min_coverage={0: 0.3, 1: 0.2}, min_pos_frac={0: 0.15, 1: 0.1}),
    ),
    "deep": Profile(
        scoring=ScoringParams(positive_quantile=0.8, de_bonus=0.7),
        gating=GatingParams(min_coverage={0: 0.55, 1: 0.45}, min_gap={0: 0.45, 1: 0.35}),
    ),
    "tumor": Profile(
        scoring=ScoringParams(anti_weight=0.8),
        gating=GatingParams(min_coverage={0: 0.35}, min_pos_frac={0: 0.2}),
    ),
    "conservative": Profile(
        scoring=ScoringParams(anti_weight=0.9, anti_agg="max"),
        gating=GatingParams(min_coverage={0: 0.55}, min_gap={0: 0.5}),
    ),
}
"""Combinations that a user asks for by name; they count as if each parameter had been given."""
NO_PRESET = Profile()


class ReportParams(Params):
    """What is shown beside the labels; nothing here moves a label."""

    near_miss_margin: Annotated[Real, Field(ge=0)] = Field(
        0.1, description="A label that a smaller change of one threshold gives is a near miss."
    )
    mixed_share: Annotated[Real, Field(gt=0, le=1)] = Field(
        0.2, description="Least share of double positive cells for mixed_lineage. Above 0, up to 1."
    )
    mixed_neighbors: Annotated[Count, Field(ge=1)] = Field(
        6, description="Nearest cells that may explain a second lineage; 6 are about one ring."
    )
    review_support: Fraction = Field(
        0.3, description="Clusters with a smaller support are listed for review. 0 to 1."
    )
    review_robustness: Fraction = Field(
        0.8, description="Clusters with a smaller robustness are listed for review. 0 to 1."
    )
    review_agreement: Fraction = Field(
        0.5, description="Clusters with a smaller agreement are listed for review. 0 to 1."
    )
    compute_umap: Switch = Field(False, description="Compute a UMAP for the figures (slow).")
    figures: Switch = Field(True, description="Draw the figures (ctr annotate).")
    audit_cards: Switch = Field(False, description="Write audit_cards.html (ctr annotate).")
    review_checklist: Switch = Field(
        False, description="Write review_checklist.html (ctr annotate)."
    )
    expand_markers: Switch = Field(
        False, description="Show all markers of each cluster's label (ctr annotate, cards)."
    )


class AnalysisParams(Params):
    """Everything that a run of Stage H can be told."""

    profile: ProfileName = Field("reference", description="Base of scoring and gating.")
    preset: PresetName | None = Field(
        None, description="Named set of scoring and gating, over the marker map, under your own."
    )
    expression: ExpressionParams = Field(ExpressionParams(), description="Which values are used.")
    clustering: ClusteringParams = Field(ClusteringParams(), description="How cells are clustered.")
    scoring: ScoringParams = Field(
        ScoringParams(), description="What differs from the profile's scoring."
    )
    gating: GatingParams = Field(
        GatingParams(), description="What differs from the profile and the marker map."
    )
    report: ReportParams = Field(ReportParams(), description="What is shown beside the labels.")

    @property
    def given(self) -> Profile:
        """Scoring and gating that somebody asked for: the preset, and the single values over it."""
        preset = NO_PRESET if self.preset is None else PRESETS[self.preset]
        return layered(preset, Profile(scoring=self.scoring, gating=self.gating))

    @property
    def effective_scoring(self) -> ScoringParams:
        """Scoring parameters over the profile's; a marker map may still give ``anti_agg``."""
        return ScoringParams().over(PROFILES[self.profile].scoring, self.given.scoring)

    def scoring_for(self, marker_map: MarkerMap) -> ScoringParams:
        """Scoring parameters for a map, whose ``anti_agg`` counts when scoring sets none."""
        scoring, gating = self.effective_scoring, self.gating_for(marker_map)
        if "anti_agg" in self.given.scoring.model_fields_set or gating.anti_agg is None:
            return scoring
        return scoring.over(ScoringParams(anti_agg=gating.anti_agg))

    def gating_for(self, marker_map: MarkerMap) -> GatingParams:
        """Gating parameters for a map: profile, then the map, then what was asked for."""
        return GatingParams().merged_with(
            PROFILES[self.profile].gating, marker_map.gating, self.given.gating
        )
