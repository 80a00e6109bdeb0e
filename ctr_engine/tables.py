"""One declared schema for each table that leaves the engine; checked when written and when read.

An ``object`` column holds a list of text in each row. ``unit`` is the unit of a number; a share or
a score without one is dimensionless.
"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar, get_type_hints

import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow

from ctr_engine.errors import TableError

Model = TypeVar("Model", bound=pa.DataFrameModel)
STOP_REASONS = (
    "leaf_reached",
    "no_root_passed",
    "no_child_passed",
    "ambiguous_root",
    "ambiguous_siblings",
)
GATES = (
    "root_hard_requirement",
    "root_veto",
    "low_coverage",
    "low_positive",
    "low_enrichment",
    "anti_conflict",
)


def col(description: str, *, unit: str = "", **checks: Any) -> Any:
    """Declare a column: what it says, its unit, and pandera's checks."""
    return pa.Field(description=description, metadata={"unit": unit}, **checks)


def names(description: str) -> Any:
    """Declare a column that holds a list of names in each row."""
    return col(description)


class _Table(pa.DataFrameModel):
    class Config:
        """Every column is declared, in order."""

        strict = True
        ordered = True


class Clusters(_Table):
    """The cluster of each cell."""

    cell_id: str = col("Name of the cell.", unique=True)
    cluster_id: str = col("Cluster, '0' the largest; '3:1' is the second child of '3'.")


class ReferenceValues(_Table):
    """Per marker: values of the whole partition, against which every cluster is scored."""

    marker: str = col("Column of the panel.", unique=True)
    statistic: str = col("Statistic of this marker.", isin=("mean", "median"))
    centre: float = col("That statistic over all cells.", unit="expression")
    mean: float = col("Mean over all cells.", unit="expression")
    std: float = col("Population standard deviation over all cells.", unit="expression", gt=0)
    threshold: float = col("A cell is positive at or above it.", unit="expression")
    strict: bool = col("Whether positive means above the threshold, not at it.")
    n_cells: int = col("Cells of the partition.", ge=1)
    tie_sum: float = col("Sum of t^3 - t over groups of t equal values.", ge=0)


class ClusterStatistics(_Table):
    """Per cluster and marker: what all scores are made from."""

    cluster_id: str = col("Cluster.")
    marker: str = col("Column of the panel.")
    n_cells: int = col("Cells of the cluster.", ge=1)
    mean: float = col("Mean over the cluster.", unit="expression")
    median: float = col("Median over the cluster.", unit="expression")
    enrichment: float = col("(cluster statistic - centre) / std.", unit="SD")
    positive_fraction: float = col("Share of the cluster's cells that are positive.", ge=0, le=1)
    rank_sum: float = col("Sum of the cells' average ranks among all cells.", ge=0)

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "marker"]  # noqa: RUF012


class DELookup(_Table):
    """Per cluster and marker: Wilcoxon rank-sum against the rest, and the rank in the top K."""

    cluster_id: str = col("Cluster.")
    marker: str = col("Column of the panel.")
    wilcoxon_score: float = col(
        "z of the rank-sum, tie-corrected, as float32 stores it; null where no test is possible.",
        unit="SD",
        nullable=True,
    )
    p_value: float = col("Two-sided p of the z.", nullable=True, ge=0, le=1)
    p_value_adjusted: float = col("Benjamini-Hochberg over the markers.", nullable=True, ge=0, le=1)
    mean_difference: float = col(
        "Mean of the cluster minus mean of the rest.", unit="expression", nullable=True
    )
    de_rank: float = col("Rank from 1 among the top K; null outside.", nullable=True, ge=1)
    k: int = col("Markers that count as DE hits in this cluster.", ge=0)
    k_target: int = col("ceil(panel size * de_top_frac), before the limits.", ge=0)
    n_pos: int = col("Markers with a score above 0.", ge=0)

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "marker"]  # noqa: RUF012


