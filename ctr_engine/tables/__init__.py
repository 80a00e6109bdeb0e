"""One declared schema for each table that leaves the engine; checked when written and when read."""

from ctr_engine.tables.base import (
    GATES,
    STOP_REASONS,
    arrow_schema,
    checked,
    col,
    column_names,
    frame,
    from_rows,
    names,
    natural_key,
)
from ctr_engine.tables.cohort import CohortSummary
from ctr_engine.tables.comparison import (
    COMPARISON_TABLES,
    CellChanges,
    ClusterChanges,
    LabelFlow,
    LabelOverlap,
    RunDifferences,
)
from ctr_engine.tables.evaluation import EVALUATION_TABLES, Accuracy, Confusion
from ctr_engine.tables.project import RejectedSamples
from ctr_engine.tables.refinement import (
    REFINEMENT_TABLES,
    CellHistory,
    DiagnosticReport,
    FinalAnnotations,
    RefinedClusters,
    RefinementLog,
    ReviewSheet,
)
from ctr_engine.tables.splitmerge import (
    SPLITMERGE_TABLES,
    BarcodeSequences,
    ClusterMapping,
    ConsensusClusters,
    ConsensusLabels,
    ConsensusSummary,
    GivenClusters,
    SequenceClusters,
    TwoPassHistory,
)
from ctr_engine.tables.stage_h import (
    STAGE_H_TABLES,
    Annotations,
    ClusterAnnotations,
    Clusters,
    ClusterStatistics,
    DecisionSteps,
    DELookup,
    GatingDetails,
    MarkerEvidence,
    MarkerScores,
    NearMissReport,
    Preflight,
    ReferenceValues,
)
from ctr_engine.tables.tuning import (
    TUNING_TABLES,
    TuningClusters,
    TuningLabels,
    TuningSettings,
    TuningShares,
)

__all__ = [
    "COMPARISON_TABLES", "EVALUATION_TABLES", "GATES", "REFINEMENT_TABLES",
    "SPLITMERGE_TABLES", "STAGE_H_TABLES", "STOP_REASONS", "TUNING_TABLES", "Accuracy",
    "Annotations", "BarcodeSequences", "CellChanges", "CellHistory", "ClusterAnnotations",
    "ClusterChanges", "ClusterMapping", "ClusterStatistics", "Clusters", "CohortSummary",
    "Confusion", "ConsensusClusters", "ConsensusLabels", "ConsensusSummary", "DELookup",
    "DecisionSteps", "DiagnosticReport", "FinalAnnotations", "GatingDetails", "GivenClusters",
    "LabelFlow", "LabelOverlap", "MarkerEvidence", "MarkerScores", "NearMissReport", "Preflight",
    "ReferenceValues", "RefinedClusters", "RefinementLog", "RejectedSamples", "ReviewSheet",
    "RunDifferences", "SequenceClusters", "TuningClusters", "TuningLabels", "TuningSettings",
    "TuningShares", "TwoPassHistory", "arrow_schema", "checked", "col", "column_names", "frame",
    "from_rows", "names", "natural_key",
]  # fmt: skip
