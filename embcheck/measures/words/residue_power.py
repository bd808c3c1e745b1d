"""Numbers as waves: do vectors of number tokens repeat every 2, 5 and 10?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures.words.last_digit_accuracy import SHUFFLES, number_units, shuffles
from embcheck.settings import current
from embcheck.stats.permutations import p_value

if TYPE_CHECKING:
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["residue_power"]

PERIODS = (2, 5, 10)


@measure
def residue_power(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Logarithm of how many times their even share the periods 2, 5 and 10 have of the number tokens' variance.

    Over the n numbers :math:`v_i` from 0 to 999 that are one token, C the (n, d) unit rows less their mean, and Q an
    orthonormal basis of the k = 5 centred waves :math:`\cos(2 \pi v / T), \sin(2 \pi v / T)`, T = 2, 5, 10:
    :math:`\log\big(\frac{|Q^\top C|^2 / k}{|C|^2 / (n - 1)}\big)`, near 0 on noise. The numbers are the whole list, so
    the value is exact. ``shuffled_numbers`` permutes the numbers of equal length, 999 times. Details: the same for each
    period, with its p-value. Fourier features of numbers: Zhou et al. 2024, "Pre-trained Large Language Models Use
    Fourier Features to Compute Addition".

    Raises
    ------
    NotMeasurable
        Fewer than 100 numbers are single tokens, or their vectors are all equal.
    """
    values, _, units = number_units(table)
    centred = units - units.mean(0)
    even = float((centred**2).sum()) / (len(values) - 1)
    if even <= np.finfo(np.float64).eps:
        raise NotMeasurable(f"all {len(values)} numbers have the same direction")
    orders = shuffles(values, current().drawn(SHUFFLES), rng)
    bases = {"all": _waves(values, PERIODS)} | {str(period): _waves(values, (period,)) for period in PERIODS}
    ratios, draws = {}, {}
    for name, basis in bases.items():
        ratios[name] = float(((basis.T @ centred) ** 2).sum()) / basis.shape[1] / even
        powers = [float(((basis[order].T @ centred) ** 2).sum()) / basis.shape[1] / even for order in orders]
        draws[name] = np.array(powers)
    return Estimate.exact(
        math.log(ratios["all"]),
        n=len(values),
        unit="numbers",
        name="log factor of the variance at periods 2, 5 and 10",
        effect={"name": "times their even share", "value": ratios["all"]},
        draws={"shuffled_numbers": np.log(draws["all"])},
        details={
            "numbers": len(values),
            "periods": {
                str(period): {"times": ratios[str(period)], "p_value": p_value(draws[str(period)], ratios[str(period)])}
                for period in PERIODS
            },
        },
    )


def _waves(values: Ints, periods: tuple[int, ...]) -> Floats:
    """(n, k) orthonormal basis of the centred cosines and sines of these periods."""
    angles = [2 * np.pi * values / period for period in periods]
    sines = [np.sin(angle) for angle, period in zip(angles, periods, strict=True) if period > 2]  # else zero
    waves = np.stack([*map(np.cos, angles), *sines], axis=1)
    return np.linalg.qr(waves - waves.mean(0))[0]
