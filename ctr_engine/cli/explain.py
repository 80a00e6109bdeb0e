"""``ctr explain``: the whole reason of a label, in the terminal or as JSON."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctr_engine import keys
from ctr_engine.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ctr_engine.profiles import AnalysisParams
    from ctr_engine.reporting.explain import Candidate, Explanation, GateValue, Step

_MOST_MARKERS = 6
_WHY_OWN = {
    keys.OWN_MARKERS: "of the cell types that fit the cluster, its markers prefer this one",
    keys.SURE_CELLS: "its markers contradict the label of the cluster, and it resembles the cells "
    "that are sure to be of this type",
}
_OF_CELL = ("cell_id", keys.CELL_TYPE_CELL, keys.CELL_TYPE_CELL_PATH, keys.CELL_TYPE_CELL_BY)


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder that ctr annotate wrote.")],
    cluster: Annotated[str | None, typer.Option(help="Cluster to explain.")] = None,
    cell: Annotated[str | None, typer.Option(help="Cell whose label is explained.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    all_markers: Annotated[
        bool, typer.Option("--all-markers", help="Show all markers of all candidates.")
    ] = False,
) -> None:
    """Say why a cluster, or a cell, has its label, and what would give another one."""
    if (cluster is None) == (cell is None):
        msg = "say what to explain: --cluster ID or --cell ID, one of the two"
        raise ParameterError(msg)
    from ctr_engine.io.runs import read_run
    from ctr_engine.reporting.explain import explain as explained

    stored = read_run(run.expanduser())
    of_cell = None if cell is None else stored.cell(cell)
    chosen = str(cluster if of_cell is None else of_cell[keys.CLUSTER])
    stored.position_of(chosen)
    found = explained(stored.tables, stored.decider, chosen)
    if as_json:
        content = found.as_json() | ({} if of_cell is None else {n: of_cell[n] for n in _OF_CELL})
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    if of_cell is not None:
        _show_cell(of_cell)
    _show(found, all_markers)
    _show_changes(found, run, stored.params)


def _show_cell(row: "Mapping[str, Any]") -> None:
    """Say where a cell is, and why it has a label of its own if it has."""
    from rich.console import Console
    from rich.text import Text

    text = f"Cell {row['cell_id']} is in cluster {row[keys.CLUSTER]}."
    if row[keys.CELL_TYPE_CELL_BY] != keys.OF_CLUSTER:
        why = _WHY_OWN[row[keys.CELL_TYPE_CELL_BY]]
        text += f" Its own label is {row[keys.CELL_TYPE_CELL]}: {why}."
    Console().print(Text(text))


def _show(found: "Explanation", all_markers: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    title = f"Cluster {found.cluster_id}: {found.label}"
    console.print(Text(title, style="bold"))
    console.print(Text(found.path or "no cell type of the map"), style="dim")
    lead = "no rival" if found.confidence is None else f"{found.confidence:.2f}"
    console.print(
        f"{found.n_cells:,} cells · support {found.support:.0%} (stability {found.stability:.0%}, "
        f"agreement {found.agreement:.0%}) · confidence {lead} · "
        f"robustness {found.robustness:.0%} · {found.stop_reason}"
    )
    console.print(Text(found.reason[:1].upper() + found.reason[1:] + "."))
    if found.mixed is not None:
        console.print(Text(f"Mixed lineage: {found.mixed}."))
    for step in found.steps:
        _show_step(console, step)
        best = step.candidates[0]
        for candidate in step.candidates:
            if all_markers or candidate is best:
                _show_markers(console, candidate, len(candidate.markers) if all_markers else None)
    if found.votes:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.votes.items())
        console.print(Text(f"Votes of its cells: {shares}"))


def _show_step(console: "Console", step: "Step") -> None:
    from rich.table import Table
    from rich.text import Text

    where = "the roots" if step.parent_path is None else f"below {step.parent_path}"
    table = Table(title=Text(f"Step {step.step_idx + 1}: {where}"), title_justify="left")
    table.add_column("cell type", overflow="fold")
    for name in ("passed", "score", "= enrichment", "+ positive", "+ DE", "- penalty"):
        table.add_column(name, justify="right")
    for one in step.candidates:
        parts = (one.score, one.mean_enrichment, one.mean_positive_fraction, one.de_component)
        numbers = [_number(n) for n in (*parts, one.anti_penalty)]
        style = "bold" if one.selected else ("" if one.passed else "dim")
        passed = "yes" if one.passed else "no"
        table.add_row(*map(Text, (one.label, passed, *numbers)), style=style)
    console.print(table)
    for one in step.candidates:
        through = f" (let in by {one.passed_through})" if one.passed_through else ""
        gates = "; ".join(_gate(gate) for gate in one.gates)
        console.print(Text(f"  {one.label}{through}: {gates}"))
    console.print(Text(_verdict(step)))


def _gate(gate: "GateValue") -> str:
    """Gate with its value and threshold, and with what passes in its place."""
    marker = f" of {gate.marker}" if gate.marker else ""
    value = "absent" if gate.value is None else f"{gate.value:.3f}"
    text = f"{gate.gate}{marker} {value} against {gate.threshold:.3f}"
    if gate.alternative_value is not None and gate.alternative_threshold is not None:
        text += f" or {gate.alternative_value:.3f} against {gate.alternative_threshold:.3f}"
    return text if gate.passed else f"{text} FAILS"


def _verdict(step: "Step") -> str:
    if step.winner is None:
        return "Nobody passed."
    if step.margin is None:
        return f"{step.winner} is the only one that passed."
    tie = ": a tie" if step.ambiguous else ""
    return (
        f"{step.winner} leads {step.runner_up} by {step.margin:.3f}; "
        f"{step.needed_gap:.3f} is needed{tie}."
    )


def _show_markers(console: "Console", one: "Candidate", most: int | None) -> None:
    from rich.text import Text

    shown = one.markers[: most or _MOST_MARKERS]
    for name, parts in (
        ("carried", [m for m in shown if m.in_score > 0]),
        ("cost", [m for m in shown if m.in_score < 0]),
    ):
        texts = [
            f"{m.marker} {m.in_score:+.2f} ({m.enrichment:+.1f} SD, {m.positive_fraction:.0%})"
            for m in parts
        ]
        if texts:
            console.print(Text(f"  {one.label}: {name} by {', '.join(texts)}"))
    if one.missing_markers:
        console.print(Text(f"  {one.label}: not on the panel: {', '.join(one.missing_markers)}"))


def _show_changes(found: "Explanation", run: Path, given: "AnalysisParams") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not found.changes:
        console.print("No change of a single threshold gives another label.")
        return
    console.print("What would give another label, the smallest change first:")
    for change in found.changes:
        label = change.path or change.label
        text = f"  {change.threshold} {change.current:g} -> {change.needed:g}: {label}"
        console.print(Text(text))
    command = _command(found, run, given)
    if command is None:
        console.print("The first is set in the marker map, at the cell type itself.")
    else:
        console.print(Text(f"To set the first: {command}"), soft_wrap=True)


def _command(found: "Explanation", run: Path, given: "AnalysisParams") -> str | None:
    """Command that annotates again with the first change, and everything else as it was."""
    from ctr_engine.markers.gating_params import GatingParams
    from ctr_engine.params import layered

    change = found.changes[0].gating_params
    if change is None:
        return None
    gating = layered(given.gating, GatingParams.model_validate(change))
    base = run if run.name not in ("", "..") else run.resolve()
    parts = ["ctr", "annotate", str(run / "coarse_clusters.h5ad"), "--annotation-only"]
    if given.expression.model_fields_set & {"layer", "normalize"}:
        parts += ["--layer", "stage_h_input"]
    if "technical_markers" in given.expression.model_fields_set:
        parts += ["--technical-markers", ",".join(given.expression.technical_markers)]
    if "profile" in given.model_fields_set:
        parts += ["--profile", given.profile]
    if given.preset is not None:
        parts += ["--preset", given.preset]
    for flag, params in (("--scoring-params", given.scoring), ("--gating-params", gating)):
        if params.model_fields_set:
            dumped = params.model_dump(mode="json", exclude_unset=True)
            parts += [flag, json.dumps(dumped, ensure_ascii=False)]
    return shlex.join([*parts, "--output-dir", str(base.with_name(f"{base.name}-2"))])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
