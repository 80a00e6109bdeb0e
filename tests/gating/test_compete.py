"""Who wins among siblings, and where that leads."""

import numpy as np
import pandas as pd
import pytest

from ctr_engine.gating import decider as decider_module
from ctr_engine.gating.compete import (
    ALONE,
    AMBIGUOUS_ROOT,
    AMBIGUOUS_SIBLINGS,
    LEAF,
    NO_CHILD,
    NO_ROOT,
    UNASSIGNED_PLACE,
    best_of,
    compete,
    descend,
    lead,
    outcomes,
    path_of,
    ranked,
)
from ctr_engine.gating.descend import assignment, walk_clusters
from ctr_engine.tables import STOP_REASONS
from tests.builders import annotated, expression, marker_map
from tests.gating.deciders import Drawn, decider_of, decider_of_cells, ends
from tests.oracles.thresholds import Deciding
from tests.test_oracle_cases import Generator

SEEDS = range(100)
CELL_SEEDS = range(1, 8)
CLOSE, APART = 1e-9, 1.1e-9


def rows(*values):
    return np.array(values, dtype=float)


def allowed(*masks):
    """One row per word; ``x`` is allowed."""
    return np.array([[letter == "x" for letter in mask] for mask in masks])


def every(n):
    return np.arange(n, dtype=np.intp)


# ---------------------------------------------------------------------- best_of, ranked, lead


@pytest.mark.parametrize(
    ("scores", "mask", "best"),
    [
        ([1, 3, 2], "xxx", 1),
        ([1, 3, 2], "x.x", 2),
        ([1, 3, 2], "...", -1),
        ([-5, -3], "xx", 1),
        ([2, 2, 2], ".xx", 1),
        ([1, 1 + CLOSE / 2], "xx", 0),
        ([1, 1 + 2 * APART], "xx", 1),
        ([np.nan, 1], ".x", 1),
        ([np.nan, np.nan], "..", -1),
        ([7], "x", 0),
    ],
)
def test_the_best_is_the_first_of_the_best_allowed_scores(scores, mask, best):
    assert best_of(rows(scores), allowed(mask)).tolist() == [best]


def test_the_best_of_each_row_is_found_by_itself():
    scores = rows([1, 2], [2, 1], [1, 2], [1, 1])
    assert best_of(scores, allowed("xx", "xx", "x.", "..")).tolist() == [1, 0, 0, -1]


def test_there_is_no_best_without_a_row_or_without_a_column():
    assert best_of(np.empty((0, 3)), np.empty((0, 3), dtype=bool)).tolist() == []
    alone = np.arange(3.0)[:, None]
    assert best_of(alone, np.zeros((3, 1), dtype=bool)).tolist() == [-1, -1, -1]


def test_a_chain_of_near_ties_is_equal_to_the_best_only():
    step = 0.75e-9
    chain = np.array([1, 1 + step, 1 + 2 * step])
    assert best_of(chain[None, :], allowed("xxx")).tolist() == [1]
    assert ranked(chain, allowed("xxx")[0]) == [1, 2, 0]


def test_candidates_are_ranked_again_and_again_by_the_best_that_is_left():
    assert ranked(np.array([1.0, 3, 2, 9]), allowed("xxx.")[0]) == [1, 2, 0]
    assert ranked(np.array([2.0, 1, 2, 1]), allowed("xxxx")[0]) == [0, 2, 1, 3]
    assert ranked(np.array([np.nan, 1.0]), allowed(".x")[0]) == [1]
    assert ranked(np.array([1.0, 2]), allowed("..")[0]) == []


def test_ranking_leaves_its_mask_as_it_was():
    mask = allowed("xx")[0]
    ranked(np.array([1.0, 2]), mask)
    assert mask.all()


def test_a_lead_within_a_billionth_is_none():
    best = rows(1, 1 + CLOSE / 2, 1, 1 + 2 * APART, 3)
    other = rows(1, 1, 1 + CLOSE / 2, 1, 1)
    found = lead(best, other)
    assert found[:3].tolist() == [0, 0, 0]
    assert found[3] == pytest.approx(2 * APART)
    assert found[4] == 2


