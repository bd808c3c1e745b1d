"""The pictures of one result, and a picture as a file of its own, whose colours no page gives."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.errors import NotMeasurable, UsageError
from embcheck.reports import json_file
from embcheck.reports.html import images, palettes, pictures

if TYPE_CHECKING:
    from embcheck.checks.check import Result
    from embcheck.reports.html.pictures import Figure

_PIXELS = 2.0  # of a PNG to one of the SVG, for screens and print
_HEAT = re.compile(r'src="(?P<image>data:image/png;base64,[A-Za-z0-9+/=]+)"')
_HEAT_SIZE = 330


def figures(result: Result) -> list[Figure]:
    """All pictures that a page draws of the result, that of its measure first, each under the check's name."""
    images.need_library()
    if result.shape is None:
        return []
    shown = pictures.Shown(result.model, 0, result.shape, result.record)
    drawn = [*pictures.draw_each(shown), *pictures.draw_together([shown])]
    return [replace(figure, title=f"{result.check.label}, {figure.title}") for figure in drawn]


def figure(result: Result, number: int) -> Figure:
    """One of them."""
    drawn = figures(result)
    if not drawn:
        raise NotMeasurable(f"{result.check.label} has no picture: {result.reason or 'it is no result of a run'}")
    if not 0 <= number < len(drawn):
        raise UsageError(f"{result.check.label} has {len(drawn)} pictures, numbered from 0; got {number}")
    return drawn[number]


def save(figure: Figure, path: str | Path, theme: str) -> None:
    """Write a picture as SVG or PNG, whole or not at all."""
    path = Path(path)
    if path.suffix not in {".svg", ".png"}:
        raise UsageError(f"figure {str(path)!r}: give a name that ends in .svg or .png")
    if theme not in {"light", "dark"}:
        raise UsageError(f"theme must be 'light' or 'dark', got {theme!r}")
    json_file.check_writable(path)
    svg = _alone(figure, palettes()[theme])
    files.write(path, svg if path.suffix == ".svg" else images.need_library().svg_to_png(svg, scale=_PIXELS))


def _alone(figure: Figure, colours: dict[str, str]) -> str:
    """The picture as an SVG file: on paper of its own, and every colour a number."""
    body = str(figure.body)
    if heat := _HEAT.search(body):
        size = f'width="{_HEAT_SIZE}" height="{_HEAT_SIZE}"'
        body = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_HEAT_SIZE} {_HEAT_SIZE}">'
            f'<image {size} style="image-rendering:pixelated" href="{heat["image"]}"/></svg>'
        )
    start = body.index(">") + 1
    paper = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    return re.sub(r"var\(--(\w+)\)", lambda name: colours[name[1]], body[:start] + paper + body[start:])
