"""Celery on real servers: who did which step, how many at a time, and the same results."""

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository

from ctr_assets.jobs import ANNOTATE_PARTITION
from ctr_assets.partitions import parse_key
from ctr_assets.runs import observe_all, project_instance, register
from tests.daemon.conftest import Running, make_folder

pytestmark = pytest.mark.slow

KEYS = ("liver__C1", "liver__C2", "lung__C3")
GPU_STEPS = {
    "pca",
    "knn_graph",
    "leiden_clusters",
    "statistics",
    "refinement_iteration_1",
    "refinement_iteration_2",
    "refinement_iteration_3",
}


@dataclass(frozen=True)
class Step:
    """A step as the records tell it."""

    name: str
    queue: str
    worker: str
    began: float
    ended: float


def put_samples(running: Running) -> None:
    for seed, key in enumerate(KEYS):
        running.put_sample(key, seed, n_cells=300)


@pytest.fixture(scope="module")
def annotated(laboratory: Running) -> Running:
    """Give the laboratory with three samples, which it annotated by itself."""
    put_samples(laboratory)
    laboratory.until(lambda: all(map(laboratory.basis, KEYS)), "all samples are annotated")
    laboratory.quiet()
    return laboratory


def steps(running: Running) -> Iterator[Step]:
    """Every step of every run."""
    for run in running.instance.get_runs():
        assert run.status is dg.DagsterRunStatus.SUCCESS, run.run_id
        queues, workers, began, ended = {}, {}, {}, {}
        for entry in running.instance.all_logs(run.run_id):
            event, name = entry.dagster_event, entry.step_key
            if event is None or name is None:
                continue
            sent = re.search(r'to queue "(\w+)"', event.message or "")
            if sent is not None:
                queues[name] = sent[1]
            if event.event_type is dg.DagsterEventType.ENGINE_EVENT:
                found = event.engine_event_data.metadata
                if "Celery worker" in found:
                    workers[name] = str(found["Celery worker"].value)
            if event.event_type is dg.DagsterEventType.STEP_START:
                began[name] = entry.timestamp
            if event.event_type is dg.DagsterEventType.STEP_SUCCESS:
                ended[name] = entry.timestamp
        for name, end in ended.items():
            yield Step(name, queues[name], workers[name], began[name], end)


def test_every_gpu_step_is_done_by_the_gpu_worker_and_nothing_else_is(annotated):
    found = list(steps(annotated))
    assert {one.name for one in found if one.queue == "gpu"} == GPU_STEPS
    assert {one.queue for one in found} == {"cpu", "gpu"}
    for one in found:
        assert one.worker.startswith(f"{one.queue}-"), one


def test_gpu_steps_never_run_two_at_a_time(annotated):
    found = sorted((s for s in steps(annotated) if s.queue == "gpu"), key=lambda s: s.began)
    assert len(found) >= len(GPU_STEPS) * len(KEYS)
    for one, following in pairwise(found):
        assert one.ended <= following.began, (one, following)


def versions(instance: dg.DagsterInstance, key: str) -> dict[str, str]:
    """Newest data version of each asset of a partition."""
    found = {}
    for asset in instance.all_asset_keys():
        wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[key])
        records = instance.fetch_materializations(wanted, limit=1).records
        if records:
            tags = records[0].asset_materialization.tags
            found[asset.to_user_string()] = tags["dagster/data_version"]
    return found


def test_in_process_multiprocess_and_celery_give_the_same_versions(
    annotated, tmp_path, monkeypatch
):
    key = KEYS[0]
    celery = versions(annotated.instance, key)
    assert len(celery) > 15
    annotated.stop(signal.SIGKILL)  # the last test: nothing else needs the machine
    for name in ("in_process", "multiprocess"):
        folder = tmp_path / name
        folder.mkdir()
        project = make_folder(folder)
        Running(project, annotated.instance, 0).put_sample(key, 0, n_cells=300)
        monkeypatch.setenv("CTR_EXECUTOR", name)
        monkeypatch.setenv("CTR_PROJECT", str(project.root))
        with project_instance(project) as instance:
            register(instance, [parse_key(key)])
            run_with_the_executor_of_the_environment(instance, project, key)
            assert versions(instance, key) == celery, name


def run_with_the_executor_of_the_environment(instance, project, key):
    """Run the job as a run worker does."""
    observe_all(instance, project, parse_key(key))
    repository = ReconstructableRepository.for_module("ctr_assets.definitions", "defs")
    job = repository.get_reconstructable_job(ANNOTATE_PARTITION)
    with dg.execute_job(job, instance, tags={"dagster/partition": key}) as result:
        faults = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        assert result.success, faults
