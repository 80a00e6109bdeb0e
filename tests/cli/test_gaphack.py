"""``ctr gaphack`` as a user types it: whole folders of results, or an error and nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ctr_engine.io.barcodes import fasta_text
from ctr_engine.io.tables import read_parquet
from ctr_engine.splitmerge.barcodes.sequences import Barcode
from ctr_engine.tables import TwoPassHistory
from tests.cli.test_annotate import ctr, words
from tests.splitmerge.test_aligned import changed, members_in
from tests.splitmerge.test_barcodes_refine import GIVEN, SET, SPECIES, X, Y, near_species

BARCODES = [*SET[:3], replace(SET[3], residues=X.lower(), description='name="X"  <b>last</b>')]
BARCODES += SET[4:]

CLUSTERS_TSV = "sequence_id\tcluster_id\n" + "".join(
    f"{i}\tcluster_0000{number}\n" for number, ids in enumerate(SPECIES, start=1) for i in ids
)
MAPPING_TSV = """old_cluster\tnew_cluster\tn_shared\tn_old\tn_new
a\tcluster_00001\t2\t3\t4
a\tcluster_00002\t1\t3\t3
b\tcluster_00001\t3\t3\t4
c\tcluster_00002\t2\t2\t3
d\tcluster_00003\t1\t1\t2
"""
FILES = ["cluster_mapping.tsv", "clusters.tsv", "history.parquet", "refine_summary.json"]
FILES += ["refine_summary.txt"]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of the test's own, where alignments are kept."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path / "home"


def write(
    folder: Path,
    barcodes: Sequence[Barcode] = BARCODES,
    clusters: Mapping[str, Sequence[str]] = GIVEN,
) -> tuple[Path, str, Path]:
    """Write a set and its clusters; give the arguments that name them."""
    folder.mkdir(exist_ok=True)
    (folder / "set.fasta").write_text(fasta_text(barcodes))
    rows = [f"{i}\t{name}\n" for name, ids in clusters.items() for i in ids]
    (folder / "clusters.tsv").write_text("sequence_id\tcluster_id\n" + "".join(rows))
    return folder / "set.fasta", "--clusters", folder / "clusters.tsv"


def refine(folder: Path, given: Sequence[object], *flags: object):
    return ctr("gaphack", "refine", *given, "--output-dir", folder / "out", *flags)


def refined(folder: Path, given: Sequence[object], *flags: object) -> list[list[str]]:
    """Members of each cluster."""
    result = refine(folder, given, *flags)
    assert result.exit_code == 0, words(result)
    return members_in(folder / "out")


def refused(folder: Path, result) -> str:
    """What was told; nothing is written."""
    assert result.exit_code == 1, words(result)
    assert not (folder / "out").exists()
    return words(result)


def numbers(folder: Path, name: str = "refine_summary.json"):
    return json.loads((folder / "out" / name).read_text())


# ------------------------------------------------------------------------------ files of refine


@pytest.mark.smoke
def test_refine_writes_whole_outputs(tmp_path):
    result = refine(tmp_path, write(tmp_path))
    assert result.exit_code == 0, words(result)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert (out / "clusters.tsv").read_text() == CLUSTERS_TSV
    assert (out / "cluster_mapping.tsv").read_text() == MAPPING_TSV
    history = read_parquet(TwoPassHistory, out / "history.parquet")
    assert history[["stage", "n_before", "n_after"]].to_numpy().tolist() == [
        ["pass_1", 5, 3],
        ["pass_2", 3, 3],
    ]
    text = (out / "refine_summary.txt").read_text().splitlines()
    assert result.stdout.splitlines() == [*text, f"Results: {out}"]
    assert text[0] == "9 sequences in 4 clusters"
    assert "  5 -> 3 clusters" in text
    assert text[-1] == "1 sequences were in no cluster and began alone"
    found = numbers(tmp_path)
    assert (found["n_items"], found["n_clusters_given"], found["n_clusters"]) == (9, 4, 3)
    assert (found["mece"], found["n_without_a_cluster"], found["n_unassigned"]) == (True, 1, 0)
    assert found["pass_1"]["conflicts_resolved"] == found["pass_1"]["conflict_components"] == 1
    assert found["pass_1"]["individual_refinements"] == 2
    assert found["pass_2"]["stop_reason"] == found["stop_reason"] == "no_changes"
    assert found["pass_2"]["gap"] == 0.116666667, "(.1 + .1 + .15) / 3"
    assert (found["distance_context"], found["search"]) == ("dataset", "all")
    assert (found["params"]["max_lump"], found["params"]["close_threshold"]) == (0.02, None)


def test_a_fasta_file_per_cluster_keeps_descriptions_and_letters(tmp_path):
    assert refined(tmp_path, write(tmp_path, BARCODES[::-1]), "--fasta") == SPECIES
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [*FILES, "clusters"]
    )
    folder = tmp_path / "out" / "clusters"
    assert sorted(path.name for path in folder.iterdir()) == [
        f"cluster_0000{number}.fasta" for number in (1, 2, 3)
    ]
    assert (folder / "cluster_00001.fasta").read_text() == (
        "".join(f'>x{i} name="X"\n{X}\n' for i in (1, 2, 3))
        + f'>x4 name="X"  <b>last</b>\n{X.lower()}\n'
    )
    assert (folder / "cluster_00003.fasta").read_text() == f">y1\n{Y}\n>y2\n{Y}\n"


def test_a_folder_of_clusters_passes_on_what_is_unassigned(tmp_path):
    source = tmp_path / "given"
    source.mkdir()
    by_id = {barcode.id: barcode for barcode in BARCODES}
    for name, ids in GIVEN.items():
        (source / f"{name}.fasta").write_text(fasta_text(by_id[i] for i in ids))
    unassigned = ">u1 left  over\nacgtN\n>u2\nACGT\n"
    (source / "unassigned.fasta").write_text(unassigned)
    without_y2 = [*SPECIES[:2], ["y1"]]
    assert refined(tmp_path, [source]) == without_y2
    assert (tmp_path / "out" / "unassigned.fasta").read_text() == unassigned
    assert numbers(tmp_path)["n_unassigned"] == 2
    mapping = (tmp_path / "out" / "cluster_mapping.tsv").read_text()
    assert mapping == MAPPING_TSV.replace("d\tcluster_00003\t1\t1\t2", "d\tcluster_00003\t1\t1\t1")
    assert (
        "2 unassigned sequences were passed on as they are"
        in (tmp_path / "out" / "refine_summary.txt").read_text().splitlines()
    )


# ---------------------------------------------------------------------------- options of refine

HALVES = {"a": ["x1"], "b": ["x2", "x3", "x4"], "c": ["z1", "z2", "z3"], "d": ["y1", "y2"]}


def test_a_pass_can_be_left_out(tmp_path):
    assert refined(tmp_path, write(tmp_path), "--pass1-only") == SPECIES
    found = numbers(tmp_path)
    assert (found["pass_2"], found["stop_reason"]) == (None, None)
    other = tmp_path / "other"
    assert refined(other, write(other, clusters=HALVES), "--pass2-only") == SPECIES
    assert numbers(other)["pass_1"] is None
    third = tmp_path / "third"
    told = refused(third, refine(third, write(third), "--pass2-only"))
    assert "clusters: 1 fault 'x2' is in a, b; pass 1 resolves that, so leave it in" in told


def test_iterations_are_limited(tmp_path):
    """xm lies between X and Z, .025 from both; it is the medoid of a cluster of all three.

    Its scope with p comes first and divides it; z1 joins the others in the iteration after that.
    """
    middle = changed(X, *range(20, 45, 5))
    far = changed(middle, *range(100, 125, 5))
    letters = {"xm": middle, "x1": X, "x2": X, "x3": X, "z1": far, "z2": far, "z3": far, "y1": Y}
    barcodes = [Barcode(name, text) for name, text in letters.items()]
    clusters = {"p": ["x1", "x2"], "q": ["x3", "xm", "z1"], "r": ["z2", "z3"], "y": ["y1"]}
    flags = ("--pass2-only", "--close-threshold", 0.03)
    whole = refined(tmp_path, write(tmp_path, barcodes, clusters), *flags)
    assert whole == [["x1", "x2", "x3"], ["z1", "z2", "z3"], ["xm"], ["y1"]]
    other = tmp_path / "other"
    found = refined(other, write(other, barcodes, clusters), *flags, "--max-iterations", 1)
    assert found == [["x1", "x2", "x3"], ["z2", "z3"], ["xm"], ["y1"], ["z1"]]
    assert numbers(other)["stop_reason"] == "iteration_limit"
    text = (other / "out" / "refine_summary.txt").read_text()
    assert "1 iteration; not converged within the iterations; --max-iterations allows more" in text


P, Q, FAR = ([f"{name}{i}" for i in range(3)] for name in "pqf")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        # P and Q are .015 apart, f, which is context, .04 from P: gaps of .015 and .015, or .025
        (["--alpha", 1], [P + Q, FAR]),
        (["--alpha", 0], [P, Q, FAR]),
        (["--alpha", 0, "--min-split", 0.016], [P + Q, FAR]),
        (["--max-lump", 0.01], [P, Q, FAR]),
        (["--pass2-only", "--close-threshold", 0.01], [P, Q, FAR]),
        (["--pass2-only", "--close-threshold", 0.016], [P + Q, FAR]),
    ],
)
def test_each_option_decides_what_is_one_species(flags, expected, tmp_path):
    near = near_species(3)[:6]
    far = [Barcode(i, changed(X, *range(100, 140, 5))) for i in FAR]
    given = write(tmp_path, near + far, {"p": P, "q": Q, "f": FAR})
    assert refined(tmp_path, given, *flags) == sorted(expected, key=lambda ids: (-len(ids), ids))


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ["--gap-method", "global", "--alpha", 3],
            "Error: --alpha would have no effect with --gap-method global; drop one of them",
        ),
        (
            ["--pass1-only", "--pass2-only"],
            "Error: --pass1-only and --pass2-only exclude each other; drop both to run both passes",
        ),
        (
            ["--pass1-only", "--max-iterations", 3, "--close-threshold", 0.1],
            "--max-iterations, --close-threshold would have no effect with --pass1-only; drop one",
        ),
        (["--no-cache", "--cache-dir", "x"], "--cache-dir and --no-cache exclude each other; drop"),
        (
            ["--min-split", 0.03],
            "command line: 1 fault min_split 0.03 is above max_lump 0.02",
        ),
        (
            ["--max-scope-size", 1, "--target-percentile", 20, "--alpha", "nan"],
            (
                "command line: 3 faults alpha: input should be a finite number; got nan "
                "max_scope_size: input should be greater than or equal to 2; got 1 "
                "target_percentile: input should be greater than or equal to 50; got 20.0"
            ),
        ),
        (["--close-threshold", -1], "close_threshold: input should be greater than or equal to 0"),
    ],
)
def test_flags_that_cannot_be_are_told_and_nothing_is_written(flags, text, tmp_path):
    assert text in refused(tmp_path, refine(tmp_path, write(tmp_path), *flags))


def test_a_number_of_iterations_below_one_is_a_mistake_of_the_command_line(tmp_path):
    assert refine(tmp_path, write(tmp_path), "--max-iterations", 0).exit_code == 2
    assert ctr("gaphack", "refine", *write(tmp_path)).exit_code == 2, "no folder"
    assert ctr("gaphack").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_clusters_are_named_once(tmp_path):
    source, _, clusters = write(tmp_path)
    told = refused(tmp_path, refine(tmp_path, [source]))
    assert f"{source} holds sequences without clusters; name them with --clusters TSV" in told
    assert f"ctr gaphack cluster {source} --output-dir DIR" in told
    (tmp_path / "set.fasta").rename(tmp_path / "set.txt")
    told = refused(tmp_path, refine(tmp_path, [tmp_path, "--clusters", clusters]))
    assert f"{tmp_path} is a folder, whose files are the clusters, so that --clusters" in told
    assert "holds no .fasta, .fa, .fna, .fas file" in refused(
        tmp_path, refine(tmp_path, [tmp_path])
    )
    told = refused(tmp_path, refine(tmp_path, [source, "--clusters", clusters]))
    assert f"{source}: 1 fault cannot be read: No such file or directory" in told


def test_faults_of_the_files_are_told_with_their_lines(tmp_path):
    source, flag, clusters = write(tmp_path)
    clusters.write_text("sequence_id\tcluster_id\nx1\t1\nx9\t1\n")
    told = refused(tmp_path, refine(tmp_path, [source, flag, clusters]))
    assert f"{clusters}: 1 fault line 3: names 'x9', which is no sequence" in told
    source.write_text(">x1\nACGU\n>x1\nAC\n")
    told = refused(tmp_path, refine(tmp_path, [source, flag, clusters]))
    assert f"{source}: 2 faults line 2: 'x1' has 'U', which is no IUPAC letter; RNA is" in told
    assert "line 3: 'x1' is there twice, first in line 1" in told


def test_what_does_not_align_is_told_and_nothing_is_written(tmp_path):
    barcodes = [Barcode(letter, letter * 30) for letter in "ACGT"]
    told = refused(tmp_path, refine(tmp_path, write(tmp_path, barcodes, {"1": list("ACGT")})))
    assert "alignment: 1 fault no position is covered by 2 of 4 sequences; they do not" in told


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path):
    given = write(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    result = refine(tmp_path, given)
    assert result.exit_code == 1
    assert f"{tmp_path / 'out'} is not empty; name a new folder with --output-dir" in words(result)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    result = ctr("gaphack", "refine", *given, "--out", given[0])
    assert f"{given[0]} is a file; name a folder with --output-dir" in words(result)


@pytest.mark.parametrize("flag", ["--output-dir", "--cache-dir"])
def test_a_folder_below_a_file_is_told(flag, tmp_path):
    given = write(tmp_path)
    out = () if flag == "--output-dir" else ("--output-dir", tmp_path / "out")
    result = ctr("gaphack", "refine", *given, *out, flag, given[0] / "x")
    assert "Error: cannot write" in words(result)
