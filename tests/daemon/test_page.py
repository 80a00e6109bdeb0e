"""The page of Dagster: what one sees, chooses and launches there is what there is and what runs."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.daemon.conftest import CONFIG, PATIENCE, Running
from tests.reporting.test_pages import CHROMIUM, REQUIRED

pytestmark = pytest.mark.slow
LIVER = ("liver__S1", "liver__S2")
KEYS = ("fatty-liver__S1", "kidney__S1", *LIVER, "lung__S1")
"""``fatty-liver`` ends like ``liver`` and is another tissue. Nobody asks for it."""
LABELS = "annotations"
REPOSITORY = {"repositoryLocationName": "ctr", "repositoryName": "__repository__"}
JOB = "annotate_partition"
FROM_UI = {"key": "dagster/from_ui", "value": "true"}
LAUNCH = """
mutation LaunchPipelineExecution($executionParams: ExecutionParams!) {
  launchPipelineExecution(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { id } }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
SENSOR = """
query($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { id } } }
}
"""
STOP = """
mutation($id: String!) {
  stopSensor(id: $id) { ... on StopSensorMutationResult { instigationState { status } } }
}
"""
ASSETS = """
query {
  assetNodes {
    assetKey { path }
    jobNames
    partitionKeysByDimension { partitionKeys }
    partitionStats { numMaterialized numPartitions numFailed numMaterializing }
  }
}
"""


@pytest.fixture(scope="module")
def laboratory(running: Running) -> Running:
    """Give a laboratory that knows its samples and makes nothing by itself."""
    config = running.project.root / "ctr.yaml"
    hidden = config.with_suffix(".part")
    hidden.write_text(CONFIG.replace("defaults:\n", "defaults:\n  automation: false\n"))
    hidden.replace(config)
    selector = {**REPOSITORY, "sensorName": "annotation_automation"}
    found = running.graphql(SENSOR, {"selector": selector})["sensorOrError"]
    stopped = running.graphql(STOP, found["sensorState"])["stopSensor"]
    assert stopped["instigationState"]["status"] == "STOPPED"
    for seed, key in enumerate(KEYS):
        running.put_sample(key, seed)
    running.until(lambda: running.partitions() == set(KEYS), "the samples are registered")
    assert running.instance.get_runs_count() == 0
    return running


@pytest.fixture(scope="module")
def backfill(laboratory: Running) -> str:
    """Ask for the assets of a tissue, as the dialog of the asset graph does; give the id."""
    names = [name for name, node in assets(laboratory).items() if JOB in node["jobNames"]]
    params = {
        "assetSelection": [{"path": [name]} for name in names],
        "partitionNames": list(LIVER),
        "fromFailure": False,
        "tags": [FROM_UI],
    }
    answer = laboratory.graphql(BACKFILL, {"backfillParams": params})["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return str(answer["backfillId"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None and REQUIRED not in os.environ:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    expect.set_options(timeout=120_000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(laboratory: Running, browser: Browser) -> Iterator[Page]:
    """Give a window on the laboratory; a script that fails in it fails the test."""
    address = f"http://127.0.0.1:{laboratory.port}"
    opened = browser.new_page(base_url=address, viewport={"width": 1500, "height": 1100})
    opened.set_default_timeout(120_000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    yield opened
    opened.close()
    assert faults == []


def assets(running: Running) -> dict[str, dict[str, Any]]:
    """Assets of samples by name, as the page asks for them; sets of barcodes have other keys."""
    nodes = running.graphql(ASSETS)["assetNodes"]
    partitioned = [
        node
        for node in nodes
        if node["partitionStats"] is not None and "cluster_barcodes" not in node["jobNames"]
    ]
    return {"/".join(node["assetKey"]["path"]): node for node in partitioned}


def finished(running: Running, run_id: str) -> dg.DagsterRun:
    """Run that was waited for; it must succeed."""

    def run() -> dg.DagsterRun:
        found = running.instance.get_run_by_id(run_id)
        assert found is not None
        return found

    running.until(lambda: run().is_finished, f"run {run_id} is finished", 2 * PATIENCE)
    assert run().status is dg.DagsterRunStatus.SUCCESS
    return run()


def assert_annotated(running: Running, key: str) -> None:
    stored = running.project.storage / "final_annotations" / f"{key}.parquet"
    labels = pd.read_parquet(str(stored))
    assert len(labels) == 120
    assert set(labels["cell_type"]) == {"Epithelium", "T Cells", "B Cells"}


def dialog(page: Page) -> Locator:
    """Window in which partitions are chosen; the list that drops down in it is another one."""
    return page.get_by_role("dialog").filter(has_text="Launch runs to materialize")


def chosen(page: Page) -> set[str]:
    """Partitions that the dialog names; it does so up to four."""
    return set(re.findall(r"[a-z-]+__S\d", dialog(page).inner_text()))


def test_there_are_as_many_partitions_as_samples(laboratory: Running) -> None:
    nodes = assets(laboratory)
    assert {"sample", "stage_h_input", LABELS, "final_annotations", "report"} <= set(nodes)
    for name, node in nodes.items():
        (dimension,) = node["partitionKeysByDimension"]
        assert sorted(dimension["partitionKeys"]) == sorted(KEYS), name
        assert node["partitionStats"]["numPartitions"] == len(KEYS), name
        assert node["partitionStats"]["numFailed"] == 0, name


def test_a_run_that_is_launched_annotates_its_partition(laboratory: Running, backfill: str) -> None:
    key = "lung__S1"
    params = {
        "mode": "default",
        "runConfigData": "{}\n",
        "selector": {**REPOSITORY, "jobName": JOB},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": key}, FROM_UI]},
    }
    answer = laboratory.graphql(LAUNCH, {"executionParams": params})["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    run = finished(laboratory, answer["run"]["id"])
    assert (run.job_name, run.tags["dagster/partition"]) == (JOB, key)
    assert (run.tags["ctr/tissue"], run.tags["ctr/sample"]) == ("lung", "S1")
    assert_annotated(laboratory, key)


def test_an_address_chooses_exactly_one_tissue(page: Page) -> None:
    page.goto(f"/assets/{LABELS}?view=partitions&default_range=liver__*")
    expect(page.get_by_text("2 Partitions Selected", exact=True)).to_be_visible()
    page.get_by_role("button", name="Materialize…").click()
    expect(dialog(page).get_by_text("2 partitions", exact=True)).to_be_visible()
    expect(dialog(page).get_by_role("button", name="Launch backfill")).to_be_enabled()
    assert chosen(page) == set(LIVER)


def test_the_dialog_finds_names_that_contain_what_is_typed(page: Page) -> None:
    page.goto(f"/assets/{LABELS}?view=partitions")
    expect(page.get_by_text(f"{len(KEYS)} Partitions Selected", exact=True)).to_be_visible()
    page.get_by_role("button", name="Materialize…").click()
    dialog(page).get_by_text("Select a partition or create one").click()
    field = page.get_by_placeholder("Filter partitions")
    field.fill("liver__*")
    expect(page.get_by_text("No matching partitions found")).to_be_visible()
    field.fill("liver__")
    expect(page.get_by_text("Select all (3)", exact=True)).to_be_visible()
    field.fill("kidney__")
    page.get_by_text("Select all (1)", exact=True).click()
    expect(dialog(page).get_by_text("1 partition", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    assert chosen(page) == {"kidney__S1"}


def test_a_click_launches_what_the_job_says(laboratory: Running, page: Page) -> None:
    page.goto(f"/locations/ctr/jobs/{JOB}?default_range=kidney__*")
    page.get_by_role("button", name="Materialize all").click()
    launch = dialog(page).get_by_role("button", name="Launch 1 run")
    with page.expect_response(lambda it: "LaunchPipeline" in (it.request.post_data or "")) as got:
        launch.click()
    sent = json.loads(got.value.request.post_data or "")["variables"]["executionParams"]
    tags = {one["key"]: one["value"] for one in sent["executionMetadata"]["tags"]}
    assert (tags["ctr/tissue"], tags["ctr/sample"]) == ("kidney", "S1")
    answer = got.value.json()["data"]["launchPipelineExecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    page.get_by_text("Launched run").wait_for()
    run = finished(laboratory, answer["run"]["id"])
    assert (run.job_name, run.tags["dagster/partition"]) == (JOB, "kidney__S1")
    assert tags.items() <= run.tags.items()
    assert_annotated(laboratory, "kidney__S1")


def test_a_backfill_makes_one_run_per_partition_of_its_tissue(
    laboratory: Running, backfill: str
) -> None:
    def ended() -> bool:
        found = laboratory.instance.get_backfill(backfill)
        assert found is not None
        return bool(found.status.value.startswith(("COMPLETED", "FAIL", "CANCEL")))

    laboratory.until(ended, "the backfill has ended")
    runs = laboratory.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill}))
    assert sorted(run.tags["dagster/partition"] for run in runs) == sorted(LIVER)
    for run in runs:
        key = run.tags["dagster/partition"]
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert (run.tags["ctr/tissue"], run.tags["ctr/sample"]) == tuple(key.split("__"))
        assert_annotated(laboratory, key)


def test_nothing_else_was_made(laboratory: Running, backfill: str) -> None:
    # a cohort has no partition; whether it is made is not asked here
    launched = [r for r in laboratory.instance.get_runs() if "dagster/partition" in r.tags]
    asked = {run.tags["dagster/partition"] for run in launched}
    assert len(launched) == len(asked)
    assert "fatty-liver__S1" not in asked
    for name in assets(laboratory):
        made = {key for key in KEYS if laboratory.times(name, key) > 0}
        assert made <= asked, name
        if name == LABELS:
            assert made == asked
    # Dagster may count wrong while runs work side by side; the next look of reconcile corrects it
    laboratory.until(lambda: miscounted(laboratory) == {}, "what was made is counted")


def miscounted(laboratory: Running) -> dict[str, dict[str, int]]:
    """Assets whose counts on the page are not those of the records."""
    found = {}
    for name, node in assets(laboratory).items():
        counts = {
            "numMaterialized": sum(laboratory.times(name, key) > 0 for key in KEYS),
            "numPartitions": len(KEYS),
            "numFailed": 0,
            "numMaterializing": 0,
        }
        if node["partitionStats"] != counts:
            found[name] = node["partitionStats"]
    return found


def test_the_page_counts_what_was_made(laboratory: Running, page: Page) -> None:
    runs = laboratory.instance.get_runs
    laboratory.until(lambda: all(r.is_finished for r in runs()), "no run is in progress")
    page.goto(f"/assets/{LABELS}?view=partitions")
    made = sum(laboratory.times(LABELS, key) > 0 for key in KEYS)
    counts = {
        "Failed": 0,
        "Materialized": made,
        "Materializing": 0,
        "Missing": len(KEYS) - made,
    }
    for word, number in counts.items():
        expect(page.get_by_text(f"{word} ({number})", exact=True)).to_be_visible()
    expect(page.get_by_text(f"{len(KEYS)} Partitions Selected", exact=True)).to_be_visible()
