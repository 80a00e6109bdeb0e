"""Runs that an earlier version got wrong."""

from tests.splitmerge.cases import line
from tests.splitmerge.runs import contents, run

THREE_PAIRS = (0, 0.015, 0.1, 0.115, 0.2, 0.215)
"""Each pair is one cluster beside another, and would be divided if it were alone."""

RIGHT = {"a": [0, 1], "b": [2, 3], "c": [4, 5]}


def test_the_last_clusters_of_pass_one_have_context_too():
    found = run(line(*THREE_PAIRS), RIGHT, passes=(1,))
    assert contents(found) == [(0, 1), (2, 3), (4, 5)]


def test_items_that_are_one_group_become_one_cluster():
    found = run(line(0, 0, 0.001), {"a": [0], "b": [1], "c": [2]})
    assert contents(found) == [(0, 1, 2)]


def test_ids_of_an_earlier_run_can_be_given_again():
    """Item 2, which left its cluster, is named as that cluster is."""
    found = run(line(0, 0.1, 0.2), {"000000002-1": [0, 1]}, passes=(2,))
    assert contents(found) == [(0,), (1,), (2,)]
