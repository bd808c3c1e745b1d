"""The report as one HTML page: self-contained, without requests, made from the report alone.

`page` lays out what `rows` has put into words and `pictures` has drawn; to add a picture, add a function there.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.reports import json_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from embcheck.checks.record import Json, Report
    from embcheck.reports.comparison import Comparison
    from embcheck.reports.diagnosis import Diagnosis

__all__ = ["asset", "check_ready", "palettes", "render", "write", "write_comparison", "write_diagnosis", "write_trends"]


def check_ready(path: Path) -> None:
    """Check before the work is done that a page can be drawn, and written there."""
    from embcheck.reports.html.images import need_library

    json_file.check_writable(path)
    need_library()


def render(report: Report) -> str:
    """The page of a report."""
    from embcheck.reports.html import page

    return page.render(report)


def write(report: Report, path: Path) -> None:
    """Write the page to a file as UTF-8, whole or not at all."""
    check_ready(path)
    files.write(path, render(report))


def write_trends(rows: Sequence[Json], path: Path) -> None:
    """Write the page of a sweep's rows: each check over steps. Raises as ``write`` does."""
    from embcheck.reports.html import trends

    check_ready(path)
    files.write(path, trends.render(rows))


def write_comparison(compared: Comparison, path: Path) -> None:
    """Write the page of a comparison of two models. Raises as ``write`` does."""
    from embcheck.reports.html import comparison

    check_ready(path)
    files.write(path, comparison.render(compared))


def write_diagnosis(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page of a diagnosis. Raises as ``write`` does."""
    from embcheck.reports.html import diagnosis as pages

    check_ready(path)
    files.write(path, pages.render(diagnosis))


def asset(name: str) -> str:
    """A file that ships with the page."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def palettes() -> dict[str, dict[str, str]]:
    """The colours of ``palette.css`` by name, light and dark."""
    light, dark, *_ = re.findall(r"\{([^{}]*--paper[^{}]*)\}", asset("palette.css"))
    return {theme: dict(re.findall(r"--(\w+): (#\w+)", block)) for theme, block in (("light", light), ("dark", dark))}
