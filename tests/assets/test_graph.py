"""The shape of the graph: what exists, what depends on what, where it runs."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from ctr_assets.definitions import build_defs
from ctr_assets.versions import code_version

ROOT = Path(__file__).parents[2]

PARENTS = {
    "stage_h_input": {"sample"},
    "pca": {"stage_h_input"},
    "knn_graph": {"pca"},
    "leiden_clusters": {"knn_graph", "stage_h_input"},
    "reference_values": {"leiden_clusters", "stage_h_input"},
    "cluster_statistics": {"leiden_clusters", "stage_h_input"},
    "de_lookup": {"cluster_statistics", "reference_values"},
    "marker_scores": {
        "marker_map", "stage_h_input", "reference_values", "cluster_statistics", "de_lookup",
    },
    "annotations": {
        "stage_h_input", "pca", "leiden_clusters", "reference_values", "cluster_statistics",
        "de_lookup", "marker_scores", "cluster_annotations", "decision_steps",
    },
    "refinement_iteration_1": {
        "stage_h_input", "leiden_clusters", "cluster_annotations", "manual_plan",
    },
    "refinement_iteration_2": {
        "stage_h_input", "leiden_clusters", "refinement_iteration_1", "manual_plan",
    },
    "refinement_iteration_3": {
        "stage_h_input", "leiden_clusters", "refinement_iteration_2", "manual_plan",
    },
    "final_annotations": {"stage_h_input", "annotations", "refinement_iteration_3"},
    "refined": {
        "stage_h_input", "pca", "leiden_clusters", "de_lookup", "annotations",
        "refinement_iteration_3", "final_annotations",
    },
    "consensus_clusters": {"stage_h_input", "pca", "knn_graph"},
    "consensus_summary": {"stage_h_input", "pca", "knn_graph"},
    "cohort_summary": {"final_annotations"},
    "coarse_clusters": {"stage_h_input", "pca", "leiden_clusters", "de_lookup", "annotations"},
    "report": {
        "stage_h_input", "pca", "knn_graph", "reference_values", "cluster_statistics", "de_lookup",
        "marker_scores", "marker_evidence", "decision_steps", "gating_details",
        "cluster_annotations", "annotations",
    },
}  # fmt: skip
CONSENSUS = {"consensus_clusters", "consensus_summary"}
TABLES = {
    "leiden_clusters", "reference_values", "cluster_statistics", "de_lookup", "marker_scores",
    "marker_evidence", "decision_steps", "gating_details", "cluster_annotations", "annotations",
    "near_miss_report", "final_annotations", "cohort_summary", *CONSENSUS,
}  # fmt: skip
ITERATIONS = {f"refinement_iteration_{number}" for number in (1, 2, 3)}
GPU_CAPABLE = {
    "pca", "knn_graph", "leiden_clusters", "reference_values", "cluster_statistics", *ITERATIONS,
    *CONSENSUS,
}  # fmt: skip
ADVICE = {"converged", "manual_plan_carried_out", "few_unassigned", "labels_supported"}
COHORT = dg.AssetKey("cohort_summary")
BARCODES = {
    "barcode_sequences": set(),
    "barcode_distances": {"barcode_sequences"},
    "initial_clusters": {"barcode_sequences", "barcode_distances"},
    "two_pass_clusters": {"barcode_sequences", "barcode_distances", "initial_clusters"},
}


@pytest.fixture(scope="module")
def graph():
    return build_defs().resolve_asset_graph()


def names(keys) -> set[str]:
    return {key.to_user_string() for key in keys}


@pytest.mark.smoke
def test_the_definitions_load_without_a_project():
    dg.Definitions.validate_loadable(build_defs())


@pytest.mark.parametrize("asset", PARENTS)
def test_an_asset_depends_on_what_it_reads(graph, asset):
    assert names(graph.get(dg.AssetKey(asset)).parent_keys) == PARENTS[asset]


def test_clusters_and_statistics_do_not_depend_on_the_marker_map(graph):
    for asset in ("leiden_clusters", "cluster_statistics", "reference_values", "de_lookup"):
        assert "marker_map" not in names(graph.get_ancestor_asset_keys(dg.AssetKey(asset)))


def partitions_of(key: dg.AssetKey) -> str:
    return "barcode_set" if key.to_user_string() in BARCODES else "tissue__sample"


def group_of(key: dg.AssetKey) -> str:
    if key == COHORT:
        return "cohort"
    name = key.to_user_string()
    return "barcodes" if name in BARCODES else "consensus" if name in CONSENSUS else "annotation"


@pytest.mark.parametrize("asset", BARCODES)
def test_an_asset_of_barcodes_depends_on_what_it_reads(graph, asset):
    assert names(graph.get(dg.AssetKey(asset)).parent_keys) == BARCODES[asset]


def test_everything_but_the_cohort_is_partitioned_by_sample_and_tissue_or_by_barcode_set(graph):
    for key in graph.get_all_asset_keys() - {COHORT}:
        assert graph.get(key).partitions_def.name == partitions_of(key)
    assert graph.get(COHORT).partitions_def is None


def test_every_asset_says_what_it_is(graph):
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description
        assert node.owners == ["team:annotation"]
        assert node.kinds
        assert node.code_version
        assert node.group_name == group_of(key)


def test_every_table_has_a_blocking_schema_check(graph):
    checked = {
        key.asset_key.to_user_string() for key in graph.asset_check_keys if key.name == "schema"
    }
    assert checked == TABLES | ITERATIONS | (BARCODES.keys() - {"barcode_distances"})
    cells = {
        key.asset_key.to_user_string()
        for key in graph.asset_check_keys
        if key.name == "every_cell_once"
    }
    assert cells == {
        "leiden_clusters", "annotations", "final_annotations", "consensus_clusters", *ITERATIONS
    }  # fmt: skip
    for key in graph.asset_check_keys:
        assert graph.get(key).blocking is (key.name not in ADVICE)


def test_what_a_gpu_can_do_waits_for_one_and_goes_to_its_queue(graph):
    ops = {
        key: asset.op
        for asset in build_defs().assets
        if isinstance(asset, dg.AssetsDefinition)
        for key in asset.keys
    }
    assert set(ops) == graph.materializable_asset_keys
    for key, op in ops.items():
        wants_gpu = key.to_user_string() in GPU_CAPABLE
        assert op.tags["ctr/device"] == ("gpu" if wants_gpu else "cpu")
        assert op.tags["dagster-celery/queue"] == ("gpu" if wants_gpu else "cpu")
        assert op.pool == ("gpu" if wants_gpu else None)


def test_the_alias_table_is_part_of_the_code_version_where_names_are_read(graph):
    assert graph.get(dg.AssetKey("marker_scores")).code_version == code_version(names=True)
    assert graph.get(dg.AssetKey("pca")).code_version == code_version()
    assert code_version(names=True) != code_version()


@pytest.mark.slow
def test_dagster_validates_the_workspace(tmp_path):
    command = [
        sys.executable,
        "-m",
        "dagster",
        "definitions",
        "validate",
        "-w",
        str(ROOT / "workspace.yaml"),
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Validation successful for code location ctr" in run.stdout + run.stderr
