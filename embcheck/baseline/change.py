"""The change between two estimates of one property, with its interval: paired by the units that both have.

Two checkpoints of one tokenizer give the same probes and words, whose values move together; the difference of each
unit with itself is hundreds of times sharper than two intervals side by side. What is known of both as a whole is
compared exactly; of a sample, what was not drawn is taken to differ by at most twice what the sample does. Where a list
lost units the change is that of the others, and the lost ones are named: whoever asks decides what that means.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from embcheck.stats.betting import betting_p_value
from embcheck.stats.intervals import Method, mean_interval, student_t

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from embcheck.checks.record import Json
    from embcheck.estimate import Part, Snapshot

    Tail = Callable[[float, Literal["down", "up"]], float]

MOVED = 10
_SAMPLE = re.compile(r"(?<= more) \([0-9a-f]{8}\)$")  # tells samples of rows apart, and says nothing to a reader
MIN_SHARED = 20
MOST_GONE = 0.2  # of a list's units: the rest is compared by a first-order expansion, off by the square of this
MOST_ROWS_GONE = 0.01  # of a population, of which units are a sample
UNSEEN = 2.0  # times the largest difference in a sample: what a unit that was not drawn may differ by


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
    tail: Tail
    moved: Sequence[Json] = field(default=())
    gone: Sequence[str] = field(default=())
    """Units of lists that the old estimate has and the new one lacks."""
    as_far: int = 0
    """Units left out of ``moved`` that moved as far as the last one there."""

    @property
    def is_zero(self) -> bool:
        """Whether nothing at all changed."""
        return self.value == self.low == self.high == 0


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One part's units in both estimates, by label."""

    part: Part
    labels: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    unshared: tuple[Sequence[float], Sequence[float]] = ((), ())
    """Values of the units that one of the two has alone."""

    def on_shared(self, ends: tuple[Snapshot, Snapshot]) -> float:
        r"""The change of two jackknifed estimates on the units that both have.

        Without unit :math:`j` an estimate is :math:`(n\theta - p_j) / (n - 1)` by the definition of the pseudo-value;
        without several, :math:`(n\theta - \sum p_j) / (n - k)` up to a second-order term.
        """
        n = len(self.labels)
        old, new = (
            (end.value * (n + len(lost)) - math.fsum(lost)) / n if lost else end.value
            for end, lost in zip(ends, self.unshared, strict=True)
        )
        return new - old

    @property
    def differences(self) -> NDArray[np.float64]:
        """New minus old, by label."""
        return self.after - self.before

    @property
    def rest(self) -> float:
        """Share of the part's population that was not measured: what the mean of the differences can be wrong by."""
        return 1.0 if self.part.population is None else max(0.0, 1 - len(self.differences) / self.part.population)


def between(old: Snapshot, new: Snapshot, confidence_level: float) -> Difference:
    """The change from one estimate to another of the same property and parameters."""
    pairs, lost = _paired(old.parts, new.parts), gone(old.parts, new.parts)
    value = new.value - old.value
    if old.is_exact and new.is_exact:
        moved, as_far = _moved(pairs or ())
        how = "both values are exact"
        return Difference(value, value, value, "exact", how, new.n, _step(value), moved, lost, as_far)
    difference = None if pairs is None else _by_units(pairs, (old, new), confidence_level)
    return replace(difference or _unpaired(old, new, confidence_level), gone=lost)


def gone(old: Sequence[Part], new: Sequence[Part]) -> list[str]:
    """Labels of the units of lists that the new estimate lacks. What is a sample of a vocabulary is no list.

    Where the two share no label at all, they name other things, and none of them is known to be lost.
    """
    now = {label for part in new for label in part.labels}
    listed = [label for part in old if _is_list(part) for label in part.labels]
    return [] if now.isdisjoint(listed) else [label for label in listed if label not in now]


def is_of_lists(parts: Sequence[Part]) -> bool:
    """Whether an estimate is of the units of lists alone, and rows that none of them names are no matter of its."""
    return bool(parts) and all(map(_is_list, parts))


def _is_list(part: Part) -> bool:
    return part.population is None or part.population == len(part.labels)


