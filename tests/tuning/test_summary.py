"""Tables of a grid against plain loops over the labels of whole runs."""

from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from ctr_engine.gating.compete import UNASSIGNED_PLACE
from ctr_engine.gating.near_misses import label_of
from ctr_engine.tables import TUNING_TABLES, checked
from ctr_engine.tuning.summary import fewest_unassigned, parameter_columns, tuning_tables
from ctr_engine.tuning.tune import Tuning
from tests.comparison.runs import counted, labels
from tests.tuning.grids import COUNTS, base, brute_force, run_of, tuned, values_of

GRID = (
    "gating min_gap.0=0,0.4,0.8",
    "scoring anti_agg=max,mean",
    "gating gate_inheritance=true,false",
)


@pytest.fixture(scope="module")
def made():
    """The grid, its tables, and the labels and stops of whole runs."""
    tuning = tuned(base(), *GRID)
    paths, ambiguous = brute_force(counted(COUNTS), base(), tuning.axes, tuning.settings)
    return tuning, tuning_tables(tuning), paths, ambiguous


def sizes(tuning: Tuning) -> list[int]:
    return tuning.decider.n_cells.tolist()


def test_all_tables_are_there_with_their_schema(made):
    _, tables, _, _ = made
    assert list(tables) == list(TUNING_TABLES)
    for name, table in tables.items():
        checked(TUNING_TABLES[name], table)


def test_settings(made):
    tuning, tables, paths, ambiguous = made
    now, n_cells = list(labels(base()).values()), sizes(tuning)
    rows = tables["tune_settings"].to_dict("records")
    assert len(rows) == 12
    for i, row in enumerate(rows):
        changed = [c for c in range(10) if paths[i][c] != now[c]]
        assert row == {
            "setting": i,
            "n_clusters_changed": len(changed),
            "n_cells_changed": sum(n_cells[c] for c in changed),
            "n_cells_unassigned": sum(n_cells[c] for c in range(10) if paths[i][c] == ""),
            "n_cells_ambiguous": sum(n_cells[c] for c in range(10) if ambiguous[i][c]),
            "n_labels": len({path for path in paths[i] if path}),
        }
    assert len({row["n_clusters_changed"] for row in rows}) > 2, "the case shows little"


def test_clusters(made):
    _, tables, paths, _ = made
    annotated = base().tables["cluster_annotations"]
    rows = tables["tune_clusters"].to_dict("records")
    assert [row["cluster_id"] for row in rows] == annotated["cluster_id"].tolist()
    for c, row in enumerate(rows):
        found = [setting[c] for setting in paths]
        now = annotated["assigned_path"][c]
        others = {path: found.count(path) for path in found if path != now}
        assert row["assigned_path"] == now
        assert row["assigned_label"] == annotated["assigned_label"][c]
        assert row["n_cells"] == 10
        assert row["share_kept"] == found.count(now) / 12
        assert row["n_labels"] == len(set(found))
        assert row["robustness"] == annotated["robustness"][c]
        if not others:
            assert (row["other_label"], row["other_path"], row["other_share"]) == (None, "", 0)
            continue
        assert others[row["other_path"]] == max(others.values())
        assert row["other_label"] == label_of(row["other_path"])
        assert row["other_share"] == max(others.values()) / 12
    assert 0 < sum(row["share_kept"] < 1 for row in rows) < 10


def test_labels(made):
    tuning, tables, paths, _ = made
    now, n_cells = list(labels(base()).values()), sizes(tuning)
    rows = tables["tune_labels"].to_dict("records")
    assert {row["path"] for row in rows} == {*now, *(p for setting in paths for p in setting)}
    assert [row["n_cells"] for row in rows] == sorted((r["n_cells"] for r in rows), reverse=True)
    for row in rows:
        path = row["path"]
        cells = [sum(n for p, n in zip(s, n_cells, strict=True) if p == path) for s in paths]
        carried = [[p == path for p in setting] for setting in paths]
        stable = [one == [p == path for p in now] for one in carried]
        assert row["label"] == label_of(path)
        assert row["n_cells"] == sum(n for p, n in zip(now, n_cells, strict=True) if p == path)
        assert (row["least_cells"], row["most_cells"]) == (min(cells), max(cells))
        assert row["median_cells"] == median(cells)
        assert row["share_stable"] == sum(stable) / 12


def test_shares(made):
    tuning, tables, paths, _ = made
    now = labels(base())
    rows = tables["tune_shares"].to_dict("records")
    values = {"min_gap.0": (0, 0.4, 0.8), "anti_agg": ("max", "mean"),
              "gate_inheritance": (True, False)}  # fmt: skip
    assert len(rows) == 10 * 7
    places = {axis.name: i for i, axis in enumerate(tuning.axes)}
    for row in rows:
        (value,) = [v for v in values[row["parameter"]] if str(v) == row["value"]]
        place, c = places[row["parameter"]], list(now).index(row["cluster_id"])
        kept = [
            paths[i][c] == now[row["cluster_id"]]
            for i, setting in enumerate(tuning.settings)
            if setting[place] == value
        ]
        assert row["share"] == pytest.approx(sum(kept) / len(kept))


def test_columns_of_the_parameters_follow_the_settings(made):
    tuning, _, _, _ = made
    found = parameter_columns(tuning)
    assert list(found) == ["min_gap.0", "anti_agg", "gate_inheritance"]
    assert found["min_gap.0"] == [0] * 4 + [0.4] * 4 + [0.8] * 4
    assert found["anti_agg"] == ["max", "max", "mean", "mean"] * 3
    assert found["gate_inheritance"] == [True, False] * 6


