"""The device: what was asked for, what is there."""

import sys
from types import SimpleNamespace

import pytest

from ctr_engine import devices
from ctr_engine.devices import Device, used_device
from ctr_engine.errors import ParameterError


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


def cupy_that(monkeypatch, count) -> None:
    """A stand-in for CuPy, which no machine of ours has; it answers one question."""
    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CUDARuntimeError)
    module = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(devices, "find_spec", lambda _: object())


def broken() -> int:
    msg = "cudaErrorInsufficientDriver"
    raise CUDARuntimeError(msg)


def test_the_cpu_needs_nothing(monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda _: pytest.fail("nothing to look for"))
    assert used_device("cpu") == Device("cpu")


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (None, "CuPy is not installed (pip install 'ctr[gpu]')"),
        (lambda: 0, "this machine has no GPU"),
        (broken, "CUDA says cudaErrorInsufficientDriver"),
        (lambda: 1, "no step of this version of ctr computes on a GPU"),
    ],
)
def test_without_a_gpu_auto_takes_the_cpu_and_says_why_and_gpu_is_refused(
    monkeypatch, count, reason
):
    if count is None:
        monkeypatch.setattr(devices, "find_spec", lambda _: None)
    else:
        cupy_that(monkeypatch, count)
    device = used_device("auto")
    assert device.name == "cpu"
    assert device.warning.startswith(f"computed on the CPU: {reason}.")
    with pytest.raises(ParameterError) as refused:
        used_device("gpu")
    assert str(refused.value) == f"device: gpu cannot be had: {reason}. Use auto, or cpu"


def test_with_a_gpu_and_kernels_both_take_it(monkeypatch):
    cupy_that(monkeypatch, lambda: 1)
    monkeypatch.setattr(devices, "HAS_GPU_KERNELS", True)
    assert used_device("auto") == used_device("gpu") == Device("gpu")
