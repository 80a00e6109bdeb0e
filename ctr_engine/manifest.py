"""What a folder of results says about itself: `run.json`, written last, so that it means whole."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ctr_engine.params import Params

MANIFEST = "run.json"


class SampleRecord(Params):
    """The sample that a run read."""

    path: str = Field(description="Where it lay.")
    sha256: str = Field(description="SHA-256 of its content.")


class MapRecord(Params):
    """The marker map that a run read."""

    path: str = Field(description="Where it lay; the sample when it was stored there.")
    content_hash: str = Field(description="SHA-256 of what it means.")


class Manifest(Params):
    """Everything that a folder of results says about how it was made."""

    algorithm_version: str = Field(description="Version of the algorithm.")
    parameters: Mapping[str, Any] = Field(description="Parameters that were used.")
    given: Mapping[str, Any] = Field(description="Parameters that somebody set.")
    layer: str = Field(description="Layer that the values came from.")
    n_cells: int = Field(description="Cells.")
    n_markers: int = Field(description="Usable markers.")
    technical_markers: tuple[str, ...] = Field(description="Columns set aside as technical.")
    dropped_markers: tuple[str, ...] = Field(description="Columns without variation.")
    device: str = Field(description="Where it was computed.")
    versions: Mapping[str, str] = Field(description="Packages whose release can move a result.")
    sample: SampleRecord = Field(description="The sample.")
    marker_map: MapRecord | None = Field(description="The marker map; null for clusters only.")
    cluster_key: str | None = Field(description="obs column of existing clusters.")
    reused: tuple[str, ...] = Field((), description="Steps that an earlier run had done.")
    warnings: tuple[str, ...] = Field(description="What to look at.")
    seconds: float = Field(description="Time that the run took.")
    finished_at: str = Field(description="When it ended, UTC.")
    files: Mapping[str, str] = Field(description="SHA-256 of each file of the folder.")
