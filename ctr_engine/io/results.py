"""Which file of a folder of results holds the sample with its newest labels."""

from pathlib import Path

from ctr_engine.errors import Fault, InputError
from ctr_engine.io.folder import REFINED, REFINEMENT
from ctr_engine.io.runs import COARSE_CLUSTERS
from ctr_engine.io.samples import SUFFIXES


def sample_in(results: Path) -> Path:
    """Give the sample of a folder that ``ctr annotate`` or ``ctr refine`` wrote; a file is itself.

    Raises
    ------
    InputError
        If there is none.
    """
    if results.is_file() or results.suffix in SUFFIXES:
        return results
    candidates = (
        results / REFINEMENT / REFINED,
        results / REFINED,
        results / COARSE_CLUSTERS,
    )
    for path in candidates:
        if path.is_file():
            return path
    what = "there is no such folder" if not results.exists() else "holds no annotated sample"
    message = f"{what}; name what ctr annotate or ctr refine wrote"
    raise InputError(str(results), [Fault(message)])
