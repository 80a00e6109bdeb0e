"""A laboratory starts the daemon once and forgets it: arrivals, edits, and what must not happen."""

import json
import time

import pandas as pd
import pytest

from ctr_assets import rejected
from tests.bad_inputs import GOOD_MAP
from tests.daemon.conftest import Running

pytestmark = pytest.mark.slow
EDITED = GOOD_MAP.replace('"CD20"', '"CD20", "CD3"')
BELOW = {
    "marker_scores", "marker_evidence", "decision_steps", "gating_details", "near_miss_report",
    "cluster_annotations", "annotations", "refinement_iteration_1", "refinement_iteration_2",
    "refinement_iteration_3", "final_annotations", "refined",
}  # fmt: skip
ABOVE = {"stage_h_input", "pca", "knn_graph", "leiden_clusters", "cluster_statistics", "de_lookup"}


def annotated(running: Running, *keys: str) -> None:
    running.until(lambda: all(running.basis(key) for key in keys), f"{keys} are annotated")
    running.quiet()


def counts(running: Running, key: str, assets: set[str]) -> dict[str, int]:
    return {name: running.times(name, key) for name in sorted(assets)}


def test_a_sample_that_is_dropped_is_annotated_once(running):
    running.put_sample("liver__S1")
    running.put_sample("liver__S2", seed=1)
    running.put_sample("lung__S1", seed=2)
    annotated(running, "liver__S1", "liver__S2", "lung__S1")
    made = counts(running, "liver__S1", ABOVE)
    assert set(made.values()) == {1}, running.history("liver__S1")
    labels = pd.read_parquet(running.project.storage / "final_annotations" / "liver__S1.parquet")
    assert set(labels["cell_type"]) == {"Epithelium", "T Cells", "B Cells"}
    assert running.partitions() == {"liver__S1", "liver__S2", "lung__S1"}


def test_a_sample_that_still_grows_is_left_alone_until_it_is_whole(running):
    whole = running.put_sample("lung__whole", seed=3).read_bytes()
    running.sample_path("lung__whole").unlink()
    path = running.sample_path("lung__growing")
    with path.open("wb") as file:
        for part in range(8):
            size = len(whole) // 8
            file.write(whole[part * size : (part + 1) * size])
            file.flush()
            running.quiet(ticks=0)
            assert "lung__growing" not in running.partitions()
            time.sleep(0.8)
        file.write(whole[8 * (len(whole) // 8) :])
    annotated(running, "lung__growing")


def test_what_cannot_be_used_is_rejected_with_its_reason_and_the_others_go_on(running):
    folder = running.project.root / "samples" / "lung"
    (folder / "broken.h5ad").write_text("no sample")
    (folder / "bad name.h5ad").write_text("no sample")
    running.put_sample("lung__S3", seed=4)
    annotated(running, "lung__S3")
    table = rejected.rejected_samples(running.project).set_index("file")["reason"]
    assert set(table.index) == {"lung/broken.h5ad", "lung/bad name.h5ad"}
    assert "is not an AnnData file" in table["lung/broken.h5ad"]
    assert "is no partition key" in table["lung/bad name.h5ad"]
    (folder / "bad name.h5ad").unlink()
    running.put_sample("lung__broken", seed=5)
    annotated(running, "lung__broken")
    assert len(rejected.rejected_samples(running.project)) == 0


def test_an_edit_of_a_map_moves_what_is_below_it_in_its_tissue_only(running):
    above, other = counts(running, "liver__S1", ABOVE), counts(running, "lung__S1", BELOW)
    before = running.basis("liver__S1")["marker_map"]
    running.edit_map("liver", EDITED)
    keys = ("liver__S1", "liver__S2")
    running.until(
        lambda: all(running.basis(key)["marker_map"] != before for key in keys),
        "all are relabelled",
    )
    running.quiet()
    assert counts(running, "liver__S1", ABOVE) == above
    assert counts(running, "lung__S1", BELOW) == other


def test_white_space_and_descriptions_run_nothing(running):
    runs = running.instance.get_runs_count()
    content = json.loads(EDITED)
    content["Epithelium"]["description"] = "Lines surfaces."
    running.edit_map("liver", json.dumps(content, indent=7))
    running.quiet(ticks=6)
    assert running.instance.get_runs_count() == runs


def test_an_invalid_map_runs_nothing_and_is_told(running):
    runs = running.instance.get_runs_count()
    running.edit_map("liver", '{"Epithelium": {"markers": ["Pan-CK"')
    running.quiet(ticks=6)
    assert running.instance.get_runs_count() == runs
    log = (running.project.root / "dagster.log").read_text(errors="replace")
    assert "The last good marker map of liver stays in force" in log


def test_a_revert_is_picked_up(running):
    edited = running.basis("liver__S1")["marker_map"]
    running.edit_map("liver", GOOD_MAP)
    running.until(
        lambda: running.basis("liver__S1")["marker_map"] != edited, "the old map is in force"
    )
    running.quiet()


def test_a_manual_plan_moves_the_refinement_of_its_partition_only(running):
    keys = ("liver__S1", "liver__S2")
    rest = {key: counts(running, key, (ABOVE | BELOW)) for key in keys}
    plan = running.project.root / "manual" / "liver__S1.yaml"
    plan.parent.mkdir(exist_ok=True)
    plan.write_text("overrides: [{cluster_id: '0', cell_type: Epithelium}]\n")
    running.until(
        lambda: running.basis("liver__S1")["manual_plan"] != "none", "the plan is carried out"
    )
    running.quiet()
    after = counts(running, "liver__S1", (ABOVE | BELOW))
    moved = {name for name, times in after.items() if times != rest["liver__S1"][name]}
    assert moved == {name for name in BELOW if "refine" in name or name == "final_annotations"}
    assert counts(running, "liver__S2", (ABOVE | BELOW)) == rest["liver__S2"]


def test_a_replaced_sample_moves_everything_of_it_and_nothing_else(running):
    before, other = running.basis("liver__S2"), counts(running, "liver__S1", ABOVE | BELOW)
    made = counts(running, "liver__S2", ABOVE)
    running.put_sample("liver__S2", seed=77)
    running.until(
        lambda: running.basis("liver__S2")["sample"] != before["sample"], "it is annotated anew"
    )
    running.quiet()
    assert all(running.times(name, "liver__S2") > made[name] for name in ABOVE)
    assert counts(running, "liver__S1", ABOVE | BELOW) == other


def test_a_tissue_without_automation_is_registered_and_waits(running):
    running.put_sample("kidney__S1", seed=6)
    running.until(lambda: "kidney__S1" in running.partitions(), "it is registered")
    running.quiet()
    assert running.newest("stage_h_input", "kidney__S1") is None
