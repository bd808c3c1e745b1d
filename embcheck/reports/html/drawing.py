"""The pictures of one result, and a picture as a file of its own, whose colours no page gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.checks.picture import Picture
from embcheck.errors import NotMeasurable, UsageError
from embcheck.reports import json_file
from embcheck.reports.html import images, palettes, pictures

if TYPE_CHECKING:
    from embcheck.checks.check import Result

_PIXELS = 2.0  # of a PNG to one of the SVG, for screens and print
_HEAT = re.compile(r'src="(?P<image>data:image/png;base64,[A-Za-z0-9+/=]+)"')
_HEAT_SIZE = 330


def drawn(result: Result) -> list[Picture]:
    """All that a page draws of the result, that of its measure first, each under the check's name; tables among it."""
    images.need_library()
    if result.shape is None:
        return []
    shown = pictures.Shown(result.model, 0, result.shape, result.record)
    figures = [*pictures.draw_each(shown), *pictures.draw_together([shown])]
    return [Picture(f"{result.check.label}, {figure.title}", figure.caption, figure.body) for figure in figures]


def picture(result: Result, number: int) -> Picture:
    """One of them that is no table."""
    drawings = [each for each in drawn(result) if each.body.startswith(("<svg", "<img"))]
    if not drawings:
        raise NotMeasurable(f"{result.check.label} has no picture: {result.reason or 'it is no result of a run'}")
    if not 0 <= number < len(drawings):
        raise UsageError(f"{result.check.label} has {len(drawings)} pictures, numbered from 0; got {number}")
    return drawings[number]


def save(picture: Picture, path: str | Path, theme: str) -> None:
    """Write a picture as SVG or PNG, whole or not at all."""
    path = Path(path)
    if path.suffix not in {".svg", ".png"}:
        raise UsageError(f"picture {str(path)!r}: give a name that ends in .svg or .png")
    if theme not in {"light", "dark"}:
        raise UsageError(f"theme must be 'light' or 'dark', got {theme!r}")
    json_file.check_writable(path)
    svg = _alone(picture, palettes()[theme])
    files.write(path, svg if path.suffix == ".svg" else images.need_library().svg_to_png(svg, scale=_PIXELS))


def _alone(picture: Picture, colours: dict[str, str]) -> str:
    """The picture as an SVG file: on paper of its own, and every colour a number."""
    body = str(picture.body)
    if heat := _HEAT.search(body):
        size = f'width="{_HEAT_SIZE}" height="{_HEAT_SIZE}"'
        body = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_HEAT_SIZE} {_HEAT_SIZE}">'
            f'<image {size} style="image-rendering:pixelated" href="{heat["image"]}"/></svg>'
        )
    start = body.index(">") + 1
    paper = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    return re.sub(r"var\(--(\w+)\)", lambda name: colours[name[1]], body[:start] + paper + body[start:])
