"""The area under the ROC curve of two samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["area_over"]


def area_over(own: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    r"""Share of pairs in which the value of the first sample is larger, equal ones counting as half.

    It is Mann and Whitney's :math:`U / n m`, for samples of n and m values.
    """
    ordered = np.sort(other)
    wins = np.searchsorted(ordered, own, "left").sum() + np.searchsorted(ordered, own, "right").sum()
    return float(wins) / (2 * len(own) * len(other))
