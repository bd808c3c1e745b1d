"""Where a run's report goes: the files that options name, and what GitHub Actions reads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck import files
from embcheck.checks.record import Report
from embcheck.errors import EmbcheckError, UsageError
from embcheck.reports import html, json_file
from embcheck.reports import summary as summaries
from embcheck.reports.comparison import Comparison
from embcheck.reports.text import safe
from embcheck.reports.wording import such_as, urgency

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from embcheck.reports.diagnosis import Diagnosis

    Document: TypeAlias = Report | Comparison | Diagnosis

_WIDTH = 600
_STEP_BYTES = 2**20  # of a step's summaries: GitHub shows nothing at all of more
_STEP_ERRORS = 10  # that GitHub shows of a step


def check(
    *, json: Path | None = None, summary: Path | None = None, page: Path | None = None, card: Path | None = None
) -> None:
    """Check before the work is done that the report can be written in each form that is asked for."""
    if [json, summary, page, card].count(files.STDOUT) > 1:
        raise UsageError("only one file can be standard output ('-'); name the others")
    for path in (json, summary, card):
        if path is not None:
            json_file.check_writable(path)
    if page is not None:
        html.check_ready(page)


def deliver(
    document: Document, *, json: Path | None = None, summary: Path | None = None, page: Path | None = None
) -> None:
    """Write the files that are asked for, and append to the job's summary where GitHub Actions names one."""
    try:
        write(document, json=json, summary=summary, page=page)
    finally:
        if not isinstance(document, Report) or document.models:
            _append_to_job(document)


def write(
    document: Document, *, json: Path | None = None, summary: Path | None = None, page: Path | None = None
) -> None:
    """Write the files that are asked for: where one can't be, the others all the same."""
    errors = []
    for path, write_to in ((json, json_file.write), (page, html.write), (summary, summaries.write)):
        try:
            if path is not None:
                write_to(document, path)
        except EmbcheckError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _append_to_job(document: Document) -> None:
    """Append its summary, as far as there is room, to that of the job, where GitHub Actions names one."""
    if not (job := os.environ.get("GITHUB_STEP_SUMMARY")):
        return
    try:
        with Path(job).open("a", encoding="utf-8", newline="\n") as file:
            room = _STEP_BYTES - os.fstat(file.fileno()).st_size - 1
            text = summaries.markdown(document, most=room)
            if len(text.encode()) <= room:  # else the step's earlier summaries would be lost with this one
                file.write(text + "\n")
    except OSError as error:
        raise EmbcheckError(f"can't append to GITHUB_STEP_SUMMARY {job!r}: {error.strerror or error}") from error


def annotate(report: Report | Comparison) -> None:
    """Print the annotations on stderr, where GitHub Actions runs this."""
    for line in workflow_commands(report):
        sys.stderr.write(line + "\n")


def workflow_commands(report: Report | Comparison) -> Iterator[str]:
    """``::error`` lines for what made a model, if known, and the worst that fail; one ``::warning`` for the others."""
    if os.environ.get("GITHUB_ACTIONS", "").lower() != "true":
        return
    failing = _failing_of(report) if isinstance(report, Comparison) else _failing(report)
    causes = list(_causes(report))[: _STEP_ERRORS // 2]
    room = _STEP_ERRORS - len(causes)
    for title, said in (*causes, *failing[:room]):
        yield _command("error", title, said)
    if rest := failing[room:]:
        yield _command("warning", f"{len(rest)} more checks failed", ", ".join(title for title, _ in rest))


def _causes(report: Report | Comparison) -> Iterator[tuple[str, str]]:
    """Title and text of what made a model of that which it was compared with."""
    if isinstance(report, Comparison):
        likely = [(" against ".join(report.models[::-1]), report.likely)]
    else:
        likely = [(f"{model.alias} against its baseline", model.likely) for model in report.models]
    yield from ((title, said) for title, said in likely if said)


def _failing(report: Report) -> list[tuple[str, str]]:
    """Title and text of what fails: what is no check, then each check, the worst first."""
    apart = [(model.alias, f"fails: {said}") for model in report.models for said in model.shortfalls]
    failing = [(model.alias, result) for model in report.models for result in model.results if not result.passes]
    failing.sort(key=lambda pair: urgency(pair[1]))
    return apart + [
        (f"{result.label} on {alias}", _joined(summaries.failure_line(result), such_as(result)))
        for alias, result in failing
    ]


def _failing_of(compared: Comparison) -> list[tuple[str, str]]:
    """Title and text of each limit and check that fails, the worst first."""
    against = " against ".join(compared.models[::-1])
    limits = [(f"--{limit.option}", limit.reason) for limit in compared.limits if not limit.passes]
    checks = [
        (row.check, _joined(row.state, row.change_text, row.change.reason if row.change else row.reason))
        for row in compared.by_urgency
        if not row.passes
    ]
    return [(f"{title}: {against}", said) for title, said in limits + checks]


def _joined(*parts: str | None) -> str:
    return "; ".join(filter(None, parts))


def _command(name: str, title: str, said: str) -> str:
    shown = _escaped(safe(title, _WIDTH)).replace(":", "%3A").replace(",", "%2C")
    return f"::{name} title={shown}::{_escaped(safe(said, _WIDTH))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
