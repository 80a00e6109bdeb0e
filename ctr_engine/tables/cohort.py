"""The labels of all samples of a project side by side."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import pandas as pd

from ctr_engine.keys import UNASSIGNED
from ctr_engine.tables.base import Table, col, from_rows

_LABEL = ["cell_type", "cell_type_path"]
_MOST_COMMON = 3


class CohortSummary(Table):
    """Per sample and final label: its cells, and their share of the sample."""

    tissue: str = col("Tissue of the sample.")
    sample: str = col("Name of the sample in its tissue.")
    cell_type: str = col("Label.")
    cell_type_path: str = col("Path of the label; empty for none, and for one of a person.")
    n_cells: int = col("Cells of the sample with this label.", ge=1)
    share: float = col("These cells / all cells of the sample.", gt=0, le=1)

    class Config(Table.Config):
        """Key of the table."""

        unique = ["tissue", "sample", "cell_type", "cell_type_path"]  # noqa: RUF012


class LabelCount(TypedDict):
    """Cells of one sample that have one label."""

    cell_type: str
    cell_type_path: str
    n_cells: int


def label_counts(final: pd.DataFrame) -> list[LabelCount]:
    """Count the cells of each label in ``final_annotations``, the most common first."""
    counts = final.groupby(_LABEL, sort=True).size().sort_values(ascending=False, kind="stable")
    labels = counts.index.to_frame(index=False).astype(str)
    rows = zip(labels["cell_type"], labels["cell_type_path"], counts, strict=True)
    return [LabelCount(cell_type=a, cell_type_path=b, n_cells=int(n)) for a, b, n in rows]


def cohort_summary(samples: Iterable[tuple[str, str, Sequence[LabelCount]]]) -> pd.DataFrame:
    """Put samples under each other.

    Parameters
    ----------
    samples
        Tissue, sample and the cells of each label, in the order of the rows.
    """
    rows: list[dict[str, Any]] = []
    for tissue, sample, counts in samples:
        n_cells = sum(count["n_cells"] for count in counts)
        rows += [
            {"tissue": tissue, "sample": sample, "share": count["n_cells"] / n_cells, **count}
            for count in counts
        ]
    return from_rows(CohortSummary, rows)


def tissue_totals(summary: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Give samples, cells and commonest labels of each tissue, in the order of the names.

    Returns
    -------
    ``tissue``, ``samples``, ``cells``, ``unassigned`` (share of the tissue's cells, 0 to 1) and
    ``most_common``, up to three labels with their share of the tissue's cells, in words.
    """
    return [_totals(str(tissue), rows) for tissue, rows in summary.groupby("tissue", sort=True)]


def _totals(tissue: str, rows: pd.DataFrame) -> Mapping[str, Any]:
    n_cells = int(rows["n_cells"].sum())
    labels = rows.groupby("cell_type", sort=True)["n_cells"].sum()
    named = labels.drop(UNASSIGNED, errors="ignore").sort_values(ascending=False, kind="stable")
    common = [f"{name} {n / n_cells:.1%}" for name, n in named.head(_MOST_COMMON).items()]
    return {
        "tissue": tissue,
        "samples": int(rows["sample"].nunique()),
        "cells": n_cells,
        "unassigned": (n_cells - int(named.sum())) / n_cells,
        "most_common": ", ".join(common),
    }
