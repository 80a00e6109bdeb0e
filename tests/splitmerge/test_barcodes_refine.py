"""Clusters of barcodes, refined: the shared runs, known species, and hand counts."""

import hashlib
import json
from random import Random

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.barcodes.simulate import simulated
from ctr_engine.errors import InputError
from ctr_engine.io.barcodes import read_fasta
from ctr_engine.splitmerge.barcodes.aligned import AlignedDistances
from ctr_engine.splitmerge.barcodes.kmers import kmer_candidates
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from ctr_engine.splitmerge.barcodes.refine import (
    cluster_barcodes,
    clusters_table,
    numbered,
    refine_barcodes,
)
from ctr_engine.splitmerge.barcodes.sequences import Barcode
from ctr_engine.splitmerge.params import GapParams
from ctr_engine.tables import ClusterMapping, SequenceClusters, TwoPassHistory, checked
from tests.oracles import gaphack as slow
from tests.splitmerge.cases import case, names
from tests.splitmerge.test_aligned import Counted, backbone, changed

X = backbone(0)
Z = changed(X, *range(10, 90, 4))
"""20 changes of 200, so 0.1 from X."""
Y = changed(X, *range(92, 182, 3))
"""30 other changes: 0.15 from X, 0.25 from Z."""

SET = [
    *(Barcode(f"x{i}", X, 'name="X"') for i in (1, 2, 3, 4)),
    *(Barcode(f"y{i}", Y) for i in (1, 2)),
    *(Barcode(f"z{i}", Z) for i in (1, 2, 3)),
]
"""Three species whose members are equal: the gap of a cluster is the distance to its nearest."""

GIVEN = {"a": ["x1", "z1", "x2"], "b": ["x2", "x3", "x4"], "c": ["z2", "z3"], "d": ["y1"]}
"""Two species in a, x2 twice, Z in halves, y2 nowhere."""

SPECIES = [["x1", "x2", "x3", "x4"], ["z1", "z2", "z3"], ["y1", "y2"]]

CACHE = Counted()


def refined(clusters=GIVEN, barcodes=SET, *, passes=(1, 2), n_jobs=1, search=None, **options):
    params = BarcodeParams.model_validate(options)
    return refine_barcodes(
        barcodes, clusters, params, passes=passes, cache=CACHE, n_jobs=n_jobs, search=search
    )


def members(found) -> list[list[str]]:
    return [list(ids) for ids in found.clusters.values()]


@pytest.mark.smoke
def test_every_kind_of_fault_is_repaired():
    found = refined()
    assert members(found) == SPECIES, "the largest first"
    assert list(found.clusters) == ["cluster_00001", "cluster_00002", "cluster_00003"]
    assert found.ids == tuple(barcode.id for barcode in SET)


@pytest.mark.parametrize("name", names("end_to_end_cases"))
def test_a_shared_run_on_real_barcodes_gives_the_expected_partition(shared, gaphack, name):
    expected = case(gaphack, "end_to_end_cases", name)
    barcodes = read_fasta(shared / "data" / "barcodes" / "russula_diverse_50.fasta")
    parent = {
        "gap_method": "global", "distance_context": "scope", "initial_state_competes": False,
        "close_threshold": 0.02,
    }  # fmt: skip
    found = refined(expected["input_clusters"], barcodes, **parent)
    wanted = sorted(sorted(ids) for ids in expected["expected_partition_ids"])
    assert sorted(members(found)) == wanted
    assert found.result.stop_reason == "no_changes"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("context", ["dataset", "scope"])
def test_simulated_species_are_found(seed, context):
    known, hasty = simulated(seed, 40)
    species: dict[str, list[str]] = {}
    for name, one in known.species.items():
        species.setdefault(one, []).append(name)
    assert sorted(hasty.values()) != sorted(species.values())
    found = refined(hasty, known.barcodes, distance_context=context)
    assert sorted(members(found)) == sorted(species.values())


def test_neither_order_nor_names_nor_threads_matter():
    known, hasty = simulated(1, 40)
    expected = refined(hasty, known.barcodes, distance_context="scope")
    for seed in range(3):
        random = Random(seed)
        items = [(f"{random.random()}", random.sample(ids, len(ids))) for ids in hasty.values()]
        moved = random.sample(known.barcodes, len(known.barcodes))
        found = refined(
            dict(random.sample(items, len(items))), moved, n_jobs=1 + 3 * (seed % 2),
            distance_context="scope", search=lambda b: kmer_candidates([s.residues for s in b]),
        )  # fmt: skip
        assert found.clusters == expected.clusters
        assert found.history().equals(expected.history())


