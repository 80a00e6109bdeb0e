"""The pages, opened in a real browser: whole, quiet, safe, and usable without a mouse."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctr_engine.analysis import annotate
from ctr_engine.comparison.compare import compare
from ctr_engine.expression import ExpressionParams, read_expression
from ctr_engine.io.runs import read_run
from ctr_engine.profiles import AnalysisParams, ReportParams
from ctr_engine.reporting.comparison_page import comparison_page
from ctr_engine.reporting.pages import audit_cards, report_page, review_checklist
from ctr_engine.reporting.report import Report, report_figures
from tests.bad_inputs import good_sample
from tests.builders import marker_map
from tests.cli.test_annotate import ctr

CHROMIUM = shutil.which("chromium")
REQUIRED = "CTR_BROWSER"
"""Set by CI: without a browser the tests fail there; elsewhere they are skipped."""
EVIL = '<img src=x onerror="alert(1)"><script>alert(2)</script>{{ 7*7 }}$x_1$'
MAP = {
    "Epithelium": {"markers": ["Pan-CK", "E-cadherin"], "anti_markers": ["CD45"]},
    EVIL: {
        "markers": ["CD45"],
        "subtypes": {"T Cells": {"markers": ["CD3", EVIL]}, "B Cells": {"markers": ["CD20"]}},
    },
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None and REQUIRED not in os.environ:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report() -> Report:
    adata = good_sample()
    view = read_expression(adata, ExpressionParams())
    ids = [("a", EVIL, "c")[i % 3] for i in range(adata.n_obs)]
    result = annotate(view, marker_map(MAP), AnalysisParams(), clusters=ids)
    assert result.decider is not None
    return Report(EVIL, result.tables, result.decider, ReportParams(expand_markers=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    good_sample().write_h5ad(folder / "sample.h5ad")
    (folder / "map.json").write_text(marker_map_text())
    first = ("annotate", folder / "sample.h5ad", "--marker-map", folder / "map.json")
    assert ctr(*first, "--out", folder / "a").exit_code == 0
    again = ("annotate", folder / "a" / "coarse_clusters.h5ad", "--annotation-only")
    strict = ("--gating-params", '{"min_enrichment": {"0": 50}}', "--out", folder / "b")
    assert ctr(*again, *strict).exit_code == 0
    return folder / "a", folder / "b"


def marker_map_text() -> str:
    import json

    return json.dumps(MAP)


@pytest.fixture(scope="module", params=["audit_cards", "review_checklist", "report", "compare"])
def page(request, report, runs, browser, tmp_path_factory) -> Iterator[object]:
    """Each page, opened; what it asked for and what it said stand in ``seen``."""
    figures = report_figures(report.tables, {})
    make = {
        "audit_cards": lambda: audit_cards(report),
        "review_checklist": lambda: review_checklist(report),
        "report": lambda: report_page(report, figures),
        "compare": lambda: comparison_page(compare(*map(read_run, runs))),
    }
    file = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    file.write_text(make[request.param](), encoding="utf-8")
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.seen = []
    opened.on("console", lambda message: opened.seen.append(f"console: {message.text}"))
    opened.on("pageerror", lambda error: opened.seen.append(f"error: {error}"))
    opened.on("dialog", lambda dialog: opened.seen.append(f"dialog: {dialog.message}"))
    opened.on("request", lambda request: opened.seen.append(request.url[:60]))
    opened.goto(file.as_uri())
    opened.kind = request.param
    yield opened
    opened.close()


def test_the_page_asks_for_nothing_and_says_nothing(page):
    allowed = ("file://", "data:")
    assert [text for text in page.seen if not text.startswith(allowed)] == []
    assert len([text for text in page.seen if text.startswith("file://")]) == 1


def test_every_image_is_drawn_and_described(page):
    images = page.evaluate(
        "[...document.images].map(i => [i.complete && i.naturalWidth > 50, i.alt.length > 10])"
    )
    assert all(drawn and described for drawn, described in images)
    assert (len(images) > 0) == (page.kind != "review_checklist")


def test_names_are_text_and_nothing_else(page):
    assert page.locator("script").count() == 0
    assert page.locator("img[onerror]").count() == 0
    assert "49$x_1$" not in page.inner_text("body")
    assert EVIL in page.inner_text("body")


def test_the_page_reads_without_a_script(page):
    policy = page.get_attribute("meta[http-equiv=Content-Security-Policy]", "content")
    assert policy.startswith("default-src 'none'")
    assert page.locator("h1").first.inner_text()
    assert page.get_attribute("html", "lang") == "en"


def test_everything_is_reached_with_the_keyboard(page):
    page.locator("body").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reachable = ("a", "summary", "input", "[tabindex='0']")
    wanted = page.locator(", ".join(f"{kind}:visible" for kind in reachable)).count()
    reached = 1
    while reached < wanted + 1:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        reached += 1
    assert reached == wanted


def test_details_open_with_the_keyboard(page):
    if page.kind in ("review_checklist", "compare"):
        assert page.locator("details").count() == 0
        return
    first = page.locator("details").first
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert first.evaluate("d => d.open")


def test_tables_have_captions_and_heads(page):
    bare = (
        "[...document.querySelectorAll('table')].filter(t => !t.caption || !t.querySelector('th'))"
    )
    assert page.evaluate(f"{bare}.length") == 0


def test_nothing_is_wider_than_a_narrow_screen(page):
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1200, "height": 900})


def test_text_has_enough_contrast():
    css = Path("ctr_engine/reporting/templates/style.css").read_text()
    colours = dict(
        part.strip().split(": ")
        for part in css[css.index("{") + 1 : css.index("}")].split(";")
        if part.strip()
    )
    for name in ("--ink", "--soft", "--good", "--bad", "--blue"):
        for ground in ("--paper", "--tint"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.1)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
