"""A map that is edited while a run is in flight: the edit is not lost, and no two maps are mixed.

Every case has a sample in a tissue of its own. Its map is edited when an asset was made in the
first run, by the records of that run; where the edit came too late, another sample tries again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg
import pandas as pd
import pytest

from ctr_assets.assets.annotation import MAP_HASH
from ctr_assets.partitions import parse_key
from ctr_assets.status import statuses
from ctr_assets.versions import DATA_VERSION_TAG, current_version
from ctr_engine.markers.parse import parse_marker_map
from tests.bad_inputs import GOOD_MAP
from tests.daemon.conftest import PATIENCE, Running
from tests.daemon.test_by_itself import ABOVE, BELOW, EDITED

pytestmark = pytest.mark.slow
N_CELLS = 4_000
ATTEMPTS = 3
LONG = 2 * PATIENCE
"""Seconds that all first runs together may take, and all that follows."""
MOST_TIMES = 3
"""An asset is made by the run in flight, after the edit, and once more if two notice the edit."""
WITH_HASH = ("marker_scores", "cluster_annotations", "annotations", "final_annotations")


@dataclass(frozen=True)
class Edit:
    """What the map becomes once ``after`` was made, and what must not have happened before that.

    ``before`` is an asset that the same run makes later; None is the end of the run.
    """

    after: str
    before: str | None
    content: str


CASES: Mapping[str, tuple[Edit, ...]] = {
    # the scores, which read the map, wait for de_lookup
    "before-the-scores": (Edit("stage_h_input", "de_lookup", EDITED),),
    "after-the-scores": (Edit("marker_scores", "final_annotations", EDITED),),
    "at-the-end": (Edit("final_annotations", None, EDITED),),
    "undone": (
        Edit("stage_h_input", "de_lookup", EDITED),
        Edit("marker_scores", "final_annotations", GOOD_MAP),
    ),
}


@dataclass
class Flight:
    """A sample in its first run, and the edits that are made meanwhile."""

    running: Running
    key: str
    edits: tuple[Edit, ...]
    times: list[float] = field(default_factory=list)

    @property
    def tissue(self) -> str:
        return parse_key(self.key).tissue

    def first(self, asset: str) -> dg.EventLogRecord | None:
        """Record of an asset in the first run."""
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[self.key])
        found = self.running.instance.fetch_materializations(wanted, limit=1, ascending=True)
        return found.records[0] if found.records else None

    def is_through(self) -> bool:
        """Make the next edit if its moment has come; whether all are made."""
        if len(self.times) < len(self.edits):
            edit = self.edits[len(self.times)]
            if self.first(edit.after) is not None:
                self.running.edit_map(self.tissue, edit.content)
                self.times.append(time.time())
        return len(self.times) == len(self.edits)

    def end(self) -> float | None:
        """When the first run ended."""
        made = self.first(self.edits[0].after)
        record = made and self.running.instance.get_run_record_by_id(made.run_id)
        return record.end_time if record else None

    def was_in_time(self) -> bool:
        """Whether every edit was made before what it had to precede."""
        ends = [self._time_of(edit.before) for edit in self.edits]
        return all(at < end for at, end in zip(self.times, ends, strict=True))

    def _time_of(self, asset: str | None) -> float:
        made = self.first(asset) if asset is not None else None
        end = self.end() if made is None else made.timestamp
        assert end is not None, "the run has ended"
        return end


def fly(running: Running, cases: Mapping[str, tuple[Edit, ...]], attempt: int) -> dict[str, Flight]:
    """Drop the same sample for each case, and edit the maps while the first runs are in flight."""
    flights = {
        name: Flight(running, f"{name}-{attempt}__S", edits) for name, edits in cases.items()
    }
    for flight in flights.values():
        running.edit_map(flight.tissue, GOOD_MAP)
        running.put_sample(flight.key, n_cells=N_CELLS)
    end = time.monotonic() + LONG
    waiting = list(flights.values())
    while waiting := [flight for flight in waiting if not flight.is_through()]:
        assert time.monotonic() < end, "the runs do not get to where the maps are edited"
        time.sleep(0.1)
    running.until(lambda: all(one.end() for one in flights.values()), "the runs have ended", LONG)
    return flights


@pytest.fixture(scope="module")
def flights(running: Running) -> dict[str, Flight]:
    """Give a flight for each case whose edits were made in time, after everything went quiet."""
    found: dict[str, Flight] = {}
    for attempt in range(ATTEMPTS):
        missing = {name: edits for name, edits in CASES.items() if name not in found}
        tried = fly(running, missing, attempt) if missing else {}
        found |= {name: flight for name, flight in tried.items() if flight.was_in_time()}
    late = set(CASES) - set(found)
    assert not late, f"in {ATTEMPTS} attempts the edits of {late} were never made in time"
    running.until(lambda: set(states(running).values()) == {"fresh"}, "all is fresh", LONG)
    running.quiet()
    return found


def states(running: Running) -> dict[str, str]:
    found, faults = statuses(running.instance, running.project)
    assert not faults
    return {one.partition: one.state for one in found}


def version(running: Running, asset: str, key: str) -> str | None:
    return current_version(running.instance, dg.AssetKey(asset), key)


def versions(running: Running, key: str) -> dict[str, str | None]:
    """Newest versions of all that leads to the labels."""
    return {name: version(running, name, key) for name in ABOVE | BELOW}


def version_of(record: dg.EventLogRecord | None) -> str:
    assert record is not None
    assert record.asset_materialization is not None
    assert record.asset_materialization.tags is not None
    return record.asset_materialization.tags[DATA_VERSION_TAG]


def hashes(running: Running, key: str) -> set[str]:
    """Maps that the newest tables of a partition say they were made with."""
    events = [running.newest(asset, key) for asset in WITH_HASH]
    return {str(event.metadata[MAP_HASH].value) for event in events if event is not None}


def hash_of(content: str) -> str:
    return parse_marker_map(content, "map.json").content_hash


def labels(running: Running, key: str) -> pd.DataFrame:
    return pd.read_parquet(running.project.stored("final_annotations", parse_key(key)))


@pytest.mark.parametrize("case", CASES)
def test_the_labels_are_those_of_the_last_edit(
    running: Running, flights: dict[str, Flight], case: str
) -> None:
    key, wanted = flights[case].key, hash_of(CASES[case][-1].content)
    assert running.basis(key)["marker_map"] == wanted
    assert version(running, "marker_map", key) == wanted, "what was last observed"


@pytest.mark.parametrize("case", CASES)
def test_every_table_says_the_same_map(
    running: Running, flights: dict[str, Flight], case: str
) -> None:
    assert hashes(running, flights[case].key) == {hash_of(CASES[case][-1].content)}


@pytest.mark.parametrize("case", ["after-the-scores", "at-the-end"])
def test_no_two_maps_are_mixed(running: Running, flights: dict[str, Flight], case: str) -> None:
    """Versions and labels are those of a run that read the edited map from its first score on."""
    key, other = flights[case].key, flights["before-the-scores"].key
    assert versions(running, key) == versions(running, other)
    pd.testing.assert_frame_equal(labels(running, key), labels(running, other))


def test_an_edit_that_was_undone_leaves_nothing(
    running: Running, flights: dict[str, Flight]
) -> None:
    """Every version is that of a first run whose map was edited when its labels were there."""
    expected = {name: version_of(flights["at-the-end"].first(name)) for name in ABOVE | BELOW}
    assert versions(running, flights["undone"].key) == expected


def test_the_edits_were_made_in_time_to_do_harm(flights: dict[str, Flight]) -> None:
    """The first runs had the map from before the edit, or one that was taken back meanwhile."""
    old = {"after-the-scores": GOOD_MAP, "at-the-end": GOOD_MAP, "undone": EDITED}
    for case, content in old.items():
        record = flights[case].first("final_annotations")
        assert record is not None
        assert record.asset_materialization is not None
        used = record.asset_materialization.metadata[MAP_HASH].value
        assert used == hash_of(content), case


def test_nothing_is_made_for_ever(running: Running, flights: dict[str, Flight]) -> None:
    """What is above the map is made once, and what is below it once for each map, or nearly."""

    def times(names: set[str]) -> dict[str, int]:
        return {
            f"{name} of {flight.key}": running.times(name, flight.key)
            for flight in flights.values()
            for name in sorted(names)
        }

    above, below = times(ABOVE), times(BELOW)
    assert set(above.values()) == {1}, above
    assert max(below.values()) <= MOST_TIMES, below
    running.quiet(ticks=6)
    assert (times(ABOVE), times(BELOW)) == (above, below)
    assert set(states(running).values()) == {"fresh"}
