"""Votes of single cells among tied siblings, and how many cells agree with the walk."""

import json

import numpy as np
import pytest
import scipy.sparse as sp

from ctr_engine.cluster_statistics import StatisticsParams, cluster_statistics
from ctr_engine.voting import scaled_block, vote_shares
from tests.builders import annotated, expression, row
from tests.oracles.votes import scale

ALL_PASS = {
    "min_pos_frac": dict.fromkeys(range(4), 0.0),
    "min_enrichment": dict.fromkeys(range(4), -99.0),
}


def node(*markers, **subtypes):
    return {"markers": list(markers)} | ({"subtypes": subtypes} if subtypes else {})


def of_cluster(rows, panel, content, letters, cluster="0", sparse=None, **gating):
    view = expression(rows, list(panel), sparse=sparse)
    tables = annotated(view, content, list(letters), gating=ALL_PASS | gating).tables
    return row(tables["cluster_annotations"], cluster_id=cluster)


def composition(*args, **kwargs):
    return json.loads(of_cluster(*args, **kwargs)["composition"])


# ---------------------------------------------------------------------- scaled values


def scaled(rows, sparse=None):
    view = expression(rows, sparse=sparse)
    ids = ["0"] * view.n_cells
    found = cluster_statistics(view, ids, StatisticsParams())
    return scaled_block(view, found.reference, np.arange(view.n_cells), range(view.n_markers))


@pytest.mark.parametrize("sparse", [None, sp.csr_matrix, sp.csc_matrix])
def test_values_are_centred_and_divided_by_the_sample_standard_deviation(sparse):
    root = 3**0.5  # values 0, 0, 3: squares 1 + 1 + 4 over 2
    expected = [-1 / root, -1 / root, 2 / root]
    assert scaled([[0], [0], [3]], sparse).ravel() == pytest.approx(expected)


def test_scaled_values_are_clipped_at_ten():
    # One cell of 201 apart from all others: (200 / 201) / sqrt(1 / 201) = 14.1 before clipping.
    rows = np.zeros((201, 2))
    rows[7] = [1, -1]
    values = scaled(rows)
    assert values[7].tolist() == [10, -10]
    assert values[0] == pytest.approx([-1 / 201**0.5, 1 / 201**0.5])


def test_only_the_cells_and_markers_in_question_are_scaled():
    rows = np.random.default_rng(3).normal(size=(9, 4)).astype(np.float32)
    view = expression(rows)
    found = cluster_statistics(view, ["0"] * 9, StatisticsParams())
    part = scaled_block(view, found.reference, np.array([8, 2]), [3, 1])
    expected = [[scale(rows[:, j].tolist())[i] for j in (3, 1)] for i in (8, 2)]
    assert part == pytest.approx(np.array(expected))


# ---------------------------------------------------------------------- votes


def test_a_cell_that_leads_by_less_than_the_gap_is_uncertain():
    cells = np.array([[0.5, 0.4375], [1, 0], [0, 1], [0, 0.125]])
    assert vote_shares(cells, 0.125).tolist() == [0.25, 0.5, 0.25]
    assert vote_shares(cells, 0.126).tolist() == [0.25, 0.25, 0.5]
    assert vote_shares(cells, 0.0).tolist() == [0.5, 0.5, 0]


def test_the_lead_of_a_cell_is_that_over_its_second_candidate():
    cells = np.array([[1.0, 0, 0.9375], [0, 0.25, 1]])
    assert vote_shares(cells, 0.125).tolist() == [0, 0, 0.5, 0.5]


# B and C hold the same values in other cells: mean 1, sample SD sqrt(0.8), a lead of 2 is 2.236.
VOTES = [[5, 0, 2], [5, 0, 0], [5, 2, 0], [5, 2, 2], [1, 1, 1], [0, 1, 1]]
PAIR = {"R": node("A", X=node("B"), Y=node("C"))}


