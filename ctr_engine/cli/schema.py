"""``ctr schema``: JSON Schemas, for an editor or another program."""

import json
from enum import StrEnum
from typing import Annotated

import typer


class SchemaName(StrEnum):
    """What has a schema."""

    marker_map = "marker-map"
    parameters = "parameters"


def schema(
    name: Annotated[SchemaName, typer.Argument(help="What to describe.")],
) -> None:
    """Print the JSON Schema of a marker map or of a parameter file."""
    from ctr_engine.markers.schema import marker_map_schema
    from ctr_engine.refinement.params import PipelineParams

    if name is SchemaName.marker_map:
        content = marker_map_schema()
    else:
        content = PipelineParams.model_json_schema()
    typer.echo(json.dumps(content, indent=2, sort_keys=True))
