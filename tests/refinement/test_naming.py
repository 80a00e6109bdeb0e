"""Which cluster a manual file means, counted by hand at every border."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_engine.documents import parse_document
from ctr_engine.errors import ConfigError
from ctr_engine.refinement.manual import ManualPlan, read_manual
from ctr_engine.refinement.naming import Clusters, Unknown, Waiting
from ctr_engine.refinement.partition import Partition
from tests.builders import marker_map

MAP = marker_map({"R": {"markers": ["A"]}, "S": {"markers": ["B"]}})


def partition(**sizes: int) -> Partition:
    """Clusters of so many cells; ``_`` in a name stands for ``:``, cells are ``3_1`` and so on."""
    cells = [f"{name[1:]}_{i}" for name, size in sizes.items() for i in range(size)]
    ids = [name[1:].replace("_", ":") for name, size in sizes.items() for _ in range(size)]
    return Partition(np.array(cells, dtype=object), np.array(ids, dtype=object), {})


def some(cluster: str, first: int, last: int) -> list[str]:
    """Cells of a cluster, by their numbers."""
    return [f"{cluster}_{i}" for i in range(first, last)]


def found(cells: list[str], *, expected="all", **sizes: int):
    """What a name means that stands for these cells."""
    whole = partition(**sizes)
    keyed = {"mine": tuple(cells)}
    return Clusters(whole.ids, whole, expected, keyed).find("mine")


def planned(content: dict, whole: Partition, expected="all", done=()) -> ManualPlan:
    document = parse_document(json.dumps(content), "manual.json")
    return read_manual(document, MAP, Clusters(whole.ids, whole, expected), 0.4, done)


# ---------------------------------------------------------------------- together


def test_eighty_of_a_hundred_cells_are_enough_and_seventy_nine_are_not():
    assert found(some("3", 0, 80) + some("5", 0, 20), c3=80, c5=20) == "3"
    apart = found(some("3", 0, 79) + some("5", 0, 21), c3=80, c5=21)
    assert isinstance(apart, Waiting)
    assert apart.message == (
        "the 100 cells that cluster 'mine' was decided on are no longer together: the most, 79, "
        "are in cluster '3'; 80% are needed"
    )


@pytest.mark.parametrize(("together", "all_"), [(4, 5), (8, 10), (12, 15), (800, 1000), (1, 1)])
def test_four_fifths_is_exact_for_any_number_of_cells(together, all_):
    cells = some("3", 0, together) + some("5", 0, all_ - together)
    assert found(cells, c3=together, c5=all_) == "3"
    fewer = [*some("3", 0, together - 1), *some("5", 0, all_ - together + 1)]
    assert found(fewer, c3=together, c5=2 * all_) != "3"


def test_cells_that_are_not_in_the_sample_count_as_being_elsewhere():
    lost = [f"lost_{i}" for i in range(20)]
    assert found(some("3", 0, 80) + lost, c3=80) == "3"
    apart = found([*some("3", 0, 79), *lost, "lost_20"], c3=80)
    assert isinstance(apart, Waiting)
    assert "the most, 79, are in cluster '3'" in apart.message


def test_cells_of_which_none_is_in_the_sample_wait():
    assert found(["a", "b"], c3=4) == Waiting(
        "the 2 cells that cluster 'mine' was decided on are not in this sample"
    )


def test_what_is_too_little_does_not_look_like_enough():
    apart = found(some("3", 0, 199) + some("5", 0, 51), c3=199, c5=51)
    assert isinstance(apart, Waiting)
    assert "the most, 199, are in cluster '3'" in apart.message


# ---------------------------------------------------------------------- the majority


def test_eighty_of_the_cluster_are_enough_and_seventy_nine_of_a_hundred_are_not():
    assert found(some("3", 0, 80), c3=100) == "3"
    lost = found(some("3", 0, 79), c3=100)
    assert isinstance(lost, Waiting)
    assert lost.message == (
        "the 79 cells that cluster 'mine' was decided on are now in cluster '3' with 21 other cells"
    )


def test_only_the_cells_that_are_in_it_make_up_the_cluster():
    """Of 50 named cells 40 are in cluster 3: 80 % of its 50 cells, and less of 51."""
    cells = some("3", 0, 40) + some("5", 0, 10)
    assert found(cells, c3=50, c5=10) == "3"
    assert isinstance(found(cells, c3=51, c5=10), Waiting)


def test_a_share_that_is_no_whole_number_of_cells_is_rounded_up():
    assert found(some("3", 0, 81), c3=101) == "3"
    assert isinstance(found(some("3", 0, 80), c3=101), Waiting)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 10), st.integers(0, 60))
def test_both_borders_are_those_of_whole_numbers(here, there, lost, more):
    """In fractions: at least 4/5 of the named cells, and at least 4/5 of the cluster."""
    cells = some("3", 0, here) + some("5", 0, there) + [f"lost_{i}" for i in range(lost)]
    if not cells:
        return
    name = found(cells, c3=here + more, c5=there + 7)
    total = here + there + lost
    clusters = {"3": (here, here + more), "5": (there, there + 7)}
    expected = [
        one
        for one, (own, size) in clusters.items()
        if own and Fraction(own, total) >= Fraction(4, 5) and Fraction(own, size) >= Fraction(4, 5)
    ]
    assert [name] == expected if expected else isinstance(name, Waiting)


@given(st.permutations(some("3", 0, 8) + some("5", 0, 2)), st.permutations(range(14)))
def test_neither_the_order_of_the_cells_nor_that_of_the_file_matters(cells, order):
    whole = partition(c3=9, c5=5)
    mixed = Partition(whole.cell_ids[list(order)], whole.clusters[list(order)], {})
    assert Clusters(mixed.ids, mixed, "all", {"mine": tuple(cells)}).find("mine") == "3"


# ---------------------------------------------------------------------- cells and names


def test_cells_are_asked_before_the_name():
    whole = partition(c3=10, c5=10)
    clusters = Clusters(whole.ids, whole, "all", {"3": tuple(some("5", 0, 10))})
    assert clusters.find("3") == "5"
    assert clusters.find("5") == "5"


def test_a_name_that_still_exists_waits_when_its_cells_are_gone_from_it():
    whole = partition(c3=10, c5=10)
    clusters = Clusters(whole.ids, whole, "all", {"3": (*some("5", 0, 7), *some("3", 0, 3))})
    assert isinstance(clusters.find("3"), Waiting)


@pytest.mark.parametrize("expected", ["all", "parts", "none"])
def test_cells_are_found_whatever_is_expected(expected):
    assert found(some("3", 0, 9), expected=expected, c3=9) == "3"
    assert isinstance(found(some("3", 0, 4), expected=expected, c3=9), Waiting)


def test_a_cell_that_stands_twice_counts_once():
    content = {
        "skip": [{"cluster": "mine"}],
        "cells": {"mine": "\n".join([*some("3", 0, 3), *["5_0"] * 9]) + "\n\n"},
    }
    plan = planned(content, partition(c3=4, c5=9))
    (waiting,) = plan.waiting
    assert waiting.startswith("line 1, skip.0: the 4 cells that cluster 'mine' was decided on")
    assert "the most, 3, are in cluster '3'" in waiting
    content["cells"]["mine"] = "\n".join([*some("3", 0, 4), *["5_0"] * 9])
    assert planned(content, partition(c3=4, c5=9)).skipped == ("3",)


def test_a_file_without_cells_goes_by_names():
    whole = partition(c3=4, c5=9)
    assert planned({"skip": [{"cluster": "5"}]}, whole).skipped == ("5",)


# ---------------------------------------------------------------------- names of parts


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("3:0", {"parts", "none"}),
        ("3:0:1", {"parts", "none"}),
        ("5:7:0", {"parts", "none"}),
        ("5:7:0:2", {"parts", "none"}),
        ("4", {"none"}),
        ("4:0", {"none"}),
        ("30:0", {"none"}),
        ("5:70", {"none"}),
        ("5", {"none"}),
        (":3", {"none"}),
    ],
)
def test_a_name_that_nothing_has(name, waits):
    whole = partition(c3=2, c5_7=2)
    for expected in ("all", "parts", "none"):
        one = Clusters(whole.ids, whole, expected).find(name)
        if expected in waits:
            assert one == Waiting(f"there is no cluster {name!r} yet")
        else:
            assert one == Unknown(f"there is no cluster {name!r}; there are: 3, 5:7")


def test_a_name_that_a_cluster_has_is_found_whatever_is_expected():
    whole = partition(c3=2, c5_7=2)
    for expected in ("all", "parts", "none"):
        for name in whole.ids:
            assert Clusters(whole.ids, whole, expected).find(name) == name


def test_the_first_twelve_names_are_shown():
    ids = tuple(str(i) for i in range(13))
    unknown = Clusters(ids).find("x")
    assert isinstance(unknown, Unknown)
    assert unknown.message.endswith("there are: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...")
    unknown = Clusters(ids[:12]).find("x")
    assert isinstance(unknown, Unknown)
    assert unknown.message.endswith("9, 10, 11")


# ---------------------------------------------------------------------- entries


def test_two_names_that_have_become_one_cluster_wait_both():
    content = {
        "overrides": [{"cluster": "a", "label": "R"}, {"cluster": "5", "label": "S"}],
        "subcluster": [{"cluster": "b"}],
        "cells": {"a": "\n".join(some("3", 0, 10)), "b": "\n".join(some("3", 1, 10))},
    }
    plan = planned(content, partition(c3=10, c5=5))
    assert [op.cluster for op in plan.operations] == ["5"]
    assert plan.entries == ("overrides.1",)
    assert [text.split(":")[0] for text in plan.waiting] == [
        "line 1, overrides.0",
        "line 1, subcluster.0",
    ]
    assert all("are all cluster '3' now" in text for text in plan.waiting)
    assert plan.claimed == ("3", "5")


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_all_names_of_one_cluster_are_told_with_each(names):
    cells = {name: "\n".join(some("3", i, i + 14)) for i, name in enumerate(names)}
    content = {"skip": [{"cluster": name} for name in names], "cells": cells}
    plan = planned(content, partition(c3=16))
    assert len(plan.waiting) == len(names)
    for text in plan.waiting:
        assert [name for name in names if f"'{name}'" not in text] == []


def test_a_cluster_by_its_name_and_the_same_one_by_its_cells_are_one():
    content = {
        "relabel": [{"cluster": "3", "label": "R"}],
        "skip": [{"cluster": "a"}],
        "cells": {"a": "\n".join(some("3", 0, 10))},
    }
    plan = planned(content, partition(c3=10, c5=5))
    assert (plan.operations, plan.skipped) == ((), ())
    assert len(plan.waiting) == 2


def test_clusters_that_were_merged_already_are_not_merged_again():
    content = {
        "merge": [{"clusters": ["3", "4"], "label": "R"}],
        "cells": {"3": "\n".join(some("3", 0, 10)), "4": "\n".join(some("3", 1, 10))},
    }
    plan = planned(content, partition(c3=10, c5=5))
    assert plan.operations == ()
    assert len(plan.waiting) == 2
    assert "'3' and '4' of the file are all cluster '3' now" in plan.waiting[0]


def test_a_merge_of_which_one_cluster_is_missing_waits_and_keeps_the_other():
    content = {"merge": [{"clusters": ["3", "5:0"], "label": "R"}], "skip": [{"cluster": "4:0"}]}
    whole = partition(c3=10, c4=3, c5=5)
    plan = planned(content, whole, "parts")
    assert (plan.operations, plan.skipped) == ((), ())
    assert plan.claimed == ("3",)
    assert plan.waiting == (
        "line 1, merge.0: there is no cluster '5:0' yet",
        "line 1, skip.0: there is no cluster '4:0' yet",
    )
    with pytest.raises(ConfigError, match="2 faults"):
        planned(content, whole, "all")


def test_the_operation_is_on_the_cluster_that_was_found_and_not_on_the_name():
    content = {
        "merge": [{"clusters": ["x", "y"], "label": "R"}],
        "cells": {"x": "\n".join(some("9", 0, 9)), "y": "\n".join(some("10", 0, 9))},
    }
    plan = planned(content, partition(c9=10, c10=10))
    assert [op.clusters for op in plan.operations] == [("9", "10")]
    assert set(plan.claimed) == {"9", "10"}


def test_an_entry_that_is_done_neither_waits_nor_claims():
    content = {
        "overrides": [{"cluster": "a", "label": "R"}, {"cluster": "b", "label": "S"}],
        "cells": {"a": "\n".join(some("3", 0, 10)), "b": "\n".join(some("3", 1, 10))},
    }
    plan = planned(content, partition(c3=10), done=("overrides.0",))
    assert [op.cluster for op in plan.operations] == ["3"]
    assert (plan.entries, plan.waiting, plan.claimed) == (("overrides.1",), (), ("3",))


def test_a_fault_of_an_entry_that_is_done_is_told_all_the_same():
    content = {"overrides": [{"cluster": "3", "label": "Nope"}]}
    with pytest.raises(ConfigError, match="no cell type 'Nope'"):
        planned(content, partition(c3=10), done=("overrides.0",))


SIZES = st.integers(0, 12)


@given(st.lists(st.tuples(SIZES, SIZES, SIZES), min_size=1, max_size=4), st.sampled_from([9, 20]))
def test_every_entry_is_done_or_waits_and_none_is_lost(counts, size):
    """Cells of each entry lie in three clusters; taken from the front, so that entries overlap."""
    whole = partition(c1=size, c2=size, c3=12)
    cells = {
        f"m{i}": "\n".join(
            [*some("1", 0, min(a, size)), *some("2", 0, min(b, size)), *some("3", 0, c), "lost"]
        )
        for i, (a, b, c) in enumerate(counts)
    }
    content = {"overrides": [{"cluster": n, "label": "R"} for n in cells], "cells": cells}
    plan = planned(content, whole)
    waiting = {text.split(", ")[1].split(":")[0] for text in plan.waiting}
    assert waiting | set(plan.entries) == {f"overrides.{i}" for i in range(len(counts))}
    assert not waiting & set(plan.entries)
    clusters = [op.cluster for op in plan.operations]
    assert len(set(clusters)) == len(clusters) == len(plan.entries)
