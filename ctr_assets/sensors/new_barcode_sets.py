"""``new_barcode_sets``: barcodes that are new, or whose parameters are, are clustered."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from ctr_assets.barcode_sets import (
    BARCODE_SETS,
    clusters_path,
    clusters_version,
    require_key,
    sequences_path,
    set_files,
)
from ctr_assets.jobs import cluster_barcodes
from ctr_assets.project import Project
from ctr_assets.resources import ProjectResource
from ctr_assets.sensors import seconds
from ctr_assets.versions import digest
from ctr_engine.errors import CtrError
from ctr_engine.io.samples import sha256_of

SET_TAG = "ctr/barcode_set"
_NOTHING: Mapping[str, Any] = {"seen": {}, "taken": {}, "made": {}}


def _new_barcode_sets(
    context: dg.SensorEvaluationContext, project: ProjectResource
) -> dg.SensorResult:
    folder = project.open()
    # a cursor of an earlier version lacks what it did not know
    state = {**_NOTHING, **(json.loads(context.cursor) if context.cursor else {})}
    seen, taken, made = state["seen"], state["taken"], dict(state["made"])
    now: dict[str, str] = {}
    asked: dict[str, str] = {}
    requests, notes = [], []
    for name in set_files(folder):
        try:
            now[name] = _signature(folder, name)
        except CtrError as error:
            notes.append(str(error))
            context.log.warning(str(error))
            continue
        if name in taken and taken[name] == now[name]:
            asked[name] = now[name]  # nothing is read again
        elif name not in seen or seen[name] != now[name]:
            notes.append(f"{name} may still be copied")  # what is whole looks so twice
        else:
            asked[name] = now[name]
            version, number = _version(folder, name), 0
            if name in made:
                last, number = made[name]
                if last == version:
                    continue  # it was only touched
            made[name] = (version, number + 1)
            requests.append(_request(name, *made[name]))
    known = set(context.instance.get_dynamic_partitions(BARCODE_SETS.name or ""))
    new = [one.partition_key for one in requests if one.partition_key not in known]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[BARCODE_SETS.build_add_request(new)] if new else [],
        cursor=json.dumps({"seen": now, "taken": asked, "made": made}, sort_keys=True),
        skip_reason=None if requests else dg.SkipReason("; ".join(notes) or _idle(asked)),
    )


def _idle(asked: dict[str, str]) -> str:
    return f"no new set among {len(asked)}" if asked else "no set of barcodes"


def _version(project: Project, name: str) -> str:
    """What the clusters of a set follow from: its files and the parameters."""
    content = sha256_of(sequences_path(project, name))
    clusters = clusters_version(project, name)
    return digest([content, clusters, _parameters(project)])


def _parameters(project: Project) -> str:
    return digest(project.config.barcodes.model_dump(mode="json"))


def _request(name: str, version: str, number: int) -> dg.RunRequest:
    """Request a run; the number is there for a version that comes back."""
    return dg.RunRequest(
        run_key=f"{name}:{number}:{version}",
        partition_key=name,
        tags={SET_TAG: name, "ctr/trigger": "new_barcode_set"},
    )


def _signature(project: Project, name: str) -> str:
    """Sizes and times of the files of a set, and the parameters.

    Raises
    ------
    CtrError
        If the name is not proper, or there are two files.
    """
    paths = [sequences_path(project, require_key(name)), clusters_path(project, name)]
    return "|".join([*map(_state, paths), _parameters(project)])


def _state(path: Path) -> str:
    if not path.exists():
        return "none"
    stat = path.stat()
    return f"{stat.st_size}:{stat.st_mtime_ns}"


new_barcode_sets = dg.SensorDefinition(
    name="new_barcode_sets",
    evaluation_fn=_new_barcode_sets,
    job=cluster_barcodes,
    minimum_interval_seconds=seconds(30),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers sets of barcodes that are whole, and clusters them when they are new.",
)
