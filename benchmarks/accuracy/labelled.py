"""A folder with a labelled sample: what is read from it, and how it is clustered."""

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.stage_h import layer_of
from ctr_engine.clustering.pipeline import ClusteringParams, cluster_cells
from ctr_engine.expression import ExpressionParams, ExpressionView, read_expression
from ctr_engine.io.samples import read_marker_map, read_sample
from ctr_engine.keys import PATH_SEPARATOR
from ctr_engine.markers.hierarchy import MarkerMap
from ctr_engine.profiles import AnalysisParams, ProfileName

LABELS = "cell_type"


@dataclass(frozen=True)
class Labelled:
    """One sample, taken as one partition; ``truth`` is empty where a cell is not scored."""

    folder: Path

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.name

    @cached_property
    def layer(self) -> str:
        """Layer that the folder's ``SOURCE.md`` names."""
        return layer_of(self.folder)

    @cached_property
    def _adata(self) -> Any:
        return read_sample(self.folder / "data.h5ad")

    @cached_property
    def view(self) -> ExpressionView:
        """Expression of all cells."""
        return read_expression(self._adata, ExpressionParams(layer=self.layer))

    @cached_property
    def marker_map(self) -> MarkerMap:
        """Cell types and their markers."""
        return read_marker_map(self.folder / "marker_map.json")

    @cached_property
    def truth(self) -> list[str]:
        """Path of the true label of each cell."""
        gold = json.loads((self.folder / "gold_to_path.json").read_text(encoding="utf-8"))
        return [
            PATH_SEPARATOR.join(gold[label] or ()) for label in self._adata.obs[LABELS].astype(str)
        ]

    def params(self, profile: ProfileName, seed: int, resolution: float) -> AnalysisParams:
        """Parameters of an annotation."""
        return AnalysisParams(
            profile=profile,
            expression=ExpressionParams(layer=self.layer),
            clustering=ClusteringParams(random_state=seed, resolution=resolution),
        )

    def clusters(self, seed: int, resolution: float) -> npt.NDArray[Any]:
        """Cluster of each cell."""
        params = ClusteringParams(random_state=seed, resolution=resolution)
        ids, _, _ = cluster_cells(self.view, params, n_jobs=2)
        return np.asarray(ids, dtype=object)


def labelled_folders(directory: Path, names: list[str] | None = None) -> list[Labelled]:
    """Find the labelled folders of a directory; some of them where ``names`` are given."""
    found = [Labelled(path.parent) for path in sorted(directory.glob("*/data.h5ad"))]
    if not found:
        sys.exit(f"no */data.h5ad in {directory}")
    if names is None:
        return found
    unknown = set(names) - {one.name for one in found}
    if unknown:
        sys.exit(f"{directory} has no {', '.join(sorted(unknown))}")
    return [one for one in found if one.name in names]
