"""Vega-Lite specifications drawn as static SVG: no script runs, colours follow the page, each mark says what it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from markupsafe import Markup

from embcheck.errors import UsageError
from embcheck.reports.html.draw.inert import inert

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["draw", "need_library"]

_SVG = "{http://www.w3.org/2000/svg}"
_DROPPED = ("role", "aria-roledescription", "aria-hidden", "class", "stroke-miterlimit")
_NUMBERS = frozenset({"d", "transform", "x", "y", "x1", "y1", "x2", "y2", "width", "height"})
_LONG = re.compile(r"(\.\d{2})\d+")


def need_library() -> Any:
    """The module that draws.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import vl_convert
    except ImportError:
        raise UsageError("an HTML report needs the extra html: pip install 'embcheck[html]'") from None
    return vl_convert


def draw(specification: Mapping[str, Any], description: str) -> Markup:
    """The picture as an ``svg`` element.

    Parameters
    ----------
    specification
        Vega-Lite, all data inside it. What a mark's channel ``description`` says is shown on hover.
    description
        What the picture shows, for who can't see it.

    Raises
    ------
    ValueError
        It can't be drawn.
    """
    text = need_library().vegalite_to_svg(dict(specification))
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


def _tidy(element: ET.Element) -> None:
    """Keep what a mark says as ``data-tip``, and drop what only fills the page."""
    said = element.attrib.pop("aria-label", None)
    if said and element.get("role") == "graphics-symbol" and not element.tag.endswith("}g"):
        element.set("data-tip", said)
    for name in _DROPPED:
        element.attrib.pop(name, None)
    for name in _NUMBERS.intersection(element.keys()):
        element.set(name, _LONG.sub(r"\1", element.attrib[name]))
