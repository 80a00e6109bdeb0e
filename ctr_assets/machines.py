"""Which machine a step asks for: tags that Celery's queues and Kubernetes' nodes are chosen by."""

import re
from typing import Any

from ctr_assets.environment import variable
from ctr_engine.errors import ParameterError

GPU_POOL = "gpu"
QUEUES = ("cpu", "gpu")
IMAGE_VARIABLE, GPU_IMAGE_VARIABLE = "CTR_IMAGE", "CTR_GPU_IMAGE"
GPUS_VARIABLE, NODES_VARIABLE = "CTR_GPUS", "CTR_GPU_NODES"
_LABEL = re.compile(r"^(?P<name>[A-Za-z0-9./_-]+)=(?P<value>[A-Za-z0-9._-]*)$")

CPU_TAGS: dict[str, Any] = {"ctr/device": "cpu", "dagster-celery/queue": "cpu"}


def gpu_tags() -> dict[str, Any]:
    """Tags of a step that a GPU can do; on a machine without one it runs on the CPU and says so.

    Raises
    ------
    ParameterError
        If a variable of the environment is not what it must be.
    """
    return {
        "ctr/device": "gpu",
        "dagster-celery/queue": "gpu",
        "dagster-k8s/config": _pod(),
    }


def image() -> str | None:
    """Container image of all steps; None leaves it to the code location."""
    return variable(IMAGE_VARIABLE, "") or None


def _pod() -> dict[str, Any]:
    """Pod of a GPU step: one GPU, on the nodes that have them, with an image of its own if any."""
    number = variable(GPUS_VARIABLE, "1")
    if number not in ("0", "1"):
        msg = f"{GPUS_VARIABLE}={number!r} must be 1, or 0 for a cluster that has no GPU"
        raise ParameterError(msg)
    if number == "0":
        return {}
    container: dict[str, Any] = {"resources": {"limits": {"nvidia.com/gpu": 1}}}
    own = variable(GPU_IMAGE_VARIABLE, "")
    if own:
        container["image"] = own
    return {"container_config": container, "pod_spec_config": {"node_selector": _node_selector()}}


def _node_selector() -> dict[str, str]:
    """Label of the nodes that have a GPU; the default is that of NVIDIA's feature discovery."""
    text = variable(NODES_VARIABLE, "nvidia.com/gpu.present=true")
    match = _LABEL.match(text)
    if match is None:
        msg = f"{NODES_VARIABLE}={text!r} must be a label such as nvidia.com/gpu.present=true"
        raise ParameterError(msg)
    return {match["name"]: match["value"]}
