"""Which edit is behind a changed label: edits are planted, and have to be found."""

import json
from functools import cache
from typing import Any

import pytest

from ctr_engine.comparison.compare import Comparison, compare
from ctr_engine.stored import StoredRun
from tests.builders import plain
from tests.comparison.planted import (
    ANTI,
    EVERY,
    HITS,
    NEEDS_B,
    RS,
    SR,
    THREE,
    Planted,
    R,
    gating,
    level,
    levels,
    scoring,
)
from tests.comparison.runs import NO_BONUS, cells_of, counted, labels, stored
from tests.oracles.run import run_case
from tests.test_oracle_cases import LOOSE, Generator


def both(counts: Any, map_a: Any, map_b: Any, a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    """Comparison of two runs on the same cells, without a DE bonus unless one is given."""
    cells = counted(counts)
    sides = [
        {**raw, "scoring": NO_BONUS | (raw["scoring"] if "scoring" in raw else {})}
        for raw in (a, b)
    ]
    return compare(stored(cells, map_a, "a", **sides[0]), stored(cells, map_b, "b", **sides[1]))


def causes(result: Comparison) -> dict[str, tuple[list[str], str]]:
    """Names of the causes and how they act, for each changed cluster."""
    table = result.tables["cluster_changes"]
    changed = table[table["changed"]].to_dict("records")
    return {row["cluster_b"]: (row["causes"], row["causes_are"]) for row in changed}


def alone(result: Comparison) -> dict[str, tuple[float, float]]:
    """Clusters and cells that each difference explains alone."""
    rows = result.tables["differences"].to_dict("records")
    return {row["name"]: (row["n_clusters_alone"], row["n_cells_alone"]) for row in rows}


# ---------------------------------------------------------------------- one edit


@cache
def runs_of(index: int) -> tuple[StoredRun, StoredRun]:
    """Run A and run B of a planted edit."""
    case, runs = EVERY[index], []
    for name in ("a", "b"):
        content, raw = case.side(name)
        runs.append(stored(case.cells(), content, name, **raw))
    return runs[0], runs[1]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: f"{case.kind}: {case.id}")
def test_a_single_edit_is_named_as_the_cause_of_each_change(case: Planted):
    runs = runs_of(EVERY.index(case))
    found = [labels(run) for run in runs]
    changed = {c: (old, found[1][c]) for c, old in found[0].items() if old != found[1][c]}
    assert case.moves.items() <= changed.items()

    result = compare(*runs)
    assert result.same_clusters
    assert alone(result) == {case.name: (len(changed), 10 * len(changed))}
    assert set(result.tables["differences"]["kind"]) == {case.kind}
    assert causes(result) == {cluster: ([case.name], "each alone") for cluster in changed}
    assert result.n_clusters_changed == len(changed)
    assert result.agreement.n_cells_changed == 10 * len(changed)


TURNED = [case for case in EVERY if case.kind in ("values", "marker map")]


@pytest.mark.parametrize("case", TURNED, ids=lambda case: f"{case.kind}: {case.id}")
def test_the_other_way_round_it_is_the_same_edit(case: Planted):
    result = compare(*reversed(runs_of(EVERY.index(case))))
    (name,) = result.tables["differences"]["name"]
    assert causes(result)["0"] == ([name], "each alone")
    row = result.tables["cluster_changes"].set_index("cluster_b").loc["0"]
    assert (row["path_b"], row["path_a"]) == case.moves["0"]


# ---------------------------------------------------------------------- several edits


def test_each_of_two_edits_suffices():
    """An enrichment of 0.5 is too low, and B is required."""
    rule = {"root_hard_requirements": NEEDS_B}
    result = both({"A": {"0": 4}, "B": {}}, R, R, {}, gating(min_enrichment={"0": 0.6}, **rule))
    names = ["min_enrichment.0", "root_hard_requirements.R"]
    assert causes(result)["0"] == (names, "each alone")


