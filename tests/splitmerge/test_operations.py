"""Operations on clusters, conflicts between them, their ids, and the test for MECE."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.errors import CtrError
from ctr_engine.splitmerge.clusters import (
    Names,
    NotMeceError,
    conflict_components,
    content,
    find_conflicts,
    partition_hash,
    require_mece,
)
from ctr_engine.splitmerge.operations import Operation, execute
from tests.splitmerge.cases import case, names

# ---------------------------------------------------------------------- the shared cases


def numbered(clusters) -> dict[str, tuple[int, ...]]:
    """Items as numbers: a is 0, b is 1."""
    return {
        name: tuple(sorted(ord(letter) - ord("a") for letter in items))
        for name, items in clusters.items()
    }


@pytest.mark.smoke
@pytest.mark.parametrize("name", names("operation_cases"))
def test_a_shared_case_of_operations_gives_the_expected_clusters(gaphack, name):
    expected = case(gaphack, "operation_cases", name)
    operations = [
        Operation(op["seed"], tuple(op["inputs"]), numbered(op["outputs"]))
        for op in expected["operations"]
    ]
    done = execute(numbered(expected["current_clusters"]), operations)
    assert done.clusters == numbered(expected["expected_next"])
    assert bool(done.applied) == expected["expected_changed"]
    converged = [sorted(operation.inputs) for operation in done.unchanged]
    assert converged == expected["expected_new_converged"]
    assert len(done.applied) + len(done.dropped) + len(done.unchanged) == len(operations)


@pytest.mark.smoke
@pytest.mark.parametrize("name", names("conflict_cases"))
def test_a_shared_case_of_conflicts_gives_the_expected_components(gaphack, name):
    expected = case(gaphack, "conflict_cases", name)
    clusters = {
        name: [ord(letter) for letter in items] for name, items in expected["clusters"].items()
    }
    conflicts = find_conflicts(clusters)
    assert {chr(item): held for item, held in conflicts.items()} == expected["expected_conflicts"]
    components = conflict_components(conflicts)
    assert components == expected["expected_components"]
    involved = sorted(name for component in components for name in component)
    assert involved == expected["expected_conflicted_cluster_ids"]


# ------------------------------------------------------------------------------ by hand


def test_an_operation_comes_too_late_when_one_input_is_gone():
    now = {"c1": (0, 1), "c2": (2,), "c3": (3,)}
    first = Operation("c1", ("c1", "c2"), {"r1": (0, 1, 2)})
    late = Operation("c3", ("c3", "c2"), {"r2": (2, 3)})
    whole = Operation("c3", ("c3",), {"r3": (3,)})
    done = execute(now, [first, late, whole])
    assert done.clusters == {"c3": (3,), "r1": (0, 1, 2)}
    assert (done.applied, done.dropped, done.unchanged) == ((first,), (late,), (whole,))
    assert now == {"c1": (0, 1), "c2": (2,), "c3": (3,)}, "nothing is changed in place"


def test_items_that_change_places_are_a_change_though_the_sizes_stay():
    now = {"c1": (0, 1), "c2": (2, 3)}
    swap = Operation("c1", ("c1", "c2"), {"r1": (0, 2), "r2": (1, 3)})
    assert execute(now, [swap]).clusters == {"r1": (0, 2), "r2": (1, 3)}


def test_two_components_of_conflicts_are_kept_apart():
    clusters = {"d": [1, 2], "c": [3, 4], "b": [2, 5], "a": [4], "e": [6]}
    conflicts = find_conflicts(clusters)
    assert conflicts == {2: ["d", "b"], 4: ["c", "a"]}
    assert sorted(conflict_components(conflicts)) == [["a", "c"], ["b", "d"]]


def test_a_long_chain_of_conflicts_is_one_component():
    chain = {f"c{at:02d}": [at, at + 1] for at in range(30)}
    order = [*range(0, 30, 2), *range(29, 0, -2)]
    shuffled = {f"c{at:02d}": chain[f"c{at:02d}"] for at in order}
    assert conflict_components(find_conflicts(shuffled)) == [sorted(chain)]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.integers(0, 12), max_size=4)))
def test_components_are_what_can_be_reached_by_shared_items(clusters):
    """Slow: spread from each cluster to all that share an item, until nothing is added."""
    involved = {
        name for name, items in clusters.items()
        if len(set(items)) < len(items)
        or any(set(items) & set(clusters[other]) for other in clusters if other != name)
    }  # fmt: skip
    expected = set()
    for name in involved:
        reached = {name}
        while True:
            items = {item for held in reached for item in clusters[held]}
            more = {other for other in clusters if items & set(clusters[other])}
            if more <= reached:
                break
            reached |= more
        expected.add(tuple(sorted(reached)))
    found = conflict_components(find_conflicts(clusters))
    assert sorted(map(tuple, found)) == sorted(expected)


def test_clusters_that_are_not_a_partition_are_named():
    require_mece({"a": [0, 2], "b": [1]}, 3)
    with pytest.raises(NotMeceError, match=r"items in several clusters: \[2\] \(1\); items in no"):
        require_mece({"a": [0, 2], "b": [1, 2]}, 3)
    with pytest.raises(NotMeceError, match=r"several clusters: \[1\] \(1\)"):
        require_mece({"a": [0, 1, 1]}, 2)
    everything = (
        r"^items in several clusters: \[0, 1, 2, 3, 4\] \(6\); "
        r"items in none: \[6, 7, 8, 9, 10\] \(14\)$"
    )
    with pytest.raises(NotMeceError, match=everything):
        require_mece({"a": range(6), "b": range(6)}, 20)
    assert issubclass(NotMeceError, CtrError)


def test_ids_sort_by_smallest_item_and_none_is_given_twice():
    given_names = Names()
    clusters = [[12, 3, 3], [], [100, 5], [2]]
    first = given_names.named(clusters)
    assert list(first.values()) == [(2,), (3, 12), (5, 100)]
    assert sorted(first) == list(first)
    again = given_names.named(clusters)
    assert list(again.values()) == list(first.values())
    assert not first.keys() & again.keys()


def test_content_and_hash_do_not_know_what_clusters_are_called():
    one, other = {"a": (0, 2), "b": (1,)}, {"y": (1,), "x": (0, 2)}
    assert content(one, ["a"]) == content(other, ["x"]) == {(0, 2)}
    assert partition_hash(one) == partition_hash(other)
    different = [{"a": (0,), "b": (1, 2)}, {"a": (0, 1, 2)}, {"a": (0,), "b": (1,), "c": (2,)}]
    assert len({partition_hash(clusters) for clusters in [one, *different]}) == 4
    assert partition_hash({"a": (1, 2)}) != partition_hash({"a": (12,)})
