"""A diagnosis as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports.html import page
from embcheck.reports.text import number

if TYPE_CHECKING:
    from embcheck.reports.diagnosis import Diagnosis


def render(diagnosis: Diagnosis) -> str:
    """The page of a diagnosis."""
    return page.fill("diagnosis.html.jinja", diagnosis=diagnosis, left=number(diagnosis.residual))
