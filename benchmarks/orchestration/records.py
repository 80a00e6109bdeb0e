"""What Dagster has written down: ticks of a sensor, and the course of a run."""

from dataclasses import dataclass

import dagster as dg


@dataclass(frozen=True)
class Tick:
    """One look of a sensor: when it began, how long it took, how many runs it requested."""

    began: float
    seconds: float
    runs: int
    reason: str


def ticks(instance: dg.DagsterInstance, sensor: str, since: float = 0.0) -> list[Tick]:
    """Ticks of a sensor that have ended, oldest first."""
    states = {state.instigator_name: state for state in instance.all_instigator_state()}
    if sensor not in states:
        return []
    state = states[sensor]
    found = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since or None)
    made = []
    for tick in sorted(found, key=lambda one: one.timestamp):
        data = tick.tick_data
        if data.end_timestamp is not None:
            seconds = data.end_timestamp - data.timestamp
            made.append(Tick(data.timestamp, seconds, len(data.run_ids), data.skip_reason or ""))
    return made


PHASES = ("waits", "is launched", "imports", "first step", "steps", "ends")
_LAUNCHED, _BLOCKED = "Started process for run", "Step blocked by limit for pool"
_EVENTS = dg.DagsterEventType
PARTITION = "dagster/partition"
"""Tag of a run of one partition; the run of the cohort has none."""


@dataclass(frozen=True)
class Course:
    """When a run was where, in seconds of the epoch.

    ``inside`` are the seconds of its steps in the engine, ``blocked`` those for which a step
    waited for its pool.
    """

    partition: str
    queued: float
    dequeued: float
    process: float
    started: float
    first_step: float
    last_step: float
    ended: float
    success: bool
    inside: float
    blocked: float

    def phases(self) -> dict[str, float]:
        """Seconds of each phase."""
        times = (self.queued, self.dequeued, self.process, self.started, self.first_step)
        all_times = (*times, self.last_step, self.ended)
        return {
            name: after - before
            for name, before, after in zip(PHASES, all_times[:-1], all_times[1:], strict=True)
        }


def courses(instance: dg.DagsterInstance, since: float) -> list[Course]:
    """Course of each run of a partition made since then that came to its steps, oldest first."""
    found = []
    for record in instance.get_run_records():
        run = record.dagster_run
        made = record.create_timestamp.timestamp()
        if made >= since and run.is_finished and PARTITION in run.tags:
            course = _course(instance, run)
            found += [] if course is None else [course]
    return sorted(found, key=lambda one: one.queued)


def _course(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Course | None:
    times: dict[str, list[float]] = {}
    inside = 0.0
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        name = event.event_type_value
        if event.event_type is _EVENTS.ENGINE_EVENT:
            message = event.message or ""
            name = next((one for one in (_LAUNCHED, _BLOCKED) if message.startswith(one)), name)
        times.setdefault(name, []).append(entry.timestamp)
        if event.event_type is _EVENTS.ASSET_MATERIALIZATION and event.asset_key is not None:
            seconds = event.step_materialization_data.materialization.metadata["seconds"].value
            inside += float(str(seconds))
    ended = [*_all(times, "PIPELINE_SUCCESS"), *_all(times, "PIPELINE_FAILURE")]
    steps = [*_all(times, "STEP_SUCCESS"), *_all(times, "STEP_FAILURE")]
    needed = ("PIPELINE_ENQUEUED", "PIPELINE_STARTING", _LAUNCHED, "PIPELINE_START", "STEP_START")
    if not (ended and steps and all(name in times for name in needed)):
        return None
    queued, dequeued, process, started, first = (min(times[name]) for name in needed)
    partition = run.tags[PARTITION]
    success = run.status is dg.DagsterRunStatus.SUCCESS
    middle = (queued, dequeued, process, started, first)
    blocked = sum(
        min((start for start in times["STEP_START"] if start > since), default=since) - since
        for since in _all(times, _BLOCKED)
    )
    return Course(partition, *middle, max(steps), max(ended), success, inside, blocked)


def _all(times: dict[str, list[float]], name: str) -> list[float]:
    return times[name] if name in times else []