OVERLAPPING = st.lists(
    st.lists(st.sampled_from([barcode.id for barcode in SET]), unique=True), max_size=6
)


@settings(max_examples=40)
@given(OVERLAPPING)
def test_each_sequence_is_in_exactly_one_cluster_whatever_is_given(given):
    found = refined({str(x): ids for x, ids in enumerate(given)})
    everything = [i for ids in found.clusters.values() for i in ids]
    assert sorted(everything) == sorted(barcode.id for barcode in SET)
    assert all(len({i[0] for i in ids}) == 1 for ids in members(found)), "no two species in one"


# ------------------------------------------------------------------------- passes and options


def test_a_pass_can_be_left_out():
    found = refined(passes=(1,))
    assert members(found) == SPECIES
    assert found.result.stop_reason is None
    halves = {"a": ["x1"], "b": ["x2", "x3", "x4"], "c": ["z1", "z2", "z3"], "d": ["y1", "y2"]}
    found = refined(halves, passes=(2,))
    assert members(found) == SPECIES
    assert [i.stage for i in found.result.iterations] == ["given", "pass_2", "pass_2"]


def near_species(changes: int) -> list[Barcode]:
    """Two species of three equal members each, some changes apart, and a far one."""
    other = changed(X, *range(20, 20 + 5 * changes, 5))
    return [
        *(Barcode(f"p{i}", X) for i in range(3)),
        *(Barcode(f"q{i}", other) for i in range(3)),
        *(Barcode(f"y{i}", Y) for i in range(3)),
    ]


P, Q, FAR = (tuple(f"{name}{i}" for i in range(3)) for name in "pqy")


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        # 6 of 200 is .03: the mean gap is (.03 + .03 + .13) / 3 apart, (.12 + .15) / 2 as one
        (6, {}, [P, Q, FAR]),
        (6, {"max_lump": 0.05}, [P + Q, FAR]),
        # 3 of 200 is .015, and one cluster has the wider gap
        (3, {}, [P + Q, FAR]),
        (3, {"max_lump": 0.01}, [P, Q, FAR]),
    ],
)
def test_max_lump_decides_what_is_never_one_species(changes, options, expected):
    barcodes = near_species(changes)
    clusters = {"p": P, "q": Q, "y": FAR}
    assert members(refined(clusters, barcodes, **options)) == [list(ids) for ids in expected]


def test_a_context_holds_up_to_two_thousand_sequences():
    assert BarcodeParams().context_of(2_000) == "dataset"
    assert BarcodeParams().context_of(2_001) == "scope"
    for context in ("dataset", "scope"):
        params = BarcodeParams(distance_context=context)
        assert params.context_of(1) == params.context_of(5_000) == context


def test_a_search_of_medoids_decides_which_clusters_are_neighbours():
    asked = []

    def wrong(barcodes):
        """Give each x a y and nothing else."""
        asked.append([barcode.id for barcode in barcodes])
        pairs = np.zeros((4, 4), dtype=bool)
        pairs[[0, 1, 2, 3], [2, 3, 0, 1]] = True
        return sp.csr_matrix(pairs)

    halves = {"a": ["x1"], "b": ["x2", "x3", "x4"]}
    apart = refined(halves, SET[:6], passes=(2,), search=wrong, k_neighbors=1)
    assert asked[0] == ["x1", "x2", "y1", "y2"], "medoids, of equal ones the first"
    assert members(apart) == [["x2", "x3", "x4"], ["x1"], ["y1"], ["y2"]]
    together = refined(halves, SET[:6], passes=(2,), k_neighbors=1)
    assert members(together) == [SPECIES[0], SPECIES[2]]


def test_equal_sequences_are_one_cluster_also_where_there_is_no_other():
    assert members(refined({"a": ["x1", "x2"], "b": ["x3", "x4"]}, SET[:4])) == [SPECIES[0]]


def test_a_result_that_is_refined_again_stays_as_it_is():
    known, hasty = simulated(0, 40)
    once = refined(hasty, known.barcodes)
    again = refined(once.clusters, known.barcodes)
    assert again.clusters == once.clusters
    assert again.result.stop_reason in ("no_changes", "set_equivalence")