def test_two_edits_that_only_act_together():
    """Either enough positive cells, 0.3, or enough markers on, 1/3, let R in."""
    counts = {"A": {"0": 9}, "B": {}, "C": {}}
    loose = levels(min_pos_frac=0.3, min_frac_markers_on=0.3)
    result = both(counts, THREE, THREE, loose, levels(min_pos_frac=0.35, min_frac_markers_on=0.5))
    assert causes(result) == {"0": (["min_pos_frac.0", "min_frac_markers_on.0"], "together")}
    assert alone(result) == {"min_pos_frac.0": (0, 0), "min_frac_markers_on.0": (0, 0)}


def test_a_bystander_is_not_named():
    counts = {"A": {"0": 9}, "B": {}, "C": {}}
    loose = levels(min_pos_frac=0.3, min_frac_markers_on=0.3)
    strict = levels(min_pos_frac=0.35, min_frac_markers_on=0.5)
    strict["gating"]["anti_penalty_hard_gate"] = 0.9
    after = THREE | {"Z": {"markers": ["D"]}}
    result = both(counts | {"D": {}}, THREE, after, loose, strict | scoring(anti_weight=0.7))
    names = ["min_pos_frac.0", "min_frac_markers_on.0"]
    assert causes(result)["0"] == (names, "together")
    assert list(alone(result)) == ["anti_weight", *names, "anti_penalty_hard_gate", "Z added"]


def test_different_clusters_have_different_causes():
    counts = {"A": {"0": 4}, "B": {"1": 10}, "C": {"2": 10}}
    before = RS | {"T": {"markers": ["C"]}}
    after = R | {"S": {"markers": ["B"], "gating_overrides": {"min_enrichment": 3}}}
    result = both(counts, before, after, {}, level("min_enrichment", 0, 0.6))
    found = causes(result)
    assert found["0"] == (["min_enrichment.0"], "each alone")
    assert found["1"] == (["gating_overrides of S"], "each alone")
    assert found["2"] == (["T removed"], "each alone")


def test_two_edits_that_cancel_each_other_change_nothing():
    """The marker is moved to another column, and so is the alias."""
    before = {"_aliases": {"Foo": ["A"]}, "R": {"markers": ["Foo"]}}
    after = {"R": {"markers": ["A"]}}
    result = both({"A": {"0": 10}, "B": {}}, before, after, {}, {})
    assert causes(result) == {}
    assert alone(result) == {"markers of R": (0, 0), "_aliases": (0, 0)}


def test_a_marker_that_becomes_an_anti_marker():
    """Each half is a map of its own, or none at all: B cannot be for and against R."""
    before = {"R": {"markers": ["A", "B"]}}
    result = both({"A": {"0": 10}, "B": {"0": 6}}, before, ANTI, {}, {})
    names = ["markers of R", "anti_markers of R"]
    assert causes(result)["0"] == (names, "together")


def test_a_root_that_goes_with_its_rule():
    """A rule without its root is no setting at all."""
    rule = {"S": {"marker": "B", "min_pos_frac": 0.1}}
    result = both({"A": {"0": 6}, "B": {"0": 8}}, RS, R, gating(root_hard_requirements=rule), {})
    assert causes(result)["0"] == (["root_hard_requirements.S", "S removed"], "together")


def test_a_cell_type_more_is_not_the_cause_of_what_the_order_does():
    counts = {"A": {"0": 6}, "B": {"0": 6}, "C": {"1": 10}}
    tie = gating(root_gap_threshold=0)
    result = both(counts, RS, SR | {"Z": {"markers": ["C"]}}, tie, tie)
    assert causes(result)["0"] == (["order of the roots"], "each alone")
    assert causes(result)["1"] == (["Z added"], "each alone")


def test_a_renamed_cell_type_is_not_the_cause_of_what_the_order_does():
    counts = {"A": {"0": 6}, "B": {"0": 6}, "C": {"1": 10}}
    tie, third = gating(root_gap_threshold=0), {"markers": ["C"]}
    result = both(counts, RS | {"Z": third}, SR | {"Y": third}, tie, tie)
    assert causes(result)["0"] == (["order of the roots"], "each alone")
    assert causes(result)["1"] == (["Z renamed"], "each alone")