class MarkerScores(_Table):
    """Per cluster and cell type: the score and its parts."""

    cluster_id: str = col("Cluster.")
    label: str = col("Cell type.")
    path: str = col("Cell type from the root, such as 'Immune Cells / Lymphoids / T Cells'.")
    level: int = col("Depth; a root has 0.", ge=0)
    score: float = col(
        "Sum of the parts, less the penalty; null without a resolved marker.", nullable=True
    )
    coverage: float = col("Markers on the panel / markers of the cell type.", ge=0, le=1)
    mean_enrichment: float = col(
        "Mean enrichment of the resolved markers.", unit="SD", nullable=True
    )
    mean_positive_fraction: float = col("Mean positive fraction.", nullable=True, ge=0, le=1)
    frac_markers_on: float = col(
        "Share of the resolved markers that are on.", nullable=True, ge=0, le=1
    )
    de_component: float = col("Bonus for markers among the top K.", nullable=True, ge=0)
    anti_penalty: float = col("Cost of the anti-markers.", ge=0)
    resolved_markers: object = names("Columns that the score uses.")
    missing_markers: object = names("Markers that the panel lacks, as the map spells them.")
    n_cells: int = col("Cells of the cluster.", ge=1)
    n_markers_on: int = col("Resolved markers that are on.", ge=0)
    anti_enrichment: float = col(
        "Aggregated enrichment of the anti-markers.", unit="SD", nullable=True, ge=0
    )
    anti_positive: float = col(
        "Aggregated positive fraction of the anti-markers.", nullable=True, ge=0, le=1
    )

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "path"]  # noqa: RUF012


class MarkerEvidence(_Table):
    """Per cluster, cell type and marker: what the marker brought."""

    cluster_id: str = col("Cluster.")
    label: str = col("Cell type.")
    path: str = col("Cell type from the root.")
    marker: str = col("Marker as the map spells it.")
    column: str = col("Column of the panel.")
    role: str = col("Speaks for the cell type, or against it.", isin=("marker", "anti_marker"))
    enrichment: float = col("(cluster statistic - centre) / std.", unit="SD")
    statistic: str = col("Statistic of the marker.", isin=("mean", "median"))
    positive_fraction: float = col("Share of the cluster's cells that are positive.", ge=0, le=1)
    threshold: float = col("Expression from which a cell is positive.", unit="expression")
    de_rank: float = col("Rank from 1 among the top K; null outside.", nullable=True, ge=1)
    de_bonus: float = col(
        "Rank weight less commonness, before de_bonus; 0 for anti-markers.", ge=0, le=1
    )
    doc_freq: int = col("Cell types whose resolved markers hold this column.", ge=0)
    on: bool = col("Enrichment above 0 and enough positive cells.")
    in_score: float = col("What it adds to the score; the sum over the cell type is the score.")

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "path", "column"]  # noqa: RUF012


class DecisionSteps(_Table):
    """Per cluster and cell type tried: one row of a competition."""

    cluster_id: str = col("Cluster.")
    step_idx: int = col("Number of the competition; 0 is that of the roots.", ge=0)
    parent_label: str = col("Cell type whose children compete; null for the roots.", nullable=True)
    child_label: str = col("Cell type tried.")
    child_passed_gate: bool = col("Whether it may be chosen.")
    child_score: float = col("Its score; null without a resolved marker.", nullable=True)
    child_coverage: float = col("Its coverage.", ge=0, le=1)
    child_pos_frac: float = col("Its mean positive fraction.", nullable=True, ge=0, le=1)
    child_enrichment: float = col("Its mean enrichment.", unit="SD", nullable=True)
    child_anti_penalty: float = col("Its anti-marker penalty.", ge=0)
    selected: bool = col("Whether the walk went on to it.")
    margin_to_runner_up: float = col(
        "Lead of the best that passed; 1e6 when alone.", nullable=True, ge=0
    )
    fail_reason: str = col("First gate that failed.", nullable=True, isin=GATES)
    parent_path: str = col("Path of the parent; null for the roots.", nullable=True)
    child_path: str = col("Path of the cell type tried.")
    child_level: int = col("Its depth.", ge=0)
    fail_marker: str = col(
        "Marker of the root rule that failed, as the rule spells it.", nullable=True
    )
    fail_value: float = col("Value that failed; null when the marker is absent.", nullable=True)
    fail_threshold: float = col("Threshold that it failed.", nullable=True)
    passed_through: str = col("Passing child that let it pass (gate inheritance).", nullable=True)

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "child_path"]  # noqa: RUF012


