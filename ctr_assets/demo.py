"""The demo: real blood cells that ship with scanpy, and a simulated cohort of two tissues.

Makes a project folder as a laboratory would have it; the labels can be compared with known ones.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctr_assets.partitions import Partition
from ctr_assets.project import CONFIG_FILE, Project, load_project
from ctr_engine import keys
from ctr_engine.errors import Fault, InputError, OutputError
from ctr_engine.evaluation import TruthComparison, compare_with_truth
from ctr_engine.io.atomic import write_text
from ctr_engine.io.samples import read_sample, write_h5ad
from ctr_engine.io.tables import read_parquet
from ctr_engine.simulate import TRUTH, CellProfile, SimulationParams, simulate_sample
from ctr_engine.tables import Annotations, FinalAnnotations

if TYPE_CHECKING:
    from anndata import AnnData

MAPS = files("ctr_assets") / "demo_maps"
BLOOD = Partition("blood", "pbmc68k-reduced")
SAMPLES_PER_TISSUE = 3
CELLS_PER_SAMPLE = 2_000
KNOWN_LABELS = "bulk_labels"

CONFIG = """\
# The demo project of ctr. Folders are relative to this file.
samples_dir: samples
marker_maps_dir: marker_maps
storage: storage
defaults:
  profile: adaptive   # names more cells than `reference`; see docs/methods.md
"""


@dataclass(frozen=True)
class DemoSample:
    """One sample of the demo and how to make it."""

    partition: Partition
    make: Callable[[], "AnnData"]


def demo_samples() -> list[DemoSample]:
    """List the real sample and the simulated cohort."""
    cohort = json.loads((MAPS / "codex_profiles.json").read_text(encoding="utf-8"))
    return [DemoSample(BLOOD, blood_sample), *_cohort(cohort)]


def _cohort(cohort: Mapping[str, Any]) -> Iterator[DemoSample]:
    panel = tuple(cohort["panel"])
    for t, (tissue, types) in enumerate(sorted(cohort["tissues"].items())):
        profiles = {path: CellProfile.model_validate(types[path]) for path in types}
        for s in range(SAMPLES_PER_TISSUE):
            params = SimulationParams(n_cells=CELLS_PER_SAMPLE, random_state=100 * t + s)
            yield DemoSample(
                Partition(tissue, f"sim-{s + 1}"),
                lambda profiles=profiles, params=params: simulate_sample(panel, profiles, params),
            )


def blood_sample() -> "AnnData":
    """Give the 700 blood cells of scanpy's wheel, log-normalised, with their known labels.

    Raises
    ------
    InputError
        If scanpy's wheel has the file no longer, or it has changed.
    """
    import anndata

    path = Path(str(files("scanpy") / "datasets" / "10x_pbmc68k_reduced.h5ad"))
    if not path.exists():
        raise InputError(str(path), [Fault("this release of scanpy does not ship the sample")])
    with warnings.catch_warnings():
        # the file is of an older release of anndata, and is all the same whole
        warnings.simplefilter("ignore", anndata.OldFormatWarning)
        warnings.filterwarnings("ignore", "Moving element from", FutureWarning)
        stored = anndata.read_h5ad(path)
    adata = stored.raw.to_adata()
    for name in (*adata.obsm.keys(),):
        del adata.obsm[name]
    adata.uns.clear()
    known = json.loads((MAPS / "blood_known_labels.json").read_text(encoding="utf-8"))
    adata.obs = stored.obs[[KNOWN_LABELS]].copy()
    adata.obs[TRUTH] = [known[label] for label in adata.obs[KNOWN_LABELS]]
    return adata


def make_project(folder: Path) -> Project:
    """Make the project folder of the demo; samples that are there already are kept.

    Raises
    ------
    OutputError
        If the folder holds something else.
    """
    marker = folder / CONFIG_FILE
    if folder.exists() and any(folder.iterdir()):
        if not marker.exists():
            msg = f"{folder} is not empty and has no {CONFIG_FILE}; name another folder"
            raise OutputError(msg)
        if marker.read_text(encoding="utf-8") != CONFIG:
            msg = f"{marker} is not that of the demo; name another folder"
            raise OutputError(msg)
    else:
        write_text(marker, CONFIG)
    for tissue in ("blood", "fallopian-tube", "uterus"):
        target = folder / "marker_maps" / f"{tissue}.json"
        if not target.exists():
            write_text(target, (MAPS / f"{tissue}.json").read_text(encoding="utf-8"))
    project = load_project(folder)
    for sample in demo_samples():
        path = folder / "samples" / sample.partition.tissue / f"{sample.partition.sample}.h5ad"
        if not path.exists():
            write_h5ad(sample.make(), path)
    return project


def compare(project: Project, partition: Partition) -> tuple[TruthComparison, TruthComparison]:
    """Compare the labels of a sample with its known ones, before and after refinement."""
    path = project.stored("refined", partition, ".h5ad")
    known = read_sample(path, values=False).obs[TRUTH].tolist()
    before, after = (
        read_parquet(model, project.stored(name, partition))[column].tolist()
        for name, model, column in (
            ("annotations", Annotations, keys.CELL_TYPE_PATH),
            ("final_annotations", FinalAnnotations, "cell_type_path"),
        )
    )
    return compare_with_truth(before, known), compare_with_truth(after, known)
