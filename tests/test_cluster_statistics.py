"""Global values of a marker, and what each cluster makes of them."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from ctr_engine.cluster_statistics import (
    POSITIVE_SHIFTS,
    StatisticsParams,
    cluster_statistics,
    otsu_threshold,
)
from ctr_engine.errors import CellMismatchError
from tests.builders import clusters, column, expression, statistics
from tests.oracles.statistics import DEFAULT_SCORING, cluster_value, otsu_cut, reference_value
from tests.oracles.wilcoxon import average_ranks


def reference(values, **options):
    """Reference values of one marker; all cells are one cluster."""
    table = statistics([[v] for v in values], "a" * len(values), **options).reference
    return table.iloc[0].to_dict()


def of_clusters(values, letters, name, **options):
    """One statistic of one marker per cluster."""
    table = statistics([[v] for v in values], letters, **options).clusters
    return column(table, name, "cluster_id")


# ---------------------------------------------------------------------- positive cells


def test_cells_at_the_threshold_are_positive():
    positive = of_clusters([0, 1, 1, 3], "aabb", "positive_fraction", positive_quantile=0.5)
    assert positive == {"a": 0.5, "b": 1.0}


def test_the_quantile_is_interpolated_between_the_order_statistics():
    assert reference([0, 1, 2, 4])["threshold"] == 2.5  # place 2.25 of 0..3
    assert reference([0, 1, 2, 4], positive_quantile=0.5)["threshold"] == 1.5
    assert reference([0, 1, 2, 3, 7])["threshold"] == 3  # place 3


def test_the_positive_quantile_moves_the_threshold():
    values = [0, 1, 2, 3, 4]
    assert of_clusters(values, "aaabb", "positive_fraction") == {"a": 0, "b": 1}
    low = of_clusters(values, "aaabb", "positive_fraction", positive_quantile=0.25)
    assert low == {"a": 2 / 3, "b": 1}


SPARSE_MARKER = [0, 0, 0, 0, 0, 0, 0, 2]  # median, 0.75 quantile and minimum are 0


def test_a_sparse_marker_is_positive_above_its_minimum():
    found = reference(SPARSE_MARKER)
    assert (found["threshold"], found["strict"]) == (0, True)
    assert of_clusters(SPARSE_MARKER, "aaaabbbb", "positive_fraction") == {"a": 0, "b": 0.25}


def test_the_minimum_of_a_sparse_marker_need_not_be_zero():
    shifted = [value - 3 for value in SPARSE_MARKER]
    assert reference(shifted)["threshold"] == -3
    assert of_clusters(shifted, "aaaabbbb", "positive_fraction") == {"a": 0, "b": 0.25}


def test_with_all_cells_behind_the_quantile_every_cell_of_a_sparse_marker_is_positive():
    found = reference(SPARSE_MARKER, positive_reference="all")
    assert (found["threshold"], found["strict"]) == (0, False)
    positive = of_clusters(SPARSE_MARKER, "aaaabbbb", "positive_fraction", positive_reference="all")
    assert positive == {"a": 1, "b": 1}


def test_nonzero_takes_the_quantile_of_the_cells_above_the_minimum():
    values = [0, 0, 0, 1, 2, 3, 4, 5]
    found = reference(values, positive_reference="nonzero")
    assert (found["threshold"], found["strict"]) == (4, False)  # of 1, 2, 3, 4, 5
    assert reference(values)["threshold"] == 3.25


def test_nonzero_holds_for_a_marker_without_zeros_too():
    assert reference([1, 2, 3, 4, 5, 6], positive_reference="nonzero")["threshold"] == 5


def test_nonzero_of_a_constant_marker_leaves_no_cell_positive():
    found = reference([2, 2, 2], positive_reference="nonzero")
    assert (found["threshold"], found["strict"]) == (2, True)
    positive = of_clusters([2, 2, 2], "aab", "positive_fraction", positive_reference="nonzero")
    assert positive == {"a": 0, "b": 0}


def test_negative_zero_is_zero():
    found = reference([-0.0, 0.0, -0.0, 1.0])
    assert (found["threshold"], found["tie_sum"]) == (0.25, 24)  # three equal values
    positive = of_clusters([0.0, -0.0, 0.0, -0.0, 1.0], "aabbb", "positive_fraction")
    assert positive == {"a": 0, "b": 1 / 3}
    kept = of_clusters(
        [0.0, -0.0, 0.0, -0.0, 1.0], "aabbb", "positive_fraction", positive_reference="all"
    )
    assert kept == {"a": 1, "b": 1}


# ---------------------------------------------------------------------- Otsu's threshold


def test_the_otsu_cut_is_the_middle_of_its_plateau():
    # Ten cells at 0, twenty at 256: bins are 1 wide, and any edge from 1 to 255 parts the two.
    found = reference([0] * 10 + [256] * 20, positive_threshold="otsu")
    assert (found["threshold"], found["strict"]) == (128, False)


def test_the_otsu_cut_parts_the_two_groups_and_not_the_top_quarter():
    values = [0, 0.1, 0.2, 0.3, 10, 10.1, 10.2, 10.3, 10.4, 10.5]
    by_otsu = of_clusters(values, "aaaabbbbbb", "positive_fraction", positive_threshold="otsu")
    assert by_otsu == {"a": 0, "b": 1}
    by_quantile = of_clusters(values, "aaaabbbbbb", "positive_fraction")
    assert by_quantile == {"a": 0, "b": 0.5}


def test_a_marker_whose_median_is_its_minimum_keeps_the_plain_rule_under_otsu():
    values = [0, 0, 0, 1, 2]
    assert reference(values, positive_threshold="otsu")["threshold"] == 1  # the quantile
    strict = reference(SPARSE_MARKER, positive_threshold="otsu")
    assert (strict["threshold"], strict["strict"]) == (0, True)


def test_outliers_beyond_the_tails_do_not_widen_the_histogram():
    # 0.1 and 99.9 % of 3,001 values: places 3 and 2,997.
    low, high = [0.0] * 1_500, [1.0] * 1_498
    with_outliers = np.array([*low, *high, 1e6, 1e6, 1e6])
    assert otsu_threshold(with_outliers) == pytest.approx(0.5, abs=1 / 256)


def test_otsu_without_spread_between_the_tails_gives_way_to_the_plain_rule():
    assert otsu_threshold(np.full(5, 2.0)) is None
    values = [0] + [1] * 2_000 + [2]
    found = reference(values, positive_threshold="otsu")
    assert (found["threshold"], found["strict"]) == (1, False)


@given(st.integers(0, 2**32 - 1), st.integers(5, 60))
def test_otsu_cuts_as_the_slow_oracle_does(seed, n):
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.choice([0, 3], n), 0.7).astype(np.float32)
    ordered = np.sort(values.astype(np.float64))
    expected, found = otsu_cut(ordered.tolist()), otsu_threshold(ordered)
    assert expected is not None
    assert found == pytest.approx(expected, abs=1e-9)


# ---------------------------------------------------------------------- enrichment


def test_enrichment_is_the_distance_of_the_medians_in_population_deviations():
    values = [0, 2, 4, 6]  # median 3, population SD sqrt(5)
    assert of_clusters(values, "aabb", "enrichment") == pytest.approx(
        {"a": -2 / 5**0.5, "b": 2 / 5**0.5}
    )


def test_the_median_of_an_even_cluster_is_the_mean_of_its_middle_two():
    found = of_clusters([5, 1, 2, 9, 0, 0, 7], "aaaabbb", "median")
    assert found == {"a": 3.5, "b": 0}


def test_auto_takes_the_mean_of_a_marker_whose_median_is_its_minimum():
    found = reference(SPARSE_MARKER)
    assert (found["statistic"], found["centre"]) == ("mean", 0.25)
    std = (7 / 64) ** 0.5 * 2
    expected = {"a": -0.25 / std, "b": 0.25 / std}
    assert of_clusters(SPARSE_MARKER, "aaaabbbb", "enrichment") == pytest.approx(expected)


def test_auto_takes_the_median_of_any_other_marker():
    found = reference([0, 0, 1, 9])
    assert (found["statistic"], found["centre"]) == ("median", 0.5)


@pytest.mark.parametrize(
    ("statistic", "centre", "enrichment"), [("median", 0, 0), ("mean", 0.25, 0.25)]
)
def test_a_statistic_can_be_forced(statistic, centre, enrichment):
    found = reference(SPARSE_MARKER, enrichment_statistic=statistic)
    assert (found["statistic"], found["centre"]) == (statistic, centre)
    of_b = of_clusters(SPARSE_MARKER, "aaaabbbb", "enrichment", enrichment_statistic=statistic)["b"]
    assert of_b * found["std"] == pytest.approx(enrichment)


def test_a_dense_marker_can_be_forced_to_its_mean():
    found = reference([0, 1, 2, 9], enrichment_statistic="mean")
    assert (found["statistic"], found["centre"]) == ("mean", 3)


def test_no_spread_is_a_deviation_of_a_millionth():
    assert reference([3, 3, 3])["std"] == 1e-6


# ---------------------------------------------------------------------- ids and shape


def test_clusters_stand_in_natural_order_and_markers_in_that_of_the_panel():
    view = expression(np.arange(10).reshape(5, 2), ["Z", "A"])
    found = cluster_statistics(view, ["10", "3:1", "2", "3", "10"], StatisticsParams())
    assert found.cluster_ids == ("2", "3", "3:1", "10")
    assert found.markers == ("Z", "A")
    assert found.n_cells.tolist() == [1, 1, 1, 2]
    assert found.clusters["marker"].tolist() == ["Z", "A"] * 4


def test_a_cluster_of_one_cell_is_described_by_that_cell():
    assert of_clusters([0, 1, 5], "aab", "median") == {"a": 0.5, "b": 5}
    assert of_clusters([0, 1, 5], "aab", "mean") == {"a": 0.5, "b": 5}


def test_the_only_cluster_is_the_whole_partition():
    assert of_clusters([0, 1, 5], "aaa", "enrichment") == {"a": 0}


@pytest.mark.parametrize("ids", ["ab", "abab"])
def test_ids_for_other_cells_are_refused(ids):
    with pytest.raises(CellMismatchError, match=f"^{len(ids)} cluster ids for 3 cells$"):
        cluster_statistics(expression([[0], [1], [2]]), clusters(ids), StatisticsParams())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"positive_quantile": 0.0}, "greater than 0"),
        ({"positive_quantile": 1.0}, "less than 1"),
        ({"positive_quantile": "0.5"}, "valid number"),
        ({"positive_reference": "zero"}, "'auto', 'all' or 'nonzero'"),
        ({"positive_threshold": "auto"}, "'quantile' or 'otsu'"),
        ({"enrichment_statistic": "mode"}, "'auto', 'median' or 'mean'"),
        ({"quantile": 0.5}, "Extra inputs are not permitted"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(params, message):
    with pytest.raises(ValidationError, match=message):
        StatisticsParams(**params)


# ---------------------------------------------------------------------- any values

VALUES = st.sampled_from([-1.5, -0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 2.25, 40.0])
TABLES = hnp.arrays(np.float32, st.tuples(st.integers(3, 14), st.integers(1, 3)), elements=VALUES)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "enrichment_statistic": st.sampled_from(["auto", "median", "mean"]),
        "positive_reference": st.sampled_from(["auto", "all", "nonzero"]),
        "positive_quantile": st.sampled_from([0.25, 0.5, 0.75, 0.9]),
        "positive_threshold": st.sampled_from(["quantile", "otsu"]),
    },
)


def some_clusters(values, seed):
    return np.random.default_rng(seed).choice(["a", "b", "c10", "c9"], len(values)).tolist()


@given(TABLES, OPTIONS, st.integers(0, 99))
def test_statistics_are_those_of_the_slow_oracle(values, options, seed):
    ids = some_clusters(values, seed)
    found = cluster_statistics(expression(values), ids, StatisticsParams(**options))
    for j, marker in enumerate(found.markers):
        column_values = [float(v) for v in values[:, j]]
        expected = reference_value(column_values, DEFAULT_SCORING | options)
        row = found.reference.iloc[j].to_dict()
        assert {k: row[k] for k in ("statistic", "strict")} == {
            k: expected[k] for k in ("statistic", "strict")
        }
        exact = ["centre", "std"] + (["threshold"] if "positive_threshold" not in options else [])
        for name in exact:
            assert row[name] == pytest.approx(expected[name], abs=1e-12)
        ranks, ties = average_ranks(column_values)
        assert row["tie_sum"] == ties
        table = found.clusters[found.clusters["marker"] == marker].set_index("cluster_id")
        for cluster in set(ids):
            inside = [v for v, c in zip(column_values, ids, strict=True) if c == cluster]
            of_oracle = cluster_value(inside, expected)
            for name, want in of_oracle.items():
                assert table.loc[cluster, name] == pytest.approx(want, abs=1e-9), name
            rank_sum = sum(r for r, c in zip(ranks, ids, strict=True) if c == cluster)
            assert table.loc[cluster, "rank_sum"] == rank_sum


@given(TABLES, OPTIONS, st.integers(0, 99))
def test_the_order_of_the_cells_does_not_matter(values, options, seed):
    ids = some_clusters(values, seed)
    order = np.random.default_rng(seed).permutation(len(values))
    params = StatisticsParams(**options)
    first = cluster_statistics(expression(values), ids, params)
    second = cluster_statistics(expression(values[order]), [ids[i] for i in order], params)
    assert first.reference.equals(second.reference)
    assert first.clusters.equals(second.clusters)


@given(TABLES, OPTIONS, st.integers(0, 99))
def test_the_names_of_the_clusters_do_not_matter(values, options, seed):
    ids = some_clusters(values, seed)
    names = {"a": "7", "b": "10", "c10": "1", "c9": "3:1"}
    params = StatisticsParams(**options)
    first = cluster_statistics(expression(values), ids, params)
    second = cluster_statistics(expression(values), [names[c] for c in ids], params)
    assert first.reference.equals(second.reference)
    renamed = {(names[c], m): i for i, (c, m) in enumerate(_keys(first))}
    order = [renamed[key] for key in _keys(second)]
    kept = [name for name in first.clusters.columns if name != "cluster_id"]
    assert first.clusters[kept].iloc[order].reset_index(drop=True).equals(second.clusters[kept])


def _keys(found):
    return list(zip(found.clusters["cluster_id"], found.clusters["marker"], strict=True))


@given(TABLES, st.integers(0, 99), st.sampled_from([sp.csr_matrix, sp.csc_matrix, sp.csc_array]))
def test_dense_and_sparse_values_and_any_number_of_threads_are_equal(values, seed, kind):
    ids, params = some_clusters(values, seed), StatisticsParams()
    first = cluster_statistics(expression(values), ids, params)
    second = cluster_statistics(expression(values, sparse=kind), ids, params, n_jobs=4)
    assert first.reference.equals(second.reference)
    assert first.clusters.equals(second.clusters)


@given(TABLES, OPTIONS, st.integers(0, 99))
def test_the_order_of_the_panel_only_permutes_the_rows(values, options, seed):
    ids, params = some_clusters(values, seed), StatisticsParams(**options)
    names = [f"M{j}" for j in range(values.shape[1])]
    first = cluster_statistics(expression(values, names), ids, params)
    second = cluster_statistics(expression(values[:, ::-1], names[::-1]), ids, params)
    for name in ("reference", "clusters"):
        keys = ["marker"] if name == "reference" else ["cluster_id", "marker"]
        left, right = (getattr(s, name).set_index(keys).sort_index() for s in (first, second))
        assert left.equals(right)


@given(TABLES, OPTIONS, st.integers(0, 99), st.sampled_from([0.25, 2.0, 64.0]))
def test_a_marker_in_other_units_has_the_same_enrichment_and_positive_cells(
    values, options, seed, factor
):
    # A power of two scales without rounding.
    varied = values[:, [j for j in range(values.shape[1]) if values[:, j].std() > 0]]
    if not varied.shape[1]:
        return
    ids, params = some_clusters(values, seed), StatisticsParams(**options)
    first = cluster_statistics(expression(varied), ids, params)
    second = cluster_statistics(expression(varied * np.float32(factor)), ids, params)
    same = ["enrichment", "positive_fraction", "rank_sum"]
    assert first.clusters[same].equals(second.clusters[same])
    scaled = first.reference["threshold"] * factor
    assert second.reference["threshold"].to_numpy() == pytest.approx(scaled.to_numpy())


def test_of_two_equally_good_cuts_otsu_takes_the_first_whatever_the_rounding():
    values = np.array([0.0] * 5 + [0.99] * 32 + [1.01] * 32 + [2.0] * 5)
    assert otsu_threshold(values) == pytest.approx(0.496, abs=0.004)


# ---------------------------------------------------------------------- moved thresholds


def test_shares_of_positive_cells_under_moved_thresholds_are_counted():
    # 0..9: SD sqrt(8.25) = 2.87, quantile 0.5 at 4.5; moved to 3.93, 4.21, 4.79 and 5.07
    found = statistics([[i] for i in range(10)], "a" * 10, positive_quantile=0.5)
    shares = {name: found.clusters[name].item() for name in POSITIVE_SHIFTS}
    assert shares == {
        "positive_fraction_minus_02": 0.6,
        "positive_fraction_minus_01": 0.5,
        "positive_fraction": 0.5,
        "positive_fraction_plus_01": 0.5,
        "positive_fraction_plus_02": 0.4,
    }


def test_a_threshold_at_the_minimum_is_not_moved_below_it():
    # 7 of 10 cells are 0, so that above 0 is positive; SD of 0.05, 1, 2 beside them is 0.65
    rows = [[0]] * 7 + [[0.05], [1], [2]]
    found = statistics(rows, "a" * 10, positive_quantile=0.5)
    assert found.reference["strict"].tolist() == [True]
    shares = [found.clusters[name].item() for name in POSITIVE_SHIFTS]
    assert shares == [0.3, 0.3, 0.3, 0.2, 0.2]


@given(
    values=st.lists(st.integers(-8, 8), min_size=4, max_size=30),
    quantile=st.sampled_from([0.25, 0.5, 0.75]),
)
def test_moved_shares_are_those_of_a_loop(values, quantile):
    names = ["ab"[i % 2] for i in range(len(values))]
    found = statistics([[value / 4] for value in values], names, positive_quantile=quantile)
    threshold, std, strict = found.reference.loc[0, ["threshold", "std", "strict"]]
    for name, shift in POSITIVE_SHIFTS.items():
        least = threshold + shift * std
        if strict:
            least = max(least, min(values) / 4)
        for cluster in "ab":
            own = [v / 4 for v, c in zip(values, names, strict=True) if c == cluster]
            positive = [v > least if strict else v >= least for v in own]
            row = found.clusters[found.clusters["cluster_id"] == cluster]
            assert row[name].item() == pytest.approx(sum(positive) / len(own))
