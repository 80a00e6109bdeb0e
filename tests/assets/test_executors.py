"""Executors, and the machines that steps ask for, as the environment says."""

import json
import os
import sys

import pytest
from dagster._config import validate_config
from dagster_k8s import k8s_job_executor
from dagster_k8s.job import get_user_defined_k8s_config

from ctr_assets.definitions import build_defs
from ctr_assets.executors import celery_settings, chosen_executor, k8s_settings
from ctr_assets.jobs import ANNOTATE_PARTITION
from ctr_assets.machines import gpu_tags
from ctr_assets.worker import run_worker, worker_command
from ctr_engine.errors import ParameterError
from tests.distributed.test_celery import GPU_STEPS


def pod() -> dict:
    """Pod of a GPU step, as the environment has it now."""
    return gpu_tags()["dagster-k8s/config"]


@pytest.mark.parametrize("name", ["in_process", "multiprocess", "celery", "k8s"])
def test_the_executor_is_chosen_by_the_environment(monkeypatch, name):
    monkeypatch.setenv("CTR_EXECUTOR", name)
    assert build_defs().executor.name == name


def test_without_a_word_it_is_multiprocess(monkeypatch):
    monkeypatch.setenv("CTR_EXECUTOR", "")
    assert chosen_executor().name == "multiprocess"


def test_an_unknown_executor_is_refused(monkeypatch):
    monkeypatch.setenv("CTR_EXECUTOR", "cloud")
    with pytest.raises(ParameterError, match=r"'cloud' is unknown; use in_process, multiprocess"):
        build_defs()


@pytest.mark.parametrize(("name", "module"), [("celery", "dagster_celery"), ("k8s", "dagster_k8s")])
def test_an_executor_that_is_not_installed_says_how_to_get_it(monkeypatch, name, module):
    monkeypatch.setenv("CTR_EXECUTOR", name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ParameterError, match=rf"needs {module}.*pip install 'ctr\[{name}\]'"):
        chosen_executor()


def test_nothing_of_celery_or_kubernetes_is_imported_by_default(monkeypatch):
    monkeypatch.setenv("CTR_EXECUTOR", "multiprocess")
    for module in ("dagster_celery", "dagster_k8s", "cupy"):
        monkeypatch.setitem(sys.modules, module, None)
    build_defs()


def test_gpu_steps_ask_for_the_pool_the_queue_and_a_gpu():
    job = build_defs().resolve_job_def(ANNOTATE_PARTITION)
    asking = {node.name for node in job.nodes if node.tags["ctr/device"] == "gpu"}
    assert asking == GPU_STEPS
    for node in job.nodes:
        device = "gpu" if node.name in GPU_STEPS else "cpu"
        assert node.tags["dagster-celery/queue"] == device
        assert node.definition.pool == ("gpu" if device == "gpu" else None)
        assert ("dagster-k8s/config" in node.tags) == (device == "gpu")


def test_the_pod_of_a_gpu_step_is_one_that_dagster_k8s_takes(monkeypatch):
    monkeypatch.setenv("CTR_GPU_IMAGE", "registry.example/ctr-gpu:1")
    monkeypatch.setenv("CTR_GPU_NODES", "pool=a100")
    found = get_user_defined_k8s_config({"dagster-k8s/config": json.dumps(pod())})
    assert found.container_config == {
        "image": "registry.example/ctr-gpu:1",
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    assert found.pod_spec_config == {"node_selector": {"pool": "a100"}}


def test_the_nodes_are_those_of_the_feature_discovery_by_default():
    job = build_defs().resolve_job_def(ANNOTATE_PARTITION)
    found = json.loads(job.get_node_named("leiden_clusters").tags["dagster-k8s/config"])
    assert found["pod_spec_config"] == {"node_selector": {"nvidia.com/gpu.present": "true"}}
    assert "image" not in found["container_config"]


def test_a_cluster_without_gpus_can_say_so(monkeypatch):
    monkeypatch.setenv("CTR_GPUS", "0")
    assert pod() == {}


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("CTR_GPUS", "2", "CTR_GPUS='2' must be 1, or 0"),
        ("CTR_GPU_NODES", "a100", "CTR_GPU_NODES='a100' must be a label"),
    ],
)
def test_a_variable_that_is_wrong_is_named(monkeypatch, variable, value, text):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ParameterError, match=text):
        gpu_tags()


@pytest.mark.parametrize("image", [None, "registry.example/ctr:1"])
def test_the_configuration_of_kubernetes_is_one_that_its_executor_takes(monkeypatch, image):
    if image is not None:
        monkeypatch.setenv("CTR_IMAGE", image)
    monkeypatch.setenv("CTR_K8S_NAMESPACE", "laboratory")
    found = validate_config(k8s_job_executor.config_schema.config_type, k8s_settings())
    assert found.success, found.errors
    assert found.value["job_namespace"] == "laboratory"
    assert found.value.get("job_image") == image


def test_a_step_that_waits_for_a_day_is_not_handed_out_twice():
    settings = celery_settings()["config_source"]
    assert settings["broker_transport_options"]["visibility_timeout"] == 86_400


def test_results_come_back_through_the_broker_unless_another_place_is_named(monkeypatch):
    monkeypatch.setenv("CTR_CELERY_BROKER", "redis://10.0.0.7:6379/3")
    assert celery_settings()["backend"] == "redis://10.0.0.7:6379/3"
    monkeypatch.setenv("CTR_CELERY_BACKEND", "redis://10.0.0.8:6379/4")
    assert celery_settings()["backend"] == "redis://10.0.0.8:6379/4"


def test_a_worker_listens_to_its_queue_alone():
    command = worker_command("gpu", 1)
    assert command[command.index("--queues") + 1] == "gpu"
    assert command[command.index("--hostname") + 1] == f"gpu-{os.getpid()}@%h"
    assert command[command.index("--concurrency") + 1] == "1"


@pytest.mark.parametrize(
    ("queue", "concurrency", "text"),
    [
        ("gpus", 1, "there is no queue 'gpus'; there are: cpu, gpu"),
        ("gpu", 2, "steps on the gpu queue run one at a time; use 1"),
    ],
)
def test_a_worker_that_cannot_be_is_refused(tmp_path, queue, concurrency, text):
    with pytest.raises(ParameterError, match=text):
        run_worker(tmp_path, queue, concurrency)


def test_a_worker_without_celery_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("ctr_assets.worker.find_spec", lambda _: None)
    with pytest.raises(ParameterError, match=r"run: pip install 'ctr\[celery\]'"):
        worker_command("cpu", 1)
