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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embcheck.checks.record import Report

_WIDTH = 400


def check(*, json: Path | None = None, summary: Path | None = None, page: Path | None = None) -> None:
    """Check before the work is done that the report can be written in each form that is asked for."""
    for path in (json, summary):
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
                file.write(summaries.markdown(report) + "\n")
        except OSError as error:
            raise EmbcheckError(f"can't append to GITHUB_STEP_SUMMARY {job!r}: {error.strerror or error}") from error
    if errors:
        raise errors[0]


def annotate(report: Report) -> None:
    """Print the annotations on stderr, where GitHub Actions runs this."""
    for line in workflow_commands(report):
        sys.stderr.write(line + "\n")


def workflow_commands(report: Report) -> Iterator[str]:
    """An ``::error`` line for each check that fails; none anywhere else than in GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS", "").lower() != "true":
        return
    for model in report.models:
        for result in model.results:
            if not result.passes:
                title = _escaped(safe(f"{result.label} on {model.alias}", _WIDTH))
                title = title.replace(":", "%3A").replace(",", "%2C")
                said = "; ".join(part for part in (summaries.statistics_line(result), summaries.why(result)) if part)
                yield f"::error title={title}::{_escaped(safe(said, _WIDTH))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
