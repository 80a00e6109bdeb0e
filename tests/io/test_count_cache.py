"""Mismatches on disk: what is kept, and what is made again."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from ctr_engine.errors import OutputError
from ctr_engine.io.count_cache import CountFolder
from ctr_engine.splitmerge.barcodes import aligned
from ctr_engine.splitmerge.barcodes.aligned import AlignedDistances
from tests.cli.test_annotate import ctr, words
from tests.cli.test_gaphack import BARCODES, refined, write
from tests.splitmerge.test_aligned import BARCODE, changed

KEY = "ab" + "0" * 62


def counts(n: int = 4) -> np.ndarray:
    """One number for each pair, and one pair that cannot be compared."""
    full = np.zeros((n, n), dtype=np.int32)
    full[np.triu_indices(n, 1)] = range(n * (n - 1) // 2)
    full[0, 1] = -1
    return full + full.T


@pytest.fixture
def kept(tmp_path) -> tuple[CountFolder, Path]:
    """A folder with one entry, and its file."""
    cache = CountFolder(tmp_path / "cache")
    cache.put(KEY, counts())
    return cache, tmp_path / "cache" / "ab" / f"{KEY}.counts"


def write_marked(path: Path, array: np.ndarray, junk: bytes = b"") -> None:
    """Write an array with the hash that it has."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    whole = junk or content.getvalue()
    path.write_bytes(hashlib.sha256(whole).digest() + whole)


@pytest.mark.smoke
@pytest.mark.parametrize("n", [1, 2, 4, 30])
def test_what_was_kept_is_what_is_got(n, tmp_path):
    cache = CountFolder(tmp_path / "cache")
    expected = counts(n) if n > 1 else np.zeros((1, 1), dtype=np.int32)
    assert cache.get(KEY, n) is None
    cache.put(KEY, expected)
    found = CountFolder(tmp_path / "cache").get(KEY, n)
    assert found.dtype == np.int32
    assert found.tolist() == expected.tolist()
    assert cache.get("cd" + KEY[2:], n) is None


def test_each_pair_is_kept_once_and_small(kept):
    _, path = kept
    found = np.load(io.BytesIO(path.read_bytes()[32:]))
    assert (found.dtype, found.tolist()) == (np.int16, [-1, 1, 2, 3, 4, 5])
    assert [p for p in path.parent.parent.rglob("*") if p.is_file()] == [path]


def test_a_file_of_another_size_or_type_is_none(kept):
    cache, path = kept
    assert cache.get(KEY, 4) is not None
    assert cache.get(KEY, 3) is None
    assert cache.get(KEY, 5) is None
    write_marked(path, np.zeros(6, dtype=np.int16))
    assert cache.get(KEY, 4) is not None
    write_marked(path, np.zeros(6, dtype=np.int32))
    assert cache.get(KEY, 4) is None
    write_marked(path, np.zeros((2, 3), dtype=np.int16))
    assert cache.get(KEY, 4) is None
    write_marked(path, np.array([None] * 6))
    assert cache.get(KEY, 4) is None, "nothing is unpickled"


