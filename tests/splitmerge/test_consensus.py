"""One partition of several clusterings: hand counts, the slow oracle, and what must not matter."""

import re
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctr_engine.clustering.pipeline import ClusteringParams, leiden
from ctr_engine.errors import CellMismatchError, ParameterError
from ctr_engine.splitmerge.cells.consensus import Consensus, consensus, share_of_runs
from ctr_engine.splitmerge.cells.params import ConsensusParams
from ctr_engine.splitmerge.cells.runs import leiden_runs, run_params
from ctr_engine.tables import ConsensusClusters, ConsensusSummary, column_names
from tests.oracles import consensus as slow


def agree(runs: Sequence[str], at: Sequence[float] | None = None, **options) -> Consensus:
    """Consensus of runs over cells a, b, c, ..., which lie on a line."""
    n = len(runs[0])
    places = np.zeros(n) if at is None else np.array(at, dtype=np.float64)
    ids = [chr(ord("a") + cell) for cell in range(n)]
    return consensus([list(run) for run in runs], places[:, None], ids, ConsensusParams(**options))


def text(found: Consensus) -> str:
    return "".join(found.clusters)


def test_a_cell_goes_where_most_runs_put_it_and_is_a_conflict():
    # groups: {abc} twice and {ab}, 1/3 apart; {def} twice and {cdef}, 1/4 apart
    found = agree(["xxxyyy", "pppqqq", "112222"])
    assert (text(found), found.n_groups) == ("000111", 2)
    assert found.conflict.tolist() == [False, False, True, False, False, False]
    assert not found.tie.any(), "two of three runs are more than one"
    # the third run finds abc best in {ab}, where c is not
    assert found.stability.tolist() == [1, 1, 2 / 3, 1, 1, 1]
    assert found.jaccard.tolist() == [[1, 1, 2 / 3], [1, 1, 3 / 4]]


@pytest.mark.parametrize(
    ("place", "clusters", "jaccard"),
    [(4, "00011", [[1, 2 / 3], [1, 2 / 3]]), (6, "11000", [[2 / 3, 1], [2 / 3, 1]])],
)
def test_a_tie_goes_to_the_nearest_middle_of_the_cells_that_are_sure(place, clusters, jaccard):
    """The middles are 0 and 10; with c in it, the first would be 2 and as near to 6 as 10 is."""
    found = agree(["xxxyy", "xxyyy"], at=[-1, 1, place, 9, 11])
    assert text(found) == clusters
    assert found.tie.tolist() == found.conflict.tolist() == [False, False, True, False, False]
    assert found.stability.tolist() == [1, 1, 0.5, 1, 1]
    assert found.jaccard.tolist() == jaccard


def test_cells_that_most_runs_put_into_a_group_are_sure_and_move_its_middle():
    """Three of four runs put c to a and b, two of four put d there."""
    runs = ["xxxxyy", "xxxxyy", "xxxyyy", "xxyyyy"]
    # the first middle is (0 + 0 + 6) / 3 = 2, or 0 without c; the other is 10; d is at 5.5
    found = agree(runs, at=[0, 0, 6, 5.5, 10, 10], min_split=0.6)
    assert text(found) == "000011"
    assert found.tie.tolist() == [False, False, False, True, False, False]
    # with c at 0 the middle is 0, and 5.5 is nearer to 10
    assert text(agree(runs, at=[0, 0, 0, 5.5, 10, 10], min_split=0.6)) == "000111"


@pytest.mark.parametrize("rows", [1, 4, 65_536])
def test_ties_are_decided_alike_however_many_are_looked_at_together(rows, monkeypatch):
    monkeypatch.setattr("ctr_engine.splitmerge.cells.consensus._ROWS", rows)
    runs, at = ["x" * 12 + "y" * 6, "x" * 6 + "y" * 12], [*[0] * 6, 1, 9, 2, 8, 1, 9, *[10] * 6]
    assert text(agree(runs, at, min_split=0.6)) == "000000" + "010101" + "111111"


def test_a_lower_stability_is_the_share_of_runs_that_found_the_cell_with_its_cluster():
    # the fourth run finds abcd best in {abc}; the fifth in {ab}, 2/4, and not {cdef}, 2/6
    found = agree(["xxxxyy", "xxxxyy", "xxxxyy", "xxxyzz", "xxyyyy"], min_split=0.6)
    assert text(found) == "000011"
    assert found.stability.tolist() == [1, 1, 4 / 5, 3 / 5, 1, 1]
    # abcd: 4/4 three times, 3/4, and 2/4 of ab; ef: 2/2 four times, and 2/4 of cdef
    assert found.jaccard.tolist() == [[1, 1, 1, 3 / 4, 1 / 2], [1, 1, 1, 1, 1 / 2]]


