"""All definitions of the code location.

A project is read when it is used; the number of iterations and the night when this loads.
"""

from typing import Any

import dagster as dg

from ctr_assets import jobs
from ctr_assets.assets import (
    GROUP,
    annotation,
    barcodes,
    clustering,
    cohort,
    consensus,
    expression,
    inputs,
    report,
    results,
    statistics,
)
from ctr_assets.assets.final import final_assets
from ctr_assets.assets.refinement import iterations
from ctr_assets.automation import automation_sensor
from ctr_assets.executors import chosen_executor
from ctr_assets.io_managers import (
    StoredAnnData,
    StoredArrays,
    StoredExpression,
    StoredPages,
    StoredTables,
)
from ctr_assets.iteration_files import StoredIterations
from ctr_assets.project import config_at
from ctr_assets.resources import ProjectResource
from ctr_assets.schedules import nightly_schedule
from ctr_assets.sensors.failures import failed_runs
from ctr_assets.sensors.input_edits import input_edits
from ctr_assets.sensors.lost_runs import lost_runs
from ctr_assets.sensors.new_barcode_sets import new_barcode_sets
from ctr_assets.sensors.new_samples import new_samples
from ctr_assets.sensors.reconcile import reconcile

SENSORS = (new_samples, new_barcode_sets, input_edits, reconcile, lost_runs, failed_runs)
STEPS = (
    inputs, expression, clustering, consensus, statistics, annotation, results, report, cohort,
    barcodes,
)  # fmt: skip


def build_defs(folder: str | None = None, **overrides: Any) -> dg.Definitions:
    """Put all definitions together.

    Parameters
    ----------
    folder
        Project folder; by default the one that ``CTR_PROJECT`` names, else the current one.
    overrides
        Resources by name, in place of ours.

    Raises
    ------
    ConfigError
        If the project's ``ctr.yaml`` cannot be read; without a project there are defaults.
    """
    resources: dict[str, Any] = {
        "project": ProjectResource(folder=folder),
        "tables": StoredTables(folder=folder),
        "arrays": StoredArrays(folder=folder),
        "expression": StoredExpression(folder=folder),
        "iterations": StoredIterations(folder=folder),
        "anndata_files": StoredAnnData(folder=folder),
        "pages": StoredPages(folder=folder),
    }
    config = config_at(folder)
    number = config.refinement_iterations
    steps = [asset for module in STEPS for asset in module.ASSETS]
    return dg.Definitions(
        assets=[*steps, *iterations(number), *final_assets(number)],
        jobs=jobs.JOBS,
        schedules=[nightly_schedule(config.nightly)],
        sensors=[automation_sensor(dg.AssetSelection.groups(GROUP, cohort.COHORT)), *SENSORS],
        resources={**resources, **overrides},
        executor=chosen_executor(),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Definitions of the project that the environment names, made when they are asked for."""
    return build_defs()
