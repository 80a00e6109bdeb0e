"""The planted faults show at the defaults, go with their remedy, and nothing else moves.

At 2,000 cells they were tried on the seeds 0 to 9; these tests run 0, those of refinement 0 to 2.
All remedies work on all ten. By chance there is nothing to mend on seed 4 of weak-anti-markers and
on 3 and 8 of rare-type, and on seed 9 of refines-too-little the plasma cells are apart at once; on
seed 5 of unstable-clusters 6 % of the labels move with the other seed of Leiden, else 16 % or more.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from ctr_engine.errors import ParameterError
from ctr_engine.markers.parse import parse_marker_map
from ctr_engine.scenarios import SCENARIOS, make_scenario
from tests.cli.test_annotate import ctr, words

RIGHT = 0.95
MOSTLY_RIGHT = 0.9  # of two types that refinement divides, the worst seed has 0.93
SEEDS = (0, 1, 2)
T_CELLS = "Immune Cells / T Cells"
MACROPHAGES = "Immune Cells / Macrophages"
NK_CELLS = "Immune Cells / NK Cells"
CYTOTOXIC = "Immune Cells / Cytotoxic T Cells"
REGULATORY = f"{T_CELLS} / Regulatory T Cells"
BOTH_T_CELLS = (f"{T_CELLS} / CD4 T Cells", f"{T_CELLS} / CD8 T Cells")
B_CELLS, PLASMA_CELLS = "Immune Cells / B Cells", "Immune Cells / Plasma Cells"
MYOEPITHELIUM = "Epithelium / Myoepithelial Cells"
IMMUNE = (
    f"{T_CELLS} / CD4 T Cells",
    f"{T_CELLS} / CD8 T Cells",
    "Immune Cells / B Cells",
    MACROPHAGES,
)
EPITHELIA = ("Epithelium / Ciliated Epithelium", "Epithelium / Secretory Epithelium")
SEED = ("--random-seed", 42)
COARSE = ("--resolution", 0.08, "--skip-refinement")
VETO = '{"root_veto_markers": {"Stromal Cells": {"markers": ["CD68"], "max_pos_frac": 0.3}}}'


def coverage(value: float) -> tuple[str, str]:
    return "--gating-params", f'{{"level_defaults": {{"0": {{"min_coverage": {value}}}}}}}'


@dataclass(frozen=True)
class Bench:
    """A scenario as files, and the runs on it."""

    folder: Path

    def run(self, *flags: object, fixed: bool = False, source: str = "sample.h5ad") -> pd.DataFrame:
        """Annotate, and give the cells with their true path, found path and cluster."""
        marker_map = self.folder / ("marker_map_fixed.json" if fixed else "marker_map.json")
        out = self.folder / f"run{len(list(self.folder.glob('run*')))}"
        result = ctr(
            "annotate",
            self.folder / source,
            *("--marker-map", marker_map, "--output-dir", out, "--no-figures", *flags),
        )
        assert result.exit_code == 0, words(result)
        obs = anndata.read_h5ad(out / "coarse_clusters.h5ad").obs
        named = {"cell_type": "truth", "cell_type_auto_path": "found", "cluster_lvl0": "cluster"}
        cells = obs[[*named]].astype(str).rename(columns=named)
        cells.attrs["folder"] = out
        return cells

    def refine(self, annotated: pd.DataFrame, *flags: object) -> pd.DataFrame:
        """Refine a run once, and give the cells with their true path, found path and cluster."""
        out = self.folder / f"refined{len(list(self.folder.glob('refined*')))}"
        source = annotated.attrs["folder"] / "coarse_clusters.h5ad"
        result = ctr("refine", source, "--auto", "--execute", "--output-dir", out, *flags)
        assert result.exit_code == 0, words(result)
        obs = anndata.read_h5ad(out / "refined.h5ad").obs
        named = {"cell_type": "truth", "cell_type_lvl1": "found", "cluster_lvl1": "cluster"}
        cells = obs[[*named]].astype(str).rename(columns=named)
        path_of = {path.rpartition(" / ")[2]: path for path in cells["truth"].unique()}
        cells["found"] = cells["found"].replace(path_of)
        cells.attrs["folder"] = out
        return cells


def table(cells: pd.DataFrame, name: str) -> pd.DataFrame:
    ids = {"cluster_id": str, "cluster_lvl0": str}
    return pd.read_csv(cells.attrs["folder"] / f"{name}.csv", dtype=ids)


def right(cells: pd.DataFrame) -> dict[str, float]:
    """Share of the cells of each true type that have exactly its path."""
    return (cells["truth"] == cells["found"]).groupby(cells["truth"]).mean().to_dict()


def main_cluster(cells: pd.DataFrame, truth: str) -> str:
    """Cluster with the most cells of a true type."""
    return str(cells.loc[cells["truth"] == truth, "cluster"].mode().iloc[0])


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Callable[..., Bench]:
    @cache
    def build(name: str, seed: int = 0) -> Bench:
        folder = tmp_path_factory.mktemp(name)
        sample, faulty, mended = make_scenario(name, random_state=seed)
        sample.write_h5ad(folder / "sample.h5ad")
        (folder / "marker_map.json").write_text(json.dumps(faulty))
        if mended is not None:
            (folder / "marker_map_fixed.json").write_text(json.dumps(mended))
        return Bench(folder)

    return build


@pytest.fixture(scope="module")
def first_run(bench) -> Callable[[str], pd.DataFrame]:
    """Give the run with the faulty map and nothing else set."""
    return cache(lambda name: bench(name).run())


@pytest.fixture(scope="module")
def coarse_run(bench) -> Callable[..., pd.DataFrame]:
    """Give the run at a low resolution, which refinement starts from."""
    return cache(lambda name, seed, fixed=False: bench(name, seed).run(*COARSE, fixed=fixed))


@dataclass(frozen=True)
class Remedy:
    """What mends which types, and what they are called before; ``left`` stay as they are."""

    scenario: str
    affected: tuple[str, ...]
    called: str
    flags: tuple[str, ...] = ()
    fixed: bool = False
    left: tuple[str, ...] = ()


REMEDIES = [
    Remedy("missing-alias", IMMUNE, "", fixed=True),
    Remedy("sparse-panel", ("Epithelium",), "", coverage(0.40), left=IMMUNE),
    Remedy("sparse-panel", ("Epithelium", *IMMUNE), "", coverage(0.30)),
    Remedy(
        "stops-early",
        EPITHELIA,
        "Epithelium",
        ("--gating-params", '{"level_defaults": {"1": {"min_gap": 0.1}}}'),
    ),
    Remedy("stops-early", EPITHELIA, "Epithelium", fixed=True),
    Remedy(
        "no-anti-markers",
        (MACROPHAGES,),
        "Stromal Cells / Fibroblasts",
        ("--gating-params", VETO),
        left=(NK_CELLS,),
    ),
    Remedy("weak-anti-markers", (NK_CELLS,), CYTOTOXIC, fixed=True),
    Remedy(
        "weak-anti-markers", (NK_CELLS,), CYTOTOXIC, ("--scoring-params", '{"anti_agg": "max"}')
    ),
    Remedy(
        "weak-anti-markers", (NK_CELLS,), CYTOTOXIC, ("--scoring-params", '{"anti_weight": 1.2}')
    ),
    Remedy("wrong-tissue", (MYOEPITHELIUM,), "Smooth Muscle", fixed=True),
]


@pytest.mark.parametrize(
    "remedy", REMEDIES, ids=lambda r: f"{r.scenario}-{'map' if r.fixed else r.flags[-1]}"
)
def test_a_fault_shows_and_goes_with_its_remedy(remedy, bench, first_run):
    before = first_run(remedy.scenario)
    after = bench(remedy.scenario).run(*remedy.flags, fixed=remedy.fixed)
    wrong, mended = right(before), right(after)
    faulty = {*remedy.affected, *remedy.left}
    assert {path: wrong[path] for path in faulty} == dict.fromkeys(faulty, 0)
    assert {path: mended[path] for path in remedy.left} == dict.fromkeys(remedy.left, 0)
    assert min(mended[path] for path in remedy.affected) > RIGHT
    assert min(share for path, share in wrong.items() if path not in faulty) > RIGHT
    assert min(share for path, share in mended.items() if path not in remedy.left) > RIGHT
    moved = before["found"] != after["found"]
    assert set(before.loc[moved, "found"]) == {remedy.called}
    assert set(after.loc[moved, "found"]) == set(remedy.affected)
    assert (before["cluster"] == after["cluster"]).all()


def test_the_mended_map_of_no_anti_markers_mends_both_faults(bench, first_run):
    before, after = first_run("no-anti-markers"), bench("no-anti-markers").run(fixed=True)
    assert [right(before)[path] for path in (NK_CELLS, MACROPHAGES)] == [0, 0]
    assert min(right(after).values()) > RIGHT
    moved = before["found"] != after["found"]
    pairs = set(zip(before.loc[moved, "found"], after.loc[moved, "found"], strict=True))
    assert pairs == {(CYTOTOXIC, NK_CELLS), ("Stromal Cells / Fibroblasts", MACROPHAGES)}


def test_a_missing_alias_refuses_the_root_for_want_of_its_marker(first_run):
    cells = first_run("missing-alias")
    steps = table(cells, "decision_steps")
    immune = steps[steps["child_path"] == "Immune Cells"]
    assert set(immune["fail_reason"]) == {"root_hard_requirement"}
    assert set(immune["fail_marker"]) == {"CD45"}
    assert immune["fail_value"].isna().all()
    # Immune cells are 0.38 of the profiles; three standard deviations of that share are 0.033.
    assert (cells["found"] == "").mean() == pytest.approx(0.38, abs=0.04)


def test_a_sparse_panel_fails_the_coverage_of_two_roots(first_run):
    steps = table(first_run("sparse-panel"), "decision_steps")
    failed = steps[steps["fail_reason"] == "low_coverage"]
    covered = failed.groupby("child_path")["child_coverage"].unique()
    assert covered.loc["Epithelium"] == pytest.approx([3 / 7])
    assert covered.loc["Immune Cells"] == pytest.approx([3 / 8])


def test_close_siblings_lead_by_less_than_the_gap(first_run):
    cells = first_run("stops-early")
    clusters = table(cells, "cluster_annotations").set_index("cluster_id")
    stopped = clusters.loc[[main_cluster(cells, path) for path in EPITHELIA]]
    assert set(stopped["stop_reason"]) == {"ambiguous_siblings"}
    assert stopped["confidence"].between(0.1, 0.3).all()


def test_a_rare_type_gets_a_cluster_of_its_own_at_a_higher_resolution(bench, first_run):
    before, after = first_run("rare-type"), bench("rare-type").run("--resolution", 2)
    assert 0.005 < (before["truth"] == REGULATORY).mean() < 0.02
    assert main_cluster(before, REGULATORY) == main_cluster(before, f"{T_CELLS} / CD4 T Cells")
    assert right(before)[REGULATORY] == 0
    own = after[after["cluster"] == main_cluster(after, REGULATORY)]
    assert (own["truth"] == REGULATORY).mean() > 0.8
    assert right(after)[REGULATORY] > 0.9  # one cell of some twenty may sit elsewhere
    for cells in (before, after):
        assert min(share for path, share in right(cells).items() if path != REGULATORY) > RIGHT


@pytest.mark.parametrize(
    ("scenario", "truth", "called"),
    [
        ("no-anti-markers", NK_CELLS, CYTOTOXIC),
        ("no-anti-markers", MACROPHAGES, "Stromal Cells / Fibroblasts"),
        ("wrong-tissue", MYOEPITHELIUM, "Smooth Muscle"),
    ],
)
def test_a_wrong_label_can_be_more_confident_than_the_right_one(scenario, truth, called, first_run):
    cells = first_run(scenario)
    clusters = table(cells, "cluster_annotations").set_index("cluster_id")
    wrong = clusters.loc[main_cluster(cells, truth)]
    assert (wrong["assigned_path"], wrong["stop_reason"]) == (called, "leaf_reached")
    assert wrong["confidence"] > 1
    if scenario == "wrong-tissue" or truth == NK_CELLS:
        assert wrong["confidence"] > clusters.loc[main_cluster(cells, called), "confidence"]


@pytest.mark.parametrize(
    ("scoring", "refused"),
    [("{}", False), ('{"anti_agg": "max"}', True), ('{"anti_weight": 1.2}', True)],
)
def test_a_stricter_penalty_crosses_the_hard_gate(scoring, refused, bench):
    cells = bench("weak-anti-markers").run("--scoring-params", scoring)
    steps = table(cells, "decision_steps").set_index(["cluster_id", "child_path"])
    cytotoxic = steps.loc[(main_cluster(cells, NK_CELLS), CYTOTOXIC)]
    assert (cytotoxic["child_anti_penalty"] > 1) == refused
    assert (cytotoxic["fail_reason"] == "anti_conflict") == refused


def test_another_seed_moves_clusters_and_labels_and_the_same_seed_nothing(bench, first_run):
    unstable = bench("unstable-clusters")
    first, again, other = first_run("unstable-clusters"), unstable.run(), unstable.run(*SEED)
    assert again.equals(first)
    assert adjusted_rand_score(first["cluster"], other["cluster"]) < 0.9
    assert (first["found"] != other["found"]).mean() > 0.1
    apart = ~first["truth"].str.startswith("Epithelium")
    assert (first["found"] == other["found"])[apart].mean() > 0.99
    assert min(right(first[apart]).values()) > RIGHT


def test_kept_clusters_take_new_thresholds(bench, first_run):
    unstable, first = bench("unstable-clusters"), first_run("unstable-clusters")
    keep = ("--annotation-only", "--layer", "stage_h_input")
    source = f"{first.attrs['folder'].name}/coarse_clusters.h5ad"
    same = unstable.run(*keep, source=source)
    assert same.equals(first)
    params = ("--gating-params", '{"level_defaults": {"1": {"min_gap": 5}}}')
    strict = unstable.run(*keep, *params, source=source)
    assert (strict["cluster"] == first["cluster"]).all()
    assert {path for path in strict["found"] if path.startswith("Epithelium")} == {"Epithelium"}


def params(**values: float) -> tuple[str, str]:
    return "--refinement-params", json.dumps(values)


def preset(name: str) -> tuple[str, str]:
    return "--refinement-preset", name


def found_by(cells: pd.DataFrame, label: str) -> tuple[str | None, str | None]:
    """Criterion that holds for the cluster of a label, and the reason why nothing is done."""
    row = table(cells, "diagnostic_report").set_index("current_label").loc[label]
    criterion, reason = (None if pd.isna(row[n]) else row[n] for n in ("criterion", "reason"))
    return criterion, reason


@dataclass(frozen=True)
class Refined:
    """What refinement makes of a coarse run: which types are wrong, and what was found, why not."""

    wrong: tuple[str, ...]
    criterion: str | None
    reason: str | None = None
    flags: tuple[str, ...] = ()
    fixed: bool = False
    seeds: tuple[int, ...] = (0,)


SPARED = {"score_threshold": 0.3, "weak_leaf_score": 0.3}
TOO_MUCH = [  # criterion and reason are those of the tumour
    Refined(("Epithelium",), "low_confidence", seeds=SEEDS),
    Refined(("Epithelium",), "low_confidence", flags=params(score_threshold=1.5)),
    Refined(("Epithelium",), "low_confidence", flags=preset("aggressive")),
    Refined(("Epithelium",), "weak_leaf", flags=params(score_threshold=0.3), seeds=SEEDS),
    Refined((), None, flags=params(**SPARED), seeds=SEEDS),
    Refined(BOTH_T_CELLS, "low_confidence", "too_small", flags=preset("conservative")),
    Refined((), None, fixed=True, seeds=SEEDS),
]
FOCUS = ("--focus-labels", "Immune Cells")
TOO_LITTLE = [  # criterion and reason are those of the B cells
    Refined((*BOTH_T_CELLS, PLASMA_CELLS), None, seeds=SEEDS),
    Refined((PLASMA_CELLS,), None, flags=params(min_cells=100), seeds=SEEDS),
    Refined((PLASMA_CELLS,), None, flags=preset("aggressive")),
    Refined(
        (*BOTH_T_CELLS, PLASMA_CELLS),
        "low_confidence",
        "too_small",
        flags=params(score_threshold=3),
    ),
    Refined(
        (),
        "low_confidence",
        flags=(*params(min_cells=100, score_threshold=3), *FOCUS),
        seeds=SEEDS,
    ),
    Refined((), "weak_leaf", flags=params(min_cells=100, weak_leaf_score=3), seeds=SEEDS),
]


def by_seed(cases: list[Refined]) -> list:
    return [
        pytest.param(one, seed, id=f"{'map' if one.fixed else '-'.join(one.flags)}-{seed}")
        for one in cases
        for seed in one.seeds
    ]


@pytest.mark.parametrize(("case", "seed"), by_seed(TOO_MUCH))
def test_what_divides_a_tumour_that_is_whole_and_what_spares_it(case, seed, bench, coarse_run):
    before = coarse_run("refines-too-much", seed, fixed=case.fixed)
    after = bench("refines-too-much", seed).refine(before, *case.flags)
    assert right(before)["Epithelium"] > RIGHT
    assert {right(before)[path] for path in BOTH_T_CELLS} == {0}
    assert found_by(after, "Epithelium") == (case.criterion, case.reason)
    assert found_by(after, "T Cells")[0] == "mixed_population"
    shares, tumour = right(after), after[after["truth"] == "Epithelium"]
    whole = main_cluster(before, "Epithelium")
    parts = {name for name in tumour["cluster"] if name.startswith(f"{whole}:")}
    if "Epithelium" in case.wrong:
        assert parts == {f"{whole}:0", f"{whole}:1"}
        assert set(tumour["found"]) == {"Epithelium", "Endothelium"}
        assert 0.7 < shares["Epithelium"] < 0.8  # a quarter is planted; seen are 0.72 to 0.76
    else:
        assert parts == set()
        assert shares["Epithelium"] > RIGHT
    t_cells = [shares[path] for path in BOTH_T_CELLS]
    assert t_cells == [0, 0] if BOTH_T_CELLS[0] in case.wrong else min(t_cells) > MOSTLY_RIGHT
    assert min(shares[path] for path in {*shares} - {"Epithelium", *BOTH_T_CELLS}) > RIGHT


@pytest.mark.parametrize(("case", "seed"), by_seed(TOO_LITTLE))
def test_what_leaves_a_mixture_together_and_what_divides_it(case, seed, bench, coarse_run):
    before = coarse_run("refines-too-little", seed)
    after = bench("refines-too-little", seed).refine(before, *case.flags)
    for pair in (BOTH_T_CELLS, (B_CELLS, PLASMA_CELLS)):
        (shared,) = {main_cluster(before, path) for path in pair}
        assert 100 < (before["cluster"] == shared).sum() < 500
    assert found_by(after, "B Cells") == (case.criterion, case.reason)
    small = not case.flags or case.reason == "too_small"
    assert found_by(after, "T Cells") == ("mixed_population", "too_small" if small else None)
    shares = right(after)
    assert {path: shares[path] for path in case.wrong} == dict.fromkeys(case.wrong, 0)
    assert min(share for path, share in shares.items() if path not in case.wrong) > MOSTLY_RIGHT
    called = after.loc[after["truth"] == PLASMA_CELLS, "found"].mode().tolist()
    assert called == [B_CELLS if PLASMA_CELLS in case.wrong else PLASMA_CELLS]


def test_the_heterogeneity_of_a_leaf_gives_a_mixture_away(bench, coarse_run):
    cells = bench("refines-too-little").refine(coarse_run("refines-too-little", 0))
    leaves = table(cells, "diagnostic_report").set_index("current_label")["heterogeneity"].dropna()
    assert leaves.pop("B Cells") > 0.2
    assert leaves.max() < 0.1


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_whole(name):
    sample, faulty, mended = make_scenario(name, 1_500)
    assert SCENARIOS[name].name == name
    assert sample.n_obs == 1_500
    assert 20 <= sample.n_vars <= 26
    assert sample.X.dtype == np.float32
    assert sample.X.min() >= 0
    assert sample.obsm["spatial"].shape == (1_500, 2)
    paths = {
        path
        for content in (faulty, mended)
        if content is not None
        for path in parse_marker_map(json.dumps(content), name).by_path
    }
    assert set(sample.obs["cell_type"]) <= paths
    assert mended != faulty


@pytest.mark.parametrize("name", SCENARIOS)
def test_one_seed_gives_one_sample_and_another_seed_another(name):
    (first, *maps), (again, *same), (other, *_) = (
        make_scenario(name, 1_000, seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.X, again.X)
    assert first.obs.equals(again.obs)
    assert maps == same
    assert not np.array_equal(first.X, other.X)


def test_a_map_that_somebody_changes_is_not_that_of_the_next():
    _, faulty, _ = make_scenario("wrong-tissue", 1_000)
    before = json.dumps(faulty)
    faulty["Epithelium"]["markers"].clear()
    assert json.dumps(make_scenario("wrong-tissue", 1_000)[1]) == before


def test_an_unknown_scenario_is_named_with_its_nearest():
    with pytest.raises(ParameterError, match=r"'rare-typ'. Did you mean 'rare-type'\? Known: miss"):
        make_scenario("rare-typ")
    with pytest.raises(ParameterError, match=r"no scenario 'xyz'. Known: missing-alias, "):
        make_scenario("xyz")


def test_too_few_cells_are_refused():
    with pytest.raises(ParameterError, match=r"999 cells are too few .* at least 1,000"):
        make_scenario("rare-type", 999)
