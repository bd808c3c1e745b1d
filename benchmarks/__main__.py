"""Run the benchmarks: ``python -m benchmarks [--only NAME ...] [--json FILE] [--markdown FILE]``."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import tabulate
from benchmarks.machine import description
from benchmarks.registry import NAMES, Row, Run, rows_of


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--small", action="store_true", help="sizes of a few seconds, which say nothing of speed")
    parser.add_argument("--repeats", type=int, default=5, help="alternating repeats of which medians are taken")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows and machine to this file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the table between the markers of this page")
    found = parser.parse_args(given)
    if found.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {found.repeats}")
    return found


def main(given: list[str] | None = None) -> int:
    """Print the rows as they come, and write what was asked for."""
    options = arguments(given)
    machine, found = description(), list[Row]()
    print(tabulate.machine_line(machine), flush=True)
    for name in options.only or NAMES:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            for measured in rows_of(name, Run(options.small, options.repeats, Path(scratch))):
                row = replace(measured, target=None) if options.small else measured
                found.append(row)
                print(tabulate.text(row), flush=True)
        print(f"  ({name} took {time.perf_counter() - started:.0f} s)", flush=True)
    document = {"schema": "embcheck-benchmarks/1", "small": options.small, "machine": machine}
    document["rows"] = [row.record for row in found]
    if options.json:
        options.json.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if options.markdown:
        tabulate.replace_table(options.markdown, machine, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
