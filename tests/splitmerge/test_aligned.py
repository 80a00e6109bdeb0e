"""Distances of barcodes: changes that were counted beforehand, over one length."""

import json
import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.barcodes.simulate import simulated
from ctr_engine.splitmerge.barcodes import aligned, alignment
from ctr_engine.splitmerge.barcodes.aligned import (
    AlignedDistances,
    NoCache,
    context_key,
    typical_order,
)
from ctr_engine.splitmerge.barcodes.alignment import AlignerMissingError
from tests.cli.test_annotate import ctr, words


def backbone(seed: int, length: int = 200) -> str:
    """Random letters, no two neighbours equal: no run of a letter takes a change up."""
    random = Random(seed)
    letters = "A"
    while len(letters) < length:
        letters += random.choice([letter for letter in "ACGT" if letter != letters[-1]])
    return letters


def changed(letters: str, *places: int) -> str:
    """Other letters at some places, which neither neighbour has: each counts one."""
    found = list(letters)
    for x in places:
        near = {letters[x - 1], letters[x], letters[x + 1]}
        found[x] = next(letter for letter in "ACGT" if letter not in near)
    return "".join(found)


BARCODE = backbone(0)


class Counted(dict):
    """A cache in memory."""

    def get(self, key, n):
        return self[key] if key in self and len(self[key]) == n else None

    def put(self, key, counts):
        self[key] = counts


@pytest.fixture
def alignments(monkeypatch) -> list[list[str]]:
    """What was aligned."""
    calls = []

    def align(sequences):
        calls.append(list(sequences))
        return alignment.align(sequences)

    monkeypatch.setattr(aligned, "align", align)
    return calls


@pytest.mark.smoke
@pytest.mark.parametrize("dataset", [True, False])
def test_a_distance_is_changes_over_length(dataset):
    sequences = [BARCODE, changed(BARCODE, 30, 90), changed(BARCODE, 50, 60, 120)]
    found = AlignedDistances(sequences, dataset=dataset)
    assert len(found) == 3
    expected = np.array([[0, 2, 3], [2, 0, 5], [3, 5, 0]]) / 200
    assert found.matrix([0, 1, 2]).tolist() == expected.tolist()
    assert found.matrix([2, 0]).tolist() == [[0, 0.015], [0.015, 0]]
    assert found.matrix([1]).tolist() == [[0.0]]


def test_the_length_is_that_of_the_scope_or_of_all_sequences():
    sequences = [BARCODE, changed(BARCODE, 30, 60, 70), BARCODE[:120], BARCODE[:120]]
    by_scope = AlignedDistances(sequences, dataset=False)
    assert by_scope.matrix([0, 1])[0, 1] == 3 / 200
    assert by_scope.matrix([0, 1, 2, 3])[0, 1] == 3 / 160
    assert by_scope.matrix([1, 2, 3])[0, 1] == 3 / 120
    of_all = AlignedDistances(sequences, dataset=True)
    for items in ([0, 1], [0, 1, 2, 3], [1, 2, 0]):
        found = of_all.matrix(items)
        assert found[items.index(0), items.index(1)] == 3 / 160


def test_rows_are_in_the_order_that_was_asked_for(alignments):
    sequences = [changed(BARCODE, *range(20, 20 + 4 * x, 4)) for x in range(4)]
    scope = AlignedDistances(sequences, dataset=False)
    for items in ([3, 0, 2], [2, 3, 0], [0, 2, 3]):
        expected = [[abs(i - j) / 200 for j in items] for i in items]
        assert scope.matrix(items).tolist() == expected
    assert alignments == [[sequences[x] for x in (0, 2, 3)]], "once, in the order of the ids"


def test_what_hardly_overlaps_cannot_be_compared():
    # 20 letters in common of 110 and 110; 60 of 110 and 150
    sequences = [BARCODE, BARCODE[:110], BARCODE[90:], BARCODE[50:]]
    found = AlignedDistances(sequences, dataset=True).matrix([1, 2, 3])
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1, 0])
    assert found[0, 2] == found[1, 2] == 0


def test_small_and_ambiguous_letters_are_no_changes(alignments):
    other = f"{BARCODE[:40].lower()}N{BARCODE[41:]}"
    found = AlignedDistances([BARCODE, other, changed(BARCODE, 80)], dataset=False)
    assert found.matrix([0, 1, 2]).tolist() == [[0, 0, 0.005], [0, 0, 0.005], [0.005, 0.005, 0]]
    assert alignments[0][1] == other.upper()


def test_one_alignment_does_not_depend_on_the_order_of_the_sequences():
    known, _ = simulated(3, 25)
    sequences = [barcode.residues for barcode in known.barcodes]
    expected = AlignedDistances(sequences, dataset=True).matrix(range(25))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(25)
        moved = AlignedDistances([sequences[x] for x in order], dataset=True, n_jobs=seed + 1)
        assert np.array_equal(
            moved.matrix(range(25)), expected[np.ix_(order, order)], equal_nan=True
        )


