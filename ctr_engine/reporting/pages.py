"""Pages that need nothing but a browser: one file each, no network, no script.

Text goes through Jinja2 with escaping on; figures are embedded as PNG.
"""

import base64
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ctr_engine.reporting.explain import Candidate, Explanation
from ctr_engine.reporting.reasons import STOPS
from ctr_engine.reporting.report import FIGURES, Report
from ctr_engine.reporting.review import reviews, sentence

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

_RESOLUTION = 110


def audit_cards(report: Report) -> str:
    """Give a page with one card for each cluster: its label and everything behind it."""
    return _rendered("audit_cards.html.j2", title=f"Audit cards: {report.name}", **_cards(report))


def review_checklist(report: Report) -> str:
    """Give a page that lists the clusters that a person should look at, the most urgent first."""
    title = f"Review checklist: {report.name}"
    return _rendered("review_checklist.html.j2", title=title, **_checklist(report))


def report_page(report: Report, figures: Mapping[str, Callable[[], "Figure"]]) -> str:
    """Give a page with all figures, the checklist and the cards."""
    pictures = [(name, FIGURES[name], data_uri(draw())) for name, draw in figures.items()]
    return _rendered(
        "report.html.j2",
        title=f"Report: {report.name}",
        figures=pictures,
        **_cards(report),
        **_checklist(report),
    )


def page(template: str, filters: Mapping[str, Callable[..., str]], **content: Any) -> str:
    """Render another page of this house, with filters of its own."""
    environment = _environment()
    environment.filters |= dict(filters)
    return environment.get_template(template).render(**content)


def data_uri(figure: "Figure", resolution: int = _RESOLUTION) -> str:
    """PNG of a figure, as the address of an image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=resolution)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _cards(report: Report) -> dict[str, Any]:
    return {
        "explanations": report.explanations,
        "pictures": {one.cluster_id: _picture(one) for one in report.explanations},
        "all_markers": report.params.expand_markers,
    }


def _checklist(report: Report) -> dict[str, Any]:
    judged = reviews(report.explanations, report.params)
    return {
        "reviews": [review for review in judged if review.findings],
        "fine": [review.explanation for review in judged if not review.findings],
        "n_cells": sum(one.n_cells for one in report.explanations),
        "places": {one.cluster_id: i for i, one in enumerate(report.explanations)},
    }


def shown_candidate(one: Explanation) -> Candidate | None:
    """Cell type whose markers a card shows: the label, else the best that was tried last."""
    candidates = [c for step in one.steps for c in step.candidates]
    own = [c for c in candidates if c.path == one.path]
    tried = own or list(one.steps[-1].candidates)
    with_markers = [c for c in tried if c.markers]
    return with_markers[0] if with_markers else None


def _picture(one: Explanation) -> tuple[str, str] | None:
    """Markers of the label as an image, and the same in words."""
    from ctr_engine.reporting.card_figure import marker_bars

    candidate = shown_candidate(one)
    if candidate is None:
        return None
    rows = [
        {
            "marker": part.marker,
            "role": part.role,
            "enrichment": part.enrichment,
            "positive_fraction": part.positive_fraction,
            "on": part.on,
        }
        for part in candidate.markers
    ]
    words = "; ".join(
        f"{part.marker} {part.enrichment:+.1f} SD, {part.positive_fraction:.0%} positive"
        for part in candidate.markers
    )
    title = f"Markers of {candidate.label}"
    return data_uri(marker_bars(rows, title)), f"{title}: {words}"


def _rendered(template: str, **content: Any) -> str:
    return page(template, {}, **content)


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ctr_engine.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "share": _share, "sentence": sentence}
    environment.globals["stops"] = STOPS
    return environment


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
