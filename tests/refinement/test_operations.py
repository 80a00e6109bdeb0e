"""Operations change what they name and nothing else; no cell is lost or doubled."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.errors import CellMismatchError
from ctr_engine.refinement.operations import (
    join_small,
    merge,
    override,
    part_of,
    relabel,
    subcluster,
)
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Held, Partition, require_whole
from ctr_engine.refinement.plan import Merge, Override, Relabel, Subcluster
from tests.builders import expression


def partition(letters: str, **held: Held) -> Partition:
    cells = np.array([f"cell_{i}" for i in range(len(letters))], dtype=object)
    return Partition(cells, np.array(list(letters), dtype=object), held)


def merged(*clusters: str, **label: str) -> Merge:
    return Merge(source="manual", clusters=clusters, **label)


BY_HAND = Held("T Cells", "Immune / T Cells", "override")


def test_an_override_holds_a_label_and_moves_no_cell():
    before = partition("0011")
    operation = Override(source="manual", cluster="1", label="New", path=None)
    after = override(before, operation)
    assert after.new_clusters == ("1",)
    assert after.partition.held == {"1": Held("New", None, "override")}
    assert after.partition.clusters.tolist() == list("0011")
    assert before.held == {}, "nothing is changed in place"


def test_relabelling_takes_the_place_of_what_was_held():
    operation = Relabel(source="auto", cluster="0", label="B", path="A / B")
    after = relabel(partition("01", **{"0": BY_HAND}), operation)
    assert after.partition.held["0"] == Held("B", "A / B", "relabel", "auto")


def test_a_merge_keeps_the_lowest_id_in_natural_order():
    after = merge(partition("9aa9b", **{"9": BY_HAND, "a": BY_HAND}), merged("a", "9", "b"))
    assert after.partition.clusters.tolist() == list("99999")
    assert after.new_clusters == ("9",)
    assert after.partition.held == {}, "it is scored anew"
    labelled = merge(partition("9aa9b"), merged("a", "9", label="F", path="F"))
    assert labelled.partition.held == {"9": Held("F", "F", "merge")}
    assert labelled.partition.clusters.tolist() == list("9999b")
    ten = Partition(np.array(["x", "y"]), np.array(["10", "9"], dtype=object), {})
    assert merge(ten, merged("10", "9")).new_clusters == ("9",)


def two_types(n: int = 60) -> np.ndarray:
    random = np.random.default_rng(0)
    rows = random.normal(0, 0.3, (n, 6))
    rows[: n // 3, :3] += 4
    return rows


def test_a_cluster_comes_apart_by_its_own_cells():
    rows = np.vstack([two_types(), np.full((10, 6), 9.0) + np.eye(10, 6)])
    before = partition("3" * 60 + "5" * 10, **{"3": BY_HAND, "5": BY_HAND})
    operation = Subcluster(source="auto", cluster="3", resolution=0.4)
    after = subcluster(before, operation, expression(rows), RefinementParams())
    assert after.new_clusters == ("3:0", "3:1")
    assert after.partition.clusters.tolist() == ["3:1"] * 20 + ["3:0"] * 40 + ["5"] * 10
    assert after.partition.held == {"5": BY_HAND}, "the parts hold nothing"


@pytest.mark.parametrize("rows", [np.ones((60, 6)), two_types()[:2], two_types()[20:]])
def test_what_does_not_come_apart_stays_as_it_is(rows):
    before = partition("7" * len(rows), **{"7": BY_HAND})
    operation = Subcluster(source="auto", cluster="7", resolution=0.01)
    after = subcluster(before, operation, expression(rows), RefinementParams())
    assert after.new_clusters == ()
    assert after.partition is before


def test_markers_that_do_not_vary_within_the_cluster_are_left_out():
    rows = two_types()
    rows[:, 2] = np.r_[np.zeros(20), np.ones(40)]
    part = part_of(expression(rows), np.arange(20, 60))
    assert part.n_cells == 40
    assert part.n_markers == 5
    assert "Probe/002" not in part.panel.markers


def test_small_parts_join_their_nearest_sibling_the_smallest_first():
    # Parts at 0, 10, 11 and 30; the one of two cells joins 10, which then has enough.
    parts = np.array(list("0000011112223"))
    places = np.array([0] * 5 + [10] * 4 + [11] * 3 + [30], dtype=np.float32)[:, None]
    assert join_small(parts, places, 1).tolist() == list("0000011112223")
    assert join_small(parts, places, 3).tolist() == list("0000011112222")
    assert join_small(parts, places, 5).tolist() == list("0000011111111")
    assert len(set(join_small(parts, places, 14).tolist())) == 1


def test_a_tie_of_distances_goes_to_the_larger_sibling():
    parts, places = np.array(list("00112")), np.array([[0], [0], [4], [4], [2]], dtype=np.float32)
    assert join_small(parts, places, 2).tolist() == list("00110")


def test_a_cluster_that_is_not_there_is_refused():
    with pytest.raises(CellMismatchError, match="there is no cluster '8' any more"):
        merge(partition("01"), merged("0", "8"))
    with pytest.raises(CellMismatchError, match="there is no cluster '8' any more"):
        override(partition("01"), Override(source="manual", cluster="8", label="x", path=None))


def test_a_lost_cell_is_seen():
    before = partition("0011")
    fewer = Partition(before.cell_ids[:3], before.clusters[:3], {})
    nameless = Partition(before.cell_ids, np.array(["0", "", "1", "1"], dtype=object), {})
    for broken in (fewer, nameless):
        with pytest.raises(CellMismatchError, match="an operation lost cells"):
            require_whole(broken, before)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("0123"), min_size=4, max_size=12), st.data())
def test_random_operations_keep_every_cell_once(letters, data):
    current = partition("".join(letters))
    for _ in range(3):
        ids = current.ids
        if len(ids) < 2:
            break
        pair = data.draw(st.permutations(ids))[:2]
        name = data.draw(st.sampled_from(ids))
        held = Override(source="manual", cluster=name, label="New", path=None)
        current = override(current, held).partition
        current = merge(current, merged(*pair)).partition
        assert len(current.clusters) == len(letters)
        assert set(current.held) <= set(current.ids)
    cells = [current.cells_of(name).tolist() for name in current.ids]
    assert sorted(cell for group in cells for cell in group) == list(range(len(letters)))


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(4)))
def test_operations_on_different_clusters_commute(order):
    operations = [
        (override, Override(source="manual", cluster="0", label="New", path=None)),
        (relabel, Relabel(source="auto", cluster="1", label="B", path="A / B")),
        (merge, merged("2", "3")),
        (merge, merged("4", "5", label="F", path="F")),
    ]
    current = partition("0123450123456", **{"2": BY_HAND, "6": BY_HAND})
    for index in order:
        apply, operation = operations[index]
        current = apply(current, operation).partition
    assert current.clusters.tolist() == list("0122440122446")
    assert current.held == {
        "0": Held("New", None, "override"),
        "1": Held("B", "A / B", "relabel", "auto"),
        "4": Held("F", "F", "merge"),
        "6": BY_HAND,
    }


def test_a_part_never_takes_the_name_of_another_cluster():
    """Ids of a user may look like those of parts."""
    values = np.vstack([two_types(), np.full((20, 6), 9.0)])
    view = expression(values)
    clusters = np.array(["1"] * 60 + ["1:0"] * 20, dtype=object)
    held = {"1:0": Held("Epithelium", "Epithelium", "override")}
    before = Partition(view.cell_ids.astype(object), clusters, held)
    operation = Subcluster(source="manual", cluster="1", resolution=0.4)
    applied = subcluster(before, operation, view, RefinementParams(min_subcluster_cells=5))
    assert applied.new_clusters == ("1:1", "1:2")
    assert (applied.partition.clusters == "1:0").tolist() == [False] * 60 + [True] * 20