def test_all_are_aligned_once_and_each_scope_once(alignments):
    sequences = [BARCODE, changed(BARCODE, 30), changed(BARCODE, 60)]
    whole = AlignedDistances(sequences, dataset=True)
    for items in ([0, 1], [1, 2], [0]):
        whole.matrix(items)
    assert len(alignments) == 1
    scopes = AlignedDistances(sequences, dataset=False)
    for items in ([0, 1], [1, 2], [1, 0], [2, 1], [0]):
        scopes.matrix(items)
    assert len(alignments) == 1 + 2


def test_the_scope_that_was_longest_unused_is_forgotten(alignments, monkeypatch):
    monkeypatch.setattr(aligned, "_CONTEXTS_IN_MEMORY", 2)
    found = AlignedDistances([BARCODE] * 3, dataset=False)
    for items in ([0, 1], [1, 2], [0, 1], [0, 2]):
        found.matrix(items)
    assert len(alignments) == 3
    found.matrix([0, 1])
    assert len(alignments) == 3, "it was used after the other"
    found.matrix([1, 2])
    assert len(alignments) == 4


def test_what_is_in_the_cache_is_not_aligned(alignments):
    cache = Counted()
    sequences = [BARCODE, changed(BARCODE, 30, 60)]
    for letters in (sequences, [s.lower() for s in sequences]):
        found = AlignedDistances(letters, dataset=False, cache=cache)
        assert found.matrix([0, 1])[0, 1] == 2 / 200
    assert len(alignments) == 1
    assert list(cache) == [context_key(sequences)]
    cache[context_key(sequences)] = np.array([[0, -1], [-1, 0]])
    found = AlignedDistances(sequences, dataset=False, cache=cache).matrix([1, 0])
    assert np.isnan(found[0, 1]), "-1 is not comparable"
    assert len(alignments) == 1
    AlignedDistances(sequences, dataset=False, cache=NoCache()).matrix([0, 1])
    AlignedDistances(sequences, dataset=False).matrix([0, 1])
    assert len(alignments) == 3, "there is none by default"
    for _ in range(2):
        AlignedDistances(sequences, dataset=True, cache=cache).matrix([0, 1])
    assert len(alignments) <= 4, "also where all are aligned"


def test_a_key_stands_for_letters_their_order_and_the_aligner(monkeypatch):
    key = context_key(["ACGT", "ACG"])
    assert context_key(["ACGT", "ACG"]) == key
    others = {context_key(given) for given in (["ACG", "ACGT"], ["ACGTACG"], ["ACGT", "AC"])}
    monkeypatch.setattr(aligned, "aligner_version", lambda: "0.0")
    others.add(context_key(["ACGT", "ACG"]))
    monkeypatch.undo()
    monkeypatch.setattr(aligned, "DISTANCE_VERSION", "0")
    others.add(context_key(["ACGT", "ACG"]))
    assert len(others) == 5
    assert key not in others


