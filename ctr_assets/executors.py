"""Where steps run: the executor that ``CTR_EXECUTOR`` names, with what the environment says of it.

The definitions are the same everywhere; what Celery or Kubernetes need is imported when chosen.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from ctr_assets.environment import variable
from ctr_assets.machines import image
from ctr_engine.errors import ParameterError

EXECUTOR_VARIABLE = "CTR_EXECUTOR"
BROKER_VARIABLE, BACKEND_VARIABLE = "CTR_CELERY_BROKER", "CTR_CELERY_BACKEND"
NAMESPACE_VARIABLE = "CTR_K8S_NAMESPACE"
_LONGEST_STEP = 86_400
"""Seconds; max_runtime_seconds of the instance is the same."""

PRELOADED = (
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
)


def chosen_executor() -> dg.ExecutorDefinition:
    """Give the executor that the environment asks for; multiprocess by default.

    Raises
    ------
    ParameterError
        If the name is unknown, or what it needs is not installed.
    """
    name = variable(EXECUTOR_VARIABLE, "multiprocess")
    if name not in _EXECUTORS:
        msg = f"{EXECUTOR_VARIABLE}={name!r} is unknown; use {', '.join(_EXECUTORS)}"
        raise ParameterError(msg)
    try:
        return _EXECUTORS[name]()
    except ModuleNotFoundError as missing:
        msg = (
            f"{EXECUTOR_VARIABLE}={name} needs {missing.name}, which is not installed; "
            f"run: pip install 'ctr[{name}]'"
        )
        raise ParameterError(msg) from missing


def celery_settings() -> dict[str, Any]:
    """Broker, results and Celery's own settings: those of the executor, and of every worker."""
    broker = variable(BROKER_VARIABLE, "redis://127.0.0.1:6379/0")
    return {
        "broker": broker,
        "backend": variable(BACKEND_VARIABLE, broker),
        "config_source": {
            # a step that waits behind a long one must not be handed out a second time
            "broker_transport_options": {"visibility_timeout": _LONGEST_STEP},
            "visibility_timeout": _LONGEST_STEP,
            "worker_prefetch_multiplier": 1,
            "broker_connection_retry_on_startup": True,
            "result_expires": _LONGEST_STEP,
        },
    }


def k8s_settings() -> dict[str, Any]:
    """Configuration of the Kubernetes executor: image and namespace come from the environment."""
    settings: dict[str, Any] = {"job_namespace": variable(NAMESPACE_VARIABLE, "dagster")}
    found = image()
    return settings if found is None else settings | {"job_image": found}


def _in_process() -> dg.ExecutorDefinition:
    return dg.in_process_executor


def _multiprocess() -> dg.ExecutorDefinition:
    method = {"forkserver": {"preload_modules": list(PRELOADED)}}
    return dg.multiprocess_executor.configured({"start_method": method, "max_concurrent": 2})


def _celery() -> dg.ExecutorDefinition:
    from dagster_celery import celery_executor

    return celery_executor.configured(celery_settings())


def _k8s() -> dg.ExecutorDefinition:
    from dagster_k8s import k8s_job_executor

    return k8s_job_executor.configured(k8s_settings())


_EXECUTORS: dict[str, Callable[[], dg.ExecutorDefinition]] = {
    "in_process": _in_process,
    "multiprocess": _multiprocess,
    "celery": _celery,
    "k8s": _k8s,
}