class GatingDetails(_Table):
    """Per cluster, cell type visited and gate: value, threshold, verdict."""

    cluster_id: str = col("Cluster.")
    path: str = col("Cell type from the root.")
    label: str = col("Cell type.")
    level: int = col("Depth; a root has 0.", ge=0)
    gate: str = col("The gate, by the reason that it gives.", isin=GATES)
    value: float = col("What was measured; null when there is nothing to measure.", nullable=True)
    threshold: float = col("What it was held against.")
    passed: bool = col("Verdict of this gate alone.")
    marker: str = col("Marker of a root rule, as the rule spells it.", nullable=True)
    alternative_value: float = col("frac_markers_on, which passes as well.", nullable=True)
    alternative_threshold: float = col("Its threshold.", nullable=True)

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "path", "gate"]  # noqa: RUF012


class ClusterAnnotations(_Table):
    """Per cluster: its label and why the walk stopped there."""

    cluster_id: str = col("Cluster.", unique=True)
    assigned_label: str = col("Cell type, 'A~B' for ambiguous roots, or 'Unassigned'.")
    assigned_path: str = col("Cell type from the root; empty when unassigned.")
    assigned_level: int = col("Depth; -1 when unassigned.", ge=-1)
    assigned_score: float = col("Score of the cell type; null when unassigned.", nullable=True)
    root_label: str = col("Root of the path, 'A~B', or 'Unassigned'.")
    confidence: float = col("Smallest margin on the path; 1e6 without competition.", ge=0)
    stop_reason: str = col("Why the walk ended.", isin=STOP_REASONS)
    n_cells: int = col("Cells of the cluster.", ge=1)
    coverage: float = col(
        "Coverage of the cell type; null when unassigned.", nullable=True, ge=0, le=1
    )
    resolved_markers: object = names("Columns that its score uses.")
    is_ambiguous_root: bool = col("Whether two roots were too close.")
    composition: str = col("JSON object: shares of the votes among tied siblings.", nullable=True)
    margin_is_infinite: bool = col("Whether no competition was met.")
    agreement: float = col(
        "Least share of cells that prefer the chosen cell type, over the path.", ge=0, le=1
    )
    robustness: float = col(
        "Share of settings within 20 % of the thresholds that keep the label.", ge=0, le=1
    )


class NearMissReport(_Table):
    """Per cluster and other label: the smallest change of one threshold that would give it."""

    cluster_id: str = col("Cluster.")
    assigned_label: str = col("Its label.")
    assigned_path: str = col("Path of the label; empty when unassigned.")
    stop_reason: str = col("Why the walk ended.", isin=STOP_REASONS)
    n_cells: int = col("Cells of the cluster.", ge=1)
    threshold: str = col("The threshold, such as 'min_coverage.0'.")
    current_value: float = col("What it is set to.")
    needed_value: float = col("What would give the other label.")
    change: float = col("Difference of the two; below 0 when it has to be lowered.")
    other_label: str = col("The label that it would give.")
    other_path: str = col("Path of that label; empty when unassigned.")
    other_stop_reason: str = col("Why the walk would end there.", isin=STOP_REASONS)

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "other_path"]  # noqa: RUF012


class Annotations(_Table):
    """Per cell: its label."""

    cell_id: str = col("Name of the cell.", unique=True)
    cluster_lvl0: str = col("Its cluster.")
    cell_type_auto: str = col("Label of the cluster.")
    cell_type_auto_root: str = col("Root of that label.")
    cell_type_auto_conf: float = col("Smallest margin on the path of the cluster.", ge=0)
    cell_type_auto_path: str = col("Path of the label; empty when unassigned.")


