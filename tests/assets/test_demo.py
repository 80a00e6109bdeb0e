"""The demo and the UI, started as a user starts them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from ctr_assets import demo
from ctr_assets.partitions import Partition
from ctr_engine.io.samples import read_marker_map
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.test_annotate import ctr, words

PARTITIONS = ["blood__pbmc68k-reduced", "fallopian-tube__sim-1", "uterus__sim-1"]


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory: pytest.TempPathFactory):
    """Run the demo once, with a small cohort."""
    folder = tmp_path_factory.mktemp("demo") / "project"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "CELLS_PER_SAMPLE", 200)
        patch.setattr(demo, "SAMPLES_PER_TISSUE", 1)
        result = ctr("demo", "--project-dir", folder)
        again = ctr("demo", "--project-dir", folder)
    return folder, result, again


@pytest.mark.slow
def test_the_demo_names_real_and_simulated_cells_and_compares_them(small_demo):
    folder, result, _ = small_demo
    assert result.exit_code == 0, words(result)
    printed = words(result)
    assert "real cells, one row per cluster" in printed
    assert "markers on" in printed
    for key in PARTITIONS:
        assert key in printed
        labels = pd.read_parquet(folder / "storage" / "annotations" / f"{key}.parquet")
        assert labels["cell_id"].is_unique
    assert str(folder / "storage") in printed
    assert "make ui" in printed


@pytest.mark.slow
def test_the_demo_can_be_run_again(small_demo):
    _, first, again = small_demo
    assert again.exit_code == 0, words(again)
    printed = [words(run).split("real cells")[1].split("Tables:")[0] for run in (first, again)]
    assert printed[0] == printed[1]


@pytest.mark.smoke
def test_the_known_labels_of_the_blood_sample_are_cell_types_of_its_map():
    marker_map = read_marker_map(Path(str(demo.MAPS / "blood.json")))
    sample = demo.blood_sample()
    assert sample.shape == (700, 765)
    assert set(sample.obs["cell_type"]) <= set(marker_map.by_path)
    assert sample.X.min() >= 0  # log-normalised, not the scaled values


def test_the_cohort_has_known_types_coordinates_and_two_tissues():
    made = {sample.partition: sample.make() for sample in demo.demo_samples()[1:]}
    assert set(made) == {
        Partition(tissue, f"sim-{i}") for tissue in ("fallopian-tube", "uterus") for i in (1, 2, 3)
    }
    for partition, adata in made.items():
        marker_map = read_marker_map(Path(str(demo.MAPS / f"{partition.tissue}.json")))
        leaves = {node.path for node in marker_map.nodes if node.is_leaf}
        assert set(adata.obs["cell_type"]) == leaves
        assert adata.obsm["spatial"].shape == (2_000, 2)
        assert adata.n_vars == 31


def test_a_folder_with_something_else_in_it_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    result = ctr("demo", "--project-dir", tmp_path)
    assert result.exit_code == 1
    assert "is not empty and has no ctr.yaml" in words(result)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_configuration_of_a_laboratory_is_not_overwritten(tmp_path):
    (tmp_path / "ctr.yaml").write_text("samples_dir: ours\n")
    result = ctr("demo", "--project-dir", tmp_path)
    assert result.exit_code == 1
    assert "is not that of the demo" in words(result)
    assert (tmp_path / "ctr.yaml").read_text() == "samples_dir: ours\n"


def laboratory(folder: Path) -> Path:
    (folder / "marker_maps").mkdir()
    (folder / "samples" / "liver").mkdir(parents=True)
    (folder / "ctr.yaml").write_text("")
    (folder / "marker_maps" / "liver.json").write_text(GOOD_MAP)
    for name in ("A", "B"):
        good_sample().write_h5ad(folder / "samples" / "liver" / f"{name}.h5ad")
    return folder


@pytest.mark.slow
def test_run_annotates_the_samples_of_a_project(tmp_path):
    folder = laboratory(tmp_path)
    one = ctr("run", "liver__B", "--project", folder)
    assert one.exit_code == 0, words(one)
    assert [p.stem for p in (folder / "storage" / "annotations").iterdir()] == ["liver__B"]
    every = ctr("run", "--project", folder)
    assert every.exit_code == 0, words(every)
    stored = sorted(p.stem for p in (folder / "storage" / "annotations").iterdir())
    assert stored == ["liver__A", "liver__B"]
    assert "liver__A: cells, one row per cluster" in words(every)


@pytest.mark.slow
def test_run_goes_on_after_a_broken_sample_and_does_not_exit_with_0(tmp_path):
    folder = laboratory(tmp_path)
    (folder / "samples" / "liver" / "A.h5ad").write_bytes(b"half")
    result = ctr("run", "--project", folder)
    assert result.exit_code == 1
    assert "liver__A: stage_h_input: " in words(result)
    assert "is not an AnnData file" in words(result)
    assert [p.stem for p in (folder / "storage" / "annotations").iterdir()] == ["liver__B"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["liver__C"], "does not exist"),
        (["Liver"], "'Liver' is no partition key"),
        ([], "there is no sample; put one at"),
    ],
)
def test_run_says_what_is_not_there(keys, expected, tmp_path):
    (tmp_path / "ctr.yaml").write_text("")
    result = ctr("run", *keys, "--project", tmp_path)
    assert result.exit_code == 1
    assert expected in words(result)
    assert not (tmp_path / ".dagster").exists()


def test_the_ui_needs_a_project(tmp_path):
    result = ctr("ui", tmp_path)
    assert result.exit_code == 1
    assert "there is no ctr.yaml in" in words(result)


def test_a_port_that_is_in_use_is_refused_at_once(tmp_path):
    (tmp_path / "ctr.yaml").write_text("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = ctr("ui", tmp_path, "--port", taken.getsockname()[1])
    assert result.exit_code == 1
    assert "is in use; is the UI open already?" in words(result)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, query: str) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


@pytest.fixture(scope="module")
def ui(small_demo):
    """Give the port of a UI with its daemon, started as a user starts it."""
    folder, _, _ = small_demo
    port = free_port()
    command = [sys.executable, "-m", "ctr_assets", "ui", str(folder), "--port", str(port)]
    server = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: answers(port), "the UI did not answer")
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port: int) -> bool:
    try:
        return bool(ask(port, "{ version }"))
    except OSError:
        return False


def wait_for(happened, otherwise: str, seconds: int = 120) -> None:
    for _ in range(seconds):
        if happened():
            return
        time.sleep(1)
    pytest.fail(otherwise)


@pytest.mark.slow
def test_the_ui_has_the_partitions_of_the_demo(ui):
    query = """{ assetNodeOrError(assetKey: {path: ["annotations"]}) { ... on AssetNode {
        partitionKeys assetPartitionStatuses { ... on DefaultPartitionStatuses {
        materializedPartitions } } } } }"""
    found = ask(ui, query)["assetNodeOrError"]
    assert found["partitionKeys"] == PARTITIONS
    materialized = found["assetPartitionStatuses"]["materializedPartitions"]
    assert sorted(materialized) == PARTITIONS


@pytest.mark.slow
def test_the_ui_calls_every_asset_of_the_demo_fresh(ui):
    asked = "{ assetNodes { assetKey { path } isMaterializable isPartitioned groupName } }"
    nodes = [n for n in ask(ui, asked)["assetNodes"] if n["groupName"] == "annotation"]
    made = [n for n in nodes if n["isMaterializable"] and n["isPartitioned"]]
    names = [n["assetKey"]["path"][0] for n in made if n["assetKey"]["path"] != ["report"]]
    assert len(names) > 15
    keys = ", ".join(f'{{path: ["{name}"]}}' for name in names)  # the page is made on demand
    stale = f"""{{ assetNodes(assetKeys: [{keys}]) {{ assetKey {{ path }}
        staleStatus(partition: "uterus__sim-1") }} }}"""
    found = ask(ui, stale)["assetNodes"]
    assert len(found) == len(names)
    for asset in found:
        assert asset["staleStatus"] == "FRESH", asset["assetKey"]


@pytest.mark.slow
def test_telemetry_is_off(ui):
    info = ask(ui, "{ instance { info } }")["instance"]["info"]
    assert "enabled: false" in info.split("telemetry:")[1][:40]


@pytest.mark.slow
def test_a_run_that_is_launched_in_the_ui_succeeds_in_processes_of_its_own(ui):
    launch = """mutation { launchPipelineExecution(executionParams: {
        selector: {repositoryLocationName: "ctr", repositoryName: "__repository__",
                   jobName: "annotate_partition"}, runConfigData: {}, mode: "default",
        executionMetadata: {tags: [{key: "dagster/partition", value: "uterus__sim-1"}]}})
        { ... on LaunchRunSuccess { run { runId } } } }"""
    run_id = ask(ui, launch)["launchPipelineExecution"]["run"]["runId"]
    query = f'{{ runOrError(runId: "{run_id}") {{ ... on Run {{ status }} }} }}'

    def ended() -> bool:
        return ask(ui, query)["runOrError"]["status"] in ("SUCCESS", "FAILURE", "CANCELED")

    wait_for(ended, "the run did not end", seconds=300)
    assert ask(ui, query)["runOrError"]["status"] == "SUCCESS"
