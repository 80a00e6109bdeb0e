"""Single edits between two runs on the same cells, and the labels that they move.

The numbers are those of :mod:`tests.comparison.runs`: a cell type of one marker that is positive in
the share ``f`` of a cluster's cells scores ``3.5 f - 0.5``; its positive fraction is ``f``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.comparison.runs import NO_BONUS, Cells, Counts, counted

Moves = Mapping[str, tuple[str, str]]
R = {"R": {"markers": ["A"]}}
RS = {"R": {"markers": ["A"]}, "S": {"markers": ["B"]}}
SR = {"S": {"markers": ["B"]}, "R": {"markers": ["A"]}}
THREE = {"R": {"markers": ["A", "B", "C"]}}
XY = {"R": {"markers": ["A"], "subtypes": {"X": {"markers": ["B"]}, "Y": {"markers": ["C"]}}}}
YX = {"R": {"markers": ["A"], "subtypes": {"Y": {"markers": ["C"]}, "X": {"markers": ["B"]}}}}
ANTI = {"R": {"markers": ["A"], "anti_markers": ["B"]}}
NEEDS_B = {"R": {"marker": "B", "min_pos_frac": 0.5}}
VETO_B = {"R": {"markers": ["B"], "max_pos_frac": 0.5}}


def below(*markers: str) -> dict[str, Any]:
    """Map of one root, A, with one child."""
    return {"R": {"markers": ["A"], "subtypes": {"X": {"markers": list(markers)}}}}


def with_overrides(**overrides: float) -> dict[str, Any]:
    return {"R": {"markers": ["A"], "gating_overrides": overrides}}


@dataclass(frozen=True)
class Planted:
    """One edit: its name, the two maps and parameters, and labels before and after."""

    id: str
    name: str
    counts: Counts | Cells
    moves: Moves
    map_a: Mapping[str, Any]
    map_b: Mapping[str, Any] | None = None
    a: Mapping[str, Any] = field(default_factory=dict)
    b: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "gating"

    def cells(self) -> Cells:
        return self.counts if isinstance(self.counts, Cells) else counted(self.counts)

    def side(self, which: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Map and parameters of run ``a`` or ``b``; without a DE bonus unless one is given."""
        content = self.map_b if which == "b" and self.map_b is not None else self.map_a
        given = dict(self.a if which == "a" else self.b)
        scoring = given["scoring"] if "scoring" in given else {}
        return content, given | {"scoring": NO_BONUS | scoring}


def gating(**given: Any) -> dict[str, Any]:
    return {"gating": given}


def level(name: str, number: int, value: float) -> dict[str, Any]:
    return gating(**{name: {str(number): value}})


def levels(**values: float) -> dict[str, Any]:
    """The same level 0 for several thresholds."""
    return gating(**{name: {"0": value} for name, value in values.items()})


def scoring(**given: Any) -> dict[str, Any]:
    return {"scoring": given}


def graded(*by_cluster: float, marker: str = "A") -> Cells:
    """All ten cells of each cluster have the given value of one marker; B tells cells apart."""
    rows = [[float(value), float(i % 2)] for value in by_cluster for i in range(10)]
    ids = [str(i) for i in range(len(by_cluster)) for _ in range(10)]
    return Cells(rows, [marker, "B"], ids, [f"cell_{i}" for i in range(len(rows))])


def skewed() -> Cells:
    """The median of A is 0, above its minimum; so is that of cluster 0, whose mean is 2."""
    cells = graded(*[0.0] * 10)
    values = [list(row) for row in cells.values]
    for i in range(4):
        values[i][0] = 5.0
    values[-1][0] = -1.0
    return Cells(values, cells.markers, cells.clusters, cells.names)


TO_NONE, FROM_NONE = {"0": ("R", "")}, {"0": ("", "R")}

