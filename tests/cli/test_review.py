"""``ctr export-review`` and ``ctr import-review`` as a curator uses them."""

import csv
import json
import re
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import openpyxl
import pandas as pd
import pytest
import yaml

from ctr_engine.tables import ReviewSheet, column_names
from tests.bad_inputs import GOOD_MAP, good_sample
from tests.cli.test_annotate import ctr, words

COLUMNS = list(column_names(ReviewSheet))
IDS = ("3:0", "-1", "2")
"""Clusters of epithelium, T and B cells: names of which a spreadsheet would make something."""
BOTH = pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
DECIDED = {
    "3:0": {
        "curated_label": "Immune Cells / T Cells",
        "curator": "Ann Ä.",
        "curated_on": "2026-01-31",
        "curated_reason": "no, CD3; see\tslide",
    },
    "2": {"curated_label": "Epithelium", "curator": "Bo", "curated_on": "2026-02-01"},
}
CYCLING = {
    "Epithelium": {
        "markers": ["Pan-CK", "E-cadherin"],
        "anti_markers": ["CD45"],
        "subtypes": {"Cycling": {"markers": ["CD20"]}},
    },
    "Immune Cells": {
        "markers": ["CD45"],
        "subtypes": {"Cycling": {"markers": ["CD3"]}, "B Cells": {"markers": ["CD20"]}},
    },
}

pytestmark = pytest.mark.usefixtures("quickly")