def _paired(old: Sequence[Part], new: Sequence[Part]) -> list[_Pair] | None:
    """The parts' units beside each other; none where the parts differ, or too few units are the same ones."""
    if not old or [(p.weight, p.pseudo) for p in old] != [(p.weight, p.pseudo) for p in new]:
        return None
    pairs = []
    for before, after in zip(old, new, strict=True):
        then = dict(zip(before.labels, before.values, strict=True))
        now = dict(zip(after.labels, after.values, strict=True))
        shared = tuple(label for label in before.labels if label in now)
        if not _is_alike(before, after, len(shared)):
            return None
        first, second = (np.array([units[label] for label in shared]) for units in (then, now))
        alone = [then[label] for label in then if label not in now], [now[label] for label in now if label not in then]
        pairs.append(_Pair(before, shared, first, second, alone))
    return pairs


def _is_alike(old: Part, new: Part, shared: int) -> bool:
    """Whether so many of two parts' units are the same ones that their differences tell the change."""
    if shared == len(old.labels) == len(new.labels):
        return True
    if _is_list(old) and _is_list(new):
        return shared >= (1 - MOST_GONE) * max(len(old.labels), len(new.labels))
    if old.population is None or new.population is None:
        return False
    larger = max(old.population, new.population)
    return shared >= MIN_SHARED and abs(old.population - new.population) <= MOST_ROWS_GONE * larger


def _by_units(pairs: Sequence[_Pair], ends: tuple[Snapshot, Snapshot], level: float) -> Difference | None:
    """The change by the differences of units; none where they don't tell how sure it is."""
    has_pseudo_values = any(pair.part.pseudo for pair in pairs)
    value = pairs[0].on_shared(ends) if has_pseudo_values else ends[1].value - ends[0].value
    if all(not pair.differences.any() for pair in pairs) and (value == 0 or not has_pseudo_values):
        return _of_pairs(pairs, 0.0, 0.0, 0.0, "all differences are zero", _step(0.0))
    if has_pseudo_values:
        return _by_pseudo_values(pairs[0], ends, level) if len(pairs) == 1 else None
    uncertain = [pair for pair in pairs if pair.rest > 0]
    if len(pairs) == 1 and uncertain:
        return _by_mean(pairs[0], level)
    return _by_strata(pairs, uncertain, level)


def _of_pairs(pairs: Sequence[_Pair], value: float, low: float, high: float, method: str, tail: Tail) -> Difference:
    n = sum(len(pair.labels) for pair in pairs)
    moved, as_far = _moved(pairs)
    return Difference(value, low, high, "paired", method, n, tail, moved, as_far=as_far)