class Preflight(_Table):
    """Per cell type of the map: what the panel offers, before anything is computed."""

    path: str = col("Cell type from the root.", unique=True)
    level: int = col("Depth; a root has 0.", ge=0)
    n_markers: int = col("Markers of the cell type.", ge=1)
    coverage: float = col("Share of them on the panel.", ge=0, le=1)
    min_coverage: float = col("Share that the gate asks for.", ge=0, le=1)
    reachable: bool = col("Whether the gates as set can let any cluster come here.")
    obstacle: str = col("Why not, in words.", nullable=True)
    resolved: object = names("'marker = column' for what was found.")
    missing: object = names("Markers that the panel lacks.")
    technical: object = names("Markers that are technical columns.")
    dropped: object = names("Markers whose column has no variation.")
    suggestions: object = names("'marker: nearest panel names'.")
    anti_missing: object = names("Anti-markers that the panel cannot show.")


class TuningSettings(_Table):
    """Per setting of the grid: what it does; one more column per parameter of the grid follows."""

    setting: int = col("Number of the setting, 0 first.", ge=0, unique=True)
    n_clusters_changed: int = col("Clusters with another label than in the run.", ge=0)
    n_cells_changed: int = col("Cells with another label than in the run.", ge=0)
    n_cells_unassigned: int = col("Cells that are Unassigned.", ge=0)
    n_cells_ambiguous: int = col("Cells whose walk ends between two candidates.", ge=0)
    n_labels: int = col("Different labels, Unassigned not counted.", ge=0)


class TuningClusters(_Table):
    """Per cluster: how firmly its label stands over the grid."""

    cluster_id: str = col("Cluster.", unique=True)
    n_cells: int = col("Cells of the cluster.", ge=1)
    assigned_label: str = col("Label of the run.")
    assigned_path: str = col("Path of that label; empty when unassigned.")
    share_kept: float = col("Share of the settings that keep the label.", ge=0, le=1)
    n_labels: int = col("Different labels over the grid.", ge=1)
    other_label: str = col("Most frequent other label; null when none.", nullable=True)
    other_path: str = col("Path of that label; empty when unassigned or none.")
    other_share: float = col("Share of the settings that give it.", ge=0, le=1)
    robustness: float = col(
        "Share of settings within 20 % of the thresholds that keep the label.", ge=0, le=1
    )


class TuningLabels(_Table):
    """Per label: how many cells carry it over the grid."""

    label: str = col("Cell type, 'A~B' or 'Unassigned'.")
    path: str = col("Cell type from the root; empty for Unassigned.", unique=True)
    n_cells: int = col("Cells with it in the run.", ge=0)
    least_cells: int = col("Fewest cells with it under any setting.", ge=0)
    median_cells: float = col("Median over the settings.", ge=0)
    most_cells: int = col("Most cells with it under any setting.", ge=0)
    share_stable: float = col(
        "Share of the settings in which the same clusters carry it.", ge=0, le=1
    )


class TuningShares(_Table):
    """Per cluster and value of a parameter: how often the label stays there."""

    cluster_id: str = col("Cluster.")
    parameter: str = col("Parameter of the grid.")
    value: str = col("Value of the parameter.")
    share: float = col("Share of the settings with this value that keep the label.", ge=0, le=1)

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["cluster_id", "parameter", "value"]  # noqa: RUF012


TUNING_TABLES: dict[str, type[pa.DataFrameModel]] = {
    "tune_settings": TuningSettings,
    "tune_clusters": TuningClusters,
    "tune_labels": TuningLabels,
    "tune_shares": TuningShares,
}


class LabelFlow(_Table):
    """Per pair of labels: cells that had the one in run A and have the other in run B."""

    label_a: str = col("Label in run A.")
    path_a: str = col("Path of it; empty when unassigned.")
    label_b: str = col("Label in run B.")
    path_b: str = col("Path of it; empty when unassigned.")
    n_cells: int = col("Cells.", ge=1)
    share_of_a: float = col("Share of the cells with that label in run A.", ge=0, le=1)
    changed: bool = col("Whether the two labels differ.")

    class Config(_Table.Config):
        """Key of the table."""

        unique = ["path_a", "path_b"]  # noqa: RUF012


