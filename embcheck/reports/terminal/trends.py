"""A sweep in the terminal: for each check, on which runs it passes, and from which checkpoint on it doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embcheck.reports.series import failures, series
from embcheck.reports.terminal import WIDTH, Line
from embcheck.reports.text import number, safe, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from embcheck.reports.series import Failure, Point, Series
    from embcheck.reports.terminal import Style

__all__ = ["lines"]


def lines(rows: Iterable[Mapping[str, Any]], *, encoding: str = "utf-8") -> Iterator[Line]:
    """A line for each check and run: where it first fails, or its last estimate."""
    found = series(rows)
    first = {(one.model, one.label): one for one in failures(found)}
    for one in found:
        failure = first.get((one.model, one.label))
        text = _says(one, failure)
        who = safe(f"{one.label}  {one.model}", 200, encoding=encoding)
        pieces = [who, safe(text, 300, encoding=encoding)]
        skipped = one.points[-1].verdict == "skipped"
        style: Style = "fail" if failure else "dim" if skipped else "pass"
        word = {"fail": "FAIL", "dim": "skip", "pass": "pass"}[style]
        for line in wrap(pieces, width=WIDTH, first=f"{word}  ", indent=" " * 6):
            yield Line(line, style)


def _says(one: Series, failure: Failure | None) -> str:
    span = f"steps {one.points[0].step}-{one.points[-1].step}"
    if failure is None:
        return f"{len(one.points)} checkpoints, {span}: last {_estimate(one.points[-1])}"
    since = "from the first checkpoint" if failure.before is None else f"after step {failure.before}"
    failing = sum(not point.passed for point in one.points)
    return (
        f"fails at step {failure.point.step}, {since}: {_estimate(failure.point)}; "
        f"{failing} of {len(one.points)} checkpoints fail"
    )


def _estimate(point: Point) -> str:
    if point.value is None or point.low is None or point.high is None:
        return f"{point.verdict}: {point.reason}"
    return f"{point.verdict}, {number(point.value)} [{number(point.low)}, {number(point.high)}]"
