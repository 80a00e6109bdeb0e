"""Plans carried out and scored, and iterations until nothing moves."""

import numpy as np
import pandas as pd
import pytest

from ctr_engine.cluster_statistics import cluster_statistics
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.convergence import (
    clusters_as_sets,
    iterate,
    mean_score,
    unassigned_cells,
)
from ctr_engine.refinement.criteria import diagnose
from ctr_engine.refinement.engine import Sample, Scored, execute, score_partition
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.plan import Merge, Override, Plan, Relabel, Subcluster, plan_of
from ctr_engine.refinement.proposals import Policy, propose
from tests.builders import expression, marker_map

MARKERS = ["Pan-CK", "CD45", "CD3", "CD20", "Ki67", "VIM"]
MAP = marker_map(
    {
        "Epithelium": {"markers": ["Pan-CK"], "anti_markers": ["CD45"]},
        "Immune Cells": {
            "markers": ["CD45"],
            "subtypes": {
                "T Cells": {"markers": ["CD3"], "anti_markers": ["CD20"]},
                "B Cells": {"markers": ["CD20"], "anti_markers": ["CD3"]},
            },
        },
    }
)
TYPES = {"E": [3, 0, 0, 0, 1, 1], "T": [0, 3, 3, 0, 1, 1], "B": [0, 3, 0, 3, 1, 1]}


def sample(counts: str = "E" * 80 + "T" * 40 + "B" * 40, **refinement) -> Sample:
    random = np.random.default_rng(1)
    rows = np.array([TYPES[letter] for letter in counts]) + random.normal(0, 0.4, (len(counts), 6))
    params = RefinementParams.model_validate({"min_cells": 30, **refinement})
    return Sample(expression(rows, MARKERS), MAP, AnalysisParams(), params)


def started(made: Sample, clusters: str) -> Scored:
    ids = np.array(list(clusters), dtype=object)
    return score_partition(made, Partition(made.view.cell_ids.astype(object), ids, {}), {})


def labels(scored: Scored) -> dict[str, str]:
    return {state.cluster_id: state.label for state in scored.states}


def auto(made: Sample, scored: Scored) -> Plan:
    return propose(Policy(), made, scored, (), first=True).plan


MIXED = "0" * 80 + "1" * 80
"""Cluster 1 holds T and B cells."""


def test_a_planted_mixture_is_divided_and_named():
    made = sample()
    before = started(made, MIXED)
    assert labels(before) == {"0": "Epithelium", "1": "Immune Cells"}
    rounds = list(iterate(made, before, Policy()))
    after = rounds[-1].iteration.after
    assert labels(after) == {"0": "Epithelium", "1:0": "T Cells", "1:1": "B Cells"}
    assert after.partition.clusters.tolist() == ["0"] * 80 + ["1:0"] * 40 + ["1:1"] * 40
    assert [one.stop_reason for one in rounds] == [None, "no_candidates"]
    row = rounds[0].iteration.log.iloc[0]
    assert (row["op"], row["clusters"], row["new_clusters"]) == (
        "subcluster",
        ["1"],
        ["1:0", "1:1"],
    )
    assert row["labels_after"] == ["T Cells", "B Cells"]
    assert row["score_after"] > row["score_before"]
    parts = [state.confidence for state in after.states if state.cluster_id.startswith("1")]
    assert row["confidence_after"] == min(parts)
    assert row["confidence_before"] == before.states[1].confidence


def test_parts_are_scored_against_all_cells_and_not_against_each_other():
    made = sample()
    plan = plan_of([Subcluster(source="auto", cluster="1", resolution=0.4)], ["0", "1"])
    after = execute(made, started(made, MIXED), plan).after
    whole = cluster_statistics(made.view, after.partition.clusters.tolist(), made.params.scoring)
    pd.testing.assert_frame_equal(after.annotation.tables["reference_values"], whole.reference)
    pd.testing.assert_frame_equal(after.annotation.tables["cluster_statistics"], whole.clusters)
    first = started(made, MIXED).annotation.tables["reference_values"]
    pd.testing.assert_frame_equal(after.annotation.tables["reference_values"], first)


def test_an_empty_plan_changes_nothing():
    made = sample()
    before = started(made, MIXED)
    after = execute(made, before, plan_of([], ["0", "1"])).after
    assert after.states == before.states
    assert clusters_as_sets(after) == clusters_as_sets(before)


def test_the_same_plan_twice_gives_the_same():
    made = sample()
    before = started(made, MIXED)
    plan = auto(made, before)
    first, second = (execute(made, before, plan) for _ in range(2))
    assert first.after.states == second.after.states
    pd.testing.assert_frame_equal(first.log, second.log)


