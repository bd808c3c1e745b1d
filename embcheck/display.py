"""How values show themselves in a notebook: they ask here, and the report layer answers.

It is imported by its name, when a notebook first displays something: values lie below reports and know none.
"""

from __future__ import annotations

import importlib
from typing import Literal

__all__ = ["as_html"]

_RENDERER = "embcheck.reports.html.notebook"


def as_html(kind: Literal["estimate", "result", "run"], value: object) -> str:
    """A value as an HTML fragment with styles of its own."""
    found: str = getattr(importlib.import_module(_RENDERER), kind)(value)
    return found