# ---------------------------------------------------------------------- compete


def test_winner_runner_up_and_margin_of_each_row():
    scores = rows([9, 1, 3, 2.5], [9, 1, 3, 2.5], [9, 1, 3, 2.5], [9, 1, 3, 2.5])
    passed = allowed("xxxx", "xx.x", "x.x.", "x...")
    step = compete(scores, passed, np.full(4, 0.25), 0, [1, 2, 3], every(4))
    assert (step.parent, step.tried) == (0, (1, 2, 3))
    assert step.winner.tolist() == [2, 3, 2, -1]
    assert step.runner_up.tolist() == [3, 1, -1, -1]
    assert step.margin[:3].tolist() == [0.5, 1.5, ALONE]
    assert step.ambiguous.tolist() == [False, False, False, False]


def test_only_the_rows_that_came_compete():
    scores = rows([1, 2], [2, 1], [5, 4])
    step = compete(scores, allowed("xx", "xx", "xx"), np.zeros(2), None, [0, 1], np.array([2, 0]))
    assert step.rows.tolist() == [2, 0]
    assert step.winner.tolist() == [0, 1]
    assert step.margin.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("margin", "ambiguous"),
    [(0, True), (0.2499, True), (0.25 - 2 * APART, True), (0.25 - CLOSE / 2, False), (0.25, False)],
)
def test_a_race_is_ambiguous_under_the_gap_but_for_rounding(margin, ambiguous):
    step = compete(rows([margin, 0]), allowed("xx"), np.array([0.25, 9]), None, [0, 1], every(1))
    assert step.ambiguous.tolist() == [ambiguous]


def test_the_gap_is_the_winners_and_may_be_one_for_each_row():
    scores = rows([1, 0.5], [0.5, 1])
    both = allowed("xx", "xx")
    by_node = compete(scores, both, np.array([0.6, 0.4]), None, [0, 1], every(2))
    assert by_node.ambiguous.tolist() == [True, False]
    by_row = compete(scores, both, rows([0.4, 9], [9, 0.6]), None, [0, 1], every(2))
    assert by_row.ambiguous.tolist() == [False, True]


def test_equal_scores_are_won_by_the_first_with_no_margin():
    tied = rows([1, 1 + CLOSE / 2])
    step = compete(tied, allowed("xx"), np.full(2, 0.1), None, [0, 1], every(1))
    assert (step.winner.tolist(), step.runner_up.tolist()) == ([0], [1])
    assert (step.margin.tolist(), step.ambiguous.tolist()) == ([0], [True])
    without_gap = compete(tied, allowed("xx"), np.zeros(2), None, [0, 1], every(1))
    assert without_gap.ambiguous.tolist() == [False]


def test_nobody_is_ambiguous_alone_however_wide_the_gap():
    step = compete(rows([1, 2]), allowed("x."), np.full(2, 2e6), None, [0, 1], every(1))
    assert (step.winner.tolist(), step.ambiguous.tolist()) == ([0], [False])


# ---------------------------------------------------------------------- the way down

