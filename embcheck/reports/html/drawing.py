"""The pictures of one result, and a picture as a file of its own, whose colours no page gives."""

from __future__ import annotations

import json
import math
import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from embcheck import files
from embcheck.checks.picture import Picture
from embcheck.errors import NotMeasurable, UsageError
from embcheck.reports import json_file
from embcheck.reports.html import images, palettes, pictures
from embcheck.reports.text import columns, inert, wrap
from embcheck.reports.wording import outcome_text
from embcheck.text import counted

if TYPE_CHECKING:
    from embcheck.checks.check import Result

_PIXELS = 2.0  # of a PNG to one of the SVG, for screens and print
_HEAT = re.compile(
    r'src="(?P<image>data:image/png;base64,[A-Za-z0-9+/=]+)" data-names="(?P<names>[^"]*)"'
    r'(?: data-columns="(?P<columns>[^"]*)")?'
)
_SIZE = {name: re.compile(rf'<svg [^>]*\b{name}="([\d.]+)') for name in ("width", "height")}
_HEAT_SIZE, _LEAST, _MARGIN, _GAP = 330, 380, 14, 8
_FONT, _SMALL = "Arial, sans-serif", 8
_CHARACTER, _LEADING = 0.52, 1.35  # width of a character and height of a line, in sizes of the font


def drawn(result: Result) -> list[Picture]:
    """All that a page draws of the result, that of its measure first, each under the check's name; tables among it."""
    images.need_library()
    if result.shape is None:
        return []
    record = result.record
    shown = pictures.Shown(result.model, 0, result.shape, record)
    figures = [*pictures.draw_each(shown), *pictures.draw_together([shown])]
    about, missed = result.check.label, outcome_text(record)
    claim = f"{record.sentence} ({missed})" if missed else record.sentence
    return [Picture(f"{about}, {figure.title}", figure.caption, figure.body, claim) for figure in figures]


def drawings(result: Result) -> list[Picture]:
    """Those that are no tables."""
    return [each for each in drawn(result) if each.body.startswith(("<svg", "<img"))]


def picture(result: Result, number: int) -> Picture:
    """One of the drawings."""
    each = drawings(result)
    if not each:
        raise NotMeasurable(f"{result.check.label} has no picture: {result.reason or 'it is no result of a run'}")
    if not 0 <= number < len(each):
        raise UsageError(f"{result.check.label} has {counted(len(each), 'pictures')}, numbered from 0; got {number}")
    return each[number]


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
    """The picture as an SVG file: what is claimed and of which model above it, what it shows below, on its own paper.

    Every colour is a number.
    """
    body = str(picture.body)
    if heat := _HEAT.search(body):
        body = _with_names(heat)
    wide, high = (float(_SIZE[name].search(body)[1]) for name in ("width", "height"))  # type: ignore[index] # ours
    across = max(wide, _LEAST)
    parts, top = [], float(_MARGIN)
    for said, size, style in ((picture.claim, 14, "ink"), (picture.title, 12, "muted")):
        markup, top = _written(said, top, across, size, style)
        parts.append(markup)
    parts.append(body.replace("<svg ", f'<svg x="{_MARGIN}" y="{top + _GAP:.1f}" ', 1))
    markup, top = _written(picture.caption, top + high + 2 * _GAP, across, 12, "muted")
    size_of = f'width="{across + 2 * _MARGIN:.0f}" height="{top + _MARGIN:.0f}"'
    paper = '<rect width="100%" height="100%" fill="var(--paper)"/>'
    whole = f'<svg xmlns="http://www.w3.org/2000/svg" {size_of}>{paper}{"".join(parts)}{markup}</svg>'
    return re.sub(r"var\(--(\w+)\)", lambda name: colours[name[1]], whole)


def _written(said: str, top: float, across: float, size: int, style: str) -> tuple[str, float]:
    """Lines of text that begin below ``top``, and where they end, in pixels."""
    lines = wrap(inert(said).split(" "), width=int(across / (_CHARACTER * size)), gap=" ")
    markup = Markup()
    for line in lines:
        top += _LEADING * size
        markup += Markup('<text x="{}" y="{:.1f}" font-family="{}" font-size="{}" fill="var(--{})">{}</text>').format(
            _MARGIN, top, _FONT, size, style, line
        )
    return str(markup), top


def _with_names(heat: re.Match[str]) -> str:
    """A heatmap with the names of its rows to the left and of its columns below, of as many as there is room for."""
    rows = json.loads(unescape(heat["names"]))
    across = json.loads(unescape(heat["columns"])) if heat["columns"] else rows
    top, side = _SMALL / 2, _CHARACTER * _SMALL * max(columns(name) for name in (*rows, *across)) + _GAP
    names = Markup()
    for labels, is_column in ((rows, False), (across, True)):
        cell = _HEAT_SIZE / len(labels)
        for i in range(0, len(labels), math.ceil(_SMALL / cell)):
            at = (i + 0.5) * cell
            x, y = (side + at, top + _HEAT_SIZE + _GAP / 2) if is_column else (side - _GAP / 2, top + at)
            turn = Markup(' transform="rotate(-90 {:.1f} {:.1f})"').format(x, y) if is_column else ""
            names += Markup(
                '<text x="{:.1f}" y="{:.1f}"{} font-family="{}" font-size="{}" fill="var(--muted)" text-anchor="end" '
                'dominant-baseline="central">{}</text>'
            ).format(x, y, turn, _FONT, _SMALL, labels[i])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_HEAT_SIZE + side:.1f}" height="{_HEAT_SIZE + side:.1f}">'
        f'<image x="{side:.1f}" y="{top}" width="{_HEAT_SIZE}" height="{_HEAT_SIZE}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{heat["image"]}"/>{names}</svg>'
    )
