"""Range plots: where on a line an interval, the bounds of its claims and its nulls lie, in percent of the line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embcheck.reports.text import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
            found = [10.0**power for power in range(math.ceil(self._scaled(self.low)), 12)]
            return tuple((self.place(value), number(value)) for value in found if self.low <= value <= self.high)
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
    """One result on the line: percents from the left."""

    value: float
    low: float
    high: float
    holds: tuple[tuple[float, float], ...]
    """Where the claims hold."""
    bounds: tuple[float, ...]
    nulls: tuple[tuple[float, str], ...]
    is_exact: bool
    said: str


def axis_of(results: Iterable[Mapping[str, Any]]) -> Axis | None:
    """A line that holds the numbers of all results; none where nothing was measured."""
    numbers = [value for result in results if _measured(result) for value in _numbers(result)]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    if low > 0 and high / low > _WIDE:
        return Axis(low / 1.3, high * 1.3, is_logarithmic=True)
    room = _ROOM * (high - low) or max(abs(high), 1.0) * _ROOM
    return Axis(low - room, high + room)


def range_of(result: Mapping[str, Any], axis: Axis | None) -> Range | None:
    """Where a result lies on the line; none where nothing was measured."""
    if axis is None or not _measured(result):
        return None
    estimate = result["estimate"]
    value = float(estimate["value"])
    low, high = (value if estimate[key] is None else float(estimate[key]) for key in ("low", "high"))
    spans = [span for span in map(_span, result["claims"]) if span is not None]
    ends = [end for span in spans for end in span if math.isfinite(end)]
    nulls = [(axis.place(null["value"]), f"{null['name']}: {number(null['value'])}") for null in _nulls(result)]
    interval = "exact" if estimate["exact"] else f"interval {number(low)} to {number(high)}"
    return Range(
        axis.place(value),
        axis.place(low),
        axis.place(high),
        tuple(_inside(axis, spans)),
        tuple(axis.place(end) for end in ends),
        tuple(nulls),
        bool(estimate["exact"]),
        f"{number(value)}, {interval}",
    )


def _measured(result: Mapping[str, Any]) -> bool:
    return result["estimate"] is not None and result["estimate"]["value"] is not None


def _nulls(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [null for null in result["nulls"] if null["value"] is not None]


def _numbers(result: Mapping[str, Any]) -> list[float]:
    estimate = result["estimate"]
    ends = [end for span in map(_span, result["claims"]) if span is not None for end in span if math.isfinite(end)]
    own = [float(estimate[key]) for key in ("value", "low", "high") if estimate[key] is not None]
    return [*own, *ends, *(float(null["value"]) for null in _nulls(result))]


def _span(claim: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where a claim on the value holds; none for one on a p-value."""
    if claim["op"] == "above":
        return float(claim["bound"]), math.inf
    if claim["op"] == "below":
        return -math.inf, float(claim["bound"])
    if claim["op"] == "within" and claim["low"] is not None and claim["high"] is not None:
        return float(claim["low"]), float(claim["high"])
    return None


def _inside(axis: Axis, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The one stretch on which all claims hold: its start and width."""
    if not spans:
        return []
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    start = 0.0 if math.isinf(low) else axis.place(low)
    stop = 100.0 if math.isinf(high) else axis.place(high)
    return [(start, round(stop - start, 2))] if stop > start else []


def _round_step(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(step))
    return next(float(power * factor) for factor in (1, 2, 5, 10) if power * factor >= step * (1 - 1e-9))
