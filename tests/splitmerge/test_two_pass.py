"""Both passes: runs that were followed by hand."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp

from ctr_engine.errors import ParameterError
from ctr_engine.splitmerge.clusters import NotMeceError
from ctr_engine.splitmerge.distances import MatrixDistances
from ctr_engine.splitmerge.params import TwoPassParams
from ctr_engine.splitmerge.refiner import Refiner
from ctr_engine.splitmerge.two_pass import two_pass
from tests.splitmerge.cases import line
from tests.splitmerge.runs import contents, run

# --------------------------------------------------------------- which passes, and errors

PAIRS = (0, 0.001, 0.06, 0.061, 0.2, 0.201)
"""Three pairs, far apart."""


def test_pass_one_alone_divides_and_refines_each_cluster_once():
    found = run(line(*PAIRS), {"a": [0, 1, 2], "b": [3, 4, 5]}, passes=(1,))
    # a and b overlap in space: each is divided, and 2 and 3 are in different scopes
    assert contents(found) == [(0, 1), (2,), (3,), (4, 5)]
    assert [step.stage for step in found.iterations] == ["given", "pass_1"]
    assert [step.n_after for step in found.iterations] == [2, 4]
    assert found.iterations[1].n_scopes == found.iterations[1].n_applied == 2
    assert (found.stop_reason, found.kept) == (None, 1)


def test_pass_two_alone_merges_what_is_near_and_makes_no_resolution():
    clusters = {"a": [0, 1], "b": [2], "c": [3], "d": [4, 5]}
    found = run(line(*PAIRS), clusters, passes=(2,))
    assert contents(found) == [(0, 1), (2, 3), (4, 5)]
    assert [step.stage for step in found.iterations] == ["given", "pass_2", "pass_2"]
    assert found.resolved is None
    assert found.stop_reason == "no_changes"


def test_a_cluster_in_the_core_of_an_earlier_scope_is_no_seed_of_pass_one():
    """Items 0 and 1 are in one scope, 2 and 3 in another: two scopes, not four."""
    (given, first) = run(line(0, 0.015, 0.1, 0.115), {}, passes=(1,)).iterations
    assert (given.stage, given.n_after) == ("given", 4)
    # 3 (0.085 - 0.015) joined is more than 3 (0.015 + 0.015) / 2 apart
    assert (first.n_scopes, first.n_applied, first.n_after) == (2, 2, 2)


def test_clusters_that_conflict_are_resolved_and_are_no_state_that_could_be_kept():
    found = run(line(*PAIRS), {"a": [0, 1, 2], "b": [3, 2], "c": [5, 5]})
    assert contents(found) == [(0, 1), (2, 3), (4, 5)]
    assert found.resolved is not None
    assert (found.resolved.n_conflicts, found.resolved.n_components) == (2, 2)
    first = found.iterations[0]
    # a, b, c and item 4, which is in none
    assert (first.stage, first.n_before, first.n_after) == ("pass_1", 4, 3)
    # two components, and the scope of item 4, which has 5 beside it
    assert (first.n_scopes, first.n_applied) == (3, 1)


@pytest.mark.parametrize("clusters", [{"a": [0, 1], "b": [1, 2]}, {"a": [0, 1, 1], "b": [2]}])
def test_without_pass_one_clusters_that_share_items_are_refused(clusters):
    text = r"^items in several clusters: \[1\] \(1\); items in none: \[\] \(0\)$"
    with pytest.raises(NotMeceError, match=text):
        run(line(0, 1, 2), clusters, passes=(2,))


def test_an_item_in_no_cluster_is_one_of_its_own_in_either_pass():
    for passes in ((1,), (2,)):
        found = run(line(0, 0.1, 0.2), {"a": [1], "b": []}, passes=passes)
        assert contents(found) == [(0,), (1,), (2,)]
        assert found.iterations[0].n_before == 3


def test_one_item_is_one_cluster():
    found = run(np.zeros((1, 1)), {})
    assert contents(found) == [(0,)]
    assert found.stop_reason == "no_changes"


# --------------------------------------------------------------------------- stop reasons


def test_right_clusters_are_left_alone_and_nothing_changes():
    clusters = {"z": [1, 0], "y": [2, 3], "x": [5, 4]}
    found = run(line(*PAIRS), clusters)
    assert contents(found) == [(0, 1), (2, 3), (4, 5)]
    assert found.stop_reason == "no_changes"
    assert len(found.iterations) == 3
    assert [step.n_applied for step in found.iterations] == [0, 0, 0]


def test_changes_in_the_last_allowed_iteration_reach_the_limit():
    clusters = {str(x): [x] for x in range(6)}
    limited = run(line(*PAIRS), clusters, passes=(2,), max_iterations=1)
    assert limited.stop_reason == "iteration_limit"
    assert contents(limited) == [(0, 1), (2, 3), (4, 5)]
    quiet = run(line(*PAIRS), clusters, passes=(2,), max_iterations=2)
    assert quiet.stop_reason == "no_changes", "that nothing changes is seen on the last one too"
    assert len(quiet.iterations) == 3


@pytest.mark.parametrize(("items", "told"), [([0, 7], "[7]"), ([-1], "[-1]")])
def test_an_item_that_there_is_not_is_refused(items, told):
    text = re.escape(f"cluster 'a' holds items {told}; there are 0 to 2")
    with pytest.raises(ParameterError, match=text):
        run(line(0, 0.1, 0.2), {"a": items, "b": [1]})


def test_scopes_into_which_a_near_cluster_does_not_fit_are_counted():
    near = line(0, 0.015, 0.5, 0.515)
    whole = run(near, {"a": [0], "b": [1], "c": [2, 3]}, passes=(2,), max_iterations=1)
    assert whole.n_cut_scopes == 0
    pairs = line(0, 0, 0.015, 0.015, 0.5)
    given = {"a": [0, 1], "b": [2, 3], "c": [4]}
    assert run(pairs, given, passes=(2,), max_iterations=1, max_scope_size=3).n_cut_scopes == 2


class Restless(Refiner):
    """Joins items 0 and 1 where they are apart, and parts them where they are together."""

    def split(self, core, context=()):
        del context
        items = {item for group in core for item in group}
        if items != {0, 1}:
            return sorted(core)
        return [(0, 1)] if len(core) > 1 else [(0,), (1,)]


def test_a_partition_that_comes_back_is_an_oscillation_and_the_wider_gap_is_kept():
    distances = line(0, 0.015, 0.1)
    refiner = Restless(MatrixDistances(distances), TwoPassParams())
    found = two_pass({}, refiner, passes=(2,))
    assert (found.stop_reason, found.cycle) == ("oscillation", 2)
    assert found.restless == ((0,), (0, 1), (1,))
    assert [step.n_after for step in found.iterations] == [3, 2, 3]
    # apart (15 + 15 + 85) / 3 thousandths, less max_lump; joined: between 85 and 100, low quantiles
    # 86.5, 85.75 and 85, mean 85.75, less 15 inside, and 85.75 less max_lump
    gaps = [step.gap for step in found.iterations]
    apart = 0.115 / 3 - 0.02
    assert gaps == pytest.approx([apart, (0.07075 + 0.06575) / 2, apart])
    assert found.kept == 1
    assert contents(found) == [(0, 1), (2,)]


def test_what_was_given_before_pass_one_may_come_back():
    """Pass 1 is made once, so that only what pass 2 comes back to can come back for ever."""
    refiner = Restless(MatrixDistances(line(0, 0.015, 0.1)), TwoPassParams(max_iterations=1))
    found = two_pass({}, refiner)
    assert [step.n_after for step in found.iterations] == [3, 2, 3]
    assert (found.stop_reason, found.cycle, found.restless) == ("iteration_limit", None, ())


# -------------------------------------------------------------------- scopes of a pass


def test_a_scope_that_converged_is_skipped_until_its_content_changes():
    """Pairs at 0 and 0.1, and far away one at 1.1 next to 2 and 3 at 1, which are given apart.

    At first the scopes are 0-1, 4-5, 6-7 (with 2 as context) and 2, 3, which are merged. Then the
    first two are as they were, and 6-7 has other context.
    """
    places = (0, 0, 1, 1, 0.1, 0.1, 1.1, 1.1)
    clusters = {"a": [0, 1], "b": [2], "c": [3], "d": [4, 5], "e": [6, 7]}
    found = run(line(*places), clusters, passes=(2,))
    first, second = found.iterations[1:]
    assert (first.n_scopes, first.n_skipped, first.n_applied) == (4, 0, 1)
    assert (second.n_scopes, second.n_skipped, second.n_applied) == (2, 2, 0)
    assert found.n_converged_scopes == 5


def test_a_scope_whose_cluster_an_earlier_one_took_is_dropped():
    """Items 0 and 1 are merged; 2, which is near to 1 but not to 0, comes too late for it."""
    found = run(line(0, 0.004, 0.022, 0.9), {}, passes=(2,), max_iterations=1)
    step = found.iterations[1]
    assert (step.n_scopes, step.n_applied, step.n_dropped) == (3, 1, 1)
    assert sorted(found.clusters.values())[0] == (0, 1)


def test_the_close_threshold_says_what_is_refined_together():
    """Items 0 and 1 are 0.015 apart, and beside one at 0.1 better joined."""
    distances = line(0, 0.015, 0.1)
    near = run(distances, {}, passes=(2,))
    assert contents(near) == [(0, 1), (2,)]
    apart = run(distances, {}, passes=(2,), close_threshold=0.01)
    assert contents(apart) == [(0,), (1,), (2,)]
    divided = run(distances, {"a": [0, 1], "b": [2]}, passes=(2,), close_threshold=0.01)
    assert contents(divided) == [(0, 1), (2,)]


def test_progress_is_told_of_every_cluster_and_every_iteration():
    told: list[tuple[str, int, int]] = []
    run(line(*PAIRS), {"a": [0, 1], "b": [2, 3], "c": [4, 5]}, progress=lambda *t: told.append(t))
    assert told[:4] == [("pass 1", done, 3) for done in range(4)]
    assert told[4] == ("pass 2", 0, 10)


def test_candidate_pairs_that_name_all_that_are_near_change_nothing():
    places = np.array([*PAIRS, 0.003, 0.064, 0.9])
    distances = line(*places)
    clusters = {"a": [0, 2, 4], "b": [1, 3, 5, 6]}
    everything = run(distances, clusters)

    def near(items: Sequence[int]) -> sp.csr_matrix:
        return sp.csr_matrix(distances[np.ix_(items, items)] < 0.5)

    params = TwoPassParams()
    found = two_pass(clusters, Refiner(MatrixDistances(distances), params, near))
    assert contents(found) == contents(everything) == [(0, 1, 6), (2, 3, 7), (4, 5), (8,)]


# ---------------------------------------------------------------------------- large ones


def test_a_cluster_above_the_limit_is_divided_by_a_sample_and_reported():
    places = [x / 10_000 for x in range(6)] + [0.1 + x / 10_000 for x in range(6)]
    found = run(line(*places), {"a": range(12)}, max_scope_size=5)
    halves = [tuple(range(6)), tuple(range(6, 12))]
    assert contents(found) == halves
    assert found.sampled == (tuple(range(6)), tuple(range(12)), tuple(range(6, 12)))
    assert found.largest_scope == 5
    assert found.stop_reason == "no_changes"


def test_conflicts_above_the_limit_go_to_the_nearest_holder_and_are_reported():
    """Item 8 is nearer to the second group; neither group is above the limit without it."""
    places = [0, 0.001, 0.002, 0.003, 0.1, 0.101, 0.102, 0.103, 0.104]
    clusters = {"a": [0, 1, 2, 3, 8], "b": [4, 5, 6, 7, 8]}
    found = run(line(*places), clusters, max_scope_size=5)
    assert contents(found) == [(0, 1, 2, 3), (4, 5, 6, 7, 8)]
    assert found.resolved is not None
    assert found.resolved.assigned == (8,)
    assert found.sampled == ()
    assert found.largest_scope <= 5
