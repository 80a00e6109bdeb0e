"""How many threads a step may use."""

import os


def available_cores() -> int:
    """Cores that this process may use; on systems that do not tell, all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
