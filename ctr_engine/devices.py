"""Which device computes: what was asked for, what is there, and why they differ."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from ctr_engine.errors import ParameterError

DeviceName = Literal["auto", "cpu", "gpu"]
HAS_GPU_KERNELS = False
"""Whether any step of this version computes on a GPU."""


@dataclass(frozen=True)
class Device:
    """The device that is used; ``warning`` says why it is not the better one, else it is empty."""

    name: Literal["cpu", "gpu"]
    warning: str = ""


CPU = Device("cpu")


def used_device(wanted: DeviceName) -> Device:
    """Give the device for what was asked for.

    Parameters
    ----------
    wanted
        ``cpu``, ``gpu``, or ``auto``: a GPU where one can be used, else the CPU with a warning.

    Raises
    ------
    ParameterError
        If a GPU was asked for and cannot be used.
    """
    if wanted == "cpu":
        return CPU
    obstacle = gpu_obstacle()
    if not obstacle:
        return Device("gpu")
    if wanted == "gpu":
        msg = f"device: gpu cannot be had: {obstacle}. Use auto, or cpu"
        raise ParameterError(msg)
    return Device("cpu", f"computed on the CPU: {obstacle}. With device: cpu this is not said")


def gpu_obstacle() -> str:
    """Say why no GPU can be used; empty where one can."""
    if find_spec("cupy") is None:
        return "CuPy is not installed (pip install 'ctr[gpu]')"
    import cupy

    try:
        number = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"CUDA says {error}"
    if number == 0:
        return "this machine has no GPU"
    return "" if HAS_GPU_KERNELS else "no step of this version of ctr computes on a GPU"
