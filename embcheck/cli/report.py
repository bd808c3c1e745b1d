"""The commands ``report``, which shows a JSON report again, and ``compare`` of two models or reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck.cli.common import FAILED, MEASURING, OK, options, show_lines
from embcheck.config.config import resolve
from embcheck.errors import UsageError
from embcheck.reports import card as cards
from embcheck.reports import html, json_file, outputs, series, terminal
from embcheck.reports.comparison import Comparison
from embcheck.reports.diagnosis import Diagnosis
from embcheck.reports.terminal import comparison as view
from embcheck.reports.terminal import diagnosis as causes
from embcheck.run import comparison

if TYPE_CHECKING:
    from embcheck.config.config import Config


@click.command(short_help="Show a JSON report again, or make a page of it.")
@click.argument("file", metavar="FILE")
@options("html", "summary", "show")
@click.option(
    "--card",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write a section with a badge for a model card (Markdown), or anew in a file that has one; "
    "- for standard output.",
)
def report(file: str, card: Path | None, **given: Any) -> int:
    """Show a report that --json wrote, or make a page, a summary or a section of a model card of it, without the model.

    Of what compare or diagnose --json wrote, show that again; of a sweep's FILE.parquet, each check over the steps.
    Exit code 0 whatever FILE says; 4 where it is no report.
    """
    config = resolve(given, root=Path.cwd())
    if Path(file).suffix == ".parquet":
        return _sweep(Path(file), config, card)
    outputs.check(summary=config.summary, page=config.html, card=card)
    document = json_file.read_any(Path(file))
    if isinstance(document, Comparison):
        return _compared(document, config, card)
    if isinstance(document, Diagnosis):
        return _diagnosed(document, config, card)
    outputs.write(document, summary=config.summary, page=config.html)
    if card:
        cards.write(document, card)
    show_lines(lambda encoding: terminal.lines(document, show=config.show, encoding=encoding), *config.outputs(), card)
    return OK


def _sweep(file: Path, config: Config, card: Path | None) -> int:
    from embcheck.sweep.store import read

    if config.summary or card:
        raise UsageError("a sweep has no --summary and no --card; --html draws it")
    outputs.check(page=config.html)
    rows = read(file)
    if config.html:
        html.write_trends(rows, config.html)
    show_lines(lambda encoding: series.lines(rows, encoding=encoding), *config.outputs())
    return OK


def _compared(compared: Comparison, config: Config, card: Path | None) -> int:
    if card:
        raise UsageError("a comparison has no --card: a model card says what holds of one model")
    outputs.write(compared, summary=config.summary, page=config.html)
    show_lines(lambda encoding: view.lines(compared, encoding, show=config.show), *config.outputs())
    return OK


def _diagnosed(diagnosis: Diagnosis, config: Config, card: Path | None) -> int:
    if card:
        raise UsageError("a diagnosis has no --card: a model card says what holds of one model")
    outputs.write(diagnosis, summary=config.summary, page=config.html)
    show_lines(lambda encoding: causes.lines(diagnosis, encoding), *config.outputs())
    return OK


# --- compare ----------------------------------------------------------------------------------------------------------


def _at_most(largest: float) -> Any:
    """A check that an option's number lies between 0 and the largest: not a number is neither above nor below."""

    def checked(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
        if value is not None and not 0 <= value <= largest:
            raise click.BadParameter(f"must be a number from 0 to {largest:g}, got {value}")
        return value

    return checked


@click.command(short_help="Compare two checkpoints, or two reports.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option(
    "--max-moved",
    type=float,
    callback=_at_most(1e6),
    metavar="D",
    help="Fail where a row moved farther than D of its own length, or became zero or not finite.",
)
@click.option(
    "--min-overlap",
    type=float,
    callback=_at_most(1.0),
    metavar="J",
    help="Fail where the ten nearest rows overlap less than this (mean Jaccard, 0 to 1).",
)
@options(*MEASURING, "json", "html", "summary", "show")
def compare(first: str, second: str, max_moved: float | None, min_overlap: float | None, **given: Any) -> int:
    """Compare B with A: how far each property moved, and how far each token that both have did.

    Tokens are paired by their text: which died (zero or not finite in B only), came, went or have another id is told.

    A and B are two model specs, or two reports that --json wrote (whose changes are unpaired: they hold no units).
    Exit code 1 where a property regressed or is undecided, or can't be run, or where drift is beyond its limit.
    """
    config = resolve(given, root=Path.cwd())
    outputs.check(json=config.json, summary=config.summary, page=config.html)
    reports = [Path(name).suffix == ".json" and Path(name).is_file() for name in (first, second)]
    if any(reports) and not all(reports):
        raise UsageError(f"{first!r} and {second!r}: give two specs or two JSON reports, not one of each")
    if not all(reports):
        compared = comparison.of_models(config, first, second, max_moved=max_moved, min_overlap=min_overlap)
    elif max_moved is not None or min_overlap is not None:
        raise UsageError("--max-moved and --min-overlap need two specs: reports hold no rows")
    else:
        compared = comparison.of_reports(config, Path(first), Path(second))
    show_lines(lambda encoding: view.lines(compared, encoding, show=config.show), *config.outputs())
    outputs.annotate(compared)
    outputs.deliver(compared, json=config.json, summary=config.summary, page=config.html)
    return OK if compared.passes else FAILED


COMMANDS = (compare, report)
