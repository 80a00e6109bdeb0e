"""The benchmark of barcodes: on simulated species, whose figures are known."""

import os
import shutil
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.barcodes import simulate
from benchmarks.barcodes.__main__ import main
from benchmarks.barcodes.data import (
    Labelled,
    labelled_sets,
    scores,
    species_of,
    triplets,
    vsearch_clusters,
)
from benchmarks.barcodes.simulate import simulated
from benchmarks.barcodes.speed import as_text
from ctr_engine.io.barcodes import fasta_text
from ctr_engine.splitmerge.barcodes.alphabet import bases
from ctr_engine.splitmerge.barcodes.sequences import Barcode

N = 24


@pytest.fixture(scope="module")
def known() -> Labelled:
    return simulated(2, N)[0]


@pytest.fixture(scope="module")
def directory(known, tmp_path_factory) -> Path:
    """A folder with one set."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "small.fasta").write_text(fasta_text(known.barcodes))
    return folder


@pytest.fixture
def vsearch() -> None:
    if "CTR_SEARCH_TOOLS" not in os.environ and shutil.which("vsearch") is None:
        pytest.skip("vsearch is not installed")


def ari(clusters, species) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985), over all pairs."""
    of = {i: name for name, ids in clusters.items() for i in ids}
    pairs = list(combinations(sorted(species), 2))
    together = [of[i] == of[j] for i, j in pairs]
    right = [species[i] == species[j] for i, j in pairs]
    both = sum(a and b for a, b in zip(together, right, strict=True))
    expected = sum(together) * sum(right) / len(pairs)
    return (both - expected) / ((sum(together) + sum(right)) / 2 - expected)


def test_known_species_are_found_from_blind_triplets(directory, known, tmp_path, capsys):
    found = main([str(directory), "--only", "quality", "--out", str(tmp_path / "out")])
    assert list(found) == ["quality"]
    table = found["quality"].set_index("start")
    row = table.loc["triplets"]
    assert (row["set"], row["sequences"], row["species"]) == ("small", N, known.n_species)
    assert row["ari_start"] == pytest.approx(ari(triplets(known.barcodes), known.species))
    assert row["ari_start"] < 0.6
    assert row[["ari", "homogeneity", "completeness"]].tolist() == pytest.approx([1, 1, 1])
    assert row["clusters"] == known.n_species
    assert row["stop"] in ("no_changes", "set_equivalence")
    assert row["cpu_s"] > 0
    printed = capsys.readouterr().out
    assert "## quality" in printed
    assert "cores" in printed, "the machine"
    assert "simulated sets" not in printed
    stored = pd.read_csv(tmp_path / "out" / "barcodes_quality.csv")
    assert stored["start"].tolist() == table.index.tolist()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["barcodes_quality.csv"]


def test_simulated_sets_are_refined_from_hasty_clusters(directory, monkeypatch, capsys):
    monkeypatch.setattr(simulate, "SMALLEST", 20)
    monkeypatch.setattr(simulate, "LARGEST", 40)
    found = main([str(directory), "--only", "simulated", "--seeds", "3"])
    table = found["simulated"]
    assert table["set"].tolist() == ["simulated_0", "simulated_1", "simulated_2"]
    assert table["sequences"].between(20, 40).all()
    assert (table["ari_start"] < 1).all()
    assert table["ari"].tolist() == pytest.approx([1, 1, 1])
    assert "ended within the iterations: 100% of 3 simulated sets" in capsys.readouterr().out


@pytest.mark.usefixtures("vsearch")
def test_clusters_of_vsearch_are_a_start(directory, known):
    found = vsearch_clusters(directory / "small.fasta")
    assert sorted(i for ids in found.values() for i in ids) == sorted(known.species)
    table = main([str(directory), "--only", "quality"])["quality"].set_index("start")
    assert list(table.index) == ["vsearch 0.97", "triplets"]
    assert table.loc["vsearch 0.97", "ari_start"] == pytest.approx(ari(found, known.species))
    assert table.loc["vsearch 0.97", "ari"] == pytest.approx(1)


def test_without_vsearch_there_is_one_start_and_one_search(directory, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "python3").write_text("")
    (tmp_path / "python3").chmod(0o755)
    found = main([str(directory), "--only", "quality", "searches"])
    assert found["quality"]["start"].tolist() == ["triplets"]
    assert found["searches"][["search", "same"]].to_numpy().tolist() == [
        ["all", True],
        ["kmer", True],
    ]


def test_speed_is_compared_with_plain_python_that_says_the_same(directory):
    found = main([str(directory), "--only", "speed"])
    assert list(found) == ["scoring", "core"]
    assert found["scoring"].loc[0, "pairs"] == N * (N - 1) // 2
    assert found["scoring"].loc[0, "ratio"] > 1
    core = found["core"].loc[0]
    assert core["same"]
    assert (core["sequences"], core["public_tool_s"]) == (N, None)


def test_sets_are_chosen_by_their_name_and_come_by_their_size(directory, known, tmp_path):
    for name, count in (("a", 3), ("b", 2), ("c", 1)):
        (tmp_path / f"{name}.fasta").write_text(fasta_text(known.barcodes[:count]))
    assert [one.name for one in labelled_sets(tmp_path)] == ["c", "b", "a"]
    chosen = labelled_sets(tmp_path, ["a", "c", "z"])
    assert [one.name for one in chosen] == ["c", "a"]
    assert chosen[1].barcodes == known.barcodes[:3]
    assert chosen[1].species == {b.id: known.species[b.id] for b in known.barcodes[:3]}


def test_the_species_stands_in_the_header_or_in_the_id():
    assert species_of(Barcode("x_1", "A", 'a="b" name="R. sp" c="d"')) == "R. sp"
    assert species_of(Barcode("one_Collybia_nuda", "A")) == "Collybia_nuda"


def test_scores_by_hand():
    species = {"a": "X", "b": "X", "c": "Y", "d": "Y"}
    clusters = {"1": ["a", "b"], "2": ["c"], "3": ["d"]}
    # one pair together, two that should be, of six: (1 - 1/3) / (3/2 - 1/3)
    assert scores(clusters, species)["ari"] == pytest.approx(4 / 7)
    assert ari(clusters, species) == pytest.approx(4 / 7)
    # no cluster holds two species; half a bit of one and a half is lost by dividing Y
    assert scores(clusters, species)["homogeneity"] == pytest.approx(1)
    assert scores(clusters, species)["completeness"] == pytest.approx(2 / 3)


def test_a_simulated_set_is_the_same_for_a_seed_and_has_every_kind_of_fault():
    known, given = simulated(0, 40)
    again, given_again = simulated(0, 40)
    assert (known, given) == (again, given_again)
    assert simulated(1, 40)[0] != known
    assert len(known.barcodes) == len({barcode.id for barcode in known.barcodes}) == 40
    held = [i for ids in given.values() for i in ids]
    assert len(held) > len(set(held)), "one is in two clusters"
    assert len(set(held)) < 40, "one is in none"
    mixed = [ids for ids in given.values() if len({known.species[i] for i in ids}) > 1]
    assert mixed, "two species in one"
    assert all(species_of(barcode) == known.species[barcode.id] for barcode in known.barcodes)


def test_aligned_letters_are_read_back_as_they_were():
    text = "-ACMGRSVTWYHKDBN."
    assert as_text(bases(text)) == text
