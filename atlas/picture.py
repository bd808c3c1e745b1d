"""The picture of the README and of the atlas: what is left of the first claim without the mean row.

Its colours can be told apart on light and on dark pages, for it can't know which it is on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas.view import Atlas
from embcheck.reports.html.images import need_library

if TYPE_CHECKING:
    from embcheck.checks.record import Json

__all__ = ["specification", "svg"]

_STORED, _CENTRED = "as stored", "without the mean row"
_BLUE, _ORANGE, _GREY = "#3d84d6", "#d9782d", "#7d8590"
_WIDTH, _ROW = 460, 21  # pixels


def svg(document: Json) -> str:
    """The picture as a file of its own."""
    drawn: str = need_library().vegalite_to_svg(specification(document))
    return drawn + "\n"


def specification(document: Json) -> dict[str, Any]:
    """The same for Vega-Lite: of each table the share as it is, and once the mean row is taken off every row."""
    atlas = Atlas(document)
    without, cells = atlas.facts("share_without_mean"), atlas.tally("positive_cosine_bias").measured
    found = [{"table": name, "share": cell.value, "left": without[name]} for name, cell in cells.items()]
    rows = sorted(found, key=lambda row: -row["share"])
    x = {"type": "quantitative", "title": "share of pairs of tokens with a cosine of zero or more"}
    y = {"field": "table", "type": "nominal", "sort": [row["table"] for row in rows], "title": None}
    series = {"type": "nominal", "scale": {"domain": [_STORED, _CENTRED], "range": [_BLUE, _ORANGE]}, "title": None}

    def rule(start: dict[str, Any], more: dict[str, Any], **style: Any) -> dict[str, Any]:
        return {"mark": {"type": "rule", "color": _GREY, **style}, "encoding": {"x": start | x, **more}}

    def dots(field: str, name: str) -> dict[str, Any]:
        mark = {"type": "point", "filled": True, "size": 60, "opacity": 1}
        return {"mark": mark, "encoding": {"x": {"field": field} | x, "y": y, "color": {"datum": name, **series}}}

    noise = rule({"datum": 0.5}, {}, strokeDash=[4, 3])
    lost = rule({"field": "left"}, {"x2": {"field": "share"}, "y": y}, opacity=0.5)
    text = {"labelColor": _GREY, "labelFontSize": 12}
    lines = {"domainColor": _GREY, "tickColor": _GREY, "labelLimit": 200, "grid": False}
    title = {"titleColor": _GREY, "titleFontSize": 12, "titleFontWeight": "normal"}
    return {
        "background": None,
        "width": _WIDTH,
        "height": _ROW * len(rows),
        "data": {"values": rows},
        "layer": [noise, lost, dots("left", _CENTRED), dots("share", _STORED)],
        "config": {
            "view": {"stroke": None},
            "axis": text | lines | title,
            "legend": text | {"orient": "top"},
            "font": "Arial, sans-serif",
        },
    }
