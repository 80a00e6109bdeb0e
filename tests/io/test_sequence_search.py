"""Searches: what is near is found by each, and what a program says when it fails."""

import os
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from benchmarks.barcodes.simulate import simulated
from ctr_engine.cli.gaphack import SearchTool
from ctr_engine.errors import CtrError
from ctr_engine.io.sequence_search import SearchError, SearchName, choose_search
from ctr_engine.splitmerge.barcodes.aligned import AlignedDistances
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from ctr_engine.splitmerge.barcodes.refine import refine_barcodes
from ctr_engine.splitmerge.barcodes.sequences import Barcode
from tests.cli.test_gaphack import numbers, refine, refined, refused, write
from tests.splitmerge.test_aligned import Counted, backbone, changed

PROGRAMS = {"vsearch": "vsearch", "blast": "blastn"}
EACH = ("kmer", *PROGRAMS)


@pytest.fixture
def tool(request) -> str:
    """A search whose program is here; where it is asked for, it has to be."""
    if request.param in PROGRAMS and "CTR_SEARCH_TOOLS" not in os.environ:
        needed = PROGRAMS[request.param]
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    return request.param


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Give the machine one program, a shell script."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def found(name: str, barcodes, n_jobs: int = 1) -> np.ndarray:
    _, search = choose_search(name, dataset=False, n_jobs=n_jobs)
    return search(barcodes).toarray()


MANY = [Barcode(str(x), backbone(0)) for x in range(3)]


# ------------------------------------------------------------------------------ the real programs


@pytest.mark.parametrize("tool", EACH, indirect=True)
@pytest.mark.parametrize("seed", [0, 2])
def test_no_near_pair_is_left_out(tool, seed):
    known, _ = simulated(seed, 30)
    letters = [barcode.residues for barcode in known.barcodes]
    near = AlignedDistances(letters, dataset=True).matrix(range(30)) <= 0.04
    np.fill_diagonal(near, val=False)
    assert near.sum() > 30
    pairs = found(tool, known.barcodes)
    assert pairs.dtype == bool
    assert (pairs | ~near).all()
    assert np.array_equal(pairs, pairs.T)
    assert not pairs.diagonal().any()
    assert np.array_equal(found(tool, known.barcodes, n_jobs=2), pairs)


@pytest.mark.parametrize("tool", EACH, indirect=True)
def test_ids_may_be_anything_and_letters_small_but_one_strand_is_searched(tool):
    letters = backbone(1)
    other_strand = letters[::-1].translate(str.maketrans("ACGT", "TGCA"))
    barcodes = [
        Barcode('"1";size=2|x', letters),
        Barcode("../0", changed(letters, 50, 100).lower()),
        Barcode("0", other_strand),
        Barcode("#1", backbone(2)),
    ]
    expected = np.zeros((4, 4), dtype=bool)
    expected[0, 1] = expected[1, 0] = True
    assert np.array_equal(found(tool, barcodes), expected)


@pytest.mark.parametrize("tool", EACH, indirect=True)
def test_clusters_are_those_of_a_search_of_all_pairs(tool):
    known, hasty = simulated(1, 30)
    params = BarcodeParams(distance_context="scope", k_neighbors=2)
    cache = Counted()
    name, search = choose_search(tool, dataset=False, n_jobs=1)
    assert name == tool
    expected = refine_barcodes(known.barcodes, hasty, params, cache=cache)
    result = refine_barcodes(known.barcodes, hasty, params, cache=cache, search=search)
    assert result.clusters == expected.clusters
    assert len(result.clusters) == known.n_species


# ---------------------------------------------------------------------------- which one is taken


@pytest.mark.smoke
def test_what_is_installed_is_taken_but_with_one_alignment_nothing_is_left_out(program):
    def chosen(dataset: bool) -> str:
        return choose_search("auto", dataset=dataset, n_jobs=1)[0]

    assert choose_search("all", dataset=False, n_jobs=1) == ("all", None)
    assert (chosen(dataset=True), chosen(dataset=False)) == ("all", "kmer")
    program("blastn", "")
    assert (chosen(dataset=True), chosen(dataset=False)) == ("all", "blast")
    program("vsearch", "")
    assert (chosen(dataset=True), chosen(dataset=False)) == ("all", "vsearch")
    for name in ("kmer", "blast", "vsearch"):
        for dataset in (True, False):
            known, search = choose_search(name, dataset=dataset, n_jobs=1)
            assert known == name
            assert search is not None, "what was asked for is used"


