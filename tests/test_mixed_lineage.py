"""Clusters with two lineages that exclude each other; counted by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
from pydantic import ValidationError

from ctr_engine.mixed_lineage import Exclusion, exclusions
from ctr_engine.profiles import ReportParams
from tests.builders import annotated, expression, resolved, row

MARKERS = ["T1", "B1", "S1", "C1"]
MAP = {
    "Immune": {
        "markers": ["C1"],
        "subtypes": {
            "T": {"markers": ["T1"], "anti_markers": ["B1"]},
            "B": {"markers": ["B1"], "anti_markers": ["T1"]},
        },
    },
    "Stroma": {"markers": ["S1"], "anti_markers": ["C1"]},
}
T, B, S, BOTH = [9, 0, 0, 9], [0, 9, 0, 9], [0, 0, 9, 0], [9, 9, 0, 9]
ROWS = [T] * 4 + [B] * 4 + [BOTH] * 3 + [T] + [S] * 4
IDS = ["0"] * 4 + ["1"] * 4 + ["2"] * 4 + ["3"] * 4
T_PATH, B_PATH = "Immune / T", "Immune / B"
GATES = {"min_enrichment": {"0": -9.0}, "anti_penalty_hard_gate": 9.0, "min_gap": {"1": 0.0}}


def flags(rows=ROWS, ids=IDS, places=None, sparse=None, **report):
    view = expression(rows, MARKERS, sparse=sparse, coordinates=places)
    params = {"gating": GATES, "scoring": {"anti_weight": 0.1}, "report": report}
    tables = annotated(view, MAP, ids, **params).tables
    return tables["cluster_annotations"]


def test_pairs_are_markers_of_which_one_speaks_against_the_other():
    found = exclusions(resolved(MAP, MARKERS))
    assert {(frozenset(one.branches), frozenset(one.columns)) for one in found} == {
        (frozenset({"Immune", "Stroma"}), frozenset({2, 3})),
        (frozenset({T_PATH, B_PATH}), frozenset({0, 1})),
    }


def test_a_pair_stands_for_the_branches_nearest_to_the_roots():
    content = {
        "A": {"markers": ["T1"], "subtypes": {"A1": {"markers": ["T1"], "anti_markers": ["B1"]}}},
        "B": {"markers": ["B1"], "anti_markers": ["T1"]},
    }
    assert exclusions(resolved(content, MARKERS)) == (Exclusion(("A", "B"), (0, 1)),)


def test_relatives_do_not_exclude_each_other():
    content = {
        "A": {"markers": ["T1"], "subtypes": {"A1": {"markers": ["B1"], "anti_markers": ["T1"]}}}
    }
    assert exclusions(resolved(content, MARKERS)) == ()


def test_a_cluster_of_doublets_is_flagged_with_its_share_and_keeps_its_label():
    found = flags()
    one = row(found, cluster_id="2")
    assert one["assigned_path"] == T_PATH
    assert one["mixed_lineage"] == f"{T_PATH} + {B_PATH}"
    assert one["mixed_lineage_markers"] == ["T1", "B1"]
    assert one["mixed_lineage_share"] == 0.75
    assert one["mixed_lineage_explained"] is None
    others = found[found["cluster_id"] != "2"]
    assert others["mixed_lineage"].isna().all()
    assert others["mixed_lineage_share"].isna().all()


def test_a_cluster_of_both_kinds_of_cells_is_no_doublet():
    rows = [T] * 4 + [B] * 4 + [T, T, B, B] + [S] * 4
    assert flags(rows)["mixed_lineage"].isna().all()


def test_fewer_than_a_fifth_of_the_cells_are_not_flagged():
    rows, ids = [*ROWS[:8], *([T] * 20), BOTH, BOTH, *([B] * 8)], ["0"] * 4 + ["1"] * 4
    assert flags(rows, [*ids, *["2"] * 30])["mixed_lineage"].isna().all()


@pytest.mark.parametrize(("mixed_share", "flagged"), [(0.75, True), (0.76, False)])
def test_the_share_that_counts_is_a_parameter(mixed_share, flagged):
    one = row(flags(mixed_share=mixed_share), cluster_id="2")
    assert (one["mixed_lineage"] is not None) == flagged


@pytest.mark.parametrize(
    "bad", [{"mixed_share": 0.0}, {"mixed_share": 1.1}, {"mixed_neighbors": 0}]
)
def test_a_setting_without_sense_is_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        ReportParams.model_validate(bad)


def line(*groups):
    """Cells on a line, each group at a place of its own, far from the others."""
    return np.array([[100.0 * place + i, 0.0] for i, place in enumerate(groups)])


@pytest.mark.parametrize("sparse", [None, sp.csr_matrix])
def test_neighbours_of_the_second_lineage_explain_it(sparse):
    # two of the three doublets lie among B cells, the third among stroma
    places = line(0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 3, 0, 3, 3, 3, 3)
    near = np.array(places)
    near[10] = [900, 0]
    near[12:16] = [[901, 0], [902, 0], [903, 0], [904, 0]]
    extra = [[905.0, 0.0], [906.0, 0.0]]  # six stroma cells around the third doublet
    found = flags([*ROWS, S, S], [*IDS, "3", "3"], np.vstack([near, extra]), sparse)
    assert row(found, cluster_id="2")["mixed_lineage_explained"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("mixed_neighbors", "explained"), [(2, 1 / 3), (3, 2 / 3), (4, 1.0)])
def test_how_many_neighbours_may_explain_it_is_a_parameter(mixed_neighbors, explained):
    # a B cell is the nearest but one to the first doublet, the third and fourth to the others
    places = line(*[0] * 16)
    places[8:11] = [[1000, 0], [2000, 0], [3000, 0]]
    places[4:7] = [[1002, 0], [2003, 0], [3004, 0]]
    stroma = [[1001, 0], [2001, 0], [2002, 0], [3001, 0], [3002, 0], [3003, 0]]
    found = flags(
        [*ROWS, *[S] * 6],
        [*IDS, *["3"] * 6],
        np.vstack([places, stroma]),
        mixed_neighbors=mixed_neighbors,
    )
    assert row(found, cluster_id="2")["mixed_lineage_explained"] == pytest.approx(explained)


def test_cells_without_a_place_are_not_asked():
    places = line(*[0] * 16)
    places[8:11] = np.nan
    assert row(flags(places=places), cluster_id="2")["mixed_lineage_explained"] is None


def test_order_of_the_cells_does_not_matter():
    order = np.random.default_rng(1).permutation(len(ROWS))
    places = line(*[0] * 16)
    mixed = flags([ROWS[i] for i in order], [IDS[i] for i in order], places[order])
    assert mixed.equals(flags(places=places))
