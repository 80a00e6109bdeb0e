"""Tables as parquet and CSV, checked against their schema on the way out and in."""

from pathlib import Path
from typing import TypeVar

import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
import pyarrow.parquet as pq

from ctr_engine.errors import TableError
from ctr_engine.io.atomic import whole_file
from ctr_engine.tables import arrow_schema, checked

Model = TypeVar("Model", bound=pa.DataFrameModel)


def write_parquet(model: type[Model], table: pd.DataFrame, path: Path) -> None:
    """Write a checked table as parquet (zstd), with the declared types."""
    schema = arrow_schema(model)
    content = arrow.Table.from_pandas(checked(model, table), schema=schema, preserve_index=False)
    content = content.replace_schema_metadata({"ctr_table": model.__name__})
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


def write_csv(model: type[Model], table: pd.DataFrame, path: Path) -> None:
    """Write a checked table as CSV; lists are joined with ``;``, null is empty."""
    flat = checked(model, table).copy()
    for field in arrow_schema(model):
        if arrow.types.is_list(field.type):
            flat[field.name] = [";".join(names) for names in flat[field.name]]
    with whole_file(path) as temporary:
        flat.to_csv(temporary, index=False, encoding="utf-8")
