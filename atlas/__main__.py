"""Make the atlas: ``python -m atlas [--cache DIR] [--again] [--page] [--html FILE]``."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from atlas import measure, page, picture
from atlas.tables import fetch, tables
from embcheck import files
from embcheck.checks.record import builtins, version
from embcheck.reports import html

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.checks.record import Json, Report

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("EMBCHECK_CACHE", "").strip() or "~/.cache/embcheck").expanduser() / "atlas"
RESULTS = ROOT / "atlas" / "results.json"
PAGE, PICTURE = ROOT / "docs" / "atlas.md", ROOT / "docs" / "atlas.svg"


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m atlas", description=__doc__)
    kept = "where tables and reports are kept: 2 GB; by default %(default)s"
    parser.add_argument("--cache", type=Path, metavar="DIR", default=CACHE, help=kept)
    parser.add_argument("--again", action="store_true", help="measure what was measured before, too")
    parser.add_argument(
        "--page", action="store_true", help="write docs/atlas.md and its picture from atlas/results.json, no more"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="draw every result of every table as one page")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Measure what has not been measured, keep the numbers, write the page."""
    options = arguments(given)
    if not options.page:
        cache = options.cache.resolve()
        if options.again:
            shutil.rmtree(cache / "reports", ignore_errors=True)
        reports = dict(reports_of_all(cache))
        measure.write(document(reports), RESULTS)
        if options.html:
            first, *_ = reports.values()
            models = tuple(model for report in reports.values() for model in report.models)
            html.write(structs.replace(first, models=models), options.html)
    results = measure.read(RESULTS)
    files.write(PAGE, page.markdown(results))
    files.write(PICTURE, picture.svg(results))
    return 0


def reports_of_all(cache: Path) -> Iterator[tuple[str, Report]]:
    """By name, the reports of all tables, of hidden states, and of pairs of tables."""
    reports, specs = cache / "reports" / version("embcheck"), []
    for table in tables():
        folder = fetch(table, cache)
        specs.append(measure.spec_of(table, folder))
        print(f"{table.name} ...", flush=True)
        yield table.name, measure.report_of(table.name, specs[-1:], reports, explain=True)
        if table.hidden:
            name, spec = f"{table.name}-hidden", measure.spec_of(table, folder, hidden=True)
            yield name, measure.report_of(name, [spec], reports, explain=True)
    yield "pairs", measure.report_of("pairs", specs, reports, properties=measure.OF_PAIRS)


def document(reports: dict[str, Report]) -> Json:
    """What ``results.json`` holds."""
    known = {table.name: table for table in tables()}
    single = {name: report for name, report in reports.items() if name in known}
    hidden = [report for name, report in reports.items() if name.endswith("-hidden")]
    first, *_ = single.values()
    return {
        "schema": measure.SCHEMA,
        "run": builtins(first.run),
        "checks": measure.stated(model for report in reports.values() for model in report.models),
        "tables": [measure.entry(known[name], report) for name, report in single.items()],
        "hidden": [measure.layer(model) for report in hidden for model in report.models],
        "pairs": measure.results_of_pairs(reports["pairs"]),
    }


if __name__ == "__main__":
    raise SystemExit(main())