def test_clusters_are_numbered_by_size_and_then_by_first_cell_in_the_order_given():
    run, ids = list("xyyzzuuu"), list("hgfedcba")
    found = consensus([run, run], np.zeros((8, 1)), ids, ConsensusParams())
    assert text(found) == "31122000"


def test_clusters_of_runs_that_differ_by_less_than_min_split_vote_together():
    """{e} and {de} differ by a half; apart, e has one vote for each of three groups."""
    runs = ["xxxxx", "xxxxy", "xxxyy"]
    together = agree(runs, min_split=0.6)
    assert (text(together), together.n_groups) == ("00001", 2)
    assert together.conflict.tolist() == [False, False, False, True, True]
    assert not together.tie.any()
    apart = agree(runs, min_split=0.5)
    # of the three groups of e only the first has cells that are sure
    assert (text(apart), apart.n_groups) == ("00000", 3)
    assert apart.tie.tolist() == [False, False, False, False, True]


def test_clusters_of_runs_that_differ_by_more_than_max_lump_never_vote_together():
    """{abcd} and {abc} differ by 1/4, {efgh} and {defgh} by 1/5."""
    runs, at = ["xxxxyyyy", "xxxyyyyy"], [0, 0, 0, 1, 9, 9, 9, 9]
    together = agree(runs, at, min_split=0.1, max_lump=0.5)
    assert (text(together), together.n_groups) == ("00001111", 2)
    assert together.tie.tolist() == [False, False, False, True, False, False, False, False]
    apart = agree(runs, at, min_split=0.1, max_lump=0.1)
    # nobody is sure; the middles are 1/4 of abcd, 0 of abc, 9 of efgh and 37/5 of defgh
    assert (text(apart), apart.n_groups) == ("11120000", 4)
    assert apart.tie.all()


def test_clusters_that_differ_by_as_much_as_max_lump_may_vote_together():
    """Both pairs differ by 3 of 20 cells, which is 0.15."""
    runs = ["x" * 20 + "y" * 17, "x" * 17 + "y" * 20]
    assert agree(runs, min_split=0.05, max_lump=0.15).n_groups == 2
    assert agree(runs, min_split=0.05, max_lump=0.149).n_groups == 4


def test_a_group_that_nobody_is_sure_of_has_the_middle_of_all_that_may_join_it():
    """The middles are 27/5 of all five cells, 0 of ab and 9 of cde."""
    found = agree(["xxxxx", "xxyyy"], at=[0, 0, 9, 9, 9], min_split=0.1, max_lump=0.1)
    assert (text(found), found.n_groups) == ("11000", 3)
    assert (found.tie & found.conflict).all()
    assert found.stability.tolist() == [1, 1, 1, 1, 1]
    assert found.jaccard.tolist() == [[3 / 5, 1], [2 / 5, 1]]


def test_of_equally_near_groups_the_one_with_the_largest_cluster_of_a_run_is_taken():
    """{abcd}, {bc} and {d} are all around 0; nobody is sure of them."""
    found = agree(["xxxxyy", "yxxzyy"], at=[0, 0, 0, 0, 999, 999], min_split=0.4, max_lump=0.4)
    assert (text(found), found.n_groups) == ("000011", 4)
    assert found.tie.tolist() == [True, True, True, True, False, False]


@st.composite
def cases(draw) -> tuple[list[list[str]], np.ndarray, list[str], dict[str, float]]:
    """Runs that are at random, or that move some cells of one partition."""
    n = draw(st.integers(2, 14))
    label = st.integers(0, draw(st.integers(0, 4)))
    base = draw(st.lists(label, min_size=n, max_size=n))
    kept = draw(st.sampled_from([0.0, 0.5, 0.8, 0.9]))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    runs = []
    for _ in range(draw(st.integers(2, 5))):
        anew = rng.integers(0, max(base) + 1, n)
        moved = np.where(rng.random(n) < kept, base, anew)
        runs.append([f"c{name}" for name in moved])
    low, high = draw(st.sampled_from([(0.5, 0.7), (0.1, 0.1), (0.2, 0.8), (0.75, 1.0)]))
    ids = [f"cell {number}" for number in rng.permutation(n)]
    return runs, rng.normal(size=(n, 2)), ids, {"min_split": low, "max_lump": high}


