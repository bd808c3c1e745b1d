"""The command ``selftest``: are the properties themselves calibrated?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from embcheck import files
from embcheck.checks import collect
from embcheck.checks.evaluate import checks_of
from embcheck.checks.record import version
from embcheck.cli.common import options, show_lines
from embcheck.config.config import resolve
from embcheck.reports import calibration, json_file

__all__ = ["COMMANDS"]


@click.command(short_help="Check that the properties are calibrated.")
@options("property", "properties", "seed", "json")
@click.option(
    "--tables",
    type=click.IntRange(min=20),
    default=200,
    metavar="N",
    help="Tables of noise for each check. [default: 200]",
)
@click.option(
    "--redraws",
    type=click.IntRange(min=20),
    default=2_000,
    metavar="N",
    help="Redraws for the coverage of intervals. [default: 2000]",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write the table and what it means to this file.",
)
def selftest(tables: int, redraws: int, markdown: Path | None, **given: Any) -> int:
    """Measure properties on tables of known structure: noise, planted structure, redraws.

    Shows how often each property holds on noise, how often its interval covers, whether its p-values are uniform and
    whether it sees planted structure. Exit code 1 where one of them leaves its limits. No model is read. All defaults
    take about a quarter of an hour; --tables 20 --redraws 50 takes one minute, and sees only gross faults.
    """
    from embcheck.selftest import Plan, examine

    config = resolve(given, root=Path.cwd())
    for path in (config.json, markdown):
        if path is not None:
            json_file.check_writable(path)
    checks = collect.select(checks_of(collect.functions(config.properties)), config.property)
    document = examine(checks, Plan(tables, redraws, config.settings.seed))
    show_lines(lambda encoding: calibration.lines(document, encoding=encoding), json=config.json)
    if config.json:
        json_file.write(document, config.json)
    if markdown:
        files.write(markdown, calibration.markdown(document, version("embcheck")))
    return int(not all(row["calibrated"] for row in document["properties"]))


COMMANDS = (selftest,)
