"""The command ``report``: show a JSON report again, or make a page of it, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck.cli.common import options, show_lines
from embcheck.config.config import resolve
from embcheck.errors import UsageError
from embcheck.reports import html, json_file, outputs, summary, terminal
from embcheck.reports.terminal import trends

if TYPE_CHECKING:
    from embcheck.config.config import Config


@click.command(short_help="Show a JSON report again, or make a page of it.")
@click.argument("file", metavar="FILE")
@options("html", "summary", "show")
def report(file: str, **given: Any) -> int:
    """Show a report that --json wrote, or make a page (--html) or a summary (--summary) of it, without the model.

    Of a sweep's FILE.parquet, show each check over the steps. Exit code 0 whatever FILE says; 4 where it is no report.
    """
    config = resolve(given, root=Path.cwd())
    if Path(file).suffix == ".parquet":
        return _sweep(Path(file), config)
    outputs.check(summary=config.summary, page=config.html)
    document = json_file.read(Path(file))
    if config.html:
        html.write(document, config.html)
    if config.summary:
        summary.write(document, config.summary)
    show_lines(lambda encoding: terminal.lines(document, show=config.show, encoding=encoding))
    return 0


def _sweep(file: Path, config: Config) -> int:
    from embcheck.sweep.store import read

    if config.summary:
        raise UsageError("a sweep has no --summary; --html draws it")
    outputs.check(page=config.html)
    rows = read(file)
    if config.html:
        html.write_trends(rows, config.html)
    show_lines(lambda encoding: trends.lines(rows, encoding=encoding))
    return 0


COMMANDS = (report,)
