"""What looks after the project: arrivals, edits, what was lost, what failed."""

import os

from ctr_engine.errors import ParameterError

SECONDS_VARIABLE = "CTR_TICK_SECONDS"


def seconds(usual: int) -> int:
    """Time between two looks of a sensor; ``CTR_TICK_SECONDS`` sets one for all.

    Raises
    ------
    ParameterError
        If the variable is no whole number above 0.
    """
    text = os.environ.get(SECONDS_VARIABLE)
    if not text:
        return usual
    if not text.isdecimal() or int(text) < 1:
        msg = f"{SECONDS_VARIABLE}={text!r} is no whole number of seconds above 0"
        raise ParameterError(msg)
    return int(text)