@pytest.mark.parametrize("ways", [(0, 1), (1, 0)])
def test_limits_that_bound_each_other_are_moved_together(ways):
    """de_min_k 2 would be above de_max_k 1, so that one of the two is no setting."""
    few = {"de_bonus": 0.6, "de_min_k": 1, "de_max_k": 1}
    sides = [scoring(**few), scoring(**few | {"de_min_k": 2, "de_max_k": 2})]
    gap = gating(root_gap_threshold=0.5)
    a, b = (gap | sides[which] for which in ways)
    result = both(HITS, RS, RS, a, b)
    (names, _) = causes(result)["0"]
    assert set(names) <= {"de_min_k", "de_max_k"}
    assert names


def test_values_and_a_threshold_only_together():
    """Every cell is positive with "all", but an enrichment of -0.5 is too low all the same."""
    result = both(
        {"A": {"0": 1}}, R, R, {},
        level("min_enrichment", 0, -0.3) | scoring(positive_reference="all"),
    )  # fmt: skip
    names = ["scoring.positive_reference", "min_enrichment.0"]
    assert causes(result)["0"] == (names, "together")


def test_a_sample_with_a_marker_more():
    """The clusters are the same, but only run B can see R."""
    cells, wider = counted({"B": {"0": 5}}), counted({"B": {"0": 5}, "A": {"0": 10}})
    a = stored(cells, RS, "a", scoring=NO_BONUS)
    b = stored(wider, RS, "b", sample="wider.h5ad", scoring=NO_BONUS)
    result = compare(a, b)
    assert result.same_clusters
    assert causes(result)["0"] == (["sample"], "each alone")


# ---------------------------------------------------------------------- against the slow oracle

SMALL = 12
"""Most cell types of a random map, for a map of sixty takes a second."""
NUMBERS = {
    "min_pos_frac": [0.0, 0.35, 0.6],
    "min_enrichment": [-2.0, 0.2, 0.7],
    "min_gap": [0.0, 0.4, 1.5],
    "min_coverage": [0.1, 0.7],
}


class Edited:
    """A random case, and edits of it that can be made in any number, each with its name."""

    def __init__(self, seed: int) -> None:
        self.random = Generator(seed)
        self.case = self.random.case()
        content = self.case["marker_map"]
        for key in ("_gating_params", "_aliases"):
            content.pop(key, None)
        thresholds = {name: {"0": v, "1": v, "2": v} for name, v in LOOSE.items()}
        self.case["gating"] = thresholds | {"min_gap": {"0": 0.1, "1": 0.1}}
        self.edits = dict(self.draw() for _ in range(5))

    def draw(self) -> tuple[str, Any]:
        one, content = self.random.one, self.case["marker_map"]
        kind = one(["gating", "gating", "scoring", "markers", "overrides", "order"])
        root = one(list(content))
        if kind == "gating":
            name = one(list(NUMBERS))
            number, value = one(["0", "1"]), one(NUMBERS[name])
            return f"{name}.{number}", lambda case: case["gating"][name].update({number: value})
        if kind == "scoring":
            name, value = one([("anti_weight", 2.5), ("de_bonus", 3.0), ("anti_agg", "max")])
            return name, lambda case: case["scoring"].update({name: value})
        if kind == "markers":
            marker = one(self.case["markers"])
            return f"markers of {root}", lambda case: self.node(case, root).update(
                {"markers": [marker]}
            )
        if kind == "overrides":
            value = one([-3.0, 0.5, 2.0])
            return f"gating_overrides of {root}", lambda case: self.node(case, root).update(
                {"gating_overrides": {"min_enrichment": value}}
            )
        return "order of the roots", self.reverse

    @staticmethod
    def node(case: dict[str, Any], root: str) -> dict[str, Any]:
        for key in ("anti_markers", "Anti_markers"):
            case["marker_map"][root].pop(key, None)
        return case["marker_map"][root]

    @staticmethod
    def reverse(case: dict[str, Any]) -> None:
        case["marker_map"] = dict(reversed(case["marker_map"].items()))

    def regrouped(self) -> list[str]:
        """Other clusters: every third cell is in the cluster of the cell before it."""
        ids = self.case["clusters"]
        return [ids[i - 1] if i % 3 == 2 else name for i, name in enumerate(ids)]

    def after(self, names: Any) -> dict[str, Any]:
        """The case after some of the edits."""
        case = {name: json.loads(json.dumps(value)) for name, value in self.case.items()}
        for root in case["marker_map"]:
            self.node(case, root)
        for name in names:
            self.edits[name](case)
        return case

    def labels(self, names: Any, ids: list[str] | None = None) -> dict[str, str]:
        """What the oracle says after some of the edits, on these or on other clusters."""
        case = self.after(names) | ({} if ids is None else {"clusters": ids})
        rows = run_case(**case, de=None)["cluster_annotations"]
        return {row["cluster_id"]: plain(row["assigned_path"]) for row in rows}

    def run(self, name: str, names: Any, ids: list[str] | None = None) -> Any:
        case = self.after(names) | ({} if ids is None else {"clusters": ids})
        raw = {key: case[key] for key in ("profile", "scoring", "gating")}
        return stored(cells_of(case), case["marker_map"], name, **raw)


def size(content: dict[str, Any]) -> int:
    """Cell types of a map, all levels."""
    below = [node[key] for node in content.values() for key in CHILDREN if key in node]
    return len(content) + sum(map(size, below))


CHILDREN = ("subtypes", "children")
SEEDS = [seed for seed in range(40) if size(Edited(seed).case["marker_map"]) <= SMALL]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_causes_of_many_edits_are_those_of_the_slow_oracle(seed):
    edited = Edited(seed)
    result = compare(edited.run("a", []), edited.run("b", edited.edits))
    differ = list(result.tables["differences"]["name"])
    assert set(differ) <= set(edited.edits), "what is set to the value it had is no difference"
    before, after = edited.labels([]), edited.labels(edited.edits)
    found = causes(result)
    assert set(found) == {cluster for cluster, path in after.items() if path != before[cluster]}
    single = {name: edited.labels([name]) for name in differ}
    for cluster, (names, how) in found.items():
        expected = [name for name in differ if single[name][cluster] == after[cluster]]
        if expected:
            assert (names, how) == (expected, "each alone")
            continue
        assert how == "together"
        assert edited.labels(names)[cluster] == after[cluster]
        for name in names:
            fewer = [other for other in names if other != name]
            assert edited.labels(fewer)[cluster] != after[cluster], "one of them is not needed"
    for name in differ:
        explained = [c for c in found if single[name][c] == after[c]]
        assert alone(result)[name][0] == len(explained)


OTHER_CLUSTERS = [seed for seed in SEEDS if len(set(Edited(seed).case["clusters"])) > 1]


@pytest.mark.parametrize("seed", OTHER_CLUSTERS[:12])
def test_with_other_clusters_the_causes_are_what_the_oracle_must_take_back(seed):
    edited = Edited(seed)
    ids, every = edited.regrouped(), list(edited.edits)
    result = compare(edited.run("a", []), edited.run("b", every, ids))
    assert not result.same_clusters
    differ = list(result.tables["differences"]["name"])
    rows = result.tables["cluster_changes"].set_index("cluster_b")

    def left(names: Any) -> dict[str, str]:
        """Labels of the clusters of run B without some of the edits."""
        return edited.labels([name for name in every if name not in names], ids)

    single = {name: left([name]) for name in differ}
    for cluster, (names, how) in causes(result).items():
        wanted = rows.loc[cluster, "path_a"]
        expected = [name for name in differ if single[name][cluster] == wanted]
        if expected:
            assert (names, how) == (expected, "each alone")
        elif left(every)[cluster] != wanted:
            assert (names, how) == ([], "clusters")
        else:
            assert how == "together"
            assert left(names)[cluster] == wanted
            for name in names:
                fewer = [other for other in names if other != name]
                assert left(fewer)[cluster] != wanted, "one of them is not needed"


def test_the_random_cases_hold_changes_of_both_kinds():
    kinds = {"each alone": 0, "together": 0}
    for seed in SEEDS:
        edited = Edited(seed)
        before, after = edited.labels([]), edited.labels(edited.edits)
        single = [edited.labels([name]) for name in edited.edits]
        for cluster, path in after.items():
            if path != before[cluster]:
                by_one = any(paths[cluster] == path for paths in single)
                kinds["each alone" if by_one else "together"] += 1
    assert kinds["each alone"] >= 20
    assert kinds["together"] >= 5
