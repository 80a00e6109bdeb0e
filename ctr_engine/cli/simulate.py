"""``ctr simulate``: a practice sample with a planted fault, for the tuning guide."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from ctr_engine.errors import OutputError, ParameterError

if TYPE_CHECKING:
    from ctr_engine.scenarios import Scenario

SAMPLE, FAULTY, MENDED = "sample.h5ad", "marker_map.json", "marker_map_fixed.json"


def simulate(
    scenario: Annotated[
        str | None, typer.Argument(metavar="SCENARIO", help="Which fault; --list names them.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "--out", help="Folder for sample and maps.")
    ] = None,
    n_cells: Annotated[int | None, typer.Option(min=1, help="Cells (2000).")] = None,
    random_seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    list_: Annotated[bool, typer.Option("--list", help="List the scenarios.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Make a practice sample with a planted fault (docs/tuning.md)."""
    if list_:
        _list(scenario, output_dir)
        return
    from ctr_engine.scenarios.catalogue import N_CELLS, find_scenario

    if scenario is None:
        msg = "Which scenario? ctr simulate --list names them"
        raise ParameterError(msg)
    found = find_scenario(scenario)
    if output_dir is None:
        msg = f"--output-dir is missing; name a folder, such as --output-dir {scenario}"
        raise ParameterError(msg)
    folder = output_dir.expanduser()
    _require_free(folder, force=force)
    markers = _write(found, folder, n_cells or N_CELLS, random_seed)
    _say(found, folder, f"{n_cells or N_CELLS:,} cells, {markers} markers")


def _list(scenario: str | None, output_dir: Path | None) -> None:
    from ctr_engine.scenarios import SCENARIOS

    idle = {"SCENARIO": scenario, "--output-dir": output_dir}
    given = [name for name, value in idle.items() if value is not None]
    if given:
        msg = f"{', '.join(given)} would have no effect beside --list; drop one of them"
        raise ParameterError(msg)
    width = max(map(len, SCENARIOS))
    for name, one in SCENARIOS.items():
        typer.echo(f"{name:{width}}  {one.number}  {one.title}")


def _require_free(folder: Path, *, force: bool) -> None:
    """Refuse a file, and a folder with a sample or a map that somebody may have edited."""
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; name a folder with --output-dir"
        raise OutputError(msg)
    there = [name for name in (SAMPLE, FAULTY, MENDED) if (folder / name).exists()]
    if there and not force:
        msg = (
            f"{folder} has {', '.join(there)} already; name another folder with --output-dir, or "
            "replace them with --force"
        )
        raise OutputError(msg)


def _write(scenario: "Scenario", folder: Path, n_cells: int, random_seed: int) -> int:
    """Write the files and give the number of markers."""
    import json

    from ctr_engine.io.atomic import write_text
    from ctr_engine.io.samples import write_h5ad
    from ctr_engine.scenarios import make_scenario

    sample, faulty, mended = make_scenario(scenario.name, n_cells, random_seed)
    write_h5ad(sample, folder / SAMPLE)
    write_text(folder / FAULTY, json.dumps(faulty, indent=2) + "\n")
    if mended is None:
        (folder / MENDED).unlink(missing_ok=True)  # that of another scenario does not belong here
    else:
        write_text(folder / MENDED, json.dumps(mended, indent=2) + "\n")
    return int(sample.n_vars)


def _say(scenario: "Scenario", folder: Path, size: str) -> None:
    names = [SAMPLE, FAULTY, *([MENDED] if (folder / MENDED).exists() else [])]
    sample, marker_map, run = (quote(str(folder / name)) for name in (SAMPLE, FAULTY, "run1"))
    typer.echo(f"{scenario.name}: {scenario.title} (tuning guide, scenario {scenario.number})")
    typer.echo(f"Planted: {scenario.planted}")
    typer.echo(f"You will see: {scenario.symptom}")
    typer.echo(f"What mends it: {scenario.remedy}")
    typer.echo(f"Wrote {', '.join(names)} to {folder}: {size}; the truth is in obs['cell_type'].")
    command = f"ctr annotate {sample} --marker-map {marker_map}{scenario.flags}"
    typer.echo(f"Next: {command} --output-dir {run}")
