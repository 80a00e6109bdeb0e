"""Tables as parquet and CSV, checked against their schema on the way out and in."""

import csv
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
import pyarrow.parquet as pq

from ctr_engine.errors import TableError
from ctr_engine.io.atomic import whole_file
from ctr_engine.tables import arrow_schema, checked

Model = TypeVar("Model", bound=pa.DataFrameModel)


def write_parquet(
    model: type[Model], table: pd.DataFrame, path: Path, notes: Mapping[str, str] | None = None
) -> None:
    """Write a checked table as parquet (zstd), with the declared types.

    ``notes`` are texts that travel in the metadata of the file.
    """
    schema = arrow_schema(model)
    content = arrow.Table.from_pandas(checked(model, table), schema=schema, preserve_index=False)
    content = content.replace_schema_metadata({"ctr_table": model.__name__, **(notes or {})})
    with whole_file(path) as temporary:
        pq.write_table(content, temporary, compression="zstd")


def read_parquet(model: type[Model], path: Path) -> pd.DataFrame:
    """Read a table back and check it.

    Raises
    ------
    TableError
        If the file is not this table.
    """
    try:
        content = pq.read_table(path)
    except (OSError, arrow.ArrowInvalid) as error:
        msg = f"{path} cannot be read as parquet: {error}. Materialize it again."
        raise TableError(msg) from None
    if content.schema.names != arrow_schema(model).names:
        msg = (
            f"{path} is not a {model.__name__} table of this version; its columns are "
            f"{content.schema.names}"
        )
        raise TableError(msg)
    table = content.to_pandas()
    for field in content.schema:
        if arrow.types.is_list(field.type):
            table[field.name] = [list(names) for names in table[field.name]]
    return checked(model, table)


def read_notes(path: Path) -> dict[str, str]:
    """Read the texts that :func:`write_parquet` put into the metadata of a file.

    Raises
    ------
    TableError
        If it cannot be read as parquet.
    """
    try:
        stored = pq.read_schema(path).metadata or {}
    except (OSError, arrow.ArrowInvalid) as error:
        msg = f"{path} cannot be read as parquet: {error}. Materialize it again."
        raise TableError(msg) from None
    texts = [(name.decode(errors="replace"), stored[name]) for name in stored]
    return {name: text.decode(errors="replace") for name, text in texts}


def write_csv(
    model: type[Model],
    table: pd.DataFrame,
    path: Path,
    more: Mapping[str, Sequence[Any]] | None = None,
    *,
    separator: str = ",",
) -> None:
    r"""Write a checked table as CSV; lists are joined with ``;``, null is empty.

    A ``;`` inside a name is written as ``\;``, a backslash as two. ``more`` has columns that follow
    the declared ones, where their names are not known beforehand.
    """
    flat = checked(model, table).assign(**(more or {}))
    for field in arrow_schema(model):
        if arrow.types.is_list(field.type):
            flat[field.name] = [";".join(map(_escaped, names)) for names in flat[field.name]]
    with whole_file(path) as temporary:
        flat.to_csv(
            temporary,
            index=False,
            sep=separator,
            quoting=csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL,
            encoding="utf-8",
            lineterminator="\n",
        )


def read_csv(model: type[Model], path: Path) -> pd.DataFrame:
    """Read a table that :func:`write_csv` wrote, to the last digit, and check it.

    Raises
    ------
    TableError
        If the file is missing or is not this table.
    """
    schema = arrow_schema(model)
    kinds = {f.name: _CSV_TYPES[str(f.type)] for f in schema if not arrow.types.is_list(f.type)}
    lists = [f.name for f in schema if arrow.types.is_list(f.type)]
    try:
        columns: dict[Hashable, Any] = {**kinds, **dict.fromkeys(lists, str)}
        table = pd.read_csv(
            path,
            dtype=columns,
            keep_default_na=False,  # a marker may be called NA
            na_values={f.name: [""] for f in schema if f.nullable and f.name in kinds},
            float_precision="round_trip",
            lineterminator="\n",  # a name may end in a carriage return
        )
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a {model.__name__} table: {error}. Run ctr annotate again."
        raise TableError(msg) from None
    for name in lists:
        if name in table:
            table[name] = [_split(text) for text in table[name]]
    for field in schema:
        if field.nullable and field.name in table and kinds[field.name] is str:
            table[field.name] = (
                table[field.name].astype(object).where(table[field.name].notna(), None)
            )
    return checked(model, table)


_CSV_TYPES = {"string": str, "double": "float64", "int64": "int64", "bool": "bool"}


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace(";", "\\;")


def _split(text: str) -> list[str]:
    """Invert the joining of names; an empty text is an empty list."""
    return [re.sub(r"\\(.)", r"\1", name) for name in re.findall(r"(?:[^;\\]|\\.)+", text)]
