"""Areas under ROC curves; permutation tests: draws under a null, their p-values, and Holm's adjustment of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from embcheck.settings import current

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from embcheck.stats import Floats, Ints

__all__ = ["area_over", "draw", "holm", "midranks", "orders", "p_value"]

PERMUTATIONS = 9_999
CHUNK = 1_000


def area_over(own: Floats, other: Floats) -> float:
    r"""Share of pairs in which the value of the first sample is larger, equal ones counting as half.

    It is Mann and Whitney's :math:`U / n m`, for samples of n and m values.
    """
    ordered = np.sort(other)
    wins = np.searchsorted(ordered, own, "left").sum() + np.searchsorted(ordered, own, "right").sum()
    return float(wins) / (2 * len(own) * len(other))


def midranks(values: Floats) -> Floats:
    """Ranks of all values of an array, in its shape, from 1 on; equal ones share the mean of theirs.

    ``scipy.stats.rankdata`` gives the same in three times the time, and takes most of a second to import.
    """
    order = np.argsort(values, axis=None)
    ordered = values.reshape(-1)[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(first, append=len(ordered))
    ranks = np.empty(len(ordered))
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    return ranks.reshape(values.shape)


def p_value(draws: Floats, value: float, side: Literal["above", "below"] = "above") -> float:
    """One-sided p-value (r + 1)/(B + 1): r of the B draws reach the value from below, or from above where it is below.

    The value counts as one of them.
    """
    reach = draws >= value if side == "above" else draws <= value
    return (int(reach.sum()) + 1) / (len(draws) + 1)


def orders(size: int, count: int, rng: np.random.Generator) -> Ints:
    """(count, size) uniform permutations of 0, 1, ..., fixed points allowed: derangements are no group."""
    return rng.permuted(np.broadcast_to(np.arange(size), (count, size)), axis=1)


def draw(
    statistic: Callable[[Ints], NDArray[Any]],
    sample: Callable[[int], Ints],
    *,
    most: int | None = None,
    chunk: int | None = None,
) -> Floats:
    """(B,) values of a statistic under a null, B = ``most`` (9,999), or fewer where the settings say so.

    ``sample(count)`` draws so many relabellings, ``statistic`` gives the value of each, at most ``chunk`` at a time.
    """
    values = np.empty(current().drawn(most or PERMUTATIONS))
    step = chunk or CHUNK
    for start in range(0, len(values), step):
        part = values[start : start + step]
        part[:] = statistic(sample(len(part)))
    return values


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Holm's adjusted p-values, in the order given, of a family of so many tests: at least those that are given."""
    size, worst, adjusted = max(family or 0, len(p_values)), 0.0, [0.0] * len(p_values)
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (size - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted
