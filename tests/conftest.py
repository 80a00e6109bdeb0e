"""What all tests share: where the shared files are, and how hypothesis runs."""

import os
from pathlib import Path

import pytest
from hypothesis import Phase, settings

LONGEST = (
    "tests/daemon/test_by_itself.py",
    "tests/distributed/test_celery.py",
    "tests/assets/test_runs.py",
    "tests/daemon/test_edits_during_runs.py",
    "tests/assets/test_demo.py",
    "tests/test_orchestration_benchmark.py",
    "tests/daemon/test_kills.py",
    "tests/assets/test_refinement.py",
    "tests/daemon/test_page.py",
    "tests/test_tuning_guide.py",
)
"""Modules of minutes. They come first, so that all processes end at nearly the same time."""

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


def pytest_configure(config: pytest.Config) -> None:
    """Have xdist hand out the modules as they are collected, not those of most tests first."""
    if config.pluginmanager.hasplugin("xdist"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest modules first."""
    places = {config.rootpath / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places[item.path] if item.path in places else len(places))
