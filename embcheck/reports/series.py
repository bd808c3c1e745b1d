"""A sweep over steps: series with their intervals, where they changed, and the first checkpoint that failed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Failure", "Point", "Series", "changes", "failures", "series"]


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint's estimate; without numbers where it was skipped or failed to run."""

    step: int
    value: float | None
    low: float | None
    high: float | None
    verdict: str
    passed: bool
    reason: str | None = None


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


@dataclass(frozen=True, slots=True)
class Failure:
    """The first checkpoint on which a check does not pass, and the one before it."""

    model: str
    label: str
    point: Point
    before: int | None


def series(rows: Iterable[Mapping[str, Any]]) -> tuple[Series, ...]:
    """The rows of a sweep as series, by check and model; points by step."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["label"], row["model"]].append(row)
    return tuple(_series(groups[place]) for place in sorted(groups))


def _series(rows: Sequence[Mapping[str, Any]]) -> Series:
    ordered = sorted(rows, key=lambda row: row["step"])
    last = ordered[-1]
    points = tuple(
        Point(r["step"], r["value"], r["low"], r["high"], r["verdict"], r["outcome"] == "pass", r["reason"])
        for r in ordered
    )
    name = next((row["estimate"] for row in ordered if row["estimate"]), None)
    return Series(last["model"], last["label"], last["sentence"], name, last["claims"], last["margin"], points)


def changes(one: Series) -> tuple[int, ...]:
    """Steps at which a series changed.

    That is where it begins or ceases to pass; and where its interval has moved away from that of the last
    change (or of the first step) by more than the property's margin: the gap between the two intervals is larger.
    """
    found = []
    anchor: Point | None = None
    before: Point | None = None
    for point in one.points:
        turned = before is not None and point.passed != before.passed
        if turned or (anchor is not None and _gap(anchor, point) > (one.margin or float("inf"))):
            found.append(point.step)
            anchor = None
        if anchor is None and point.value is not None:
            anchor = point
        before = point
    return tuple(found)


def _gap(one: Point, other: Point) -> float:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return 0.0
    return max(other.low - one.high, one.low - other.high, 0.0)


def failures(found: Iterable[Series]) -> tuple[Failure, ...]:
    """For each series that fails somewhere, the first checkpoint where it does."""
    first = []
    for one in found:
        before: int | None = None
        for point in one.points:
            if not point.passed:
                first.append(Failure(one.model, one.label, point, before))
                break
            before = point.step
    return tuple(first)
