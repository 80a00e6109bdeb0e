"""Which clusters a person should look at, why, and what would help."""

from dataclasses import dataclass

from ctr_engine.profiles import ReportParams
from ctr_engine.reporting.explain import Change, Explanation
from ctr_engine.reporting.reasons import STOPS


@dataclass(frozen=True)
class Finding:
    """One reason to look at a cluster, and what would help."""

    kind: str
    text: str
    help: str


@dataclass(frozen=True)
class Review:
    """A cluster with everything that was found about it."""

    explanation: Explanation
    findings: tuple[Finding, ...]


def reviews(explanations: tuple[Explanation, ...], params: ReportParams) -> list[Review]:
    """Judge every cluster, the least supported first, larger clusters before smaller ones."""
    judged = [Review(one, tuple(_findings(one, params))) for one in explanations]
    return sorted(judged, key=lambda r: (r.explanation.support, -r.explanation.n_cells))


def _findings(one: Explanation, params: ReportParams) -> list[Finding]:
    found = _stop(one)
    if one.path and one.support < params.review_support:
        parts = f"stability {one.stability:.0%}, agreement {one.agreement:.0%}"
        text = f"support is {one.support:.0%}: {parts}"
        found.append(Finding("low support", text, "Perhaps the map lacks what these cells are."))
    if one.mixed is not None:
        advice = "Doublets, or segmentation that takes in a neighbour; look at the image."
        found.append(Finding("mixed lineage", one.mixed, advice))
    if one.robustness < params.review_robustness:
        text = f"{1 - one.robustness:.0%} of small changes of the thresholds give another label"
        found.append(Finding("low robustness", text, "ctr explain shows which threshold decides."))
    if one.path and one.agreement < params.review_agreement:
        text = f"only {one.agreement:.0%} of its cells look most like this cell type themselves"
        found.append(Finding("low agreement", text, "The cluster may be mixed: try --resolution."))
    change = one.smallest_change
    if change is not None and abs(change.change) <= params.near_miss_margin:
        found.append(Finding("near miss", sentence(change), f"Compare with {change.label}."))
    return found + _markers(one)


def _stop(one: Explanation) -> list[Finding]:
    kinds = {
        "no_root_passed": ("unassigned", "Lower that threshold, or add the marker or its alias."),
        "ambiguous_root": ("ambiguous root", "Add markers or anti-markers that tell them apart."),
        "ambiguous_siblings": ("ambiguous siblings", "Lower min_gap, or add markers."),
        "no_child_passed": ("stops early", "Look at the gates of the cell types below."),
    }
    if one.stop_reason not in kinds:
        return []
    kind, advice = kinds[one.stop_reason]
    text = one.reason if one.stop_reason == "no_root_passed" else STOPS[one.stop_reason]
    return [Finding(kind, text, advice)]


def _markers(one: Explanation) -> list[Finding]:
    """Findings about the markers of the label itself."""
    chosen = [c for step in one.steps for c in step.candidates if c.path == one.path]
    found = []
    for candidate in chosen:
        against = [m.marker for m in candidate.markers if m.role == "anti_marker" and m.on]
        if against:
            text = f"anti-markers of {candidate.label} are on: {', '.join(against)}"
            found.append(Finding("anti-marker on", text, "Doublets, spill-over, or a wrong label."))
        if candidate.missing_markers:
            text = f"not on the panel: {', '.join(candidate.missing_markers)}"
            found.append(Finding("markers missing", text, "Add an alias if the panel has them."))
    return found


def sentence(change: Change) -> str:
    """Say a change of a threshold in words."""
    label = change.path or change.label
    return f"{change.threshold} at {change.needed:g} instead of {change.current:g}: {label}"
