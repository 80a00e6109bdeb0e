"""Review sheets as files: what is written is what is read, whatever it looks like."""

import csv
import io
import re
import warnings
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctr_engine.errors import InputError
from ctr_engine.io.sheets import read_sheet, write_sheet
from ctr_engine.tables import ReviewSheet, column_names, from_rows

COLUMNS = list(column_names(ReviewSheet))
LABELS = ["Epithelium", "Immune Cells", "Immune Cells / T Cells", "-odd / =label"]
BOTH = pytest.mark.parametrize("suffix", [".csv", ".xlsx"])


def row(cluster: str = "0", **given: Any) -> dict[str, Any]:
    return {
        "cluster_id": cluster,
        "n_cells": 12,
        "cell_type": "T Cells",
        "cell_type_path": "Immune Cells / T Cells",
        "cell_type_confidence": 0.25,
        "runner_up": None,
        "margin_to_runner_up": None,
        "reason": "CD3 +1.8",
        "decided_by": "stage_h",
        "curated_label": None,
        "curator": None,
        "curated_on": None,
        "curated_reason": None,
        "source_file": "/data/out/coarse_clusters.h5ad",
        "source_sha256": "ab12",
        **given,
    }


def written(path: Path, *rows: dict[str, Any]) -> Path:
    write_sheet(from_rows(ReviewSheet, list(rows)), LABELS, path)
    return path


