"""Range plots: where on a line an interval, the bounds of its claims and its nulls lie, in percent of the line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embcheck.reports.text import number
from embcheck.reports.wording import ends

if TYPE_CHECKING:
    from collections.abc import Iterable

    from embcheck.checks.record import ResultRecord
    from embcheck.claims import ClaimOutcome

__all__ = ["Axis", "Range", "axis_of", "range_of"]

_ROOM = 0.06
_WIDE = 50.0  # largest over smallest number from which a logarithmic axis is the clearer one


@dataclass(frozen=True, slots=True)
class Axis:
    """The line that the results of one property share."""

    low: float
    high: float
    is_logarithmic: bool = False

    def place(self, value: float) -> float:
        """Percent from the left, between 0 and 100."""
        low, high, at = (self._scaled(v) for v in (self.low, self.high, value))
        return round(100 * max(0.0, min(1.0, (at - low) / (high - low))), 2)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Places and numbers of a few round marks."""
        if self.is_logarithmic:
            powers = [10.0**power for power in range(math.ceil(self._scaled(self.low)), 12)]
            return tuple((self.place(value), number(value)) for value in powers if self.low <= value <= self.high)
        step = _round_step((self.high - self.low) / 4)
        first = math.ceil(self.low / step)
        inside = [step * i for i in range(first, first + 9) if self.low <= step * i <= self.high]
        return tuple((self.place(value), _marked(value, step)) for value in inside)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.is_logarithmic else value


def _marked(value: float, step: float) -> str:
    """A multiple of a step with the digits that tell it from its neighbors."""
    finest = math.floor(math.log10(step))
    if step > abs(value) or 1e-5 <= abs(value) < 1e15:
        return f"{value:.{max(0, -finest)}f}" if abs(value) >= step / 2 else "0"
    return f"{value:.{max(1, math.floor(math.log10(abs(value))) - finest + 1)}g}"


@dataclass(frozen=True, slots=True)
class Range:
    """One result on the line: percents from the left, and the numbers in words."""

    value: float
    low: float
    high: float
    holds: tuple[tuple[float, float], ...]
    """Where the claims hold."""
    bounds: tuple[float, ...]
    nulls: tuple[tuple[float, str], ...]
    is_exact: bool
    said: str


def axis_of(results: Iterable[ResultRecord]) -> Axis | None:
    """A line that holds the numbers of all results; none where nothing was measured."""
    numbers = [value for result in results for value in _numbers(result)]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low > _WIDE:
        return Axis(low / 1.3, high * 1.3, is_logarithmic=True)
    room = _ROOM * (high - low) or max(abs(high), 1.0) * _ROOM
    return Axis(low - room, high + room)


def range_of(result: ResultRecord, axis: Axis | None) -> Range | None:
    """Where a result lies on the line; none where nothing was measured."""
    estimate = result.estimate
    if axis is None or estimate is None or estimate.value is None:
        return None
    value = float(estimate.value)
    low, high = (value if end is None else float(end) for end in (estimate.low, estimate.high))
    nulls = [(float(null.value), null.name) for null in result.nulls if null.value is not None]
    interval = "exact" if estimate.exact else f"interval {number(low)} to {number(high)}"
    return Range(
        axis.place(value),
        axis.place(low),
        axis.place(high),
        tuple(_inside(axis, result)),
        tuple(axis.place(end) for end in _bounds(result)),
        tuple((axis.place(at), f"{name}: {number(at)}") for at, name in nulls),
        estimate.exact,
        f"{number(value)}, {interval}",
    )


def _numbers(result: ResultRecord) -> list[float]:
    """What the line must reach: estimate, bounds and nulls; nothing where nothing was measured."""
    estimate = result.estimate
    if estimate is None or estimate.value is None:
        return []
    measured = [estimate.value, estimate.low, estimate.high, *(null.value for null in result.nulls)]
    return [*(float(value) for value in measured if value is not None), *_bounds(result)]


def _bounds(result: ResultRecord) -> list[float]:
    return [end for claim in result.claims for end in _span(claim) if math.isfinite(end)]


def _span(claim: ClaimOutcome) -> tuple[float, float]:
    """Where a claim on the value holds; everywhere for one on a p-value, or whose range is not known."""
    stated = [float(end) for end in ends([claim])]
    if claim.op == "above":
        return stated[0], math.inf
    if claim.op == "below":
        return -math.inf, stated[0]
    return (stated[0], stated[1]) if claim.op == "within" and len(stated) > 1 else (-math.inf, math.inf)


def _inside(axis: Axis, result: ResultRecord) -> list[tuple[float, float]]:
    """The one stretch on which all claims on the value hold: its start and width."""
    spans = [_span(claim) for claim in result.claims]
    low, high = max((span[0] for span in spans), default=-math.inf), min((span[1] for span in spans), default=math.inf)
    if math.isinf(low) and math.isinf(high):
        return []
    start = 0.0 if math.isinf(low) else axis.place(low)
    stop = 100.0 if math.isinf(high) else axis.place(high)
    return [(start, round(stop - start, 2))] if stop > start else []


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return next(float(power * factor) for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))
