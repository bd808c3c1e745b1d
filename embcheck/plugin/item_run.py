"""Run the check of one pytest item, and say in pytest's terms what came of it."""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from embcheck import settings, sources
from embcheck.baseline.gate import Gate
from embcheck.baseline.tokens import entry_of
from embcheck.checks.evaluate import Check, Result, error_result, evaluate
from embcheck.checks.record import model_record
from embcheck.claims import Verdict
from embcheck.errors import EmbcheckError, NotMeasurable, SourceError
from embcheck.plugin.items import ClaimNotHeld, check_of, declaration_of, spec_of, specs_of
from embcheck.reports import terminal, text
from embcheck.run.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.config.config import Config
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["NO_MODEL", "Loaded", "Tables", "attach", "no_model", "printable", "run_item"]

NO_MODEL = "no model to check: give --embcheck-model SPEC, or list models in [tool.embcheck]"
_UNFINISHED = "it did not finish: the process that ran it died or was stopped"
_OUTCOME = pytest.StashKey[dict[str, Any]]()


# --- tables ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """A table, its place in the report, and what loading it took."""

    spec: ModelSpec
    table: EmbeddingTable
    record: dict[str, Any]
    timing: dict[str, Any]

    @property
    def about(self) -> dict[str, Any]:
        """What the controlling process needs to know of it."""
        return {"record": self.record, "load": self.timing, "device": str(self.table.vectors.device)}


class Tables(Shelf["ModelSpec", Loaded]):
    """Loads tables, and keeps those of the last check: items are grouped by model."""

    def __init__(self, config: Config) -> None:
        super().__init__(self._read)
        self._config = config
        self.gate = Gate(config.baseline_dir, config.gate, config.missing_baseline, config.update)

    def _read(self, spec: ModelSpec) -> Loaded:
        started = time.perf_counter()
        config = self._config
        device, dtype = config.device_of(spec.alias), config.dtype_of(spec.alias)
        table = sources.load(spec, device=device, dtype=dtype, population=config.population)
        seconds = time.perf_counter() - started
        try:
            record = model_record(spec, table, [])
        except NotMeasurable as why:
            raise SourceError(f"spec {spec.text!r}: {why}") from why
        return Loaded(spec, table, record, {"load_seconds": seconds, "bytes_read": table.provenance.bytes_read})


# --- one check ------------------------------------------------------------------------------------------------------


def no_model() -> NoReturn:
    """Skip for want of a model, or fail in continuous integration, where nothing passes because it is missing."""
    if settings.in_ci():
        pytest.fail(NO_MODEL, pytrace=False)
    pytest.skip(NO_MODEL)


def printable(message: str) -> str:
    """A message that any terminal and xdist can take: it may quote tokens."""
    return text.safe(message, 10 * terminal.WIDTH)


def run_item(item: pytest.Function, tables: Tables, config: Config) -> None:
    """Run the check that an item stands for.

    Raises
    ------
    ClaimNotHeld
        It does not hold; or it is skipped in continuous integration.
    pytest.fail.Exception
        It could not be run, or is a known exception that holds.
    pytest.skip.Exception
        The table lacks what it needs, or there is no model.
    """
    __tracebackhide__ = True
    spec = spec_of(item)
    if spec is None:
        no_model()
    result, entry = _measured(item, spec, tables, config)
    record = result.record
    lines = _report(record, specs_of(item), tables, config)
    item.stash[_OUTCOME] = {"record": record, "seconds": result.seconds, "lines": lines, "entry": entry}
    item.user_properties.append(("embcheck", lines[0]))
    _conclude(record, "\n".join(lines))


def _measured(
    item: pytest.Function, spec: ModelSpec, tables: Tables, config: Config
) -> tuple[Result, tuple[dict[str, Any], str] | None]:
    """The result, and where baselines are updated, what they would keep of it."""
    check = _with_fixtures(item)
    check = config.adapt(spec.alias, check) or check
    expected = config.expected(spec.alias, check)
    try:
        table, *second = (loaded.table for loaded in tables.get(*specs_of(item)))
        subject = (table, *second) if check.declaration.of_pairs else table
        result = evaluate(check, subject, config.settings, control=config.control, expected=expected)
        result = tables.gate.apply(spec.alias, result, table, config.settings)
    except EmbcheckError as error:
        return error_result(check, str(error), expected=expected), None
    found = entry_of(result, table, config.settings) if config.update else None
    return result, None if found is None else (found[0].whole, found[1])


