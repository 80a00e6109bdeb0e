"""One call of ``ctr refine`` on files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ctr_engine.cli.options import read_any
from ctr_engine.documents import Document
from ctr_engine.errors import ConfigError, Fault, OutputError
from ctr_engine.io.atomic import whole_file, write_text
from ctr_engine.io.folder import REFINED, clear_refinement, require_no_run, require_refinable
from ctr_engine.io.results import sample_in
from ctr_engine.io.samples import read_sample, sha256_of, write_h5ad
from ctr_engine.io.tables import write_csv
from ctr_engine.refinement.cells import labels_of_cells
from ctr_engine.refinement.convergence import (
    ITERATION_LIMIT,
    Round,
    iterate,
    mean_score,
    summary,
    unassigned_cells,
)
from ctr_engine.refinement.engine import Scored
from ctr_engine.refinement.lineage import Lineage, final_annotations
from ctr_engine.refinement.manual import SECTIONS
from ctr_engine.refinement.params import (
    RefinementParams,
    RefinementPresetName,
    refinement_params,
)
from ctr_engine.refinement.plan import Plan
from ctr_engine.refinement.proposals import Policy, Proposal, propose
from ctr_engine.refinement.record import record_of
from ctr_engine.refinement.sample import (
    Opened,
    annotations_in,
    attach_lineage,
    open_sample,
    profile_of,
    set_profile,
)
from ctr_engine.tables import DiagnosticReport, FinalAnnotations, RefinementLog

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class RefineRequest:
    """What to do; ``output_dir`` is None where nothing is to be written."""

    sample: Path
    output_dir: Path | None
    auto: bool
    two_pass: bool
    manual: Path | None
    execute: bool
    until_converged: bool
    given: RefinementParams
    profile: str | None
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


def run_refinement(request: RefineRequest, progress: Callable[[str], None]) -> RefineResult:
    """Diagnose a sample and, where asked to, refine it; writes the output folder.

    Raises
    ------
    CtrError
        If the sample, the plan or the folder cannot be used; nothing is written then.
    """
    request = replace(request, sample=sample_in(request.sample))
    if request.output_dir is not None:
        require_no_run(request.output_dir)
        given = (request.sample, request.manual)
        require_refinable(request.output_dir, [path for path in given if path is not None])
    if not request.execute:
        _require_unrefined(request.output_dir)
    manual = None if request.manual is None else read_any(request.manual)
    progress("reading")
    adata = read_sample(request.sample)
    notes = _with_profile(adata, request)
    params = refinement_params(
        profile_of(adata, str(request.sample)), request.preset, request.given
    )
    progress("scoring")
    opened = open_sample(adata, params, str(request.sample), request.n_jobs)
    policy = Policy(
        request.auto,
        manual,
        request.focus_labels,
        request.focus_clusters,
        chained=request.until_converged,
        two_pass=request.two_pass,
    )
    if not request.execute:
        proposal = propose(policy, opened.sample, opened.scored, (), first=True)
        _require_something(manual, proposal)
        progress("writing")
        _write_report(request, proposal)
        lines = _places(request, "Nothing was changed; add --execute to do it.")
        return RefineResult(proposal.report, proposal.plan, lines, notes + _warnings([proposal]))
    rounds = _rounds(opened, policy, request, progress)
    first = rounds[0].proposal
    _require_something(manual, first)
    progress("writing")
    lines = _write_all(request, adata, opened, rounds)
    proposals = [one.proposal for one in rounds]
    return RefineResult(first.report, first.plan, lines, notes + _warnings(proposals))


def _with_profile(adata: "AnnData", request: RefineRequest) -> tuple[str, ...]:
    """Let a sample be scored under another profile than it was annotated with."""
    before = profile_of(adata, str(request.sample))
    if request.profile is None or request.profile == before:
        return ()
    set_profile(adata, request.profile)
    note = (
        f"The sample was annotated with the profile {before}; it is scored and refined with "
        f"{request.profile}, and cell_type_auto stays as it is."
    )
    return (note,)


def _rounds(
    opened: Opened, policy: Policy, request: RefineRequest, progress: Callable[[str], None]
) -> list[Round]:
    """Iterations, one where convergence was not asked for."""
    found = []
    progress("refining")
    for one in iterate(opened.sample, opened.scored, policy, opened.lineage.next_number):
        found.append(one)
        if not request.until_converged:
            break
    return found


def _require_something(manual: Document | None, proposal: Proposal) -> None:
    """Refuse a manual file of which nothing can be done, where nothing else is done either.

    Raises
    ------
    ConfigError
        With the reason of each entry.
    """
    asked = proposal.manual
    if manual is None or asked.operations or asked.skipped:
        return
    if not asked.waiting:
        fault = Fault(f"names nothing to do; write {', '.join(SECTIONS)} or refinements")
        raise ConfigError(manual.source, [fault])
    if not proposal.plan.operations:
        raise ConfigError(manual.source, [Fault(text) for text in asked.waiting])


def _warnings(proposals: Sequence[Proposal]) -> tuple[str, ...]:
    """What to look at: the focus of the first iteration, and what nobody could carry out."""
    waiting = proposals[-1].manual.waiting
    unmatched = tuple(f"Not carried out of the manual file: {text}." for text in waiting)
    return (*proposals[0].warnings, *unmatched)


def _require_unrefined(folder: Path | None) -> None:
    """Refuse to look into a folder whose refinement was carried out, which would be removed.

    Raises
    ------
    OutputError
        If there is one.
    """
    if folder is not None and (folder / REFINED).exists():
        msg = f"{folder} holds a refinement that was carried out; name another --output-dir"
        raise OutputError(msg)


def _write_report(request: RefineRequest, proposal: Proposal) -> None:
    if request.output_dir is None:
        return
    clear_refinement(request.output_dir)
    write_csv(DiagnosticReport, proposal.report, request.output_dir / "diagnostic_report.csv")


def _write_all(
    request: RefineRequest, adata: "AnnData", opened: Opened, rounds: list[Round]
) -> tuple[str, ...]:
    """Write the refined sample and what was decided, iteration by iteration."""
    lineage = _lineage(request, opened, rounds)
    folder = request.output_dir
    lines = _lines(opened, rounds)
    if folder is None:
        return lines
    _write_report(request, rounds[0].proposal)
    plan = rounds[0].proposal.plan
    _write_json(folder / "plan.json", {"focus": plan.focus, "plan": plan.as_rows()})
    log = pd.concat([one.iteration.log for one in rounds], ignore_index=True)
    write_csv(RefinementLog, log, folder / "refinement_log.csv")
    _write_json(folder / "decision_summary.json", _summary(opened, rounds))
    entries = [r.model_dump(mode="json") for r in lineage.records[-len(rounds) :]]
    _write_json(folder / "curation_log.json", {"iterations": entries})
    _draw(folder / "score_distribution.png", opened, rounds)
    labels = final_annotations(lineage, annotations_in(adata, str(request.sample)))
    write_csv(FinalAnnotations, labels, folder / "final_annotations.csv")
    write_h5ad(attach_lineage(adata, lineage), folder / REFINED)
    return (*lines, *_places(request, ""))


def _lineage(request: RefineRequest, opened: Opened, rounds: list[Round]) -> Lineage:
    """Where the cells have been, with the iterations that were made now."""
    lineage, before = opened.lineage, opened.scored
    origin = {
        "parent_file": str(request.sample.resolve()),
        "parent_sha256": sha256_of(request.sample),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    for one in rounds:
        record = record_of(opened.sample, before, one, lineage.records, origin)
        before = one.iteration.after
        lineage = lineage.then(before.partition, record, labels_of_cells(opened.sample, before))
    return lineage


def _lines(opened: Opened, rounds: list[Round]) -> tuple[str, ...]:
    """One line for each iteration, and one where they did not converge."""
    states = [opened.scored, *(one.iteration.after for one in rounds)]
    lines = [_line(one, before) for one, before in zip(rounds, states, strict=False)]
    if len(rounds) > 1 and rounds[-1].stop_reason == ITERATION_LIMIT:
        lines.append(
            "The iterations did not converge; --max-iterations allows more, or go on from the file."
        )
    return tuple(lines)


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
    vain = int((one.iteration.log["outcome"] == "unsplittable").sum())
    counts += f" ({vain} did not come apart)" if vain else ""
    after = one.iteration.after
    moved = f"{len(before.states)} -> {len(after.states)} clusters"
    score = f"mean score {mean_score(before):.3f} -> {mean_score(after):.3f}"
    lost = f"Unassigned {unassigned_cells(before):,} -> {unassigned_cells(after):,} cells"
    end = "" if one.stop_reason is None else f"; ends: {one.stop_reason}"
    return f"Iteration {one.number}: {counts or 'nothing to do'}; {moved}; {score}; {lost}{end}"


def _summary(opened: Opened, rounds: list[Round]) -> dict[str, Any]:
    """What was decided, in numbers."""
    states = [opened.scored, *(one.iteration.after for one in rounds)]
    entries = [summary(before, one) for one, before in zip(rounds, states, strict=False)]
    return {"iterations": entries, "stop_reason": rounds[-1].stop_reason}


def _places(request: RefineRequest, text: str) -> tuple[str, ...]:
    found = () if request.output_dir is None else (f"Results: {request.output_dir}",)
    return (*((text,) if text else ()), *found)


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
