"""The table of samples that were rejected, with the reason; one file, made anew when it changes."""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
import pandas as pd
from upath import UPath

from ctr_assets.project import Project
from ctr_engine.io.tables import read_csv, write_csv
from ctr_engine.tables import RejectedSamples, from_rows

KEY = dg.AssetKey("rejected_samples")


def table_path(project: Project) -> UPath:
    """Place of the table."""
    return project.storage / "rejected_samples.csv"


def rejected_samples(project: Project) -> pd.DataFrame:
    """Read the table; it is empty where nothing was rejected."""
    path = project.files.local(table_path(project))
    return read_csv(RejectedSamples, path) if path.exists() else from_rows(RejectedSamples, ())


def update(
    project: Project, found: Mapping[str, str], there: Mapping[str, str]
) -> dg.AssetMaterialization | None:
    """Add rejections, and drop those of files that were taken or are gone.

    Parameters
    ----------
    found
        Reason by file, of what was rejected now.
    there
        Files that are still rejected.

    Returns
    -------
    An event for Dagster; None where nothing changed.
    """
    before = rejected_samples(project)
    kept = before[before["file"].isin(there) & ~before["file"].isin(found)]
    if not found and len(kept) == len(before):
        return None
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = [{"file": name, "reason": text, "rejected_at": now} for name, text in found.items()]
    rows = [*kept.to_dict("records"), *new]
    table = from_rows(RejectedSamples, sorted(rows, key=lambda row: str(row["file"])))
    with project.files.writing(table_path(project)) as file:
        write_csv(RejectedSamples, table, file)
    records = [dg.TableRecord(row) for row in table.to_dict("records")]
    schema = dg.TableSchema(columns=[dg.TableColumn(name=name) for name in table.columns])
    metadata = {
        "dagster/row_count": len(table),
        "rejected": dg.MetadataValue.table(records, schema),
        "path": dg.MetadataValue.path(str(table_path(project))),
    }
    return dg.AssetMaterialization(KEY, metadata=metadata)
