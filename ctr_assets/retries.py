"""Which steps are tried again: those that met a fault, and not those that a person interrupted."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import dagster as dg

_ENDS: ContextVar[bool] = ContextVar("ends_when_interrupted", default=False)
_INTERRUPTS = (KeyboardInterrupt, dg.DagsterExecutionInterruptedError)


class RetryFaults(dg.RetryPolicy):
    """Try a step again after a fault, and after an interrupt only where its process is replaceable.

    Dagster asks the policy after both. A pod or a worker may be interrupted because its machine
    goes away: another one tries the step again. Where a person waits, an interrupt is an end.
    """

    def calculate_delay(self, attempt_num: int) -> float:
        """Give the seconds to wait; raises the interrupt again where that ends the run."""
        fault = sys.exception()
        if _ENDS.get() and isinstance(fault, _INTERRUPTS):
            raise fault
        return float(super().calculate_delay(attempt_num))


@contextmanager
def ends_when_interrupted() -> Iterator[None]:
    """Let an interrupt end the run that is made in here."""
    token = _ENDS.set(True)
    try:
        yield
    finally:
        _ENDS.reset(token)
