"""What the two passes divide and join, and what the new clusters are called."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.errors import CellMismatchError
from ctr_engine.refinement.operations import Applied
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Held, Partition
from ctr_engine.refinement.plan import Regroup
from ctr_engine.refinement.regrouping import Regrouping, carry_out, regrouping_of

GIVEN = Held("T Cells", "Immune Cells / T Cells", "override")


def partition(clusters: str, **held: Held) -> Partition:
    """Cells of these clusters, separated by blanks."""
    names = np.array(clusters.split(), dtype=object)
    return Partition(np.array([f"cell_{x}" for x in range(len(names))]), names, held)


def carried(
    before: Partition, groups: list[int], *clusters: str, sizes: tuple[int, ...] = ()
) -> Applied:
    """What becomes of the clusters where each cell goes to its group."""
    cells = zip(before.clusters, groups, strict=True)
    counts = Counter(group for name, group in cells if name in clusters)
    sizes = sizes or tuple(sorted(counts.values(), reverse=True))
    operation = Regroup(source="auto", reason="two_pass", clusters=clusters, sizes=sizes)
    return carry_out(before, operation, Regrouping((), np.array(groups), None))


# ------------------------------------------------------------------------------- names


def test_parts_are_children_and_the_largest_is_the_first():
    after = carried(partition("3 3 3 4 3 3"), [0, 1, 0, -1, 1, 1], "3")
    assert after.partition.clusters.tolist() == ["3:1", "3:0", "3:1", "4", "3:0", "3:0"]
    assert after.new_clusters == ("3:0", "3:1")


def test_equal_parts_are_named_by_their_number():
    assert carried(partition("3 3"), [1, 0], "3").partition.clusters.tolist() == ["3:1", "3:0"]


def test_a_name_that_is_taken_is_passed_over():
    after = carried(partition("3 3 3 3:0"), [0, 0, 1, -1], "3")
    assert after.partition.clusters.tolist() == ["3:1", "3:1", "3:2", "3:0"]


def test_clusters_that_become_one_keep_the_lowest_id_in_natural_order():
    after = carried(partition("10 2 9 10 7"), [0, 0, 0, 0, -1], "10", "9", "2")
    assert after.partition.clusters.tolist() == ["2", "2", "2", "2", "7"]
    assert after.new_clusters == ("2",)


def test_each_part_is_a_child_of_the_cluster_that_it_has_most_cells_of():
    """Part 0 has three cells of 2 and one of 10; part 1 has two of 2 and three of 10."""
    before = partition("2 2 2 2 2 10 10 10 10")
    after = carried(before, [0, 0, 0, 1, 1, 1, 1, 1, 0], "10", "2")
    assert after.partition.clusters.tolist() == (["2:0"] * 3 + ["10:0"] * 5 + ["2:0"])
    assert after.new_clusters == ("2:0", "10:0")
    assert before.clusters.tolist() == ["2"] * 5 + ["10"] * 4, "nothing is changed in place"


def test_a_tie_goes_to_the_cluster_that_is_first_in_natural_order():
    after = carried(partition("10 2 10 2 10"), [0, 0, 1, 1, 1], "10", "2")
    assert after.partition.clusters.tolist() == ["2:0", "2:0", "10:0", "10:0", "10:0"]


def test_several_parts_of_one_parent_are_numbered_among_themselves():
    """Both parts have most cells of 5: the cluster 6 is gone."""
    after = carried(partition("5 5 5 6 5 5 6"), [0, 0, 0, 0, 1, 1, 1], "5", "6")
    assert after.partition.clusters.tolist() == ["5:0"] * 4 + ["5:1"] * 3


def test_labels_of_clusters_that_change_are_gone_and_others_stay():
    before = partition("2 10 2 7", **{"2": GIVEN, "10": GIVEN, "7": GIVEN})
    assert carried(before, [0, 0, 0, -1], "2", "10").partition.held == {"7": GIVEN}
    assert carried(before, [0, 1, 1, -1], "2", "10").partition.held == {"7": GIVEN}


@pytest.mark.parametrize(
    ("groups", "sizes"), [([-1, -1, -1, -1], (4,)), ([0, 0, 1, 1], (4,)), ([0, 0, 0, 1], (2, 2))]
)
def test_two_passes_over_other_clusters_are_refused(groups, sizes):
    with pytest.raises(CellMismatchError, match="run on other clusters than '0', '1' are now"):
        carried(partition("0 0 1 1"), groups, "0", "1", sizes=sizes)


def test_an_operation_says_how_many_cells_each_new_cluster_has():
    assert [op.sizes for op in found(FOUR).operations] == [(9,), (6, 4)]


def test_a_cluster_that_is_not_there_is_refused():
    with pytest.raises(CellMismatchError, match="there is no cluster '8' any more"):
        carried(partition("0 1"), [0, 0], "0", "8")


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "10", "1:0", "z"]), st.integers(0, 3))))
def test_no_cell_is_lost_and_parts_are_what_was_found(cells):
    cells = [*cells, ("2", 0), ("10", 0)]
    names, groups = [list(part) for part in zip(*cells, strict=True)]
    before = partition(" ".join(names))
    after = carried(before, groups, "2", "10").partition
    changed = [x for x, name in enumerate(names) if name in ("2", "10")]
    assert after.cell_ids.tolist() == before.cell_ids.tolist()
    for x, name in enumerate(after.clusters.tolist()):
        assert x in changed or name == names[x]
        for y in changed:
            together = x in changed and groups[x] == groups[y]
            assert (name == after.clusters[y]) == together


# ------------------------------------------------------------------ what the passes find

PLACES = {"n_microclusters": 1000, "min_microcluster_cells": 1, "scale_neighbors": 1}
"""Each place has a microcluster; 1 is the distance of places that stand 1 apart."""


def found(cells: str, *among: str, least: int = 1, far: float = 2.5) -> Regrouping:
    """Two passes over ``cluster@place*number`` terms."""
    terms = [term.replace("@", "*").split("*") for term in cells.split()]
    names = [name for name, _, number in terms for _ in range(int(number))]
    at = [[float(place)] for _, place, number in terms for _ in range(int(number))]
    params = RefinementParams.model_validate(
        {"min_subcluster_cells": least, "two_pass": {**PLACES, "min_split": far, "max_lump": far}}
    )
    whole = partition(" ".join(names))
    result = regrouping_of(whole, np.array(at, dtype=np.float32), among or whole.ids, params)
    assert len(result.groups) == len(names)
    return result


def told(found: Regrouping) -> list[tuple[tuple[str, ...], int]]:
    assert {(op.source, op.reason) for op in found.operations} <= {("auto", "two_pass")}
    return [(op.clusters, len(op.sizes)) for op in found.operations]


FOUR = "10@0*3 10@1*3 2@2*3 3@20*3 3@21*3 3@40*2 3@41*2 4@60*3 4@61*3"
"""10 and 2 are one; 3 is two; 4 is right."""


def test_each_set_of_clusters_that_changes_is_an_operation():
    result = found(FOUR)
    assert told(result) == [(("2", "10"), 1), (("3",), 2)]
    assert result.clusters == {"2", "3", "10"}
    groups = result.groups.tolist()
    assert len(set(groups[:9])) == 1
    assert len(set(groups[9:15])) == len(set(groups[15:19])) == 1
    assert len(set(groups[9:19])) == 2
    assert set(groups[19:]) == {-1}
    assert result.result is not None


def test_clusters_that_stay_are_in_no_operation():
    result = found("1@0*4 1@1*4 2@10*4 2@11*4")
    assert (told(result), set(result.groups.tolist())) == ([], {-1})


def test_only_clusters_that_are_named_may_change():
    assert told(found(FOUR, "10", "3", "4")) == [(("3",), 2)]
    only = found(FOUR, "2", "10")
    assert told(only) == [(("2", "10"), 1)]
    assert set(only.groups[9:].tolist()) == {-1}
    assert told(found(FOUR, "99")) == []
    assert found(FOUR, "99").result is None


def test_clusters_that_exchange_cells_by_way_of_others_are_one_operation():
    """1 and 2 share the places from 10 on, 2 and 3 those from 20 on."""
    cells = "1@0*3 1@1*3 1@10*2 2@11*2 2@20*2 3@21*3 3@22*3"
    assert told(found(cells)) == [(("1", "2", "3"), 3)]


def test_the_thresholds_say_what_changes():
    assert told(found(FOUR, far=0.5)) == [(("3",), 4), (("4",), 2), (("10",), 2)]
    assert told(found(FOUR, far=100)) == [(("2", "3", "4", "10"), 1)]


def test_a_small_part_joins_its_nearest_sibling():
    """The mean of four cells is 12.5: 11.5 from that of the first part, 9 from the last."""
    cells = "3@0*4 3@1*4 3@2*4 3@12*2 3@13*2 3@21*4 3@22*4"
    whole = found(cells, least=4)
    assert told(whole) == [(("3",), 3)]
    joined = found(cells, least=5)
    assert told(joined) == [(("3",), 2)]
    groups = joined.groups.tolist()
    assert len(set(groups[:12])) == len(set(groups[12:])) == 1
    assert groups[0] != groups[12]
    assert told(found(cells, least=13)) == [], "one part is no division"