THRESHOLDS = [
    Planted("coverage", "min_coverage.0", {"A": {"0": 10}}, TO_NONE,
            {"R": {"markers": ["A", "Absent"]}}, b=level("min_coverage", 0, 0.6)),
    # one of three markers in 9 of 10 cells: positive fraction 0.3, enrichment 0.25, 1/3 on
    Planted("positive fraction", "min_pos_frac.0", {"A": {"0": 9}, "B": {}, "C": {}}, TO_NONE,
            THREE, b=level("min_pos_frac", 0, 0.35)),
    # in 6 of 10 cells: positive fraction 0.2, enrichment 0
    Planted("markers on", "min_frac_markers_on.0", {"A": {"0": 6}, "B": {}, "C": {}}, FROM_NONE,
            THREE, b=level("min_frac_markers_on", 0, 0.3)),
    Planted("enrichment", "min_enrichment.0", {"A": {"0": 4}}, TO_NONE, R,
            b=level("min_enrichment", 0, 0.6)),
    # scores 1.6 and 1.25
    Planted("root gap", "root_gap_threshold", {"A": {"0": 6}, "B": {"0": 5}}, {"0": ("R", "R~S")},
            RS, b=gating(root_gap_threshold=0.4)),
    Planted("level-0 gap", "min_gap.0", {"A": {"0": 6}, "B": {"0": 5}}, {"0": ("R", "R~S")},
            RS, b=level("min_gap", 0, 0.4)),
    Planted("sibling gap", "min_gap.1", {"A": {"0": 10}, "B": {"0": 6}, "C": {"0": 5}},
            {"0": ("R / X", "R")}, XY, b=level("min_gap", 1, 0.4)),
    Planted("coverage below", "min_coverage.1", {"A": {"0": 10}, "B": {"0": 10}},
            {"0": ("R", "R / X")}, below("B", "Absent 1", "Absent 2"),
            b=level("min_coverage", 1, 0.3)),
    # one of four markers in 8 of 10 cells: positive fraction 0.2, 1/4 on
    Planted("positive below", "min_pos_frac.1",
            {"A": {"0": 10}, "B": {"0": 8}, "C": {}, "D": {}, "E": {}}, {"0": ("R / X", "R")},
            below("B", "C", "D", "E"), b=level("min_pos_frac", 1, 0.25)),
    Planted("markers on below", "min_frac_markers_on.1",
            {"A": {"0": 10}, "B": {"0": 4}, "C": {}, "D": {}, "E": {}}, {"0": ("R", "R / X")},
            below("B", "C", "D", "E"), b=level("min_frac_markers_on", 1, 0.25)),
    Planted("enrichment below", "min_enrichment.1", {"A": {"0": 10}, "B": {"0": 2}},
            {"0": ("R / X", "R")}, below("B"), b=level("min_enrichment", 1, 0.1)),
    # penalty 0.8 * (0.5 + 0.4)
    Planted("anti-marker gate", "anti_penalty_hard_gate", {"A": {"0": 10}, "B": {"0": 4}}, TO_NONE,
            ANTI, b=gating(anti_penalty_hard_gate=0.7)),
    Planted("anti-markers off", "anti_off_max_positive_fraction", {"A": {"0": 10}, "B": {"0": 2}},
            TO_NONE, {"R": ANTI["R"] | {"gating_overrides": {"require_anti_markers_off": True}}},
            b=gating(anti_off_max_positive_fraction=0.1)),
    Planted("inheritance", "gate_inheritance", {"A": {}, "B": {"0": 10}}, {"0": ("", "R / X")},
            below("B"), b=gating(gate_inheritance=True)),
    Planted("in the map", "min_enrichment.0", {"A": {"0": 4}}, TO_NONE, R,
            R | {"_gating_params": {"level_defaults": {"0": {"min_enrichment": 0.6}}}}),
]  # fmt: skip
RULES = [
    Planted("requirement added", "root_hard_requirements.R", {"A": {"0": 10}, "B": {}}, TO_NONE, R,
            b=gating(root_hard_requirements=NEEDS_B)),
    Planted("requirement removed", "root_hard_requirements.R", {"A": {"0": 10}, "B": {}}, FROM_NONE,
            R, a=gating(root_hard_requirements=NEEDS_B)),
    Planted("requirement changed", "root_hard_requirements.R", {"A": {"0": 10}, "B": {"0": 3}},
            TO_NONE, R, b=gating(root_hard_requirements=NEEDS_B),
            a=gating(root_hard_requirements={"R": {"marker": "B", "min_pos_frac": 0.2}})),
    Planted("requirement in the map", "root_hard_requirements.R", {"A": {"0": 10}, "B": {}},
            TO_NONE, R, R | {"_gating_params": {"root_hard_requirements": NEEDS_B}}),
    Planted("veto added", "root_veto_markers.R", {"A": {"0": 10}, "B": {"0": 8}}, TO_NONE, R,
            b=gating(root_veto_markers=VETO_B)),
    Planted("veto removed", "root_veto_markers.R", {"A": {"0": 10}, "B": {"0": 8}}, FROM_NONE, R,
            a=gating(root_veto_markers=VETO_B)),
    Planted("veto changed", "root_veto_markers.R", {"A": {"0": 10}, "B": {"0": 8}}, FROM_NONE, R,
            a=gating(root_veto_markers=VETO_B),
            b=gating(root_veto_markers={"R": {"markers": ["B"], "max_pos_frac": 0.9}})),
]  # fmt: skip

