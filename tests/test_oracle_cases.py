"""The engine against expected results: those of the shared cases, and those of the slow oracle."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ctr_engine.analysis import (
    AnalysisParams,
    annotate,
    clusters_table,
    decide,
    existing_clusters,
    score,
)
from ctr_engine.cluster_statistics import Statistics, cluster_statistics
from ctr_engine.clustering.pca import pca
from ctr_engine.de import de_lookup, wilcoxon_scores
from ctr_engine.expression import ExpressionView, read_expression
from ctr_engine.keys import CLUSTER
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.hierarchy import GatingOverrides, MarkerMap
from ctr_engine.markers.panel import resolve_map
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.profiles import PROFILES
from ctr_engine.scoring import ScoringParams
from ctr_engine.tables import GATES, STOP_REASONS
from tests.builders import ORACLE_KEYS, annotated, differences, expression, oracle_folders
from tests.oracles.run import run_case

# ---------------------------------------------------------------------- the shared cases

Z_TOLERANCE = 1e-4
NO_FOLDER = "CTR_SHARED is not set"


@dataclass(frozen=True)
class SharedCase:
    """One folder of ``shared/oracle``."""

    folder: Path
    view: ExpressionView
    clusters: list[str]
    marker_map: MarkerMap
    params: AnalysisParams
    statistics: Statistics

    def given_scores(self) -> np.ndarray:
        """Wilcoxon z of ``de.parquet``, clusters in natural order by markers in panel order."""
        table = pd.read_parquet(self.folder / "de.parquet")
        wide = table.pivot_table(index="cluster", columns="marker", values="score")
        full = wide.reindex(
            index=list(self.statistics.cluster_ids), columns=list(self.statistics.markers)
        )
        return full.to_numpy(dtype=np.float32)


def _threshold_tolerance(view: ExpressionView, scoring: ScoringParams) -> dict[str, float]:
    """One part in 128 of the range between the 0.1 and 99.9 % quantiles, where Otsu cuts."""
    tolerance = {}
    for position, marker in enumerate(view.panel.markers):
        low, high = np.quantile(view.column(position).astype(float), [0.001, 0.999])
        tolerance[marker] = (high - low) / 128 if scoring.positive_threshold == "otsu" else 0.0
    return tolerance


def _folder_ids() -> list[str]:
    if "CTR_SHARED" not in os.environ:
        return [NO_FOLDER]
    found = [folder.name for folder in oracle_folders(Path(os.environ["CTR_SHARED"]))]
    return found or ["no case was found"]


@cache
def _read_case(folder: Path) -> SharedCase:
    table = pd.read_parquet(folder / "expression.parquet")
    ids = table.pop("cluster").astype(str)
    cells = [f"cell_{i}" for i in range(len(table))]
    adata = anndata.AnnData(
        table.to_numpy(dtype=np.float32),
        obs=pd.DataFrame({CLUSTER: ids.to_numpy()}, index=cells),
        var=pd.DataFrame(index=list(table.columns)),
    )
    raw = json.loads((folder / "params.json").read_text())
    params = AnalysisParams.model_validate({k: raw[k] for k in ("profile", "scoring", "gating")})
    view = read_expression(adata, params.expression)
    clusters = existing_clusters(adata, CLUSTER)
    text = (folder / "marker_map.json").read_text()
    statistics = cluster_statistics(view, clusters, params.effective_scoring)
    marker_map = parse_marker_map(text, "marker_map.json")
    return SharedCase(folder, view, clusters, marker_map, params, statistics)


@pytest.fixture
def case(shared: Path, request: pytest.FixtureRequest) -> SharedCase:
    return _read_case(shared / "oracle" / request.param)


def _assert_expected(case: SharedCase, tables: Mapping[str, pd.DataFrame]) -> None:
    tolerance = _threshold_tolerance(case.view, case.params.effective_scoring)
    lines: list[str] = []
    for name in ORACLE_KEYS:
        expected = pd.read_parquet(case.folder / "expected" / f"{name}.parquet")
        lines += differences(name, expected, tables[name], tolerance)
    assert not lines, f"{case.folder.name}: {len(lines)} differences\n" + "\n".join(lines[:20])


@pytest.mark.smoke
@pytest.mark.parametrize("case", _folder_ids(), indirect=True)
def test_shared_case_gives_the_expected_tables_when_differential_expression_is_recomputed(
    case: SharedCase,
):
    result = annotate(case.view, case.marker_map, case.params, clusters=case.clusters)
    _assert_expected(case, result.tables)


@pytest.mark.smoke
@pytest.mark.parametrize("case", _folder_ids(), indirect=True)
def test_shared_case_gives_the_expected_tables_when_differential_expression_is_given(
    case: SharedCase,
):
    scoring = case.params.effective_scoring
    lookup = de_lookup(case.statistics, scoring, scores=case.given_scores())
    resolved = resolve_map(case.marker_map, case.view.panel)
    scores = score(case.statistics, lookup, resolved, case.params)
    decisions = decide(
        case.view,
        clusters_table(case.view.cell_ids.tolist(), case.clusters),
        case.statistics,
        lookup,
        scores.marker_scores,
        resolved,
        case.params,
    )
    tables = {
        "reference_values": case.statistics.reference,
        "marker_scores": scores.marker_scores,
        "decision_steps": decisions.decision_steps,
        "gating_details": decisions.gating_details,
        "cluster_annotations": decisions.cluster_annotations,
    }
    _assert_expected(case, tables)


@pytest.mark.smoke
@pytest.mark.parametrize("case", _folder_ids(), indirect=True)
def test_recomputed_wilcoxon_scores_of_a_shared_case_are_those_given(case: SharedCase):
    given, found = case.given_scores(), wilcoxon_scores(case.statistics)
    assert np.array_equal(np.isnan(given), np.isnan(found)), "other clusters were tested"
    assert np.nanmax(np.abs(given - found), initial=0) <= Z_TOLERANCE


@pytest.mark.smoke
def test_all_sixteen_shared_cases_are_there(shared: Path):
    names = [folder.name for folder in oracle_folders(shared)]
    assert len(names) >= 16, f"shared/oracle holds {names}"


# ---------------------------------------------------------------------- random cases

SEEDS = range(120)
OPTIONS: dict[str, list[Any]] = {
    "enrichment_statistic": ["median", "mean"],
    "positive_reference": ["all", "nonzero"],
    "positive_quantile": [0.5, 0.9],
    "positive_threshold": ["otsu"],
    "on_min_positive_fraction": [0.4],
    "de_bonus": [0.0, 1.3],
    "de_commonness_alpha": [0.0, 2.0],
    "de_top_frac": [0.07, 1.0],
    "de_min_k": [0, 5],
    "de_max_k": [5, 20],
    "anti_weight": [0.0, 0.31],
    "anti_agg": ["max", "mean"],
    "parent_markers": ["alternatives"],
}
GATING: dict[str, list[Any]] = {
    "anti_penalty_hard_gate": [0.4123, 5.0],
    "per_cell_gap_threshold": [0.0, 1.1],
    "root_gap_threshold": [0.0123, 0.0123, 1.5123],
    "anti_agg": ["max", "mean"],
    "anti_off_max_positive_fraction": [0.0512],
    "max_ambiguity": [2],
    "gate_inheritance": [True],
}
OF_CELLS: dict[str, list[Any]] = {
    "per_cell_learning": [True, True, False],
    "per_cell_sure_gap": [0.0, 1.0123],
}
LOOSE = {
    "min_coverage": 0.21,
    "min_pos_frac": 0.0312,
    "min_enrichment": -1.0123,
    "min_frac_markers_on": 0.05,
}
WIDE = {"min_gap": 1.3123}


class Generator:
    """Makes one small case after another from a seed, with every feature in a good share."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        late = np.random.default_rng([seed, 1])  # leaves every other draw as it is
        self.of_cells = {
            name: values[int(late.integers(len(values)))]
            for name, values in OF_CELLS.items()
            if late.random() < 0.2
        }

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, values: Any, n: int) -> list[Any]:
        chosen = self.rng.choice(len(values), size=min(n, len(values)), replace=False)
        return [values[i] for i in chosen]

    def one(self, values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def case(self) -> dict[str, Any]:
        self.markers = [f"Probe/{i:03d}" for i in range(int(self.rng.integers(5, 10)))]
        self.twins = self.chance(0.25)
        ids = self.pick(["0", "1", "2", "10", "3", "3:1"], int(self.rng.integers(1, 6)))
        n_cells = int(self.rng.integers(18, 45))
        clusters = [self.one(ids) for _ in range(n_cells)]
        if self.chance(0.3):
            clusters[int(self.rng.integers(n_cells))] = "7"
        marker_map = self.marker_map()
        roots = [key for key in marker_map if not key.startswith("_")]
        if self.chance(0.7):
            marker_map["_gating_params"] = self.gating(roots)
        return {
            "expression": self.values(clusters).tolist(),
            "markers": self.markers,
            "clusters": clusters,
            "marker_map": marker_map,
            "scoring": {k: self.one(v) for k, v in OPTIONS.items() if self.chance(0.2)},
            "gating": (self.gating(roots) if self.chance(0.6) else {}) | self.of_cells,
            "profile": self.one(["reference", "reference", "adaptive"]),
        }

    def values(self, clusters: list[str]) -> np.ndarray:
        """Float32 columns: dense, rounded to a grid of ties, or with many zeros."""
        columns = []
        for _ in self.markers:
            high = dict.fromkeys(clusters, 0.0)
            high = {name: float(self.one([0, 0, 1, 2])) for name in high}
            column = self.rng.normal(1, 0.5, len(clusters)) + [high[c] for c in clusters]
            kind = self.one(["dense", "dense", "grid", "zeros", "zeros"])
            if kind == "grid":
                column = np.round(column)
            elif kind == "zeros":
                on = [0.15 + 0.4 * high[c] for c in clusters]
                column = np.where(self.rng.random(len(clusters)) < on, np.abs(column), 0)
            column[:2] = [0, 1.5]  # never constant
            columns.append(column)
        return np.column_stack(columns).astype(np.float32)

    # -- the map

    def marker_map(self) -> dict[str, Any]:
        self.aliases = {f"Alias-{i}": [name] for i, name in enumerate(self.markers[:2])}
        self.aliases[self.markers[2]] = ["other name"]
        labels = ["Root B", "Root A", "Root C", "Root D"][: int(self.rng.integers(1, 5))]
        content: dict[str, Any] = {"_aliases": self.aliases}
        content |= self.siblings(labels, depth=self.one([1, 2, 3, 5]))
        return content

    def siblings(self, labels: list[str], depth: int) -> dict[str, Any]:
        nodes: dict[str, Any] = {}
        for label in labels:
            nodes[label] = self.node(depth)
            earlier = list(nodes)[:-1]
            if earlier and self.twins and self.chance(0.5):
                nodes[label]["markers"] = nodes[earlier[0]]["markers"][::-1]
                for key in ("anti_markers", "Anti_markers"):
                    nodes[label].pop(key, None)
                    nodes[earlier[0]].pop(key, None)
        return nodes

    def node(self, depth: int) -> dict[str, Any]:
        n_markers = int(self.rng.integers(1, 5))
        columns = self.pick(self.markers, n_markers + int(self.rng.integers(0, 4)))
        node: dict[str, Any] = {"markers": [self.spell(c) for c in columns[:n_markers]]}
        anti = [self.spell(c) for c in columns[n_markers:]]
        if self.chance(0.25):
            node["markers"].insert(0, f"Absent {self.rng.integers(10)}")
        if self.chance(0.05):
            node["markers"] = ["Absent 10", "Absent 11"]
        if anti and self.chance(0.7):
            node[self.one(["anti_markers", "Anti_markers"])] = anti
        if self.chance(0.2):
            node["gating_overrides"] = self.overrides()
        if depth > 1 and self.chance(0.9):
            labels = ["Type D", "Type A", "Type C", "Type B"][: int(self.rng.integers(1, 5))]
            node[self.one(["subtypes", "children"])] = self.siblings(labels, depth - 1)
        return node

    def spell(self, column: str) -> str:
        other = {name: key for key, names in self.aliases.items() for name in names}
        spelt = [column, column, column.lower(), column.replace("/", " - "), column.upper()]
        return self.one(spelt + ([other[column]] if column in other else []))

    def overrides(self) -> dict[str, Any]:
        given = {
            "min_coverage": self.one([0.1, 0.9]),
            "min_pos_frac": self.one([0.0123, 0.7123]),
            "min_enrichment": self.one([-2.123, 0.8123]),
            "min_frac_markers_on": self.one([0.1, 0.9]),
            "min_gap": self.one([0.0, 0.0512, 1.2123]),
            "require_anti_markers_off": True,
        }
        return {k: v for k, v in given.items() if self.chance(0.4)}

    def gating(self, roots: list[str]) -> dict[str, Any]:
        given = {k: self.one(v) for k, v in GATING.items() if self.chance(0.2)}
        levels: dict[str, dict[str, float]] = {}
        if self.chance(0.75):
            levels |= {name: {"0": v, "1": v, "2": v} for name, v in LOOSE.items()}
        if self.chance(0.5):
            levels |= {name: {"1": v, "3": v / 2} for name, v in WIDE.items()}
        if self.chance(0.3):
            levels |= {
                "min_gap": {**(levels.get("min_gap", {})), "0": self.one([0.0, 0.0123, 1.0123])}
            }
        if self.chance(0.5):
            flipped: dict[str, dict[str, float]] = {}
            for name, values in levels.items():
                for level, value in values.items():
                    flipped.setdefault(level, {})[name] = value
            given["level_defaults"] = flipped
        else:
            given |= levels
        if self.chance(0.5):
            given |= self.root_rules(roots)
        return given

    def root_rules(self, roots: list[str]) -> dict[str, Any]:
        names = [self.spell(marker) for marker in self.pick(self.markers, 3)]
        if self.chance(0.25):
            names[0] = "Absent 12"
        if self.chance(0.4):
            names[1] = "Absent 13"
        hard = {"marker": names[0], "min_pos_frac": self.one([0.0, 0.0712, 0.5123])}
        if self.chance(0.6):
            hard["min_enrichment"] = self.one([-0.5123, 0.2123, 1.0123])
        veto = {"markers": names[1:], "max_pos_frac": self.one([0.1123, 0.5123])}
        rules: dict[str, Any] = {}
        if self.chance(0.6):
            rules["root_hard_requirements"] = {self.one(roots): hard}
        if self.chance(0.6):
            rules["root_veto_markers"] = {self.one(roots): veto}
        return rules


@cache
def _random_case(seed: int) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    case = Generator(seed).case()
    coordinates = pca(expression(case["expression"], case["markers"]), 30).tolist()
    return case, run_case(**case, de=None, coordinates=coordinates)


def _features(case: dict[str, Any], expected: dict[str, list[dict[str, Any]]]) -> set[str]:
    """What a case really exercises, read off the oracle's result."""
    steps, gating = expected["decision_steps"], case["gating"]
    of_map = case["marker_map"].get("_gating_params", {})
    annotations = expected["cluster_annotations"]
    rules = [source.get("root_hard_requirements", {}) for source in (of_map, gating)]
    on_enrichment = {
        rule["min_enrichment"] for r in rules for rule in r.values() if "min_enrichment" in rule
    }
    vetoes = [source.get("root_veto_markers", {}) for source in (of_map, gating)]
    off = gating.get("anti_off_max_positive_fraction", of_map.get("anti_off_max_positive_fraction"))
    votes = [json.loads(a["composition"]) for a in annotations if a["composition"] is not None]
    sizes = Counter(a["n_cells"] for a in annotations)
    found = {f"stop {a['stop_reason']}" for a in annotations}
    found |= {f"fail {s['fail_reason']}" for s in steps if s["fail_reason"] is not None}
    found |= {f"{row['statistic']}, strict {row['strict']}" for row in expected["reference_values"]}
    found |= {f"profile {case['profile']}"}
    found |= {f"scoring {name}" for name in case["scoring"]}
    found |= {f"gating {name}" for name in (*gating, *of_map)}
    found |= {f"override {name}" for s in _nodes(case) for name in s.get("gating_overrides", {})}
    flags = {
        "tie": any(s["margin_to_runner_up"] == 0 for s in steps),
        "alone": any(a["margin_is_infinite"] for a in annotations),
        "gate inheritance": any(s["passed_through"] is not None for s in steps),
        "level 3 or deeper is scored": any(s["level"] > 2 for s in expected["marker_scores"]),
        "level 4 is tried": any(s["child_level"] > 3 for s in steps),
        "cell type without a marker": any(s["score"] is None for s in expected["marker_scores"]),
        "missing marker": any(s["missing_markers"] for s in expected["marker_scores"]),
        "cluster of one cell": sizes[1] > 0 and len(annotations) > 1,
        "only one cluster": len(annotations) == 1,
        "hard requirement fails on enrichment": any(
            s["fail_reason"] == "root_hard_requirement" and s["fail_threshold"] in on_enrichment
            for s in steps
        ),
        "hard marker is absent": any(
            s["fail_reason"] == "root_hard_requirement" and s["fail_value"] is None for s in steps
        ),
        "veto marker is absent": any(
            "Absent 13" in v["markers"] for r in vetoes for v in r.values()
        ),
        "anti-markers must be off": any(
            s["fail_reason"] == "anti_conflict" and s["fail_threshold"] in (0.2, off) for s in steps
        ),
        "two candidates in a vote": any(len(v) == 6 for v in votes),
        "three candidates in a vote": any(len(v) == 7 for v in votes),
        "level-0 min_gap": any("0" in _min_gap(source) for source in (of_map, gating)),
        "three roots are close": any(
            len(_close_roots(steps, a["cluster_id"])) > 2
            for a in annotations
            if a["is_ambiguous_root"]
        ),
        "cells learn": any(row["learnt"] for row in expected["cells"]),
        "own min_gap of a root": any(
            "min_gap" in node.get("gating_overrides", {})
            for label, node in case["marker_map"].items()
            if not label.startswith("_")
        ),
    }
    return found | {name for name, holds in flags.items() if holds}


def _min_gap(source: dict[str, Any]) -> dict[str, float]:
    levels = source.get("level_defaults", {})
    given = {level: t["min_gap"] for level, t in levels.items() if "min_gap" in t}
    return {**source.get("min_gap", {}), **given}


def _close_roots(steps: list[dict[str, Any]], cluster: str) -> list[float]:
    """Scores of the passing roots that are less than 0.25 behind the best."""
    mine = [s for s in steps if s["cluster_id"] == cluster and s["step_idx"] == 0]
    scores = sorted((s["child_score"] for s in mine if s["child_passed_gate"]), reverse=True)
    return [value for value in scores if scores[0] - value < 0.25]


def _nodes(case: dict[str, Any]) -> list[dict[str, Any]]:
    left = [node for label, node in case["marker_map"].items() if not label.startswith("_")]
    nodes = []
    while left:
        node = left.pop()
        nodes.append(node)
        left += [*node.get("subtypes", {}).values(), *node.get("children", {}).values()]
    return nodes


@pytest.mark.parametrize("seed", SEEDS)
def test_engine_and_slow_oracle_agree_on_a_random_case(seed: int):
    case, expected = _random_case(seed)
    sparse = sp.csr_matrix if seed % 3 == 0 else None
    view = expression(case["expression"], case["markers"], sparse=sparse)
    options = {name: case[name] for name in ("profile", "scoring", "gating")}
    result = annotated(
        view, case["marker_map"], case["clusters"], n_jobs=1 + 3 * (seed % 2), **options
    )
    scoring = AnalysisParams.model_validate(options).effective_scoring
    tolerance = _threshold_tolerance(view, scoring)
    lines: list[str] = []
    for name in ORACLE_KEYS:
        lines += differences(name, pd.DataFrame(expected[name]), result.tables[name], tolerance)
    assert not lines, f"seed {seed}: {len(lines)} differences\n" + "\n".join(lines[:20])
    judged = result.tables["cluster_annotations"]
    assert judged["support"].tolist() == (judged["stability"] * judged["agreement"]).tolist()
    wanted = sorted(expected["cells"], key=lambda row: row["cell"])
    cells = result.tables["annotations"]
    assert cells["cell_type_cell_path"].tolist() == [row["path"] for row in wanted]
    assert cells["cell_type_cell_by"].tolist() == [_given_by(row) for row in wanted]


def _given_by(row: dict[str, Any]) -> str:
    """What gave a cell of the oracle its label."""
    if row["learnt"]:
        return "sure_cells"
    return "cluster" if row["path"] == row["cluster_path"] else "own_markers"


RARE = {
    "median, strict True": 2,
    "three roots are close": 3,
    "hard requirement fails on enrichment": 3,
    "hard marker is absent": 5,
}
OFTEN = 8
FEATURES = (
    *(f"stop {name}" for name in STOP_REASONS),
    *(f"fail {name}" for name in GATES),
    *(f"{name}, strict {strict}" for name in ("mean", "median") for strict in (True, False)),
    *(f"profile {name}" for name in PROFILES),
    *(f"scoring {name}" for name in ScoringParams.model_fields),
    *(f"gating {name}" for name in (*GatingParams.model_fields, "level_defaults")),
    *(f"override {name}" for name in GatingOverrides.model_fields),
    "tie",
    "alone",
    "gate inheritance",
    "level 3 or deeper is scored",
    "level 4 is tried",
    "cell type without a marker",
    "missing marker",
    "cluster of one cell",
    "only one cluster",
    "hard requirement fails on enrichment",
    "hard marker is absent",
    "veto marker is absent",
    "anti-markers must be off",
    "two candidates in a vote",
    "three candidates in a vote",
    "level-0 min_gap",
    "three roots are close",
    "own min_gap of a root",
    "cells learn",
)


def test_support_is_less_than_both_of_its_parts_in_a_good_share_of_random_cases():
    less = 0
    for seed in SEEDS[:12]:
        case, _ = _random_case(seed)
        judged = _all_tables(case)["cluster_annotations"]
        less += (judged["support"] < judged[["stability", "agreement"]].min(axis=1)).sum()
    assert less > 10


def test_cells_leave_the_label_of_their_cluster_in_a_good_share_of_random_cases():
    moved = {"leaf_reached": 0, "ambiguous_siblings": 0}
    for seed in SEEDS:
        _, expected = _random_case(seed)
        clusters = {row["cluster_id"]: row for row in expected["cluster_annotations"]}
        for row in expected["cells"]:
            cluster = clusters[row["cluster_id"]]
            if row["path"] != cluster["assigned_path"]:
                moved[cluster["stop_reason"]] += 1
    assert min(moved.values()) > 50, moved


def test_random_cases_hold_every_feature_in_a_good_share():
    counts: Counter[str] = Counter()
    for seed in SEEDS:
        counts.update(_features(*_random_case(seed)))
    few = {
        name: counts[name]
        for name in FEATURES
        if counts[name] < (RARE[name] if name in RARE else OFTEN)
    }
    assert not few, f"too few of {len(SEEDS)} cases: {few}"


# ---------------------------------------------------------------------- properties of the whole

PROPERTY_SEEDS = (2, 5, 11, 17)


def _all_tables(case: dict[str, Any], **changes: Any) -> dict[str, pd.DataFrame]:
    given = {**case, **{k: v for k, v in changes.items() if k in case}}
    rest = {k: v for k, v in changes.items() if k not in case}
    view = expression(given["expression"], given["markers"], sparse=rest.pop("sparse", None))
    options = {name: given[name] for name in ("profile", "scoring", "gating")}
    result = annotated(view, given["marker_map"], given["clusters"], **options, **rest)
    return {name: table for name, table in result.tables.items() if name != "annotations"}


def _assert_same(first: dict[str, pd.DataFrame], second: dict[str, pd.DataFrame]) -> None:
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second[name], check_exact=True, obj=name)


