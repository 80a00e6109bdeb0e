"""Each look that the daemon makes, made in this process: the clock and the processor are read."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import dagster as dg
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.automation_tick_evaluation_context import (
    AutomationTickEvaluationContext,
)

from benchmarks.orchestration.running import webserver
from ctr_assets.arrivals import scan
from ctr_assets.assets import GROUP
from ctr_assets.catching_up import find_behind
from ctr_assets.definitions import build_defs
from ctr_assets.freshness import registered
from ctr_assets.project import Project
from ctr_assets.resources import keep_marker_map
from ctr_assets.sensors.reconcile import CHUNK

_CURSOR = """mutation($name: String!, $cursor: String!) { setSensorCursor(cursor: $cursor,
  sensorSelector: {repositoryName: "__repository__", repositoryLocationName: "ctr",
    sensorName: $name}) { __typename } }"""


@dataclass
class Automation:
    """The automation conditions, asked again and again as the daemon asks them."""

    instance: dg.DagsterInstance
    project: Project
    cursor: AssetDaemonCursor = field(default_factory=AssetDaemonCursor.empty)

    def __post_init__(self) -> None:
        self._graph = build_defs(str(self.project.root)).resolve_asset_graph()

    def look(self) -> Sequence[dg.RunRequest]:
        """Ask once; gives what is requested, which is not submitted."""
        requests, self.cursor, _ = AutomationTickEvaluationContext(
            evaluation_id=self.cursor.evaluation_id + 1,
            instance=self.instance,
            asset_graph=self._graph,
            cursor=self.cursor,
            materialize_run_tags={},
            observe_run_tags={},
            auto_observe_asset_keys=set(),
            asset_selection=dg.AssetSelection.groups(GROUP),
            logger=logging.getLogger(__name__),
            emit_backfills=False,
        ).evaluate()
        return requests


def sensor_look(
    instance: dg.DagsterInstance, project: Project, sensor: dg.SensorDefinition, cursor: str
) -> dg.SensorResult:
    """Look once; what was observed is reported, as the daemon does."""
    definitions = build_defs(str(project.root))
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        definitions=definitions,
        resources={"project": (definitions.resources or {})["project"]},
    )
    result = cast("dg.SensorResult", sensor(context))
    for event in result.asset_events:
        instance.report_runless_asset_event(event)
    return result


def settled(instance: dg.DagsterInstance, project: Project) -> dict[str, str]:
    """Cursors of the sensors that have seen every sample and every map as they are."""
    signatures = scan(project, {}, {}, 0).signatures
    known = registered(instance)
    maps = {
        tissue: (
            keep_marker_map(project, tissue).content_hash,
            sum(one.tissue == tissue for one in known),
        )
        for tissue in {one.tissue for one in known}
    }
    return {
        "new_samples": json.dumps({"seen": {}, "taken": dict(signatures)}),
        "input_edits": json.dumps({"maps": maps, "plans": {}}),
    }


def settle(project: Project, cursors: Mapping[str, str]) -> None:
    """Give the sensors their cursors, before the daemon starts."""
    with webserver(project) as running:
        for name, cursor in cursors.items():
            running.graphql(_CURSOR, {"name": name, "cursor": cursor})


def reconcile_round(instance: dg.DagsterInstance, project: Project) -> list[int]:
    """Look at all partitions, chunk after chunk; gives how many of each are behind."""
    known = registered(instance)
    return [
        len(find_behind(instance, project, known[start : start + CHUNK])[0])
        for start in range(0, len(known), CHUNK)
    ]