@pytest.mark.parametrize(
    ("gap", "shares"),
    [
        (0.1, {"X": 0.25, "Y": 0.25, "Uncertain": 0.5}),
        (2.2, {"X": 0.25, "Y": 0.25, "Uncertain": 0.5}),
        (2.3, {"X": 0, "Y": 0, "Uncertain": 1}),
        (0.0, {"X": 0.75, "Y": 0.25, "Uncertain": 0}),
    ],
)
def test_the_votes_of_an_ambiguous_cluster_are_recorded_and_change_no_label(gap, shares):
    # Scores of X and Y are equal: X is first in the map, and takes the ties when no gap is asked.
    found = of_cluster(VOTES, "ABC", PAIR, "000011", per_cell_gap_threshold=gap)
    assert json.loads(found["composition"]) == shares | {
        "_evidence_only": True,
        "_top_by_score": "X",
        "_runner_up_by_score": "Y",
    }
    assert (found["assigned_label"], found["stop_reason"]) == ("R", "ambiguous_siblings")


def test_the_votes_of_a_sparse_sample_are_the_same():
    dense = of_cluster(VOTES, "ABC", PAIR, "000011")
    assert of_cluster(VOTES, "ABC", PAIR, "000011", sparse=sp.csr_matrix) == dense


def test_the_cell_score_is_the_mean_over_the_resolved_markers():
    content = {"R": node("A", X=node("B", "absent"), Y=node("B", "C"))}
    # X: 0, 0, 2, 2. Y: 1, 0, 1, 2. In units of 1 / sqrt(0.8) apart.
    found = composition(VOTES, "ABC", content, "000011", min_gap={1: 9.0}, min_coverage={1: 0.0})
    shares = {name: found[name] for name in ("X", "Y", "Uncertain")}
    assert shares == {"X": 0.25, "Y": 0.25, "Uncertain": 0.5}


THREE = {"R": node("A", X=node("B"), Y=node("C"), **{"Zellen ä": node("D")})}
THREE_ROWS = [[5, 0, 2, 2], [5, 0, 0, 2], [5, 2, 0, 0], [5, 2, 2, 0], [1, 1, 1, 1], [0, 1, 1, 1]]


@pytest.mark.parametrize(("limit", "labels"), [(2, ["X", "Y"]), (3, ["X", "Y", "Zellen ä"])])
def test_at_most_so_many_candidates_vote(limit, labels):
    found = of_cluster(THREE_ROWS, "ABCD", THREE, "000011", max_ambiguity=limit, min_gap={1: 9.0})
    votes = json.loads(found["composition"])
    assert sorted(k for k in votes if not k.startswith("_")) == sorted([*labels, "Uncertain"])
    assert ("Zellen ä" in found["composition"]) == (limit == 3)


@pytest.mark.parametrize(
    ("gating", "stop"),
    [
        ({"min_gap": {1: 0.0}}, "leaf_reached"),
        ({"min_enrichment": {0: 0.0, 1: 99.0}}, "no_child_passed"),
        ({"min_enrichment": {0: 99.0}}, "no_root_passed"),
    ],
)
def test_other_stops_have_no_votes(gating, stop):
    found = of_cluster(VOTES, "ABC", PAIR, "000011", **gating)
    assert (found["stop_reason"], found["composition"]) == (stop, None)


# ---------------------------------------------------------------------- agreement

# A and B hold the same values in other cells, so that scaled values compare as raw ones do.
AGREE = [[3, 0, 0], [3, 2, 1], [2, 3, 0], [2, 2, 3], [0, 3, 2], [0, 0, 3]]
TWO = {"R": node("A"), "S": node("B")}


def test_agreement_is_the_share_of_cells_that_prefer_the_chosen_node():
    # Of cells 0 to 3 the third prefers S; the tie of the fourth counts for the chosen one.
    found = of_cluster(AGREE, "ABC", TWO, "000011", min_gap={0: 0.0})
    assert (found["assigned_label"], found["agreement"]) == ("R", 0.75)