def test_a_grid_that_moves_nothing():
    tables = tuning_tables(tuned(base(), "gating max_ambiguity=2,3"))
    assert (tables["tune_clusters"]["share_kept"] == 1).all()
    assert tables["tune_clusters"]["other_label"].isna().all()
    assert (tables["tune_labels"]["share_stable"] == 1).all()
    assert (tables["tune_settings"]["n_clusters_changed"] == 0).all()


# ---------------------------------------------------------------------- the best of a grid


def best(*texts: str, **raw: object) -> dict[str, object] | None:
    """Values of the setting that is shown as the best."""
    tuning = tuned(run_of(**raw), *texts)
    number = fewest_unassigned(tuning)
    return None if number is None else values_of(tuning.settings[number], tuning.axes)


def test_the_best_setting_has_fewest_unassigned_and_moves_least(made):
    tuning, _, paths, _ = made
    now = list(labels(base()).values())
    lost = [setting.count("") for setting in paths]
    moved = [sum(p != n for p, n in zip(s, now, strict=True)) for s in paths]
    number = fewest_unassigned(tuning)
    assert lost[number] == min(lost) < now.count("")
    assert moved[number] == min(m for m, n in zip(moved, lost, strict=True) if n == min(lost))


def test_moving_least_counts_before_lying_near():
    """The nearer setting names the same clusters, but moves another one as well."""
    tuning = tuned(base(), "gating min_enrichment.0=0,0.3,0.6,0.9")
    now = tuning.decider.outcomes.place
    lost = np.flatnonzero(now == UNASSIGNED_PLACE)
    places = np.tile(now, (4, 1))
    places[1:, lost[0]] = places[3, lost[1]] = 0
    places[1, np.flatnonzero(now != 0)[0]] = 0
    assert fewest_unassigned(replace(tuning, places=places)) == 3
    places[3] = now
    assert fewest_unassigned(replace(tuning, places=places)) == 2
    places[1] = places[2]
    assert fewest_unassigned(replace(tuning, places=places)) == 1


def test_no_setting_is_better_than_the_run():
    assert best("gating min_gap.0=0,0.4") is None
    assert best("gating min_enrichment.0=0,50") is None


def test_of_equal_settings_the_nearest_to_the_run_is_shown():
    """Clusters 6 and others pass from an enrichment of 0 on; a lower threshold adds nothing new."""
    strict = {"gating": {"min_enrichment": {"0": 0.6}}}
    found = best("gating min_enrichment.0=0:0.6:0.05", "scoring anti_weight=0.7,0.8,0.9", **strict)
    tuning = tuned(run_of(**strict), "gating min_enrichment.0=0:0.6:0.05")
    lost = tuning_tables(tuning)["tune_settings"]["n_cells_unassigned"].tolist()
    nearest = max(v for (v,), n in zip(tuning.settings, lost, strict=True) if n == min(lost))
    assert found == {"min_enrichment.0": nearest, "anti_weight": 0.8}


def test_what_nobody_had_given_and_words_have_a_distance_too():
    """A level-0 gap, which the run does not have, is one step away wherever it is set."""
    run = run_of(gating={"min_enrichment": {"0": 0.6}})
    tuning = tuned(run, "gating min_gap.0=0.1,0.25", "scoring anti_agg=mean,top2mean",
                   "gating min_enrichment.0=0.6,0.3,0,-0.5")  # fmt: skip
    steps = {0.6: 0, 0.3: 1, 0: 2, -0.5: 3}
    table = tuning_tables(tuning)["tune_settings"].to_dict("records")
    keys = [
        (row["n_cells_unassigned"], row["n_cells_changed"],
         1 + (how != "top2mean") + steps[threshold])
        for row, (_, how, threshold) in zip(table, tuning.settings, strict=True)
    ]  # fmt: skip
    assert keys[fewest_unassigned(tuning)] == min(keys)
    assert keys.count(min(keys)) < len({key[:2] for key in keys}) * 4


# ---------------------------------------------------------------------- the ends


def test_a_label_that_only_the_run_has_is_listed():
    """Every setting refuses everything, so that no setting gives the labels of the run."""
    tables = tuning_tables(tuned(base(), "gating min_enrichment.0=50"))
    rows = {row["path"]: row for row in tables["tune_labels"].to_dict("records")}
    assert rows[""]["least_cells"] == 100
    named = [row for path, row in rows.items() if path]
    assert named
    assert all(row["most_cells"] == 0 and row["n_cells"] > 0 for row in named)
    assert all(row["share_stable"] == 0 for row in rows.values())


def test_names_of_clusters_only_rename_the_rows():
    names = {"0": "10", "1": "3:1", "2": "0"}
    first = tuning_tables(tuned(base(), *GRID))
    second = tuning_tables(tuned(run_of(counted(COUNTS).renamed(names)), *GRID))
    for name in ("tune_settings", "tune_labels"):
        assert first[name].to_dict("records") == second[name].to_dict("records")
    rows = {row.pop("cluster_id"): row for row in second["tune_clusters"].to_dict("records")}
    for row in first["tune_clusters"].to_dict("records"):
        name = row.pop("cluster_id")
        assert rows[names[name] if name in names else name] == row


def test_one_name_in_both_sections_is_told_apart():
    """anti_agg is a parameter of scoring and of gating."""
    tuning = tuned(base(), "scoring anti_agg=max,mean", "gating anti_agg=max,mean")
    tables = tuning_tables(tuning)
    assert len(tables["tune_shares"]) == 10 * 4
    assert len(parameter_columns(tuning)) == 2