def as_read(one: dict[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in one.items()}


TEXTS = [
    "3:0",
    "1:12:3",
    "007",
    "1e5",
    "-1",
    "+49",
    "=1+1",
    "=HYPERLINK(\"http://x\",'a')",
    "@SUM(A1)",
    "'quoted'",
    "'=1",
    "''-x",
    "\ttab first",
    "tab\tinside",
    "TRUE",
    "nan",
    "NA",
    "#N/A",
    "2026-01-31",
    "1/2",
    'a "word", and; more',
    "two\nlines",
    "CD4⁺ T-Zellen, größer 😀",
    "-CD3",
    "_x0041_",
    "<b>&amp;</b>",
    "x" * 5000,
]


@BOTH
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_stays_the_text_that_it_is(text, suffix, tmp_path):
    texts = ("cluster_id", "cell_type", "cell_type_path", "runner_up", "reason", "source_file")
    hand = ("curated_label", "curator", "curated_on", "curated_reason")
    one = row(**dict.fromkeys((*texts, *hand), text))
    assert read_sheet(written(tmp_path / f"sheet{suffix}", one)) == [as_read(one)]


@BOTH
@settings(max_examples=30)
@given(
    texts=st.lists(
        st.text(
            st.characters(
                codec="utf-8",
                exclude_categories=("Cc", "Cs", "Zl", "Zp"),
                exclude_characters="\ufeff\ufffe\uffff",
            ),
            min_size=1,
        ),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_any_printable_text_comes_back(texts, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("sheet") / f"sheet{suffix}"
    rows = [row(text, curated_reason=text) for text in texts]
    assert read_sheet(written(path, *rows)) == [as_read(one) for one in rows]


@pytest.mark.parametrize("text", ["a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\x0cb", "a\x1cb"])
def test_other_line_ends_do_not_end_a_row_of_a_csv(text, tmp_path):
    one = row(curated_reason=text)  # \x0b is a line break of Word, U+2028 one of web pages
    assert read_sheet(written(tmp_path / "sheet.csv", one)) == [as_read(one)]


@pytest.mark.parametrize("text", ["a\x0bb", "\x00", "a\x1fb"])
def test_what_xlsx_cannot_hold_is_left_out(text, tmp_path):
    (found,) = read_sheet(written(tmp_path / "sheet.xlsx", row(curated_reason=text)))
    assert found["cluster_id"] == "0"
    assert found["curated_reason"] == "".join(one for one in text if one.isprintable())


@BOTH
def test_numbers_and_what_is_missing(suffix, tmp_path):
    first = row("10", n_cells=1234567, cell_type_confidence=1e6, margin_to_runner_up=0.1)
    second = row("9", cell_type_confidence=0.0)
    found = read_sheet(written(tmp_path / f"sheet{suffix}", first, second))
    assert [one["n_cells"] for one in found] == ["1234567", "12"]
    assert [float(one["cell_type_confidence"]) for one in found] == [1e6, 0.0]
    assert [one["margin_to_runner_up"] for one in found] == ["0.1", ""]
    assert [one["runner_up"] for one in found] == ["", ""]
    assert list(found[0]) == COLUMNS


def test_a_csv_never_starts_a_field_like_a_formula(tmp_path):
    texts = [text for text in TEXTS if text[0] in "=+-@\t"]
    rows = [row(text, curated_label=text, reason=text) for text in texts]
    lines = written(tmp_path / "sheet.csv", *rows).read_text(encoding="utf-8")
    fields = [field for line in csv.reader(io.StringIO(lines, newline="")) for field in line]
    assert len(fields) == len(COLUMNS) * (len(texts) + 1)
    assert not [field for field in fields if field[:1] in {"=", "+", "-", "@", "\t", "\r"}]


def test_an_xlsx_holds_texts_as_texts_and_numbers_as_numbers(tmp_path):
    rows = [row("3:0", reason="=1+1"), row("=1+1", curated_label="-CD3", runner_up="2026-01-31")]
    sheet = openpyxl.load_workbook(written(tmp_path / "sheet.xlsx", *rows))["review"]
    head, *lines = sheet.iter_rows()
    assert [cell.value for cell in head] == COLUMNS
    numbers = {"n_cells", "cell_type_confidence", "margin_to_runner_up"}
    for cells in lines:
        for name, cell in zip(COLUMNS, cells, strict=True):
            if cell.value is not None:
                assert cell.data_type == ("n" if name in numbers else "s"), name
            if name not in numbers:
                assert cell.number_format == "@", name  # so that what is typed stays text
    assert [cells[0].value for cells in lines] == ["3:0", "=1+1"]


def test_an_xlsx_offers_the_cell_types_for_the_label_and_nothing_else(tmp_path):
    book = openpyxl.load_workbook(written(tmp_path / "sheet.xlsx", row("0"), row("1"), row("2")))
    assert book.active.title == "review"
    assert [cell.value for cell in book["cell types"]["A"]] == LABELS
    (choice,) = book["review"].data_validations.dataValidation
    letter = openpyxl.utils.get_column_letter(COLUMNS.index("curated_label") + 1)
    assert str(choice.sqref) == f"{letter}2:{letter}4"
    assert choice.formula1 == f"'cell types'!$A$1:$A${len(LABELS)}"
    assert not choice.showErrorMessage, "a new label may be typed"
    assert book["review"].freeze_panes == "B2"


def test_an_xlsx_marks_what_is_to_be_filled_in(tmp_path):
    sheet = openpyxl.load_workbook(written(tmp_path / "sheet.xlsx", row()))["review"]
    marked = [
        name
        for name, cell in zip(COLUMNS, sheet[2], strict=True)
        if cell.fill.fill_type is not None
    ]
    assert marked == ["curated_label", "curator", "curated_on", "curated_reason"]


def resaved(path: Path, change: Callable[[Any], None]) -> list[dict[str, str]]:
    """Read a sheet after somebody changed it in a spreadsheet."""
    book = openpyxl.load_workbook(path)
    change(book)
    book.save(path)
    return read_sheet(path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 9, 30), "2026-01-31"),  # noqa: DTZ001  a sheet has no zone
        (12, "12"),
        (12.0, "12"),
        (0.5, "0.5"),
        (time(3, 0), "03:00:00"),
        ("", ""),
        (None, ""),
    ],
)
def test_what_a_spreadsheet_makes_of_a_cell_is_read_as_text(value, expected, tmp_path):
    path = written(tmp_path / "sheet.xlsx", row())
    column = COLUMNS.index("curated_on") + 1

    def change(book: Any) -> None:
        cell = book["review"].cell(2, column)
        cell.number_format = "General"
        cell.value = value

    assert resaved(path, change)[0]["curated_on"] == expected


@BOTH
def test_columns_may_be_moved_and_added(suffix, tmp_path):
    path = written(tmp_path / f"sheet{suffix}", row("0"), row("1"))
    if suffix == ".csv":
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table[[*COLUMNS[::-1]]].assign(notes=["", "mine"]).to_csv(path, index=False)
        found = read_sheet(path)
    else:

        def change(book: Any) -> None:
            book["review"].move_range("A1:A3", cols=20)
            book["review"].cell(1, 1).value = "notes"
            book["review"].cell(3, 1).value = "mine"

        found = resaved(path, change)
    assert [one["cluster_id"] for one in found] == ["0", "1"]
    assert [one["notes"] for one in found] == ["", "mine"]


@BOTH
def test_empty_rows_keep_their_place_and_are_no_clusters(suffix, tmp_path):
    path = written(tmp_path / f"sheet{suffix}", row("0"), row("1"))
    if suffix == ".csv":
        lines = path.read_text().splitlines()
        empty = "," * (len(COLUMNS) - 1)
        path.write_text("\n".join([lines[0], lines[1], empty, "", lines[2], empty, ""]) + "\n")
        found = read_sheet(path)
    else:
        found = resaved(path, lambda book: book["review"].insert_rows(3, 2))
    places = {row["cluster_id"]: i for i, row in enumerate(found) if any(row.values())}
    assert places == {"0": 0, "1": 3}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_csv_of_any_country_is_read(separator, encoding, end, tmp_path):
    rows = [row("3:0", curated_reason="a; b, c\td"), row("-1", reason="größer")]
    path = tmp_path / "sheet.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator=end)
        writer.writerow(COLUMNS)
        writer.writerows(as_read(one).values() for one in rows)
    assert read_sheet(path) == [as_read(one) for one in rows]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_a_csv_with_every_text_in_quotes_is_read(quoting, tmp_path):
    path = tmp_path / "sheet.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";", quoting=quoting)
        writer.writerow(COLUMNS)
        writer.writerow(as_read(row("3:0", curated_reason="a\nb;c")).values())
    assert read_sheet(path) == [as_read(row("3:0", curated_reason="a\nb;c"))]


def test_a_short_row_ends_in_empty_cells(tmp_path):
    (tmp_path / "sheet.csv").write_text("cluster_id,curated_label,curator\n3:0\n1,T Cells\n")
    assert read_sheet(tmp_path / "sheet.csv") == [
        {"cluster_id": "3:0", "curated_label": "", "curator": ""},
        {"cluster_id": "1", "curated_label": "T Cells", "curator": ""},
    ]


def test_rows_that_are_too_long_are_named_all(tmp_path):
    (tmp_path / "sheet.csv").write_text("a,b\n1,2\n1,2,3\n1,2\n1,2,3,4\n")
    with pytest.raises(InputError) as raised:
        read_sheet(tmp_path / "sheet.csv")
    text = str(raised.value)
    assert "2 faults" in text
    assert "line 3: has 3 values, and the first line names 2 columns" in text
    assert "line 5: has 4 values, and the first line names 2 columns" in text


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("sheet.csv", b"", "is empty"),
        ("sheet.csv", "größer".encode("latin-1"), "is not UTF-8 text; save it as CSV UTF-8"),
        ("sheet.csv", "a\tb".encode("utf-16"), "is not UTF-8 text"),
        ("sheet.xlsx", b"cluster_id,curated_label\n", "is not an xlsx file"),
        ("sheet.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is not an xlsx file"),
        ("sheet.xlsx", b"", "is not an xlsx file"),
        ("sheet.ods", b"", "a review sheet is a .csv or .xlsx file"),
        ("sheet", b"", "a review sheet is a .csv or .xlsx file"),
    ],
)
def test_what_is_no_sheet_is_refused(name, content, expected, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=expected):
        read_sheet(tmp_path / name)


