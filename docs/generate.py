"""Writes the reference pages from the code: ``python docs/generate.py``; a test compares them."""

import json
from pathlib import Path
from typing import Any

from ctr_engine.clustering.pipeline import ClusteringParams
from ctr_engine.expression import ExpressionParams
from ctr_engine.markers.aliases import builtin_rows
from ctr_engine.markers.gating_params import GatingParams
from ctr_engine.markers.schema import marker_map_schema
from ctr_engine.params import Params
from ctr_engine.profiles import PRESETS, PROFILES, ReportParams
from ctr_engine.refinement.params import (
    REFINEMENT_PRESETS,
    REFINEMENT_PROFILES,
    PipelineParams,
    RefinementParams,
)
from ctr_engine.scoring import ScoringParams
from ctr_engine.splitmerge.barcodes.params import BarcodeParams
from ctr_engine.splitmerge.cells.params import CellParams, ConsensusParams
from ctr_engine.tables import (
    COMPARISON_TABLES,
    REFINEMENT_TABLES,
    SPLITMERGE_TABLES,
    STAGE_H_TABLES,
    TUNING_TABLES,
    Clusters,
    CohortSummary,
    Preflight,
    arrow_schema,
)

FOLDER = Path(__file__).parent / "reference"
NOTICE = "<!-- Written by docs/generate.py; change the code, not this page. -->\n\n"
PARTS: dict[str, tuple[type[Params], str]] = {
    "expression": (ExpressionParams, "Which values are used"),
    "clustering": (ClusteringParams, "How cells are clustered"),
    "scoring": (ScoringParams, "How markers add up to a score"),
    "gating": (GatingParams, "When a cell type passes"),
    "report": (ReportParams, "What is shown beside the labels"),
    "refinement": (RefinementParams, "Which clusters are refined, and how"),
    "refinement.two_pass": (CellParams, "How the two passes divide and join clusters"),
    "consensus": (ConsensusParams, "How several clusterings become one"),
    "barcodes": (BarcodeParams, "How clusters of barcodes are refined"),
}


ALIASES_INTRO = """\
A name of the marker map finds a column of the panel in four tiers, the first with a hit wins:
exact; equal without case, spaces, hyphens, underscores, dots and slashes; the map's own `_aliases`;
this table. Names in one row find each other."""
PARAMETERS_INTRO = """\
The names are those of `--config FILE.yaml` and `ctr.yaml`, one section each, and of the JSON given
to `--scoring-params`, `--gating-params` and `--refinement-params`. Precedence: profile, then the
marker map's `_gating_params`, then a preset, then what you set; thresholds are merged level by
level."""
PRESETS_INTRO = """\
`--preset NAME`, or `preset: NAME` in a parameter file. A preset counts as if each of its values had
been given by hand: it wins over the marker map, and what you give beside it wins over it."""
REFINEMENT_PRESETS_INTRO = """\
`--refinement-preset NAME`, or `refinement_preset: NAME`. The preset `conservative` above brings the
refinement preset of the same name, unless you name another."""
TABLES_INTRO = """\
Parquet in the asset graph, CSV from the command line; the same columns in the same order. Lists are
lists in parquet and `;`-joined in CSV. Each table is checked against this page when it is written
and when it is read."""


def pages() -> dict[str, str]:
    """Content of every generated file, by name."""
    return {
        "aliases.md": aliases_page(),
        "parameters.md": parameters_page(),
        "tables.md": tables_page(),
        "marker-map.schema.json": _json(marker_map_schema()),
        "parameters.schema.json": _json(PipelineParams.model_json_schema()),
    }


