"""``reconcile``: what is behind although nobody noticed is requested again, with back-off.

Conditions see edges: an edit in the middle of a run, or a killed daemon, is lost to them.
"""

import json
import time

import dagster as dg

from ctr_assets.catching_up import find_behind, requests_for
from ctr_assets.freshness import foreign_keys, registered
from ctr_assets.jobs import annotate_partition, reannotate_from_scores, refine_partition
from ctr_assets.partition_counts import count_again
from ctr_assets.requested import conditions_have_looked
from ctr_assets.resources import ProjectResource
from ctr_assets.sensors import seconds

CHUNK, MOST_REQUESTS = 500, 20


def _reconcile(context: dg.SensorEvaluationContext, project: ProjectResource) -> dg.SensorResult:
    """Look at a chunk of partitions, and request what is behind when nobody else has requested it.

    Who sees a sample or an edit first, a sensor or the conditions, asks for its run a little later:
    at the first look nothing tells it from what nobody saw.
    """
    folder = project.open()
    known = registered(context.instance)
    start, before = _read(context.cursor)
    start = start if start < len(known) else 0
    chunk = known[start : start + CHUNK]
    behind, faults = find_behind(context.instance, folder, chunk)
    now = time.time()
    since = {one.mark: before[one.mark] if one.mark in before else now for one in behind}
    looked = {at: conditions_have_looked(context.instance, at) for at in set(before.values())}
    left = [one for one in behind if one.mark in before and looked[since[one.mark]]]
    requests, notes = requests_for(context.instance, folder, left, MOST_REQUESTS)
    notes += [*faults, *foreign_keys(context.instance), *_counted_again(context)]
    for note in notes:
        context.log.warning(note)
    waiting = len(behind) - len(left)
    stays = waiting > 0 or len(requests) >= MOST_REQUESTS
    following = start + CHUNK if start + CHUNK < len(known) else 0
    told = f"{len(chunk)} of {len(known)} partitions looked at"
    if waiting:
        told += f", {waiting} of them behind: requested at a later look if nobody else does"
    return dg.SensorResult(
        run_requests=requests,
        cursor=json.dumps({"start": start if stays else following, "behind": since}),
        skip_reason=None if requests else dg.SkipReason("; ".join([told, *notes])),
    )


def _read(cursor: str | None) -> tuple[int, dict[str, float]]:
    """Give the first partition to look at, and since when others were seen behind."""
    state = json.loads(cursor) if cursor else 0
    if isinstance(state, int):  # written by a version that kept the place only
        return state, {}
    return state["start"], state["behind"]


def _counted_again(context: dg.SensorEvaluationContext) -> list[str]:
    """Correct what Dagster counts as made, and say of which assets."""
    if context.repository_def is None:
        return []
    assets = context.repository_def.assets_defs_by_key
    partitioned = {key: one.partitions_def for key, one in assets.items() if one.partitions_def}
    wrong = count_again(context.instance, partitioned)
    return [f"made partitions of {key.to_user_string()} are counted again" for key in wrong]


reconcile = dg.SensorDefinition(
    name="reconcile",
    evaluation_fn=_reconcile,
    jobs=[annotate_partition, reannotate_from_scores, refine_partition],
    minimum_interval_seconds=seconds(60),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Finds labels that do not follow from what lies in the project, and requests them.",
)
