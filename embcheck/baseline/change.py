"""The change between two estimates of one property, with its interval: paired by unit wherever the units are the same.

Two checkpoints of one tokenizer give the same probes and words, whose values move together; the difference of each
unit with itself is hundreds of times sharper than two intervals side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import special

from embcheck.stats.betting import betting_p_value
from embcheck.stats.intervals import Method, mean_interval, student_t

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from embcheck.estimate import Part, Snapshot

__all__ = ["Difference", "between"]

MOVED = 10
MIN_SHARED = 20
_Tail = "Callable[[float, Literal['down', 'up']], float]"


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """How far an estimate moved, and how sure that is.

    ``comparison`` says how it was got: ``exact`` (both values are), ``paired`` unit by unit, or ``unpaired`` where the
    units differ. ``tail(margin, direction)`` is the one-sided p-value of a change of no more than the margin.
    """

    value: float
    low: float
    high: float
    comparison: Literal["exact", "paired", "unpaired"]
    method: str
    n: int
    tail: Callable[[float, Literal["down", "up"]], float]
    moved: Sequence[dict[str, Any]] = field(default=())

    @property
    def is_zero(self) -> bool:
        """Whether nothing at all changed."""
        return self.value == self.low == self.high == 0


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One part's units in both estimates: differences, new minus old, by label."""

    part: Part
    labels: tuple[str, ...]
    differences: NDArray[np.float64]

    @property
    def rest(self) -> float:
        """Share of the part's population that was not measured: what the mean of the differences can be wrong by."""
        return 1.0 if self.part.population is None else max(0.0, 1 - len(self.differences) / self.part.population)


def between(old: Snapshot, new: Snapshot, confidence_level: float) -> Difference:
    """The change from one estimate to another of the same property and parameters."""
    pairs = _paired(old.parts, new.parts)
    moved = _moved(pairs or ())
    value = new.value - old.value
    if old.is_exact and new.is_exact:
        return Difference(value, value, value, "exact", "both values are exact", new.n, _step(value), moved)
    if pairs is not None and all(not pair.differences.any() for pair in pairs) and (value == 0 or _sampled(pairs)):
        return Difference(0.0, 0.0, 0.0, "paired", "all differences are zero", _count(pairs), _step(0.0))
    found = _by_units(pairs, value, confidence_level) if pairs is not None else None
    if found is None:
        return _unpaired(old, new, confidence_level)
    low, high, method, tail, value = found
    return Difference(value, low, high, "paired", method, _count(pairs or ()), tail, moved)


def _paired(old: Sequence[Part], new: Sequence[Part]) -> list[_Pair] | None:
    """The parts' units beside each other; none where the parts differ, or too few units are the same ones."""
    if not old or [(p.weight, p.pseudo) for p in old] != [(p.weight, p.pseudo) for p in new]:
        return None
    pairs = []
    for before, after in zip(old, new, strict=True):
        then = dict(zip(before.labels, before.values, strict=True))
        now = dict(zip(after.labels, after.values, strict=True))
        shared = tuple(label for label in before.labels if label in now)
        whole = len(shared) == len(then) == len(now)
        if not whole and (before.pseudo or before.population != after.population or len(shared) < MIN_SHARED):
            return None
        pairs.append(_Pair(before, shared, np.array([now[label] - then[label] for label in shared])))
    return pairs


def _sampled(pairs: Sequence[_Pair]) -> bool:
    return not any(pair.part.pseudo for pair in pairs)


def _count(pairs: Sequence[_Pair]) -> int:
    return sum(len(pair.labels) for pair in pairs)


def _by_units(pairs: Sequence[_Pair], value: float, level: float) -> tuple[float, float, str, Any, float] | None:
    if any(pair.part.pseudo for pair in pairs):
        return _by_pseudo_values(pairs[0], value, level) if len(pairs) == 1 else None
    uncertain = [pair for pair in pairs if pair.rest > 0]
    if len(pairs) == 1 and uncertain:
        return _by_mean(pairs[0], level)
    return _by_strata(pairs, uncertain, level)