@BOTH
def test_a_sheet_that_is_not_there(suffix, tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        read_sheet(tmp_path / f"sheet{suffix}")


def test_another_suffix_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError, match=r"a review sheet is a \.csv or \.xlsx file"):
        written(tmp_path / "sheet.txt", row())
    assert not list(tmp_path.iterdir())


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Change the parts of an xlsx, as other programs write them."""
    with zipfile.ZipFile(path) as old:
        parts = {name: change(name, old.read(name)) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in parts.items():
            if content is not None:
                new.writestr(name, content)
    return path


SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize("stated", [b'<dimension ref="A1"/>', b'<dimension ref="A1:O2"/>', b""])
def test_rows_beyond_the_stated_size_of_a_sheet_are_not_lost(stated, tmp_path):
    path = written(tmp_path / "sheet.xlsx", *(row(str(i)) for i in range(4)))

    def change(name: str, content: bytes) -> bytes:
        return re.sub(rb"<dimension [^>]*/>", stated, content) if name == SHEET else content

    found = read_sheet(rewritten(path, change))  # some programs write a size that is not so
    assert [one["cluster_id"] for one in found] == ["0", "1", "2", "3"]
    assert list(found[0]) == COLUMNS


def test_what_excel_makes_of_the_choices_is_read_without_a_warning(tmp_path):
    """Excel keeps a list on another sheet in an extension that openpyxl does not know."""
    path = written(tmp_path / "sheet.xlsx", row())
    uri = b"{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"
    space = b"http://schemas.microsoft.com/office/spreadsheetml/2009/9/main"
    added = b'<extLst><ext xmlns:x14="' + space + b'" uri="' + uri + b'">'
    added += b'<x14:dataValidations count="1"/></ext></extLst></worksheet>'

    def change(name: str, content: bytes) -> bytes:
        if name != SHEET:
            return content
        content = re.sub(rb"<dataValidations.*</dataValidations>", b"", content)
        return content.replace(b"</worksheet>", added)

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = read_sheet(rewritten(path, change))
    assert [one["cluster_id"] for one in found] == ["0"]
    assert not [str(one.message) for one in seen]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda n, c: c[: len(c) // 2] if n == SHEET else c, id="half a sheet"),
        pytest.param(lambda n, c: None if n == "xl/workbook.xml" else c, id="no workbook"),
        pytest.param(lambda n, c: b"<a" if n == "xl/workbook.xml" else c, id="broken workbook"),
    ],
)
def test_a_damaged_xlsx_is_refused_in_words(change, tmp_path):
    path = rewritten(written(tmp_path / "sheet.xlsx", row()), change)
    with pytest.raises(InputError, match=r"sheet\.xlsx"):
        read_sheet(path)


def test_an_xlsx_that_would_fill_the_memory_is_refused(tmp_path):
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "x">]><worksheet>&b;</worksheet>'
    path = written(tmp_path / "sheet.xlsx", row())
    rewritten(path, lambda name, content: bomb if name == SHEET else content)
    with pytest.raises(InputError, match="is not an xlsx file"):
        read_sheet(path)


@BOTH
def test_a_sheet_is_there_whole_or_not_at_all(suffix, tmp_path, monkeypatch):
    path = written(tmp_path / f"sheet{suffix}", row("0"))
    before = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ctr_engine.io.sheets._write_csv", full)
    monkeypatch.setattr("ctr_engine.io.sheets._write_xlsx", full)
    with pytest.raises(Exception, match="No space left"):
        written(path, row("1"))
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
