"""A refined sample is all that the next iteration needs."""

import json

import anndata
import pytest

from ctr_engine.errors import InputError
from ctr_engine.io.samples import read_sample, write_h5ad
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.convergence import Round, clusters_as_sets, stop_of
from ctr_engine.refinement.engine import execute
from ctr_engine.refinement.manual import ManualPlan
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.plan import Override, Subcluster, plan_of
from ctr_engine.refinement.proposals import Proposal
from ctr_engine.refinement.record import record_of
from ctr_engine.refinement.sample import attach_lineage, open_sample
from tests.bad_inputs import good_sample
from tests.cli.test_annotate import ctr

MAP = {
    "Epithelium": {"markers": ["Pan-CK", "E-cadherin"], "anti_markers": ["CD45"]},
    "Immune Cells": {
        "markers": ["CD45"],
        "subtypes": {"T Cells": {"markers": ["CD3"]}, "B Cells": {"markers": ["CD20"]}},
    },
}
PARAMS = RefinementParams(min_cells=10, min_subcluster_cells=10, max_iterations=9)
ORIGIN = {"parent_file": "x.h5ad", "parent_sha256": "0", "timestamp": "2026-01-01T00:00:00+00:00"}


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """A sample of two clusters, of which one holds T and B cells."""
    folder = tmp_path_factory.mktemp("annotated")
    adata = good_sample()
    adata.obs["mine"] = ["0" if i % 3 == 0 else "1" for i in range(adata.n_obs)]
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(json.dumps(MAP))
    known = ("--annotation-only", "--cluster-key", "mine", "--profile", "adaptive")
    files = (folder / "sample.h5ad", "--marker-map", folder / "map.json", "--out", folder / "out")
    assert ctr("annotate", *files, *known).exit_code == 0
    return folder / "out" / "coarse_clusters.h5ad"


def one_iteration(adata, plan):
    opened = open_sample(adata, PARAMS, "x.h5ad")
    number = opened.lineage.next_number
    iteration = execute(opened.sample, opened.scored, plan, number)
    proposal = Proposal(plan, iteration.log, ManualPlan(), ())
    stop = stop_of(opened.sample, opened.scored, iteration, number)
    first = Round(number, proposal, iteration, stop)
    record = record_of(opened.sample, opened.scored, first, opened.lineage.records, ORIGIN)
    after = iteration.after
    lineage = opened.lineage.then(after.partition, record, labels_of_cells(opened.sample, after))
    return (
        attach_lineage(adata, lineage),
        first,
        record,
    )


def divide(cluster: str):
    return plan_of([Subcluster(source="manual", cluster=cluster, resolution=0.4)], [cluster])


def test_the_labels_are_taken_up_as_they_were(annotated):
    adata = read_sample(annotated)
    opened = open_sample(adata, PARAMS, "x.h5ad")
    labels = dict(zip(adata.obs["cluster_lvl0"], adata.obs["cell_type_auto"], strict=True))
    assert {s.cluster_id: s.label for s in opened.scored.states} == labels
    assert opened.lineage.next_number == 1
    assert opened.sample.params.profile == "adaptive"


def test_an_iteration_survives_the_file_and_the_next_goes_on(annotated, tmp_path):
    refined, first, record = one_iteration(read_sample(annotated), divide("1"))
    write_h5ad(refined, tmp_path / "refined.h5ad")
    again = open_sample(read_sample(tmp_path / "refined.h5ad"), PARAMS, "refined.h5ad")
    assert again.lineage.records == (record,)
    assert again.lineage.next_number == 2
    assert clusters_as_sets(again.scored) == clusters_as_sets(first.iteration.after)
    assert again.scored.states == first.iteration.after.states


def test_what_the_file_says_of_each_cell(annotated):
    refined, _, record = one_iteration(read_sample(annotated), divide("1"))
    obs = refined.obs
    third = [i % 3 == 0 for i in range(len(obs))]
    assert set(obs["cluster_lvl0"]) == {"0", "1"}
    assert set(obs["cluster_lvl1"]) == {"0", "1:0", "1:1"}
    assert set(obs.loc[~obs.index.isin(obs.index[third]), "cell_type_lvl1"]) == {
        "T Cells",
        "B Cells",
    }
    assert obs.loc[third, "refinement_action"].unique().tolist() == ["none"]
    assert obs.loc[third, "refinement_iteration"].unique().tolist() == [0]
    assert obs["refinement_iteration"].max() == 1
    assert record.clusters_modified == ("1",)
    assert record.subclusters_created == ("1:0", "1:1")
    assert record.n_cells_modified == 80
    assert record.plan_summary["subcluster"] == 1
    assert record.parent_stage == "H"
    anndata.AnnData(obs=obs)  # plain


def test_a_held_label_and_earlier_actions_travel(annotated):
    held = Override(source="manual", cluster="0", label="Tumour", path=None, reason="seen")
    refined, _, _ = one_iteration(read_sample(annotated), plan_of([held], ["0", "1"]))
    again, second, record = one_iteration(refined, divide("1"))
    assert {s.label for s in second.iteration.after.states} == {"Tumour", "T Cells", "B Cells"}
    assert record.held["0"].by == "override"
    assert (record.parent_stage, record.iteration) == ("I", 2)
    assert set(again.obs["refinement_action"]) == {"override", "subcluster"}
    assert set(again.obs["refinement_iteration"]) == {1, 2}
    assert {"stage_refine_iteration_1", "stage_refine_iteration_2"} <= set(again.uns)


def test_a_sample_that_was_never_annotated_is_refused():
    with pytest.raises(InputError, match="name what ctr annotate wrote") as caught:
        open_sample(good_sample(), PARAMS, "sample.h5ad")
    assert "uns['stage_h_marker_map']" in str(caught.value)


@pytest.mark.parametrize("text", ["{}", "[", '{"given": {"profile": "best"}}'])
def test_a_record_that_cannot_be_read_is_refused(annotated, text):
    adata = read_sample(annotated)
    adata.uns["stage_h_params"] = text
    with pytest.raises(InputError, match="cannot be read"):
        open_sample(adata, PARAMS, "x.h5ad")
    adata = read_sample(annotated)
    adata.uns["stage_refine_iteration_1"] = text
    with pytest.raises(InputError, match="refine from coarse_clusters"):
        open_sample(adata, PARAMS, "x.h5ad")
