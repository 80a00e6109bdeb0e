"""A project with many annotated partitions: one is annotated, the others are copies of it."""

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.orchestration.copies import copy_records
from ctr_assets.demo import MAPS
from ctr_assets.jobs import ANNOTATE_PARTITION
from ctr_assets.partitions import Partition
from ctr_assets.project import Project, load_project
from ctr_assets.resources import keep_marker_map
from ctr_assets.runs import project_instance, register, run_job, write_instance
from ctr_engine.io.atomic import write_text
from ctr_engine.io.samples import write_h5ad
from ctr_engine.simulate import CellProfile, SimulationParams, simulate_sample

TISSUE = "uterus"
"""Tissue of the demo whose cells are simulated and whose map is used."""
FIRST = Partition("tissue-000", "sample-00000")
STORAGE = "storage"
CONFIG = f"storage: {STORAGE}\ndefaults: {{profile: adaptive}}\n"
RUNS = "max_concurrent_runs: 2"


@dataclass(frozen=True)
class Size:
    """How much there is: partitions, partitions of one tissue, cells of one sample."""

    partitions: int
    per_tissue: int = 200
    cells: int = 2_000

    def all(self) -> list[Partition]:
        """List the partitions; the first is the one that is annotated."""
        return [
            Partition(f"tissue-{number // self.per_tissue:03d}", f"sample-{number:05d}")
            for number in range(self.partitions)
        ]

    @property
    def tissues(self) -> list[str]:
        """Names of the tissues."""
        number = math.ceil(self.partitions / self.per_tissue)
        return [f"tissue-{tissue:03d}" for tissue in range(number)]


def make_project(folder: Path, size: Size, max_runs: int = 2) -> Project:
    """Make a folder with the samples and the maps, of which Dagster knows nothing yet.

    ``max_runs`` is ``max_concurrent_runs`` of the instance, which is the product's in all else;
    with 0 every run waits in the queue.
    """
    folder.mkdir(parents=True)
    write_text(folder / "ctr.yaml", CONFIG)
    project = load_project(folder)
    marker_map = (MAPS / f"{TISSUE}.json").read_text(encoding="utf-8")
    for tissue in size.tissues:
        write_text(project.marker_map_path(tissue), marker_map)
        (folder / "samples" / tissue).mkdir(parents=True)
        keep_marker_map(project, tissue)
    first, *others = (_sample_file(project, one) for one in size.all())
    _write_sample(first, size.cells)
    for path in others:
        os.link(first, path)
    write_instance(project)
    settings = project.dagster_home / "dagster.yaml"
    text = settings.read_text(encoding="utf-8")
    if RUNS not in text:
        msg = f"{settings} has no {RUNS!r}; say here how the number of runs is set now"
        raise ValueError(msg)
    write_text(settings, text.replace(RUNS, f"max_concurrent_runs: {max_runs}"))
    return project


def annotated_project(
    folder: Path, size: Size, max_runs: int = 2, *, files: bool = False, pictures: bool = False
) -> Project:
    """Make a folder in which every partition is annotated, as Dagster sees it.

    Parameters
    ----------
    files
        Whether the stored tables of the copies are there as well, so that runs can go on from them.
    pictures
        Whether the records of the copies keep their pictures, 0.6 MB a partition.
    """
    project = make_project(folder, size, max_runs)
    partitions = size.all()
    with project_instance(project) as instance:
        register(instance, partitions[:1])
        outcome = run_job(instance, project, FIRST, ANNOTATE_PARTITION)
        if not outcome.success:
            raise RuntimeError("\n".join(outcome.faults))
        register(instance, partitions)
    copy_records(project.dagster_home / "history", FIRST, partitions[1:], pictures=pictures)
    if files:
        for path in sorted((project.root / STORAGE).glob(f"*/{FIRST.key}.*")):
            for one in partitions[1:]:
                os.link(path, path.with_name(f"{one.key}{path.suffix}"))
    return project


def edited_map(project: Project, tissue: str) -> str:
    """Edit the map of a tissue, so that it means something else; gives its new version.

    The last marker of the first cell type that has two is dropped.
    """
    path = project.marker_map_path(tissue)
    content = json.loads(path.read_text(encoding="utf-8"))
    before = keep_marker_map(project, tissue).content_hash
    nodes = [node for name, node in content.items() if not name.startswith("_")]
    longest = max(nodes, key=lambda node: len(node["markers"]))
    longest["markers"] = longest["markers"][:-1]
    write_text(path, json.dumps(content))
    after = keep_marker_map(project, tissue).content_hash
    if after == before:
        msg = f"the edit of {path} changed nothing"
        raise ValueError(msg)
    return after


def dispose(project: Project) -> None:
    """Delete a project folder."""
    shutil.rmtree(project.root)


def _sample_file(project: Project, one: Partition) -> Path:
    return project.root / project.config.samples_dir / one.tissue / f"{one.sample}.h5ad"


def _write_sample(path: Path, n_cells: int) -> None:
    cohort = json.loads((MAPS / "codex_profiles.json").read_text(encoding="utf-8"))
    types = cohort["tissues"][TISSUE]
    profiles = {name: CellProfile.model_validate(types[name]) for name in types}
    write_h5ad(
        simulate_sample(tuple(cohort["panel"]), profiles, SimulationParams(n_cells=n_cells)), path
    )