def test_a_label_that_somebody_gave_stays_and_its_score_is_that_of_its_node():
    made = sample()
    before = started(made, MIXED)
    operations = [
        Override(source="manual", cluster="0", label="Tumour", path=None),
        Relabel(source="manual", cluster="1", label="B Cells", path="Immune Cells / B Cells"),
    ]
    after = execute(made, before, plan_of(operations, ["0", "1"])).after
    tumour, b_cells = after.states
    assert (tumour.label, tumour.path, tumour.score) == ("Tumour", "", None)
    assert (tumour.held, tumour.overridden) == (True, True)
    assert (b_cells.label, b_cells.held, b_cells.overridden) == ("B Cells", True, False)
    scores = after.annotation.tables["marker_scores"].set_index(["cluster_id", "path"])["score"]
    assert b_cells.score == scores["1", "Immune Cells / B Cells"]
    assert unassigned_cells(after) == 0
    again = execute(made, after, plan_of([], ["0", "1"])).after
    assert labels(again) == {"0": "Tumour", "1": "B Cells"}
    report = diagnose(after.states, after.decider, after.positive_fraction, made.refinement)
    reasons = report.set_index("cluster_id")["reason"]
    assert reasons["0"] == "manual"


def test_what_does_not_come_apart_is_not_tried_again():
    made = sample("E" * 80 + "T" * 80, score_threshold=99.0, resolution=0.01)
    before = started(made, "0" * 80 + "1" * 80)
    first = execute(made, before, auto(made, before))
    assert first.log["outcome"].tolist() == ["unsplittable", "unsplittable"]
    assert first.log["labels_after"].tolist() == first.log["labels_before"].tolist()
    assert auto(made, first.after).operations == ()
    report = diagnose(
        first.after.states, first.after.decider, first.after.positive_fraction, made.refinement
    )
    assert report["reason"].tolist() == ["converged", "converged"]


def test_a_try_at_another_resolution_says_nothing_about_this_one():
    made = sample("E" * 160)
    before = started(made, "0" * 160)
    by_hand = plan_of([Subcluster(source="manual", cluster="0", resolution=0.01)], ["0"])
    assert not execute(made, before, by_hand).after.states[0].unsplittable


def test_other_parameters_or_cells_are_tried_again():
    made = sample("E" * 160, resolution=0.01)
    before = started(made, "0" * 160)
    plan = plan_of([Subcluster(source="auto", cluster="0", resolution=0.01)], ["0"])
    after = execute(made, before, plan).after
    assert set(after.unsplittable) == {"0"}
    assert after.states[0].unsplittable
    other = Sample(made.view, made.marker_map, made.params, RefinementParams(resolution=2.0))
    assert not score_partition(other, after.partition, after.unsplittable).states[0].unsplittable
    merged = Partition(
        after.partition.cell_ids, np.array(["0"] * 100 + ["1"] * 60, dtype=object), {}
    )
    assert not score_partition(made, merged, after.unsplittable).states[0].unsplittable


EAGER = {"score_threshold": 99.0, "max_iterations": 9, "min_cells": 20}
FINER = EAGER | {"min_cells": 5, "min_subcluster_cells": 2, "resolution": 2.0}


@pytest.mark.parametrize(
    ("params", "stops"),
    [
        ({"max_iterations": 1}, ["iteration_limit"]),
        ({}, [None, "no_candidates"]),
        (EAGER, [None, "set_equivalence"]),  # the parts do not come apart
        (FINER | {"score_plateau": 50.0}, [None, "score_plateau"]),
        (FINER | {"score_plateau": 0.0, "max_iterations": 2}, [None, "iteration_limit"]),
    ],
)
def test_each_way_in_which_iterations_end(params, stops):
    made = sample(**params)
    rounds = list(iterate(made, started(made, MIXED), Policy()))
    assert [one.stop_reason for one in rounds] == stops


def test_a_merge_and_its_label_are_seen_by_set_equivalence():
    made = sample()
    before = started(made, "0" * 80 + "1" * 40 + "2" * 40)
    plan = plan_of([Merge(source="manual", clusters=("1", "2"))], ["0", "1", "2"])
    after = execute(made, before, plan).after
    assert after.partition.ids == ("0", "1")
    assert labels(after)["1"] == "Immune Cells"
    assert clusters_as_sets(after) == clusters_as_sets(started(made, MIXED))
    assert mean_score(after) == pytest.approx(mean_score(started(made, MIXED)))