@pytest.mark.parametrize("seed", PROPERTY_SEEDS)
def test_the_order_of_the_cells_threads_and_sparse_storage_change_nothing(seed: int):
    case, _ = _random_case(seed)
    first = _all_tables(case)
    order = np.random.default_rng(seed).permutation(len(case["clusters"]))
    cells = [case["expression"][i] for i in order]
    ids = [case["clusters"][i] for i in order]
    _assert_same(first, _all_tables(case, expression=cells, clusters=ids))
    _assert_same(first, _all_tables(case, n_jobs=4))
    for kind in (sp.csr_matrix, sp.csc_matrix):
        _assert_same(first, _all_tables(case, sparse=kind))


@pytest.mark.parametrize("seed", PROPERTY_SEEDS)
def test_other_names_of_the_clusters_in_the_same_order_only_rename_the_rows(seed: int):
    case, _ = _random_case(seed)
    names = {name: f"{i}:9" for i, name in enumerate(("0", "1", "2", "3", "3:1", "7", "10"))}
    first = _all_tables(case)
    second = _all_tables(case, clusters=[names[name] for name in case["clusters"]])
    for table in first.values():
        if "cluster_id" in table:
            table["cluster_id"] = table["cluster_id"].map(names).astype(table["cluster_id"].dtype)
    _assert_same(first, second)


@pytest.mark.parametrize("seed", PROPERTY_SEEDS)
def test_a_further_marker_in_other_units_leaves_the_enrichment_of_the_others_alone(seed: int):
    case, _ = _random_case(seed)
    wider = [[*cell, 4 * cell[0]] for cell in case["expression"]]
    first = _all_tables(case)["cluster_statistics"]
    second = _all_tables(case, expression=wider, markers=[*case["markers"], "Copy"])
    table = second["cluster_statistics"]
    others = table[table["marker"] != "Copy"].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, others, check_exact=True)
    same = ["enrichment", "positive_fraction", "rank_sum"]
    copy = table.loc[table["marker"] == "Copy", same].reset_index(drop=True)
    original = first.loc[first["marker"] == case["markers"][0], same].reset_index(drop=True)
    pd.testing.assert_frame_equal(copy, original, check_exact=True)
