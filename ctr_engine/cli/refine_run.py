"""One call of ``ctr refine`` on files."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ctr_engine.cli.options import read_document
from ctr_engine.errors import ConfigError, Fault, InputError
from ctr_engine.io.atomic import whole_file, write_text
from ctr_engine.io.folder import require_no_run
from ctr_engine.io.samples import read_sample, sha256_of, write_h5ad
from ctr_engine.io.tables import write_csv
from ctr_engine.refinement.convergence import Round, iterate, mean_score, unassigned_cells
from ctr_engine.refinement.criteria import diagnose
from ctr_engine.refinement.engine import Scored
from ctr_engine.refinement.focus import Focus, focus_of
from ctr_engine.refinement.manual import SECTIONS, ManualPlan, read_manual
from ctr_engine.refinement.params import (
    RefinementParams,
    RefinementPresetName,
    refinement_params,
)
from ctr_engine.refinement.plan import Plan
from ctr_engine.refinement.policies import auto_operations, merged_plan
from ctr_engine.refinement.record import (
    Opened,
    attach_iteration,
    open_sample,
    profile_of,
    record_of,
)
from ctr_engine.tables import DiagnosticReport, RefinementLog

if TYPE_CHECKING:
    from anndata import AnnData

REFINED = "refined.h5ad"
OUTPUTS = (
    REFINED,
    "curation_log.json",
    "decision_summary.json",
    "diagnostic_report.csv",
    "plan.json",
    "refinement_log.csv",
    "score_distribution.png",
)


@dataclass(frozen=True)
class RefineRequest:
    """What to do; ``output_dir`` is None where nothing is to be written."""

    sample: Path
    output_dir: Path | None
    auto: bool
    manual: Path | None
    execute: bool
    until_converged: bool
    given: RefinementParams
    preset: RefinementPresetName | None
    focus_labels: tuple[str, ...] | None
    focus_clusters: tuple[str, ...] | None
    n_jobs: int

    @property
    def n_steps(self) -> int:
        """Steps that the progress bar will see."""
        return 3 + self.execute


@dataclass(frozen=True)
class RefineResult:
    """The first report and plan, and what there is to say about the rest."""

    report: pd.DataFrame
    plan: Plan
    lines: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass
class _Proposals:
    """Makes the plan of each iteration and keeps its report; a manual file counts once."""

    opened: Opened
    request: RefineRequest
    reports: list[pd.DataFrame] = field(default_factory=list)
    warnings: tuple[str, ...] = ()

    def __call__(self, scored: Scored) -> Plan:
        focus = self._focus(scored)
        params = self.opened.sample.refinement
        report = diagnose(
            scored.states, scored.decider, scored.positive_fraction, params, focus.clusters
        )
        first = not self.reports
        self.reports.append(report)
        auto = auto_operations(report, params) if self.request.auto else []
        manual = self._manual(scored) if first else ManualPlan()
        return merged_plan(auto, manual, focus.clusters)

    def _focus(self, scored: Scored) -> Focus:
        marker_map = self.opened.sample.marker_map
        labels, clusters = self.request.focus_labels, self.request.focus_clusters
        focus = focus_of(scored.states, marker_map, labels, clusters)
        self.warnings = focus.warnings
        return focus

    def _manual(self, scored: Scored) -> ManualPlan:
        if self.request.manual is None:
            return ManualPlan()
        document = read_document(self.request.manual)
        resolution = self.opened.sample.refinement.resolution
        found = read_manual(
            document, self.opened.sample.marker_map, scored.partition.ids, resolution
        )
        if not found.operations and not found.skipped:
            sections = ", ".join(SECTIONS)
            fault = Fault(f"names nothing to do; write {sections} or refinements")
            raise ConfigError(str(self.request.manual), [fault])
        return found


def run_refinement(request: RefineRequest, progress: Callable[[str], None]) -> RefineResult:
    """Diagnose a sample and, where asked to, refine it; writes the output folder.

    Raises
    ------
    CtrError
        If the sample, the plan or the folder cannot be used; nothing is written then.
    """
    if request.output_dir is not None:
        require_no_run(request.output_dir)
        if request.sample.resolve() == (request.output_dir / REFINED).resolve():
            fault = Fault("the results would replace this file; name another --output-dir")
            raise InputError(str(request.sample), [fault])
    progress("reading")
    adata = read_sample(request.sample)
    params = refinement_params(
        profile_of(adata, str(request.sample)), request.preset, request.given
    )
    progress("scoring")
    opened = open_sample(adata, params, str(request.sample), request.n_jobs)
    propose = _Proposals(opened, request)
    if not request.execute:
        plan = propose(opened.scored)
        progress("writing")
        _write_report(request, propose, plan)
        lines = _places(request, "Nothing was changed; add --execute to do it.")
        return RefineResult(propose.reports[0], plan, lines, propose.warnings)
    progress("refining")
    rounds = _rounds(opened, propose, request)
    progress("writing")
    lines = _write_all(request, adata, opened, rounds, propose)
    return RefineResult(propose.reports[0], rounds[0].iteration.plan, lines, propose.warnings)


def _rounds(opened: Opened, propose: _Proposals, request: RefineRequest) -> list[Round]:
    """Iterations, one where convergence was not asked for."""
    found = []
    for one in iterate(opened.sample, opened.scored, propose, opened.next_number):
        found.append(one)
        if not request.until_converged:
            break
    return found


def _write_report(request: RefineRequest, propose: _Proposals, plan: Plan) -> None:
    if request.output_dir is None:
        return
    for name in OUTPUTS:  # of an earlier refinement, which these would contradict
        (request.output_dir / name).unlink(missing_ok=True)
    write_csv(DiagnosticReport, propose.reports[0], request.output_dir / "diagnostic_report.csv")
    _write_json(request.output_dir / "plan.json", {"focus": plan.focus, "plan": plan.as_rows()})


def _write_all(
    request: RefineRequest,
    adata: "AnnData",
    opened: Opened,
    rounds: list[Round],
    propose: _Proposals,
) -> tuple[str, ...]:
    """Write the refined sample and what was decided, iteration by iteration."""
    before, lines, records = opened.scored, [], []
    parent, digest = str(request.sample.resolve()), sha256_of(request.sample)
    for one in rounds:
        origin = {
            "parent_file": parent,
            "parent_sha256": digest,
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        record = record_of(opened, before, one, origin)
        adata = attach_iteration(adata, before, one, record)
        records.append(record)
        lines.append(_line(one, before))
        before = one.iteration.after
    folder = request.output_dir
    if folder is None:
        return tuple(lines)
    _write_report(request, propose, rounds[0].iteration.plan)
    log = pd.concat([one.iteration.log for one in rounds], ignore_index=True)
    write_csv(RefinementLog, log, folder / "refinement_log.csv")
    _write_json(folder / "decision_summary.json", _summary(opened, rounds))
    entries = [record.model_dump(mode="json") for record in records]
    _write_json(folder / "curation_log.json", {"iterations": entries})
    _draw(folder / "score_distribution.png", opened, rounds)
    write_h5ad(adata, folder / REFINED)
    return (*lines, *_places(request, ""))


def _draw(path: Path, opened: Opened, rounds: list[Round]) -> None:
    from ctr_engine.reporting.refinement_figures import score_distribution

    before, after = (
        [(state.score, state.n_cells) for state in scored.states]
        for scored in (opened.scored, rounds[-1].iteration.after)
    )
    figure = score_distribution(before, after, opened.sample.refinement.score_threshold)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _line(one: Round, before: Scored) -> str:
    counts = ", ".join(f"{n} {kind}" for kind, n in one.iteration.plan.counts().items() if n)
    after = one.iteration.after
    moved = f"{len(before.states)} -> {len(after.states)} clusters"
    score = f"mean score {mean_score(before):.3f} -> {mean_score(after):.3f}"
    lost = f"Unassigned {unassigned_cells(before):,} -> {unassigned_cells(after):,} cells"
    end = "" if one.stop is None else f"; ends: {one.stop}"
    return f"Iteration {one.number}: {counts or 'nothing to do'}; {moved}; {score}; {lost}{end}"


def _summary(opened: Opened, rounds: list[Round]) -> dict[str, Any]:
    """What was decided, in numbers."""
    before, entries = opened.scored, []
    for one in rounds:
        after = one.iteration.after
        entries.append(
            {
                "iteration": one.number,
                "operations": one.iteration.plan.counts(),
                "clusters": [len(before.states), len(after.states)],
                "mean_score": [mean_score(before), mean_score(after)],
                "unassigned_cells": [unassigned_cells(before), unassigned_cells(after)],
                "stop_reason": one.stop,
            }
        )
        before = after
    return {"iterations": entries, "stop_reason": rounds[-1].stop}


def _places(request: RefineRequest, text: str) -> tuple[str, ...]:
    found = () if request.output_dir is None else (f"Results: {request.output_dir}",)
    return (*((text,) if text else ()), *found)


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
