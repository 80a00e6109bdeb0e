"""What a run of two passes is told as: numbers by hand, and every sentence."""

import json
import math
import os
import subprocess
import sys
from random import Random

import pytest

from benchmarks.barcodes.simulate import simulated
from ctr_engine.splitmerge.conflicts import Resolved
from ctr_engine.splitmerge.report import STOP_TEXTS, lines, sizes, summary
from ctr_engine.splitmerge.two_pass import Iteration, TwoPass
from tests.cli.test_gaphack import BARCODES, numbers, refined, write
from tests.splitmerge.test_barcodes_refine import SPECIES

GIVEN = {"a": ["s0", "s1"], "b": ["s1", "s2"], "c": ["s3"], "none": []}


def iteration(number: int, stage: str, before: int, after: int, gap: float = 0.25) -> Iteration:
    return Iteration(
        number=number, stage=stage, n_before=before, n_after=after, n_scopes=5, n_skipped=1,
        n_applied=2, n_dropped=0, gap=gap, partition="",
    )  # fmt: skip


def run(*iterations: Iteration, **other) -> TwoPass:
    """Five items in two clusters; two were in conflict, in one group."""
    known = {
        "clusters": {"x": (0, 1, 2, 4), "y": (3,)},
        "kept": iterations[-1].number,
        "stop_reason": "no_changes",
        "cycle": None,
        "restless": (),
        "n_converged_scopes": 7,
        "n_cut_scopes": 0,
        "resolved": Resolved({}, frozenset(), n_conflicts=2, n_components=1, assigned=()),
        "sampled": (),
        "largest_scope": 4,
    }
    return TwoPass(iterations=iterations, **(known | other))


BOTH = (
    iteration(0, "pass_1", 5, 3),
    iteration(1, "pass_2", 3, 2),
    iteration(2, "pass_2", 2, 2, 1 / 3),
)


def step(number: int, stage: str, before: int, after: int, gap: float) -> dict[str, object]:
    """What the numbers say of an iteration."""
    return {
        "number": number,
        "stage": stage,
        "clusters_before": before,
        "clusters_after": after,
        "changes": 2,
        "gap": gap,
    }


@pytest.mark.smoke
def test_the_numbers_are_those_of_the_run():
    assert summary(run(*BOTH), GIVEN, 1.23456) == {
        "n_items": 5,
        "n_clusters_given": 3,
        "n_clusters": 2,
        "mece": True,
        "pass_1": {
            "clusters_before": 5,
            "clusters_after": 3,
            "conflicts_resolved": 2,
            "conflict_components": 1,
            "assigned_to_nearest": 0,
            "individual_refinements": 4,
            "gap": 0.25,
        },
        "pass_2": {
            "clusters_before": 3,
            "clusters_after": 2,
            "iterations": 2,
            "stop_reason": "no_changes",
            "cycle": None,
            "restless_clusters": 0,
            "converged_scopes": 7,
            "gap": 0.333333333,
        },
        "stop_reason": "no_changes",
        "iterations": [
            step(0, "pass_1", 5, 3, 0.25),
            step(1, "pass_2", 3, 2, 0.25),
            step(2, "pass_2", 2, 2, 0.333333333),
        ],
        "kept_iteration": 2,
        "kept_stage": "pass_2",
        "largest_scope": 4,
        "scopes_cut": 0,
        "clusters_refined_by_a_sample": 0,
        "sizes": {
            "largest": 4,
            "smallest": 1,
            "median": 2.5,
            "mean": 2.5,
            "clusters_by_size": {"1": 1, "2-10": 1, "11-50": 0, "51-100": 0, "101+": 0},
        },
        "seconds": 1.235,
    }


def told(result: TwoPass) -> list[str]:
    return lines(summary(result, GIVEN, 0.0), "sequences")


