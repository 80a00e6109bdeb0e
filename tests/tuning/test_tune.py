"""Labels over a grid are those of a whole run with each setting."""

import json
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from ctr_engine.errors import ParameterError
from ctr_engine.tuning.grid import Axis
from ctr_engine.tuning.tune import tune
from tests.comparison.runs import cells_of, counted, labels, stored
from tests.oracles.run import run_case
from tests.test_oracle_cases import Generator
from tests.tuning.grids import (
    COUNTS,
    MAP,
    RULES,
    axes_of,
    base,
    brute_force,
    parameters,
    paths_of,
    run_of,
    tuned,
    values_of,
)

LEVEL_0_GAP = {"min_gap": {"0": 0.4}}
GRIDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "gates and weights": (
        {},
        ("scoring anti_weight=0,0.8,1.5", "gating min_gap.0=0:0.8:0.4",
         "gating gate_inheritance=true,false"),
    ),
    "thresholds of all levels": (
        {},
        ("gating min_coverage.0=0.5,0.7", "gating min_pos_frac.0=0.2,0.6",
         "gating min_frac_markers_on.0=0.4,1", "gating min_enrichment.1=-0.5,0.5"),
    ),
    "DE": (
        {},
        ("scoring de_top_frac=0.1,1.0", "scoring de_bonus=0,3", "gating root_gap_threshold=0.2,0.6",
         "scoring de_commonness_alpha=0,2"),
    ),
    "DE hits": ({}, ("scoring de_min_k=0,5", "scoring de_max_k=6,12", "scoring de_bonus=4")),
    "anti-markers": (
        {},
        ("scoring anti_agg=max,top2mean,mean", "gating anti_penalty_hard_gate=0.1,0.4,2",
         "gating anti_off_max_positive_fraction=0.05,0.3"),
    ),
    "root rules": (
        {"gating": RULES},
        ("gating root_hard_requirements.R.min_pos_frac=0.2,0.5,0.95", "scoring de_bonus=0,1",
         "gating root_veto_markers.S.max_pos_frac=0:0.6:0.3",
         "gating root_hard_requirements.R.min_enrichment=0.1,1.6"),
    ),
    "the marker of a rule": (
        {"gating": RULES},
        ("gating root_hard_requirements.R.marker=A,B,Nowhere",
         "gating root_hard_requirements.R.min_pos_frac=0.1,0.6"),
    ),
    "positive markers": (
        {},
        ("scoring parent_markers=all,alternatives", "scoring on_min_positive_fraction=0.15,0.65",
         "gating min_pos_frac.0=0.3,0.7"),
    ),
    "one gap takes the place of the other": (
        {}, ("gating root_gap_threshold=0,0.5,1", "gating min_gap.0=0.2,0.7"),
    ),
    "one gap has taken the place of the other": (
        {"gating": LEVEL_0_GAP}, ("gating min_gap.0=0.2,0.7", "gating root_gap_threshold=0,0.5,1"),
    ),
    "levels that nobody had given": (
        {}, ("gating min_enrichment.5=0,1", "gating min_gap.3=0,1",
             "gating min_enrichment.2=-1,0.5"),
    ),
    "what gives no label": (
        {}, ("gating max_ambiguity=2:4:1", "gating per_cell_gap_threshold=0,1"),
    ),
    "adaptive": (
        {"profile": "adaptive"},
        ("gating gate_inheritance=false,true", "gating min_gap.1=0,0.3",
         "scoring anti_weight=0.2,1"),
    ),
    "a preset": (
        {"preset": "conservative"}, ("gating min_coverage.0=0.55,0.7", "scoring anti_agg=max,mean"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_every_setting_gives_the_labels_of_a_whole_run(name):
    raw, texts = GRIDS[name]
    run = run_of(**raw)
    tuning = tuned(run, *texts)
    paths, ambiguous = brute_force(counted(COUNTS), run, tuning.axes, tuning.settings)
    assert paths_of(tuning) == paths
    assert tuning.ambiguous.tolist() == ambiguous
    own = list(labels(run).values())
    assert tuning.kept.tolist() == [
        [path == known for path, known in zip(row, own, strict=True)] for row in paths
    ]


def test_the_grids_move_labels():
    moved = []
    for name, (raw, texts) in GRIDS.items():
        tuning = tuned(run_of(**raw), *texts)
        if len(np.unique(tuning.places, axis=0)) > 1:
            moved.append(name)
    assert set(GRIDS) - set(moved) == {"what gives no label"}


def test_the_anti_aggregation_may_be_given_among_the_gating():
    """As in a run: it counts where scoring gives none."""
    run = base()
    tuning = tuned(
        run, "gating anti_agg=max,top2mean,mean", "gating anti_penalty_hard_gate=0.1,0.4"
    )
    paths, _ = brute_force(counted(COUNTS), run, tuning.axes, tuning.settings)
    assert len({tuple(row) for row in paths}) > 1
    assert paths_of(tuning) == paths


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        ({}, ("scoring de_min_k=13,14", "scoring de_max_k=15,20")),
        ({}, ("scoring de_max_k=15,20", "scoring de_min_k=13,14")),
        ({"scoring": {"de_min_k": 13, "de_max_k": 20}}, ("scoring de_min_k=13,14",)),
        ({"scoring": {"de_min_k": 1, "de_max_k": 2}}, ("scoring de_max_k=1,2",)),
    ],
)
def test_limits_that_bound_each_other_are_allowed_where_each_setting_is(raw, texts):
    run = run_of(**raw)
    tuning = tuned(run, *texts)
    paths, _ = brute_force(counted(COUNTS), run, tuning.axes, tuning.settings)
    assert paths_of(tuning) == paths


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        ({"scoring": {"de_min_k": 1, "de_max_k": 2}}, ("scoring de_min_k=1,3",)),
        ({}, ("scoring de_min_k=3,8", "scoring de_max_k=5,12")),
    ],
)
def test_limits_that_bound_each_other_are_refused_in_words(raw, texts):
    with pytest.raises(ParameterError, match=r"de_min_k \d is above de_max_k \d"):
        tuned(run_of(**raw), *texts)


