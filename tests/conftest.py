"""What all tests share: where the shared files are, and how hypothesis runs."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

settings.register_profile(
    "ctr",
    deadline=None,
    max_examples=20,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
settings.load_profile("ctr")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the files that every checkout shares; a wrong path is an error, not a skip."""
    if "CTR_SHARED" not in os.environ:
        pytest.skip("CTR_SHARED is not set: the shared files are not there")
    folder = Path(os.environ["CTR_SHARED"])
    if not folder.is_dir():
        msg = f"CTR_SHARED is {str(folder)!r}, which is not a folder"
        raise NotADirectoryError(msg)
    return folder
