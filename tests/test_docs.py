"""The reference pages are what the code says, and the commands of the README exist."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from ctr_assets.cli import app
from ctr_engine.markers.parse import parse_marker_map

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


def generated() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pages()


def test_the_reference_pages_are_those_of_the_code():
    for name, text in generated().items():
        stored = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert stored == text, f"docs/reference/{name} is stale; run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_flag_in_the_documents_exists():
    commands = get_command(app).commands
    for page in PAGES:
        for command, rest in re.findall(r"\bctr (\w[\w-]*)([^\n`|]*)", page.read_text("utf-8")):
            if command not in commands:
                continue
            found = commands[command]
            if isinstance(found, TyperGroup):
                name = rest.split()[0] if rest.strip() else ""
                if name not in found.commands:
                    continue
                found = found.commands[name]
            known = {flag for p in found.params for flag in p.opts} | {"--help"}
            for flag in re.findall(r"(?<!\S)(--[\w-]+)", rest):
                assert flag in known, f"{page.name}: ctr {command} has no {flag}"


def test_the_marker_map_of_the_readme_is_valid():
    for page, n_nodes in (("README.md", 4), ("docs/marker-maps.md", 3)):
        text = (ROOT / page).read_text("utf-8")
        (block,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        assert len(parse_marker_map(json.dumps(json.loads(block)), page).nodes) == n_nodes
