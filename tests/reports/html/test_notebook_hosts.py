"""A long run in a notebook: under what hosts say of tables and svg elements, each rule one that broke its rows."""

from __future__ import annotations

import re

import numpy as np
import pytest

import embcheck
from embcheck import EmbeddingTable, Estimate, NotMeasurable, above, claim

HOSTS = {
    "lab": """.host table { table-layout: fixed; margin-left: auto; border: none }
        .host svg { max-width: 100%; height: auto }
        .host td, .host th, .host tr { vertical-align: middle; text-align: right; max-width: none }
        .host tbody tr:nth-child(odd) { background: ODD } .host tbody tr { color: INK }""",
    "classic": """svg:not(:root) { overflow: hidden } .host table { color: black; table-layout: fixed; font-size: 12px }
        .host th { font-weight: bold; text-align: right; white-space: nowrap } .host summary { display: block }""",
    "vscode": """#container .host table, #container .host th, #container .host td { border: none; text-align: right }
        #container .host thead, #container .host tr:nth-child(even) { background: ODD }""",
}
MARKS = {"lab": "data-jp-theme-light={light}", "classic": "", "vscode": "class=vscode-{theme}"}
PAGE = """<!doctype html><style>{style} .error {{ color: rgb(1, 2, 3) }}</style><body {mark}>
<p id=outside class=error><div id=container><div class=host>{fragment}</div></div>"""
OPEN = "for (const one of document.querySelectorAll('details')) one.open = true"
MEASURED = """() => {
  const linear = (c) => c <= 0.04 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (element) => {
    const own = getComputedStyle(element).backgroundColor;
    return own.startsWith("rgba") ? paper(element.parentElement) : own;
  };
  const contrast = (element) => {
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(paper(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const isOverNext = (cell) => {
    const inside = document.createRange();
    inside.selectNodeContents(cell);
    const next = cell.nextElementSibling;
    return next && inside.getBoundingClientRect().right > next.getBoundingClientRect().left + 1;
  };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const box = (element) => element.getBoundingClientRect();
  const texts = ["th", "td", "caption", ".v", ".quiet", "summary"].map((name) => ".embcheck " + name);
  return {
    heights: all("svg.range").map((svg) => box(svg).height),
    widths: all("svg.range").map((svg) => box(svg).width),
    clipped: all(".embcheck svg").filter((svg) => getComputedStyle(svg).overflow !== "visible").length,
    rows: all(".embcheck tbody tr").map((row) => box(row).height),
    overlaps: all(".embcheck tr > *").filter(isOverNext).length,
    contrast: Math.min(...all(texts.join()).map(contrast)),
    dark: luminance(getComputedStyle(document.querySelector(".embcheck")).backgroundColor) < 0.5,
    alignment: [...new Set(all(".embcheck th, .embcheck td").map((cell) => getComputedStyle(cell).textAlign))],
    outside: getComputedStyle(document.querySelector("#outside")).color,
  };
}"""


@pytest.fixture(scope="module")
def long_run():
    @claim(above(0.5), number=tuple(range(14)))
    def toys_with_a_rather_long_name(table, number):
        """Toys of which two are refuted."""
        return Estimate.from_units([number / 20 + 0.45 + i / 100 for i in range(4)], unit="units of some long kind")

    @claim(above(0.5))
    def absent(table):
        """Something is never there."""
        raise NotMeasurable("no toys")

    table = EmbeddingTable.from_arrays(np.eye(4, 3) + 1, list("abcd"))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CI", raising=False)
        return embcheck.check(table, properties=[toys_with_a_rather_long_name, absent])


@pytest.mark.slow
@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize(
    ("host", "theme"),
    [("lab", "light"), ("lab", "dark"), ("classic", "light"), ("vscode", "light"), ("vscode", "dark")],
)
def test_a_run_is_legible_in_every_notebook(chromium, long_run, host, theme, system):
    """Light and dark as the host says, not the system: rows of a line or two, nothing over anything, nothing leaks."""
    odd, ink = ("#eee", "#000") if theme == "light" else ("#222", "#fff")
    style = HOSTS[host].replace("ODD", odd).replace("INK", ink)
    mark = MARKS[host].format(theme=theme, light=str(theme == "light").lower())
    tab = chromium.new_page(viewport={"width": 1000, "height": 900}, color_scheme=system)
    tab.set_content(PAGE.format(style=style, mark=mark, fragment=long_run._repr_html_()))
    tab.evaluate(OPEN)
    shown = tab.evaluate(MEASURED)
    tab.close()
    assert set(shown["heights"]) == {18}
    assert min(shown["widths"]) > 100
    assert max(shown["rows"]) < 60
    assert (shown["overlaps"], shown["clipped"]) == (0, 0)
    assert shown["contrast"] > 4.5
    assert shown["dark"] == (theme == "dark")
    assert shown["alignment"] == ["left"]
    assert shown["outside"] == "rgb(1, 2, 3)"


def test_a_long_run_shows_what_failed_and_folds_the_rest(long_run):
    """Of many rows those that fail stand first; what passes and what was not measured is folded, and counted."""
    at_once, *folded = re.split(r"<details", long_run._repr_html_())
    assert at_once.count('<th scope="row">') == 2
    titles = [re.search(r"<summary>(.*?)</summary>", part)[1] for part in folded]
    assert titles == ["12 passed", "1 not measured"]
    assert [part.count('<th scope="row">') for part in folded] == [12, 1]