#                 0    1     2         3         4     5    6
# R's children are X and Y, X's are U and V, S has the child Z.
TREE = marker_map(
    {
        "R": {
            "markers": ["A"],
            "subtypes": {
                "X": {
                    "markers": ["B"],
                    "subtypes": {"U": {"markers": ["C"]}, "V": {"markers": ["D"]}},
                },
                "Y": {"markers": ["E"]},
            },
        },
        "S": {"markers": ["F"], "subtypes": {"Z": {"markers": ["G"]}}},
    }
)
R, X, U, V, Y, S, Z = range(7)
GAPS = np.full(7, 0.5)
SCORES = rows(
    # R  X  U  V  Y  S  Z
    [2, 2, 2, 1, 1, 1, 0],  # to U
    [2, 2, 1, 1, 1, 1, 0],  # U and V are equal
    [2, 2, 2, 2, 2, 1, 0],  # X and Y are equal
    [1, 2, 2, 1, 1, 2, 0],  # to Z
    [2, 2, 2, 1, 1, 1, 0],  # no child of R passes
    [2, 2, 2, 1, 1, 2, 0],  # R and S are equal
    [2, 2, 2, 1, 1, 2.25, 0],  # S is a little better than R
    [2, 2, 2, 1, 1, 1, 0],  # no root passes
    [1, 1, 1, 2, 2, 0, 0],  # to Y
)
PASSED = np.ones(SCORES.shape, dtype=bool)
PASSED[4, [X, Y]] = False
PASSED[7, [R, S]] = False
PLACES = [U, X, R, Z, R, 7 * (1 + R) + S, 7 * (1 + S) + R, UNASSIGNED_PLACE, Y]
STOPS = [
    LEAF,
    AMBIGUOUS_SIBLINGS,
    AMBIGUOUS_SIBLINGS,
    LEAF,
    NO_CHILD,
    AMBIGUOUS_ROOT,
    AMBIGUOUS_ROOT,
    NO_ROOT,
    LEAF,
]
PATHS = ["R / X / U", "R / X", "R", "S / Z", "R", "R~S", "S~R", "", "R / Y"]


