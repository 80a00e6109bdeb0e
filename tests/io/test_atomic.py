"""A file is there whole or not at all."""

import errno
from pathlib import Path

import pytest

from ctr_engine.errors import OutputError
from ctr_engine.io.atomic import whole_file, write_text


@pytest.mark.smoke
def test_a_file_is_written_into_a_folder_that_is_made(tmp_path):
    write_text(tmp_path / "a" / "b.txt", "ä")
    assert (tmp_path / "a" / "b.txt").read_text("utf-8") == "ä"


def test_after_an_error_the_old_file_stays_and_nothing_is_left(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")

    def write_half(temporary: Path) -> None:
        temporary.write_text("ne")
        msg = "stopped half-way"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="half-way"), whole_file(target) as temporary:
        write_half(temporary)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_a_full_disk_is_an_error_with_a_remedy(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    words = r"cannot write .*x\.csv: No space left.*Free space"
    with pytest.raises(OutputError, match=words), whole_file(tmp_path / "x.csv"):
        raise full
    assert not list(tmp_path.iterdir())


def test_a_reader_never_sees_half_a_file(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "one")
    with whole_file(target) as temporary:
        temporary.write_text("tw")
        assert target.read_text() == "one"
        temporary.write_text("two")
    assert target.read_text() == "two"