@pytest.mark.parametrize(("name", "needed"), PROGRAMS.items())
def test_a_program_that_is_missing_is_told(name, needed, program):
    text = rf"^--search {name} needs {needed}, which is not installed; install it, or leave --se"
    with pytest.raises(SearchError, match=text) as raised:
        choose_search(name, dataset=False, n_jobs=1)
    assert isinstance(raised.value, CtrError), "shown without a traceback"


# --------------------------------------------------------------------------- what a program says


@pytest.mark.parametrize(("name", "needed"), PROGRAMS.items())
def test_what_a_program_prints_is_read(name, needed, program):
    program(needed, r'printf "0\t1\n2\t2\n1\t0\n0\t2\t97.5\n"')
    expected = [[False, True, True], [True, False, False], [True, False, False]]
    assert found(name, MANY).tolist() == expected
    program(needed, "")
    assert not found(name, MANY).any()


@pytest.mark.parametrize(("name", "needed"), PROGRAMS.items())
def test_a_program_that_fails_is_told_with_its_last_words(name, needed, program):
    program(needed, 'echo "0\t1"; echo "at first" >&2; echo "Fatal error: no memory" >&2; exit 3')
    text = rf"^{needed} failed with status 3 and said: Fatal error: no memory$"
    with pytest.raises(SearchError, match=text):
        found(name, MANY)
    program(needed, "exit 1")
    with pytest.raises(SearchError, match=rf"^{needed} failed with status 1 and said: nothing$"):
        found(name, MANY)


@pytest.mark.parametrize(("name", "needed"), PROGRAMS.items())
def test_a_program_gets_numbers_large_letters_and_wide_limits(name, needed, program, tmp_path):
    at = {"vsearch": 2, "blast": 4}[name]
    words, letters = tmp_path / "words", tmp_path / "letters"
    program(
        needed,
        f'for word in "$@"; do echo "$word"; done > {words}\n'
        f'while read -r line; do echo "$line"; done < "${at}" > {letters}',
    )
    found(name, [Barcode("x y", "acgt"), Barcode("..", "ACGN")], n_jobs=3)
    assert letters.read_text() == ">0\nACGT\n>1\nACGN\n"
    given = words.read_text().splitlines()
    limits = {
        "vsearch": {"--strand": "plus", "--id": "0.5", "--maxrejects": "0", "--threads": "3"},
        "blast": {"-strand": "plus", "-evalue": "10", "-max_target_seqs": "5"},
    }[name]
    assert {flag: given[given.index(flag) + 1] for flag in limits} == limits
    assert not Path(given[at - 1]).exists(), "the file is gone"


def test_the_tools_are_those_of_the_command_line():
    assert (
        {tool.value for tool in SearchTool} == set(get_args(SearchName)) == {"auto", "all", *EACH}
    )


# -------------------------------------------------------------------------- by the command line


def test_each_tool_gives_the_same_clusters(tmp_path):
    known, hasty = simulated(1, 30)
    given = write(tmp_path / "work", known.barcodes, hasty)
    flags = ("--distance-context", "scope", "--no-cache", "--search")
    made = {}
    must = "CTR_SEARCH_TOOLS" in os.environ
    programs = [name for name, needed in PROGRAMS.items() if must or shutil.which(needed)]
    for name in ("all", "kmer", *programs):
        refined(tmp_path / name, given, *flags, name)
        assert numbers(tmp_path / name)["search"] == name
        made[name] = (tmp_path / name / "out" / "clusters.tsv").read_bytes()
    assert len(set(made.values())) == 1


def test_a_program_that_is_missing_or_fails_is_told_and_nothing_is_written(program, tmp_path):
    given = write(tmp_path / "work")
    flags = ("--distance-context", "scope", "--no-cache", "--search")
    told = refused(tmp_path, refine(tmp_path, given, *flags, "blast"))
    assert (
        "Error: --search blast needs blastn, which is not installed; install it, or leave" in told
    )
    program("blastn", "echo 'no memory' >&2; exit 2")
    told = refused(tmp_path, refine(tmp_path, given, *flags, "blast"))
    assert "Error: blastn failed with status 2 and said: no memory" in told
    told = refused(tmp_path, refine(tmp_path, given, *flags, "auto"))
    assert "Error: blastn failed with status 2" in told, "no other one is taken in its place"
