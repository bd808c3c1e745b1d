"""A sweep over steps: series with their intervals, where they changed, and the first checkpoint that failed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from embcheck.claims import UNMEASURED
from embcheck.reports.text import number, safe, wrap
from embcheck.reports.wording import WIDTH, Line
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from embcheck.checks.record import Json
    from embcheck.reports.wording import Style

HOW = ("matrix", "population", "seed", "probes", "confidence_level", "dtype")
"""Columns that say how a number was measured."""


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint's estimate; without numbers where it was skipped or failed to run."""

    step: int
    value: float | None
    low: float | None
    high: float | None
    verdict: str
    passed: bool
    reason: str | None

    @property
    def is_measured(self) -> bool:
        """Whether it has numbers."""
        return self.value is not None and self.low is not None and self.high is not None


@dataclass(frozen=True, slots=True)
class Series:
    """One check of one training run, by step."""

    model: str
    label: str
    sentence: str
    estimate: str | None
    claims: str
    """The bounds, as JSON."""
    margin: float | None
    points: tuple[Point, ...]


class Failure(NamedTuple):
    """The first checkpoint on which a check does not pass, and the step of the one before it."""

    point: Point
    before: int | None


def series_of(row: Json) -> tuple[str, ...]:
    """Which series a row belongs to: numbers that were measured otherwise are no neighbours of it."""
    return (row["label"], row["model"], *(str(row.get(name)) for name in HOW))


def series(rows: Iterable[Json]) -> tuple[Series, ...]:
    """The rows of a sweep as series, by check and model, and how it was measured; points by step."""
    ordered = sorted(rows, key=lambda row: (*series_of(row), row["step"]))
    groups = {key: list(group) for key, group in groupby(ordered, key=series_of)}
    return tuple(_series(group, _name(key, list(groups))) for key, group in groups.items())


def _name(key: tuple[str, ...], keys: Sequence[tuple[str, ...]]) -> str:
    """The model, with what tells this series of it from others."""
    others = [other for other in keys if other[:2] == key[:2]]
    told = [
        f"{name} {value}"
        for i, (name, value) in enumerate(zip(HOW, key[2:], strict=True), 2)
        if any(other[i] != value for other in others)
    ]
    return ", ".join([str(key[1]), *told])


def _series(rows: Sequence[Json], model: str) -> Series:
    last = rows[-1]
    points = tuple(
        Point(r["step"], r["value"], r["low"], r["high"], r["verdict"], r["outcome"] == "pass", r["reason"])
        for r in rows
    )
    name = next((row["estimate"] for row in rows if row["estimate"]), None)
    return Series(model, last["label"], last["sentence"], name, last["claims"], last["margin"], points)


def changes(line: Series) -> tuple[int, ...]:
    """Steps at which a series changed.

    That is where it begins or ceases to pass; and where its interval has moved away from that of the last
    change (or of the first step) by more than the property's margin: the gap between the two intervals is larger.
    """
    steps = []
    anchor: Point | None = None
    before: Point | None = None
    for point in line.points:
        turned = before is not None and point.passed != before.passed
        if turned or (anchor is not None and _gap(anchor, point) > (line.margin or float("inf"))):
            steps.append(point.step)
            anchor = None
        if anchor is None and point.value is not None:
            anchor = point
        before = point
    return tuple(steps)


def _gap(a: Point, b: Point) -> float:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return 0.0
    return max(b.low - a.high, a.low - b.high, 0.0)


def failure(line: Series) -> Failure | None:
    """The first checkpoint where a series does not pass; none where it always does."""
    before: int | None = None
    for point in line.points:
        if not point.passed:
            return Failure(point, before)
        before = point.step
    return None


# --- in the terminal --------------------------------------------------------------------------------------------------


def lines(rows: Iterable[Json], *, encoding: str = "utf-8") -> Iterator[Line]:
    """A line for each check and run: where it first fails, or its last estimate."""
    for line in series(rows):
        failed = failure(line)
        who = safe(f"{line.label}  {line.model}", 200, encoding=encoding)
        pieces = [who, safe(_outcome(line, failed), 300, encoding=encoding)]
        style: Style = "fail" if failed else "dim" if line.points[-1].verdict in UNMEASURED else "pass"
        word = {"fail": "FAIL", "dim": "skip", "pass": "pass"}[style]
        yield from (Line(text, style) for text in wrap(pieces, width=WIDTH, first=f"{word}  ", indent=" " * 6))


def _outcome(line: Series, failed: Failure | None) -> str:
    n = len(line.points)
    if failed is None:
        span = f"steps {line.points[0].step}-{line.points[-1].step}"
        return f"{counted(n, 'checkpoints')}, {span}: last {_estimate(line.points[-1])}"
    since = "from the first checkpoint" if failed.before is None else f"after step {failed.before}"
    failing = sum(not point.passed for point in line.points)
    share = f"{failing} of {counted(n, 'checkpoints')} {'fails' if failing == 1 else 'fail'}"
    return f"fails at step {failed.point.step}, {since}: {_estimate(failed.point)}; {share}"


def _estimate(point: Point) -> str:
    if not point.is_measured:
        return f"{point.verdict}: {point.reason}"
    return f"{point.verdict}, {number(point.value)} [{number(point.low)}, {number(point.high)}]"
