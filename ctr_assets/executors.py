"""Where steps run: tags per class of machine, and the executor that ``CTR_EXECUTOR`` names."""

import os
from typing import Any

import dagster as dg

from ctr_engine.errors import ParameterError

EXECUTOR_VARIABLE = "CTR_EXECUTOR"
GPU_POOL = "gpu"
CPU_TAGS: dict[str, Any] = {"ctr/device": "cpu", "dagster-celery/queue": "cpu"}
GPU_TAGS: dict[str, Any] = {"ctr/device": "gpu", "dagster-celery/queue": "gpu"}
"""Steps that a GPU can do; on a machine without one they run on the CPU and say so."""


def chosen_executor() -> dg.ExecutorDefinition:
    """Give the executor that the environment asks for; multiprocess by default.

    Raises
    ------
    ParameterError
        If the name is unknown.
    """
    name = os.environ.get(EXECUTOR_VARIABLE) or "multiprocess"
    if name == "in_process":
        return dg.in_process_executor
    if name == "multiprocess":
        preload = [
            "ctr_assets.definitions",
            "anndata",
            "pyarrow.parquet",
            # opening the instance costs 1.7 s in each child unless its storage is loaded
            "alembic.command",
            "dagster._core.storage.event_log",
            "dagster._core.storage.root",
            "dagster._core.storage.runs",
            "dagster._core.storage.schedules",
            "sqlalchemy.dialects.sqlite",
        ]
        return dg.multiprocess_executor.configured(
            {"start_method": {"forkserver": {"preload_modules": preload}}, "max_concurrent": 2}
        )
    msg = f"{EXECUTOR_VARIABLE}={name!r} is unknown; use in_process or multiprocess"
    raise ParameterError(msg)
