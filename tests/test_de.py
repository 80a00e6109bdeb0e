"""The rank-sum test of a cluster against the rest, and the ranks made from it."""

import math

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import false_discovery_control, mannwhitneyu, norm

from ctr_engine.cluster_statistics import StatisticsParams, cluster_statistics
from ctr_engine.de import DEParams, de_lookup, rank_genes_groups, wilcoxon_scores
from tests.builders import clusters, column, expression, marker_names, plain, statistics
from tests.oracles.statistics import DEFAULT_SCORING
from tests.oracles.wilcoxon import as_float32, rank_lookup
from tests.oracles.wilcoxon import wilcoxon_scores as slow_scores

TIED = [[0], [0], [1], [2], [1], [2], [2], [3]]
"""Ranks 1.5, 1.5, 3.5, 6, 3.5, 6, 6, 8."""


def ranks_of(scores, **options):
    """``de_rank`` of one cluster of two, by marker, from given scores."""
    found = statistics(np.arange(4 * len(scores)).reshape(4, -1), "aabb")
    given_scores = np.array([scores, [math.nan] * len(scores)], dtype=np.float32)
    return de_lookup(found, DEParams(**options), scores=given_scores).iloc[: len(scores)]


def ranked(scores, **options):
    """Positions of the ranked markers, best first."""
    ranks = ranks_of(scores, **options)["de_rank"].tolist()
    return [ranks.index(place) for place in range(1, int(np.sum(~np.isnan(ranks))) + 1)]


# ---------------------------------------------------------------------- the z


def test_the_z_of_a_tiny_example_is_that_of_a_hand_count():
    # Cluster a: rank sum 12.5, expected 18. Ties: 2 + 2 + 3 cells, sum of t^3 - t 6 + 6 + 24 = 36.
    # Variance (1 - 36 / 504) * 4 * 4 * 9 / 12 = 78 / 7.
    z = wilcoxon_scores(statistics(TIED, "aaaabbbb"))
    assert z.dtype == np.float32
    assert z[:, 0] == pytest.approx([-5.5 / (78 / 7) ** 0.5, 5.5 / (78 / 7) ** 0.5], rel=1e-7)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 100]))