@settings(max_examples=60)
@given(cases())
def test_the_consensus_is_that_of_a_slow_plain_loop(case):
    runs, coordinates, ids, options = case
    found = consensus(runs, coordinates, ids, ConsensusParams(**options))
    expected = slow.consensus(runs, coordinates.tolist(), ids, **options)
    assert found.n_groups == expected.n_groups
    for one in ("clusters", "conflict", "tie", "stability", "jaccard"):
        assert getattr(found, one).tolist() == getattr(expected, one), one


@given(cases(), st.randoms(use_true_random=False))
def test_neither_the_order_of_the_cells_nor_of_the_runs_nor_names_matter(case, rng):
    runs, coordinates, ids, options = case
    params = ConsensusParams(**options)
    found = consensus(runs, coordinates, ids, params)
    cells = rng.sample(range(len(ids)), len(ids))
    turn = rng.sample(range(len(runs)), len(runs))
    names = rng.sample(["9", "10", "B", "a", "é"], 5)
    other_runs = [[names[int(runs[run][cell][1:])] for cell in cells] for run in turn]
    other_ids = [ids[cell] for cell in cells]
    other = consensus(other_runs, coordinates[cells], other_ids, params)
    assert slow.parts(other.clusters, other_ids) == slow.parts(found.clusters, ids)
    for one in ("stability", "conflict", "tie"):
        assert getattr(other, one).tolist() == getattr(found, one)[cells].tolist()
    assert other.n_groups == found.n_groups
    assert sorted(other.jaccard.tolist()) == sorted(found.jaccard[:, turn].tolist())


@given(cases())
def test_every_cell_is_in_one_cluster_and_these_are_numbered_without_holes_by_size(case):
    runs, coordinates, ids, options = case
    found = consensus(runs, coordinates, ids, ConsensusParams(**options))
    sizes = [int((found.clusters == str(n)).sum()) for n in range(len(found.jaccard))]
    assert sum(sizes) == len(ids) == len(found.clusters)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] > 0
    assert not (found.tie & ~found.conflict).any(), "a tie is a conflict"


@given(cases(), st.integers(2, 5))
def test_identical_runs_give_back_that_run_of_which_every_cell_is_sure(case, n_runs):
    (run, *_), coordinates, ids, options = case
    found = consensus([run] * n_runs, coordinates, ids, ConsensusParams(**options))
    assert slow.parts(found.clusters, ids) == slow.parts(run, ids)
    assert found.n_groups == len(set(run))
    assert {*found.stability.tolist(), *found.jaccard.ravel().tolist()} == {1}
    assert not (found.conflict | found.tie).any()


@pytest.mark.parametrize("n_runs", [0, 1])
def test_one_clustering_is_no_consensus(n_runs):
    told = f"^a consensus needs two clusterings or more; got {n_runs}$"
    with pytest.raises(ParameterError, match=told):
        consensus([["x", "y"]] * n_runs, np.zeros((2, 1)), ["a", "b"], ConsensusParams())


@pytest.mark.parametrize(
    ("sizes", "rows", "n_ids", "told"),
    [
        ((3, 4), 3, 3, "clusterings of [3, 4] cells and 3 rows of coordinates"),
        ((3, 3), 2, 3, "clusterings of [3] cells and 2 rows of coordinates"),
        ((3, 3), 3, 4, "clusterings of [3] cells and 3 rows of coordinates"),
    ],
)
def test_other_numbers_of_cells_are_refused(sizes, rows, n_ids, told):
    runs, ids = [["x"] * size for size in sizes], [f"cell {n}" for n in range(n_ids)]
    with pytest.raises(CellMismatchError, match=re.escape(told)) as caught:
        consensus(runs, np.zeros((rows, 2)), ids, ConsensusParams())
    assert str(caught.value).endswith(f"are not of the same {n_ids} cells")


@pytest.mark.parametrize(
    ("coordinates", "ids", "told"),
    [
        (np.zeros((0, 2)), "", "there is no cell to make a consensus of"),
        (np.zeros((3, 2)), "aba", "1 ids of cells come a second time"),
        (np.zeros(3), "abc", r"a row for each cell; got the shape \(3,\)"),
        (np.zeros((3, 0)), "abc", r"a row for each cell; got the shape \(3, 0\)"),
        (np.full((3, 2), np.nan), "abc", r"coordinates are finite.*\(3, 2\)"),
    ],
)
def test_cells_that_cannot_be_told_apart_or_placed_are_refused(coordinates, ids, told):
    runs = [["x"] * len(ids)] * 2
    with pytest.raises((CellMismatchError, ParameterError), match=told):
        consensus(runs, coordinates, list(ids), ConsensusParams())


