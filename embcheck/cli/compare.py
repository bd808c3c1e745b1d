"""The command ``compare``: two specs or two JSON reports beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embcheck.cli.common import FAILED, OK, options, show_lines
from embcheck.config.config import resolve
from embcheck.errors import UsageError
from embcheck.reports import json_file
from embcheck.reports.terminal import comparison as view
from embcheck.run import comparison

__all__ = ["COMMANDS"]

_MEASURING = ("property", "properties", "device", "dtype", "seed", "confidence", "probes", "population")


@click.command(short_help="Compare two checkpoints, or two reports.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options(*_MEASURING, "json")
def compare(first: str, second: str, **given: Any) -> int:
    """Compare B with A: how far each property moved, and for one tokenizer how far each token did.

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
    show_lines(lambda encoding: view.lines(compared, encoding), json=config.json)
    if config.json:
        json_file.write(comparison.as_json(compared), config.json)
    return FAILED if compared.fails else OK


COMMANDS = (compare,)
