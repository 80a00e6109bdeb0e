"""What a grid says: about each setting, each cluster, each label and each value of a parameter."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ctr_engine.gating.compete import UNASSIGNED_PLACE, path_of
from ctr_engine.gating.near_misses import label_of
from ctr_engine.gating.robustness import robustness
from ctr_engine.tables import (
    TuningClusters,
    TuningLabels,
    TuningSettings,
    TuningShares,
    frame,
    from_rows,
)
from ctr_engine.tuning.grid import names_of
from ctr_engine.tuning.tune import Tuning


def tuning_tables(tuning: Tuning) -> dict[str, pd.DataFrame]:
    """Give all tables of a grid by their name, ``tune_settings`` without the parameters."""
    return {
        "tune_settings": _settings(tuning),
        "tune_clusters": _clusters(tuning),
        "tune_labels": _labels(tuning),
        "tune_shares": _shares(tuning),
    }


def parameter_columns(tuning: Tuning) -> dict[str, list[Any]]:
    """Value of each parameter of the grid, setting by setting; the columns that follow."""
    return {
        name: [setting[index] for setting in tuning.settings]
        for index, name in enumerate(names_of(tuning.axes))
    }


def fewest_unassigned(tuning: Tuning) -> int | None:
    """Setting with fewer Unassigned cells than the run, the one that moves least; None without one.

    Of the settings with the fewest, the one that changes fewest cells; then the one that lies
    nearest to the run, in steps of the grid.
    """
    n_cells = tuning.decider.n_cells
    lost = (tuning.places == UNASSIGNED_PLACE) @ n_cells
    if lost.min() >= (tuning.decider.outcomes.place == UNASSIGNED_PLACE) @ n_cells:
        return None
    moved = ~tuning.kept @ n_cells
    away = [_distance(tuning, setting) for setting in tuning.settings]
    return int(np.lexsort((np.array(away), moved, lost))[0])


def _distance(tuning: Tuning, setting: Sequence[Any]) -> int:
    """Steps of the grid between a setting and the values of the run."""
    steps = 0
    for axis, value, now in zip(tuning.axes, setting, tuning.current, strict=True):
        numbers = [v for v in (*axis.values, now) if isinstance(v, int | float)]
        if len(numbers) <= len(axis.values):
            steps += value != now
        else:
            order = sorted(set(numbers))
            steps += abs(order.index(value) - order.index(now))
    return steps


def _settings(tuning: Tuning) -> pd.DataFrame:
    n_cells = tuning.decider.n_cells
    changed, places = ~tuning.kept, tuning.places
    return frame(
        TuningSettings,
        {
            "setting": np.arange(len(places)),
            "n_clusters_changed": changed.sum(axis=1).astype(np.int64),
            "n_cells_changed": changed @ n_cells,
            "n_cells_unassigned": (places == UNASSIGNED_PLACE) @ n_cells,
            "n_cells_ambiguous": tuning.ambiguous @ n_cells,
            "n_labels": [len(set(row) - {UNASSIGNED_PLACE}) for row in places.tolist()],
        },
    )


def _clusters(tuning: Tuning) -> pd.DataFrame:
    decider, marker_map = tuning.decider, tuning.decider.resolved.marker_map
    stays = robustness(decider)
    rows = []
    for index, cluster_id in enumerate(decider.cluster_ids):
        place = int(decider.outcomes.place[index])
        path = path_of(place, marker_map)
        found, counts = np.unique(tuning.places[:, index], return_counts=True)
        others = [(-int(n), int(p)) for p, n in zip(found, counts, strict=True) if p != place]
        best = min(others) if others else None
        other = None if best is None else path_of(best[1], marker_map)
        rows.append(
            {
                "cluster_id": cluster_id,
                "n_cells": int(decider.n_cells[index]),
                "assigned_label": label_of(path),
                "assigned_path": path,
                "share_kept": float(tuning.kept[:, index].mean()),
                "n_labels": len(found),
                "other_label": None if other is None else label_of(other),
                "other_path": other or "",
                "other_share": 0.0 if best is None else -best[0] / len(tuning.settings),
                "robustness": float(stays[index]),
            }
        )
    return from_rows(TuningClusters, rows)


def _labels(tuning: Tuning) -> pd.DataFrame:
    decider, n_cells = tuning.decider, tuning.decider.n_cells
    rows = []
    for place in np.unique(np.vstack([tuning.places, decider.outcomes.place])).tolist():
        path = path_of(place, decider.resolved.marker_map)
        carried = tuning.places == place
        cells: npt.NDArray[np.int64] = carried @ n_cells
        now = decider.outcomes.place == place
        rows.append(
            {
                "label": label_of(path),
                "path": path,
                "n_cells": int(now @ n_cells),
                "least_cells": int(cells.min()),
                "median_cells": float(np.median(cells)),
                "most_cells": int(cells.max()),
                "share_stable": float((carried == now).all(axis=1).mean()),
            }
        )
    return from_rows(
        TuningLabels, sorted(rows, key=lambda row: (-int(row["n_cells"]), row["path"]))
    )


def _shares(tuning: Tuning) -> pd.DataFrame:
    kept, ids = tuning.kept.astype(np.float64), np.array(tuning.decider.cluster_ids, dtype=object)
    parts = []
    after = len(tuning.settings)
    for axis, name in zip(tuning.axes, names_of(tuning.axes), strict=True):
        n = len(axis.values)
        after //= n  # settings are the product of the axes, the last one fastest
        shares = kept.reshape(-1, n, after, len(ids)).mean(axis=(0, 2))
        parts.append(
            pd.DataFrame(
                {
                    "cluster_id": np.tile(ids, n),
                    "parameter": name,
                    "value": np.repeat([str(value) for value in axis.values], len(ids)),
                    "share": shares.ravel(),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return frame(TuningShares, {name: table[name].to_numpy() for name in table.columns})
