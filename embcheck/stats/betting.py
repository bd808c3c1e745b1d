"""Means of bounded units by betting: intervals of a fixed sample, and ones that hold at every sample size at once.

A mean m is rejected once a gambler who bets against it has made 1/alpha of his stake. Half of the stake is bet on the
next unit being larger than m makes it, half on smaller, a fraction of it that only what was seen before decides; no
more than half can be lost at once. By Ville's inequality the true mean is *ever* rejected with probability at most
alpha (Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement", NeurIPS 2020; "Estimating means
of bounded random variables by betting", JRSS B 2024).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from embcheck.settings import current, is_decided

if TYPE_CHECKING:
    from collections.abc import Callable

    from embcheck.stats import Floats, Ints

__all__ = ["LEAST", "MOST", "ConfidenceSequence", "betting_interval", "betting_p_value", "draw"]

LEAST, MOST = 200, 4_000
_GRID = 4_000  # means that a sequence is looked at for
_COARSE, _FINE = 2_000, 100  # steps of a fixed sample's interval, and of the step that an end lies in


class _Stakes:
    """Hedged capital against each of some candidate means, unit after unit, of values in [0, 1].

    After t - 1 draws with sum S out of N the next one has the mean :math:`m_t = (N m - S) / (N - t + 1)` if m is right.
    """

    def __init__(self, means: Floats, population: int | None) -> None:
        self._means, self._population = means, population
        self._up, self._down = np.zeros((2, len(means)))
        self.drawn, self.sum = 0, 0.0

    def bet(self, value: float, stake: float) -> Floats:
        """Take in the next unit; what each candidate said of it: outside [0, 1] where the units before exclude it."""
        said = self._means
        if self._population is not None:
            said = (self._population * self._means - self.sum) / (self._population - self.drawn)
        mean = np.clip(said, 1e-12, 1 - 1e-12)
        self._up += np.log1p(np.minimum(stake, 0.5 / mean) * (value - mean))
        self._down += np.log1p(-np.minimum(stake, 0.5 / (1 - mean)) * (value - mean))
        self.drawn += 1
        self.sum += value
        return said

    @property
    def log_capital(self) -> Floats:
        """Logarithm of what the better half has made of a stake of one."""
        hedged: Floats = np.maximum(self._up, self._down) + math.log(0.5)
        return hedged


# --- a fixed sample ---------------------------------------------------------------------------------------------


def betting_interval(
    values: Floats, confidence_level: float, population: int | None = None, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """Interval of the mean of bounded values in random order, whatever their shape; never of zero width."""
    (lo, hi), alpha = bounds, 1 - confidence_level
    scaled = (np.asarray(values, dtype=np.float64) - lo) / (hi - lo)
    certain = _certain_range(float(scaled.sum()), len(scaled), population)
    coarse = np.linspace(*certain, _COARSE + 1)
    kept = coarse[_log_capital(scaled, coarse, alpha, population) < math.log(1 / alpha)]
    if not len(kept):
        kept = np.array([float(np.mean(scaled))])
    step = (certain[1] - certain[0]) / _COARSE
    ends = []
    for end, side in ((kept[0], -1), (kept[-1], 1)):
        fine = np.clip(np.linspace(end, end + side * step, _FINE + 1), *certain)
        inside = fine[_log_capital(scaled, fine, alpha, population) < math.log(1 / alpha)]
        ends.append(float(inside[-1]) if len(inside) else float(end))
    return lo + ends[0] * (hi - lo), lo + ends[1] * (hi - lo)


def betting_p_value(
    values: Floats, mean: float, population: int | None = None, bounds: tuple[float, float] = (0.0, 1.0)
) -> float:
    """How well bounded values agree with a mean: one over the hedged capital, by Ville's inequality, at most 1."""
    lo, hi = bounds
    scaled = (np.asarray(values, dtype=np.float64) - lo) / (hi - lo)
    candidate = np.array([(mean - lo) / (hi - lo)])
    return float(min(1.0, math.exp(-float(_log_capital(scaled, candidate, 0.05, population)[0]))))