@pytest.mark.parametrize("content", [b"", b"junk", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_damaged_file_is_none_and_is_made_again(content, kept):
    cache, path = kept
    whole = path.read_bytes()
    path.write_bytes(content)
    assert cache.get(KEY, 4) is None
    write_marked(path, counts(), junk=content or b"-")
    assert cache.get(KEY, 4) is None
    cache.put(KEY, counts())
    assert path.read_bytes() == whole


def test_a_file_that_was_cut_short_is_none(kept):
    cache, path = kept
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.get(KEY, 4) is None


def test_a_file_with_a_damaged_header_is_none(kept):
    cache, path = kept
    whole = path.read_bytes()
    array = whole[32:]
    assert array[10:17] == b"{'descr"
    for at in range(10, 17):
        damaged = bytearray(array)
        damaged[at] = 0xFF
        write_marked(path, counts(), junk=bytes(damaged))
        assert cache.get(KEY, 4) is None


def test_a_file_with_other_numbers_is_none(kept):
    cache, path = kept
    damaged = bytearray(path.read_bytes())
    damaged[-2] ^= 0x40
    path.write_bytes(bytes(damaged))
    assert cache.get(KEY, 4) is None


def test_differences_that_no_barcode_has_are_not_kept(tmp_path):
    cache = CountFolder(tmp_path)
    most = np.array([[0, 32_767], [32_767, 0]])
    cache.put(KEY, most)
    assert cache.get(KEY, 2).tolist() == most.tolist()
    cache.put("cd" + KEY[2:], most + 1)
    assert cache.get("cd" + KEY[2:], 2) is None


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "ab").write_text("a file")
    with pytest.raises((OutputError, NotADirectoryError)) as raised:
        CountFolder(tmp_path).put(KEY, counts())
    assert "ab" in str(raised.value)


def test_distances_are_read_the_second_time(tmp_path, monkeypatch):
    sequences = [BARCODE, changed(BARCODE, 20), BARCODE[:60], BARCODE[140:]]
    cache = CountFolder(tmp_path)
    first = AlignedDistances(sequences, dataset=True, cache=cache).matrix(range(4))
    assert np.isnan(first[2, 3]), "no overlap"

    def align(given):
        pytest.fail("it was aligned before")

    monkeypatch.setattr(aligned, "align", align)
    again = AlignedDistances(sequences, dataset=True, cache=CountFolder(tmp_path))
    assert np.array_equal(again.matrix(range(4)), first, equal_nan=True)


# -------------------------------------------------------------------------- by the command line


@pytest.fixture
def alignments(monkeypatch) -> list[int]:
    """How many sequences were aligned, each time."""
    calls = []
    align = aligned.align

    def counting(given):
        calls.append(len(given))
        return align(given)

    monkeypatch.setattr(aligned, "align", counting)
    return calls


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.counts")}


def test_the_second_run_reads_what_the_first_one_aligned(alignments, tmp_path):
    work, flags = write(tmp_path / "work"), ("--cache-dir", tmp_path / "kept")
    expected = refined(tmp_path / "1", work, *flags)
    assert alignments == [9], "all at once"
    whole = files(tmp_path / "kept")
    assert len(whole) == 1
    moved = write(tmp_path / "moved", BARCODES[::-1])
    assert refined(tmp_path / "2", moved, *flags) == expected
    assert alignments == [9]
    (path,) = (tmp_path / "kept").rglob("*.counts")
    path.write_bytes(b"damaged")
    assert refined(tmp_path / "3", work, *flags) == expected
    assert alignments == [9, 9]
    assert files(tmp_path / "kept") == whole
    fewer = write(tmp_path / "fewer", BARCODES[:8], {"a": ["x1"]})
    refined(tmp_path / "4", fewer, *flags)
    assert alignments == [9, 9, 8], "other sequences"
    assert len(files(tmp_path / "kept")) == 2


def test_alignments_are_kept_for_the_user_unless_they_are_not_to_be(
    alignments, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    given = write(tmp_path / "work")
    for x in range(2):
        refined(tmp_path / f"{x}", given, "--no-cache")
    assert alignments == [9, 9]
    assert not list(tmp_path.rglob("*.counts"))
    for x in range(2, 4):
        refined(tmp_path / f"{x}", given)
    assert alignments == [9, 9, 9]
    assert len(files(tmp_path / "home")) == len(files(tmp_path)) == 1


def test_each_scope_is_kept_for_itself(alignments, tmp_path):
    given = write(tmp_path / "work")
    flags = ("--cache-dir", tmp_path / "kept", "--distance-context", "scope")
    refined(tmp_path / "1", given, *flags)
    first = len(alignments)
    assert first > 1
    assert len(files(tmp_path / "kept")) == first
    refined(tmp_path / "2", given, *flags)
    assert len(alignments) == first


def test_the_distances_of_one_scope_are_kept_too(alignments, tmp_path):
    source, *_ = write(tmp_path / "work")
    for x in range(2):
        flags = ("--cache-dir", tmp_path / "kept", "--distance-matrix", tmp_path / f"{x}.csv")
        result = ctr("gaphack", "cluster", source, "--out", tmp_path / f"{x}", *flags)
        assert result.exit_code == 0
    assert alignments == [9]
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()


def test_distances_never_take_the_place_of_the_sequences(tmp_path):
    source, *_ = write(tmp_path / "work")
    letters = source.read_text()
    flags = ("--no-cache", "--distance-matrix", source)
    result = ctr("gaphack", "cluster", source, "--out", tmp_path / "out", *flags)
    assert source.read_text() == letters
    assert result.exit_code == 1
    assert str(source) in words(result)