def test_more_clusters_than_can_be_compared_are_refused():
    cells = [f"cell {n}" for n in range(1000)]
    told = "^1,001 clusters in 2 clusterings are more than 1,000; take fewer runs or a smaller "
    with pytest.raises(ParameterError, match=told + "resolution$"):
        consensus([cells, ["x"] * 1000], np.zeros((1000, 1)), cells, ConsensusParams())


def test_thresholds_that_leave_the_same_cluster_apart_are_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        ConsensusParams(min_split=0.0)


def test_min_split_above_max_lump_is_refused():
    with pytest.raises(ValidationError, match=r"min_split 0\.8 is above max_lump 0\.7"):
        ConsensusParams(min_split=0.8)
    assert ConsensusParams(min_split=0.7).max_lump == 0.7, "equal ones are in order"


def test_the_table_has_a_row_per_cell_in_the_order_of_the_cells():
    table = agree(["xxxyyy", "pppqqq", "112222"]).table(list("abcdef"))
    assert list(table.columns) == column_names(ConsensusClusters)
    assert table["cell_id"].tolist() == list("abcdef")
    assert table["cluster_id"].tolist() == list("000111")
    assert table["consensus_stability"].tolist() == [1, 1, 2 / 3, 1, 1, 1]
    assert table["is_conflict"].tolist() == [False, False, True, False, False, False]


def test_the_summary_counts_cells_conflicts_and_the_runs_that_found_a_cluster():
    runs = ["xxxxyy", "xxxxyy", "xxxxyy", "xxxyzz", "xxyyyy"]
    summary = agree(runs, min_split=0.6).summary()
    assert list(summary.columns) == column_names(ConsensusSummary)
    assert summary["cluster_id"].tolist() == ["0", "1"]
    assert summary["n_cells"].tolist() == [4, 2]
    assert summary["n_conflicts"].tolist() == [2, 0]
    # (1 + 1 + 4/5 + 3/5) / 4, and (1 + 1 + 1 + 3/4 + 1/2) / 5 and (1 + 1 + 1 + 1 + 1/2) / 5
    assert summary["mean_stability"].tolist() == [0.85, 1]
    assert summary["mean_jaccard"].tolist() == [0.85, 0.9]
    assert summary["n_runs_found"].tolist() == [4, 4], "a half is not more than half"


def test_the_summary_puts_cluster_10_after_cluster_9():
    summary = agree(["abcdefghijk"] * 2).summary()
    assert summary["cluster_id"].tolist() == [str(number) for number in range(11)]


def test_the_share_of_runs_is_that_in_which_a_cell_has_its_final_label():
    runs = [["T", "T", "B"], ["T", "B", "B"], ["T", "NK", "T"], ["T", "T", "T"]]
    assert share_of_runs(runs, ["T", "T", "NK"]).tolist() == [1, 0.5, 0]


def bridged_cliques() -> sp.csr_matrix:
    """Two of four cells: as one they gain 1 / 13 and lose half the resolution of modularity."""
    graph = sp.lil_matrix(sp.block_diag([np.ones((4, 4)) - np.eye(4)] * 2))
    graph[3, 4] = graph[4, 3] = 1
    return sp.csr_matrix(graph)


def test_seeds_count_up_from_that_of_the_clustering_and_resolutions_come_in_turn():
    clustering = ClusteringParams(random_state=2**32 - 2, resolution=0.9)
    found = run_params(clustering, ConsensusParams(n_runs=4, resolutions=(0.5, 1.5, 2.0)))
    assert [one.random_state for one in found] == [2**32 - 2, 2**32 - 1, 0, 1]
    assert [one.resolution for one in found] == [0.5, 1.5, 2.0, 0.5]
    assert {one.resolution for one in run_params(clustering, ConsensusParams())} == {0.9}


def test_each_run_is_leiden_with_its_own_resolution_and_progress_counts_from_0():
    told: list[tuple[int, int]] = []
    params = ConsensusParams(n_runs=4, resolutions=(0.1, 1.0))
    runs = leiden_runs(bridged_cliques(), ClusteringParams(), params, lambda *at: told.append(at))
    assert ["".join(run) for run in runs] == ["00000000", "00001111"] * 2
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_runs_are_those_of_the_one_recipe_with_the_parameters_of_each_run():
    noise = np.random.default_rng(3).random((40, 40))
    graph = sp.csr_matrix(np.where(noise + noise.T > 1.5, 1.0, 0.0))
    clustering, params = ClusteringParams(), ConsensusParams(n_runs=6, resolutions=(0.8, 1.6))
    runs = [run.tolist() for run in leiden_runs(graph, clustering, params)]
    assert runs == [leiden(graph, one).tolist() for one in run_params(clustering, params)]
    assert len(set(map(tuple, runs[::2]))) > 1, "seeds matter on this graph"