def test_axes_in_any_order_give_the_same_labels():
    texts = (
        "scoring anti_weight=0,1.5",
        "gating min_gap.0=0,0.8",
        "gating gate_inheritance=true,false",
        "gating min_enrichment.0=-1,0.4",
    )
    seen = []
    for order in permutations(texts):
        tuning = tuned(base(), *order)
        by_values = zip(tuning.settings, paths_of(tuning), strict=True)
        seen.append({frozenset(values_of(s, tuning.axes).items()): paths for s, paths in by_values})
        assert [axis.name for axis in tuning.axes] == [
            text.split(" ")[1].split("=")[0] for text in order
        ]
    assert all(found == seen[0] for found in seen)
    assert len(seen[0]) == 16


def test_progress_counts_every_setting_once():
    done: list[int] = []
    texts = ("scoring anti_weight=0,1", "gating min_gap.0=0,1", "gating min_gap.1=0:1:0.5")
    tuning = tune(base(), axes_of(*texts), done.append)
    assert sum(done) == len(tuning.settings) == 12
    assert len(done) == 4, "min_gap.1 alone is a threshold of the run; settings of it go in one"


def test_scores_are_made_once_for_settings_that_differ_in_thresholds(monkeypatch):
    import ctr_engine.stored as module

    run, calls = run_of(), []
    scored = module.node_scores
    monkeypatch.setattr(module, "node_scores", lambda *a: calls.append(1) or scored(*a))
    assert run.decider.n_clusters == 10
    tuned(run, "gating min_enrichment.0=-1:1:0.01", "scoring anti_weight=0,1,2")
    assert len(calls) == 1 + 3


def test_every_fault_of_a_grid_is_found_before_the_work(monkeypatch):
    run = run_of()
    assert run.decider.n_clusters == 10
    monkeypatch.setattr("ctr_engine.stored.node_scores", lambda *_: pytest.fail("it began"))
    with pytest.raises(ParameterError, match=r"--scoring: anti_weight: .* got -2"):
        tuned(run, "gating min_gap.0=0,1", "scoring anti_weight=0,1,-2")
    with pytest.raises(ParameterError, match=r"--gating: min_coverage.0: .* got 1.1"):
        tuned(run, "gating min_coverage.0=0.9:1.1:0.1")


def test_a_value_of_the_run_keeps_its_labels():
    run = base()
    tuning = tuned(run, "gating root_gap_threshold=0.25", "scoring anti_weight=0.8")
    assert tuning.kept.all()
    assert paths_of(tuning) == [list(labels(run).values())]


def test_what_turns_nothing_is_named():
    tuning = tuned(
        base(),
        "gating min_coverage.7=0,1",
        "gating min_gap.0=0.1,0.2",
        "gating max_ambiguity=2,3",
        "gating root_gap_threshold=0.1",
        "scoring de_bonus=0",
        "gating gate_inheritance=true",
        "gating anti_agg=max",
        "gating min_gap.1=0.1",
    )
    assert tuning.idle == ("min_coverage.7", "max_ambiguity", "root_gap_threshold")
    assert tuned(base(), "gating root_gap_threshold=0.1,0.9").idle == ()


# ---------------------------------------------------------------------- single cell types

OWN = "gating gating_overrides.R / Y.min_enrichment=-1,-0.2,0.55"


