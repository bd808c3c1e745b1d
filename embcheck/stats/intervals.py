"""Confidence intervals: Student t and betting for means of units, delete-one jackknives, Wilson's score.

Numerics only. What is random, and what a unit is, is the measure's to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from embcheck.stats.betting import betting_interval

if TYPE_CHECKING:
    from embcheck.stats import Floats, Ints

__all__ = [
    "Interval", "Method", "jackknife_interval", "mean_interval", "score_interval", "share_jackknife_interval",
    "skewness_of", "square_jackknife_interval", "stratified_jackknife_interval", "student_t", "t_interval",
]  # fmt: skip

MAX_SKEWNESS = 3.0  # beyond it Student's t undercovers badly (63% at 50 probes on a real model)
LEAST_ANSWERS = 0.75  # yes-or-no answers that a unit counts for at least: what a few units don't show may be there


class Method(StrEnum):
    """How an interval is made."""

    STUDENT = "Student t"
    BETTING = "betting"
    JACKKNIFE = "jackknife-t"
    STRATIFIED_JACKKNIFE = "stratified jackknife-t"
    SCORE = "Wilson's score"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Interval:
    """Its ends, how it was made, and what is said after the name of that."""

    low: float
    high: float
    method: Method
    note: str = ""

    @property
    def text(self) -> str:
        """The method as a report names it."""
        return f"{self.method}{self.note}"


def student_t(level: float, degrees: float) -> float:
    """Quantile of Student's distribution. ``scipy.stats`` has it too, and takes most of a second to import."""
    return float(special.stdtrit(degrees, level))


def skewness_of(values: Floats) -> float:
    r"""Skewness :math:`m_3 / m_2^{3/2}` of the central moments of values; 0 where they are all equal."""
    apart = values - np.mean(values)
    spread = float(np.mean(apart**2))
    return float(np.mean(apart**3)) / spread**1.5 if spread > 0 else 0.0


def t_interval(values: Floats, confidence_level: float, population: int | None = None) -> Interval:
    r"""Student t interval of a mean, with the finite-population correction.

    :math:`\bar x \pm t_{n-1} \sqrt{(1 - n/N)\, s^2 / n}` for ``n`` of ``N`` units drawn without replacement
    (Cochran, Sampling Techniques, 1977, section 2.8); ``population=None`` means an unlimited one.
    """
    n = len(values)
    correction = 1.0 if population is None else 1.0 - n / population
    half = student_t((1 + confidence_level) / 2, n - 1) * math.sqrt(correction * float(np.var(values, ddof=1)) / n)
    mean, note = float(np.mean(values)), "" if population is None else ", finite-population correction"
    return Interval(mean - half, mean + half, Method.STUDENT, note)


