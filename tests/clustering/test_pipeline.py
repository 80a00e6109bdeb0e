"""Leiden on planted groups, ids by size, and labels that depend on nothing but the input."""

import random
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from ctr_engine.clustering.pipeline import (
    ClusteringParams,
    cluster_cells,
    knn_graph,
    leiden,
    number_by_size,
)
from tests.builders import expression


def cliques(*sizes: int) -> sp.csr_matrix:
    """Separate complete graphs."""
    blocks = [sp.coo_matrix(np.ones((n, n)) - np.eye(n)) for n in sizes]
    return sp.csr_matrix(sp.block_diag(blocks))


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    centres = 4 * np.eye(len(sizes), 6)
    return (centres[truth] + rng.normal(0, 0.5, (len(truth), 6))).astype(np.float32), truth


@pytest.mark.smoke
def test_separate_cliques_are_clusters_largest_first():
    assert leiden(cliques(3, 6, 4), ClusteringParams()).tolist() == list("222000000" + "1111")


@pytest.mark.parametrize(
    ("membership", "expected"),
    [
        ([7, 7, 3, 3, 3], list("11000")),
        ([5, 2, 5, 2], list("0101")),
        ([1, 0, 2], list("012")),
        ([4, 4, 4], list("000")),
    ],
)
def test_ids_go_by_size_and_then_by_first_cell(membership, expected):
    assert number_by_size(np.array(membership)).tolist() == expected


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.permutations(range(6)))
def test_names_of_the_groups_do_not_show_in_the_ids(membership, names):
    renamed = np.array([names[group] for group in membership])
    assert number_by_size(renamed).tolist() == number_by_size(np.array(membership)).tolist()


def test_planted_groups_are_found():
    values, truth = blobs([150, 120, 90, 60, 30])
    params = ClusteringParams(resolution=0.1)
    found, coordinates, graph = cluster_cells(expression(values), params)
    assert adjusted_rand_score(truth, found) == 1
    assert coordinates.shape == (450, 5)
    assert graph.shape == (450, 450)


def test_a_larger_resolution_gives_more_clusters():
    values, _ = blobs([200, 200])
    few = leiden(knn_graph(values, ClusteringParams()), ClusteringParams(resolution=0.1))
    many = leiden(knn_graph(values, ClusteringParams()), ClusteringParams(resolution=3.0))
    assert len(set(few)) == 2
    assert len(set(many)) > 4


def test_more_neighbours_give_more_edges():
    values, _ = blobs([100, 100])
    few = knn_graph(values, ClusteringParams(n_neighbors=5))
    many = knn_graph(values, ClusteringParams(n_neighbors=30))
    assert few.nnz < many.nnz


def overlapping() -> sp.csr_matrix:
    values = np.random.default_rng(3).normal(0, 1, (800, 6)).astype(np.float32)
    return knn_graph(values, ClusteringParams())


def test_the_same_seed_gives_the_same_labels_whatever_ran_before():
    graph, params = overlapping(), ClusteringParams(random_state=5)
    first = leiden(graph, params)
    random.seed(99)
    leiden(graph, ClusteringParams(random_state=6))
    assert leiden(graph, params).tolist() == first.tolist()


def test_another_seed_gives_other_labels_on_cells_without_groups():
    graph = overlapping()
    first = leiden(graph, ClusteringParams(random_state=1))
    second = leiden(graph, ClusteringParams(random_state=2))
    assert first.tolist() != second.tolist()


def test_threads_do_not_show_in_the_labels():
    values = np.random.default_rng(4).normal(0, 1, (3_000, 5)).astype(np.float32)
    one = cluster_cells(expression(values), ClusteringParams(), n_jobs=1)[0]
    four = cluster_cells(expression(values), ClusteringParams(), n_jobs=4)[0]
    assert one.tolist() == four.tolist()


def test_three_cells_can_be_clustered():
    values = np.array([[0, 1], [1, 0], [5, 5]], dtype=np.float32)
    assert len(cluster_cells(expression(values), ClusteringParams())[0]) == 3


def test_the_default_path_compiles_nothing():
    code = (
        "import sys, numpy as np\n"
        "from tests.builders import expression\n"
        "from ctr_engine.clustering.pipeline import ClusteringParams, cluster_cells\n"
        "values = np.random.default_rng(0).normal(0, 1, (50, 4))\n"
        "cluster_cells(expression(values), ClusteringParams())\n"
        "print([m for m in ('umap', 'pynndescent', 'scanpy') if m in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