def annotated(folder: Path, clusters: list[str], marker_map: str = GOOD_MAP) -> Path:
    """Results of the good sample in clusters of ours, in ``out`` of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    adata = good_sample()
    adata.obs["mine"] = clusters
    adata.write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(marker_map)
    files = ("--marker-map", folder / "map.json", "--out", folder / "out")
    own = ("--annotation-only", "--cluster-key", "mine")
    result = ctr("annotate", folder / "sample.h5ad", *files, *own)
    assert result.exit_code == 0, words(result)
    return folder / "out"


@pytest.fixture(scope="module")
def results(quickly, tmp_path_factory) -> Path:
    """Results of three clusters with forty cells each."""
    return annotated(tmp_path_factory.mktemp("results"), [IDS[i % 3] for i in range(120)])


@pytest.fixture(scope="module")
def exported(results, tmp_path_factory) -> Path:
    """Folder with ``sheet.csv`` and ``sheet.xlsx`` as they were exported, each with its cells."""
    folder = tmp_path_factory.mktemp("exported")
    for suffix in ("csv", "xlsx"):
        export(results, folder / suffix / f"sheet.{suffix}")
    return folder


@pytest.fixture
def sheet(exported, tmp_path: Path) -> Path:
    """A CSV that nobody has filled in."""
    shutil.copytree(exported / "csv", tmp_path / "work")
    return tmp_path / "work" / "sheet.csv"


def export(results: Path, sheet: Path) -> Path:
    result = ctr("export-review", results, "--out", sheet)
    assert result.exit_code == 0, words(result)
    return sheet


def take(sheet: Path, *flags: object, out: str = "manual.yaml") -> dict[str, Any]:
    """Import a sheet that must be good."""
    result = import_(sheet, *flags, out=out)
    assert result.exit_code == 0, words(result)
    return content_of(sheet.with_name(out))


def import_(sheet: Path, *flags: object, out: str = "manual.yaml") -> Any:
    return ctr("import-review", sheet, "--out", sheet.with_name(out), *flags)


def refused(sheet: Path, *flags: object) -> str:
    """Import a sheet that must be refused, with nothing written."""
    result = import_(sheet, *flags)
    assert result.exit_code == 1, words(result)
    assert not sheet.with_name("manual.yaml").exists()
    return words(result)


def content_of(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506


def refine(source: Path, manual: Path, folder: Path) -> Any:
    flags = ("--manual", manual, "--execute", "--out", folder)
    return ctr("refine", source / "coarse_clusters.h5ad", *flags)


def rows_of(sheet: Path) -> list[dict[str, str]]:
    with sheet.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def put(sheet: Path, rows: list[dict[str, str]], delimiter: str = ",", end: str = "\n") -> None:
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)


def fill(sheet: Path, decided: Mapping[str, Mapping[str, Any]]) -> Path:
    """Fill rows in, by their cluster."""
    if sheet.suffix == ".xlsx":
        book = openpyxl.load_workbook(sheet)
        for cells in book["review"].iter_rows(min_row=2):
            for name, value in (
                decided[cells[0].value] if cells[0].value in decided else {}
            ).items():
                cells[COLUMNS.index(name)].value = value
        book.save(sheet)
        return sheet
    rows = rows_of(sheet)
    for row in rows:
        name = row["cluster_id"].removeprefix("'")
        row.update(decided[name] if name in decided else {})
    put(sheet, rows)
    return sheet


def cells(*remainders: int) -> list[str]:
    return [f"cell_{i}" for i in range(120) if i % 3 in remainders]


EXPECTED = [
    {
        "cluster_id": "3:0",
        "cell_type": "T Cells",
        "author": "Ann Ä.",
        "date": "2026-01-31",
        "reason": "no, CD3; see\tslide",
    },
    {"cluster_id": "2", "cell_type": "Epithelium", "author": "Bo", "date": "2026-02-01"},
]


def by_cluster(content: dict[str, Any]) -> list[dict[str, str]]:
    return sorted(content["overrides"], key=lambda one: IDS.index(one["cluster_id"]))


# --- the way out


def test_the_sheet_has_a_row_for_each_cluster_and_empty_columns_for_the_curator(sheet):
    rows = rows_of(sheet)
    assert list(rows[0]) == COLUMNS
    assert {row["cluster_id"] for row in rows} == {"3:0", "'-1", "2"}, "guarded as in a formula"
    assert {row["n_cells"] for row in rows} == {"40"}
    types = {row["cluster_id"]: row["cell_type_path"] for row in rows}
    assert types["2"] == "Immune Cells / B Cells"
    assert {row[name] for row in rows for name in COLUMNS if name.startswith("curat")} == {""}
    assert all(row["reason"] for row in rows)


def test_the_least_certain_come_first(tmp_path):
    mixed = ["mixed" if i % 3 else "clear" for i in range(120)]
    results = annotated(tmp_path / "run", mixed)
    rows = rows_of(export(results, tmp_path / "sheet.csv"))
    assert [row["cluster_id"] for row in rows] == ["mixed", "clear"]
    assert float(rows[0]["cell_type_confidence"]) < 1
    assert rows[1]["cell_type_confidence"] == "", "nobody competed"


def test_what_to_do_next_is_said(results, tmp_path):
    printed = words(ctr("export-review", results, "--out", tmp_path / "sheet.xlsx"))
    assert "3 clusters" in printed
    assert f"ctr import-review {tmp_path / 'sheet.xlsx'} --out manual.yaml" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"sheet.xlsx", "sheet.cells.parquet"}


@pytest.mark.parametrize("there", ["sheet.csv", "sheet.cells.parquet"])
def test_a_sheet_that_is_there_is_never_replaced(there, results, tmp_path):
    (tmp_path / there).write_text("hours of work")
    result = ctr("export-review", results, "--out", tmp_path / "sheet.csv")
    assert result.exit_code == 1
    assert f"{there} exists" in words(result)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "hours of work"


def test_what_cannot_be_exported_is_refused(results, tmp_path):
    good_sample().write_h5ad(tmp_path / "sample.h5ad")
    for source, out, expected in (
        (results, None, "--out is missing; name the sheet"),
        (results, "sheet.ods", "a review sheet is a .csv or .xlsx file"),
        (tmp_path / "nowhere", "sheet.csv", "there is no such folder"),
        (tmp_path, "sheet.csv", "holds no annotated sample"),
        (tmp_path / "sample.h5ad", "sheet.csv", "name what ctr annotate wrote"),
    ):
        flags = () if out is None else ("--out", tmp_path / out)
        result = ctr("export-review", source, *flags)
        assert result.exit_code == 1
        assert expected in words(result)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.h5ad"]


# --- there and back


@BOTH
def test_decisions_become_overrides_with_the_cells_they_were_made_on(suffix, exported, tmp_path):
    shutil.copytree(exported / suffix[1:], tmp_path, dirs_exist_ok=True)
    content = take(fill(tmp_path / f"sheet{suffix}", DECIDED))
    assert set(content) == {"version", "overrides", "cells"}
    assert by_cluster(content) == EXPECTED
    assert {name: text.split() for name, text in content["cells"].items()} == {
        "3:0": cells(0),
        "2": cells(2),
    }


@pytest.mark.parametrize(
    ("delimiter", "end", "encoding"),
    [(";", "\r\n", "utf-8-sig"), ("\t", "\r\n", "utf-8"), (",", "\r\n", "utf-8-sig")],
)
def test_a_csv_as_the_spreadsheet_of_another_country_writes_it(delimiter, end, encoding, sheet):
    fill(sheet, DECIDED)
    put(sheet, rows_of(sheet), delimiter, end)
    sheet.write_bytes(sheet.read_bytes().decode("utf-8").encode(encoding))
    assert by_cluster(take(sheet)) == EXPECTED


def test_in_an_xlsx_an_id_stays_text_when_it_is_saved_again(exported, tmp_path):
    shutil.copytree(exported / "xlsx", tmp_path, dirs_exist_ok=True)
    review = openpyxl.load_workbook(tmp_path / "sheet.xlsx")["review"]
    found = {cell.value: (cell.data_type, cell.number_format) for cell in review["A"][1:]}
    assert found == dict.fromkeys(IDS, ("s", "@"))


def test_an_id_that_a_spreadsheet_made_a_time_is_said(exported, sheet, tmp_path):
    fill(sheet, DECIDED)
    sheet.write_text(sheet.read_text().replace("\n3:0,", "\n03:00,"))
    assert "there is no cluster '03:00'. A spreadsheet turns 3:0 into a time; use xlsx" in refused(
        sheet
    )


@BOTH
def test_text_like_a_formula_stays_text_all_the_way(suffix, exported, results, tmp_path):
    shutil.copytree(exported / suffix[1:], tmp_path, dirs_exist_ok=True)
    given = {
        "curated_label": "=HYPERLINK(1)",
        "curator": "@ann",
        "curated_reason": "-CD3 +CD20",
    }
    path = tmp_path / f"sheet{suffix}"
    if suffix == ".csv":
        fill(path, {"-1": given})
    else:
        book = openpyxl.load_workbook(path)
        for line in book["review"].iter_rows(min_row=2):
            if line[0].value == "-1":
                for name, text in given.items():
                    line[COLUMNS.index(name)].value = text
                    line[COLUMNS.index(name)].data_type = "s"
        book.save(path)
    content = take(path, "--allow-new", "--date", "2026-01-31")
    assert content["overrides"] == [
        {
            "cluster_id": "-1",
            "cell_type": "=HYPERLINK(1)",
            "new": "true",
            "author": "@ann",
            "date": "2026-01-31",
            "reason": "-CD3 +CD20",
        }
    ]
    assert refine(results, tmp_path / "manual.yaml", tmp_path / "ref").exit_code == 0
    again = export(tmp_path / "ref", tmp_path / "again.csv")
    fields = [field for row in rows_of(again) for field in row.values()]
    assert "'=HYPERLINK(1)" in fields
    assert not [field for field in fields if field[:1] in {"=", "+", "-", "@"}]
    book = openpyxl.load_workbook(export(tmp_path / "ref", tmp_path / "again2.xlsx"))
    texts = {cell.value: cell.data_type for line in book["review"].iter_rows() for cell in line}
    assert texts["=HYPERLINK(1)"] == texts["@ann"] == texts["-CD3 +CD20"] == "s"


def test_who_when_and_why_arrive_everywhere(results, sheet, tmp_path):
    fill(sheet, DECIDED)
    take(sheet)
    assert refine(results, sheet.with_name("manual.yaml"), tmp_path / "ref").exit_code == 0
    adata = anndata.read_h5ad(tmp_path / "ref" / "refined.h5ad")
    kept = json.loads(adata.uns["stage_refine_iteration_1"])["plan"]["operations"]
    (ours,) = [one for one in kept if one["cluster"] == "3:0"]
    who = {"author": "Ann Ä.", "date": "2026-01-31", "reason": "no, CD3; see\tslide"}
    assert {name: ours[name] for name in who} == who
    assert (ours["op"], ours["source"], ours["path"]) == (
        "override",
        "manual",
        "Immune Cells / T Cells",
    )
    log = pd.read_csv(tmp_path / "ref" / "refinement_log.csv", dtype=str).set_index("clusters")
    assert {name: log.loc["3:0", name] for name in who} == who
    assert log.loc["2", "author"] == "Bo"
    rows = json.loads(ctr("history", tmp_path / "ref", "--cell", "cell_0", "--json").stdout)
    assert {name: rows[1][name] for name in who} == who
    labels = adata.obs["cell_type_lvl1"].astype(str).tolist()
    assert labels == [("T Cells", "T Cells", "Epithelium")[i % 3] for i in range(120)]


def test_what_a_person_decided_stands_in_the_next_sheet(results, sheet, tmp_path):
    take(fill(sheet, DECIDED))
    refine(results, sheet.with_name("manual.yaml"), tmp_path / "ref")
    rows = {row["cluster_id"]: row for row in rows_of(export(tmp_path / "ref", tmp_path / "b.csv"))}
    given = {"curated_label": "T Cells", "curator": "Ann Ä.", "curated_on": "2026-01-31"}
    assert {name: rows["3:0"][name] for name in given} == given
    assert rows["3:0"]["decided_by"] == "override"
    assert rows["3:0"]["cell_type"] == "T Cells"
    assert rows["'-1"]["decided_by"] == "stage_h"
    assert rows["'-1"]["curated_label"] == ""
    assert by_cluster(take(tmp_path / "b.csv")) == EXPECTED


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param(
            '{cluster_id: "2", cell_type: T Cells, author: Ann}', ("T Cells", "Ann"), id="known"
        ),
        pytest.param(
            '{cluster_id: "2", cell_type: Odd, new: true, author: Ann}', ("Odd", "Ann"), id="new"
        ),
        pytest.param('{cluster_id: "2", cell_type: T Cells}', ("T Cells", None), id="nobody"),
        pytest.param(
            '{cluster_id: "2", cell_type: Unassigned, new: true, author: Ann}',
            ("Unassigned", "Ann"),
            id="none",
        ),
    ],
)
def test_an_untouched_sheet_of_earlier_decisions_says_them_again(plan, expected, results, tmp_path):
    (tmp_path / "plan.yaml").write_text(f"overrides: [{plan}]")
    assert refine(results, tmp_path / "plan.yaml", tmp_path / "ref").exit_code == 0
    (one,) = take(export(tmp_path / "ref", tmp_path / "sheet.csv"))["overrides"]
    found = one["author"] if "author" in one else None
    assert (one["cell_type"], found) == expected


def test_a_decision_nobody_signed_is_not_put_into_the_mouth_of_another(results, tmp_path):
    (tmp_path / "plan.yaml").write_text('overrides: [{cluster_id: "2", cell_type: T Cells}]')
    refine(results, tmp_path / "plan.yaml", tmp_path / "ref")
    sheet = export(tmp_path / "ref", tmp_path / "sheet.csv")
    fill(sheet, {"3:0": {"curated_label": "T Cells"}})
    found = {one["cluster_id"]: one for one in take(sheet, "--author", "Zoe")["overrides"]}
    assert found["3:0"]["author"] == "Zoe"
    assert "author" not in found["2"]


@pytest.fixture(scope="module")
def cycling(quickly, tmp_path_factory) -> Path:
    """Folder with results where a label is that of two cell types, and ``sheet.csv``."""
    folder = tmp_path_factory.mktemp("cycling")
    results = annotated(folder, [IDS[i % 3] for i in range(120)], json.dumps(CYCLING))
    export(results, folder / "sheet.csv")
    return folder


def test_a_label_that_two_cell_types_share_needs_its_path(cycling, tmp_path):
    shutil.copytree(cycling, tmp_path, dirs_exist_ok=True)
    fill(tmp_path / "sheet.csv", {"2": {"curated_label": "Cycling", "curator": "Ann"}})
    for flags in ((), ("--allow-new",)):
        printed = refused(tmp_path / "sheet.csv", *flags)
        assert "'Epithelium / Cycling'; 'Immune Cells / Cycling'. Give the path" in printed
        assert "--allow-new makes" not in printed, "which it cannot"


def test_a_path_stays_one_where_the_label_would_not_do(cycling, tmp_path):
    shutil.copytree(cycling, tmp_path, dirs_exist_ok=True)
    decided = {"curated_label": "Epithelium / Cycling", "curator": "Ann"}
    content = take(fill(tmp_path / "sheet.csv", {"2": decided}))
    assert content["overrides"][0]["cell_type"] == "Epithelium / Cycling"


def test_a_label_that_two_cell_types_share_comes_back_by_its_path(cycling, tmp_path):
    shutil.copytree(cycling, tmp_path, dirs_exist_ok=True)
    decided = {"curated_label": "Epithelium / Cycling", "curator": "Ann"}
    take(fill(tmp_path / "sheet.csv", {"2": decided}))
    result = refine(tmp_path / "out", tmp_path / "manual.yaml", tmp_path / "ref")
    assert result.exit_code == 0, words(result)
    again = take(export(tmp_path / "ref", tmp_path / "b.csv"), "--replace")
    assert again["overrides"][0]["cell_type"] == "Epithelium / Cycling"


# --- what is wrong in a sheet


def test_every_fault_of_a_sheet_comes_at_once_with_its_line(sheet):
    rows = rows_of(sheet)
    rows[0].update(curated_label="Neurons", curator="", curated_on="31.01.2026")
    rows[1].update(curated_label="T Cells", curator=" ", cluster_id="9")
    rows[2].update(curated_label="T Cells", curator="Ann", curated_on="2026-02-30")
    put(sheet, [*rows, rows[2] | {"curated_on": ""}, rows[2] | {"curated_on": "", "curator": "B"}])
    printed = refused(sheet)
    assert "sheet.csv: 7 faults" in printed
    for expected in (
        "line 2: nobody is named as curator; fill the column in, or add --author NAME",
        "line 2: curated_on is a day such as 2026-01-31; got '31.01.2026'",
        "has no cell type 'Neurons'",
        "line 3: nobody is named as curator",
        "line 3: there is no cluster '9'",
        "line 4: curated_on is a day such as 2026-01-31; got '2026-02-30'",
        f"line 6: cluster {rows[2]['cluster_id'].removeprefix(chr(39))!r} stands twice",
    ):
        assert expected in printed, expected


def test_lines_are_those_of_the_sheet_where_rows_are_empty(sheet):
    first, second, third = rows_of(sheet)
    empty = dict.fromkeys(COLUMNS, "")
    wrong = {"curated_label": "Neurons", "curator": "Ann"}
    put(sheet, [first, empty, second | wrong, empty, empty, third | wrong])
    printed = refused(sheet)
    lines = [int(number) for number in re.findall(r"line (\d+):", printed)]
    assert sorted(set(lines)) == [4, 7]


def test_lines_of_an_xlsx_are_its_rows(exported, tmp_path):
    shutil.copytree(exported / "xlsx", tmp_path, dirs_exist_ok=True)
    wrong = {"curated_label": "Neurons", "curator": "Ann"}
    fill(tmp_path / "sheet.xlsx", dict.fromkeys(IDS, wrong))
    book = openpyxl.load_workbook(tmp_path / "sheet.xlsx")
    book["review"].insert_rows(3)
    book.save(tmp_path / "sheet.xlsx")
    lines = re.findall(r"line (\d+):", refused(tmp_path / "sheet.xlsx"))
    assert sorted(set(lines)) == ["2", "4", "5"]


@pytest.mark.parametrize("label", ["t cells", "T cells", "Immune Cells/T Cells", "Neurons"])
def test_an_unknown_label_is_named_with_those_there_are(label, sheet):
    fill(sheet, {"2": {"curated_label": label, "curator": "Ann"}})
    printed = refused(sheet)
    assert f"no cell type {label!r}" in printed
    assert "B Cells, Epithelium, Immune Cells, T Cells" in printed
    assert "--allow-new makes a new label of it" in printed


def test_no_file_is_named_that_does_not_exist(sheet):
    fill(sheet, {"2": {"curated_label": "Neurons", "curator": "Ann"}})
    named = re.findall(r"/[^\s:]*", refused(sheet))
    assert [name for name in named if "." in name and not Path(name).exists()] == []


def test_a_label_may_be_new_where_that_is_allowed(sheet, results, tmp_path):
    fill(sheet, {"2": {"curated_label": " Odd Cells ", "curator": "Ann"}})
    (one,) = take(sheet, "--allow-new")["overrides"]
    assert (one["cell_type"], one["new"]) == ("Odd Cells", "true")
    assert refine(results, sheet.with_name("manual.yaml"), tmp_path / "ref").exit_code == 0
    final = pd.read_csv(tmp_path / "ref" / "final_annotations.csv").set_index("cell_id")
    assert set(final.loc[cells(2), "cell_type"]) == {"Odd Cells"}


def test_a_cluster_may_be_called_unassigned(sheet):
    fill(sheet, {"2": {"curated_label": "Unassigned", "curator": "Ann"}})
    (one,) = take(sheet)["overrides"]
    assert (one["cell_type"], one["new"]) == ("Unassigned", "true")


def test_flags_say_only_what_the_sheet_does_not(sheet):
    rest = {"curated_label": "T Cells", "curator": "", "curated_on": "", "curated_reason": ""}
    fill(sheet, DECIDED | {"-1": rest})
    flags = ("--author", "Zoe", "--date", "2026-03-01", "--reason", "meeting")
    found = {one["cluster_id"]: one for one in take(sheet, *flags)["overrides"]}
    who = ("author", "date", "reason")
    assert [found["-1"][name] for name in who] == ["Zoe", "2026-03-01", "meeting"]
    assert [found["3:0"][name] for name in who] == ["Ann Ä.", "2026-01-31", "no, CD3; see\tslide"]
    assert [found["2"][name] for name in who] == ["Bo", "2026-02-01", "meeting"]


def test_a_day_that_nobody_gave_is_today(sheet):
    fill(sheet, {"2": {"curated_label": "T Cells", "curator": "Ann"}})
    before = date.today().isoformat()  # noqa: DTZ011
    (one,) = take(sheet)["overrides"]
    assert before <= one["date"] <= date.today().isoformat()  # noqa: DTZ011


def test_rows_without_a_label_are_not_decided(sheet):
    fill(sheet, {"2": DECIDED["2"], "3:0": {"curated_label": "  "}})
    assert [one["cluster_id"] for one in take(sheet)["overrides"]] == ["2"]


@pytest.mark.parametrize("given", ["curator", "curated_reason"])
def test_what_a_curator_wrote_is_not_lost_without_a_word(given, sheet):
    fill(sheet, {"2": DECIDED["2"], "3:0": {given: "these are T cells"}})  # label forgotten
    assert "3:0" in words(import_(sheet))


@pytest.mark.parametrize("flags", [(), ("--author", "Ann")])
def test_an_untouched_sheet_holds_no_decision(flags, sheet):
    assert "holds no decision; fill in curated_label" in refused(sheet, *flags)


@pytest.mark.parametrize("column", ["cluster_id", "curated_label", "curator", "source_sha256"])
def test_a_column_that_is_missing_is_named(column, sheet):
    fill(sheet, DECIDED)
    table = pd.read_csv(sheet, dtype=str, keep_default_na=False).drop(columns=column)
    table.to_csv(sheet, index=False)
    printed = refused(sheet)
    assert column in printed
    assert "1 fault has no" in printed


def test_rows_of_two_sheets_are_refused(sheet):
    fill(sheet, DECIDED)
    rows = rows_of(sheet)
    put(sheet, [*rows[:2], rows[2] | {"source_file": "/elsewhere/refined.h5ad"}])
    assert "its rows are about several files; import one sheet at a time" in refused(sheet)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--date", "31.01.2026"], "--date is a day such as 2026-01-31; got '31.01.2026'"),
        (["--date", "2026-02-30"], "got '2026-02-30'"),
        (["--column", "labels"], "--column is for an h5ad; a sheet has its own columns"),
    ],
)
def test_flags_that_cannot_be_followed(flags, expected, sheet):
    assert expected in refused(fill(sheet, DECIDED), *flags)


def test_the_manual_file_must_be_yaml(sheet):
    fill(sheet, DECIDED)
    for out in ((), ("--out", sheet.with_name("manual.json"))):
        result = ctr("import-review", sheet, *out)
        assert result.exit_code == 1
        assert "--out names the manual file, such as manual.yaml" in words(result)


def test_a_manual_file_is_replaced_only_when_asked_and_kept(sheet):
    manual = sheet.with_name("manual.yaml")
    manual.write_text("skip: [{cluster_id: 7}]")
    result = import_(fill(sheet, DECIDED))
    assert result.exit_code == 1
    assert "manual.yaml exists, and may hold somebody's work; add --replace" in words(result)
    assert manual.read_text() == "skip: [{cluster_id: 7}]"
    assert by_cluster(take(sheet, "--replace")) == EXPECTED
    assert sheet.with_name("manual.yaml.bak").read_text() == "skip: [{cluster_id: 7}]"


def test_a_sheet_with_faults_replaces_nothing(sheet):
    manual = sheet.with_name("manual.yaml")
    manual.write_text("skip: [{cluster_id: 7}]")
    fill(sheet, {"2": {"curated_label": "Neurons", "curator": "Ann"}})
    assert import_(sheet, "--replace").exit_code == 1
    assert manual.read_text() == "skip: [{cluster_id: 7}]"
    assert not sheet.with_name("manual.yaml.bak").exists()


# --- the cells that a sheet is about


def test_cells_are_taken_from_the_results_where_they_are_lost(sheet):
    fill(sheet, DECIDED)
    sheet.with_name("sheet.cells.parquet").unlink()
    assert by_cluster(take(sheet)) == EXPECTED


def test_results_that_have_moved_are_named_with_a_flag(results, sheet, tmp_path):
    fill(sheet, DECIDED)
    sheet.with_name("sheet.cells.parquet").unlink()
    gone = tmp_path / "gone" / "coarse_clusters.h5ad"
    put(sheet, [row | {"source_file": str(gone)} for row in rows_of(sheet)])
    printed = refused(sheet)
    assert f"lacks sheet.cells.parquet beside it, and {gone} is gone; add --run RESULTS" in printed
    assert by_cluster(take(sheet, "--run", results)) == EXPECTED


def test_a_renamed_sheet_with_its_cells_is_as_good(sheet):
    fill(sheet, DECIDED)
    put(sheet, [row | {"source_file": "/gone/coarse_clusters.h5ad"} for row in rows_of(sheet)])
    sheet.rename(sheet.with_name("ann.csv"))
    sheet.with_name("sheet.cells.parquet").rename(sheet.with_name("ann.cells.parquet"))
    assert by_cluster(take(sheet.with_name("ann.csv"))) == EXPECTED


@pytest.mark.parametrize("way", ["beside", "run", "results"])
def test_a_sheet_of_other_clusters_is_refused(way, sheet, tmp_path):
    other = annotated(tmp_path / "run", [IDS[(i + 1) % 3] for i in range(120)])
    fill(sheet, DECIDED)
    beside, flags = sheet.with_name("sheet.cells.parquet"), ()
    beside.unlink()
    if way == "beside":
        export(other, sheet.with_name("other.csv"))
        sheet.with_name("other.cells.parquet").rename(beside)
    elif way == "run":
        flags = ("--run", other)
    else:
        place = str(other / "coarse_clusters.h5ad")
        put(sheet, [row | {"source_file": place} for row in rows_of(sheet)])
    assert "is about other clusters than" in refused(sheet, *flags)


def test_cells_of_something_else_are_refused_in_words(sheet):
    fill(sheet, DECIDED)
    beside = sheet.with_name("sheet.cells.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(beside)
    assert "does not hold the cells of a review; export the sheet again" in refused(sheet)
    beside.write_text("junk")
    assert "cannot be read as parquet" in refused(sheet)


def test_results_that_moved_on_do_not_matter_to_a_sheet_with_its_cells(tmp_path):
    results = annotated(tmp_path / "run", [IDS[i % 3] for i in range(120)])
    sheet = export(results, tmp_path / "sheet.csv")
    annotated(tmp_path / "run", ["z" for _ in range(120)])
    assert by_cluster(take(fill(sheet, DECIDED))) == EXPECTED


# --- another clustering


@pytest.fixture(scope="module")
def manual(exported, tmp_path_factory) -> Path:
    """Manual file of the decisions on "3:0" (T Cells) and "2" (Epithelium)."""
    folder = tmp_path_factory.mktemp("manual")
    shutil.copytree(exported / "csv", folder, dirs_exist_ok=True)
    take(fill(folder / "sheet.csv", DECIDED))
    return folder / "manual.yaml"


def labels_of(folder: Path) -> list[str]:
    return anndata.read_h5ad(folder / "refined.h5ad").obs["cell_type_lvl1"].astype(str).tolist()


def test_a_decision_follows_its_cells_to_a_cluster_of_another_name(manual, tmp_path):
    turned = annotated(tmp_path / "run", [IDS[2 - i % 3] for i in range(120)])
    result = refine(turned, manual, tmp_path / "ref")
    assert result.exit_code == 0, words(result)
    assert labels_of(tmp_path / "ref") == [
        ("T Cells", "T Cells", "Epithelium")[i % 3] for i in range(120)
    ]


@pytest.mark.parametrize(("moved", "kept"), [(8, True), (9, False)])
def test_eighty_percent_of_the_cells_must_still_be_together(moved, kept, manual, tmp_path):
    """Of the 40 cells of "3:0", some have gone to the T cells."""
    gone = set(cells(0)[:moved])
    ids = ["y" if f"cell_{i}" in gone else "xyz"[i % 3] for i in range(120)]
    result = refine(annotated(tmp_path / "run", ids), manual, tmp_path / "ref")
    assert result.exit_code == 0, words(result)
    found = dict(zip((f"cell_{i}" for i in range(120)), labels_of(tmp_path / "ref"), strict=True))
    assert found["cell_119"] == "Epithelium", "the other decision holds"
    assert (found[cells(0)[-1]] == "T Cells") is kept
    said = (
        "the 40 cells that cluster '3:0' was decided on are no longer together: the most, 31, are"
    )
    assert (said in words(result)) is not kept


def test_a_cluster_that_was_divided_is_reported_and_the_rest_is_done(manual, tmp_path):
    ids = ["ab"[(i // 3) % 2] if i % 3 == 0 else "xyz"[i % 3] for i in range(120)]
    result = refine(annotated(tmp_path / "run", ids), manual, tmp_path / "ref")
    assert result.exit_code == 0, words(result)
    assert re.search(
        r"Not carried out of the manual file: line \d+, overrides\.\d: ", words(result)
    )
    assert "the most, 20, are in cluster 'a'; 80% are needed" in words(result)
    record = anndata.read_h5ad(tmp_path / "ref" / "refined.h5ad").uns["stage_refine_iteration_1"]
    assert "no longer together" in "".join(json.loads(record)["waiting"])
    assert labels_of(tmp_path / "ref")[2] == "Epithelium"


def test_a_small_part_of_a_cluster_does_not_name_the_whole(manual, tmp_path):
    """Epithelium lies with 80 other cells."""
    result = refine(annotated(tmp_path / "run", ["all"] * 120), manual, tmp_path / "ref")
    assert result.exit_code == 1
    printed = words(result)
    assert "cluster '3:0' was decided on are now in cluster 'all' with 80 other cells" in printed
    assert "cluster '2' was decided on are now in cluster 'all' with 80 other cells" in printed
    assert not (tmp_path / "ref").exists()


def test_two_decisions_on_what_became_one_cluster_are_both_named(manual, tmp_path):
    ids = ["one" if i % 3 != 1 else "other" for i in range(120)]
    result = refine(annotated(tmp_path / "run", ids), manual, tmp_path / "ref")
    assert result.exit_code == 1
    for name in ("3:0", "2"):
        text = f"the 40 cells that cluster '{name}' was decided on are now in cluster 'one'"
        assert result.stderr.count(text) == 1


def test_cells_of_another_sample_are_said(manual, tmp_path):
    adata = good_sample()
    adata.obs["mine"] = [IDS[i % 3] for i in range(120)]
    adata.obs_names = [f"other_{name}" for name in adata.obs_names]
    adata.write_h5ad(tmp_path / "sample.h5ad")
    (tmp_path / "map.json").write_text(GOOD_MAP)
    files = ("--marker-map", tmp_path / "map.json", "--out", tmp_path / "out")
    own = ("--annotation-only", "--cluster-key", "mine")
    ctr("annotate", tmp_path / "sample.h5ad", *files, *own)
    result = refine(tmp_path / "out", manual, tmp_path / "ref")
    assert result.exit_code == 1
    assert "the 40 cells that cluster '3:0' was decided on are not in this sample" in words(result)


def test_a_manual_file_is_not_replaced_by_the_results(results, exported, tmp_path):
    """Its name may be that of one of them, in the same folder."""
    plan = '{"overrides": [{"cluster_id": "2", "cell_type": "T Cells", "reason": "weeks of work"}]}'
    (tmp_path / "plan.json").write_text(plan)
    refine(results, tmp_path / "plan.json", tmp_path)
    assert (tmp_path / "plan.json").read_text() == plan


# --- labels of cells, as cellxgene leaves them


def edited(results: Path, folder: Path, labels: Mapping[int, str | None], **flags: Any) -> Path:
    """The annotated sample with a column ``curated``: by cell, else ``unassigned``."""
    adata = anndata.read_h5ad(results / "coarse_clusters.h5ad")
    rest = flags["rest"] if "rest" in flags else "unassigned"
    values = [labels[i] if i in labels else rest for i in range(120)]
    adata.obs["curated"] = pd.Categorical(values)
    adata.write_h5ad(folder / "edited.h5ad")
    return folder / "edited.h5ad"


BY_ANN = ("--column", "curated", "--author", "Ann", "--date", "2026-01-31")


@pytest.mark.parametrize("rest", ["unassigned", None, "Unassigned", "nan", ""])
def test_the_labels_of_whole_clusters_become_overrides(rest, results, tmp_path):
    labels = dict.fromkeys(range(0, 120, 3), "Immune Cells / B Cells")
    content = take(edited(results, tmp_path, labels, rest=rest), *BY_ANN, "--reason", "looked")
    assert content["overrides"] == [
        {
            "cluster_id": "3:0",
            "cell_type": "B Cells",
            "author": "Ann",
            "date": "2026-01-31",
            "reason": "looked",
        }
    ]
    assert content["cells"]["3:0"].split() == cells(0)


def test_labels_of_cells_refine_as_those_of_a_sheet(results, tmp_path):
    take(edited(results, tmp_path, dict.fromkeys(range(0, 120, 3), "B Cells")), *BY_ANN)
    assert refine(results, tmp_path / "manual.yaml", tmp_path / "ref").exit_code == 0
    assert labels_of(tmp_path / "ref") == [
        ("B Cells", "T Cells", "B Cells")[i % 3] for i in range(120)
    ]


@pytest.mark.parametrize(("n_cells", "taken"), [(32, True), (31, False), (1, False)])
def test_a_lasso_over_part_of_a_cluster(n_cells, taken, results, tmp_path):
    labels = dict.fromkeys(list(range(0, 120, 3))[:n_cells], "B Cells")
    labels |= dict.fromkeys(range(1, 120, 3), "Epithelium")
    result = import_(edited(results, tmp_path, labels), *BY_ANN)
    assert result.exit_code == 0, words(result)
    found = {one["cluster_id"] for one in content_of(tmp_path / "manual.yaml")["overrides"]}
    assert found == ({"3:0", "-1"} if taken else {"-1"})
    said = f"Not taken over: {n_cells} of the 40 cells of cluster '3:0' are called 'B Cells'"
    assert (said in words(result)) is not taken


def test_only_parts_of_clusters_are_no_decision(results, tmp_path):
    labels = dict.fromkeys(range(0, 60, 3), "B Cells") | dict.fromkeys(range(60, 120, 3), "T Cells")
    printed = refused(edited(results, tmp_path, labels), *BY_ANN)
    assert "20 of the 40 cells of cluster '3:0' are called 'B Cells'" in printed
    assert "20 of the 40 cells of cluster '3:0' are called 'T Cells'" in printed
    assert "holds no decision about a whole cluster" in printed


def test_a_label_and_its_path_are_one(results, tmp_path):
    labels = dict.fromkeys(range(0, 60, 3), "B Cells")
    labels |= dict.fromkeys(range(60, 120, 3), "Immune Cells / B Cells")
    (one,) = take(edited(results, tmp_path, labels), *BY_ANN)["overrides"]
    assert (one["cluster_id"], one["cell_type"]) == ("3:0", "B Cells")


def test_labels_as_they_are_decide_nothing(results, tmp_path):
    shown = anndata.read_h5ad(results / "coarse_clusters.h5ad").obs
    for name in ("cell_type_auto", "cell_type_auto_path"):
        labels = dict(enumerate(shown[name].astype(str)))
        assert "holds no decision about a whole cluster" in refused(
            edited(results, tmp_path, labels), *BY_ANN
        )


def test_labels_that_do_not_exist_are_named_each_once(results, tmp_path):
    labels = dict.fromkeys(range(0, 120, 3), "Tcell") | dict.fromkeys(range(1, 120, 3), "Blob")
    path = edited(results, tmp_path, labels)
    printed = refused(path, *BY_ANN)
    assert "2 faults" in printed
    assert printed.count("no cell type 'Tcell'") == printed.count("no cell type 'Blob'")
    found = take(path, *BY_ANN, "--allow-new")["overrides"]
    assert {(one["cell_type"], one["new"]) for one in found} == {
        ("Tcell", "true"),
        ("Blob", "true"),
    }


def test_what_an_h5ad_needs_is_said(results, tmp_path):
    path = edited(results, tmp_path, {})
    for flags, expected in (
        (("--author", "Ann"), "--column is missing; name the one that the curator edited, of: "),
        (("--author", "Ann", "--column", "curate"), "--column 'curate' is no column of obs"),
        (("--column", "curated"), "--author is missing; say who edited the labels"),
    ):
        assert expected in refused(path, *flags)
    adata = anndata.read_h5ad(path)
    del adata.uns["stage_h_marker_map"]
    adata.write_h5ad(path)
    assert "lacks uns['stage_h_marker_map']" in refused(path, *BY_ANN)


def test_earlier_decisions_stay_with_their_author(results, manual, tmp_path):
    refine(results, manual, tmp_path / "ref")
    adata = anndata.read_h5ad(tmp_path / "ref" / "refined.h5ad")
    values = np.full(120, "unassigned", dtype=object)
    values[1::3], values[2::3] = "B Cells", "B Cells"
    adata.obs["curated"] = pd.Categorical(values)
    adata.write_h5ad(tmp_path / "edited.h5ad")
    found = {o["cluster_id"]: o for o in take(tmp_path / "edited.h5ad", *BY_ANN)["overrides"]}
    assert {name: (one["author"], one["cell_type"]) for name, one in found.items()} == {
        "-1": ("Ann", "B Cells"),
        "2": ("Ann", "B Cells"),
        "3:0": ("Ann Ä.", "T Cells"),
    }


def test_cells_that_were_cut_away_do_not_make_a_part_the_whole(results, tmp_path):
    adata = anndata.read_h5ad(edited(results, tmp_path, dict.fromkeys(range(0, 30, 3), "B Cells")))
    adata[[f"cell_{i}" for i in range(0, 30, 3)]].copy().write_h5ad(tmp_path / "part.h5ad")
    take(tmp_path / "part.h5ad", *BY_ANN)
    result = refine(results, tmp_path / "manual.yaml", tmp_path / "ref")
    assert result.exit_code == 1
    assert "are now in cluster '3:0' with 30 other cells" in words(result)


def test_other_entries_of_an_older_file_stay(results, sheet):
    fill(sheet, {"2": DECIDED["2"]})
    target = sheet.with_name("manual.yaml")
    target.write_text(
        "# mine\nskip: [{cluster_id: 3:0, reason: leave it}]\n"
        "overrides: [{cluster_id: 2, cell_type: B Cells}]\n"
        "refinements: [{cluster: -1, action: subcluster, resolution: 0.3}]\n"
    )
    result = ctr("import-review", sheet, "--out", target, "--replace")
    assert result.exit_code == 0, words(result)
    assert "older entries that gave way: 2" in words(result)
    content = content_of(target)
    assert [one["cell_type"] for one in content["overrides"]] == [DECIDED["2"]["curated_label"]]
    assert content["skip"] == [{"cluster_id": "3:0", "reason": "leave it"}]
    assert [one["cluster"] for one in content["refinements"]] == ["-1"]
    assert "# mine" in target.with_name("manual.yaml.bak").read_text()
    again = ctr("import-review", sheet, "--out", target, "--replace")
    assert again.exit_code == 0, words(again)
    assert "# mine" in target.with_name("manual.yaml.bak").read_text(), "the first copy stays"
