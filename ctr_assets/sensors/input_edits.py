"""``input_edits``: an edited marker map or manual plan is observed where it counts."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from ctr_assets.freshness import foreign_keys, registered
from ctr_assets.partitions import Partition
from ctr_assets.project import Project
from ctr_assets.resources import NO_PLAN, ProjectResource, keep_manual_plan, keep_marker_map
from ctr_assets.sensors import seconds
from ctr_assets.sensors.new_samples import observation
from ctr_engine.errors import CtrError

MOST_EVENTS = 500
"""Observations that one look reports; the others follow with the next one."""


@dataclass
class _Look:
    """One look at the files: what it saw before, and what it has to report."""

    project: Project
    state: dict[str, Any]
    events: list[dg.AssetObservation] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def map_of(self, tissue: str, partitions: Sequence[Partition]) -> None:
        """Report a map to the partitions of its tissue, as far as they do not know it."""
        try:
            version = keep_marker_map(self.project, tissue).content_hash
        except CtrError as error:
            self.faults.append(f"The last good marker map of {tissue} stays in force. {error}")
            return
        known, done = self.state["maps"][tissue] if tissue in self.state["maps"] else ("", 0)
        done = done if known == version else 0
        room = MOST_EVENTS - len(self.events)
        told = partitions[done : done + max(room, 0)]
        self.events += [observation("marker_map", one, version) for one in told]
        self.state["maps"][tissue] = (version, done + len(told))

    def plan_of(self, partition: Partition, *, is_there: bool) -> None:
        """Report a manual plan that is another one than at the last look."""
        try:
            version = keep_manual_plan(self.project, partition) if is_there else NO_PLAN
        except CtrError as error:
            self.faults.append(
                f"The last good manual plan of {partition.key} stays in force. {error}"
            )
            return
        plans = self.state["plans"]
        known = plans[partition.key] if partition.key in plans else NO_PLAN
        if version != known and len(self.events) < MOST_EVENTS:
            self.events.append(observation("manual_plan", partition, version))
            plans[partition.key] = version


def _input_edits(context: dg.SensorEvaluationContext, project: ProjectResource) -> dg.SensorResult:
    folder = project.open()
    state = json.loads(context.cursor) if context.cursor else {"maps": {}, "plans": {}}
    look = _Look(folder, state)
    tissues = defaultdict(list)
    for partition in registered(context.instance):
        if folder.pipeline_for(partition).automation:
            tissues[partition.tissue].append(partition)
    for tissue, partitions in tissues.items():
        look.map_of(tissue, partitions)
    place = folder.root / folder.config.manual_dir
    files = {path.stem for path in place.glob("*")} if place.is_dir() else set()
    for partition in (one for partitions in tissues.values() for one in partitions):
        if partition.key in files or partition.key in state["plans"]:
            look.plan_of(partition, is_there=partition.key in files)
    look.faults += foreign_keys(context.instance)
    for fault in look.faults:
        context.log.warning(fault)
    reason = "; ".join(look.faults) or "no edit"
    return dg.SensorResult(
        asset_events=look.events,
        cursor=json.dumps(look.state, sort_keys=True),
        skip_reason=None if look.events else dg.SkipReason(reason),
    )


input_edits = dg.SensorDefinition(
    name="input_edits",
    evaluation_fn=_input_edits,
    minimum_interval_seconds=seconds(15),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports edits of marker maps and manual plans to the partitions that they touch.",
)
