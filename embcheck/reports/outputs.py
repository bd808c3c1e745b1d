"""The files that a run writes, checked before the work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.reports import html, json_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check"]


def check(*, json: Path | None = None, summary: Path | None = None, page: Path | None = None) -> None:
    """Check that the report can be written in each form that is asked for.

    Raises
    ------
    UsageError
        A path is none for a file, or the library that draws pages is not installed.
    """
    for path in (json, summary):
        if path is not None:
            json_file.check_writable(path)
    if page is not None:
        html.check_ready(page)
