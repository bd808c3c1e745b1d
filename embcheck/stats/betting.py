"""Means of bounded units drawn without replacement, with intervals that hold at every sample size at once.

So sampling may stop as soon as they decide a claim, and the guarantee still holds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from embcheck.settings import current, decided

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["LEAST", "MOST", "ConfidenceSequence", "draw"]

LEAST, MOST = 200, 4_000
_GRID = 4_000


class ConfidenceSequence:
    r"""Interval of the mean of N values in [0, 1] as they are drawn without replacement.

    A mean m is rejected once a gambler who bets against it has made 1/alpha of his stake. After t - 1 draws with sum S
    the next one has the mean :math:`m_t = (N m - S) / (N - t + 1)` if m is right; half of the stake is bet on it being
    larger, half on smaller, a fraction :math:`\lambda_t = \sqrt{2 \ln(2 / \alpha) / (\hat\sigma^2_{t-1} t \ln(1 + t))}`
    of it, cut off where more than half could be lost. By Ville's inequality the true mean is *ever* rejected with
    probability at most alpha, so the interval is valid at any time that looking at the values may suggest to stop
    (Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement", NeurIPS 2020; "Estimating means
    of bounded random variables by betting", JRSS B 2024). Means are those of a grid of 4,001; ends are rounded
    outwards to it.
    """

    def __init__(self, population: int, confidence_level: float) -> None:
        self._population = population
        self._alpha = 1 - confidence_level
        self._means = np.linspace(0, 1, _GRID + 1)
        self._alive = np.ones(_GRID + 1, dtype=np.bool_)
        self._up, self._down = np.zeros((2, _GRID + 1))
        self._drawn, self._sum, self._deviations, self._variance = 0, 0.0, 0.0, 0.25

    def extend(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """Take in the next values, in the order in which they were drawn; the interval after them."""
        for value in values.tolist():
            self._take(value)
        kept = np.flatnonzero(self._alive)
        if not len(kept):  # which happens with probability at most alpha
            mean = self._sum / self._drawn
            return mean, mean
        low, high = (self._means[max(kept[0] - 1, 0)], self._means[min(kept[-1] + 1, _GRID)])
        rest = self._population - self._drawn  # the unseen may be all 0 or all 1
        return max(float(low), self._sum / self._population), min(float(high), (self._sum + rest) / self._population)

    def _take(self, value: float) -> None:
        t, left = self._drawn + 1, self._population - self._drawn
        mean = (self._population * self._means - self._sum) / left
        self._alive &= (mean >= -1e-9) & (mean <= 1 + 1e-9)
        mean = np.clip(mean, 1e-12, 1 - 1e-12)
        stake = (2 * math.log(2 / self._alpha) / (self._variance * t * math.log(1 + t))) ** 0.5
        self._up += np.log1p(np.minimum(stake, 0.5 / mean) * (value - mean))
        self._down += np.log1p(-np.minimum(stake, 0.5 / (1 - mean)) * (value - mean))
        self._alive &= np.maximum(self._up, self._down) + math.log(0.5) < math.log(1 / self._alpha)
        self._drawn, self._sum = t, self._sum + value
        running = (0.5 + self._sum) / (t + 1)
        self._deviations += (value - running) ** 2
        self._variance = (0.25 + self._deviations) / (t + 1)


def draw(
    order: NDArray[np.int64], measure: Callable[[NDArray[np.int64]], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], float, float]:
    """Measure units in a random order until the claims in force are decided: values, and the interval of their mean.

    At least 200 units are measured, and at most 4,000 or all there are; how many is doubled each time.

    Parameters
    ----------
    order
        All units of the population, in random order.
    measure
        Gives the values, in [0, 1], of some of them.
    """
    sequence = ConfidenceSequence(len(order), current().confidence_level)
    values = np.zeros(0)
    low, high, count = 0.0, 1.0, LEAST
    while len(values) < min(count, len(order)):
        found = measure(order[len(values) : count])
        low, high = sequence.extend(found)
        values = np.concatenate([values, found])
        if not decided(low, high):
            count = min(2 * count, MOST)
    mean = math.fsum(values) / len(values)
    return values, min(low, mean), max(high, mean)