def aliases_page() -> str:
    """Table of marker names that mean the same."""
    rows = builtin_rows()
    lines = [
        "# Built-in names of markers",
        "",
        NOTICE.strip(),
        "",
        ALIASES_INTRO,
        "",
        "| marker | also known as | note |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row['canonical']} | {row['aliases'].replace(';', ', ')} | {row['note']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def parameters_page() -> str:
    """Every parameter with its default, range and meaning, and what the profiles change."""
    lines = [
        "# Parameters",
        "",
        NOTICE.strip(),
        "",
        PARAMETERS_INTRO,
        "",
    ]
    for section, (model, title) in PARTS.items():
        lines += [
            f"## `{section}`: {title.lower()}",
            "",
            "| parameter | default | allowed | meaning |",
            "|---|---|---|---|",
        ]
        properties = model.model_json_schema()["properties"]
        for name, declared in properties.items():
            if f"{section}.{name}" in PARTS:  # which has a table of its own
                lines.append(f"| `{name}` | | table below | {declared['description']} |")
                continue
            default = json.dumps(declared["default"]) if "default" in declared else ""
            lines.append(
                f"| `{name}` | `{default}` | {_allowed(declared)} | {declared['description']} |"
            )
        lines.append("")
    lines += [
        "## Profiles",
        "",
        "`reference` has the defaults above. `adaptive` differs in:",
        "",
        "| parameter | value |",
        "|---|---|",
    ]
    adaptive = PROFILES["adaptive"].model_dump(mode="json", exclude_unset=True)
    lines += [
        f"| `{section}.{name}` | `{json.dumps(value)}` |"
        for section, values in adaptive.items()
        for name, value in values.items()
    ]
    refining = REFINEMENT_PROFILES["adaptive"].model_dump(mode="json", exclude_unset=True)
    lines += [
        f"| `refinement.{name}` | `{json.dumps(value)}` |" for name, value in refining.items()
    ]
    lines += [
        "",
        "## Presets",
        "",
        PRESETS_INTRO,
        "",
        "| preset | scoring | gating |",
        "|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        given = preset.model_dump(mode="json", exclude_unset=True)
        lines.append(
            f"| `{name}` | `{json.dumps(given['scoring'])}` | `{json.dumps(given['gating'])}` |"
        )
    lines += ["", REFINEMENT_PRESETS_INTRO, "", "| refinement preset | refinement |", "|---|---|"]
    for name, refinement in REFINEMENT_PRESETS.items():
        given = refinement.model_dump(mode="json", exclude_unset=True)
        lines.append(f"| `{name}` | `{json.dumps(given)}` |")
    return "\n".join(lines) + "\n"


def _allowed(declared: dict[str, Any]) -> str:
    if "enum" in declared:
        return ", ".join(f"`{value}`" for value in declared["enum"])
    if "anyOf" in declared:
        return " or ".join(_allowed(option) for option in declared["anyOf"])
    if "additionalProperties" in declared and isinstance(declared["additionalProperties"], dict):
        inner = declared["additionalProperties"]
        return "per root" if "$ref" in inner else f"per level: {_allowed(inner)}"
    names = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {declared[name]:g}" for name, sign in names.items() if name in declared]
    return ", ".join(limits) or str(declared["type"] if "type" in declared else "any")


def tables_page() -> str:
    """Every table with its columns, types, units and meaning."""
    lines = [
        "# Tables",
        "",
        NOTICE.strip(),
        "",
        TABLES_INTRO,
        "",
    ]
    models = {"leiden_clusters (clusters.csv)": Clusters, **STAGE_H_TABLES, "preflight": Preflight}
    models |= REFINEMENT_TABLES | {"cohort_summary": CohortSummary}
    models |= TUNING_TABLES | COMPARISON_TABLES | SPLITMERGE_TABLES
    for name, model in models.items():
        lines += [
            f"## {name}",
            "",
            str(model.__doc__).strip(),
            "",
            "| column | type | unit | null | meaning |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| `{field.name}` | {str(field.type).replace('element: ', '')} "
            f"| {field.metadata[b'unit'].decode()} | {'yes' if field.nullable else ''} "
            f"| {field.metadata[b'description'].decode()} |"
            for field in arrow_schema(model)
        ]
        lines.append("")
    return "\n".join(lines)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, text in pages().items():
        (FOLDER / file_name).write_text(text, encoding="utf-8")
