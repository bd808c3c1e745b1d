"""Numbers by their last digit: is it readable from the vector of a number token?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Estimate, measure
from embcheck.measures.resolve import lowest, unit
from embcheck.settings import current
from embcheck.stats import permutations
from embcheck.stats.intervals import score_interval
from embcheck.table.spelling import numbers

if TYPE_CHECKING:
    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["SHUFFLES", "last_digit_accuracy", "number_units", "shuffles"]

ENOUGH, SHUFFLES, DIGITS = 100, 999, 10


@measure
def last_digit_accuracy(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Share of number tokens whose last digit is that of the nearest centroid, built without the number itself.

    Over the n numbers from 0 to 999 that are one token, :math:`x_i` their unit rows: number i is read right where
    :math:`|x_i - \mu_c^{(-i)}|` is smallest at its own last digit c, :math:`\mu_c^{(-i)}` the mean of the other numbers
    that end in c. Unit: numbers; interval: Wilson's score. ``shuffled_numbers`` permutes the numbers of equal length,
    999 times. That language models keep numbers by their residues: Levy and Geva 2024, "Language Models Encode
    Numbers Using Digit Representations in Base 10"; Zhou et al. 2024, "Pre-trained Large Language Models Use Fourier
    Features to Compute Addition".

    Raises
    ------
    NotMeasurable
        Fewer than 100 numbers are single tokens.
    """
    values, rows, units = number_units(table)
    digits, n = values % DIGITS, len(values)
    margins = _margins(units, digits)
    right = margins > 0
    share = float(right.mean())
    orders = shuffles(values, current().drawn(SHUFFLES), rng)
    draws = np.array([float((_margins(units, digits[order]) > 0).mean()) for order in orders])
    return Estimate.from_units(
        right,
        unit="numbers",
        labels=[str(value) for value in values],
        bounds=(0.0, 1.0),
        interval=score_interval(share, share * (1 - share) / n, n, n - 1, current().confidence_level),
        name="share of numbers whose last digit is read right",
        effect={"name": "by chance, mean of shuffles", "value": float(draws.mean())},
        draws={"shuffled_numbers": draws},
        details={
            "numbers": n,
            "right_by_digit": {str(digit): float(right[digits == digit].mean()) for digit in np.unique(digits)},
        },
        counterexamples=lowest(table, rows, margins),
    )


def number_units(table: EmbeddingTable) -> tuple[Ints, Ints, Floats]:
    """Numbers that are one token, (n,), their rows, (n,), and their unit vectors: (n, d), or (n, n) where d is larger.

    Raises
    ------
    NotMeasurable
        Fewer than 100 numbers are single tokens.
    """
    values, rows = numbers(table)
    if len(values) < ENOUGH:
        raise NotMeasurable(f"{len(values)} numbers are single tokens here; at least {ENOUGH} are needed")
    units = unit(table.gather(rows).cpu().double().numpy())
    if len(units) < units.shape[1]:
        units = np.asarray(np.linalg.qr(units.T, mode="r")).T  # the same products in fewer columns
    return values, rows, units


def shuffles(values: Ints, count: int, rng: np.random.Generator) -> Ints:
    """(count, n) permutations of numbers, each among those written with as many digits."""
    lengths = np.array([len(str(value)) for value in values])
    orders = np.tile(np.arange(len(values)), (count, 1))
    for length in np.unique(lengths):
        own = np.flatnonzero(lengths == length)
        orders[:, own] = own[permutations.orders(len(own), count, rng)]
    return orders


def _margins(units: Floats, digits: Ints) -> Floats:
    """(n,) by how much each number is nearer (squared) to the others of its own last digit than to any other digit's.

    A number whose digit no other number has, is read wrong.
    """
    members, every = np.eye(DIGITS)[digits], np.arange(len(digits))
    counts, sums = members.sum(0), members.T @ units
    products, lengths = units @ sums.T, (sums**2).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(counts > 0, lengths / counts**2 - 2 * products / counts, np.inf)  # less |x|^2, always there
        others, own = counts[digits] - 1, products[every, digits]
        squared = (units**2).sum(1)
        inner = own - squared
        mine = np.where(others > 0, (lengths[digits] - 2 * own + squared) / others**2 - 2 * inner / others, np.inf)
    apart[every, digits] = np.inf
    nearest = apart.min(1)
    return np.asarray(np.where(np.isfinite(mine), nearest - mine, -np.abs(nearest) - 1))
