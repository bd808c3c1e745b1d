"""Pictures as markup: Vega-Lite drawn as static SVG, and large heatmaps as an image of one pixel a cell.

No script runs, colours follow the page (hue says the sign and opacity the size, so that one image serves light and dark
pages), and each mark or cell says what it is on hover.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from markupsafe import Markup, escape

from embcheck.errors import UsageError
from embcheck.reports.html.vega import token
from embcheck.reports.text import inert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.reports.html.vega import Spec

_SVG = "{http://www.w3.org/2000/svg}"
_DROPPED = ("role", "aria-roledescription", "aria-hidden", "class", "stroke-miterlimit")
_NUMBERS = frozenset({"d", "transform", "x", "y", "x1", "y1", "x2", "y2", "width", "height"})
_LONG = re.compile(r"(\.\d{2})\d+")
_MOST = 400  # rows of a heatmap
_LEVELS = 127
_NEGATIVE, _POSITIVE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def need_library() -> Any:
    """The module that draws."""
    try:
        import vl_convert
    except ImportError:
        raise UsageError("reports as HTML and pictures need the extra html: pip install 'embcheck[html]'") from None
    return vl_convert


def draw(specification: Spec, description: str) -> Markup:
    """A specification as an ``svg`` element, described for who can't see it; a mark's ``description`` is its tip."""
    text = need_library().vegalite_to_svg(_inert(specification))  # which ends the process on control characters
    try:
        root = ET.fromstring(text)  # noqa: S314 - our own renderer wrote it
    except ET.ParseError as error:
        raise ValueError(f"the picture is not well-formed: {error}") from None
    for element in root.iter():
        _tidy(element)
    root.attrib.update({"role": "img", "aria-label": inert(description), "class": "chart", "tabindex": "0"})
    root.attrib.pop("version", None)
    ET.register_namespace("", _SVG.strip("{}"))
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=True))  # noqa: S704 - escaped by ElementTree


def _inert(value: Any) -> Any:
    """A specification whose texts are inert, wherever they come from: a report's names, units and sentences too."""
    if isinstance(value, dict):
        return {key: _inert(item) for key, item in value.items() if key != "own"}
    if isinstance(value, list | tuple):
        return [_inert(item) for item in value]
    return inert(value) if isinstance(value, str) and not value.isprintable() else value


def _tidy(element: ET.Element) -> None:
    """Keep what a mark says as ``data-tip``, and drop what only fills the page."""
    said = element.attrib.pop("aria-label", None)
    if said and element.get("role") == "graphics-symbol" and not element.tag.endswith("}g"):
        element.set("data-tip", said)
    for name in _DROPPED:
        element.attrib.pop(name, None)
    for name in _NUMBERS.intersection(element.keys()):
        element.set(name, _LONG.sub(r"\1", element.attrib[name]))


def heat(
    matrix: Sequence[Sequence[float]],
    names: Sequence[object],
    description: str,
    *,
    limit: float,
    columns: Sequence[object] | None = None,
) -> Markup:
    """A matrix as an ``img`` of full colour at ``limit``; ``names`` are those of rows, and of columns unless given."""
    across = names if columns is None else columns
    size, width = len(names), len(across)
    if not 0 < size <= _MOST or not 0 < width <= _MOST or [len(row) for row in matrix] != [width] * size:
        raise ValueError(f"a heatmap of {len(matrix)} rows and {size} names can't be drawn")
    cells = bytes(_level(float(value), limit) for row in matrix for value in row)
    shown = base64.b64encode(_png(cells, width, size)).decode()
    values = base64.b64encode(cells).decode()
    words, heads = (json.dumps([token(name) for name in each]) for each in (names, across))
    head = "" if columns is None else Markup(' data-columns="{}"').format(heads)
    return Markup(  # noqa: S704 - every value is base64, a number, or escaped
        f'<img class="heat" role="img" tabindex="0" alt="{escape(inert(description))}" width="{width}" height="{size}" '
        f'src="data:image/png;base64,{shown}" data-names="{escape(words)}"{head} data-cells="{values}" '
        f'data-limit="{float(limit)!r}">'
    )


def _level(value: float, limit: float) -> int:
    """0 to 254: 127 stands for zero."""
    return _LEVELS + round(_LEVELS * max(-1.0, min(1.0, value / limit)))


def _png(cells: bytes, width: int, height: int) -> bytes:
    """A picture with a palette in which hue is the sign and opacity the size (PNG specification, section 11)."""
    palette = b"".join(bytes(_POSITIVE if level > _LEVELS else _NEGATIVE) for level in range(256))
    opacity = bytes(min(255, round(255 * abs(level - _LEVELS) / _LEVELS)) for level in range(256))
    rows = b"".join(b"\0" + cells[start : start + width] for start in range(0, len(cells), width))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette),
        (b"tRNS", opacity),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
