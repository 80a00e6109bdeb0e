"""Clusters of cells are divided and joined as their cells lie; what is right stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.errors import CellMismatchError
from ctr_engine.splitmerge.cells.params import CellParams
from ctr_engine.splitmerge.cells.regroup import Regrouped, regroup

SIZES = (120, 90, 60)
BLOB = np.repeat(["A", "B", "C"], SIZES)
"""Blobs of cells, each in a cube of side 2, and their centres 1000 apart."""
N = len(BLOB)
POINTS = np.random.default_rng(5).uniform(-1, 1, (N, 3))
POINTS[:, 0] += np.repeat([0, 1000, 2000], SIZES)
IDS = [f"cell_{x:03d}" for x in range(N)]
HALF = np.where(POINTS[:, 1] > 0, "u", "l")
WIDE = {"min_split": 20.0, "max_lump": 20.0, "scale_neighbors": 3}
"""Each blob has six microclusters or more, so that the three nearest lie within it."""
BY_BLOB = ["0"] * 120 + ["1"] * 90 + ["2"] * 60


def of_blobs(clusters, order=None, **options) -> Regrouped:
    rows = np.arange(N) if order is None else np.asarray(order)
    chosen = [str(name) for name in np.asarray(clusters)[rows]]
    params = CellParams(**{**WIDE, **options.pop("params", {})})
    return regroup(POINTS[rows], chosen, [IDS[x] for x in rows], params, **options)


def of_line(places: dict[float, int], clusters: str, **params) -> list[str]:
    """Group of each place; so many cells are there, and the letter is their cluster."""
    points = np.repeat(np.array(list(places), dtype=np.float64), list(places.values()))[:, None]
    names = np.repeat(list(clusters), list(places.values())).tolist()
    chosen = {"n_microclusters": 1000, "min_microcluster_cells": 1, "scale_neighbors": 1, **params}
    ids = [f"cell_{x:03d}" for x in range(len(points))]
    groups = regroup(points, names, ids, CellParams(**chosen)).groups
    found = [set(groups[points[:, 0] == place].tolist()) for place in places]
    assert all(len(one) == 1 for one in found), "cells that are alike are together"
    return [one.pop() for one in found]


# ------------------------------------------------------- partitions known by construction

STARTS = {
    "right clusters": BLOB,
    "a blob in two clusters": np.where(BLOB == "A", HALF, BLOB),
    "every blob in two clusters": np.char.add(BLOB, HALF),
    "a cluster of two blobs": np.where(BLOB == "C", "B", BLOB),
    "one cluster of all": np.full(N, "A"),
    "two clusters with a part of two blobs each": np.where(BLOB == "C", "C", HALF),
    "two clusters with a part of every blob each": HALF,
    "one divided and two joined": np.where(BLOB == "A", HALF, "B"),
}


@pytest.mark.parametrize("start", STARTS)
def test_each_blob_becomes_one_group(start):
    found = of_blobs(STARTS[start])
    assert found.groups.tolist() == BY_BLOB
    assert found.result.stop_reason == "no_changes"


def test_clusters_that_stay_keep_cells_that_lie_in_another_blob():
    """Five cells of A lie amid B, in the one microcluster of A; the means are far apart."""
    points = POINTS.copy()
    points[:5] = POINTS[120:125]
    params = CellParams(min_split=0.1, max_lump=0.1, n_microclusters=1)
    assert regroup(points, BLOB.tolist(), IDS, params).groups.tolist() == BY_BLOB


# ------------------------------------------------------------------ settings, by hand

LINE = dict.fromkeys([0.0, 1.0, 2.0], 4) | dict.fromkeys([10.0, 11.0, 12.0], 3)
"""The nearest is 1 away of every place, so that distances are those of the line."""


@pytest.mark.parametrize("clusters", ["aaaaaa", "aaabbb", "abcdef", "aabbbb", "ababab"])
@pytest.mark.parametrize(
    ("min_split", "max_lump", "expected"),
    [
        (0.5, 0.5, "012345"),  # nothing is near enough
        (2.5, 2.5, "000111"),  # 0 to 2 are 2 apart, 2 to 10 are 8 apart
        (0.5, 2.5, "000111"),
        (13.0, 13.0, "000000"),  # 12 from end to end
    ],
)
def test_the_thresholds_say_what_is_one_group(clusters, min_split, max_lump, expected):
    found = of_line(LINE, clusters, min_split=min_split, max_lump=max_lump)
    assert found == list(expected)


def test_the_thresholds_are_on_the_scale_of_the_nearest():
    """Ten times as far apart: 1 is ten, and nothing changes."""
    far = {place * 10: n for place, n in LINE.items()}
    assert of_line(far, "aabbbb", min_split=2.5, max_lump=2.5) == list("000111")
    narrow = {"min_split": 1.2, "max_lump": 1.2}
    # two neighbours are joined; the third is 1 and 2 away from them, more than 1.2
    found = of_line(LINE, "aaabbb", **narrow)
    assert (len(set(found[:3])), len(set(found[3:])), len(set(found))) == (2, 2, 4)
    # All five others are the nearest: of 30 distances the highest are 11, 12, 12, of which
    # place 27.55 is 11.55; 12 is hardly more than that.
    assert of_line(LINE, "aaabbb", **narrow, scale_neighbors=5) == list("000000")


def test_fewer_microclusters_cannot_be_told_apart():
    """One microcluster for each cluster: a cluster of two blobs stays one."""
    joined = STARTS["a cluster of two blobs"]
    found = of_blobs(joined, params={"n_microclusters": 1, "min_split": 0.1, "max_lump": 0.1})
    # the two means are as far apart as the scale; 150 cells are more than 120
    assert found.groups.tolist() == np.where(BLOB == "A", "1", "0").tolist()


# --------------------------------------------------------------- what does not matter


@settings(max_examples=8)
@given(st.permutations(range(N)), st.sampled_from(sorted(STARTS)))
def test_the_order_of_the_cells_does_not_matter(order, start):
    assert of_blobs(STARTS[start], order).groups.tolist() == [BY_BLOB[x] for x in order]


CLOUD = np.random.default_rng(8).normal(size=(240, 2))
"""Cells without blobs, for which the result is not known but must be one."""
QUARTERS = [f"{int(x > 0)}{int(y > 0)}" for x, y in CLOUD]
TIGHT = CellParams(min_split=0.8, max_lump=1.6, min_microcluster_cells=6, scale_neighbors=3)


def cells_of_groups(found: Regrouped, ids) -> set[frozenset[str]]:
    groups = found.groups
    return {
        frozenset(ids[x] for x in np.flatnonzero(groups == name).tolist()) for name in set(groups)
    }


def of_cloud(order=None, **options) -> set[frozenset[str]]:
    rows = np.arange(len(CLOUD)) if order is None else np.asarray(order)
    ids = [f"cell_{x:03d}" for x in rows]
    names = [QUARTERS[x] for x in rows]
    found = regroup(CLOUD[rows], names, ids, TIGHT, **options)
    return cells_of_groups(found, ids)


def test_a_cloud_of_cells_is_divided_alike_in_any_order_and_with_any_threads():
    straight = of_cloud()
    assert len(straight) > 4, "else nothing was divided"
    assert of_cloud(n_jobs=2) == straight
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(CLOUD))
        assert of_cloud(order, n_jobs=1 + seed % 2) == straight


def test_one_thread_and_two_give_the_same_run():
    one, two = (of_blobs(STARTS["one divided and two joined"], n_jobs=n) for n in (1, 2))
    assert one.groups.tolist() == two.groups.tolist() == BY_BLOB
    assert one.result == two.result


@pytest.mark.parametrize("start", ["every blob in two clusters", "one divided and two joined"])
def test_the_names_of_the_clusters_do_not_matter(start):
    other = {name: f"{97 - x}:z" for x, name in enumerate(sorted(set(STARTS[start].tolist())))}
    renamed = [other[name] for name in STARTS[start].tolist()]
    assert of_blobs(renamed).groups.tolist() == BY_BLOB


# -------------------------------------------------------------------- what always holds


@settings(max_examples=10)
@given(
    st.lists(st.sampled_from("abcd"), min_size=N, max_size=N),
    st.floats(0.1, 3),
    st.integers(1, 60),
)
def test_every_cell_is_in_one_group_and_groups_are_numbered_by_size(clusters, near, n_parts):
    params = {"min_split": near, "max_lump": near + 1, "n_microclusters": n_parts}
    found = of_blobs(clusters, params=params)
    assert len(found.groups) == N
    groups = found.groups.tolist()
    sizes = [groups.count(str(number)) for number in range(len(set(groups)))]
    assert sum(sizes) == N, "numbers are without a gap"
    assert sizes == sorted(sizes, reverse=True)
    items = sorted(item for members in found.result.clusters.values() for item in members)
    assert items == list(range(len(items)))


def test_groups_of_one_size_are_numbered_by_their_first_cell():
    even = dict.fromkeys([0.0, 1.0, 10.0, 11.0], 3)
    assert of_line(even, "baba", min_split=1.5, max_lump=1.5) == list("0011")
    back = dict(reversed(even.items()))
    assert of_line(back, "baba", min_split=1.5, max_lump=1.5) == list("0011")


def test_cells_that_are_all_alike_become_one_group():
    points = np.full((40, 3), 2.5)
    found = regroup(points, list("abcd") * 10, IDS[:40], CellParams())
    assert set(found.groups.tolist()) == {"0"}


def test_one_cell_is_one_group():
    assert regroup(np.zeros((1, 3)), ["a"], ["x"], CellParams()).groups.tolist() == ["0"]


def test_progress_is_told():
    told: list[str] = []
    of_blobs(BLOB, progress=lambda step, done, total: told.append(f"{step} {done} {total}"))
    assert told[0] == "pass 1 0 3"
    assert "pass 2 0 10" in told


def test_other_numbers_of_cells_are_refused():
    with pytest.raises(CellMismatchError, match="3 rows of coordinates, 2 clusters and 3 ids"):
        regroup(np.zeros((3, 2)), ["a", "b"], ["x", "y", "z"], CellParams())
