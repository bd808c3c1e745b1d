"""The report as one HTML page: self-contained, without requests, made from the report document alone.

`page` lays out what `view` has put into words and `pictures` has drawn; to add a picture, add a module there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck import files
from embcheck.errors import EmbcheckError
from embcheck.reports import json_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["check_ready", "render", "write", "write_trends"]


def check_ready(path: Path) -> None:
    """Check before the work is done that a page can be drawn, and written there.

    Raises
    ------
    UsageError
        The library that draws is not installed, or the path is none for a file.
    """
    from embcheck.reports.html.draw.svg import need_library

    json_file.check_writable(path)
    need_library()


def render(document: Mapping[str, Any]) -> str:
    """The page of a report document.

    Raises
    ------
    UsageError
        The library that draws is not installed.
    """
    from embcheck.reports.html import page

    return page.render(document)


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write the page to a file as UTF-8, whole or not at all.

    Raises
    ------
    UsageError
        The library that draws is not installed, or the path is none for a file.
    EmbcheckError
        The file can't be written.
    """
    check_ready(path)
    _write(path, render(document))


def write_trends(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the page of a sweep's rows: each check over steps.

    Raises
    ------
    UsageError
        The library that draws is not installed, or the path is none for a file.
    EmbcheckError
        The file can't be written.
    """
    from embcheck.reports.html import trends

    check_ready(path)
    _write(path, trends.render(rows))


def _write(path: Path, text: str) -> None:
    try:
        if path.exists() and not path.is_file():  # a pipe or /dev/stdout: nothing to replace
            path.write_text(text, encoding="utf-8")
        else:
            files.replace(path.resolve(), text, encoding="utf-8")
    except OSError as error:
        raise EmbcheckError(f"can't write {str(path)!r}: {error.strerror or error}") from error
