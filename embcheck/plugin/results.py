"""The controlling process of a pytest session: collects the checks' results, writes the report, prints the summary.

Under xdist this is the process that runs no test; without it, the only one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from embcheck.baseline.file import Entry, key_of
from embcheck.baseline.gate import Gate, keys_of, settle
from embcheck.checks import collect
from embcheck.checks.evaluate import checks_of
from embcheck.checks.record import document, model_record
from embcheck.errors import EmbcheckError, UsageError
from embcheck.plugin.item_run import NO_MODEL
from embcheck.plugin.items import is_whole
from embcheck.reports import github, html, json_file, summary, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from embcheck.config.config import Config
    from embcheck.reports.terminal import Line, Style

__all__ = ["PROBLEM", "Results"]

PROBLEM = "embcheck_problem"
"""Under which a worker tells the controlling process of wrong usage that it found while collecting."""

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

    def __init__(self, pytest_config: pytest.Config, config: Config) -> None:
        self._pytest_config = pytest_config
        self._config = config
        self._found: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._loaded: dict[str, dict[str, Any]] = {}
        self._declared = False
        self._ran = False
        self._stopped = False
        self._problem: str | None = None

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of what one report says. A later one of the same check replaces it."""
        self._declared |= "__embcheck__" in report.keywords
        self._ran |= report.failed or hasattr(report, "wasxfail") or (report.when == "call" and report.passed)
        text: str | None = getattr(report, "embcheck", None)
        if text is not None:
            found = json.loads(text)
            record = found["record"]
            self._found[found["alias"], record["property"], json.dumps(record["params"], sort_keys=True)] = found
            for alias, about in found["models"].items():
                self._loaded.setdefault(alias, about)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear of wrong usage that a worker found. It ran nothing then."""
        self._problem = getattr(node, "workeroutput", {}).get(PROBLEM, self._problem)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the report; where all checks were skipped and nothing else ran, say so by the exit code.

        Raises
        ------
        pytest.UsageError
            A worker found wrong usage, or the report can't be written.
        """
        if self._problem is not None:
            raise pytest.UsageError(self._problem)
        if self._pytest_config.option.collectonly or exitstatus not in _ENDED_NORMALLY:
            return
        self._stopped = bool(session.shouldstop or session.shouldfail)
        if exitstatus == pytest.ExitCode.OK and self._declared and not self._ran:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        try:
            self._deliver()
        except EmbcheckError as error:
            raise pytest.UsageError(str(error)) from None

    def _deliver(self) -> None:
        """Write baselines, report and summary: only this process does."""
        if self._config.update:
            self._update()
        written = self._document()
        if self._config.json is not None:
            json_file.write(written, self._config.json)
        if self._config.html is not None:
            html.write(written, self._config.html)
        summary.deliver(written, self._config.summary)

    def _update(self) -> None:
        """Write the baselines of the models that ran. Entries of checks that did not run stay, but for ``prune``.

        Raises
        ------
        UsageError
            To prune, a whole run is needed.
        """
        if "prune" in self._config.update and not self._prunable():
            raise UsageError("--embcheck-update prune needs a whole run: give no node ids, files, -k, -m or globs")
        gate = Gate(self._config.baseline_dir, "both", "fail", self._config.update)
        for spec in self._config.models:
            found = [one for (alias, *_), one in sorted(self._found.items()) if alias == spec.alias]
            entries = [(Entry.read_whole(one["entry"][0]), one["entry"][1]) for one in found if one["entry"]]
            if entries:
                gate.write(spec.alias, entries, self._known(found))

    def _known(self, found: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        """The keys of the checks that ran on a model, and of all others that are to be found."""
        ran = frozenset(key_of(one["record"]["property"], one["record"]["params"]) for one in found)
        return ran | keys_of(checks_of(collect.functions(self._config.properties)))

    def _prunable(self) -> bool:
        """Whether what did not run is not there: nothing was selected, and nothing stopped early."""
        given = self._pytest_config.option
        selected = given.keyword or given.markexpr or self._config.property
        return is_whole(self._pytest_config) and not selected and not self._stopped

    def _unused(self, alias: str) -> list[str]:
        gate = Gate(self._config.baseline_dir, self._config.gate, self._config.missing_baseline, self._config.update)
        if gate.is_open or not self._prunable():
            return []
        return gate.unused(alias, self._known([one for (of, *_), one in self._found.items() if of == alias]))

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what the checks found: failures first, one line with ``-q`` where all is well, nothing where unused."""
        if not self._found:
            if self._declared and not self._config.models:
                terminalreporter.write_line(f"embcheck: {NO_MODEL}", yellow=True)
            return
        written = self._document()
        results = [result for model in written["models"] for result in model["results"]]
        if self._pytest_config.option.verbose < 0 and all(result["outcome"] == "pass" for result in results):
            terminalreporter.write_line(f"embcheck: {terminal.counts(results).text}")
            return
        terminalreporter.section("embcheck")
        for line in self._lines(written):
            terminalreporter.write_line(line.text, **_MARKUP[line.style])
        for text in github.lines(written):
            terminalreporter.write_line(text)

    def _lines(self, written: Mapping[str, Any]) -> Iterator[Line]:
        """The report's lines. What pytest has said of a failure just above is not said again."""
        said = self._config.show == "fail" and self._pytest_config.option.tbstyle != "no"
        lines = terminal.lines(written, show=self._config.show)
        for number, line in enumerate(lines):
            if (line.text and not (said and line.style == "plain")) or (not line.text and number > 0):
                yield line

    def _document(self) -> dict[str, Any]:
        """The report document in canonical order, whoever ran what and when."""
        models, devices = [], []
        timing: dict[str, dict[str, Any]] = {}
        for spec in self._config.models:
            found = [one for (alias, *_), one in sorted(self._found.items()) if alias == spec.alias]
            loaded = self._loaded.get(spec.alias)
            if not found and loaded is None:
                continue
            results = [one["record"] for one in found]
            record = model_record(spec, None, results)
            settle(results)
            if unused := self._unused(spec.alias):
                record["unused"] = unused
            models.append(record | {k: v for k, v in (loaded or {"record": {}})["record"].items() if k != "results"})
            timing[spec.alias] = {}
            if loaded is not None:
                devices.append(loaded["device"])
                timing[spec.alias] = loaded["load"] | {"results": {one["label"]: one["seconds"] for one in found}}
        device = devices[0] if devices else "none"
        return document(models, settings=self._config.settings, device=device, timing={"models": timing})
