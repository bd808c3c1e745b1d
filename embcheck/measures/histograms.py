"""Compact histograms for ``details``: what a report draws, in a few hundred bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from embcheck.estimate import Details
    from embcheck.stats import Ints

__all__ = ["BINS", "coarse", "of_values", "rounded"]

BINS = 60
_TAIL = 0.001  # of the values at either end that may lie outside the bins


def of_values(values: ArrayLike) -> Details:
    """Counts in 60 equal bins between the 0.1% and 99.9% quantiles, and how many values lie below and above them.

    Values that are not finite are in no bin.
    """
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    low, high = (float(q) for q in np.quantile(finite, (_TAIL, 1 - _TAIL)))
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):  # all alike: one bin wide enough to be seen
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(finite, BINS, (low, high))
    return {
        "low": low,
        "high": high,
        "counts": counts.tolist(),
        "below": int((finite < low).sum()),
        "above": int((finite > high).sum()),
    }


def coarse(counts: Ints, low: float, high: float) -> Details:
    """A histogram of many equal bins over [low, high], cut to where it has counts and merged to at most 60 bins."""
    width = (high - low) / len(counts)
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1]) + 1
    merge = -(-(last - first) // BINS)
    cut = counts[first:last]
    merged = np.add.reduceat(cut, np.arange(0, len(cut), merge))
    start = low + first * width
    return {
        "low": start,
        "high": start + len(merged) * merge * width,
        "counts": merged.astype(np.int64).tolist(),
        "below": 0,
        "above": 0,
    }


def rounded(values: ArrayLike, digits: int = 4) -> list[float]:
    """Numbers for drawing, to so many significant digits."""
    return [float(f"{value:.{digits}g}") for value in np.asarray(values, dtype=np.float64).tolist()]
