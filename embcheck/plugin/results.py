"""The controlling process of a pytest session: collects the checks' results, writes the report, prints the summary.

Under xdist this is the process that runs no test; without it, the only one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec import structs

from embcheck.errors import EmbcheckError, UsageError
from embcheck.plugin.item_run import NO_MODEL, UNFINISHED, ItemReport, LoadedReport, from_here, models_by_spec
from embcheck.plugin.items import is_whole
from embcheck.reports import outputs, terminal
from embcheck.reports.text import columns, cut, safe, wrap
from embcheck.reports.wording import WIDTH, conclusion
from embcheck.run.document import model_record, report
from embcheck.run.likely import REMOTE, since_baseline
from embcheck.run.session import deliver, gate_of, not_run, with_unused
from embcheck.run.update import what_next, write_baseline
from embcheck.text import inert_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from embcheck.checks.record import Json, ModelRecord, Report
    from embcheck.plugin.hooks import State
    from embcheck.reports.wording import Line, Style
    from embcheck.spec import ModelSpec

PROBLEM = "embcheck_problem"
"""Under which a worker tells the controlling process of wrong usage that it found while collecting."""

LEFT_OUT = "embcheck_left_out"
"""And of the project's own properties that the models' lists leave out."""

_BY = "run by: pytest --pyargs embcheck.properties"
NOT_COLLECTED = f"no configured check ran; those of embcheck {_BY}"
"""What to say in a project with models whose tests are none of ours."""

_LINE, _LEAST = 100, 40  # columns of a failure's line in pytest's short summary; and of what follows a long node id
_OUTPUTS = ("json", "html", "summary", "update")
_MARKUP: Mapping[Style, dict[str, bool]] = {
    "title": {"bold": True},
    "pass": {"green": True},
    "fail": {"red": True},
    "warn": {"yellow": True},
    "plain": {},
    "dim": {"light": True},
}
_ENDED_NORMALLY = {
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.INTERRUPTED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
}


class Results:
    """What the checks of a session found; a plugin object with the hooks of the controlling process."""

    def __init__(self, pytest_config: pytest.Config, state: State) -> None:
        self._pytest_config = pytest_config
        self._state = state
        self._config = state.config
        self._items: dict[tuple[str, str], ItemReport] = {}
        self._loaded: dict[str, LoadedReport] = {}
        self._likely: dict[str, str | None] = {}
        self._updated: list[str] = []
        self._declared = False
        self._ran = False
        self._stopped = self._interrupted = False
        self._problem: str | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of what one report says. A later one of the same check replaces it.

        Last, as what JUnit has whole by then is cut here to the line that pytest's short summary has room for.
        """
        self._declared |= "__embcheck__" in report.keywords
        self._ran |= report.failed or hasattr(report, "wasxfail") or (report.when == "call" and report.passed)
        text: str | None = getattr(report, "embcheck", None)
        if text is not None:
            if (crash := getattr(report.longrepr, "reprcrash", None)) is not None:
                name = from_here(self._pytest_config, report.nodeid)
                crash.message = cut(crash.message, max(_LEAST, _LINE - columns(f"FAILED {name} - ")))
            item = msgspec.convert(json.loads(text), ItemReport)
            self._items[item.alias, item.result.key] = item
            for alias, loaded in item.models.items():
                self._loaded.setdefault(alias, loaded)

    @pytest.hookimpl
    def pytest_keyboard_interrupt(self) -> None:
        """Take note that the user interrupted: what ran just then was not measured, and has not failed."""
        self._interrupted = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear of wrong usage that a worker found. It ran nothing then."""
        said = getattr(node, "workeroutput", {})
        self._problem = said.get(PROBLEM, self._problem)
        self._state.left_out = said.get(LEFT_OUT, self._state.left_out)

    @pytest.hookimpl(specname="pytest_sessionfinish", tryfirst=True)
    def pytest_tell_junit(self) -> None:
        """Say what made a model that regressed among the properties of JUnit's suite, which is written next."""
        plugins = self._pytest_config.pluginmanager.get_plugins() if self._items else ()
        with suppress(EmbcheckError):  # which is wrong usage once the report is to be written
            for add in filter(None, (getattr(plugin, "add_global_property", None) for plugin in plugins)):
                for model in self._report().models:
                    for said in filter(None, (*model.shortfalls, model.lost, model.likely)):
                        add(f"embcheck {model.alias}", inert_line(said))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report; where all checks were skipped and nothing else ran, say so by the exit code."""
        if self._problem is not None:
            raise pytest.UsageError(self._problem)
        if self._pytest_config.option.collectonly or exitstatus not in _ENDED_NORMALLY:
            return
        self._stopped = bool(session.shouldstop or session.shouldfail) or exitstatus == pytest.ExitCode.INTERRUPTED
        if exitstatus == pytest.ExitCode.OK and self._declared and not self._ran:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        asked = any(self._pytest_config.getoption(f"embcheck_{name}") for name in _OUTPUTS)
        if not (self._declared or asked):
            return  # a run of other tests: it changes no file of ours
        try:
            if self._config.update:
                self._update()
            written = self._report()
            deliver(self._config, written)
        except EmbcheckError as error:
            raise pytest.UsageError(str(error)) from None
        if exitstatus == pytest.ExitCode.OK and not written.passes:  # of a family of tests, single ones don't tell
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _update(self) -> None:
        """Write the baselines of the models that ran. Entries of checks that did not run stay, but for ``prune``."""
        if "prune" in self._config.update and not self._is_whole():
            raise UsageError("--embcheck-update prune needs a whole run: give no node ids, files, -k, -m or globs")
        for spec in self._state.specs:
            items = self._items_of(spec)
            entries = [item.entry for item in items if item.entry]
            if entries:
                ran = [item.result.key for item in items]
                self._updated += write_baseline(self._config, spec.alias, entries, ran)

    def _items_of(self, spec: ModelSpec) -> list[ItemReport]:
        items = [item for (alias, _), item in sorted(self._items.items()) if alias == spec.alias]
        return [item for item in items if not (self._interrupted and item.result.reason == UNFINISHED)]

    def _is_whole(self) -> bool:
        """Whether what did not run is not there: nothing was selected, and nothing stopped early."""
        given = self._pytest_config.option
        selected = given.keyword or given.markexpr or self._config.property != self._config.configured_property
        return is_whole(self._pytest_config) and not selected and not self._stopped

    def _why_nothing_ran(self) -> str | None:
        """What to say of it; nothing where pytest was told a file, name or mark that are none of ours."""
        if self._declared:
            return None if self._config.models else NO_MODEL
        given = self._pytest_config.option
        is_told = not is_whole(self._pytest_config) or given.keyword or given.markexpr
        return NOT_COLLECTED if self._config.configured_models and not is_told else None

    def _what_did_not_run(self) -> str | None:
        """How many of the checks that the configuration names did not run; nothing where pytest was told a part."""
        given, has_paths = self._pytest_config.option, self._pytest_config.args_source is pytest.Config.ArgsSource.ARGS
        is_told = has_paths or given.keyword or given.markexpr or getattr(given, "lf", False) or given.embcheck_property
        if is_told or self._stopped:
            return None
        try:
            missing, named = not_run(self._config, self._state.specs, self._items.keys())
        except EmbcheckError:  # the command that is named would say so
            return None
        return f"{missing} of {named} configured checks did not run; they {_BY}" if missing else None

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what the checks found: failures first, one line with ``-q`` where all is well, nothing where unused."""

        def warn(said: str) -> None:
            for line in wrap(inert_line(said).split(" "), width=_LINE, indent="  ", gap=" "):
                terminalreporter.write_line(line, yellow=True)

        for text in self._state.left_out:
            warn(f"embcheck: {text}")
        why = self._what_did_not_run() if self._items else self._why_nothing_ran()
        if why:
            warn(f"embcheck: {why}")
        if not self._items:
            return
        written = self._report()
        has_notes = bool(self._updated) or any(model.unused or model.lost for model in written.models)
        if self._pytest_config.option.verbose < 0 and written.passes and not has_notes:
            terminalreporter.write_line(inert_line(f"embcheck: {conclusion(written.models).text}"))
            return
        terminalreporter.section("embcheck")
        for line in self._lines(written):
            terminalreporter.write_line(inert_line(line.text), **_MARKUP[line.style])
        for text in self._about_baselines(written):
            warn(text)
        for text in outputs.workflow_commands(written):
            terminalreporter.write_line(text)

    def _about_baselines(self, written: Report) -> Iterator[str]:
        """What became of them, which of their entries no check uses, and where another seed measured them."""
        yield from self._updated
        yield from filter(None, map(what_next, written.models if self._config.update else ()))
        for model in written.models:
            if model.unused and not model.unused_fails:  # which the report says
                yield f"{model.alias}: {safe(model.unused_text, 10 * WIDTH)}"
        seeds = (gate_of(self._config).on_seeds(model.alias, self._config.settings.seed) for model in written.models)
        yield from filter(None, seeds)

    def _lines(self, written: Report) -> Iterator[Line]:
        """The report's lines. What pytest has said of a failure just above is not said again."""
        is_told = self._pytest_config.option.tbstyle not in {"no", "line"}
        lines = terminal.lines(written, show=self._config.show, is_told=is_told)
        return (line for number, line in enumerate(lines) if line.text or number > 0)

    def _report(self) -> Report:
        """The report in canonical order, whoever ran what and when."""
        models, devices = [], []
        timing: dict[str, Json] = {}
        for spec in self._state.specs:
            items, loaded = self._items_of(spec), self._loaded.get(spec.alias)
            if not items and loaded is None:
                continue
            ran = [item.result.key for item in items]
            family_wise = self._config.gate if self._config.settings.family_wise else None
            results = model_record(spec, None, [i.result for i in items], family_wise=family_wise).results
            record = model_record(spec, None) if loaded is None else loaded.record
            record = structs.replace(record, results=results)
            record = with_unused(self._config, record, ran) if self._is_whole() else record
            models.append(structs.replace(record, likely=self._likely_of(spec, record)))
            timing[spec.alias] = {}
            if loaded is not None:
                devices.append(loaded.device)
                timing[spec.alias] = loaded.timing | {"results": {item.result.label: item.seconds for item in items}}
        device = devices[0] if devices else "none"
        return report(models, settings=self._config.settings, device=device, timing=timing, partial=self._stopped)

    def _likely_of(self, spec: ModelSpec, record: ModelRecord) -> str | None:
        """What happened since the baseline, worked out once. A model that only a worker had is read again from disk."""
        session = self._state.session
        gate, model = session.policy.gate, models_by_spec(session)[spec]
        if gate is None or self._interrupted or (session.known(model) is None and spec.scheme in REMOTE):
            return None
        if spec.alias not in self._likely:
            self._likely[spec.alias] = since_baseline(gate, record, lambda: session.loaded(model)[0].table)
        return self._likely[spec.alias]