def test_without_the_aligner_there_is_no_key(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(alignment, "version", version)
    text = r"barcodes are aligned with pyspoa, which is not here; run: pip install 'ctr\[barcodes\]"
    with pytest.raises(AlignerMissingError, match=text):
        context_key(["ACGT"])


# -------------------------------------------------------------------------- by the command line

ALPHA = {
    "A": BARCODE,
    "B": changed(BARCODE, 30),
    "Q": changed(BARCODE, 50, 60, 70),
    "F": changed(BARCODE, *range(100, 130, 5)),
}


def cluster(folder: Path, *flags: object, sources: Sequence[Path] = ()):
    """Cluster ``ALPHA``, or files."""
    if not sources:
        (folder / "set.fasta").write_text("".join(f">{n}\n{t}\n" for n, t in ALPHA.items()))
        sources = [folder / "set.fasta"]
    return ctr("gaphack", "cluster", *sources, "--out", folder / "out", "--no-cache", *flags)


def members_in(out: Path) -> list[list[str]]:
    """Members of each cluster."""
    found: dict[str, list[str]] = {}
    for line in (out / "clusters.tsv").read_text().splitlines()[1:]:
        i, name = line.split("\t")
        found.setdefault(name, []).append(i)
    return list(found.values())


@pytest.mark.parametrize(
    ("flags", "expected", "gap"),
    [
        # A and B are .005 apart, which is not below min_split; Q is .015 and .02 from them, F .03
        # of A, B and F, .03, .035 and .045. Means over the percentiles, A with B: .01525 - .005,
        # Q: .01525, F: .03025; with Q as well: .0305 - .0195, F: .0305
        ([], [["A", "B"], ["F"], ["Q"]], 3 * 0.05575),
        (["--alpha", 1], [["A", "B", "Q"], ["F"]], 3 * 0.0415 / 2),
        (["--min-split", 0.006], [["A", "B", "Q"], ["F"]], 3 * 0.0415),
        (["--alpha", 1, "--max-lump", 0.015], [["A", "B"], ["F"], ["Q"]], 0.05575),
        # of all distances: A with B .016 - .005, with Q .0305 - .0195 at 95; at 50 .03 - .005
        (["--gap-method", "global", "--target-percentile", 50], [["A", "B"], ["F"], ["Q"]], 0.025),
    ],
)
def test_cluster_options_decide_what_is_one_species(flags, expected, gap, tmp_path):
    result = cluster(tmp_path, *flags)
    assert result.exit_code == 0, words(result)
    assert members_in(tmp_path / "out") == expected
    found = json.loads((tmp_path / "out" / "cluster_summary.json").read_text())
    assert found["gap"] == pytest.approx(gap, abs=1e-12)
    alone = sum(len(ids) == 1 for ids in expected)
    assert (found["n_items"], found["n_clusters"], found["n_singletons"]) == (
        4, len(expected), alone,
    )  # fmt: skip
    told = f"4 sequences in {len(expected)} clusters, {alone} of them alone; score of the gap: "
    assert result.stdout.splitlines() == [f"{told}{gap:.6f}", f"Results: {tmp_path / 'out'}"]


def test_all_distances_are_written_on_demand(tmp_path):
    result = cluster(tmp_path, "--distance-matrix", tmp_path / "new" / "d.csv", "--fasta")
    assert result.exit_code == 0, words(result)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "cluster_summary.json", "clusters", "clusters.tsv",
    ]  # fmt: skip
    assert (tmp_path / "out" / "clusters" / "cluster_00002.fasta").read_text() == (
        f">F\n{ALPHA['F']}\n"
    )
    rows = [line.split(",") for line in (tmp_path / "new" / "d.csv").read_text().splitlines()]
    assert rows[0] == ["sequence_id", *ALPHA]
    assert [row[0] for row in rows[1:]] == list(ALPHA)
    changes = [[0, 1, 3, 6], [1, 0, 4, 7], [3, 4, 0, 9], [6, 7, 9, 0]]
    found = [[float(value) for value in row[1:]] for row in rows[1:]]
    assert found == [[n / 200 for n in row] for row in changes]


def test_files_are_clustered_together_and_name_a_sequence_once(tmp_path):
    paths = [tmp_path / f"{name}.fa" for name in ALPHA]
    for path in paths:
        path.write_text(f">{path.stem}\n{ALPHA[path.stem]}\n")
    result = cluster(tmp_path, sources=[*paths, paths[0]])
    assert result.exit_code == 1
    assert f"sequences: 1 fault {paths[0]}: 'A' is also in {paths[0]}" in words(result)
    assert not (tmp_path / "out").exists()
    assert cluster(tmp_path, sources=paths).exit_code == 0
    assert members_in(tmp_path / "out") == [["A", "B"], ["F"], ["Q"]]
    result = ctr("gaphack", "cluster", paths[0], "--out", tmp_path / "one", "--no-cache")
    assert "1 sequences in 1 clusters, 1 of them alone; score of the gap: none" in words(result)


def test_distances_never_take_the_place_of_another_file(tmp_path):
    source = tmp_path / "set.fasta"
    result = cluster(tmp_path, "--distance-matrix", source)
    assert result.exit_code == 1
    assert f"{source} is there already, and would be replaced; name a new file" in words(result)
    assert source.read_text().startswith(">A\n")
    assert not (tmp_path / "out").exists()


def test_distances_are_not_put_among_other_results(tmp_path):
    result = cluster(tmp_path, "--distance-matrix", tmp_path / "out" / "clusters.tsv")
    assert result.exit_code == 1
    assert "which holds other results; name a file outside of it" in words(result)
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_where_the_distances_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    result = cluster(tmp_path, "--distance-matrix", tmp_path / "file" / "d.csv")
    assert result.exit_code == 1
    assert "cannot write" in words(result)
    assert not (tmp_path / "out").exists()


@settings(max_examples=50)
@given(st.lists(st.text("ACGTn", min_size=1, max_size=12), min_size=1, max_size=9))
def test_those_of_typical_length_come_first_and_equal_ones_by_their_letters(sequences):
    middle = statistics.median(map(len, sequences))
    ordered = [sequences[x] for x in typical_order(sequences)]
    assert sorted(ordered) == sorted(sequences)
    keys = [(abs(len(text) - middle), text.upper()) for text in ordered]
    assert keys == sorted(keys)