@pytest.mark.parametrize(
    "texts", [(OWN,), (OWN, "scoring anti_weight=0,1"), ("gating min_enrichment.1=-1,0.7", OWN)]
)
def test_a_threshold_of_one_cell_type_is_that_of_the_map(texts):
    tuning = tuned(base(), *texts)
    place = [axis.name for axis in tuning.axes].index("gating_overrides.R / Y.min_enrichment")
    others = [axis for axis in tuning.axes if not axis.name.startswith("gating_overrides")]
    for setting, paths in zip(tuning.settings, paths_of(tuning), strict=True):
        content = json.loads(json.dumps(MAP))
        content["R"]["subtypes"]["Y"]["gating_overrides"] = {"min_enrichment": setting[place]}
        values = [v for i, v in enumerate(setting) if i != place]
        raw = parameters(base(), others, values)
        assert list(labels(stored(counted(COUNTS), content, **raw)).values()) == paths


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "gating_overrides.R.min_gap=1",
            "the map has no such threshold; it has: gating_overrides.",
        ),
        ("gating_overrides.R / Y.min_enrichment=a", "'a' is not between -inf and inf"),
        ("gating_overrides.R / Y.min_enrichment=true", "True is not between -inf and inf"),
    ],
)
def test_a_threshold_that_the_map_does_not_have(text, words):
    with pytest.raises(ParameterError) as error:
        tuned(base(), f"gating {text}")
    assert words in str(error.value)


# ---------------------------------------------------------------------- against the slow oracle

CHOICES = {
    "gating min_coverage.0": (0.1, 0.6),
    "gating min_pos_frac.1": (0.0, 0.5),
    "gating min_enrichment.0": (-1.0, 0.3),
    "gating min_enrichment.4": (-1.0, 0.7),
    "gating min_gap.0": (0.0, 0.5, 1.5),
    "gating min_gap.1": (0.0, 0.8),
    "gating root_gap_threshold": (0.0, 0.7),
    "gating anti_penalty_hard_gate": (0.2, 3.0),
    "gating gate_inheritance": (True, False),
    "scoring anti_weight": (0.0, 1.7),
    "scoring anti_agg": ("max", "mean"),
    "scoring de_bonus": (0.0, 2.0),
    "scoring de_top_frac": (0.1, 1.0),
    "scoring on_min_positive_fraction": (0.05, 0.6),
    "scoring parent_markers": ("all", "alternatives"),
}


def expected(case: dict[str, Any], axes: list[Axis], setting: tuple[Any, ...]) -> list[str]:
    """Paths of the oracle with a setting over the parameters of the case."""
    gating = {key: value for key, value in case["gating"].items() if key != "level_defaults"}
    levels = case["gating"]["level_defaults"] if "level_defaults" in case["gating"] else {}
    for number, thresholds in levels.items():
        for name, value in thresholds.items():
            gating[name] = {**(gating[name] if name in gating else {}), number: value}
    scoring = dict(case["scoring"])
    for axis, value in zip(axes, setting, strict=True):
        name, _, number = axis.name.partition(".")
        if axis.section == "scoring":
            scoring[name] = value
        elif number:
            gating[name] = {**(gating[name] if name in gating else {}), number: value}
        else:
            gating[name] = value
    rows = run_case(**{**case, "gating": gating, "scoring": scoring}, de=None)
    return [row["assigned_path"] for row in rows["cluster_annotations"]]


@pytest.mark.parametrize("seed", range(16))
def test_random_grids_give_the_labels_of_the_slow_oracle(seed):
    random = Generator(1000 + seed)
    case = random.case()
    axes = []
    for text in random.pick(list(CHOICES), 3):
        section, name = text.split(" ")
        axes.append(Axis("scoring" if section == "scoring" else "gating", name, CHOICES[text]))
    raw = {name: case[name] for name in ("profile", "scoring", "gating")}
    tuning = tune(stored(cells_of(case), case["marker_map"], **raw), axes)
    found = paths_of(tuning)
    assert found == [expected(case, axes, setting) for setting in tuning.settings]


# ---------------------------------------------------------------------- properties of the whole

GRID = ("gating min_gap.0=0,0.8", "scoring anti_weight=0,1.5", "gating min_enrichment.0=-1,0.4")


def test_the_order_of_the_cells_does_not_matter():
    order = np.random.default_rng(0).permutation(100).tolist()
    first, second = tuned(base(), *GRID), tuned(run_of(counted(COUNTS).take(order)), *GRID)
    np.testing.assert_array_equal(first.places, second.places)
    np.testing.assert_array_equal(first.ambiguous, second.ambiguous)


def test_names_of_clusters_only_move_the_columns():
    names = {"0": "10", "1": "3:1", "2": "0", "3": "A", "4": "2"}
    first = tuned(base(), *GRID)
    second = tuned(run_of(counted(COUNTS).renamed(names)), *GRID)
    ids = second.decider.cluster_ids
    columns = [
        ids.index(names[name] if name in names else name) for name in first.decider.cluster_ids
    ]
    assert columns != list(range(10))
    np.testing.assert_array_equal(first.places, second.places[:, columns])


def test_the_map_of_the_grids_has_every_kind_of_node():
    run = base()
    assert [node.path for node in run.marker_map.nodes][:5] == [
        "R", "R / X", "R / X / P", "R / X / Q", "R / Y",
    ]  # fmt: skip
    assert "S" in MAP
    assert len(set(labels(run).values())) >= 4