def test_the_p_value_is_scipys_without_continuity_correction(seed, n_values):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, n_values, (20, 3))
    values[0], values[1] = 0, 1
    ids = rng.choice(["a", "b", "c"], 20, p=[0.5, 0.4, 0.1]).tolist()
    ids[:4] = ["a", "a", "b", "b"]
    found = cluster_statistics(expression(values), ids, StatisticsParams())
    table = de_lookup(found, DEParams())
    p_values, scores = column(table, "p_value", "cluster_id", "marker"), wilcoxon_scores(found)
    for row, cluster in enumerate(found.cluster_ids):
        inside = np.array(ids) == cluster
        if inside.sum() < 2:
            continue
        for j, marker in enumerate(found.markers):
            theirs = mannwhitneyu(
                values[inside, j],
                values[~inside, j],
                use_continuity=False,
                alternative="two-sided",
                method="asymptotic",
            )
            assert p_values[cluster, marker] == pytest.approx(theirs.pvalue, rel=1e-5)
            n_in, n_out = inside.sum(), (~inside).sum()
            assert np.sign(scores[row, j]) == np.sign(theirs.statistic - n_in * n_out / 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # scanpy's own, on the newest pandas
def test_scanpy_gives_the_same_scores_and_reads_ours():
    import scanpy  # slow to import, and needed here only

    rng = np.random.default_rng(5)
    values = rng.integers(0, 6, (90, 6)).astype(np.float32) + rng.integers(0, 2, (90, 6))
    ids = rng.choice(["0", "1", "10", "2"], 90).tolist()
    names = marker_names(6)
    adata = anndata.AnnData(
        values.astype(np.float32),
        obs=pd.DataFrame(
            {"cluster_lvl0": pd.Categorical(ids)}, index=[f"cell_{i}" for i in range(90)]
        ),
        var=pd.DataFrame(index=names),
    )
    found = cluster_statistics(expression(values, names), ids, StatisticsParams())
    lookup = de_lookup(found, DEParams())
    adata.uns["ours"] = rank_genes_groups(lookup, "stage_h_input")
    scanpy.tl.rank_genes_groups(
        adata,
        "cluster_lvl0",
        method="wilcoxon",
        tie_correct=True,
        key_added="theirs",
        use_raw=False,
    )
    for cluster in ("0", "1", "10", "2"):
        ours, theirs = (
            scanpy.get.rank_genes_groups_df(adata, cluster, key=key).set_index("names")
            for key in ("ours", "theirs")
        )
        assert sorted(ours.index) == sorted(names)
        for name in ("scores", "pvals", "pvals_adj"):
            wanted = theirs[name].loc[ours.index].to_numpy(dtype=float)
            assert ours[name].to_numpy(dtype=float) == pytest.approx(wanted, rel=1e-5, abs=1e-6)
        assert ours["scores"].is_monotonic_decreasing


def test_a_marker_without_any_spread_has_a_z_of_zero():
    assert wilcoxon_scores(statistics([[1]] * 4, "aabb")).tolist() == [[0], [0]]


def test_a_cluster_of_one_cell_is_not_tested_and_has_no_hits():
    found = statistics([[0], [1], [2], [9]], "aaab")
    assert np.isnan(wilcoxon_scores(found)[1]).all()
    row = de_lookup(found, DEParams()).iloc[1].to_dict()
    nulls = ("wilcoxon_score", "p_value", "p_value_adjusted", "de_rank")
    assert [plain(row[name]) for name in nulls] == [None] * 4
    assert (row["k"], row["n_pos"]) == (0, 0)
    assert row["mean_difference"] == 8


def test_the_only_cluster_is_not_tested_and_has_no_hits():
    found = statistics([[0], [1], [2]], "aaa")
    assert np.isnan(wilcoxon_scores(found)).all()
    table = de_lookup(found, DEParams())
    assert (table["k"].tolist(), table["n_pos"].tolist()) == ([0], [0])
    assert table["mean_difference"].isna().all()


def test_the_mean_difference_is_that_to_the_rest():
    table = de_lookup(statistics(TIED, "aaaabbcc"), DEParams())
    assert column(table, "mean_difference", "cluster_id") == {
        "a": 0.75 - 2,
        "b": 1.5 - 8 / 6,
        "c": 2.5 - 6 / 6,
    }


def test_p_values_are_two_sided_and_adjusted_over_the_markers_of_a_cluster():
    table = ranks_of([2.0, -1.0, 0.0, 3.0])
    expected = 2 * norm.sf([2, 1, 0, 3])
    assert table["p_value"].tolist() == pytest.approx(expected)
    assert table["p_value_adjusted"].tolist() == pytest.approx(false_discovery_control(expected))


@given(st.integers(0, 2**32 - 1))
def test_scores_are_those_of_the_slow_oracle(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (12, 3)).astype(float)
    ids = rng.choice(["0", "1", "2", "10"], 12).tolist()
    found = cluster_statistics(expression(values), ids, StatisticsParams())
    scores = wilcoxon_scores(found)
    expected = slow_scores({m: values[:, j].tolist() for j, m in enumerate(found.markers)}, ids)
    for row, cluster in enumerate(found.cluster_ids):
        if cluster not in expected:
            assert np.isnan(scores[row]).all()
            continue
        wanted = [expected[cluster][marker] for marker in found.markers]
        assert scores[row] == pytest.approx(wanted, abs=1e-6)


# ---------------------------------------------------------------------- the ranks


@pytest.mark.parametrize(
    ("n_markers", "share", "target"),
    [(100, 0.07, 7), (100, 0.071, 8), (40, 0.2, 8), (41, 0.2, 9), (100, 0.29, 29), (3, 0.2, 1)],
)
def test_the_target_is_rounded_up_but_not_for_the_sake_of_a_float(n_markers, share, target):
    table = ranks_of([1.0] * n_markers, de_top_frac=share)
    assert set(table["k_target"]) == {target}


def test_the_target_is_kept_between_the_limits():
    scores = [float(i) for i in range(40, 0, -1)]
    assert len(ranked(scores)) == 8
    assert len(ranked(scores, de_max_k=5)) == 5
    assert len(ranked(scores, de_min_k=10)) == 10
    assert len(ranked(scores[:4])) == 3
    assert len(ranked(scores[:4], de_min_k=0)) == 1
    assert len(ranked(scores[:4], de_top_frac=0.5, de_min_k=0)) == 2
    assert ranked(scores, de_min_k=0, de_max_k=0) == []


def test_only_scores_above_zero_are_ranked():
    table = ranks_of([-1.0, 0.0, 2.0, -3.0, 1.0])
    assert (table["k_target"].iloc[0], table["k"].iloc[0], table["n_pos"].iloc[0]) == (1, 2, 2)
    assert [plain(rank) for rank in table["de_rank"]] == [None, None, 1, None, 2]


def test_equal_scores_are_ranked_in_the_order_of_the_panel():
    assert ranked([1.0, 2.0, 1.0, 2.0, 1.0], de_top_frac=1.0) == [1, 3, 0, 2, 4]
    assert ranked([1.0, 2.0, 1.0, 2.0, 1.0]) == [1, 3, 0]


def test_scores_are_equal_when_float32_stores_them_alike():
    almost = 1 + 2**-30
    assert np.float32(almost) == np.float32(1)
    assert ranked([1.0, almost, 0.5], de_top_frac=1.0) == [0, 1, 2]


def test_the_order_of_the_panel_decides_equal_scores_in_a_real_test():
    rows = np.repeat([[0], [0], [1], [1]], 5, axis=1)
    table = de_lookup(statistics(rows, "aabb"), DEParams())
    of_b = table[table["cluster_id"] == "b"]
    assert [plain(rank) for rank in of_b["de_rank"]] == [1, 2, 3, None, None]


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 0.5, 1.0, 2.0, 3.5]), min_size=2, max_size=20),
    st.sampled_from([0.07, 0.2, 0.5, 1.0]),
    st.sampled_from([(0, 3), (3, 12), (5, 5)]),
)
def test_ranks_are_those_of_the_slow_oracle(scores, share, limits):
    options = {"de_top_frac": share, "de_min_k": limits[0], "de_max_k": limits[1]}
    names = marker_names(len(scores))
    given_scores = {m: as_float32(s) for m, s in zip(names, scores, strict=True)}
    expected = rank_lookup(given_scores, names, DEFAULT_SCORING | options)
    table = ranks_of(scores, **options)
    for name, key in (("k", "K"), ("k_target", "K_target"), ("n_pos", "n_pos")):
        assert set(table[name]) == {expected[key]}
    found = column(table.dropna(subset=["de_rank"]), "de_rank", "marker")
    assert found == expected["rank_map"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"de_min_k": 13}, "de_min_k 13 is above de_max_k 12"),
        ({"de_max_k": 2}, "de_min_k 3 is above de_max_k 2"),
        ({"de_min_k": -1}, "greater than or equal to 0"),
        ({"de_max_k": 1.5}, "valid integer"),
        ({"de_top_frac": 0.0}, "greater than 0"),
        ({"de_top_frac": 1.1}, "less than or equal to 1"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        DEParams(**params)


# ---------------------------------------------------------------------- scanpy's form


def test_scanpys_form_leaves_clusters_without_a_test_out():
    found = statistics([[0, 3], [1, 1], [2, 2], [9, 1]], "aaab")
    stored = rank_genes_groups(de_lookup(found, DEParams()), "batchcorr")
    assert stored["names"].dtype.names == ("a",)
    assert stored["params"]["layer"] == "batchcorr"
    assert stored["params"]["reference"] == "rest"


def test_scanpys_form_of_the_only_cluster_holds_the_parameters_only():
    stored = rank_genes_groups(de_lookup(statistics([[0], [1], [2]], "aaa"), DEParams()), "X")
    assert list(stored) == ["params"]


def test_scanpys_form_is_ordered_by_score():
    rows = [[0, 3, 1], [1, 4, 0], [5, 0, 0], [6, 1, 1]]
    found = cluster_statistics(
        expression(rows, ["A", "B", "C"]), clusters("aabb"), StatisticsParams()
    )
    stored = rank_genes_groups(de_lookup(found, DEParams()), "X")
    assert stored["names"]["a"].tolist() == ["B", "C", "A"]
    assert stored["names"]["b"].tolist() == ["A", "C", "B"]
    assert stored["logfoldchanges"]["a"].tolist() == [3, 0, -5]
