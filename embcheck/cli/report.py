"""The commands ``report``, which shows a JSON report again, and ``compare`` of two models or reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck.cli.common import FAILED, MEASURING, OK, options, show_lines
from embcheck.config.config import resolve
from embcheck.errors import UsageError
from embcheck.reports import html, json_file, outputs, series, summary, terminal
from embcheck.reports.terminal import comparison as view
from embcheck.run import comparison

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
    show_lines(lambda encoding: series.lines(rows, encoding=encoding))
    return 0


# --- compare ----------------------------------------------------------------------------------------------------------


@click.command(short_help="Compare two checkpoints, or two reports.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options(*MEASURING, "json")
def compare(first: str, second: str, **given: Any) -> int:
    """Compare B with A: how far each property moved, and how far each token that both have did.

    Tokens are paired by their text: which died (zero or not finite in B only), came, went or have another id is told.

    A and B are two model specs, or two reports that --json wrote (whose changes are unpaired: they hold no units).
    Exit code 1 where a property regressed or is undecided, or can't be run.
    """
    config = resolve(given, root=Path.cwd())
    if config.json:
        json_file.check_writable(config.json)
    reports = [Path(name).suffix == ".json" and Path(name).is_file() for name in (first, second)]
    if any(reports) and not all(reports):
        raise UsageError(f"{first!r} and {second!r}: give two specs or two JSON reports, not one of each")
    if all(reports):
        compared = comparison.of_reports(config, Path(first), Path(second))
    else:
        compared = comparison.of_models(config, first, second)
    if config.json:
        json_file.write(comparison.as_json(compared), config.json)
    show_lines(lambda encoding: view.lines(compared, encoding), json=config.json)
    return FAILED if compared.fails else OK


COMMANDS = (compare, report)
