"""What the site needs beyond its pages: formulas of docstrings as MathML, which browsers draw by themselves."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

_MATH = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)


def on_page_content(content: str, **_: object) -> str:
    r"""Replace each ``:math:`x^2``` in the HTML of a page.

    ``\bigl`` and its like set the size of a bracket, which MathML finds by itself.
    """
    return _MATH.sub(lambda found: convert(re.sub(r"\\[bB]ig+[lr]?", "", html.unescape(found[1]))), content)
