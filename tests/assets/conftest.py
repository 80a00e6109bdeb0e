"""A laboratory: a project folder with three small samples, and its Dagster instance."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from ctr_assets.assets.cohort import COHORT_SUMMARY
from ctr_assets.assets.consensus import DESCRIPTIONS as CONSENSUS_ASSETS
from ctr_assets.assets.report import REPORT
from ctr_assets.barcode_sets import BARCODE_SETS
from ctr_assets.definitions import build_defs
from ctr_assets.jobs import ANNOTATE_PARTITION
from ctr_assets.partitions import parse_key
from ctr_assets.project import Project, load_project
from ctr_assets.runs import Outcome, register, run_job
from tests.bad_inputs import GOOD_MAP, good_sample

LIVER_1, LIVER_2, LUNG_1 = "liver__S1", "liver__S2", "lung__S1"


@dataclass
class Laboratory:
    """A project and its instance."""

    project: Project
    instance: dg.DagsterInstance

    def run(self, key: str, job: str = ANNOTATE_PARTITION) -> Outcome:
        """Run a job on a partition."""
        return run_job(self.instance, self.project, parse_key(key), job)

    def stored(self, asset: str, key: str) -> Path:
        """File of an asset."""
        (found,) = (self.project.storage / asset).glob(f"{key}.*")
        return found

    def event(self, asset: str, key: str) -> dg.AssetMaterialization:
        """Newest materialisation."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key])
        found = self.instance.fetch_materializations(wanted, limit=1).records
        assert found, f"{asset} of {key} was never materialised"
        event = found[0].asset_materialization
        assert event is not None
        return event

    def versions(self, key: str) -> dict[str, str]:
        """Data version of every asset that the job of a partition makes."""
        graph = build_defs(str(self.project.root)).resolve_asset_graph()
        names = [
            k.to_user_string()
            for k in graph.materializable_asset_keys
            if graph.get(k).partitions_def != BARCODE_SETS
        ]
        names.remove(REPORT)  # made on demand
        names.remove(COHORT_SUMMARY)  # has no partition
        names = [name for name in names if name not in CONSENSUS_ASSETS]  # made on demand
        return {n: self.event(n, key).tags["dagster/data_version"] for n in names}

    def failure_of(self, asset: str, key: str) -> str:
        """Run one asset, which must fail, and give the words of its failure."""
        job = build_defs(str(self.project.root)).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=key,
            asset_selection=[dg.AssetKey(asset)],
            raise_on_error=False,
        )
        (failure,) = [e.step_failure_data for e in result.all_events if e.is_step_failure]
        assert failure.user_failure_data is not None, failure.error
        return str(failure.user_failure_data.description)

    def map_file(self, tissue: str) -> Path:
        """Live marker map of a tissue."""
        return self.project.marker_map_path(tissue)


def make_laboratory(folder: Path, instance: dg.DagsterInstance) -> Laboratory:
    """Write the folder and register its partitions."""
    (folder / "ctr.yaml").write_text("tissues:\n  lung: {profile: adaptive}\n")
    (folder / "marker_maps").mkdir()
    for tissue in ("liver", "lung"):
        (folder / "marker_maps" / f"{tissue}.json").write_text(GOOD_MAP)
    for seed, key in enumerate((LIVER_1, LIVER_2, LUNG_1)):
        partition = parse_key(key)
        path = folder / "samples" / partition.tissue / f"{partition.sample}.h5ad"
        path.parent.mkdir(parents=True, exist_ok=True)
        good_sample(seed=seed).write_h5ad(path)
    project = load_project(folder)
    register(instance, project.partitions())
    return Laboratory(project, instance)


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """Give a laboratory in which nothing has run."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield make_laboratory(tmp_path, instance)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """Give a laboratory whose first liver sample has been annotated; only to be read."""
    with dg.DagsterInstance.ephemeral() as instance:
        laboratory = make_laboratory(tmp_path_factory.mktemp("laboratory"), instance)
        assert laboratory.run(LIVER_1).success
        yield laboratory
