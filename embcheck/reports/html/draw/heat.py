"""Large heatmaps as an image of one pixel a cell, which the page scales up: hundreds of rows in a few kilobytes.

Hue says the sign and opacity the size, so that one image serves light and dark pages.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from embcheck.reports.html.draw.inert import inert
from embcheck.reports.html.draw.vega import token

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MOST", "heat"]

MOST = 400  # rows of a matrix that is drawn
_LEVELS = 127
_NEGATIVE, _POSITIVE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def heat(matrix: Sequence[Sequence[float]], names: Sequence[Any], description: str, *, limit: float) -> Markup:
    """A square matrix as an image; cells name their row, column and value on hover.

    Parameters
    ----------
    matrix
        (n, n) numbers.
    names
        (n,) of rows and columns alike.
    description
        What it shows, for who can't see it.
    limit
        The size at which a colour is full.

    Raises
    ------
    ValueError
        The matrix is not square, is larger than 400, or its names are others in number.
    """
    size = len(names)
    if not 0 < size <= MOST or len(matrix) != size or any(len(row) != size for row in matrix):
        raise ValueError(f"a heatmap of {len(matrix)} rows and {size} names can't be drawn")
    cells = bytes(_level(float(value), limit) for row in matrix for value in row)
    shown = base64.b64encode(_png(cells, size)).decode()
    values = base64.b64encode(cells).decode()
    words = json.dumps([token(name) for name in names])
    return Markup(  # noqa: S704 - every value is base64, a number, or escaped
        f'<img class="heat" role="img" tabindex="0" alt="{escape(inert(description))}" width="{size}" height="{size}" '
        f'src="data:image/png;base64,{shown}" data-names="{escape(words)}" data-cells="{values}" '
        f'data-limit="{float(limit)!r}">'
    )


def _level(value: float, limit: float) -> int:
    """0 to 254: 127 stands for zero."""
    return _LEVELS + round(_LEVELS * max(-1.0, min(1.0, value / limit)))


def _png(cells: bytes, size: int) -> bytes:
    """A picture with a palette in which hue is the sign and opacity the size (PNG specification, section 11)."""
    palette = b"".join(bytes(_POSITIVE if level > _LEVELS else _NEGATIVE) for level in range(256))
    opacity = bytes(min(255, round(255 * abs(level - _LEVELS) / _LEVELS)) for level in range(256))
    rows = b"".join(b"\0" + cells[start : start + size] for start in range(0, len(cells), size))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 3, 0, 0, 0)),
        (b"PLTE", palette),
        (b"tRNS", opacity),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
