"""Where a run's report goes: the files that options name, and what GitHub Actions reads."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck.errors import EmbcheckError
from embcheck.reports import html, json_file
from embcheck.reports import summary as summaries
from embcheck.reports.text import safe
from embcheck.reports.wording import such_as, urgency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.checks.record import Report

_WIDTH = 400
_STEP_BYTES = 2**20  # of a step's summaries: GitHub shows nothing at all of more
_STEP_ERRORS = 10  # that GitHub shows of a step


def check(
    *, json: Path | None = None, summary: Path | None = None, page: Path | None = None, card: Path | None = None
) -> None:
    """Check before the work is done that the report can be written in each form that is asked for."""
    for path in (json, summary, card):
        if path is not None:
            json_file.check_writable(path)
    if page is not None:
        html.check_ready(page)


def deliver(report: Report, *, json: Path | None = None, summary: Path | None = None, page: Path | None = None) -> None:
    """Write the files that are asked for, and append to the job's summary where GitHub Actions names one."""
    errors = []
    for path, write in ((json, json_file.write), (page, html.write), (summary, summaries.write)):
        try:
            if path is not None:
                write(report, path)
        except EmbcheckError as error:  # the others are written all the same
            errors.append(error)
    if (job := os.environ.get("GITHUB_STEP_SUMMARY")) and report.models:
        try:
            with Path(job).open("a", encoding="utf-8", newline="\n") as file:
                room = _STEP_BYTES - os.fstat(file.fileno()).st_size - 1
                text = summaries.markdown(report, most=room)
                if len(text.encode()) <= room:  # else the step's earlier summaries would be lost with this one
                    file.write(text + "\n")
        except OSError as error:
            raise EmbcheckError(f"can't append to GITHUB_STEP_SUMMARY {job!r}: {error.strerror or error}") from error
    if errors:
        raise errors[0]


def annotate(report: Report) -> None:
    """Print the annotations on stderr, where GitHub Actions runs this."""
    for line in workflow_commands(report):
        sys.stderr.write(line + "\n")


def workflow_commands(report: Report) -> Iterator[str]:
    """An ``::error`` line for each of the worst checks that fail and a ``::warning`` for the others, in GitHub."""
    if os.environ.get("GITHUB_ACTIONS", "").lower() != "true":
        return
    failing = [(model.alias, result) for model in report.models for result in model.results if not result.passes]
    failing.sort(key=lambda pair: urgency(pair[1]))
    for alias, result in failing[:_STEP_ERRORS]:
        said = "; ".join(filter(None, (summaries.failure_line(result), such_as(result))))
        yield _command("error", f"{result.label} on {alias}", said)
    if rest := [f"{result.label} on {alias}" for alias, result in failing[_STEP_ERRORS:]]:
        yield _command("warning", f"{len(rest)} more checks failed", ", ".join(rest))


def _command(name: str, title: str, said: str) -> str:
    shown = _escaped(safe(title, _WIDTH)).replace(":", "%3A").replace(",", "%2C")
    return f"::{name} title={shown}::{_escaped(safe(said, _WIDTH))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
