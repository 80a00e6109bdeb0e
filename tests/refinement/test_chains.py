"""Chains of iterations with a manual file: what waits, what is done when, and how they end."""

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.config import config_context

from ctr_engine.documents import Document, parse_document
from ctr_engine.errors import ConfigError, CtrError
from ctr_engine.io.samples import read_sample, write_h5ad
from ctr_engine.profiles import AnalysisParams
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.convergence import Round, is_finished, iterate, next_round
from ctr_engine.refinement.engine import Sample, Scored, execute, score_partition
from ctr_engine.refinement.lineage import Lineage
from ctr_engine.refinement.params import RefinementParams
from ctr_engine.refinement.partition import Partition
from ctr_engine.refinement.plan import Subcluster, clusters_of, plan_of
from ctr_engine.refinement.proposals import Policy
from ctr_engine.refinement.record import IterationRecord, record_of
from ctr_engine.refinement.sample import attach_lineage, open_sample
from tests.bad_inputs import good_sample
from tests.builders import expression, marker_map
from tests.cli.test_annotate import ctr, words

MARKERS = ["Pan-CK", "CD45", "CD3", "CD20", "Ki67", "VIM"]
CONTENT = {
    "Epithelium": {"markers": ["Pan-CK"], "anti_markers": ["CD45"]},
    "Immune Cells": {
        "markers": ["CD45"],
        "subtypes": {
            "T Cells": {"markers": ["CD3"], "anti_markers": ["CD20"]},
            "B Cells": {"markers": ["CD20"], "anti_markers": ["CD3"]},
        },
    },
}
TYPES = {"E": [3, 0, 0, 0, 1, 1], "T": [0, 3, 3, 0, 1, 1], "B": [0, 3, 0, 3, 1, 1]}
CELLS = "E" * 60 + "T" * 46 + "B" * 34
CLUSTERS = "0" * 60 + "1" * 80
"""Cluster 1 holds 46 T cells and 34 B cells: dividing it gives 1:0 and 1:1."""
T_CELLS = [f"cell_{i}" for i in range(60, 106)]
B_CELLS = [f"cell_{i}" for i in range(106, 140)]
SMALL = {"min_cells": 50, "score_threshold": 2.0, "max_iterations": 9}
FINER = {
    "min_cells": 5,
    "min_subcluster_cells": 4,
    "resolution": 2.0,
    "score_threshold": 99.0,
    "score_plateau": 0.0,
    "max_iterations": 3,
}
"""Divides whatever comes apart, again and again."""
ORIGIN = {"parent_file": "x.h5ad", "parent_sha256": "0", "timestamp": "2026-01-01T00:00:00+00:00"}


@pytest.fixture(autouse=True, scope="module")
def unchecked_tables():
    """Leave out the check of each table; other tests have it."""
    with config_context(validation_enabled=False):
        yield


@cache
def start(**refinement) -> tuple[Sample, Scored]:
    random = np.random.default_rng(1)
    rows = np.array([TYPES[cell] for cell in CELLS]) + random.normal(0, 0.4, (len(CELLS), 6))
    params = RefinementParams.model_validate({**SMALL, **refinement})
    sample = Sample(expression(rows, MARKERS), marker_map(CONTENT), AnalysisParams(), params)
    ids = np.array(list(CLUSTERS), dtype=object)
    partition = Partition(sample.view.cell_ids.astype(object), ids, {})
    return sample, score_partition(sample, partition, {})


def manual(*entries: dict, **cells: Sequence[str]) -> Document:
    """File with these entries; ``c1_0`` has the cells of ``1:0``."""
    keyed = {name[1:].replace("_", ":"): "\n".join(ids) for name, ids in cells.items()}
    content = {"refinements": list(entries), **({"cells": keyed} if keyed else {})}
    return parse_document(json.dumps(content, indent=1), "manual.json")


