"""Run the check of one pytest item, and say in pytest's terms what came of it."""

from __future__ import annotations

import functools
import json
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec
import pytest
from msgspec import structs

from embcheck import settings
from embcheck.baseline.file import Entry
from embcheck.checks.check import error_result, skipped_result
from embcheck.checks.record import Json, ModelRecord, ResultRecord, State, builtins
from embcheck.claims import UNMEASURED, Verdict
from embcheck.plugin.items import ClaimNotHeld, check_of, declaration_of, spec_of, specs_of
from embcheck.reports import summary, terminal, text
from embcheck.reports.wording import WIDTH
from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embcheck.checks.check import Check
    from embcheck.config.config import Config
    from embcheck.run.session import Loaded, Model, Session
    from embcheck.spec import ModelSpec

NO_MODEL = "no model to check: give --embcheck-model SPEC, or list models in [tool.embcheck]"
_LINE = 100  # columns of a failure's first lines
_INDENT = " " * 14
UNFINISHED = "it did not finish: the process that ran it died or was stopped"


class LoadedReport(msgspec.Struct, frozen=True):
    """What the controlling process needs to know of a table."""

    record: ModelRecord
    timing: Json
    device: str


class ItemReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an item's report carries, as JSON text: it must come whole through xdist, whatever tokens hold."""

    alias: str
    result: ResultRecord
    seconds: float = 0.0
    models: dict[str, LoadedReport] = {}
    entry: tuple[Entry, State] | None = None


_RAN = pytest.StashKey[ItemReport]()
"""What running an item gave, until pytest has had the last word."""


# --- one check ------------------------------------------------------------------------------------------------------


def no_model() -> NoReturn:
    """Skip for want of a model, or fail in continuous integration, where nothing passes because it is missing."""
    if settings.in_ci():
        pytest.fail(NO_MODEL, pytrace=False)
    pytest.skip(NO_MODEL)


def printable(message: str) -> str:
    """A message that any terminal and xdist can take: it may quote tokens."""
    return text.safe(message, 10 * WIDTH)


def run_item(item: pytest.Function, session: Session, config: Config) -> None:
    """Run the check that an item stands for, and say by pytest's exceptions, or `ClaimNotHeld`, what came of it."""
    __tracebackhide__ = True
    spec = spec_of(item)
    if spec is None:
        no_model()
    models = [models_by_spec(session)[spec] for spec in specs_of(item)]
    check = _with_fixtures(item)
    check = session.policy.adapt(spec.alias, check) or check
    result = session.measure(check, *models)
    record, entry = result.record, session.entry(result, models[0])
    numbers, *lines = _report(record, specs_of(item), session, config)
    lines[:0] = text.wrap(numbers.split(" "), width=_LINE, indent=_INDENT, gap=" ")
    lines.append(inert_line(f"{_INDENT}again: {_again(item)}"))
    item.stash[_RAN] = ItemReport(alias=spec.alias, result=record, seconds=result.seconds, entry=entry)
    item.user_properties.append(("embcheck", numbers))
    _conclude(record, "\n".join(lines))


def models_by_spec(session: Session) -> dict[ModelSpec, Model]:
    """The session's models, as items name them."""
    return {model.spec: model for model in session.models}


def _with_fixtures(item: pytest.Function) -> Check:
    """The item's check, its fixtures bound to the function: they are no parameters, and key no result."""
    check = check_of(item)
    fixtures = {name: item.funcargs[name] for name in check.declaration.fixtures if name in item.funcargs}
    if not fixtures:
        return check
    return replace(check, function=functools.partial(check.function, **fixtures), redeclared=check.declaration)


def _conclude(result: ResultRecord, message: str) -> None:
    if result.passes:
        if result.verdict in UNMEASURED:
            pytest.skip(printable(result.reason or ""))
        if not result.expected:
            raise ClaimNotHeld(message)  # its xfail mark makes a pass of this
        return
    if result.verdict is Verdict.ERROR or not result.expected:
        pytest.fail(message, pytrace=False)  # which no mark of ours excuses
    raise ClaimNotHeld(message)


def _report(result: ResultRecord, specs: Sequence[ModelSpec], session: Session, config: Config) -> list[str]:
    """What failed and why, in lines; the first has the numbers."""
    lines = terminal.describe(result, config.settings.seed)
    row = [line.text for line in lines if line.style != "plain"]
    tables = _tables(specs, session)
    about = [line for name, spec in zip(("model", "other"), specs, strict=False) for line in _about(name, spec, tables)]
    said = [" ".join(" ".join(row).split()), *(line.text for line in lines if line.style == "plain"), *about]
    return list(map(inert_line, said))


def _tables(specs: Sequence[ModelSpec], session: Session) -> dict[str, Loaded]:
    """By alias, the tables that are in memory."""
    models = models_by_spec(session)
    return {spec.alias: loaded for spec in specs if (loaded := session.known(models[spec])) is not None}