def test_both_passes_are_told_in_sentences():
    assert told(run(*BOTH)) == [
        "5 sequences in 3 clusters",
        "Pass 1 (conflicts, then every cluster once; tends to split):",
        "  2 sequences in several clusters, in 1 groups of clusters: resolved",
        "  4 clusters refined with their neighbours",
        "  5 -> 3 clusters",
        "Pass 2 (neighbourhoods, until nothing changes; tends to merge):",
        "  2 iterations; converged: an iteration changed nothing",
        "  7 converged scopes",
        "  3 -> 2 clusters",
        "Iterations (number, stage, clusters, scopes that changed, mean gap):",
        "   0  pass_1       3      2  0.25000",
        "   1  pass_2       2      2  0.25000",
        "   2  pass_2       2      2  0.33333  <- the result",
        "Result: 2 clusters, each of the sequences in exactly one.",
        "Sizes: largest 4, median 2.5, mean 2.5, smallest 1",
        "Clusters by size: 1 of 1, 1 of 2-10, 0 of 11-50, 0 of 51-100, 0 of 101+",
        "Seconds: 0",
    ]


def test_scopes_that_are_cut_are_told():
    assert not any("left out a near cluster" in line for line in told(run(*BOTH)))
    found = told(run(*BOTH, n_cut_scopes=3))
    assert (
        "3 scopes left out a near cluster, for there are more sequences than a scope takes; "
        in ("".join(found))
    )


def test_a_pass_that_did_not_run_is_not_told():
    only_one = run(BOTH[0], stop_reason=None, kept=0)
    assert summary(only_one, GIVEN, 0)["pass_2"] is None
    assert not any("Pass 2" in line for line in told(only_one))
    only_two = run(iteration(0, "given", 3, 3), iteration(1, "pass_2", 3, 2), resolved=None)
    numbers = summary(only_two, GIVEN, 0)
    assert numbers["pass_1"] is None
    assert (numbers["pass_2"]["clusters_before"], numbers["pass_2"]["iterations"]) == (3, 1)
    assert not any("Pass 1" in line for line in told(only_two))
    assert "  1 iteration; converged: an iteration changed nothing" in told(only_two)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("set_equivalence", "converged: an iteration ended with the clusters that it began with"),
        ("oscillation", "oscillation: a partition came back; the widest gap was kept"),
        (
            "iteration_limit",
            "not converged within the iterations; --max-iterations allows more",
        ),
    ],
)
def test_each_reason_has_a_sentence(reason, text):
    assert f"  2 iterations; {text}" in told(run(*BOTH, stop_reason=reason))
    assert set(STOP_TEXTS) == {
        None, "no_changes", "set_equivalence", "oscillation", "iteration_limit",
    }  # fmt: skip


def test_clusters_that_come_and_go_are_counted():
    result = run(*BOTH, stop_reason="oscillation", cycle=2, restless=((0,), (1, 2), (0, 1, 2)))
    assert summary(result, GIVEN, 0)["pass_2"]["restless_clusters"] == 3
    assert "  3 clusters come and go every 2 iterations" in told(result)
    assert not any("come and go" in line for line in told(run(*BOTH)))


def test_what_was_too_large_is_told():
    resolved = Resolved({}, frozenset(), n_conflicts=2, n_components=1, assigned=(1, 4))
    found = told(run(*BOTH, resolved=resolved, sampled=((0, 1), (2, 3), (4,))))
    assert found[5] == (
        "  2 sequences of a group above the scope size went to the cluster with the nearest medoid"
    )
    assert (
        "Result: 2 clusters, each of the sequences in exactly one. 3 clusters above the scope size "
        "were refined by a sample."
    ) in found


def test_a_result_that_is_the_input_is_told():
    given = iteration(0, "given", 3, 3)
    text = "No iteration widened the gap: the clusters are those that were given."
    kept = told(run(given, iteration(1, "pass_1", 3, 2), iteration(2, "pass_2", 2, 2), kept=0))
    assert f"Result: 2 clusters, each of the sequences in exactly one. {text}" in kept
    assert text not in "".join(told(run(given, iteration(1, "pass_2", 3, 2), kept=1)))


def test_the_result_of_pass_1_is_not_called_the_input():
    found = told(run(BOTH[0], kept=0, stop_reason=None))
    assert "the clusters are those that were given" not in "".join(found)


