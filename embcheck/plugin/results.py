"""The controlling process of a pytest session: collects the checks' results, writes the report, prints the summary.

Under xdist this is the process that runs no test; without it, the only one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from embcheck.errors import EmbcheckError
from embcheck.plugin.checks import NO_MODEL
from embcheck.record import document, model_record
from embcheck.reports import json_file, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from embcheck.config import Config
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
        self._declared = False
        self._ran = False
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
        if exitstatus == pytest.ExitCode.OK and self._declared and not self._ran:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
        if self._config.json is not None:
            try:
                json_file.write(self._document(), self._config.json)
            except EmbcheckError as error:
                raise pytest.UsageError(str(error)) from None

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
            if not found:
                continue
            results = [one["record"] for one in found]
            loaded = next((one for one in found if one["model"]), None)
            record = model_record(spec, None, results)
            models.append(record | {k: v for k, v in (loaded or {"model": {}})["model"].items() if k != "results"})
            timing[spec.alias] = {}
            if loaded is not None:
                devices.append(loaded["device"])
                timing[spec.alias] = loaded["load"] | {"results": {one["label"]: one["seconds"] for one in found}}
        device = devices[0] if devices else "none"
        return document(models, settings=self._config.settings, device=device, timing={"models": timing})