def _with_fixtures(item: pytest.Function) -> Check:
    """The item's check, its fixtures bound to the function: they are no parameters, and key no result."""
    check = check_of(item)
    fixtures = {name: item.funcargs[name] for name in check.declaration.fixtures if name in item.funcargs}
    if not fixtures:
        return check
    function = functools.partial(check.function, **fixtures)
    function.__embcheck__ = check.declaration  # type: ignore[attr-defined]
    return replace(check, function=function)


def _conclude(record: dict[str, Any], message: str) -> None:
    verdict, expected = record["verdict"], record.get("expected", True)
    if record["outcome"] == "pass":
        if verdict == Verdict.SKIPPED:
            pytest.skip(printable(record["reason"]))
        if not expected:
            raise ClaimNotHeld(message)  # its xfail mark makes a pass of this
        return
    if verdict == Verdict.ERROR or not expected:
        pytest.fail(message, pytrace=False)  # which no mark of ours excuses
    raise ClaimNotHeld(message)


def _report(record: dict[str, Any], specs: Sequence[ModelSpec], tables: Tables, config: Config) -> list[str]:
    """What failed and why, in lines; the first has the numbers."""
    lines = terminal.describe(record, config.settings.seed)
    row = [line.text for line in lines if line.style != "plain"]
    about = [line for name, spec in zip(("model", "other"), specs, strict=False) for line in _about(name, spec, tables)]
    return [" ".join(" ".join(row).split()), *(line.text for line in lines if line.style == "plain"), *about]


def _about(name: str, spec: ModelSpec, tables: Tables) -> list[str]:
    loaded = tables.known(spec)
    shape = "not loaded" if loaded is None else "{} x {} {}".format(*loaded.record["shape"], loaded.record["dtype"])
    model = f"{text.safe(spec.alias, terminal.WIDTH)} ({text.safe(spec.text, 4 * terminal.WIDTH)}), {shape}"
    indent = " " * 14
    return text.wrap([model], width=terminal.WIDTH, first=f"{indent}{name}: ", indent=f"{indent}  ")


# --- what the reports carry -----------------------------------------------------------------------------------------


def attach(item: pytest.Item, report: pytest.TestReport, tables: Tables, config: Config) -> None:
    """Put a check's result on its reports, as JSON text: it must come whole through xdist, whatever tokens hold.

    The set-up report carries what stays true if no other follows: that the check did not finish.
    """
    if declaration_of(item) is None or not isinstance(item, pytest.Function):
        return
    if report.skipped and isinstance(report.longrepr, tuple):  # named by the property, not by the line that skipped it
        report.longrepr = (str(item.path), (item.location[1] or 0) + 1, report.longrepr[2])
    spec = spec_of(item)
    if spec is None or report.when == "teardown":
        return
    outcome = item.stash.get(_OUTCOME, None)
    record = _settled(outcome["record"] if outcome else _without_result(item, spec, report, config), report)
    if outcome and record["counterexamples"]:
        found = [json.dumps(entry, sort_keys=True) for entry in record["counterexamples"]]
        report.sections.append(("embcheck counterexamples", "\n".join(found)))
    loaded = {one.alias: table for one in specs_of(item) if (table := tables.known(one)) is not None}
    report.embcheck = json.dumps(  # type: ignore[attr-defined] # reports can hold extra attributes, says pytest
        {
            "alias": spec.alias,
            "label": check_of(item).label,
            "record": record,
            "seconds": outcome["seconds"] if outcome else 0.0,
            "models": {alias: table.about for alias, table in loaded.items()},
            "entry": outcome["entry"] if outcome else None,
        }
    )


def _without_result(
    item: pytest.Function, spec: ModelSpec, report: pytest.TestReport, config: Config
) -> dict[str, Any]:
    """The record of a check that gave none: not run yet, or its code raised, a fixture failed, a mark skipped it."""
    check = check_of(item)
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", None)
    reason = _UNFINISHED
    if report.skipped:
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", ""))
    elif report.failed:
        reason = str(crash or report.longrepr)
    expected = config.expected(spec.alias, check)
    reason = reason.removeprefix("Skipped: ").partition("\n")[0]
    record = error_result(check, reason, expected=expected).record
    if report.skipped:
        claims = [{**claim, "verdict": Verdict.SKIPPED.value} for claim in record["claims"]]
        record |= {"verdict": Verdict.SKIPPED.value, "claims": claims}
    return record


def _settled(record: dict[str, Any], report: pytest.TestReport) -> dict[str, Any]:
    """The record with pytest's last word, which a mark of the property's author may have had a say in."""
    if report.when == "setup" and report.passed:
        return record
    excused = hasattr(report, "wasxfail") or str(report.longrepr).startswith("[XPASS(strict)]")
    settled = {**record, "outcome": "fail" if report.failed else "pass"}
    return settled | {"expected": False} if excused else settled
