"""All definitions of the code location. A project is read when it is used, not when this loads."""

from typing import Any

import dagster as dg

from ctr_assets import jobs
from ctr_assets.assets import (
    annotation,
    clustering,
    expression,
    inputs,
    report,
    results,
    statistics,
)
from ctr_assets.executors import chosen_executor
from ctr_assets.io_managers import (
    StoredAnnData,
    StoredArrays,
    StoredExpression,
    StoredPages,
    StoredTables,
)
from ctr_assets.resources import ProjectResource

STEPS = (inputs, expression, clustering, statistics, annotation, results, report)


def build_defs(folder: str | None = None, **overrides: Any) -> dg.Definitions:
    """Put all definitions together.

    Parameters
    ----------
    folder
        Project folder; by default the one that ``CTR_PROJECT`` names, else the current one.
    overrides
        Resources by name, in place of ours.
    """
    resources: dict[str, Any] = {
        "project": ProjectResource(folder=folder),
        "tables": StoredTables(folder=folder),
        "arrays": StoredArrays(folder=folder),
        "expression": StoredExpression(folder=folder),
        "anndata_files": StoredAnnData(folder=folder),
        "pages": StoredPages(folder=folder),
    }
    return dg.Definitions(
        assets=[asset for module in STEPS for asset in module.ASSETS],
        jobs=jobs.JOBS,
        resources={**resources, **overrides},
        executor=chosen_executor(),
    )


defs = build_defs()