# ------------------------------------------------------------------------------------- tables


def test_the_mapping_counts_what_old_and_new_clusters_share():
    mapping = checked(ClusterMapping, refined().mapping(GIVEN))
    one, two, three = "cluster_00001", "cluster_00002", "cluster_00003"
    assert mapping.to_numpy().tolist() == [
        ["a", one, 2, 3, 4],
        ["a", two, 1, 3, 3],
        ["b", one, 3, 3, 4],
        ["c", two, 2, 2, 3],
        ["d", three, 1, 1, 2],
    ]


def test_the_history_has_a_row_per_iteration():
    history = checked(TwoPassHistory, refined().history()).to_dict("records")
    text = "0,1,2,3;4,5;6,7,8"  # X, Y, Z in the order of their ids
    partition = hashlib.sha256(text.encode()).hexdigest()
    gap = (0.1 + 0.15 + 0.1) / 3
    assert [row.pop("gap") for row in history] == pytest.approx([gap, gap], abs=1e-12)
    same = {"n_after": 3, "n_scopes": 3, "n_skipped": 0, "n_dropped": 0, "partition": partition}
    # five clusters with y2: the conflict of a and b, then c with z1, and d with y2
    assert history == [
        {"number": 0, "stage": "pass_1", "n_before": 5, "n_applied": 2, "kept": False, **same},
        {"number": 1, "stage": "pass_2", "n_before": 3, "n_applied": 0, "kept": True, **same},
    ]


def test_clusters_are_numbered_by_size_and_then_by_their_ids():
    found = numbered([["c"], ["e", "d"], ["b"], ["a", "f"]])
    assert found == {
        "cluster_00001": ("a", "f"),
        "cluster_00002": ("d", "e"),
        "cluster_00003": ("b",),
        "cluster_00004": ("c",),
    }
    table = checked(SequenceClusters, clusters_table(found))
    assert table.loc[1].tolist() == ["f", "cluster_00001"]
    assert len(table) == 6


# ------------------------------------------------------------------------ clustering one scope


@pytest.mark.parametrize("options", [{}, {"gap_method": "global"}, {"alpha": 1.0}])
def test_sequences_are_clustered_as_the_slow_loop_clusters_their_distances(options):
    known, _ = simulated(2, 24)
    params = GapParams.model_validate(options)
    clusters, found = cluster_barcodes(known.barcodes, params)
    letters = [barcode.residues for barcode in known.barcodes]
    matrix = AlignedDistances(letters, dataset=False).matrix(range(24))
    expected = slow.gap_clusters(matrix.tolist(), slow.Setting(**params.model_dump()))
    ids = [barcode.id for barcode in known.barcodes]
    wanted = [[ids[x] for x in items] for items in expected.partition]
    assert sorted(map(list, clusters.values())) == sorted(wanted)
    assert found.gap == pytest.approx(expected.gap, abs=1e-12)


# ------------------------------------------------------------------------------------- errors


def test_a_cluster_of_sequences_that_there_are_not_is_refused():
    text = (
        "clusters: 2 faults\n  a: names 'x9', which is no sequence\n"
        "  b: names '', which is no sequence"
    )
    with pytest.raises(InputError) as raised:
        refined({"a": ["x1", "x9"], "b": ["", "x2"]})
    assert str(raised.value) == text


def test_without_pass_1_conflicts_are_named():
    clusters = {"a": ["x1", "x2"], "b": ["x2", "x1"], "c": ["z1", "x1"]}
    with pytest.raises(InputError) as raised:
        refined(clusters, passes=(2,))
    assert str(raised.value).splitlines() == [
        "clusters: 2 faults",
        "  'x1' is in a, b, c; pass 1 resolves that, so leave it in",
        "  'x2' is in a, b; pass 1 resolves that, so leave it in",
    ]
    many = [Barcode(f"s{x:02d}", X) for x in range(25)]
    ids = [barcode.id for barcode in many]
    with pytest.raises(InputError, match="and 5 more") as raised:
        refined({"a": ids, "b": ids}, many, passes=(2,))
    assert json.dumps(str(raised.value)).count("is in a, b;") == 20


def test_distances_between_species_are_those_that_were_counted():
    found = AlignedDistances([X, Y, Z], dataset=True).matrix([0, 1, 2])
    assert np.array_equal(found, [[0, 0.15, 0.1], [0.15, 0, 0.25], [0.1, 0.25, 0]])