def _by_pseudo_values(pair: _Pair, value: float, level: float) -> tuple[float, float, str, Any, float] | None:
    """Jackknife-t of the difference of two jackknifed estimates: the pseudo-values' differences are its own."""
    n = len(pair.differences)
    error = float(np.std(pair.differences, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    if error == 0:
        return None
    low, high, tail = _student(value, error, n - 1, level)
    return low, high, "jackknife-t of paired differences", tail, value


def _by_mean(pair: _Pair, level: float) -> tuple[float, float, str, Any, float] | None:
    """Interval of the mean difference of units drawn without replacement."""
    values, part = pair.differences, pair.part
    bounds = None if part.bounds is None else (part.bounds[0] - part.bounds[1], part.bounds[1] - part.bounds[0])
    interval = mean_interval(values, level, part.population, bounds)
    if math.isnan(interval.low):
        return None
    mean = float(np.mean(values))
    if interval.method is Method.BETTING and bounds is not None:
        limits = bounds

        def tail(margin: float, direction: Literal["down", "up"]) -> float:
            edge = -margin if direction == "down" else margin
            beyond = mean < edge if direction == "down" else mean > edge
            return betting_p_value(values, edge, part.population, limits) if beyond else 1.0

        return interval.low, interval.high, f"{interval.text}, of paired differences", tail, mean
    error = math.sqrt(pair.rest * float(np.var(values, ddof=1)) / len(values))
    low, high, student = _student(mean, error, len(values) - 1, level)
    return low, high, f"{interval.text}, of paired differences", student, mean


def _by_strata(
    pairs: Sequence[_Pair], uncertain: Sequence[_Pair], level: float
) -> tuple[float, float, str, Any, float] | None:
    """Stratified Student t; parts that were measured whole add no uncertainty."""
    mean = math.fsum(pair.part.weight * float(np.mean(pair.differences)) for pair in pairs)
    if not uncertain:
        return mean, mean, "paired differences of all units", _step(mean), mean
    if any(len(pair.differences) < 2 for pair in uncertain):
        return None
    variances = [p.part.weight**2 * p.rest * float(np.var(p.differences, ddof=1)) / len(p.labels) for p in uncertain]
    total = math.fsum(variances)
    if total == 0:
        return None
    degrees = total**2 / math.fsum(v**2 / (len(p.labels) - 1) for v, p in zip(variances, uncertain, strict=True))
    low, high, tail = _student(mean, math.sqrt(total), degrees, level)
    return low, high, "stratified Student t of paired differences", tail, mean


def _student(value: float, error: float, degrees: float, level: float) -> tuple[float, float, Any]:
    half = student_t((1 + level) / 2, degrees) * error

    def tail(margin: float, direction: Literal["down", "up"]) -> float:
        beyond = -margin - value if direction == "down" else value - margin
        return float(special.stdtr(degrees, -beyond / error))

    return value - half, value + half, tail


def _step(value: float) -> Callable[[float, Literal["down", "up"]], float]:
    """The p-value of a change that is known."""

    def tail(margin: float, direction: Literal["down", "up"]) -> float:
        return 0.0 if (value < -margin if direction == "down" else value > margin) else 1.0

    return tail


def _unpaired(old: Snapshot, new: Snapshot, level: float) -> Difference:
    """Two intervals side by side, as of independent samples (MOVER: Zou and Donner, Statistics in Medicine, 2008)."""
    value = new.value - old.value
    ends = [_at_level(one, level) for one in (old, new)]
    low = value - math.hypot(new.value - ends[1][0], ends[0][1] - old.value)
    high = value + math.hypot(ends[1][1] - new.value, old.value - ends[0][0])
    quantile = float(special.ndtri((1 + level) / 2))

    def tail(margin: float, direction: Literal["down", "up"]) -> float:
        if direction == "down":
            beyond, half = -margin - value, high - value
        else:
            beyond, half = value - margin, value - low
        return float(special.ndtr(-beyond / half * quantile)) if half else float(beyond <= 0)

    return Difference(value, low, high, "unpaired", "two intervals side by side (MOVER)", min(old.n, new.n), tail)


def _at_level(one: Snapshot, level: float) -> tuple[float, float]:
    """An interval carried over to another confidence level, as a normal one would be."""
    if one.confidence_level == level:
        return one.low, one.high
    factor = float(special.ndtri((1 + level) / 2) / special.ndtri((1 + one.confidence_level) / 2))
    return one.value - factor * (one.value - one.low), one.value + factor * (one.high - one.value)


def _moved(pairs: Sequence[_Pair]) -> list[dict[str, Any]]:
    """The units that moved most, those that moved at all."""
    found = [
        (label, float(value)) for pair in pairs for label, value in zip(pair.labels, pair.differences, strict=True)
    ]
    found = sorted((one for one in found if one[1] != 0), key=lambda one: (-abs(one[1]), one[0]))[:MOVED]
    return [{"token": label, "value": value} for label, value in found]
