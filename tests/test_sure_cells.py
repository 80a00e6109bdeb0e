"""Cells that contradict their label learn from sure ones; random: ``test_oracle_cases``."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine import sure_cells
from ctr_engine.cell_labels import CellLabels
from ctr_engine.clustering.pca import pca
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.engine import Sample, execute, score_partition
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.plan import Relabel, plan_of
from tests.builders import annotated, expression, marker_map
from tests.oracles.sure_cells import agrees, discriminants, dot
from tests.oracles.tree import build_nodes
from tests.oracles.votes import scale

MAP = {
    "R": {
        "markers": ["A"],
        "subtypes": {"X": {"markers": ["B"]}, "Y": {"markers": ["C"]}, "Z": {"markers": ["D"]}},
    },
    "S": {"markers": ["E"]},
}
MARKERS = [*"ABCDE", "F"]
MEANS = {
    "X": [4, 4, 0, 0, 0, 0],
    "Y": [4, 0, 4, 0, 0, 0],
    "Z": [4, 0, 0, 4, 0, 4],
    "S": [0, 0, 0, 0, 4, 0],
}
# Z is few in the cluster of X, and F, which is no marker, goes with it
TRUTH = [*["X"] * 40, *["Z"] * 12, *["Y"] * 30, *["S"] * 30]
IDS = [*["0"] * 52, *["1"] * 30, *["2"] * 30]
PATHS = {"X": "R / X", "Y": "R / Y", "Z": "R / Z", "S": "S"}
# a Z of which the markers say next to nothing
DIM = 45


def values() -> np.ndarray:
    rows = np.array([MEANS[kind] for kind in TRUTH], dtype=float)
    rows += np.random.default_rng(3).normal(0, 0.4, rows.shape)
    rows[DIM, :4] = [4, 1.4, 0.2, 0.5]
    return np.maximum(rows, 0).astype(np.float32)


def cells(
    rows: Any = None,
    ids: Any = IDS,
    *,
    sparse: Any = None,
    content: Any = MAP,
    profile: str = "adaptive",
    **gating: Any,
) -> pd.DataFrame:
    view = expression(values() if rows is None else rows, MARKERS, sparse=sparse)
    return annotated(view, content, ids, profile=profile, gating=gating).tables["annotations"]


def test_cells_of_a_type_that_is_few_in_every_cluster_get_its_name():
    found = cells()
    assert found["cell_type_auto"].tolist() == [*["X"] * 52, *["Y"] * 30, *["S"] * 30]
    assert found["cell_type_cell"].tolist() == TRUTH
    assert found["cell_type_cell_path"].tolist() == [PATHS[kind] for kind in TRUTH]
    by = found["cell_type_cell_by"]
    assert set(by[:40]) == {"cluster"}
    assert set(by[52:]) == {"cluster"}
    assert (by[40:52] != "cluster").all()


def test_a_cell_without_a_marker_of_its_own_is_told_by_what_goes_with_its_type():
    by_own_markers = cells(per_cell_learning=False)
    assert by_own_markers["cell_type_cell"][DIM] == "X"
    found = cells()
    assert (found["cell_type_cell"][DIM], found["cell_type_cell_by"][DIM]) == ("Z", "sure_cells")


def test_the_reference_profile_does_not_learn_unless_it_is_told_to():
    gates = {"min_pos_frac": {"0": 0.0}, "min_enrichment": {"0": -9.0}, "min_gap": {"0": 0.0}}
    plain = cells(profile="reference", **gates)
    assert "sure_cells" not in set(plain["cell_type_cell_by"])
    told = cells(profile="reference", per_cell_learning=True, **gates)
    assert (told["cell_type_cell"] != plain["cell_type_cell"]).any()
    assert told["cell_type_auto"].equals(plain["cell_type_auto"])
    assert told["cell_type_auto_support"].equals(plain["cell_type_auto_support"])


def test_a_cell_that_agrees_with_its_label_keeps_it():
    # X and Z look alike but for their markers: whoever carries B is an X, whatever it resembles
    rows = values()
    rows[:40, 5] = 4
    found = cells(rows)
    nodes = build_nodes(MAP, MARKERS)
    scaled = {m: scale(rows[:, i].astype(float).tolist()) for i, m in enumerate(MARKERS)}
    agreeing = [i for i in range(52) if agrees(i, "R / X", nodes, scaled)]
    assert len(agreeing) >= 40
    assert set(found["cell_type_cell"][agreeing]) == {"X"}


def test_fewer_sure_cells_than_five_teach_nothing():
    ajar = {"min_pos_frac": {"1": 0.0}, "min_enrichment": {"1": -9.0}}
    for n_bright, by in ((4, "cluster"), (5, "sure_cells")):
        rows = values()
        rows[DIM, 3] = {4: 0.25, 5: 0.3}[n_bright]
        rows[DIM, 5] = 8  # a Z by F, if anybody knows a Z
        kept = [i for i in range(len(TRUTH)) if not 40 <= i < 52 - n_bright or i == DIM]
        found = cells(rows[kept], [IDS[i] for i in kept], **ajar)
        assert found["cell_type_cell"][41 : 41 + n_bright].tolist() == ["Z"] * n_bright
        assert found["cell_type_cell_by"][40] == by


def test_only_cells_that_lead_by_the_gap_are_sure_of_another_leaf():
    ajar = {"min_pos_frac": 0.0, "min_enrichment": -9.0, "min_frac_markers_on": 0.0}
    content = {
        "R": {"markers": ["A"], "subtypes": {k: MAP["R"]["subtypes"][k] for k in "XY"}},
        "S": MAP["S"],
        "T": {"markers": ["D"], "gating_overrides": ajar},  # no sibling of X
    }
    sure = cells(content=content)
    bright = [i for i in range(40, 52) if i != DIM]
    assert set(sure["cell_type_cell"][bright]) == {"T"}
    assert set(sure["cell_type_cell_by"][bright]) == {"sure_cells"}
    assert sure["cell_type_cell"].drop(bright).equals(sure["cell_type_auto"].drop(bright))
    nobody = cells(content=content, per_cell_sure_gap=99.0)
    assert "T" not in set(nobody["cell_type_cell"])


def test_a_leaf_that_no_cluster_lets_in_takes_no_cell():
    shut = {
        "markers": ["D", "G", "H"]
    }  # a third of its markers is on the panel, under min_coverage
    subtypes = MAP["R"]["subtypes"] | {"Z": shut}
    content = MAP | {"R": {"markers": ["A"], "subtypes": subtypes}}
    assert "Z" not in set(cells(content=content)["cell_type_cell"])
    open_ = {"min_coverage": {"1": 0.3}}
    assert "Z" in set(cells(content=content, **open_)["cell_type_cell"])


def test_a_cluster_that_stopped_above_the_leaves_keeps_its_cells():
    # nothing passes below R, where the cells of X and Z then stay
    shut = {
        name: {"markers": body["markers"], "gating_overrides": {"min_enrichment": 9.0}}
        if name in "XZ"
        else body
        for name, body in MAP["R"]["subtypes"].items()
    }
    found = cells(content=MAP | {"R": {"markers": ["A"], "subtypes": shut}})
    assert set(found["cell_type_auto"][:52]) == {"R"}
    assert set(found["cell_type_cell"][:52]) == {"R"}
    assert set(found["cell_type_cell_by"][:52]) == {"cluster"}


def test_cells_without_a_label_stay_without_one_and_teach_nothing():
    gates = {"root_veto_markers": {"S": {"markers": ["E"], "max_pos_frac": 0.1}}}
    found = cells(**gates)
    assert set(found["cell_type_auto"][82:]) == {"Unassigned"}
    assert set(found["cell_type_cell"][82:]) == {"Unassigned"}
    assert found["cell_type_cell"][:82].tolist() == TRUTH[:82]


def test_one_leaf_or_one_marker_is_no_choice():
    lone = {"R": {"markers": ["A"]}}
    assert set(cells(content=lone)["cell_type_cell_by"]) == {"cluster"}
    view = expression(values()[:, :1], ["A"])
    found = annotated(view, lone, IDS, profile="adaptive").tables["annotations"]
    assert set(found["cell_type_cell_by"]) == {"cluster"}


def test_one_type_with_examples_is_no_choice():
    kept = [*range(40), 52, 53, 54]  # three Y among the X
    found = cells(values()[kept], ["0"] * 43, min_enrichment={"0": -9.0, "1": -9.0})
    assert set(found["cell_type_auto"]) == {"X"}
    assert "sure_cells" not in set(found["cell_type_cell_by"])


def test_answers_are_those_of_the_formula():
    rows = values()
    found = cells(rows)
    coordinates = pca(expression(rows, MARKERS), 30).tolist()
    sure = [i for i in range(len(TRUTH)) if i != DIM]
    examples: dict[str, list[list[float]]] = {}
    for i in sure:
        examples.setdefault(TRUTH[i], []).append(coordinates[i])
    lines = discriminants(examples)
    scores = {name: c + dot(w, coordinates[DIM]) for name, (w, c) in lines.items()}
    assert max(scores, key=scores.__getitem__) == found["cell_type_cell"][DIM] == "Z"


@pytest.mark.parametrize("sparse", [None, sp.csr_matrix])
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(len(TRUTH))), names=st.permutations(["0", "7", "2:1"]))
def test_order_of_cells_and_names_of_clusters_do_not_matter(sparse, order, names):
    renamed = dict(zip("012", names, strict=True))
    mixed = cells(values()[order], [renamed[IDS[i]] for i in order], sparse=sparse)
    plain = cells()
    for column in ("cell_type_cell", "cell_type_cell_path", "cell_type_cell_by"):
        assert mixed[column].tolist() == plain[column].iloc[order].tolist()


def test_the_size_of_a_block_does_not_matter(monkeypatch):
    plain = cells()
    monkeypatch.setattr(sure_cells, "_CELLS_AT_ONCE", 7)
    assert cells().equals(plain)


def test_cells_that_are_all_alike_are_no_fault():
    kinds = [[4, 4, 0, 1, 0, 0], [4, 0, 4, 0, 0, 1], [0, 0, 0, 0, 4, 0]]
    found = cells(np.repeat(np.array(kinds, dtype=np.float32), [52, 30, 30], axis=0))
    assert found["cell_type_cell"].tolist() == found["cell_type_auto"].tolist()


def refined(*operations: Any) -> CellLabels:
    """Labels of the cells after an iteration that carries these operations out."""
    params = AnalysisParams(profile="adaptive")
    view = expression(values(), MARKERS)
    sample = Sample(view, marker_map(MAP), params, RefinementParams())
    partition = Partition(view.cell_ids.astype(object), np.array(IDS, dtype=object), {})
    before = score_partition(sample, partition, {})
    after = execute(sample, before, plan_of(list(operations), partition.ids), 1).after
    return labels_of_cells(sample, after)


def test_cells_whose_label_a_person_gave_are_not_asked():
    given = {"cluster": "0", "label": "X", "path": "R / X"}
    assert refined().labels.tolist() == TRUTH
    by_hand = refined(Relabel(source="manual", **given))
    assert set(by_hand.labels[:52]) == {"X"}
    assert set(by_hand.given_by[:52]) == {"cluster"}
    assert refined(Relabel(source="auto", **given)).labels.tolist() == TRUTH


def test_the_map_of_these_tests_is_one():
    assert [node.path for node in marker_map(MAP).nodes] == ["R", "R / X", "R / Y", "R / Z", "S"]
