"""What each materialisation says about itself. No plots are drawn here; the engine draws them."""

import base64
import io
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from ctr_engine.devices import CPU, Device
from ctr_engine.errors import CtrError
from ctr_engine.tables import arrow_schema

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_PICTURE = 60_000
_RESOLUTIONS = (90, 60, 40, 25)


@dataclass
class Measured:
    """Device, seconds and memory of one step, known when it has ended."""

    backend: str
    device: Device = CPU
    seconds: float = 0.0
    peak_memory_mib: float = 0.0

    def metadata(self) -> dict[str, Any]:
        """Seconds of the step, and the largest memory of the process by then."""
        warned = {"device_warning": self.device.warning} if self.device.warning else {}
        return {
            "seconds": round(self.seconds, 3),
            "peak_memory_mib": round(self.peak_memory_mib, 1),
            "device": self.device.name,
            "backend": self.backend,
            **warned,
        }


@contextmanager
def step(backend: str = "numpy") -> Iterator[Measured]:
    """Measure a step; an error of ours becomes a failure with its text, and is not retried.

    ``backend`` names the library that does the work.
    """
    measured, started = Measured(backend), time.perf_counter()
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    try:
        yield measured
        measured.seconds = time.perf_counter() - started
        measured.peak_memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    except CtrError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def table_metadata(model: Any, table: pd.DataFrame) -> dict[str, Any]:
    """Row count and column schema of a table."""
    columns = [
        dg.TableColumn(
            name=declared.name,
            type=str(declared.type),
            description=declared.metadata[b"description"].decode(),
            constraints=dg.TableColumnConstraints(nullable=declared.nullable),
            tags=_unit(declared.metadata[b"unit"].decode()),
        )
        for declared in arrow_schema(model)
    ]
    return {
        "dagster/row_count": len(table),
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


def _unit(unit: str) -> dict[str, str]:
    return {"unit": unit} if unit else {}


def column_lineage(sources: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Say which upstream column each column comes from: ``{column: (asset, column)}``."""
    lineage = {
        column: [dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=source)]
        for column, (asset, source) in sources.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(lineage)}


def picture(
    draw: Callable[[], "Figure"], name: str = "picture", largest: int = _LARGEST_PICTURE
) -> dict[str, Any]:
    """Draw a figure and embed it under a name, coarser where it would be large."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(draw())
    for resolution in _RESOLUTIONS:
        buffer = io.BytesIO()
        canvas.figure.set_dpi(resolution)
        canvas.print_png(buffer)  # `savefig` lays the figure out and draws it twice
        encoded = base64.b64encode(buffer.getvalue()).decode()
        if len(encoded) < largest:
            text = f"![{name}](data:image/png;base64,{encoded})"
            return {name: dg.MetadataValue.md(text)}
    return {name: dg.MetadataValue.md("The picture would be too large to be shown here.")}
