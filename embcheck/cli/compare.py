"""The command ``compare``: two specs or two JSON reports beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcheck import sources
from embcheck.baseline.gate import compared, settle
from embcheck.checks.evaluate import evaluate
from embcheck.cli.common import options, show_lines
from embcheck.cli.running import chosen
from embcheck.config.config import resolve
from embcheck.errors import EmbcheckError, NotMeasurable, UsageError
from embcheck.estimate import Snapshot
from embcheck.reports import json_file, terminal
from embcheck.reports.text import number, safe, wrap
from embcheck.spec import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from embcheck.checks.evaluate import Check
    from embcheck.config.config import Config
    from embcheck.table import EmbeddingTable

__all__ = ["COMMANDS", "SCHEMA"]

SCHEMA = "embcheck-comparison/1"
_MEASURING = ("property", "properties", "device", "dtype", "seed", "confidence", "probes", "population")


@click.command(short_help="Compare two checkpoints, or two reports.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@options(*_MEASURING, "json")
def compare(first: str, second: str, **given: Any) -> int:
    """Compare B with A: how far each property moved, and for one tokenizer how far each token did.

    A and B are two model specs, or two reports that --json wrote (whose changes are unpaired: they hold no units).
    Exit code 1 where a property regressed or is undecided.
    """
    config = resolve({key: value for key, value in given.items() if key != "model"}, root=Path.cwd())
    if config.json:
        json_file.check_writable(config.json)
    reports = [Path(name).suffix == ".json" and Path(name).is_file() for name in (first, second)]
    if any(reports) and not all(reports):
        raise UsageError(f"{first!r} and {second!r}: give two specs or two JSON reports, not one of each")
    document = _of_reports(config, first, second) if all(reports) else _of_specs(config, first, second)
    settle(document["changes"])
    if config.json:
        json_file.write(document, config.json)
    show_lines(lambda encoding: _lines(document, encoding))
    return int(any(not one["change"]["passes"] for one in document["changes"] if one["change"]))


def _of_specs(config: Config, first: str, second: str) -> dict[str, Any]:
    from embcheck.baseline.drift import drift

    specs = [{m.alias: m for m in config.models}.get(name) or parse(name) for name in (first, second)]
    for one in specs:
        sources.check(one)
    checks = chosen(config, ())
    old, new = (
        sources.load(one, device=config.device, dtype=config.dtype, population=config.population) for one in specs
    )
    same = old.tokens_sha256 == new.tokens_sha256
    try:
        moved: dict[str, Any] = drift(old, new)
    except NotMeasurable as why:
        moved = {"reason": str(why)}
    rows = [_row(check, old, new, config) for check in checks if check.declaration.margin is not None]
    return {"schema": SCHEMA, "models": [first, second], "same_tokens": same, "drift": moved, "changes": rows}


def _row(check: Check, old: EmbeddingTable, new: EmbeddingTable, config: Config) -> dict[str, Any]:
    found = [evaluate(check, table, config.settings) for table in (old, new)]
    estimates = [one.estimate for one in found if one.estimate is not None and one.estimate.reason is None]
    row: dict[str, Any] = {"check": check.label, "change": None, "reason": None}
    if len(estimates) < 2:
        return row | {"reason": next(one.reason for one in found if one.reason)}
    then, now = (estimate.snapshot() for estimate in estimates)
    return row | {"change": _settled(compared(then, now, check.declaration, config.settings))}


def _settled(change: dict[str, Any]) -> dict[str, Any]:
    return change | {"passes": change["state"] in {"match", "improved"}}


def _of_reports(config: Config, first: str, second: str) -> dict[str, Any]:
    known = {(c.declaration.id, json.dumps(c.record, sort_keys=True)): c for c in chosen(config, ())}
    old, new = (_results(Path(name)) for name in (first, second))
    rows = []
    for key in sorted(old.keys() & new.keys()):
        check = known.get((key[0], key[1]))
        if check is not None and check.declaration.margin is not None:
            change = compared(old[key], new[key], check.declaration, config.settings)
            rows.append({"check": check.label, "change": _settled(change), "reason": None})
    if not rows:
        raise UsageError(f"{first!r} and {second!r} have no compared check in common")
    drift = {"reason": "reports hold no rows; compare two specs for the drift"}
    return {"schema": SCHEMA, "models": [first, second], "same_tokens": None, "drift": drift, "changes": rows}


def _results(path: Path) -> dict[tuple[str, str], Snapshot]:
    try:
        (model,) = json.loads(path.read_text(encoding="utf-8"))["models"]
        found = {}
        for result in model["results"]:
            if result["estimate"] is not None:
                key = (result["property"], json.dumps(result["params"], sort_keys=True))
                estimate = result["estimate"]
                found[key] = Snapshot.read({**estimate, "scale": estimate["name"], "parts": []})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EmbcheckError(f"{str(path)!r} is no report of one model: {type(error).__name__}: {error}") from None
    return found


def _lines(document: Mapping[str, Any], encoding: str) -> Iterator[terminal.Line]:
    names = [safe(name, 60, encoding=encoding) for name in document["models"]]
    yield terminal.Line(f"{names[1]} against {names[0]}", "title")
    for one in document["changes"]:
        change = one["change"]
        word = change["state"] if change else "-"
        says = terminal.change_text(change) if change else safe(one["reason"] or "", 300, encoding=encoding)
        style: terminal.Style = "plain" if not change else "pass" if change["passes"] else "fail"
        for text in wrap([one["check"], says], width=terminal.WIDTH, first=f"{word:<12}", indent=" " * 12):
            yield terminal.Line(text, style)
    yield terminal.Line("drift", "title")
    yield from _drift(document["drift"], encoding)


def _drift(drift: Mapping[str, Any], encoding: str) -> Iterator[terminal.Line]:
    pieces = []
    for key, value in drift.items():
        name = key.replace("_", " ")
        if isinstance(value, dict):
            pieces.append(f"{name} " + ", ".join(f"{level} {number(v)}" for level, v in value.items()))
        elif key != "moved":
            pieces.append(f"{name} {value if isinstance(value, str) else number(value)}")
    pieces += [
        f"'{safe(m['token'], 24, encoding=encoding)}' #{m['id']} {m['value']:.4f}" for m in drift.get("moved", ())
    ]
    for text in wrap(pieces, width=terminal.WIDTH, first="  ", indent="  "):
        yield terminal.Line(text)


COMMANDS = (compare,)