def test_one_cluster_has_no_gap_and_the_numbers_are_json():
    alone = run(
        *(iteration(x, stage, 1, 1, math.nan) for x, stage in enumerate(["given", "pass_2"]))
    )
    numbers = summary(alone, GIVEN, 0.0)
    assert numbers["pass_2"]["gap"] is None
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers


def test_sizes_are_counted_in_bins_with_their_bounds():
    found = sizes([1, 1, 2, 10, 11, 50, 51, 100, 101, 5_000])
    assert found["clusters_by_size"] == {"1": 2, "2-10": 2, "11-50": 2, "51-100": 2, "101+": 2}
    assert (found["largest"], found["smallest"]) == (5_000, 1)
    assert found["median"] == 30.5
    assert found["mean"] == 532.7


def test_large_numbers_have_commas_and_the_items_their_name():
    numbers = summary(run(*BOTH), GIVEN, 0.0) | {"n_items": 1234567, "n_clusters_given": 1000}
    found = lines(numbers, "microclusters")
    assert found[0] == "1,234,567 microclusters in 1,000 clusters"
    assert "each of the microclusters in exactly one" in "".join(found)


# -------------------------------------------------------------------------- by the command line


def test_what_is_above_the_scope_size_is_not_clustered_as_a_whole(tmp_path):
    # x1 and y1 in one cluster; z1, in two, is clustered with them or goes to the nearest medoid
    clusters = {"a": ["x1", "x2", "y1", "z1"], "b": ["z1", "z2", "z3"]}
    barcodes = [barcode for barcode in BARCODES if barcode.id not in ("x3", "x4", "y2")]
    whole = refined(tmp_path, write(tmp_path, barcodes, clusters), "--pass1-only", "--no-cache")
    assert whole == [["z1", "z2", "z3"], ["x1", "x2"], ["y1"]]
    other = tmp_path / "other"
    given = write(other, barcodes, clusters)
    found = refined(other, given, "--no-cache", "--pass1-only", "--max-scope-size", 5)
    assert found == [["x1", "x2", "y1"], ["z1", "z2", "z3"]]
    assert numbers(other)["pass_1"]["assigned_to_nearest"] == 1
    # of nine in one cluster four are clustered, from the medoid outwards; the others join them
    third = tmp_path / "third"
    given = write(third, clusters={"all": [barcode.id for barcode in BARCODES]})
    assert refined(third, given, "--no-cache", "--pass1-only", "--max-scope-size", 4) == SPECIES
    assert numbers(third)["clusters_refined_by_a_sample"] == 1
    assert numbers(third)["largest_scope"] == 4


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_the_input_and_threads_do_not_matter(seed, tmp_path):
    known, hasty = simulated(1, 30)
    flags = ("--distance-context", "scope", "--search", "kmer", "--no-cache")
    refined(tmp_path, write(tmp_path, known.barcodes, hasty), *flags, "--n-jobs", 1)
    expected = (tmp_path / "out" / "clusters.tsv").read_bytes()
    random = Random(seed)
    moved = random.sample(known.barcodes, len(known.barcodes))
    renamed = {str(random.random()): random.sample(ids, len(ids)) for ids in hasty.values()}
    shuffled = dict(random.sample(list(renamed.items()), len(renamed)))
    other = tmp_path / "other"
    refined(other, write(other, moved, shuffled), *flags, "--n-jobs", 4)
    assert (other / "out" / "clusters.tsv").read_bytes() == expected


def test_hash_seeds_give_the_same_bytes(tmp_path):
    known, hasty = simulated(0, 30)
    source, flag, clusters = write(tmp_path, known.barcodes, hasty)
    made = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = [sys.executable, "-m", "ctr_assets", "gaphack", "refine", source, flag, clusters]
        flags = ["--out", out, "--distance-context", "scope", "--no-cache", "--search", "kmer"]
        subprocess.run(
            [str(part) for part in command + flags],
            check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        files = ("clusters.tsv", "cluster_mapping.tsv", "history.parquet")
        made.append([(out / name).read_bytes() for name in files])
    assert made[0] == made[1]