def test_agreement_is_the_smallest_share_of_the_path():
    rows = np.column_stack([np.array(AGREE)[:, :2], [3, 3, 0, 2, 0, 2], [2, 0, 3, 3, 0, 2]])
    content = {"R": node("A", X=node("C"), Y=node("D")), "S": node("B")}
    found = of_cluster(rows, "ABCD", content, "000011", min_gap={0: 0.0, 1: 0.0})
    # Scores of X and Y: C and D hold the same values; two cells prefer each.
    assert found["assigned_path"] in ("R / X", "R / Y")
    assert found["agreement"] == 0.5


def test_agreement_at_ambiguous_siblings_is_that_of_the_path_to_the_parent():
    content = {"R": node("A", X=node("C"), Y=node("C")), "S": node("B")}
    found = of_cluster(AGREE, "ABC", content, "000011", min_gap={0: 0.0})
    assert (found["stop_reason"], found["agreement"]) == ("ambiguous_siblings", 0.75)


def test_agreement_without_siblings_is_whole():
    assert of_cluster(AGREE, "ABC", {"R": node("A")}, "000011")["agreement"] == 1


def test_siblings_without_a_resolved_marker_are_no_rivals():
    content = {"R": node("A"), "S": node("absent")}
    assert of_cluster(AGREE, "ABC", content, "000011")["agreement"] == 1


def test_a_rival_that_fails_its_gates_still_counts_for_agreement():
    content = {"R": node("A"), "S": node("B") | {"gating_overrides": {"min_enrichment": 99.0}}}
    found = of_cluster(AGREE, "ABC", content, "000011")
    assert (found["margin_is_infinite"], found["agreement"]) == (True, 0.75)


def test_there_is_no_agreement_without_a_node():
    unassigned = of_cluster(AGREE, "ABC", TWO, "000011", min_enrichment={0: 99.0})
    assert (unassigned["stop_reason"], unassigned["agreement"]) == ("no_root_passed", 0)
    ambiguous = of_cluster(AGREE, "ABC", TWO, "000011", min_gap={0: 9.0})
    assert (ambiguous["stop_reason"], ambiguous["agreement"]) == ("ambiguous_root", 0)


def test_an_inner_node_counts_with_its_best_marker_and_a_leaf_with_the_mean():
    # All columns hold 0, 0, 0, 2, 3, 3. The rival stands at B; R has A and C.
    rows = np.column_stack([[3, 3, 0, 2, 0, 0], [3, 3, 2, 0, 0, 0], [0, 0, 3, 2, 3, 0]])
    rival = node("B") | {"gating_overrides": {"min_enrichment": 99.0}}
    leaf = {"R": node("A", "C"), "S": rival}
    parent = {"R": node("A", "C", X=node("A")), "S": rival}
    assert of_cluster(rows, "ABC", leaf, "000011")["agreement"] == 0.25
    assert of_cluster(rows, "ABC", parent, "000011")["agreement"] == 1


# ---------------------------------------------------------------------- flags


def test_a_walk_without_competition_is_flagged():
    found = of_cluster(AGREE, "ABC", {"R": node("A")}, "000011")
    assert (found["confidence"], found["margin_is_infinite"]) == (1e6, True)
    competed = of_cluster(AGREE, "ABC", TWO, "000011", min_gap={0: 0.0})
    assert not competed["margin_is_infinite"]
    unassigned = of_cluster(AGREE, "ABC", TWO, "000011", min_enrichment={0: 99.0})
    assert (unassigned["confidence"], unassigned["margin_is_infinite"]) == (0, False)


def test_an_ambiguous_root_is_flagged():
    found = of_cluster(AGREE, "ABC", TWO, "000011", min_gap={0: 9.0})
    assert found["is_ambiguous_root"]
    assert not of_cluster(AGREE, "ABC", TWO, "000011", min_gap={0: 0.0})["is_ambiguous_root"]


def test_clusters_stand_in_natural_order_with_their_sizes():
    view = expression(AGREE, list("ABC"))
    tables = annotated(view, TWO, ["10", "2", "3:1", "3", "10", "10"]).tables
    sizes = tables["cluster_annotations"][["cluster_id", "n_cells"]].to_numpy().tolist()
    assert sizes == [["2", 1], ["3", 1], ["3:1", 1], ["10", 3]]