class LabelOverlap(_Table):
    """Per label: how far the two runs give it to the same cells."""

    label: str = col("Cell type, 'A~B' or 'Unassigned'.")
    path: str = col("Cell type from the root; empty for Unassigned.", unique=True)
    n_cells_a: int = col("Cells with it in run A.", ge=0)
    n_cells_b: int = col("Cells with it in run B.", ge=0)
    n_cells_both: int = col("Cells with it in both.", ge=0)
    jaccard: float = col("Cells in both / cells in either.", ge=0, le=1)


class ClusterChanges(_Table):
    """Per cluster of run B: its label in both runs, and where and why they part."""

    cluster_b: str = col("Cluster of run B.", unique=True)
    cluster_a: str = col("Cluster of run A with most of its cells.", nullable=True)
    n_cells: int = col("Cells of the cluster of run B.", ge=1)
    share_shared: float = col("Share of them that lie in the cluster of run A.", ge=0, le=1)
    label_a: str = col("Label in run A; null where no cell of it is in run A.", nullable=True)
    path_a: str = col("Path of it; empty when unassigned or null.")
    label_b: str = col("Label in run B.")
    path_b: str = col("Path of it; empty when unassigned.")
    changed: bool = col("Whether the labels differ.")
    step_idx: float = col("First competition with another end; null when none.", nullable=True)
    parent_path: str = col("Cell type below which that is; null for the roots.", nullable=True)
    step: str = col("What is different in it, in words.", nullable=True)
    causes: object = names("Edits behind it: each alone, or all together, give the label of run B.")
    causes_are: str = col(
        "How the causes act.", nullable=True, isin=("each alone", "together", "clusters", "unknown")
    )


class CellChanges(_Table):
    """Per cell with another label: its clusters and labels in both runs."""

    cell_id: str = col("Name of the cell.", unique=True)
    cluster_a: str = col("Cluster in run A.")
    cluster_b: str = col("Cluster in run B.")
    path_a: str = col("Path of its label in run A; empty when unassigned.")
    path_b: str = col("Path of its label in run B; empty when unassigned.")


class RunDifferences(_Table):
    """Per thing that was set or edited differently: both values, and what it does alone."""

    name: str = col(
        "What differs, such as 'min_coverage.0' or 'markers of Epithelium'.", unique=True
    )
    kind: str = col(
        "Where it belongs.",
        isin=("sample", "clusters", "values", "scoring", "gating", "marker map"),
    )
    value_a: str = col("Value in run A.", nullable=True)
    value_b: str = col("Value in run B.", nullable=True)
    set_in_b: str = col("What gave run B its value; null where that is plain.", nullable=True)
    n_clusters_alone: float = col(
        "Changed clusters that it explains alone; null where that cannot be told.",
        nullable=True,
        ge=0,
    )
    n_cells_alone: float = col("Cells of these clusters.", nullable=True, ge=0)


class DiagnosticReport(_Table):
    """Per cluster: what refinement would do, by which criterion, or why not."""

    cluster_id: str = col("Cluster.", unique=True)
    current_label: str = col("Its label.")
    recommendation: str = col("What to do.", isin=("SUBCLUSTER", "RELABEL", "SKIP"))
    criterion: str = col(
        "First criterion that holds; null when none does.",
        nullable=True,
        isin=(
            "low_confidence",
            "ambiguous_root",
            "heterogeneous_parent",
            "homogeneous_parent",
            "mixed_population",
            "weak_leaf",
        ),
    )
    reason: str = col(
        "Why nothing is done although a criterion holds.",
        nullable=True,
        isin=("out_of_focus", "manual", "too_small", "converged", "child_fails_gates"),
    )
    target_label: str = col("Cell type that RELABEL gives.", nullable=True)
    best_child: str = col("Best child that no coverage or anti-marker refuses.", nullable=True)
    child_score: float = col("Its score.", nullable=True)
    second_child: str = col("Second such child.", nullable=True)
    second_child_score: float = col("Its score.", nullable=True)
    heterogeneity: float = col(
        "Mean of p (1 - p) over the markers of a leaf.", nullable=True, ge=0, le=0.25
    )
    n_cells: int = col("Cells of the cluster.", ge=1)
    priority: float = col("n_cells * (score_threshold - score); null for SKIP.", nullable=True)
    target_path: str = col("Path of the target.", nullable=True)


