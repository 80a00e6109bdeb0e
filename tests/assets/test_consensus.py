"""The consensus of several clusterings in the graph: a real instance and real files."""

import pytest

from ctr_assets.assets.consensus import CLUSTERS, SUMMARY
from ctr_assets.freshness import parameters_version
from ctr_assets.io_managers import ArrayFile
from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_engine.clustering.pipeline import ClusteringParams, leiden
from ctr_engine.io.tables import read_parquet
from ctr_engine.splitmerge.cells.consensus import consensus
from ctr_engine.splitmerge.cells.params import ConsensusParams
from ctr_engine.tables import ConsensusClusters, ConsensusSummary
from tests.assets.conftest import LIVER_1, Laboratory

JOB = "consensus_partition"


@pytest.fixture(scope="module")
def agreed(annotated: Laboratory) -> Laboratory:
    """Give a laboratory whose annotated sample has a consensus."""
    assert annotated.run(LIVER_1, JOB).success
    return annotated


def test_a_new_sample_is_annotated_without_a_consensus(laboratory):
    assert laboratory.run(LIVER_1).success
    assert not list((laboratory.project.storage / CLUSTERS).glob("*"))


def test_the_graph_and_the_engine_give_the_same_consensus(agreed):
    table = read_parquet(ConsensusClusters, agreed.stored(CLUSTERS, LIVER_1))
    coordinates = ArrayFile(agreed.stored("pca", LIVER_1)).read()
    graph = ArrayFile(agreed.stored("knn_graph", LIVER_1)).read_graph()
    seeds = range(1337, 1347)
    runs = [leiden(graph, ClusteringParams(random_state=seed)) for seed in seeds]
    found = consensus(runs, coordinates, table["cell_id"].tolist(), ConsensusParams())
    assert table["cluster_id"].tolist() == found.clusters.tolist()
    assert table["consensus_stability"].tolist() == found.stability.tolist()


def test_each_cluster_has_a_row_that_counts_its_cells(agreed):
    cells = read_parquet(ConsensusClusters, agreed.stored(CLUSTERS, LIVER_1))
    clusters = read_parquet(ConsensusSummary, agreed.stored(SUMMARY, LIVER_1))
    counts = cells["cluster_id"].value_counts()
    assert dict(zip(clusters["cluster_id"], clusters["n_cells"], strict=True)) == dict(counts)


def test_the_page_shows_which_runs_found_which_cluster(agreed):
    event = agreed.event(SUMMARY, LIVER_1)
    assert event.metadata["picture"].value.startswith("![picture](data:image/png;base64,")
    told = agreed.event(CLUSTERS, LIVER_1).metadata
    assert len(told["clusters_of_runs"].value) == 10
    assert told["repeatable"].value is True


def test_its_parameters_move_its_version_and_leave_the_labels_fresh(laboratory):
    config = laboratory.project.root / "ctr.yaml"
    partition = parse_key(LIVER_1)
    assert laboratory.run(LIVER_1).success
    assert laboratory.run(LIVER_1, JOB).success
    labels = parameters_version(laboratory.project, partition)
    before = laboratory.event(CLUSTERS, LIVER_1)
    config.write_text("defaults: {consensus: {n_runs: 3, resolutions: [0.4, 0.8]}}\n")
    laboratory.project = load_project(laboratory.project.root)
    assert parameters_version(laboratory.project, partition) == labels
    assert laboratory.run(LIVER_1, JOB).success
    after = laboratory.event(CLUSTERS, LIVER_1)
    assert len(after.metadata["clusters_of_runs"].value) == 3
    versions = [event.tags["dagster/data_version"] for event in (before, after)]
    assert versions[0] != versions[1]


def test_a_tissue_may_be_refined_by_two_passes(laboratory):
    config = laboratory.project.root / "ctr.yaml"
    config.write_text("tissues: {liver: {refinement_policy: two-pass}}\n")
    laboratory.project = load_project(laboratory.project.root)
    assert laboratory.run(LIVER_1).success
    event = laboratory.event("refinement_iteration_1", LIVER_1)
    assert event.metadata["operations"].value.keys() >= {"regroup"}