def override(cluster: str, label: str = "Epithelium", **more) -> dict:
    return {"cluster": cluster, "action": "override", "label": label, **more}


def divide(cluster: str, **more) -> dict:
    return {"cluster": cluster, "action": "subcluster", **more}


def skip(cluster: str) -> dict:
    return {"cluster": cluster, "action": "skip"}


def chain(document: Document | None, *, auto: bool = True, first: int = 1, **params) -> list[Round]:
    sample, before = start(**params)
    return list(iterate(sample, before, Policy(auto, document, chained=True), first))


def done(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    return [one.manual_entries for one in rounds]


def waiting(one: Round | IterationRecord) -> tuple[str, ...]:
    return one.waiting if isinstance(one, IterationRecord) else one.proposal.manual.waiting


def by_hand(rounds: Sequence[Round]) -> list[list[tuple[str, ...]]]:
    """Clusters of the manual operations of each iteration."""
    return [
        [clusters_of(op) for op in one.iteration.plan.operations if op.source == "manual"]
        for one in rounds
    ]


def auto_clusters(one: Round) -> set[str]:
    return {
        cluster
        for op in one.iteration.plan.operations
        if op.source == "auto"
        for cluster in clusters_of(op)
    }


def labels(one: Round) -> dict[str, str]:
    return {state.cluster_id: state.label for state in one.iteration.after.states}


# ---------------------------------------------------------------------- parts


def test_an_entry_on_a_part_is_done_after_the_iteration_that_makes_it():
    rounds = chain(manual(override("1:0")))
    assert by_hand(rounds) == [[], [("1:0",)], []]
    assert labels(rounds[0]) == {"0": "Epithelium", "1:0": "T Cells", "1:1": "B Cells"}
    assert labels(rounds[1]) == {"0": "Epithelium", "1:0": "Epithelium", "1:1": "B Cells"}
    assert waiting(rounds[0]) == ("line 3, refinements.0: there is no cluster '1:0' yet",)
    assert [waiting(one) for one in rounds[1:]] == [(), ()]
    assert [one.stop_reason for one in rounds] == [None, None, "no_candidates"]


def test_an_entry_keyed_by_the_cells_of_the_smaller_part_waits_for_it():
    rounds = chain(manual(override("1:1"), c1_1=B_CELLS))
    assert by_hand(rounds) == [[], [("1:1",)], []]
    (text,) = waiting(rounds[0])
    assert text.startswith("line 3, refinements.0: the 34 cells that cluster '1:1' was decided on")
    assert text.endswith("are now in cluster '1' with 46 other cells")
    assert labels(rounds[-1]) == {"0": "Epithelium", "1:0": "T Cells", "1:1": "Epithelium"}


@pytest.mark.parametrize(
    ("entry", "operation"), [(override("1:0"), "override"), (divide("1:0"), "subcluster")]
)
def test_an_entry_keyed_by_the_cells_of_the_larger_part_waits_for_it(entry, operation):
    rounds = chain(manual(entry, c1_0=T_CELLS))
    assert by_hand(rounds)[:2] == [[], [("1:0",)]]
    assert labels(rounds[-1])["1:1"] == "B Cells"


def test_leaving_the_larger_part_alone_leaves_the_parent_to_be_divided():
    rounds = chain(manual(skip("1:0"), c1_0=T_CELLS))
    assert set(labels(rounds[-1])) == {"0", "1:0", "1:1"}


def test_entries_keyed_by_the_cells_of_both_parts_wait_for_them():
    document = manual(override("1:0"), override("1:1", "T Cells"), c1_0=T_CELLS, c1_1=B_CELLS)
    rounds = chain(document)
    assert by_hand(rounds) == [[], [("1:0",), ("1:1",)], []]
    assert labels(rounds[-1]) == {"0": "Epithelium", "1:0": "Epithelium", "1:1": "T Cells"}


def test_cells_find_a_part_whatever_it_is_called():
    rounds = chain(manual(override("9:7"), c9_7=B_CELLS))
    assert by_hand(rounds) == [[], [("1:1",)], []]


def test_a_part_of_a_part_of_ones_own_waits_twice():
    document = manual(
        divide("1"), divide("1:0", resolution=2.0), override("1:0:0"), override("1:1", "T Cells")
    )
    rounds = chain(document, auto=False, min_subcluster_cells=5)
    assert done(rounds)[:3] == [
        ("refinements.0",),
        ("refinements.1", "refinements.3"),
        ("refinements.2",),
    ]
    assert [len(waiting(one)) for one in rounds] == [3, 1, 0, 0]
    assert labels(rounds[-1])["1:0:0"] == "Epithelium"
    assert labels(rounds[-1])["1:1"] == "T Cells"


def test_a_merge_of_parts_waits_for_both_and_nobody_else_takes_one_of_them():
    entry = {"clusters": ["0", "1:1"], "action": "merge", "label": "Immune Cells"}
    rounds = chain(manual(entry), score_threshold=99.0)
    assert by_hand(rounds)[:2] == [[], [("0", "1:1")]]
    assert auto_clusters(rounds[0]) == {"1"}, "0 is named in the file"
    assert len(rounds[1].iteration.after.partition.cells_of("0")) == 94
    assert auto_clusters(chain(None, score_threshold=99.0)[0]) == {"0", "1"}


@pytest.mark.parametrize("chained", [True, False])
def test_a_part_that_cannot_come_yet_is_a_mistake_without_a_chain(chained):
    sample, before = start()
    policy = Policy(True, manual(override("1:0")), chained=chained)
    if chained:
        assert next_round(sample, before, policy, (), 1) is not None
        return
    with pytest.raises(ConfigError, match="there is no cluster '1:0'; there are: 0, 1"):
        next_round(sample, before, policy, (), 1)


@pytest.mark.parametrize("name", ["7", "7:0", "10:0"])
def test_a_name_of_nothing_is_a_mistake_in_the_first_iteration(name):
    with pytest.raises(ConfigError, match=f"there is no cluster '{name}'; there are: 0, 1"):
        chain(manual(override(name)))


def test_a_part_does_not_take_the_name_that_another_cluster_has():
    sample, _ = start()
    ids = np.array(["0"] * 34 + ["1:0"] * 26 + ["1"] * 80, dtype=object)
    partition = Partition(sample.view.cell_ids.astype(object), ids, {})
    before = score_partition(sample, partition, {})
    plan = plan_of([Subcluster(source="manual", cluster="1", resolution=0.4)], partition.ids)
    try:
        after = execute(sample, before, plan).after.partition
    except CtrError:
        return  # to refuse would do as well
    others = set(after.clusters[60:].tolist())
    assert len(others) == 2
    assert set(after.clusters[:60].tolist()).isdisjoint(others)


# ---------------------------------------------------------------------- once


def test_entries_are_done_once():
    """A relabelling that rescoring could not undo would be seen again in each iteration."""
    document = manual(
        {"cluster": "0", "action": "relabel", "label": "Immune Cells"},
        divide("1"),
        override("1:1"),
    )
    rounds = chain(document, auto=False)
    assert done(rounds) == [("refinements.0", "refinements.1"), ("refinements.2",), ()]


def test_an_entry_that_found_nothing_to_divide_is_done_too():
    rounds = chain(manual(divide("0", resolution=0.01)), auto=False)
    assert done(rounds) == [("refinements.0",)]
    assert rounds[0].iteration.log["outcome"].tolist() == ["unsplittable"]
    assert rounds[0].stop_reason == "set_equivalence"


def test_an_override_that_is_done_holds_and_its_cluster_is_left_alone():
    rounds = chain(manual(override("1:0")), **FINER)
    assert by_hand(rounds)[1] == [("1:0",)]
    for one in rounds[1:]:
        assert labels(one)["1:0"] == "Epithelium"
        assert one.iteration.after.partition.held["1:0"].by == "override"


# ---------------------------------------------------------------------- skip


def test_without_a_skip_all_are_divided_again():
    """Else the tests below would hold for any chain."""
    rounds = chain(None, **FINER)
    assert {"0", "1"} == auto_clusters(rounds[0])
    assert any(name.startswith("0:") for name in auto_clusters(rounds[1]))
    assert len(rounds) > 2


@pytest.mark.parametrize("keyed", [False, True])
def test_a_skip_holds_in_every_iteration(keyed):
    cells = {"c0": [f"cell_{i}" for i in range(60)]} if keyed else {}
    rounds = chain(manual(skip("0"), **cells), **FINER)
    assert len(rounds) > 2
    assert all("0" not in auto_clusters(one) for one in rounds)
    assert len(rounds[-1].iteration.after.partition.cells_of("0")) == 60
    assert [one.proposal.manual.skipped for one in rounds] == [("0",)] * len(rounds)
    assert done(rounds) == [()] * len(rounds)


def test_a_skip_of_a_part_holds_from_when_it_is_there():
    rounds = chain(manual(skip("1:0")), **FINER)
    assert waiting(rounds[0]) == ("line 3, refinements.0: there is no cluster '1:0' yet",)
    assert "1" in auto_clusters(rounds[0])
    cells = rounds[0].iteration.after.partition.cells_of("1:0").tolist()
    for one in rounds[1:]:
        assert one.proposal.manual.skipped == ("1:0",)
        assert one.iteration.after.partition.cells_of("1:0").tolist() == cells
    other = chain(None, **FINER)
    assert "1:0" in auto_clusters(other[1]), "else it would have been left alone anyway"


# ---------------------------------------------------------------------- ends


THREE_STEPS = (divide("1"), divide("1:0", resolution=2.0), override("1:0:1"))
PLATEAU = {"score_plateau": 50.0, "min_subcluster_cells": 5}


def test_a_converged_chain_goes_on_for_an_entry_that_waits_and_ends_after_it():
    rounds = chain(manual(*THREE_STEPS), auto=False, **PLATEAU)
    assert [one.stop_reason for one in rounds] == [None, "score_plateau", "score_plateau"]
    assert done(rounds) == [("refinements.0",), ("refinements.1",), ("refinements.2",)]
    shorter = chain(manual(*THREE_STEPS[:2]), auto=False, **PLATEAU)
    assert [one.stop_reason for one in shorter] == [None, "score_plateau"]


def test_a_converged_chain_does_not_go_on_for_what_will_never_come():
    rounds = chain(manual(*THREE_STEPS[:2], override("0:7")), auto=False, **PLATEAU)
    assert [one.stop_reason for one in rounds] == [None, "score_plateau"]
    assert waiting(rounds[-1]) == ("line 12, refinements.2: there is no cluster '0:7' yet",)


def test_nor_for_a_skip():
    rounds = chain(manual(*THREE_STEPS[:2], skip("1:0:1")), auto=False, **PLATEAU)
    assert [one.stop_reason for one in rounds] == [None, "score_plateau"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_the_limit_of_iterations_is_kept(limit):
    for plateau in (PLATEAU, PLATEAU | {"score_plateau": 0.0}):
        params = {**plateau, "max_iterations": limit}
        rounds = chain(manual(*THREE_STEPS), auto=False, **params)
        assert len(rounds) <= limit
        assert [one.number for one in rounds] == list(range(1, len(rounds) + 1))
        assert [bool(done_) for done_ in done(rounds)][:3] == [True] * min(limit, 3)
        if limit < 3:
            assert len(waiting(rounds[-1])) == 3 - limit
    assert rounds[-1].stop_reason == ("iteration_limit" if limit < 4 else "no_candidates")


@pytest.mark.parametrize("first", [2, 3, 7])
def test_a_chain_that_starts_later_counts_from_there(first):
    params = PLATEAU | {"score_plateau": 0.0, "max_iterations": 3}
    rounds = chain(manual(*THREE_STEPS), auto=False, first=first, **params)
    assert [one.number for one in rounds] == list(range(first, max(first, 3) + 1))
    assert rounds[-1].stop_reason == "iteration_limit"


def test_a_chain_without_anything_to_do_is_one_iteration():
    rounds = chain(None, auto=False)
    assert [one.stop_reason for one in rounds] == ["no_candidates"]


@pytest.mark.parametrize("auto", [True, False])
def test_next_round_and_is_finished_agree(auto):
    sample, before = start(**PLATEAU)
    policy = Policy(auto, manual(*THREE_STEPS), chained=True)
    made: list[Round] = []
    for number in range(1, 12):
        finished = is_finished(sample, before.partition, policy, made, number)
        one = next_round(sample, before, policy, made, number)
        assert finished == (one is None)
        if one is None:
            break
        made.append(one)
        before = one.iteration.after
    assert finished
    assert next_round(sample, before, policy, made, number) is None
    expected = list(iterate(*start(**PLATEAU), policy))
    assert [one.iteration.plan for one in made] == [one.iteration.plan for one in expected]
    assert not is_finished(sample, before.partition, policy, (), number), "nothing was made"


NAMES = ["0", "1", "1:0", "1:1", "1:0:0", "1:1:1", "0:0", "0:0:3"]


@st.composite
def files(draw) -> Document:
    """Entries on clusters that exist, on parts that come, and on parts that never will."""
    free = list(draw(st.permutations(NAMES)))
    entries = []
    for _ in range(draw(st.integers(1, 5))):
        action = draw(st.sampled_from(["override", "subcluster", "relabel", "skip", "merge"]))
        if action == "merge":
            entry = {"clusters": [free.pop(), free.pop()], "action": action}
        else:
            entry = {"cluster": free.pop(), "action": action}
        entry |= {"label": "T Cells"} if action in ("override", "relabel") else {}
        entry |= {"resolution": draw(st.sampled_from([0.4, 2.0]))} if action == "subcluster" else {}
        entries.append(entry)
        if len(free) < 2:
            break
    return manual(*entries)


@settings(max_examples=15)
@given(files(), st.booleans(), st.integers(1, 4))
def test_an_entry_is_done_once_or_waits_at_the_end(document, auto, limit):
    params = {"min_subcluster_cells": 5, "max_iterations": limit}
    rounds = chain(document, auto=auto, **params)
    assert len(rounds) <= limit
    entries = document.value["refinements"]
    carried_out = [entry for one in rounds for entry in one.manual_entries]
    assert len(set(carried_out)) == len(carried_out)
    left = {text.split(", ")[1].split(":")[0] for text in waiting(rounds[-1])}
    left |= {f"refinements.{i}" for i, e in enumerate(entries) if e["action"] == "skip"}
    assert not left & set(carried_out)
    assert left | set(carried_out) == {f"refinements.{i}" for i in range(len(entries))}
    skipped = {entry["cluster"] for entry in entries if entry["action"] == "skip"}
    _, before = start(**params)
    for one in rounds:
        touched = {name for op in one.iteration.plan.operations for name in clusters_of(op)}
        assert not touched & skipped
        kept = [name for name in before.partition.ids if name in skipped]
        after = one.iteration.after.partition
        assert all(
            before.partition.cells_of(name).tolist() == after.cells_of(name).tolist()
            for name in kept
        )
        before = one.iteration.after


# ---------------------------------------------------------------------- stored samples


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """A sample of two clusters; "1" holds 40 T cells and 28 B cells."""
    folder = tmp_path_factory.mktemp("annotated")
    adata = good_sample()
    adata = adata[[i for i in range(120) if i % 3 < 2 or i > 35]].copy()
    kinds = [int(name.removeprefix("cell_")) % 3 for name in adata.obs_names]
    adata.obs["mine"] = ["0" if kind == 0 else "1" for kind in kinds]
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(json.dumps(CONTENT))
    files = (folder / "sample.h5ad", "--marker-map", folder / "map.json", "--out", folder / "out")
    result = ctr("annotate", *files, "--annotation-only", "--cluster-key", "mine")
    assert result.exit_code == 0, words(result)
    return folder / "out" / "coarse_clusters.h5ad"


B_OF_FILE = [f"cell_{i}" for i in range(36, 120) if i % 3 == 2]


@pytest.mark.parametrize(
    ("policy", "params", "steps"),
    [
        (Policy(True, manual(override("1:1"), c1_1=B_OF_FILE), chained=True), {}, 3),
        (Policy(False, manual(*THREE_STEPS), chained=True), PLATEAU, 3),
        (Policy(True, manual(skip("1:0"), override("0:9")), chained=True), FINER, 3),
        (Policy(True, focus_clusters=("1",), chained=True), FINER, 3),
        (Policy(True, focus_labels=("Immune Cells",), chained=True), FINER, 3),
        (
            Policy(False, manual({"clusters": ["0", "1"], "action": "merge"}), chained=True),
            {},
            2,
        ),
    ],
    ids=["keyed", "by hand", "skip", "focus", "labels", "merge"],
)
def test_iterations_through_stored_samples_are_those_of_one_call(
    annotated, tmp_path, policy, params, steps
):
    refinement = RefinementParams.model_validate(
        {"min_cells": 50, "min_subcluster_cells": 10, "score_threshold": 2.0, **params}
    )
    opened = open_sample(read_sample(annotated), refinement, "x.h5ad")
    whole = opened.lineage
    before = opened.scored
    rounds = list(iterate(opened.sample, before, policy))
    for one in rounds:
        record = record_of(opened.sample, before, one, whole.records, ORIGIN)
        assert record.waiting == waiting(one)
        assert record.manual_entries == one.manual_entries
        before = one.iteration.after
        whole = whole.then(before.partition, record, labels_of_cells(opened.sample, before))
    assert len(rounds) >= steps, "else one call is the other"
    path = annotated
    for number in range(1, len(rounds) + 2):
        adata = read_sample(path)
        step = open_sample(adata, refinement, "x.h5ad")
        lineage = step.lineage
        assert lineage.next_number == number
        finished = is_finished(
            step.sample, lineage.partition, policy, lineage.records, lineage.next_number
        )
        one = next_round(step.sample, step.scored, policy, lineage.records, lineage.next_number)
        assert finished == (one is None)
        if one is None:
            break
        expected = rounds[number - 1]
        assert one.iteration.plan == expected.iteration.plan
        assert one.stop_reason == expected.stop_reason
        assert waiting(one) == waiting(expected)
        assert one.iteration.after.states == expected.iteration.after.states
        assert one.iteration.log.equals(expected.iteration.log)
        record = record_of(step.sample, step.scored, one, lineage.records, ORIGIN)
        after = one.iteration.after
        lineage = lineage.then(after.partition, record, labels_of_cells(step.sample, after))
        path = tmp_path / f"{number}.h5ad"
        write_h5ad(attach_lineage(adata, lineage), path)
    assert number == len(rounds) + 1
    assert_same(lineage, whole)


def assert_same(left: Lineage, right: Lineage):
    assert left.cell_ids.tolist() == right.cell_ids.tolist()
    assert [ids.tolist() for ids in left.clusters] == [ids.tolist() for ids in right.clusters]
    assert left.records == right.records
    assert left.content_sha256 == right.content_sha256
    assert left.cell_labels.same_as(right.cell_labels)
    assert left.partition.held == right.partition.held
    assert left.stop_reason == right.stop_reason
