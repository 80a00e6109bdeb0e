"""The shared cases of two-pass refinement."""

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def gaphack(shared: Path) -> dict[str, Any]:
    """Cases with their expected results, by kind."""
    return json.loads((shared / "oracle" / "gaphack.json").read_text())
