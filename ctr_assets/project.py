"""The project folder of a laboratory and its ``ctr.yaml``. Knows no Dagster."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from upath import UPath

from ctr_assets.partitions import Partition, parse_key
from ctr_assets.storage import Storage, checked_place, storage_at
from ctr_engine.cli.options import read_document, validated
from ctr_engine.devices import DeviceName
from ctr_engine.errors import ConfigError, Fault, InputError, MarkerMapError
from ctr_engine.io.samples import SUFFIXES
from ctr_engine.params import Count, Params, Switch, layered
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.params import PipelineParams, RefinementParams
from ctr_engine.splitmerge.barcodes.params import BarcodeParams

CONFIG_FILE = "ctr.yaml"
PROJECT_VARIABLE = "CTR_PROJECT"

_CRON = r"^\S+( \S+){4}$"
TissueName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class TissueParams(PipelineParams):
    """What a tissue can set: parameters, and whether anything happens by itself."""

    automation: Switch = Field(
        True, description="Make by itself what an arrival or an edit touches."
    )
    device: DeviceName = Field(
        "auto", description="Where steps compute: gpu, cpu, or auto for a GPU where there is one."
    )


class Nightly(Params):
    """What the schedule does at night; it runs where this section is given."""

    cron: Annotated[str, Field(pattern=_CRON)] = Field(
        "0 2 * * *", description="When: minute, hour, day, month, day of the week; UTC."
    )
    keep_days: Annotated[Count, Field(ge=1)] = Field(
        90, description="Runs that are older are deleted, unless they made what is in force."
    )


class Retries(Params):
    """How often what is behind is requested again after a failure."""

    most: Annotated[Count, Field(ge=0)] = Field(3, description="Attempts after the first.")
    wait_seconds: Annotated[Count, Field(ge=0)] = Field(
        300, description="Wait after the first failure; doubled after each further one."
    )


class ProjectConfig(Params):
    """Content of ``ctr.yaml``; folders are relative to the file."""

    samples_dir: Path = Field(Path("samples"), description="Samples, <tissue>/<sample>.h5ad.")
    marker_maps_dir: Path = Field(Path("marker_maps"), description="Maps, <tissue>.json or .yaml.")
    manual_dir: Path = Field(
        Path("manual"), description="Manual plans of refinement, <tissue>__<sample>.yaml."
    )
    barcodes_dir: Path = Field(
        Path("barcodes"), description="DNA barcodes, <set>.fasta, with <set>.clusters.tsv or not."
    )
    barcodes: BarcodeParams = Field(
        BarcodeParams(), description="Parameters of the refinement of barcodes."
    )
    storage: Annotated[str, AfterValidator(checked_place)] = Field(
        "storage",
        description="Where the assets are stored: a folder, or a URL such as s3://bucket/place.",
    )
    refinement_iterations: Annotated[Count, Field(ge=1, le=9)] = Field(
        3, description="Assets refinement_iteration_1 to _N; one that has converged costs nothing."
    )
    defaults: TissueParams = Field(TissueParams(), description="Parameters of every tissue.")
    tissues: Mapping[TissueName, TissueParams] = Field(
        {}, description="Parameters of single tissues, over the defaults."
    )
    retries: Retries = Field(Retries(), description="What happens after failures.")
    nightly: Nightly | None = Field(None, description="What is done at night; nothing by default.")
    webhook: Annotated[str, Field(pattern=r"^https?://")] | None = Field(
        None, description="Address to which failures are posted as JSON; none by default."
    )


@dataclass(frozen=True)
class Project:
    """A project folder."""

    root: Path
    config: ProjectConfig

    @cached_property
    def files(self) -> Storage:
        """The stored assets, to be read and written.

        Raises
        ------
        ParameterError
            If the driver of a store is not installed.
        """
        return storage_at(self.root, self.config.storage)

    @property
    def storage(self) -> UPath:
        """Root of the stored assets."""
        return self.files.root

    def stored(self, asset: str, partition: Partition, suffix: str = ".parquet") -> Path:
        """Local path of what an asset stored; it leads nowhere when that was not made."""
        return self.files.local(self.storage / asset / f"{partition.key}{suffix}")

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's records."""
        return self.root / ".dagster"

    def params_for(self, partition: Partition) -> AnalysisParams:
        """Parameters with which a partition is annotated."""
        return self.pipeline_for(partition).analysis

    def refinement_for(self, partition: Partition) -> RefinementParams:
        """Parameters with which a partition is refined, in as many iterations as there are assets.

        One more would be made by the command line alone.
        """
        wanted = self.pipeline_for(partition).effective_refinement
        most = min(wanted.max_iterations, self.config.refinement_iterations)
        return wanted.model_copy(update={"max_iterations": most})

    def pipeline_for(self, partition: Partition) -> TissueParams:
        """All parameters of a partition's tissue."""
        defaults, tissues = self.config.defaults, self.config.tissues
        if partition.tissue not in tissues:
            return defaults
        return layered(defaults, tissues[partition.tissue])

    def sample_path(self, partition: Partition) -> Path:
        """File of a sample.

        Raises
        ------
        InputError
            If there is none, or more than one.
        """
        folder = self.root / self.config.samples_dir / partition.tissue
        candidates = [folder / f"{partition.sample}{suffix}" for suffix in SUFFIXES]
        found = [path for path in candidates if path.exists()]
        if len(found) != 1:
            names = " or ".join(str(path) for path in candidates)
            state = "does not exist" if not found else "both exist; keep one"
            raise InputError(partition.key, [Fault(f"{names}: {state}")])
        return found[0]

    def marker_map_path(self, tissue: str) -> Path:
        """File of a tissue's marker map; the JSON name when there is none yet.

        Raises
        ------
        MarkerMapError
            If there is more than one.
        """
        folder = self.root / self.config.marker_maps_dir
        candidates = [folder / f"{tissue}{suffix}" for suffix in (".json", ".yaml", ".yml")]
        found = [path for path in candidates if path.exists()]
        if len(found) > 1:
            both = " and ".join(str(path) for path in found)
            raise MarkerMapError(tissue, [Fault(f"{both}: more than one map; keep one")])
        return found[0] if found else candidates[0]

    def manual_plan_path(self, partition: Partition) -> Path:
        """File of a partition's manual plan; the YAML name when there is none.

        Raises
        ------
        ConfigError
            If there is more than one.
        """
        folder = self.root / self.config.manual_dir
        candidates = [folder / f"{partition.key}{suffix}" for suffix in (".yaml", ".yml", ".json")]
        found = [path for path in candidates if path.exists()]
        if len(found) > 1:
            both = " and ".join(str(path) for path in found)
            raise ConfigError(partition.key, [Fault(f"{both}: more than one plan; keep one")])
        return found[0] if found else candidates[0]

    def sample_keys(self) -> list[str]:
        """Keys of the samples that lie in the folder, proper or not, in order."""
        folder = self.root / self.config.samples_dir
        files = (path for suffix in SUFFIXES for path in folder.glob(f"*/*{suffix}"))
        return sorted({f"{path.parent.name}__{path.stem}" for path in files})

    def partitions(self) -> list[Partition]:
        """Samples that lie in the folder, in order of their key.

        Raises
        ------
        ParameterError
            If one has no proper name.
        """
        return [parse_key(key) for key in self.sample_keys()]


def load_project(folder: Path) -> Project:
    """Read the ``ctr.yaml`` of a project folder.

    Raises
    ------
    ConfigError
        If there is none, or something in it is unknown or out of range; with the line.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        message = f"there is no {CONFIG_FILE} in {folder}; make a project with: ctr demo"
        raise ConfigError(str(path), [Fault(message)])
    document = read_document(path)
    return Project(folder.resolve(), validated(ProjectConfig, document, document.value or {}))


def config_at(folder: str | None) -> ProjectConfig:
    """Content of a project's ``ctr.yaml``; the defaults where there is no project.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    place = _folder(folder)
    return load_project(place).config if (place / CONFIG_FILE).is_file() else ProjectConfig()


def project_at(folder: str | None) -> Project:
    """Open a project: the folder given, else what ``CTR_PROJECT`` names, else the current folder.

    Raises
    ------
    ConfigError
        If there is none.
    """
    return load_project(_folder(folder))


def _folder(folder: str | None) -> Path:
    return Path(folder or os.environ.get(PROJECT_VARIABLE) or Path.cwd())
