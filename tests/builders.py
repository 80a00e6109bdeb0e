"""Small makers of inputs, and comparisons of tables by key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from ctr_engine.analysis import AnalysisParams, Annotation, annotate
from ctr_engine.cluster_statistics import Statistics, StatisticsParams, cluster_statistics
from ctr_engine.expression import ExpressionView
from ctr_engine.gating.decider import Decider
from ctr_engine.gating.descend import (
    Walk,
    assignment,
    decision_steps,
    gating_details,
    walk_clusters,
)
from ctr_engine.gating.gate import GateResults
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.markers.panel import Panel, ResolvedMap, resolve_map
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.scoring import Evidence, marker_scores, score_matrices

ORACLE_KEYS = {
    "reference_values": ["marker"],
    "marker_scores": ["cluster_id", "path"],
    "decision_steps": ["cluster_id", "child_path"],
    "gating_details": ["cluster_id", "path", "gate"],
    "cluster_annotations": ["cluster_id"],
}
TOLERANCE = 1e-6
FRACTION_TOLERANCE = 1e-9


def marker_names(n: int) -> list[str]:
    """Names that stand in no built-in alias table."""
    return [f"Probe/{i:03d}" for i in range(n)]


def expression(
    rows: Any,
    markers: Sequence[str] | None = None,
    *,
    sparse: type | None = None,
    coordinates: Any = None,
) -> ExpressionView:
    """View on the given values, cells by markers, as they are."""
    values: Any = np.asarray(rows, dtype=np.float32)
    names = marker_names(values.shape[1]) if markers is None else markers
    cells = np.array([f"cell_{i}" for i in range(values.shape[0])])
    if sparse is not None:
        values = sp.csc_matrix(sparse(values))
    return ExpressionView(
        values,
        cells,
        Panel(tuple(names)),
        "X",
        pd.DataFrame(index=cells),
        coordinates=coordinates,
    )


def sample(rows: Any, markers: Sequence[str], **layers: Any) -> anndata.AnnData:
    """AnnData with ``rows`` in ``X``, cells by markers."""
    values = rows if sp.issparse(rows) else np.asarray(rows)
    obs = pd.DataFrame(index=[f"cell_{i}" for i in range(values.shape[0])])
    return anndata.AnnData(
        values, obs=obs, var=pd.DataFrame(index=list(markers)), layers=layers or None
    )


def clusters(letters: str) -> list[str]:
    """One cluster id for each letter."""
    return list(letters)


def statistics(rows: Any, letters: str, **options: Any) -> Statistics:
    """Statistics of a small expression with made-up marker names."""
    return cluster_statistics(expression(rows), clusters(letters), StatisticsParams(**options))


def marker_map(content: Mapping[str, Any]) -> MarkerMap:
    """Map from the content of its JSON file."""
    return parse_marker_map(json.dumps(content), "marker_map.json")


def resolved(content: Mapping[str, Any], markers: Sequence[str]) -> ResolvedMap:
    """Map on a panel."""
    return resolve_map(marker_map(content), Panel(tuple(markers)))


def annotated(
    view: ExpressionView,
    content: Mapping[str, Any],
    ids: Sequence[str],
    *,
    n_jobs: int = 1,
    **params: Any,
) -> Annotation:
    """Everything from given clusters to labels."""
    model = AnalysisParams.model_validate(params)
    return annotate(view, marker_map(content), model, clusters=ids, n_jobs=n_jobs)


def evidence_of(
    enrichment: Sequence[float],
    positive: Sequence[float],
    *,
    bonus: Sequence[float] | None = None,
    on: Sequence[bool] | None = None,
    panel: Sequence[str] = "ABCD",
) -> Evidence:
    """Evidence of one cluster of three cells, from values per marker of the panel."""
    n = len(panel)
    view = expression(np.arange(3 * n).reshape(3, n), list(panel))
    return Evidence(
        cluster_statistics(view, clusters("000"), StatisticsParams()),
        np.array([enrichment], dtype=float),
        np.array([positive], dtype=float),
        np.full((1, n), np.nan),
        np.array([[0.0] * n if bonus is None else bonus]),
        np.ones(n, dtype=np.int64),
        np.array([[False] * n if on is None else on]),
    )


@dataclass(frozen=True)
class Judged:
    """Gates and walk of one cluster."""

    resolved: ResolvedMap
    results: GateResults
    walk: Walk
    steps: pd.DataFrame
    details: pd.DataFrame
    warnings: tuple[str, ...]

    def step(self, path: str) -> dict[str, Any]:
        """Row of a cell type in ``decision_steps``."""
        return row(self.steps, child_path=path)

    def gate(self, path: str, gate: str) -> dict[str, Any]:
        """Row of a gate of a cell type in ``gating_details``."""
        return row(self.details, path=path, gate=gate)

    def assigned(self) -> dict[str, Any]:
        """What the walk ends at."""
        return {
            key: plain(v) for key, v in assignment(self.walk, self.resolved, self.results).items()
        }


def judged(
    content: Mapping[str, Any], found: Evidence, *, profile: str = "reference", **gating: Any
) -> Judged:
    """Walk one cluster whose evidence was set by hand."""
    params = AnalysisParams.model_validate({"profile": profile, "gating": gating})
    on_panel = resolved(content, found.statistics.markers)
    limits = params.gating_for(on_panel.marker_map)
    scores = marker_scores(found, on_panel, params.scoring_for(on_panel.marker_map))
    decider = Decider.of(found, score_matrices(scores, found, on_panel), on_panel, limits)
    results = decider.results
    walks = walk_clusters(results, decider.limits, on_panel, limits.max_ambiguity)
    return Judged(
        on_panel,
        results,
        walks[0],
        decision_steps(walks, found, scores, results, on_panel),
        gating_details(walks, found, results, on_panel),
        decider.rules.warnings,
    )


def column(table: pd.DataFrame, name: str, *keys: str) -> dict[Any, Any]:
    """Values of one column by one key, or by a tuple of several; null is None."""
    index = zip(*(table[key] for key in keys), strict=True) if len(keys) > 1 else table[keys[0]]
    return {key: plain(value) for key, value in zip(index, table[name], strict=True)}


def row(table: pd.DataFrame, **key: Any) -> dict[str, Any]:
    """The one row with these values; null is None."""
    mask = np.logical_and.reduce([table[name] == value for name, value in key.items()])
    found = table[mask]
    assert len(found) == 1, f"{len(found)} rows have {key}"
    return {name: plain(found[name].iloc[0]) for name in found.columns}


def plain(value: Any) -> Any:
    """Value with null as None and arrays as lists."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value is pd.NA or value != value else value  # noqa: PLR0124