COMPARISON_TABLES: dict[str, type[pa.DataFrameModel]] = {
    "label_flow": LabelFlow,
    "label_overlap": LabelOverlap,
    "cluster_changes": ClusterChanges,
    "cell_changes": CellChanges,
    "differences": RunDifferences,
}
STAGE_H_TABLES: dict[str, type[pa.DataFrameModel]] = {
    "reference_values": ReferenceValues,
    "cluster_statistics": ClusterStatistics,
    "de_lookup": DELookup,
    "marker_scores": MarkerScores,
    "marker_evidence": MarkerEvidence,
    "decision_steps": DecisionSteps,
    "gating_details": GatingDetails,
    "cluster_annotations": ClusterAnnotations,
    "near_miss_report": NearMissReport,
    "annotations": Annotations,
}


def frame(model: type[Model], columns: dict[str, Any]) -> pd.DataFrame:
    """Build a table from its columns, in the declared order, and check it."""
    table = pd.DataFrame({name: columns[name] for name in column_names(model)})
    if table.empty:  # nothing to tell the types from
        table = table.astype({field.name: _dtype(field) for field in arrow_schema(model)})
    return checked(model, table)


def from_rows(model: type[Model], rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Build a table from row dictionaries, with the declared types even when there is no row."""
    known = list(rows)
    schema = arrow_schema(model)
    data = {field.name: [row[field.name] for row in known] for field in schema}
    columns = {
        name: pd.Series(values, dtype=_dtype(schema.field(name))) for name, values in data.items()
    }
    return frame(model, columns)


def checked(model: type[Model], table: pd.DataFrame) -> pd.DataFrame:
    """Check a table against its schema.

    Raises
    ------
    TableError
        With each column and check that fails, and the first offending values.
    """
    try:
        model.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise TableError(_failures(model, error.failure_cases)) from None
    return table


def column_names(model: type[Model]) -> list[str]:
    """Declared columns, in order."""
    return list(model.to_schema().columns)


def arrow_schema(model: type[Model]) -> arrow.Schema:
    """Give the types on disk, with the description and unit of each column as field metadata."""
    fields = []
    python_types = get_type_hints(model)
    for name, declared in model.to_schema().columns.items():
        text = {"description": str(declared.description), "unit": declared.metadata["unit"]}
        kind = _ARROW[python_types[name]]
        fields.append(arrow.field(name, kind, nullable=declared.nullable, metadata=text))
    return arrow.schema(fields)


_ARROW = {
    object: arrow.list_(arrow.string()),
    str: arrow.string(),
    float: arrow.float64(),
    int: arrow.int64(),
    bool: arrow.bool_(),
}


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``2`` before ``10`` and ``3:1`` after ``3``."""
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p)


def _dtype(field: arrow.Field) -> Any:
    if arrow.types.is_list(field.type):
        return object
    return {"string": str, "double": "float64", "int64": "int64", "bool": "bool"}[str(field.type)]


def _failures(model: type[Model], cases: pd.DataFrame) -> str:
    lines = [f"The table {model.__name__} does not have its declared schema:"]
    for (name, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        shown = ", ".join(repr(case)[:60] for case in group["failure_case"].head(3))
        if check in _WHOLE_TABLE:
            lines.append(f"  {_WHOLE_TABLE[check]}: {shown}")
        else:
            lines.append(f"  column {name}, {check}: {len(group)} rows, such as {shown}")
    return "\n".join(lines)


_WHOLE_TABLE = {
    "column_in_dataframe": "columns that are missing",
    "column_in_schema": "columns that are not declared",
    "column_ordered": "columns that are not in their declared place",
}