def test_each_competition_has_the_rows_that_came_to_its_parent():
    steps = list(descend(SCORES, PASSED, GAPS, TREE))
    assert [(step.parent, step.tried, step.rows.tolist()) for step in steps] == [
        (None, (R, S), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (R, (X, Y), [0, 1, 2, 4, 8]),
        (X, (U, V), [0, 1]),
        (S, (Z,), [3]),
    ]


def test_nothing_is_tried_below_the_roots_where_no_row_goes_on():
    steps = list(descend(SCORES[[5, 7]], PASSED[[5, 7]], GAPS, TREE))
    assert [step.parent for step in steps] == [None]
    assert [len(step.rows) for step in descend(SCORES[:0], PASSED[:0], GAPS, TREE)] == [0]


def test_outcomes_tell_the_label_and_the_stop_of_each_row():
    found = outcomes(SCORES, PASSED, GAPS, TREE)
    assert found.place.tolist() == PLACES
    assert found.stop.tolist() == STOPS


def test_outcomes_of_one_row_do_not_depend_on_the_others():
    order = np.array([8, 0, 7, 6, 5, 5, 4, 3, 2, 1])
    found = outcomes(SCORES[order], PASSED[order], GAPS, TREE)
    assert found.place.tolist() == [PLACES[row] for row in order]
    assert found.stop.tolist() == [STOPS[row] for row in order]


def test_each_row_may_have_gaps_of_its_own():
    gaps = np.repeat(GAPS[None, :], 9, axis=0)
    gaps[[1, 2, 5, 6]] = 0
    found = outcomes(SCORES, PASSED, gaps, TREE)
    assert found.place.tolist() == [U, U, U, Z, R, U, Z, UNASSIGNED_PLACE, Y]


def test_no_row_has_no_outcome():
    found = outcomes(SCORES[:0], PASSED[:0], GAPS, TREE)
    assert (found.place.tolist(), found.stop.tolist()) == ([], [])


def test_a_place_stands_for_a_path_or_two_roots_or_nothing():
    assert [path_of(place, TREE) for place in PLACES] == PATHS


def test_every_pair_of_roots_and_every_cell_type_has_a_place_of_its_own():
    pairs = [7 * (1 + first) + second for first in (R, S) for second in (R, S)]
    names = [path_of(place, TREE) for place in [*range(7), UNASSIGNED_PLACE, *pairs]]
    assert names[7:] == ["", "R~R", "R~S", "S~R", "S~S"]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------------- against oracle and tables


def _walked(given):
    """Path and stop of each cluster as the walks have them, which also keep the history."""
    walks = walk_clusters(given.results, given.limits, given.resolved, given.gating.max_ambiguity)
    return [
        (assignment(walk, given.resolved, given.results)["assigned_path"], walk.stop_reason)
        for walk in walks
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_outcomes_are_those_of_the_oracle_and_of_the_walks(seed: int):
    case = Drawn(seed).case()
    given, oracle = decider_of(case), Deciding(case)
    expected = [oracle.ends(cluster) for cluster in case["values"]]
    assert ends(given) == expected
    assert _walked(given) == expected


def test_drawn_cases_end_in_every_way_and_hold_what_is_rare():
    seen: dict[str, int] = dict.fromkeys((*STOP_REASONS, "nan", "tie", "veto", "hard", "own"), 0)
    for seed in SEEDS:
        given = decider_of(Drawn(seed).case())
        for _, stop in ends(given):
            seen[stop] += 1
        names = [knob.name for knob in given.knobs]
        seen["nan"] += bool(np.isnan(given.values.score).any())
        seen["veto"] += any(name.startswith("root_veto") for name in names)
        seen["hard"] += any(name.startswith("root_hard") for name in names)
        seen["own"] += any(name.startswith("gating_overrides") for name in names)
        results = given.results
        for step in descend(
            results.scores, results.passed, given.limits.min_gap, given.resolved.marker_map
        ):
            seen["tie"] += bool((step.margin[step.winner >= 0] == 0).any())
    assert min(seen.values()) >= 10, seen


@pytest.mark.parametrize("seed", CELL_SEEDS)
def test_outcomes_are_those_of_the_tables_of_a_run(seed: int):
    case = Generator(seed).case()
    options = {name: case[name] for name in ("profile", "scoring", "gating")}
    view = expression(case["expression"], case["markers"])
    tables = annotated(view, case["marker_map"], case["clusters"], **options).tables
    table: pd.DataFrame = tables["cluster_annotations"]
    given = decider_of_cells(case)
    assert list(given.cluster_ids) == table["cluster_id"].tolist()
    expected = list(zip(table["assigned_path"], table["stop_reason"], strict=True))
    assert ends(given) == expected


# ---------------------------------------------------------------------- deciding again


def test_the_settings_as_they_stand_give_the_outcomes_as_they_stand():
    for seed in SEEDS[:30]:
        given = decider_of(Drawn(seed).case())
        order = np.array([*range(given.n_clusters), 0], dtype=np.intp)
        found = given.under(order, np.tile(given.settings, (len(order), 1)))
        assert found.place.tolist() == given.outcomes.place[order].tolist()
        assert found.stop.tolist() == given.outcomes.stop[order].tolist()


def test_each_row_is_decided_under_its_own_setting():
    given = next(g for g in (decider_of(Drawn(s).case()) for s in SEEDS) if "R" in ends(g)[0][0])
    strict = np.where([knob.field == "min_enrichment" for knob in given.knobs], 99, given.settings)
    found = given.under(np.array([0, 0, 0]), np.array([strict, given.settings, strict]))
    here = given.outcomes.place[0]
    assert found.place.tolist() == [UNASSIGNED_PLACE, here, UNASSIGNED_PLACE]


def test_no_question_has_no_answer():
    given = decider_of(Drawn(0).case())
    found = given.under(np.empty(0, dtype=np.intp), np.empty((0, len(given.knobs))))
    assert (found.place.tolist(), found.stop.tolist()) == ([], [])


@pytest.mark.parametrize("n_rows", [6, 7, 8, 14, 30])
def test_parts_of_seven_rows_give_the_same_as_all_at_once(n_rows, monkeypatch):
    given = decider_of(Drawn(4).case())
    rng = np.random.default_rng(n_rows)
    settings = given.settings * rng.uniform(0, 2, (n_rows, len(given.knobs)))
    clusters = rng.integers(given.n_clusters, size=n_rows)
    whole = given.under(clusters, settings)
    assert len(set(whole.place.tolist())) > 1
    monkeypatch.setattr(decider_module, "_ROWS_AT_ONCE", 7)
    parts = given.under(clusters, settings)
    assert parts.place.tolist() == whole.place.tolist()
    assert parts.stop.tolist() == whole.stop.tolist()
