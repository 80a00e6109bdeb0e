"""Which state of a run is kept, which clusters are restless, and what a graph has to know.

What a scope becomes is given here, so that the states are known beforehand.
"""

import numpy as np
import pytest
import scipy.sparse as sp

from ctr_engine.splitmerge import graph
from ctr_engine.splitmerge.distances import MatrixDistances
from ctr_engine.splitmerge.params import TwoPassParams
from ctr_engine.splitmerge.refiner import Refiner
from ctr_engine.splitmerge.two_pass import TwoPass, two_pass
from tests.splitmerge.cases import line, matrix
from tests.splitmerge.runs import contents, run


class AllInOne(Refiner):
    """Merges whatever is in a scope."""

    def split(self, core, context=()):
        del context
        return [tuple(sorted(item for group in core for item in group))]


class RestlessAtZero(AllInOne):
    """Parts items 0 and 1 where they are together, and merges all else."""

    def split(self, core, context=()):
        if sorted(core) == [(0, 1)]:
            return [(0,), (1,)]
        return super().split(core, context)


def run_with(kind: type[Refiner], distances: np.ndarray, clusters, **options) -> TwoPass:
    refiner = kind(MatrixDistances(distances), TwoPassParams(**options))
    return two_pass(clusters, refiner, passes=(2,))


def test_one_cluster_is_better_than_a_gap_below_zero_and_worse_than_one_above():
    """Items every 0.006: odd and even ones are 0.012 wide, and 0.006 from each other."""
    distances = line(0, 0.006, 0.012, 0.018)
    across = run_with(AllInOne, distances, {"a": [0, 2], "b": [1, 3]})
    assert [step.n_after for step in across.iterations] == [2, 1, 1]
    assert across.iterations[0].gap < 0
    assert np.isnan(across.iterations[1].gap)
    assert contents(across) == [(0, 1, 2, 3)]
    halves = run_with(AllInOne, line(0, 0.001, 0.018, 0.019), {"a": [0, 1], "b": [2, 3]})
    assert [step.n_after for step in halves.iterations] == [2, 1, 1]
    assert halves.iterations[0].gap > 0
    assert halves.kept == 0
    assert contents(halves) == [(0, 1), (2, 3)]


def test_only_what_the_cycle_itself_changes_is_restless():
    """Items 2 and 3 are merged once, before the cycle of 0 and 1 begins."""
    found = run_with(RestlessAtZero, line(0, 0.01, 0.5, 0.51), {"a": [0, 1], "b": [2], "c": [3]})
    assert [step.n_after for step in found.iterations] == [3, 3, 2, 3]
    assert (found.stop_reason, found.cycle) == ("oscillation", 2)
    assert found.restless == ((0,), (0, 1), (1,))


def test_what_was_in_the_core_of_a_scope_of_pass_one_is_no_seed_though_it_stayed():
    """Items 0 and 1 are near, and stay apart: one scope, not two."""
    found = run(line(0, 0.015), {}, passes=(1,), alone_is_wide=False)
    assert contents(found) == [(0,), (1,)]
    assert (found.iterations[1].n_scopes, found.iterations[1].n_applied) == (1, 0)


@pytest.mark.parametrize(
    ("options", "known"),
    [
        # 2 x 0.02, the nearest being 0.01
        ({}, [0.01, 0.02, 0.04]),
        ({"context_threshold_multiplier": 1.0}, [0.01, 0.02]),
        ({"close_threshold": 0.03}, [0.01, 0.02, 0.04, 0.06]),
        # pass 1 still looks as far as max_lump
        ({"close_threshold": 0.001}, [0.01, 0.02, 0.04]),
        # all are farther, and the nearest is known
        ({"max_lump": 0.005, "context_threshold_multiplier": 1.0}, [0.01]),
    ],
)
def test_the_graph_knows_all_neighbours_that_a_scope_can_ask_for(options, known):
    distances = line(0, 0.01, 0.02, 0.04, 0.06, 0.09)
    refiner = Refiner(MatrixDistances(distances), TwoPassParams(k_neighbors=1, **options))
    built = refiner.graph({str(x): (x,) for x in range(6)})
    assert [distance for _, distance in built.k_nearest("0", 99)] == known