def jackknife_interval(
    value: float, replicates: Floats, confidence_level: float, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[Interval, Floats]:
    r"""Delete-one jackknife-t interval around ``value``, inside ``bounds``, and the pseudo-values it comes from.

    Pseudo-values :math:`n\hat\theta - (n-1)\hat\theta_{(-i)}`; their standard error with n - 1 degrees of freedom
    (Tukey 1958; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11). The interval is centred
    on the estimate itself, not on the mean pseudo-value: for U-statistics the two agree.
    """
    n = len(replicates)
    pseudo = n * value - (n - 1) * replicates
    half = student_t((1 + confidence_level) / 2, n - 1) * float(np.std(pseudo, ddof=1)) / math.sqrt(n)
    return Interval(max(value - half, bounds[0]), min(value + half, bounds[1]), Method.JACKKNIFE), pseudo


def share_jackknife_interval(
    value: float, replicates: Floats, confidence_level: float, *, answers: float, chance: float = 0.0
) -> tuple[Interval, Floats]:
    """Wilson's score interval of a share of units, with their delete-one jackknife's variance; and pseudo-values.

    Near 0 and 1, and where some units have what others lack, a sample that misses the rare ones has too small a spread
    as well, and Student's t covers 85 to 89% instead of 95%. A share p counts as one of so many independent yeses and
    noes as would give it the jackknife's variance, between 3/4 of the units and ``answers`` times as many. ``chance``
    is what was taken from the share to make ``value``.
    """
    n, (_, pseudo) = len(replicates), jackknife_interval(value, replicates, confidence_level)
    variance, share = float(np.var(pseudo, ddof=1)) / n, min(max(value + chance, 0.0), 1.0)
    score = score_interval(share, variance, answers * n, n - 1, confidence_level, least=LEAST_ANSWERS * n)
    return replace(score, low=score.low - chance, high=score.high - chance, note=" by jackknife"), pseudo


def square_jackknife_interval(value: float, replicates: Floats, confidence_level: float) -> tuple[Interval, Floats]:
    r"""Delete-one jackknife-t interval of the squared length of a mean of unit vectors; and pseudo-values.

    Where only a share p of the units points that way the value is about :math:`p^2`, and of too few of them both it and
    its spread are too small: Student's upper end lies below the truth in 10 to 20% of samples. That end is Wilson's for
    the root, a share of units at least, where it reaches further; the lower end errs to the safe side and stays.
    """
    n, (around, pseudo) = len(replicates), jackknife_interval(value, replicates, confidence_level, (-1.0, 1.0))
    root = math.sqrt(min(max(value, 1e-12), 1.0))
    variance = float(np.var(pseudo, ddof=1)) / n / (2 * root) ** 2  # of the root, by its derivative
    score = score_interval(root, variance, math.inf, n - 1, confidence_level, least=LEAST_ANSWERS * n)
    note = ", upper end Wilson's of the root,"
    return replace(around, high=max(around.high, score.high**2), note=note), pseudo


def score_interval(
    share: float, variance: float, most: float, degrees: int, confidence_level: float, *, least: float = 0.0
) -> Interval:
    r"""Wilson's score interval of a share of so many units as would give it this variance.

    With :math:`n = p (1 - p) / v`, from ``least`` to ``most`` (the most where nothing varies), and the quantile t of
    Student's distribution with ``degrees`` of freedom, the ends are
    :math:`(p + t^2 / 2n \pm t \sqrt{p (1 - p) / n + t^2 / 4 n^2}) / (1 + t^2 / n)` (Wilson 1927; for clustered units,
    Korn and Graubard 1998). It stays inside 0 and 1, and is never of zero width.
    """
    n = most if variance <= 0 else min(max(share * (1 - share) / variance or most, least), most)
    t = student_t((1 + confidence_level) / 2, degrees)
    middle, half = share + t**2 / (2 * n), t * math.sqrt(share * (1 - share) / n + t**2 / (4 * n**2))
    low, high = (middle - half) / (1 + t**2 / n), (middle + half) / (1 + t**2 / n)
    return Interval(max(0.0, min(low, share)), min(1.0, max(high, share)), Method.SCORE)


def stratified_jackknife_interval(
    value: float, replicates: Floats, confidence_level: float, strata: Ints, *, excess: float = 0.0
) -> tuple[Interval, Floats]:
    r"""Delete-one jackknife-t interval for units in strata of fixed sizes, and its pseudo-values.

    Variance :math:`v = \sum_h v_h`, :math:`v_h = \frac{n_h - 1}{n_h} \sum_i (\hat\theta_{(-hi)} -
    \bar\theta_{(-h)})^2`; degrees of freedom :math:`v^2 / \sum_h v_h^2 / (n_h - 1)` (Welch 1947). ``excess`` is
    what v is known to count twice, as a jackknife does with what pairs of units vary by beyond the units themselves
    (Efron and Stein 1981); it takes away half of v at most. Pseudo-values are scaled so that their standard error is
    :math:`\sqrt v`.
    """
    n, pseudo = len(replicates), np.empty(len(replicates))
    variances, freedom = [], []
    for label in np.unique(strata):
        inside = strata == label
        size, centred = int(inside.sum()), replicates[inside].mean() - replicates[inside]
        pseudo[inside] = value + centred * math.sqrt(n * (n - 1) * (size - 1) / size)
        variances.append((size - 1) / size * float((centred**2).sum()))
        freedom.append(size - 1)
    total = math.fsum(variances)
    if total == 0:
        return Interval(value, value, Method.STRATIFIED_JACKKNIFE), pseudo
    df = total**2 / math.fsum(v**2 / f for v, f in zip(variances, freedom, strict=True))
    kept = max(total - excess, total / 2)
    half = student_t((1 + confidence_level) / 2, df) * math.sqrt(kept)
    interval = Interval(value - half, value + half, Method.STRATIFIED_JACKKNIFE)
    return interval, value + (pseudo - value) * math.sqrt(kept / total)


def mean_interval(
    values: Floats,
    confidence_level: float,
    population: int | None = None,
    bounds: tuple[float, float] | None = None,
    skewness: float = 0.0,
) -> Interval:
    """Interval of a mean: Student t, or betting where bounded values are very skewed.

    ``values`` stand in random order; ``skewness`` is what is known of the population's beside theirs, since a small
    sample may miss the very values that make it skewed. Bounded values without any spread get the betting interval,
    which is never of zero width; unbounded ones without spread have no interval: its ends are NaN.
    """
    spread = float(np.std(values))
    if spread <= 1e-15 * max(1.0, float(np.max(np.abs(values)))):
        if bounds is None:
            return Interval(math.nan, math.nan, Method.NONE, ": all values are equal")
    elif bounds is None or max(abs(skewness_of(values)), abs(skewness)) <= MAX_SKEWNESS:
        return t_interval(values, confidence_level, population)
    low, high = betting_interval(values, confidence_level, population, bounds)
    return Interval(low, high, Method.BETTING, "" if population is None else ", without replacement")