def _about(name: str, spec: ModelSpec, tables: dict[str, Loaded]) -> list[str]:
    origin = tables[spec.alias].table.provenance if spec.alias in tables else None
    shape = "not loaded" if origin is None else f"{origin.shape[0]} x {origin.shape[1]} {origin.dtype}"
    model = f"{text.safe(spec.alias, WIDTH)} ({text.safe(spec.text, 4 * WIDTH)}), {shape}"
    return text.wrap([model], width=WIDTH, first=f"{_INDENT}{name}: ", indent=f"{_INDENT}  ")


def from_here(config: pytest.Config, node_id: str) -> str:
    """A node's id as pytest prints it: its file as it is called from where pytest was started."""
    path, colons, rest = str(node_id).partition("::")
    if not path or config.invocation_params.dir == config.rootpath:
        return path + colons + rest
    try:
        return os.path.relpath(config.rootpath / path, config.invocation_params.dir) + colons + rest
    except ValueError:  # on another drive
        return path + colons + rest


def _again(item: pytest.Function) -> str:
    """The command that runs this item alone, quoted for a shell; its models where an option of this run gave them."""
    given = item.config.getoption("embcheck_model")
    models = [f"--embcheck-model={spec.alias}={spec.text}" for spec in specs_of(item)] if given else []
    name = from_here(item.config, item.nodeid)
    return shlex.join(["pytest", name, *models])


# --- what the reports carry -----------------------------------------------------------------------------------------


def attach(item: pytest.Item, report: pytest.TestReport, session: Session, config: Config) -> None:
    """Put a check's result on its reports. That of the set-up says, should no other follow, that it did not finish."""
    if declaration_of(item) is None or not isinstance(item, pytest.Function):
        return
    spec, skipped = spec_of(item), None
    is_expected = spec is None or config.expected(spec.alias, check_of(item))
    if report.skipped:
        skipped = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", ""))
    is_judged = _RAN in item.stash  # what the engine passes as skipped, such as what is n/a, is no failure
    if skipped is not None and not is_judged and not hasattr(report, "wasxfail") and settings.in_ci() and is_expected:
        report.outcome = "failed"
        report.longrepr = inert_line(f"{check_of(item).label}, which fails in continuous integration: {skipped}")
    elif skipped is not None and isinstance(report.longrepr, tuple):  # named by the property, not by what skipped it
        report.longrepr = (str(item.path), (item.location[1] or 0) + 1, inert_line(skipped))
    if spec is None or report.when == "teardown":
        return
    if (ran := item.stash.get(_RAN, None)) is None:
        record = _without_result(check_of(item), report, skipped=skipped, expected=is_expected)
        ran = ItemReport(alias=spec.alias, result=record)
    elif ran.result.verdict == Verdict.REFUTED and (
        rows := [json.dumps(row, sort_keys=True) for row in ran.result.counterexamples]
    ):
        report.sections.append(("embcheck counterexamples", "\n".join(rows)))
    if is_judged and (crash := getattr(report.longrepr, "reprcrash", None)) is not None:
        crash.message = text.safe(summary.failure_line(ran.result), 10 * WIDTH)  # JUnit's; the short summary cuts it
    models = {
        alias: LoadedReport(session.record(loaded), loaded.timing, str(loaded.table.vectors.device))
        for alias, loaded in _tables(specs_of(item), session).items()
    }
    carried = structs.replace(ran, result=_last_word(ran.result, report), models=models)
    # reports can hold extra attributes, says pytest
    report.embcheck = json.dumps(builtins(carried))  # type: ignore[attr-defined]


def make_inert(report: pytest.TestReport) -> None:
    """Make what an item raised inert: its message may quote tokens, and pytest prints it as it is."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        crash.message = inert_line(crash.message)  # printed whole in continuous integration
    for traceback, *_ in getattr(report.longrepr, "chain", ()):
        for entry in traceback.reprentries:
            entry.lines[:] = [inert_line(line) for line in entry.lines]


def _without_result(check: Check, report: pytest.TestReport, *, skipped: str | None, expected: bool) -> ResultRecord:
    """The record of a check that gave none: not run yet, or its code raised, a fixture failed, a mark skipped it."""
    if skipped is not None:
        return skipped_result(check, skipped.removeprefix("Skipped: ").partition("\n")[0], expected=expected).record
    crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", None)
    reason = str(crash or report.longrepr) if report.failed else UNFINISHED
    return error_result(check, reason.partition("\n")[0], expected=expected).record


def _last_word(result: ResultRecord, report: pytest.TestReport) -> ResultRecord:
    """The result with pytest's last word, which a mark of the property's author may have had a say in."""
    if report.when == "setup" and report.passed:
        return result
    excused = hasattr(report, "wasxfail") or str(report.longrepr).startswith("[XPASS(strict)]")
    outcome: Literal["pass", "fail"] = "fail" if report.failed else "pass"
    return structs.replace(result, outcome=outcome, expected=result.expected and not excused)
