"""``device`` of ``ctr.yaml``: told once in a run, recorded on every step."""

import logging

import pytest

from ctr_assets.freshness import parameters_version
from ctr_assets.partitions import parse_key
from ctr_assets.project import load_project
from ctr_engine.errors import ConfigError
from tests.assets.conftest import LIVER_1, Laboratory
from tests.distributed.test_celery import GPU_STEPS

GPU_ASSETS = (GPU_STEPS - {"statistics"}) | {"reference_values", "cluster_statistics"}


def with_device(laboratory: Laboratory, device: str) -> Laboratory:
    root = laboratory.project.root
    (root / "ctr.yaml").write_text(f"tissues:\n  liver: {{device: {device}}}\n")
    return Laboratory(load_project(root), laboratory.instance)


def warnings_of(laboratory: Laboratory, run_id: str) -> list[str]:
    """What a run warned of the device."""
    entries = laboratory.instance.all_logs(run_id)
    texts = [e.user_message for e in entries if e.level == logging.WARNING]
    return [text for text in texts if "computed on the CPU" in text]


def test_auto_is_told_once_and_recorded_on_every_step(laboratory):
    run = laboratory.run(LIVER_1)
    assert run.success
    assert len(warnings_of(laboratory, run.run_id)) == 1
    for asset in GPU_ASSETS:
        metadata = laboratory.event(asset, LIVER_1).metadata
        assert metadata["device"].value == "cpu"
    first = laboratory.event("pca", LIVER_1).metadata
    assert first["device_warning"].value == warnings_of(laboratory, run.run_id)[0]
    stored = laboratory.instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert stored.tags["ctr/used-device"] == "cpu"


def test_cpu_is_not_told_and_makes_the_same(laboratory):
    assert laboratory.run(LIVER_1).success
    before = laboratory.versions(LIVER_1)
    again = with_device(laboratory, "cpu")
    run = again.run(LIVER_1)
    assert not warnings_of(again, run.run_id)
    assert "device_warning" not in again.event("pca", LIVER_1).metadata
    assert again.versions(LIVER_1) == before
    partition = parse_key(LIVER_1)
    here, there = (parameters_version(one.project, partition) for one in (laboratory, again))
    assert here == there, "another device is no reason to make labels again"


def test_gpu_is_an_error_that_says_what_to_do(laboratory):
    run = with_device(laboratory, "gpu").run(LIVER_1)
    assert not run.success
    assert len(run.faults) == 1
    assert run.faults[0].startswith("pca: device: gpu cannot be had: ")
    assert run.faults[0].endswith("Use auto, or cpu")


@pytest.mark.parametrize("device", ["cuda", "GPU"])
def test_another_device_is_refused_with_the_line(laboratory, device):
    text = r"line 2, tissues\.liver\.device: input should be 'auto', 'cpu' or 'gpu'"
    with pytest.raises(ConfigError, match=text):
        with_device(laboratory, device)
