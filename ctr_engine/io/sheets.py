"""Sheets for people, CSV and xlsx: what a spreadsheet would take for a formula stays text."""

import csv
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctr_engine.errors import Fault, InputError
from ctr_engine.io.atomic import whole_file
from ctr_engine.tables import ReviewSheet, checked

SHEET_SUFFIXES = (".csv", ".xlsx")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_GUARD = "'"
_SHEET = "review"
_FILLED_IN = ("curated_label", "curator", "curated_on", "curated_reason")
_WIDTHS = {"reason": 60, "cell_type": 24, "cell_type_path": 40, "runner_up": 40}
_WIDTH = 16


def write_sheet(table: pd.DataFrame, labels: Sequence[str], path: Path) -> None:
    """Write a review sheet.

    Parameters
    ----------
    table
        A :class:`~ctr_engine.tables.ReviewSheet` table.
    labels
        Cell types to choose from, as a list in the spreadsheet.

    Raises
    ------
    InputError
        If the name of the file ends in something else than ``.csv`` or ``.xlsx``.
    """
    require_sheet(path)
    rows = checked(ReviewSheet, table).astype(object).where(table.notna(), None)
    with whole_file(path) as temporary:
        if path.suffix.lower() == ".csv":
            _write_csv(rows, temporary)
        else:
            _write_xlsx(rows, labels, temporary)


def require_sheet(path: Path) -> None:
    """Refuse a name that is not that of a sheet.

    Raises
    ------
    InputError
        If it ends in something else than ``.csv`` or ``.xlsx``.
    """
    if path.suffix.lower() not in SHEET_SUFFIXES:
        fault = Fault(f"a review sheet is a {' or '.join(SHEET_SUFFIXES)} file")
        raise InputError(str(path), [fault])


def _write_csv(rows: pd.DataFrame, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows.columns)
        for row in rows.itertuples(index=False):
            writer.writerow([_guarded(value) for value in row])


def _guarded(value: object) -> object:
    text = isinstance(value, str) and value.startswith((*_FORMULA, _GUARD))
    return f"{_GUARD}{value}" if text else value


def _write_xlsx(rows: pd.DataFrame, labels: Sequence[str], path: Path) -> None:
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font, PatternFill
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    book = Workbook()
    sheet, choice = book.active, book.create_sheet("cell types")
    sheet.title = _SHEET
    for index, name in enumerate(labels, start=1):
        _set(choice.cell(index, 1), name)
    choices = DataValidation(
        "list", formula1=f"'cell types'!$A$1:$A${max(len(labels), 1)}", showErrorMessage=False
    )
    sheet.add_data_validation(choices)
    for column, name in enumerate(rows.columns, start=1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = _WIDTHS[name] if name in _WIDTHS else _WIDTH
        head = sheet.cell(1, column)
        _set(head, name)
        head.font = Font(bold=True)
        for line, value in enumerate(rows[name], start=2):
            cell = sheet.cell(line, column)
            _set(cell, value)
            cell.alignment = Alignment(vertical="top", wrap_text=name == "reason")
            if name in _FILLED_IN:
                cell.fill = PatternFill("solid", fgColor="FFF6D6")
        if name == "curated_label":
            choices.add(f"{letter}2:{letter}{len(rows) + 1}")
    sheet.freeze_panes = "B2"
    book.save(path)


def _set(cell: Any, value: object) -> None:
    """Set a value; a text stays one, whatever it looks like, without what xlsx cannot hold."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    cell.value = ILLEGAL_CHARACTERS_RE.sub("", value) if isinstance(value, str) else value
    if isinstance(value, str) or value is None:
        cell.number_format = "@"
    if isinstance(value, str):
        cell.data_type = "s"


def read_sheet(path: Path) -> list[dict[str, str]]:
    """Read a sheet that was filled in: every cell as text, an empty one as an empty text.

    Empty rows are kept, so that the first row is line 2 of the sheet, and so on.

    Raises
    ------
    InputError
        If it cannot be read, or a row is longer than the first.
    """
    require_sheet(path)
    if not path.is_file():
        raise InputError(str(path), [Fault("there is no such file")])
    lines = _csv_lines(path) if path.suffix.lower() == ".csv" else _xlsx_lines(path)
    if not lines:
        raise InputError(str(path), [Fault("is empty")])
    names, *rows = lines
    twice = sorted({name for name in names if name and names.count(name) > 1})
    faults = [Fault(f"has the column {name!r} twice; keep one", line=1) for name in twice]
    faults += [
        Fault(f"has {len(row)} values, and the first line names {len(names)} columns", line=line)
        for line, row in enumerate(rows, start=2)
        if len(row) > len(names)
    ]
    if faults:
        raise InputError(str(path), faults)
    filled = [row + [""] * (len(names) - len(row)) for row in rows]
    return [dict(zip(names, row, strict=True)) for row in filled]


def _csv_lines(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        fault = Fault("is not UTF-8 text; save it as CSV UTF-8, or use xlsx")
        raise InputError(str(path), [fault]) from None
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)  # a spreadsheet writes that of its country
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        return [[_unguarded(value) for value in line] for line in lines]
    except csv.Error as error:
        fault = Fault(f"is not CSV: {error}", line=lines.line_num)
        raise InputError(str(path), [fault]) from None


def _unguarded(value: str) -> str:
    is_guarded = value.startswith(_GUARD) and value[1:].startswith((*_FORMULA, _GUARD))
    return value[1:] if is_guarded else value


def _xlsx_lines(path: Path) -> list[list[str]]:
    from xml.etree.ElementTree import ParseError
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    broken = (
        BadZipFile,
        InvalidFileException,
        KeyError,
        ValueError,
        TypeError,
        ParseError,
        OSError,
    )
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # about extensions that it does not read, such as the choices of newer programs
            warnings.filterwarnings("ignore", module="openpyxl")
            book = load_workbook(file, read_only=True, data_only=True)
            sheet = book[_SHEET] if _SHEET in book.sheetnames else book.worksheets[0]
            sheet.reset_dimensions()  # some programs write a size that is too small
            lines = [[_text(value) for value in row] for row in sheet.values]
            book.close()
    except broken as error:
        raise InputError(str(path), [Fault(f"is not an xlsx file ({error})")]) from None
    width = max((len(line) for line in lines), default=0)
    return [line + [""] * (width - len(line)) for line in lines]


def _text(value: object) -> str:
    """Write a cell as text; a date as its day, a whole number without a point."""
    from datetime import datetime

    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
