"""Clusters that a run left in its output folder, for ``--resume``.

Clusters are what takes long. A run keeps them beside its results from the moment they are known
until its results are whole, with a key of all that they depend on.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ctr_engine import ALGORITHM_VERSION, keys
from ctr_engine.analysis import KnownClusters, clusters_table, existing_clusters
from ctr_engine.io.atomic import whole_file, write_text
from ctr_engine.io.runs import COARSE_CLUSTERS, is_whole
from ctr_engine.io.samples import read_sample, sha256_of
from ctr_engine.io.tables import read_parquet, write_parquet
from ctr_engine.manifest import Manifest
from ctr_engine.profiles import AnalysisParams
from ctr_engine.tables import Clusters

FOLDER = ".ctr-checkpoint"
_KEY, _CLUSTERS, _PCA = "key.json", "clusters.parquet", "pca.npy"
_SLICES = ("expression", "clustering")


def clusters_key(sample_sha256: str, params: AnalysisParams, versions: dict[str, str]) -> str:
    """Hash of everything that the clusters of a sample depend on."""
    used = params.model_dump(mode="json")
    return _digest(
        sample_sha256, {name: used[name] for name in _SLICES}, versions, ALGORITHM_VERSION
    )


def key_of_run(manifest: Manifest) -> str | None:
    """Key of the clusters of a finished run; None where they came from its sample."""
    if manifest.cluster_key is not None:
        return None
    used = {name: manifest.parameters[name] for name in _SLICES}
    return _digest(
        manifest.sample.sha256, used, dict(manifest.versions), manifest.algorithm_version
    )


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def save(folder: Path, key: str, known: KnownClusters, cell_ids: list[str]) -> None:
    """Keep clusters; the key is written last, so that a folder with it is whole."""
    if known.coordinates is None:
        return
    discard(folder)
    place = folder / FOLDER
    write_parquet(Clusters, clusters_table(cell_ids, known.ids), place / _CLUSTERS)
    with whole_file(place / _PCA) as temporary, temporary.open("wb") as file:
        np.save(file, known.coordinates, allow_pickle=False)
    write_text(place / _KEY, json.dumps(_record(place, key)))


def discard(folder: Path) -> None:
    """Forget the clusters that were kept; files of somebody else stay."""
    place = folder / FOLDER
    for name in (_KEY, _CLUSTERS, _PCA):
        (place / name).unlink(missing_ok=True)
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def of_finished(
    folder: Path, key: str, manifest: Manifest, cell_ids: list[str]
) -> KnownClusters | None:
    """Clusters of a finished run of this very input and these parameters."""
    if key_of_run(manifest) != key or not is_whole(folder, manifest):
        return None
    adata = read_sample(folder / COARSE_CLUSTERS)
    if list(adata.obs_names) != cell_ids or keys.PCA not in adata.obsm:
        return None
    return KnownClusters(existing_clusters(adata, keys.CLUSTER), adata.obsm[keys.PCA])


def of_interrupted(folder: Path, key: str, cell_ids: list[str]) -> KnownClusters | None:
    """Clusters that an interrupted run kept; None when they are others, or were damaged."""
    place = folder / FOLDER
    try:
        record = json.loads((place / _KEY).read_text(encoding="utf-8"))
        if record != _record(place, key):
            return None
    except (OSError, ValueError):
        return None
    table = read_parquet(Clusters, place / _CLUSTERS)
    if table["cell_id"].tolist() != cell_ids:
        return None
    coordinates = np.load(place / _PCA, allow_pickle=False)
    return KnownClusters(table["cluster_id"].tolist(), coordinates)


def _record(place: Path, key: str) -> dict[str, str]:
    """Key, and the hash of each file that it vouches for."""
    return {"key": key, **{name: sha256_of(place / name) for name in (_CLUSTERS, _PCA)}}
