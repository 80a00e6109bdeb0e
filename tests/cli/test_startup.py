"""``ctr --help`` loads nothing heavy, and says what there is."""

import subprocess
import sys

import pytest

HEAVY = (
    "numpy",
    "pandas",
    "scipy",
    "anndata",
    "scanpy",
    "dagster",
    "pydantic",
    "matplotlib",
    "pandera",
    "rich",
)


@pytest.mark.smoke
def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from ctr_assets.cli import app\n"
        "result = CliRunner().invoke(app, ['--help'])\n"
        "assert result.exit_code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print(*(name in result.stdout for name in ('annotate', 'check-map', 'demo', 'ui')))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["[]", "True True True True"]


def test_no_command_is_not_a_success():
    run = subprocess.run(
        [sys.executable, "-m", "ctr_assets"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "annotate" in run.stdout + run.stderr


@pytest.mark.parametrize(
    "module", ["ctr_engine.reporting.figures", "ctr_engine.analysis", "ctr_assets.definitions"]
)
def test_plots_are_imported_only_when_drawn(module):
    code = f"import sys, {module}; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
