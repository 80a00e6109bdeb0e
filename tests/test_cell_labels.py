"""The label of each cell alone; random cases are in ``test_oracle_cases``."""

import numpy as np
import pytest
import scipy.sparse as sp

from tests.builders import annotated, expression

MAP = {
    "R": {
        "markers": ["A"],
        "subtypes": {
            "X": {"markers": ["B"]},
            "Y": {"markers": ["C"]},
            "Z": {"markers": ["D"], "anti_markers": ["B"]},
        },
    },
    "S": {"markers": ["E"]},
}
GATES = {"min_pos_frac": {"0": 0.0, "1": 0.5}, "min_enrichment": {"0": -9.0, "1": -9.0}}
#         A  B  C  D  E
ROWS = [
    [2, 9, 1, 0, 0],  # an X
    [2, 9, 1, 0, 0],  # an X
    [2, 9, 1, 0, 0],  # an X
    [2, 1, 9, 0, 0],  # a Y among them
    [2, 9, 1, 9, 0],  # B speaks against Z, which does not pass
    [0, 0, 0, 0, 9],
    [0, 0, 0, 0, 9],
    [0, 0, 0, 0, 9],
    [0, 0, 0, 1, 9],
    [0, 0, 0, 1, 8],
]
IDS = ["0"] * 5 + ["1"] * 5


def cells(rows=ROWS, ids=IDS, sparse=None, content=MAP, **gating):
    view = expression(rows, list("ABCDE"), sparse=sparse)
    scoring = {"positive_quantile": 0.4}
    tables = annotated(view, content, ids, gating=GATES | gating, scoring=scoring).tables
    return tables["annotations"]


def test_a_cell_takes_the_sibling_that_passed_and_that_its_markers_prefer():
    found = cells()
    assert found["cell_type_auto"].tolist() == ["X"] * 5 + ["S"] * 5
    assert found["cell_type_cell"].tolist() == ["X", "X", "X", "Y", "X"] + ["S"] * 5
    assert found["cell_type_cell_path"].tolist() == [
        *["R / X"] * 3,
        "R / Y",
        "R / X",
        *["S"] * 5,
    ]


def test_a_lead_below_the_gap_leaves_the_label_of_the_cluster():
    assert cells(per_cell_gap_threshold=9.0)["cell_type_cell"].tolist() == ["X"] * 5 + ["S"] * 5


def test_a_sibling_that_fails_a_gate_takes_no_cell():
    against = {**MAP["R"]["subtypes"], "Y": {"markers": ["C"], "anti_markers": ["B"]}}
    content = MAP | {"R": {"markers": ["A"], "subtypes": against}}
    found = cells(content=content)
    assert found["cell_type_cell"].tolist() == found["cell_type_auto"].tolist()


@pytest.mark.parametrize("sparse", [None, sp.csr_matrix])
def test_the_order_of_the_cells_and_the_names_of_clusters_do_not_matter(sparse):
    order = np.random.default_rng(0).permutation(len(ROWS))
    rows = [ROWS[i] for i in order]
    mixed = cells(rows, [{"0": "7", "1": "2:1"}[IDS[i]] for i in order], sparse=sparse)
    assert mixed["cell_type_cell"].tolist() == cells()["cell_type_cell"].iloc[order].tolist()
