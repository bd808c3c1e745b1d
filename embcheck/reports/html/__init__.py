"""The report as one HTML page: self-contained, without requests, made from the report alone.

`page` lays out what `rows` has put into words and `pictures` has drawn; to add a picture, add a function there.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.reports import json_file
from embcheck.reports.comparison import Comparison
from embcheck.reports.diagnosis import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.checks.record import Json, Report

__all__ = ["asset", "check_ready", "palettes", "render", "write", "write_trends"]


def check_ready(path: Path) -> None:
    """Check before the work is done that a page can be drawn, and written there."""
    from embcheck.reports.html.images import need_library

    json_file.check_writable(path)
    need_library()


def render(document: Report | Comparison | Diagnosis) -> str:
    """The page of a report, a comparison or a diagnosis."""
    from embcheck.reports.html import comparison, diagnosis, page

    if isinstance(document, Comparison):
        return comparison.render(document)
    return diagnosis.render(document) if isinstance(document, Diagnosis) else page.render(document)


def write(document: Report | Comparison | Diagnosis, path: str | Path) -> None:
    """Write the page to a file as UTF-8, whole or not at all."""
    check_ready(Path(path))
    files.write(Path(path), render(document))


def write_trends(rows: Sequence[Json], path: Path) -> None:
    """Write the page of a sweep's rows: each check over steps. Raises as ``write`` does."""
    from embcheck.reports.html import trends

    check_ready(path)
    files.write(path, trends.render(rows))


def asset(name: str) -> str:
    """A file that ships with the page."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def palettes() -> dict[str, dict[str, str]]:
    """The colours of ``palette.css`` by name, light and dark."""
    light, dark, *_ = re.findall(r"\{([^{}]*--paper[^{}]*)\}", asset("palette.css"))
    return {theme: dict(re.findall(r"--(\w+): (#\w+)", block)) for theme, block in (("light", light), ("dark", dark))}
