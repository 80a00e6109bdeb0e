"""The whole chain, and what is written into an AnnData."""

import json
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp

from ctr_engine.analysis import annotate, attach, decide, existing_clusters
from ctr_engine.cluster_statistics import Statistics
from ctr_engine.errors import CellMismatchError, InputError
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.markers.panel import resolve_map
from ctr_engine.profiles import AnalysisParams
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.builders import marker_map

MAP = json.loads(GOOD_MAP)


def run(adata=None, content=MAP, **options):
    sample = good_sample() if adata is None else adata
    view = read_expression(sample, ExpressionParams())
    return sample, view, annotate(view, marker_map(content), AnalysisParams(), **options)


@pytest.mark.smoke
def test_each_step_is_reported_once_in_order():
    steps: list[str] = []
    run(progress=steps.append)
    assert steps == [
        "pca", "knn_graph", "leiden_clusters", "cluster_statistics", "de_lookup", "marker_scores",
        "decision_steps", "annotations",
    ]  # fmt: skip


def test_every_cell_is_annotated_once_in_the_order_of_the_sample():
    sample, _, result = run()
    assert result.tables["annotations"]["cell_id"].tolist() == sample.obs_names.tolist()


def test_dense_and_sparse_samples_are_annotated_alike():
    dense = run()[2]
    adata = good_sample()
    adata.X = sp.csr_matrix(adata.X)
    sparse = run(adata)[2]
    for name, table in dense.tables.items():
        pd.testing.assert_frame_equal(sparse.tables[name], table, rtol=1e-12)


def test_the_order_of_the_cells_does_not_change_the_labels_of_given_clusters():
    ids = np.array([f"{i % 3}" for i in range(120)])
    order = np.random.default_rng(0).permutation(120)
    straight = run(clusters=ids.tolist())[2]
    mixed = run(good_sample()[order].copy(), clusters=ids[order].tolist())[2]
    for name in set(straight.tables) - {"annotations"}:
        pd.testing.assert_frame_equal(mixed.tables[name], straight.tables[name])
    by_cell = mixed.tables["annotations"].set_index("cell_id").loc[good_sample().obs_names]
    assert (
        by_cell["cell_type_auto"].tolist()
        == straight.tables["annotations"]["cell_type_auto"].tolist()
    )


def attached(sample, view, result):
    return attach(
        sample, view, result.clusters, AnalysisParams(),
        lookup=result.tables["de_lookup"], annotations=result.tables["annotations"],
        marker_map=marker_map(MAP), coordinates=result.coordinates,
    )  # fmt: skip


def test_the_sample_itself_is_left_alone():
    sample, view, result = run()
    before = sample.copy()
    attached(sample, view, result)
    assert sample.obs.equals(before.obs)
    assert sample.var_names.tolist() == before.var_names.tolist()
    np.testing.assert_array_equal(sample.X, before.X)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # scanpy under pandas 3
def test_results_survive_a_file_and_read_in_scanpy(tmp_path):
    sample, view, result = run()
    attached(sample, view, result).write_h5ad(tmp_path / "r.h5ad")
    back = anndata.read_h5ad(tmp_path / "r.h5ad")
    frame = sc.get.rank_genes_groups_df(back, group="0", key="de_wilcoxon_X")
    lookup = result.tables["de_lookup"].query("cluster_id == '0'")
    best = lookup.sort_values("wilcoxon_score", ascending=False)["marker"].iloc[0]
    assert frame["names"].iloc[0] == best
    assert frame["scores"].is_monotonic_decreasing


def test_a_cluster_of_one_cell_is_legal_in_every_output(tmp_path):
    sample, view, result = run(clusters=["0"] * 60 + ["1"] * 59 + ["2"])
    out = attached(sample, view, result)
    out.write_h5ad(tmp_path / "r.h5ad")
    assert out.uns["de_wilcoxon_X"]["scores"].dtype.names == ("0", "1")
    assert result.tables["cluster_annotations"]["n_cells"].tolist() == [60, 59, 1]


def test_a_sample_that_was_replaced_is_not_given_the_labels_of_another():
    sample, view, result = run()
    other = sample[::-1].copy()
    with pytest.raises(CellMismatchError, match="annotate it again"):
        attached(other, view, result)


