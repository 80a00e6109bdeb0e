"""Sentences, comparisons with the truth, and figures, on results that are known."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from ctr_engine.analysis import annotate
from ctr_engine.evaluation import compare_with_truth
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.profiles import AnalysisParams
from ctr_engine.reporting import figures
from ctr_engine.reporting.reasons import reasons
from tests.bad_inputs import good_sample
from tests.builders import marker_map

MAP = {
    "Epithelium": {"markers": ["Pan-CK", "E-cadherin"], "anti_markers": ["CD45"]},
    "Immune Cells": {
        "markers": ["CD45"],
        "subtypes": {"T Cells": {"markers": ["CD3"]}, "B Cells": {"markers": ["CD20"]}},
    },
}


def run(content=MAP, **params):
    view = read_expression(good_sample(), ExpressionParams())
    ids = [f"{i % 3}" for i in range(120)]
    chosen = AnalysisParams.model_validate(params)
    return annotate(view, marker_map(content), chosen, clusters=ids)


@pytest.mark.smoke
def test_a_label_is_explained_by_its_markers_and_its_lead():
    result = run()
    why = reasons(result.tables)
    enrichment = result.tables["marker_evidence"].set_index(["cluster_id", "path", "column"])[
        "enrichment"
    ]
    shown = enrichment["1", "Immune Cells / T Cells", "CD3"]
    assert why["1"] == f"1 of 1 markers on: CD3 {shown:+.1f}; no other candidate passed"


def test_a_cluster_without_a_root_names_the_gate_that_failed():
    why = reasons(run(gating={"min_enrichment": {"0": 50}}).tables)
    assert why["0"].startswith("nearest root Epithelium fails low_enrichment: ")
    assert why["0"].endswith("against 50.00")


def test_an_absent_required_marker_is_named():
    content = {
        "_gating_params": {
            "root_hard_requirements": {"Epithelium": {"marker": "EpCAM", "min_pos_frac": 0.3}}
        },
        "Epithelium": MAP["Epithelium"],
    }
    why = reasons(run(content).tables)
    assert (
        why["0"]
        == "nearest root Epithelium fails root_hard_requirement of EpCAM: absent against 0.30"
    )


def test_close_roots_and_close_siblings_are_said_to_be_close():
    roots = {"A": {"markers": ["CD45"]}, "B": {"markers": ["CD45"]}}
    assert reasons(run(roots).tables)["1"] == "the best two roots are too close (lead 0.00)"
    siblings = {"Immune": {"markers": ["CD45"], "subtypes": roots}}
    assert reasons(run(siblings).tables)["1"].endswith("; the cell types below are too close")


def test_no_passing_child_is_said():
    content = {"Immune": {"markers": ["CD45"], "subtypes": {"NK": {"markers": ["CD56"]}}}}
    assert reasons(run(content).tables)["1"].endswith("; no cell type below passed its gates")


def test_labels_are_compared_along_the_hierarchy_by_hand():
    found = ["A / B", "A", "", "C", "A / B / D"]
    truth = ["A / B", "A / B", "A", "A / B", "A / B"]
    result = compare_with_truth([*found, "A"], [*truth, ""])
    assert result.n_cells == 5
    assert result.exact == 1 / 5
    assert result.unassigned == 1 / 5
    # shared 2 + 1 + 0 + 0 + 2, claimed 2 + 1 + 0 + 1 + 3, true 2 + 2 + 1 + 2 + 2
    assert result.hierarchical_precision == 5 / 7
    assert result.hierarchical_recall == 5 / 9
    assert result.hierarchical_f == pytest.approx(2 * 5 / 16)


def test_a_comparison_needs_a_known_label():
    with pytest.raises(ValueError, match="no cell has a known label"):
        compare_with_truth(["A"], [""])


def test_nothing_claimed_is_a_precision_of_zero():
    result = compare_with_truth(["", ""], ["A", "A"])
    assert result.hierarchical_f == 0
    assert result.unassigned == 1


def test_bars_show_the_numbers_and_gather_the_tail():
    names = [f"type {i}" for i in range(30)]
    axes = figures.bars(names, list(range(30, 0, -1)), "cells").axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [*range(30, 5, -1), sum(range(1, 6))]
    assert axes.get_yticklabels()[-1].get_text() == "5 more"


def test_a_map_shows_clusters_by_cell_types_in_order():
    scores = pd.DataFrame(
        {
            "cluster_id": ["2", "2", "10", "10"],
            "path": ["B", "B / A$1", "B", "B / A$1"],
            "score": [1.0, -2.0, np.nan, 0.5],
        }
    )
    axes = figures.score_map(scores).axes[0]
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown.filled(np.nan), [[1, -2], [np.nan, 0.5]])
    assert [t.get_text() for t in axes.get_yticklabels()] == ["2", "10"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["B", r"A\$1"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda result, view: figures.expression_ranges(view),
        lambda result, view: figures.component_map(np.zeros((5, 1), dtype=np.float32)),
        lambda result, view: figures.neighbour_counts(sp.csr_matrix(np.eye(4))),
        lambda result, view: figures.cluster_sizes(result.clusters),
        lambda result, view: figures.enrichment_map(result.tables["cluster_statistics"]),
        lambda result, view: figures.wilcoxon_map(result.tables["de_lookup"]),
        lambda result, view: figures.thresholds(result.tables["reference_values"]),
        lambda result, view: figures.markers_on_map(result.tables["marker_evidence"]),
        lambda result, view: figures.failure_counts(result.tables["decision_steps"]),
        lambda result, view: figures.gate_shares(result.tables["gating_details"]),
        lambda result, view: figures.label_counts(result.tables["cluster_annotations"]),
        lambda result, view: figures.cell_label_counts(result.tables["annotations"]),
    ],
)
def test_every_figure_can_be_drawn(draw, tmp_path):
    view = read_expression(good_sample(), ExpressionParams())
    figure = draw(run(), view)
    figure.savefig(tmp_path / "f.png", dpi=50)
    assert (tmp_path / "f.png").stat().st_size > 1_000


def test_one_cluster_that_cannot_be_tested_can_be_drawn(tmp_path):
    view = read_expression(good_sample(), ExpressionParams())
    result = annotate(view, marker_map(MAP), AnalysisParams(), clusters=["0"] * 120)
    figures.wilcoxon_map(result.tables["de_lookup"]).savefig(tmp_path / "f.png")


def test_names_with_dollars_can_be_drawn(tmp_path):
    adata = good_sample()
    adata.var_names = [r"a$\bad$", r"b$\x$", *adata.var_names[2:]]
    view = read_expression(adata, ExpressionParams())
    figures.expression_ranges(view).savefig(tmp_path / "f.png")
    ids = [rf"$\bad{i % 3}$" for i in range(120)]
    result = annotate(view, None, AnalysisParams(), clusters=ids)
    figures.enrichment_map(result.tables["cluster_statistics"]).savefig(tmp_path / "g.png")


def test_very_many_clusters_are_cut_to_the_first():
    scores = pd.DataFrame({"cluster_id": [str(i) for i in range(300)], "path": "A", "score": 1.0})
    assert figures.score_map(scores).axes[0].images[0].get_array().shape == (80, 1)
