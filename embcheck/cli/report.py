"""The command ``report``: show a JSON report again, or make a page of it, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embcheck.cli.common import options, show_lines
from embcheck.config import resolve
from embcheck.reports import files, html, json_file, summary, terminal

__all__ = ["COMMANDS"]


@click.command(short_help="Show a JSON report again, or make a page of it.")
@click.argument("file", metavar="FILE.json")
@options("html", "summary", "show")
def report(file: str, **given: Any) -> int:
    """Show a report that --json wrote, or make a page (--html) or a summary (--summary) of it, without the model.

    Exit code 0 whatever the report says; 4 where FILE.json is no report.
    """
    config = resolve(given, root=Path.cwd())
    files.check(summary=config.summary, page=config.html)
    document = json_file.read(Path(file))
    if config.html:
        html.write(document, config.html)
    if config.summary:
        summary.write(document, config.summary)
    show_lines(lambda encoding: terminal.lines(document, show=config.show, encoding=encoding))
    return 0


COMMANDS = (report,)
