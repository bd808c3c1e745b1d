"""Values multiplied: all by one factor, each column by its own, or each row to one length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from embcheck.diagnosis.explanation import Explanation

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.diagnosis.view import Moments

__all__ = ["ColumnsScaled", "Normalised", "Scaled"]


@dataclass(frozen=True, eq=False)
class Scaled:
    r""":math:`b = \alpha a`, with the median over rows of :math:`a'b / a'a`."""

    factor: float
    count: int = 1

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, _moments: Moments) -> Scaled | None:
        """The factor, where rows have a length."""
        ratios = (a * b).sum(1) / (a * a).sum(1)
        factor = float(ratios.nanmedian())
        return cls(factor) if math.isfinite(factor) and factor != 0 else None

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows times the factor."""
        return rows * self.factor

    def explain(self, width: int) -> Explanation:
        """Says sqrt(d) where that is the factor."""
        named = {math.sqrt(width): "sqrt(d)", 1 / math.sqrt(width): "1/sqrt(d)", -1.0: "-1"}
        known = next((name for value, name in named.items() if math.isclose(self.factor, value, rel_tol=5e-3)), None)
        return Explanation(
            "scaled",
            {"factor": self.factor} | ({"named": known} if known else {}),
            sentence=f"every value is multiplied by {known or format(self.factor, '.6g')}",
            remedy="divide by the factor, or find the code that multiplies (or no longer multiplies) on loading",
        )


@dataclass(frozen=True, eq=False)
class ColumnsScaled:
    r""":math:`b_j = s_j a_j`, least squares of each column over rows."""

    factors: Tensor

    @property
    def count(self) -> int:
        """One a column."""
        return len(self.factors)

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, _moments: Moments) -> ColumnsScaled | None:
        """The factors; 1 for columns of zeros."""
        power = (a * a).sum(0)
        return cls(torch.where(power > 0, (a * b).sum(0) / power.clamp(min=1e-300), 1.0))

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows times the factors of their columns."""
        return rows * self.factors

    def explain(self, _width: int) -> Explanation:
        """The range of the factors."""
        low, high = float(self.factors.min()), float(self.factors.max())
        return Explanation(
            "columns_scaled",
            {"least": low, "greatest": high},
            sentence=f"every column is multiplied by a factor of its own, from {low:.3g} to {high:.3g}",
            remedy="look for a normalisation weight or per-channel scale that was folded in, or not applied",
        )


@dataclass(frozen=True, eq=False)
class Normalised:
    r""":math:`b = L a / |a|`."""

    length: float
    count: int = 1

    @classmethod
    def fit(cls, _a: Tensor, b: Tensor, _moments: Moments) -> Normalised | None:
        """The length, where rows of the candidate have one in common."""
        lengths = torch.linalg.vector_norm(b, dim=1)
        length = float(lengths.median())
        apart = float((lengths - length).abs().quantile(0.9)) if len(lengths) else math.inf
        return cls(length) if length > 0 and apart < 0.05 * length else None

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows scaled to the length; zero ones stay."""
        lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return rows * (self.length / lengths.clamp(min=1e-300))

    def explain(self, _width: int) -> Explanation:
        """The length."""
        return Explanation(
            "normalised",
            {"length": self.length},
            sentence=f"every row is scaled to length {self.length:.4g}",
            remedy="lengths are lost: cosines stay, dot products and whatever reads lengths do not; use the rows as "
            "they were before normalisation",
        )
