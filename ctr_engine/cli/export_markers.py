"""``ctr export-markers``: a built-in marker map as a file, to be edited for one's own tissue."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from ctr_engine.errors import ParameterError

YAML_SUFFIXES = (".yaml", ".yml")


def export_markers(
    tissue: Annotated[
        str | None, typer.Option(help="Name of the built-in map, such as blood.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "--out", help="File for the map; .yaml or .yml for YAML, else JSON."
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the built-in maps.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a built-in marker map to a file, to be edited."""
    if list_:
        idle = {"--tissue": tissue, "--output": output, "--force": force or None}
        given = [flag for flag, value in idle.items() if value is not None]
        if given:
            msg = f"{', '.join(given)} would have no effect beside --list; drop one of them"
            raise ParameterError(msg)
        _list()
        return
    from ctr_engine.io.atomic import write_text
    from ctr_engine.markers.builtin_maps import builtin_map_text, builtin_name, builtin_tissues
    from ctr_engine.markers.parse import parse_marker_map

    if tissue is None:
        msg = f"--tissue is missing; the built-in maps are: {', '.join(builtin_tissues())}"
        raise ParameterError(msg)
    name = builtin_name(tissue)
    path = _checked(output, name, force=force)
    text = builtin_map_text(name)
    marker_map = parse_marker_map(text, f"{name}.json")
    write_text(path, _as_yaml(text) if path.suffix.lower() in YAML_SUFFIXES else text)
    roots = ", ".join(root.label for root in marker_map.roots)
    typer.echo(f"Wrote {path}: {len(marker_map.nodes)} cell types; roots: {roots}.")
    typer.echo(
        "It is a starting point: edit it for your tissue and panel. "
        f"Next: ctr check-map {quote(str(path))} --panel SAMPLE.h5ad"
    )


def _list() -> None:
    from ctr_engine.markers.builtin_maps import builtin_map_text, builtin_tissues
    from ctr_engine.markers.parse import parse_marker_map

    for name in builtin_tissues():
        marker_map = parse_marker_map(builtin_map_text(name), f"{name}.json")
        typer.echo(f"{name}: {len(marker_map.nodes)} cell types, {marker_map.metadata['modality']}")
        typer.echo(f"    {marker_map.metadata['description']}")


def _checked(output: Path | None, name: str, *, force: bool) -> Path:
    """Refuse a missing name, a folder, and a file that somebody may have edited."""
    if output is None:
        msg = f"--output is missing; name a file, such as --output {name}.json"
        raise ParameterError(msg)
    if output.is_dir():
        msg = f"{output} is a folder; name a file, such as --output {output / name}.json"
        raise ParameterError(msg)
    if output.exists() and not force:
        msg = f"{output} exists; name another file, or replace this one with --force"
        raise ParameterError(msg)
    return output


def _as_yaml(text: str) -> str:
    import json

    import yaml

    return yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True, width=100)