# A is the best DE hit of cluster 0 and B the second; each is a marker of one of two cell types, so
# that commonness leaves 1 - 0.5 ** 0.5 = 0.293 of a bonus of 0.6. The lead without it is 0.35.
HITS = {"A": {"0": 7}, "B": {"0": 6}}
FEW = {"de_bonus": 0.6, "de_min_k": 1}
BONUS = [
    Planted("DE bonus", "de_bonus", HITS, {"0": ("R~S", "R")}, RS,
            a=gating(root_gap_threshold=0.4),
            b=gating(root_gap_threshold=0.4) | scoring(de_bonus=0.6)),
    Planted("commonness", "de_commonness_alpha", HITS, {"0": ("R", "R~S")}, RS,
            a=gating(root_gap_threshold=0.4) | scoring(de_bonus=0.6),
            b=gating(root_gap_threshold=0.4) | scoring(de_bonus=0.6, de_commonness_alpha=0)),
    Planted("DE share", "de_top_frac", HITS, {"0": ("R", "R~S")}, RS,
            a=gating(root_gap_threshold=0.5) | scoring(**FEW),
            b=gating(root_gap_threshold=0.5) | scoring(**FEW, de_top_frac=1.0)),
    Planted("fewest hits", "de_min_k", HITS, {"0": ("R", "R~S")}, RS,
            a=gating(root_gap_threshold=0.5) | scoring(**FEW),
            b=gating(root_gap_threshold=0.5) | scoring(**FEW | {"de_min_k": 2})),
    Planted("most hits", "de_max_k", HITS, {"0": ("R~S", "R")}, RS,
            a=gating(root_gap_threshold=0.5) | scoring(**FEW, de_top_frac=1.0),
            b=gating(root_gap_threshold=0.5) | scoring(**FEW, de_top_frac=1.0, de_max_k=1)),
]  # fmt: skip
SCORING = [
    *BONUS,
    # scores 3 - 0.9 w and 1.95
    Planted("anti weight", "anti_weight", {"A": {"0": 10}, "B": {"0": 4}, "C": {"0": 7}},
            {"0": ("R", "R~S")}, ANTI | {"S": {"markers": ["C"]}}, b=scoring(anti_weight=1.1)),
    # penalty 0.8 * (1 + 0.6) for the largest, half of it for the mean of two
    Planted("anti aggregation", "anti_agg", {"A": {"0": 10}, "B": {"0": 6}, "C": {}}, TO_NONE,
            {"R": {"markers": ["A"], "anti_markers": ["B", "C"]}}, b=scoring(anti_agg="max")),
    Planted("on", "on_min_positive_fraction", {"A": {"0": 6}, "B": {}, "C": {}}, TO_NONE, THREE,
            a=level("min_frac_markers_on", 0, 0.3),
            b=level("min_frac_markers_on", 0, 0.3) | scoring(on_min_positive_fraction=0.7)),
    # R scores 1.25 over both markers, 3 over the better half of them
    Planted("alternatives", "parent_markers", {"A": {"0": 10}, "B": {}, "C": {"0": 6}},
            {"0": ("S", "R / X")},
            {"R": {"markers": ["A", "B"],
                   "subtypes": {"X": {"markers": ["A"]}, "Y": {"markers": ["B"]}}},
             "S": {"markers": ["C"]}}, b=scoring(parent_markers="alternatives")),
]  # fmt: skip
VALUES = [
    # sorted: 60 zeros, 20 ones, 20 twos
    Planted("quantile", "scoring.positive_quantile", graded(1, 1, 2, 2, 0, 0, 0, 0, 0, 0), TO_NONE,
            R, b=scoring(positive_quantile=0.9)),
    Planted("statistic", "scoring.enrichment_statistic", skewed(), FROM_NONE, R,
            a=levels(min_enrichment=0.5),
            b=levels(min_enrichment=0.5) | scoring(enrichment_statistic="mean")),
    Planted("reference", "scoring.positive_reference", {"A": {"0": 2}}, FROM_NONE, R,
            b=scoring(positive_reference="all")),
    # sorted: 40 zeros, 30 threes, 30 fours
    Planted("threshold", "scoring.positive_threshold", graded(3, 3, 3, 4, 4, 4, 0, 0, 0, 0),
            FROM_NONE, R, b=scoring(positive_threshold="otsu")),
]  # fmt: skip
FOUR = {"A": {"0": 10}, "B": {}, "C": {}, "D": {}}
WIDE = {"R": {"markers": ["A", "B", "C", "D"]}}
TIED = {"A": {"0": 6}, "B": {"0": 6}}
TIED_BELOW = {"A": {"0": 10}, "B": {"0": 6}, "C": {"0": 6}}
MAPS = [
    Planted("markers added", "markers of R", FOUR, TO_NONE, R, WIDE),
    Planted("markers removed", "markers of R", FOUR, FROM_NONE, WIDE, R),
    Planted("markers below", "markers of R / X", {"A": {"0": 10}, "B": {}, "C": {"0": 10}},
            {"0": ("R", "R / X")}, below("B"), below("C")),
    Planted("anti-marker added", "anti_markers of R", {"A": {"0": 10}, "B": {"0": 6}}, TO_NONE,
            R, ANTI),
    Planted("anti-marker removed", "anti_markers of R", {"A": {"0": 10}, "B": {"0": 6}}, FROM_NONE,
            ANTI, R),
    Planted("override added", "gating_overrides of R", {"A": {"0": 10}}, TO_NONE, R,
            with_overrides(min_enrichment=3)),
    Planted("override changed", "gating_overrides of R", {"A": {"0": 10}}, FROM_NONE,
            with_overrides(min_enrichment=3), with_overrides(min_enrichment=1)),
    Planted("override removed", "gating_overrides of R", {"A": {"0": 10}}, FROM_NONE,
            with_overrides(min_enrichment=3), R),
    Planted("root added", "S added", {"A": {"0": 6}, "B": {"0": 8}}, {"0": ("R", "S")}, R, RS),
    Planted("root removed", "S removed", {"A": {"0": 6}, "B": {"0": 8}}, {"0": ("S", "R")}, RS, R),
    Planted("root renamed", "R renamed", {"A": {"0": 10}}, {"0": ("R", "Q")}, R,
            {"Q": R["R"]}),
    Planted("child added", "R / X added", {"A": {"0": 10}, "B": {"0": 10}}, {"0": ("R", "R / X")},
            R, below("B")),
    Planted("child removed", "R / Y removed", {"A": {"0": 10}, "B": {"0": 6}, "C": {"0": 5}},
            {"0": ("R", "R / X")}, XY, below("B"), a=level("min_gap", 1, 0.5),
            b=level("min_gap", 1, 0.5)),
    Planted("child renamed", "R / X renamed", {"A": {"0": 10}, "B": {"0": 10}},
            {"0": ("R / X", "R / V")}, below("B"),
            {"R": {"markers": ["A"], "subtypes": {"V": {"markers": ["B"]}}}}),
    Planted("roots reordered", "order of the roots", TIED, {"0": ("R", "S")}, RS, SR,
            a=gating(root_gap_threshold=0), b=gating(root_gap_threshold=0)),
    Planted("children reordered", "order of R", TIED_BELOW, {"0": ("R / X", "R / Y")}, XY, YX,
            a=level("min_gap", 1, 0), b=level("min_gap", 1, 0)),
    Planted("alias added", "_aliases", {"A": {"0": 10}}, FROM_NONE, {"R": {"markers": ["Foo"]}},
            {"_aliases": {"Foo": ["A"]}, "R": {"markers": ["Foo"]}}),
]  # fmt: skip


def _of_kind(kind: str, cases: list[Planted]) -> list[Planted]:
    return [Planted(**{**vars(case), "kind": kind}) for case in cases]


EVERY = [
    *THRESHOLDS,
    *RULES,
    *_of_kind("scoring", SCORING),
    *_of_kind("values", VALUES),
    *_of_kind("marker map", MAPS),
]