def test_ids_sort_by_smallest_item_after_pass_one_too():
    """The medoid is item 1, but item 0 is first."""
    found = run(line(0, 0.1, 0.101), {"a": [0, 1, 2]}, passes=(1,))
    assert [found.clusters[name] for name in sorted(found.clusters)] == [(0,), (1, 2)]


def test_of_states_with_equal_gaps_the_last_is_kept():
    found = run(line(0, 0.1), {"a": [0], "b": [1]})
    gap = 0.1 - 0.02  # one that is alone counts as wide as max_lump
    assert [step.gap for step in found.iterations] == pytest.approx([gap, gap, gap])
    assert found.kept == 2


# ------------------------------------------------------------- thresholds of what was given


def keeps(distances, *groups: tuple[int, ...], **options) -> bool:
    refiner = Refiner(MatrixDistances(matrix(distances)), TwoPassParams(**options))
    clusters = {str(x): items for x, items in enumerate(groups)}
    return refiner.keeps_thresholds(clusters, refiner.graph(clusters))


def test_clusters_nearer_than_min_split_do_not_keep_it():
    assert keeps([[0, 0.005], [0.005, 0]], (0,), (1,)), "exclusive, as in the core"
    assert not keeps([[0, 0.0049], [0.0049, 0]], (0,), (1,))
    assert keeps([[0, 0.0049], [0.0049, 0]], (0, 1))
    assert keeps([[0, 0.0049], [0.0049, 0]], (0,), (1,), min_split=0.004)
    assert keeps([[0, None], [None, 0]], (0,), (1,)), "nothing says that they are near"


def test_clusters_are_as_near_as_the_target_percentile_of_their_distances():
    """From 0 and 1 to 2 it is 0.002 and 0.0051: 95 % is 0.004945, and all of them 0.0051."""
    distances = [[0, 0.001, 0.002], [0.001, 0, 0.0051], [0.002, 0.0051, 0]]
    assert not keeps(distances, (0, 1), (2,))
    assert keeps(distances, (0, 1), (2,), target_percentile=100)


def test_a_cluster_wider_than_max_lump_does_not_keep_it():
    assert keeps([[0, 0.02], [0.02, 0]], (0, 1)), "inclusive, as in the core"
    assert not keeps([[0, 0.021], [0.021, 0]], (0, 1))
    assert keeps([[0, 0.021], [0.021, 0]], (0,), (1,))
    assert keeps([[0, None], [None, 0]], (0, 1)), "nothing says that it is wide"


def test_a_cluster_is_as_wide_as_the_core_says():
    """Of three distances the local gap takes the last, and a percentile of 50 the second."""
    distances = [[0, 0.001, 0.03], [0.001, 0, 0.001], [0.03, 0.001, 0]]
    assert not keeps(distances, (0, 1, 2))
    assert not keeps(distances, (0, 1, 2), target_percentile=50)
    assert keeps(distances, (0, 1, 2), target_percentile=50, gap_method="global")


# -------------------------------------------------------------------- very many clusters


def test_of_very_many_clusters_parts_that_no_candidate_connects_are_compared_apart(monkeypatch):
    """Pairs 0-1, 1-2 and 3-4 are candidates, and item 5 has none."""
    monkeypatch.setattr(graph, "MOST_AT_ONCE", 5)
    pairs = np.zeros((6, 6))
    for x, y in ((0, 1), (1, 2), (3, 4)):
        pairs[x, y] = pairs[y, x] = 1
    asked: list[list[int]] = []

    class Asked(MatrixDistances):
        def matrix(self, items):
            asked.append([int(x) for x in items])
            return super().matrix(items)

    places = Asked(line(0, 1, 3, 7, 20, 50))
    clusters = {str(x): (x,) for x in range(6)}
    built = graph.MedoidGraphs(places, lambda items: sp.csr_matrix(pairs), k=2).build(clusters)
    assert sorted(asked) == [[0, 1, 2], [3, 4]]
    assert built.edges == {
        # 0 and 2 have one candidate, fewer than two, and are compared with all of their part
        "0": (("1", 1.0), ("2", 3.0)),
        "1": (("0", 1.0), ("2", 2.0)),
        "2": (("1", 2.0), ("0", 3.0)),
        "3": (("4", 13.0),),
        "4": (("3", 13.0),),
        "5": (),
    }