def _certain_range(seen: float, drawn: int, population: int | None) -> tuple[float, float]:
    """Means that the seen part leaves possible: the unseen rest may be all 0 or all 1."""
    return (0.0, 1.0) if population is None else (seen / population, (seen + population - drawn) / population)


def _log_capital(x: Floats, means: Floats, alpha: float, population: int | None) -> Floats:
    """The capital after all values, with stakes that are best for so many of them."""
    n = len(x)
    steps = np.arange(1, n + 1)
    running_mean = (0.5 + np.cumsum(x)) / (steps + 1)
    running_var = (0.25 + np.cumsum((x - running_mean) ** 2)) / (steps + 1)
    past_var = np.concatenate([[0.25], running_var[:-1]])
    stakes, stake = _Stakes(means, population), np.sqrt(2 * math.log(2 / alpha) / (n * past_var))
    for t in range(n):
        stakes.bet(x[t], stake[t])
    return stakes.log_capital


# --- a sample that may stop at any time -------------------------------------------------------------------------


class ConfidenceSequence:
    r"""Interval of the mean of N values in [0, 1] as they are drawn without replacement, valid at any time to stop.

    The t-th bet is a fraction :math:`\lambda_t = \sqrt{2 \ln(2 / \alpha) / (\hat\sigma^2_{t-1} t \ln(1 + t))}` of the
    stake. Means are those of a grid of 4,001; ends are rounded outwards to it.
    """

    def __init__(self, population: int, confidence_level: float) -> None:
        self._population, self._alpha = population, 1 - confidence_level
        self._means = np.linspace(0, 1, _GRID + 1)
        self._alive = np.ones(_GRID + 1, dtype=np.bool_)
        self._stakes = _Stakes(self._means, population)
        self._deviations, self._variance = 0.0, 0.25

    def extend(self, values: Floats) -> tuple[float, float]:
        """Take in the next values, in the order in which they were drawn; the interval after them."""
        for value in values.tolist():
            self._take(value)
        kept = np.flatnonzero(self._alive)
        if not len(kept):  # which happens with probability at most alpha
            mean = self._stakes.sum / self._stakes.drawn
            return mean, mean
        low, high = (self._means[max(kept[0] - 1, 0)], self._means[min(kept[-1] + 1, _GRID)])
        least, most = _certain_range(self._stakes.sum, self._stakes.drawn, self._population)
        return max(float(low), least), min(float(high), most)

    def _take(self, value: float) -> None:
        t = self._stakes.drawn + 1
        stake = (2 * math.log(2 / self._alpha) / (self._variance * t * math.log(1 + t))) ** 0.5
        mean = self._stakes.bet(value, stake)
        self._alive &= (mean >= -1e-9) & (mean <= 1 + 1e-9) & (self._stakes.log_capital < math.log(1 / self._alpha))
        running = (0.5 + self._stakes.sum) / (t + 1)
        self._deviations += (value - running) ** 2
        self._variance = (0.25 + self._deviations) / (t + 1)


def draw(order: Ints, measure: Callable[[Ints], Floats]) -> tuple[Floats, float, float]:
    """Measure units in a random order until the claims in force are decided: values, and the interval of their mean.

    ``measure`` gives the values, in [0, 1], of some units. At least 200 are measured, and at most 4,000 or all there
    are; how many is doubled each time.
    """
    sequence = ConfidenceSequence(len(order), current().confidence_level)
    values = np.zeros(0)
    low, high, count = 0.0, 1.0, LEAST
    while len(values) < min(count, len(order)):
        fresh = measure(order[len(values) : count])
        low, high = sequence.extend(fresh)
        values = np.concatenate([values, fresh])
        if not is_decided(low, high):
            count = min(2 * count, MOST)
    mean = math.fsum(values) / len(values)
    return values, min(low, mean), max(high, mean)