def _by_pseudo_values(pair: _Pair, ends: tuple[Snapshot, Snapshot], level: float) -> Difference | None:
    r"""Jackknife-t of the difference of two jackknifed estimates: the pseudo-values' differences are its own.

    An estimate's interval may reach further than Student's, because its spread grows with it or because a sample may
    miss rare units. When the change moves by one standard error, each estimate moves by :math:`r` of its own, r being
    the correlation of its pseudo-values with their differences; :math:`r^2` of how much further the new one's
    interval reaches that way than Student's, less as much of the old one's, is added to that end of the change's: at
    most what Student's reaches.
    """
    n, value = len(pair.differences), pair.on_shared(ends)
    error = float(np.std(pair.differences, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    if error == 0:
        return None
    half = student_t((1 + level) / 2, n - 1) * error

    def further(direction: int) -> float:
        """How much further than Student's the change's interval reaches."""
        total = 0.0
        for sign, snapshot, pseudo in ((-1, ends[0], pair.before), (1, ends[1], pair.after)):
            spread = float(np.std(pseudo, ddof=1))
            if spread > 0:
                r = float(np.cov(pseudo, pair.differences)[0, 1]) / (spread * error * math.sqrt(n))
                low, high = _at_level(snapshot, level)
                reach = high - snapshot.value if r * direction > 0 else snapshot.value - low
                beyond = max(0.0, reach - half / error * spread / math.sqrt(n))
                total += sign * math.copysign(r * r * beyond, r * direction)
        return min(half, max(0.0, direction * total))  # a correction: the differences' own spread leads

    below, above = half + further(-1), half + further(1)

    def tail(margin: float, direction: Literal["down", "up"]) -> float:
        beyond, reach = (-margin - value, above) if direction == "down" else (value - margin, below)
        return float(special.stdtr(n - 1, -beyond / (error * reach / half)))

    return _of_pairs([pair], value, value - below, value + above, "jackknife-t of paired differences", tail)


def _by_mean(pair: _Pair, level: float) -> Difference | None:
    """Interval of the mean difference of units drawn without replacement: Student t, or betting where they are skewed.

    Bets are on differences of up to `UNSEEN` times the largest one, not on all that two shares can differ by: 200
    probes whose shares differ by 1e-7 would leave a change of 0.015 open.
    """
    values, part = pair.differences, pair.part
    reach = UNSEEN * float(np.abs(values).max())
    if part.bounds is not None:
        reach = min(reach, part.bounds[1] - part.bounds[0])
    limits = (-reach, reach)
    has_spread = float(np.ptp(values)) > 0
    interval = mean_interval(values, level, part.population, None if part.bounds is None and has_spread else limits)
    mean, method = float(np.mean(values)), f"{interval.text}, of paired differences"
    if interval.method is Method.BETTING:

        def tail(margin: float, direction: Literal["down", "up"]) -> float:
            edge = -margin if direction == "down" else margin
            beyond = mean < edge if direction == "down" else mean > edge
            return betting_p_value(values, edge, part.population, limits) if beyond else 1.0

        return _of_pairs([pair], mean, interval.low, interval.high, method, tail)
    error = math.sqrt(pair.rest * float(np.var(values, ddof=1)) / len(values))
    low, high, student = _student(mean, error, len(values) - 1, level)
    return _of_pairs([pair], mean, low, high, method, student)


def _by_strata(pairs: Sequence[_Pair], uncertain: Sequence[_Pair], level: float) -> Difference | None:
    """Stratified Student t; parts that were measured whole add no uncertainty."""
    mean = math.fsum(pair.part.weight * float(np.mean(pair.differences)) for pair in pairs)
    if not uncertain:
        return _of_pairs(pairs, mean, mean, mean, "paired differences of all units", _step(mean))
    if any(len(pair.differences) < 2 for pair in uncertain):
        return None
    variances = [p.part.weight**2 * p.rest * float(np.var(p.differences, ddof=1)) / len(p.labels) for p in uncertain]
    total = math.fsum(variances)
    if total == 0:
        return None
    degrees = total**2 / math.fsum(v**2 / (len(p.labels) - 1) for v, p in zip(variances, uncertain, strict=True))
    low, high, tail = _student(mean, math.sqrt(total), degrees, level)
    return _of_pairs(pairs, mean, low, high, "stratified Student t of paired differences", tail)


def _student(value: float, error: float, degrees: float, level: float) -> tuple[float, float, Tail]:
    half = student_t((1 + level) / 2, degrees) * error

    def tail(margin: float, direction: Literal["down", "up"]) -> float:
        beyond = -margin - value if direction == "down" else value - margin
        return float(special.stdtr(degrees, -beyond / error))

    return value - half, value + half, tail


def _step(value: float) -> Tail:
    """The p-value of a change that is known."""

    def tail(margin: float, direction: Literal["down", "up"]) -> float:
        return 0.0 if (value < -margin if direction == "down" else value > margin) else 1.0

    return tail


def _unpaired(old: Snapshot, new: Snapshot, level: float) -> Difference:
    """Two intervals side by side, as of independent samples (MOVER: Zou and Donner, Statistics in Medicine, 2008)."""
    value = new.value - old.value
    ends = [_at_level(snapshot, level) for snapshot in (old, new)]
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


def _at_level(snapshot: Snapshot, level: float) -> tuple[float, float]:
    """An interval carried over to another confidence level, as a normal one would be."""
    if snapshot.confidence_level == level:
        return snapshot.low, snapshot.high
    factor = float(special.ndtri((1 + level) / 2) / special.ndtri((1 + snapshot.confidence_level) / 2))
    below, above = snapshot.value - snapshot.low, snapshot.high - snapshot.value
    return snapshot.value - factor * below, snapshot.value + factor * above


def _moved(pairs: Sequence[_Pair]) -> tuple[list[Json], int]:
    """The units that moved most, those that moved at all; and how many more moved as far as the last of these."""
    moved: list[Json] = [
        {"token": _SAMPLE.sub("", label), "value": float(value)}
        for pair in pairs
        for label, value in zip(pair.labels, pair.differences, strict=True)
        if value != 0
    ]
    moved.sort(key=lambda unit: (-abs(unit["value"]), unit["token"]))
    kept, rest = moved[:MOVED], moved[MOVED:]
    return kept, sum(math.isclose(abs(unit["value"]), abs(kept[-1]["value"])) for unit in rest)