def test_a_layer_with_a_slash_makes_a_key_without_one():
    adata = good_sample()
    adata.layers["raw/x"] = adata.X
    view = read_expression(adata, ExpressionParams(layer="raw/x"))
    result = annotate(view, None, AnalysisParams())
    out = attach(adata, view, result.clusters, AnalysisParams(), lookup=result.tables["de_lookup"])
    assert "de_wilcoxon_raw_x" in out.uns


@pytest.mark.parametrize("values", [["a", "b", None] * 40, [1, 2, np.nan] * 40])
def test_clusters_with_gaps_are_refused(values):
    adata = good_sample()
    adata.obs["mine"] = values
    with pytest.raises(InputError, match=r"40 of 120 cells have no cluster in obs\['mine'\]"):
        existing_clusters(adata, "mine")


def test_clusters_of_any_type_become_text():
    adata = good_sample()
    adata.obs["mine"] = pd.Categorical([i % 2 for i in range(120)])
    assert set(existing_clusters(adata, "mine")) == {"0", "1"}
    with pytest.raises(InputError, match="obs has no column 'yours'; it has: mine"):
        existing_clusters(adata, "yours")


def test_scores_in_another_order_than_the_map_are_refused():
    content = {"A": {"markers": ["CD45"]}, "B": {"markers": ["Pan-CK"]}}
    _, view, result = run(content=content, clusters=[f"{i % 3}" for i in range(120)])
    tables = result.tables
    mirrored = resolve_map(marker_map(dict(reversed(content.items()))), view.panel)
    statistics = Statistics(tables["reference_values"], tables["cluster_statistics"])
    with pytest.raises(CellMismatchError, match="marker_scores are not of this map"):
        decide(
            view, result.clusters, statistics, tables["de_lookup"], tables["marker_scores"],
            mirrored, AnalysisParams(),
        )  # fmt: skip


def test_clusters_are_categories_in_natural_order():
    sample, view, result = run(clusters=[f"{i % 12}" for i in range(120)])
    found = attached(sample, view, result).obs["cluster_lvl0"].cat.categories.tolist()
    assert found == [str(i) for i in range(12)]


def test_a_single_cluster_has_no_table_of_differential_expression():
    sample, view, result = run(clusters=["0"] * 120)
    assert "de_wilcoxon_X" not in attached(sample, view, result).uns


@pytest.mark.parametrize("odd", ["", " ", "a\x00", "x" * 201])
def test_cluster_ids_that_cannot_be_shown_are_refused(odd):
    adata = good_sample()
    adata.obs["mine"] = ["a"] * 119 + [odd]
    with pytest.raises(InputError, match="empty, very long or unprintable"):
        existing_clusters(adata, "mine")


def test_a_backed_sample_is_read(tmp_path):
    adata = good_sample()
    adata.X = sp.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "s.h5ad")
    backed = anndata.read_h5ad(tmp_path / "s.h5ad", backed="r")
    assert read_expression(backed, ExpressionParams()).n_cells == 120
    backed.file.close()


def test_a_sparse_sample_is_left_as_it_was():
    adata = good_sample()
    values = sp.csc_matrix(adata.X)
    doubled = sp.csc_matrix((np.ones(3, np.float32), ([0, 0, 1], [0, 0, 1])), shape=(120, 6))
    adata.X = values + doubled
    adata.X.has_canonical_format = False
    before = adata.X.data.copy()
    read_expression(adata, ExpressionParams())
    np.testing.assert_array_equal(adata.X.data, before)


def test_all_faults_of_a_sample_come_together():
    adata = good_sample()
    adata.X[3, 1] = np.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* names are not unique")
        adata.obs_names = ["cell_0", *adata.obs_names[:-1]]
    with pytest.raises(InputError) as error:
        read_expression(adata, ExpressionParams())
    assert "2 faults" in str(error.value)
    with pytest.raises(InputError) as error:
        read_expression(adata, ExpressionParams(layer="nope"))
    assert "obs_names" in str(error.value)
    assert "there is no layer 'nope'" in str(error.value)
