"""A sweep in the terminal: for each check, on which runs it passes, and from which checkpoint on it doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.reports.series import failure, series
from embcheck.reports.text import number, safe, wrap
from embcheck.reports.wording import WIDTH, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from embcheck.reports.series import Failure, Point, Series
    from embcheck.reports.wording import Style


def lines(rows: Iterable[Mapping[str, Any]], *, encoding: str = "utf-8") -> Iterator[Line]:
    """A line for each check and run: where it first fails, or its last estimate."""
    for line in series(rows):
        failed = failure(line)
        who = safe(f"{line.label}  {line.model}", 200, encoding=encoding)
        pieces = [who, safe(_outcome(line, failed), 300, encoding=encoding)]
        style: Style = "fail" if failed else "dim" if line.points[-1].verdict == "skipped" else "pass"
        word = {"fail": "FAIL", "dim": "skip", "pass": "pass"}[style]
        yield from (Line(text, style) for text in wrap(pieces, width=WIDTH, first=f"{word}  ", indent=" " * 6))


def _outcome(line: Series, failed: Failure | None) -> str:
    n = len(line.points)
    if failed is None:
        span = f"steps {line.points[0].step}-{line.points[-1].step}"
        return f"{n} checkpoints, {span}: last {_estimate(line.points[-1])}"
    since = "from the first checkpoint" if failed.before is None else f"after step {failed.before}"
    failing = sum(not point.passed for point in line.points)
    return f"fails at step {failed.point.step}, {since}: {_estimate(failed.point)}; {failing} of {n} checkpoints fail"


def _estimate(point: Point) -> str:
    if not point.is_measured:
        return f"{point.verdict}: {point.reason}"
    return f"{point.verdict}, {number(point.value)} [{number(point.low)}, {number(point.high)}]"
