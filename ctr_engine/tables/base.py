"""One declared schema for each table that leaves the engine; checked when written and when read.

An ``object`` column holds a list of text in each row. ``unit`` is the unit of a number; a share or
a score without one is dimensionless.
"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar, get_type_hints

import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow

from ctr_engine.errors import TableError

Model = TypeVar("Model", bound=pa.DataFrameModel)
STOP_REASONS = (
    "leaf_reached",
    "no_root_passed",
    "no_child_passed",
    "ambiguous_root",
    "ambiguous_siblings",
)
GATES = (
    "root_hard_requirement",
    "root_veto",
    "low_coverage",
    "low_positive",
    "low_enrichment",
    "anti_conflict",
)


def col(description: str, *, unit: str = "", **checks: Any) -> Any:
    """Declare a column: what it says, its unit, and pandera's checks."""
    return pa.Field(description=description, metadata={"unit": unit}, **checks)


def names(description: str) -> Any:
    """Declare a column that holds a list of names in each row."""
    return col(description)


class Table(pa.DataFrameModel):
    """Base of all tables: every column is declared, in order."""

    class Config:
        """Every column is declared, in order."""

        strict = True
        ordered = True


def frame(model: type[Model], columns: dict[str, Any]) -> pd.DataFrame:
    """Build a table from its columns, in the declared order, and check it."""
    table = pd.DataFrame({name: columns[name] for name in column_names(model)})
    if table.empty:  # nothing to tell the types from
        table = table.astype({field.name: _dtype(field) for field in arrow_schema(model)})
    return checked(model, table)


def from_rows(model: type[Model], rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Build a table from row dictionaries, with the declared types even when there is no row."""
    known = list(rows)
    schema = arrow_schema(model)
    data = {field.name: [row[field.name] for row in known] for field in schema}
    columns = {
        name: pd.Series(values, dtype=_dtype(schema.field(name))) for name, values in data.items()
    }
    return frame(model, columns)


def checked(model: type[Model], table: pd.DataFrame) -> pd.DataFrame:
    """Check a table against its schema.

    Raises
    ------
    TableError
        With each column and check that fails, and the first offending values.
    """
    try:
        model.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise TableError(_failures(model, error.failure_cases)) from None
    return table


def column_names(model: type[Model]) -> list[str]:
    """Declared columns, in order."""
    return list(model.to_schema().columns)


def arrow_schema(model: type[Model]) -> arrow.Schema:
    """Give the types on disk, with the description and unit of each column as field metadata."""
    fields = []
    python_types = get_type_hints(model)
    for name, declared in model.to_schema().columns.items():
        text = {"description": str(declared.description), "unit": declared.metadata["unit"]}
        kind = _ARROW[python_types[name]]
        fields.append(arrow.field(name, kind, nullable=declared.nullable, metadata=text))
    return arrow.schema(fields)


_ARROW = {
    object: arrow.list_(arrow.string()),
    str: arrow.string(),
    float: arrow.float64(),
    int: arrow.int64(),
    bool: arrow.bool_(),
}


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts ``2`` before ``10``, ``3:1`` after ``3``, and tells ``3`` from ``03``."""
    parts = re.split(r"(\d+)", text)
    numbers = ((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p)
    return (*numbers, (-1, 0, text))


def _dtype(field: arrow.Field) -> Any:
    if arrow.types.is_list(field.type):
        return object
    return {"string": str, "double": "float64", "int64": "int64", "bool": "bool"}[str(field.type)]


def _failures(model: type[Model], cases: pd.DataFrame) -> str:
    lines = [f"The table {model.__name__} does not have its declared schema:"]
    for (name, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
        shown = ", ".join(repr(case)[:60] for case in group["failure_case"].head(3))
        if check in _WHOLE_TABLE:
            lines.append(f"  {_WHOLE_TABLE[check]}: {shown}")
        else:
            lines.append(f"  column {name}, {check}: {len(group)} rows, such as {shown}")
    return "\n".join(lines)


_WHOLE_TABLE = {
    "column_in_dataframe": "columns that are missing",
    "column_in_schema": "columns that are not declared",
    "column_ordered": "columns that are not in their declared place",
}
