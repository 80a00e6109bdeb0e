"""``docs/tuning.md`` runs: every command as it stands, and every line of output that it shows."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.warm import warm_commands

GUIDE = Path(__file__).parents[1] / "docs" / "tuning.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Block:
    """Commands, and the lines that their output must have."""

    commands: str
    expected: tuple[str, ...]


def sections() -> dict[str, list[Block]]:
    """Blocks of each section that has any, in order."""
    parts = re.split(r"^## (.+)$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {title: blocks(body) for title, body in zip(parts[1::2], parts[2::2], strict=True)}
    return {title: parts for title, parts in found.items() if parts}


def blocks(text: str) -> list[Block]:
    """Commands in order, each with the output that the page shows directly below it."""
    found: list[Block] = []
    for kind, content in _BLOCK.findall(text):
        if kind == "bash":
            found.append(Block(content, ()))
        elif kind == "text":
            lines = tuple(line.strip() for line in content.splitlines() if line.strip())
            found[-1] = Block(found[-1].commands, found[-1].expected + lines)
    return found


SECTIONS = sections()
INSTALLED = ("Practice samples", "Presets")
"""Sections whose commands are the installed ones, each of which imports everything anew."""
ENVIRONMENT = {**os.environ, "COLUMNS": "240", "PYTHONWARNINGS": "ignore"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Give the folder of one reader, who goes through the page from the top."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture(scope="module")
def warm(tmp_path_factory) -> Iterator[Path]:
    """Give the folder of commands that start at once."""
    with warm_commands(tmp_path_factory.mktemp("warm"), ENVIRONMENT) as place:
        yield place


def run(block: Block, folder: Path, commands: Path) -> str:
    """Run commands as a reader would, in one shell that stops at the first failure."""
    environment = {**ENVIRONMENT, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block.commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{block.commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("title", SECTIONS)
def test_every_command_of_the_guide_runs_and_prints_what_the_guide_shows(title, folder, warm):
    commands = Path(sys.executable).parent if title in INSTALLED else warm
    for block in SECTIONS[title]:
        printed = re.sub(r"\s+", " ", run(block, folder, commands))
        missing = [line for line in block.expected if re.sub(r"\s+", " ", line) not in printed]
        assert not missing, f"{block.commands}\ndid not print: {missing}\n{printed}"


def test_the_guide_covers_the_cases_of_the_reference_in_their_order():
    assert [title[0] for title in SECTIONS if title[1:3] == ". "] == [*"1234567"]


def test_nothing_that_looks_like_a_command_is_left_out():
    shown = {kind for kind, _ in _BLOCK.findall(GUIDE.read_text(encoding="utf-8"))}
    assert shown <= {"bash", "text", "json", "yaml"}
