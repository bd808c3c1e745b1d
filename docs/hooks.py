"""What the site needs beyond its pages: pictures of the demo model, and formulas of docstrings as MathML."""

from __future__ import annotations

import html
import logging
import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

    from embcheck.checks.record import Report
    from embcheck.reports.html.pictures import Figure

_MATH = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)
_SECTION = re.compile(r"^## (?P<property>\w+)\n\n.+?\n\n", re.DOTALL | re.MULTILINE)
_COLOUR = re.compile(r"--([\w-]+): (#[0-9a-f]{6})")
_FIRST = "positive_cosine_bias"
TONES = ("light", "dark")


# --- pictures ---------------------------------------------------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Check the demo model and add its pictures to the site: one a property, for light and dark pages."""
    from mkdocs.structure.files import File

    for name, figure in _of_demo().items():
        for tone in TONES:
            files.append(File.generated(config, _path(name, tone), content=coloured(str(figure.body), tone)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Put each property's picture below its claim, and one on the first page."""
    figures = _of_demo()
    if page.file.src_uri == "index.md" and _FIRST in figures:
        return markdown.replace("\n| verdict |", f"\n{shown(_FIRST, figures[_FIRST])}\n\n| verdict |", 1)
    return placed(markdown, figures) if page.file.src_uri == "properties.md" else markdown


@cache
def _of_demo() -> Mapping[str, Figure]:
    """The pictures of the demo model; none where it, or what draws, is not installed."""
    import embcheck
    from embcheck.reports.html import images

    try:
        images.need_library()
        return pictures(embcheck.check("demo").report)
    except embcheck.EmbcheckError as error:
        logging.getLogger("mkdocs.hooks").warning("no pictures: %s", error)
        return {}


def pictures(report: Report) -> dict[str, Figure]:
    """By property, the first drawing of its first result that has one, or that of all its results together."""
    from embcheck.reports.html.pictures import Shown, draw_each, draw_together

    (model,) = report.models
    drawn: dict[str, Figure] = {}
    by_property: dict[str, list[Shown]] = {}
    for result in model.results:
        if result.estimate is not None:
            by_property.setdefault(result.id, []).append(Shown(result.label, 0, model.shape or (0, 1), result))
    for name, results in by_property.items():
        if figure := next(_drawings(results, draw_each, draw_together), None):
            drawn[name] = figure
    return drawn


def _drawings(results: list[Any], draw_each: Any, draw_together: Any) -> Iterator[Figure]:
    """Those that are drawings: an image of cells can't change its colours with the page."""
    for figures in (*map(draw_each, results), draw_together(results)):
        yield from (figure for figure in figures if str(figure.body).startswith("<svg"))


def coloured(svg: str, tone: str) -> str:
    """A drawing by itself: the colours that it takes from a page are written into it."""
    from embcheck.reports.html import asset

    light, dark = asset("palette.css").split("@media", 1)
    colours = dict(_COLOUR.findall(light)) | (dict(_COLOUR.findall(dark)) if tone == "dark" else {})
    return re.sub(r"var\(--([\w-]+)\)", lambda match: colours[match[1]], svg)


def placed(markdown: str, figures: Mapping[str, Figure]) -> str:
    """The page with each picture behind the first paragraph of its section."""

    def with_picture(section: re.Match[str]) -> str:
        name = section["property"]
        return section[0] + (f"{shown(name, figures[name])}\n\n" if name in figures else "")

    return _SECTION.sub(with_picture, markdown)


def shown(name: str, figure: Figure) -> str:
    """Both pictures, of which the theme shows one, above what they are."""
    said = html.escape(f"{figure.title}: {figure.caption}")
    images = "".join(f'<img src="{_path(name, tone)}#only-{tone}" alt="{said}" loading="lazy">' for tone in TONES)
    return f"<figure>{images}<figcaption>The demo model. {said}</figcaption></figure>"


def _path(name: str, tone: str) -> str:
    return f"pictures/{name}-{tone}.svg"


# --- formulas ---------------------------------------------------------------------------------------------------------


def on_page_content(content: str, **_: object) -> str:
    r"""Replace each ``:math:`x^2``` in the HTML of a page.

    ``\bigl`` and its like set the size of a bracket, which MathML finds by itself.
    """
    from latex2mathml.converter import convert

    return _MATH.sub(lambda found: convert(re.sub(r"\\[bB]ig+[lr]?", "", html.unescape(found[1]))), content)
