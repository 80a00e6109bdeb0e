"""What a label depends on, as one value that can be edited bit by bit."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from ctr_engine.errors import CtrError
from ctr_engine.gating.compete import path_of
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.panel import resolve_map
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.scoring import ScoringParams
from ctr_engine.stored import NEEDS_CELLS, StoredRun

Edit = Callable[["State"], "State"]


@dataclass(frozen=True)
class State:
    """Map, parameters, and whose values are scored; plain data, so that edits are simple.

    ``marker_map`` is the content of a marker map without its ``_gating_params``; ``gating`` and
    ``scoring`` are the parameters that are used.
    """

    marker_map: Mapping[str, Any]
    scoring: Mapping[str, Any]
    gating: Mapping[str, Any]
    values_of: StoredRun

    @classmethod
    def of(cls, run: StoredRun) -> "State":
        """State of a stored run."""
        content = run.marker_map.as_source()
        for key in ("_gating_params", "_marker_map_metadata"):
            content.pop(key, None)
        return cls(
            content,
            run.scoring.model_dump(mode="json"),
            run.gating.model_dump(mode="json"),
            run,
        )

    def with_map(self, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> "State":
        """State with an edited copy of the map."""
        return replace(self, marker_map=edit(copy.deepcopy(dict(self.marker_map))))

    def with_gating(self, edit: Callable[[dict[str, Any]], None]) -> "State":
        """State with edited gating parameters."""
        gating = copy.deepcopy(dict(self.gating))
        edit(gating)
        return replace(self, gating=gating)


@dataclass
class Labels:
    """Labels of the clusters of a run in any state; each state is decided about once."""

    _known: dict[str, dict[str, str] | None] = field(default_factory=dict)

    def of(self, state: State) -> dict[str, str] | None:
        """Path of each cluster's label; None where the state makes no sense.

        A single edit out of several can leave what fits neither the panel nor the other parameters.
        """
        parts = (state.marker_map, state.scoring, state.gating, state.values_of.name)
        key = json.dumps(parts, sort_keys=False)
        if key not in self._known:
            try:
                self._known[key] = _decided(state)
            except (CtrError, ValidationError):
                self._known[key] = None
        return self._known[key]


def _decided(state: State) -> dict[str, str]:
    run = state.values_of
    marker_map = parse_marker_map(json.dumps(state.marker_map), "edited map")
    measured = {name: getattr(run.scoring, name) for name in NEEDS_CELLS}
    scoring = ScoringParams.model_validate({**state.scoring, **measured})
    gating = GatingParams.model_validate(state.gating)
    decider = run.evidences.decider(resolve_map(marker_map, run.panel), scoring, gating)
    places = decider.outcomes.place.tolist()
    paths = [path_of(place, marker_map) for place in places]
    return dict(zip(decider.cluster_ids, paths, strict=True))
