"""The page in a browser, without a network; where no Chromium is installed these are skipped."""

from __future__ import annotations

import time
from pathlib import Path

import axe_core_python
import pytest
from msgspec.structs import replace

from embcheck.reports import html

pytestmark = pytest.mark.slow
WIDTHS = (1280, 390)
MODES = ("light", "dark")
AXE = next(Path(axe_core_python.__file__).parent.rglob("axe.min.js"))
OPEN = "for (const one of document.querySelectorAll('details')) one.open = true"
UNDRAWN = """[...document.querySelectorAll('svg.chart, svg.range, img.heat')].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width < 20 || box.height < 8 || (one.complete === false);
}).length"""
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def address(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(chromium, address):
    """Opens the page offline; every request but the file's own, console message, error and dialog is taken note of."""
    contexts = []

    def opened(*, width=1280, mode="light", bypass=False):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=mode, offline=True, bypass_csp=bypass
        )
        contexts.append(context)
        tab = context.new_page()
        tab.trouble = []
        tab.on("request", lambda one: one.url.startswith(("data:", address)) or tab.trouble.append(one.url))
        tab.on("console", lambda one: tab.trouble.append(one.text))
        tab.on("pageerror", lambda one: tab.trouble.append(str(one)))
        tab.on("dialog", lambda one: (tab.trouble.append(one.message), one.dismiss()))
        tab.goto(address)
        return tab

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("mode", MODES)
def test_the_page_opens_offline(opened, width, mode):
    """Nothing is requested or said on the console, no token runs, every picture is drawn, nothing overflows."""
    tab = opened(width=width, mode=mode)
    tab.evaluate(OPEN)
    tab.evaluate(FRAMES)
    assert tab.locator("svg.chart").count() > 40
    assert tab.evaluate(UNDRAWN) == 0
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert tab.trouble == []


@pytest.mark.parametrize("width", WIDTHS)
def test_plots_have_their_axis(opened, width):
    """Wide or narrow, the numbers of a section's axis stand over its plots, from end to end of them."""
    tab = opened(width=width)
    axis, plot = (tab.locator(f".forest svg.{name}").first.bounding_box() for name in ("axis", "range"))
    assert axis["height"] > 10
    assert abs(axis["x"] - plot["x"]) < 1
    assert abs(axis["width"] - plot["width"]) < 1
    assert axis["y"] < plot["y"]


def test_the_page_draws_in_three_seconds(opened):
    """From opening to the second frame it takes less than three seconds, at the best of three times."""
    tab = opened()
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        tab.reload()
        tab.evaluate(FRAMES)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 3


def test_hover_and_keys_name_the_token(opened):
    """Pointing at a mark, or stepping to it with the arrow keys, says which token it is; Escape hides that."""
    tab = opened()
    tip = tab.locator("#tip")
    assert tip.is_hidden()
    mark = tab.locator("svg.chart [data-tip*='queen']:visible").first
    said = mark.get_attribute("data-tip")
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    assert tip.text_content() == said
    tab.keyboard.press("Escape")
    assert tip.is_hidden()
    tab.locator("svg.chart:visible").first.focus()
    tab.keyboard.press("ArrowRight")
    first = tab.locator("svg.chart:visible").first.locator("[data-tip]").first
    assert tip.text_content() == first.get_attribute("data-tip")
    tab.locator("img.heat").first.focus()
    tab.keyboard.press("ArrowDown")
    assert ">" in tip.text_content()
    assert tab.trouble == []


def test_the_filter_leaves_what_is_asked_for(opened):
    """By verdict or by text only the properties that fit stay, in summary, contents and sections alike."""
    tab = opened()
    shown = "section[data-marks]:visible"
    all_of_them = tab.locator(shown).count()
    tab.locator(".find select").select_option("inconclusive")
    kept = tab.locator(shown).count()
    assert 0 < kept < all_of_them
    assert tab.locator(".summary tr[data-marks]:visible").count() == kept
    assert tab.locator(f"{shown} .forest tbody:visible:not([data-marks~=inconclusive])").count() == 0
    tab.locator(".find select").select_option("")
    tab.locator(".find input").fill("QUEEN hub")
    assert tab.locator(shown).count() < all_of_them
    assert "hubness" in tab.locator(shown).first.inner_text()
    assert tab.locator(".find output").inner_text() == f"{tab.locator(shown).count()} of {all_of_them} properties"
    assert tab.trouble == []


def test_printing_opens_what_is_closed(opened):
    """On paper every section is open; on the screen they are as they were."""
    tab = opened()
    closed = "document.querySelectorAll('details:not([open])').length"
    before = tab.evaluate(closed)
    assert before > 0
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(closed) == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(closed) == before


@pytest.mark.parametrize("mode", MODES)
def test_no_accessibility_fault(chromium, measured, tmp_path, mode):
    """The checks of axe find no violation on a page with everything open."""
    kept = ("analogy_rank", "ascii_anti_alignment", "hubness", "plural_direction_consistency")
    (model,) = measured.models
    chosen = {result.id: result for result in model.results if result.id in kept}
    html.write(replace(measured, models=(replace(model, results=tuple(chosen.values())),)), tmp_path / "report.html")
    context = chromium.new_context(color_scheme=mode, offline=True, bypass_csp=True)
    tab = context.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.evaluate(OPEN)
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    context.close()
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