def differences(
    name: str,
    expected: pd.DataFrame,
    found: pd.DataFrame,
    threshold_tolerance: Mapping[str, float],
) -> list[str]:
    """Compare the columns of an expected oracle table by key; one line for each difference.

    ``threshold_tolerance`` is, per marker, how far the threshold of ``reference_values`` may be
    off.
    """
    keys = ORACLE_KEYS[name]
    left, right = _by_key(expected, keys), _by_key(found, keys)
    lines = [f"{name}: row {key} is missing" for key in left.keys() - right.keys()]
    lines += [f"{name}: row {key} is too many" for key in right.keys() - left.keys()]
    for key in left.keys() & right.keys():
        for field in left[key]:
            if field in ("marker", "value") and _is_passed_root_rule(left[key]):
                continue
            want, got = (_read(field, side[key][field]) for side in (left, right))
            tolerance = FRACTION_TOLERANCE if field in ("agreement", "composition") else TOLERANCE
            if name == "reference_values" and field == "threshold":
                tolerance = max(tolerance, threshold_tolerance[str(key[0])])
            if not equal(want, got, tolerance):
                lines.append(f"{name} {key} {field}: expected {want!r}, found {got!r}")
    return sorted(lines)


def _by_key(table: pd.DataFrame, keys: list[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = [{k: plain(v) for k, v in row.items()} for row in table.to_dict("records")]
    return {tuple(row[key] for key in keys): row for row in rows}


def _read(field: str, value: Any) -> Any:
    return json.loads(value) if field == "composition" and value is not None else value


def _is_passed_root_rule(details: Mapping[str, Any]) -> bool:
    return "gate" in details and details["gate"].startswith("root_") and details["passed"]


def equal(want: Any, got: Any, tolerance: float) -> bool:
    """Whether two plain values are the same: numbers within the tolerance, the rest exactly."""
    if isinstance(want, dict) and isinstance(got, dict):
        return want.keys() == got.keys() and all(equal(want[k], got[k], tolerance) for k in want)
    if isinstance(want, float) and isinstance(got, float):
        return abs(want - got) <= tolerance
    return type(want) is type(got) and want == got


def oracle_folders(shared: Path) -> list[Path]:
    """Folders of ``shared/oracle`` that hold a case of Stage H."""
    return sorted(file.parent for file in (shared / "oracle").glob("*/expression.parquet"))
